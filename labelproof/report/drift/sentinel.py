"""Has the model changed? What a strategy says of the frozen items now, against what it said of them first."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import numpy as np

from evaluation.intervals import Estimate, wilson
from evaluation.mcnemar import mcnemar_mid_p, tango_interval
from evaluation.sentinel_flips import chance_of_flip, flips_log_e, rules_out_change
from labelproof.report.drift.read import DAY, with_values
from labelproof.report.monitor.model import Measurement
from labelproof.spec.hashing import short
from labelproof.spec.monitoring import MonitorPolicy
from labelproof.spec.project import ProjectFolder
from labelproof.store import TraceStore

LOOK_BACK = 5
"""A change is looked for at the start of any of the last so many asks."""
_SHOWN = 10
ANSWERS = """SELECT a.run_id, a.strategy_fp, a.sentinel_fp, a.item_id, a.label, a.ts, s.gold_label,
       a.provider_fingerprint, least(a.ts, coalesce(r.began, a.ts)) AS work_from
FROM (
    SELECT * FROM sentinel_answers WHERE project = $project AND ts <= $until
    QUALIFY row_number() OVER (PARTITION BY run_id, item_id ORDER BY ts DESC) = 1
) AS a
LEFT JOIN (
    SELECT sentinel_fp, item_id, any_value(gold_label) AS gold_label FROM sentinels
    WHERE project = $project GROUP BY ALL
) AS s USING (sentinel_fp, item_id)
LEFT JOIN (
    SELECT run_id, min(ts) AS began FROM runs WHERE project = $project GROUP BY run_id
) AS r ON r.run_id = a.after_run_id
ORDER BY a.ts, a.run_id, a.item_id
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """One time the frozen items were asked. ``labels``: item id -> label, None for a failed answer.

    ``work_from``: the start of the run that it followed, whose work it speaks for.
    """

    run_id: str
    strategy_fp: str
    sentinel_fp: str
    ts: datetime
    work_from: datetime
    labels: Mapping[str, str | None]
    gold: Mapping[str, str]
    marks: frozenset[str] = frozenset()

    def flips(self, other: Ask) -> tuple[str, ...]:
        """Return the items that both answered, differently."""
        return tuple(item for item in self._both(other) if self.labels[item] != other.labels[item])

    def n_both(self, other: Ask) -> int:
        return len(self._both(other))

    def _both(self, other: Ask) -> list[str]:
        return [
            item
            for item, label in self.labels.items()
            if label is not None and other.labels.get(item) is not None
        ]


@dataclass(frozen=True, slots=True, kw_only=True)
class SentinelVerdict:
    """Whether the model says the same of the frozen items. ``changed`` None: it cannot be told, ``why``.

    False only when the flips rule a change out; that a change is not proven is no proof that there is none.
    """

    changed: bool | None
    asked_at: datetime | None
    n: int
    n_flips: int
    why: str

    def beside_drift(self, since: datetime) -> str:
        """Return what the sentinel set says of a drift that began at ``since``."""
        if self.asked_at is not None and self.asked_at < since and not self.changed:
            return "The sentinel set has not been asked since: whether the model changed is not known"
        if self.changed is None:
            return f"Whether the model or the traffic changed cannot be told yet: {self.why}"
        if self.changed:
            return f"The model changed: {self.n_flips} of {self.n} answers on the sentinel set are others than before"
        return f"Model answers on the sentinel set are unchanged ({self.n_flips} of {self.n} flipped): the traffic changed"


@dataclass(slots=True, kw_only=True)
class _Walk:
    """Where the comparison stands after some asks of one version.

    ``steady`` (flips, answers): how often answers flip without a change. ``recent``: (ask, flips, answers) since.
    """

    baseline: Ask
    needed: float
    window_days: float
    steady: tuple[int, int] = (0, 0)
    recent: list[tuple[Ask, int, int]] = field(default_factory=list)
    evidence: float | None = None
    changed_at: datetime | None = None
    old: Ask | None = None
    ended: str | None = None

    def step(self, ask: Ask) -> None:
        """Take one more ask into account."""
        if self.old is not None and self._ends(ask, self.old):
            return
        flips, n = len(ask.flips(self.baseline)), ask.n_both(self.baseline)
        self.recent.append((ask, flips, n))
        if len(self.recent) > LOOK_BACK:
            _, past_flips, past_n = self.recent.pop(0)
            self.steady = (self.steady[0] + past_flips, self.steady[1] + past_n)
        values = [self._log_e(start) for start in range(len(self.recent))]
        # A weighted mean of e-values is one: half for a change at this very ask, half for the earlier starts.
        weight = np.full(len(values), 0.5 / max(1, len(values) - 1))
        weight[-1] = 0.5 if len(values) > 1 else 1.0
        log_e = float(np.logaddexp.reduce(np.array(values) + np.log(weight)))
        if self.old is None:
            self.evidence = math.exp(min(log_e, 709.0))
        if log_e >= math.log(self.needed):
            self._alarm(int(np.argmax(values)), math.exp(min(log_e, 709.0)))

    def _log_e(self, start: int) -> float:
        before, after = self.recent[:start], self.recent[start:]
        return flips_log_e(
            self.steady[0] + sum(flips for _, flips, _ in before),
            self.steady[1] + sum(n for _, _, n in before),
            sum(flips for _, flips, _ in after),
            sum(n for _, _, n in after),
        )

    def _alarm(self, start: int, evidence: float) -> None:
        """From ask ``start`` on the answers are others: they are what later ones are compared with."""
        before, after = self.recent[:start], self.recent[start:]
        self.steady = (
            self.steady[0] + sum(flips for _, flips, _ in before),
            self.steady[1] + sum(n for _, _, n in before),
        )
        if self.old is None:
            self.old = self.baseline
        self.evidence, self.changed_at, self.ended = evidence, after[0][0].work_from, None
        self.baseline = after[0][0]
        self.recent = [
            (ask, len(ask.flips(self.baseline)), ask.n_both(self.baseline)) for ask, _, _ in after[1:]
        ]

    def _ends(self, ask: Ask, old: Ask) -> bool:
        """Whether this ask ends the alarm: the old answers are back, or the new ones have lasted a window."""
        assert self.changed_at is not None
        flips, n = len(ask.flips(old)), ask.n_both(old)
        if n and flips < len(ask.flips(self.baseline)) and flips_log_e(*self.steady, flips, n) <= 0:
            self.baseline, self.recent, self.ended = old, [(ask, flips, n)], "the first answers are back"
        elif ask.ts - self.changed_at >= self.window_days * DAY:
            self.ended = "the new answers are what is compared with from now on"
            self.recent.append((ask, len(ask.flips(self.baseline)), ask.n_both(self.baseline)))
        else:
            return False
        self.old, self.evidence = None, None
        return True


def measure_sentinel(store: TraceStore, folder: ProjectFolder, *, now: datetime) -> tuple[Measurement, ...]:
    """Return whether the model's answers changed on the frozen items, and their accuracy where there is gold.

    Nothing without a sentinel set: `monitoring.sentinel.items` 0 and never asked.
    """
    asks = read_asks(store, folder.name, now)
    policy = folder.spec.monitoring
    if not asks:
        if not policy.sentinel.items:
            return ()
        reason = "the sentinel set has not been asked yet: it is asked after the next run"
        return (Measurement(kind="sentinel", subject="answers", state="unknown", value=None, reason=reason),)
    sql = with_values(ANSWERS, {"project": folder.name, "until": now})
    found = [_answers(asks, policy, sql)]
    accuracy = _accuracy(asks, sql)
    return (*found, accuracy) if accuracy is not None else tuple(found)


def sentinel_verdict(
    store: TraceStore, folder: ProjectFolder, *, now: datetime, found: Sequence[Measurement] | None = None
) -> SentinelVerdict | None:
    """Return what the sentinel set says of the model; None without one. ``found``: what was measured at ``now``."""
    found = measure_sentinel(store, folder, now=now) if found is None else found
    if not found:
        return None
    one = found[0]
    changed = {"alarm": True, "quiet": False}.get(one.state)
    if changed is False and not one.detail.get("rules_out_change"):
        changed = None
    return SentinelVerdict(
        changed=changed,
        asked_at=one.window_to,
        n=one.n,
        n_flips=int(one.detail.get("flips", 0)),
        why=one.reason,
    )


def read_asks(store: TraceStore, project: str, until: datetime) -> list[Ask]:
    """Return every ask of a project up to ``until``, the first first."""
    rows: dict[str, list[dict[str, Any]]] = {}
    for row in store.query(ANSWERS, {"project": project, "until": until}, fresh=True).to_pylist():
        rows.setdefault(row["run_id"], []).append(row)
    return [
        Ask(
            run_id=run_id,
            strategy_fp=some[0]["strategy_fp"],
            sentinel_fp=some[0]["sentinel_fp"],
            ts=max(row["ts"] for row in some),
            work_from=min(row["work_from"] for row in some),
            labels={row["item_id"]: row["label"] for row in some},
            gold={row["item_id"]: row["gold_label"] for row in some if row["gold_label"] is not None},
            marks=frozenset(row["provider_fingerprint"] for row in some if row["provider_fingerprint"]),
        )
        for run_id, some in rows.items()
    ]


def _answers(asks: Sequence[Ask], policy: MonitorPolicy, sql: str) -> Measurement:
    latest = asks[-1]
    own = [a for a in asks if (a.strategy_fp, a.sentinel_fp) == (latest.strategy_fp, latest.sentinel_fp)]
    days = max(1.0, (own[-1].ts - own[0].ts) / DAY)
    needed = policy.drift_mean_days * max(1.0, (len(own) - 1) / days)
    if len(own) == 1:
        return _first_ask(asks, latest, needed, sql)
    walk = _Walk(baseline=own[0], needed=needed, window_days=policy.window_days)
    for ask in own[1:]:
        walk.step(ask)
    compared = walk.baseline if walk.old is None else walk.old
    flips, n = latest.flips(compared), latest.n_both(compared)
    share = wilson(len(flips), n) if n else None
    failed = sum(label is None for label in latest.labels.values())
    unchanged = walk.old is None and rules_out_change(*walk.steady, len(flips), n)
    text = _sentence(walk, latest, flips, own, share=share, unchanged=unchanged, needed=needed)
    if failed:
        text += f"; {failed} of {len(latest.labels)} answers failed"
    return Measurement(
        kind="sentinel",
        subject="answers",
        state="unknown" if share is None else "quiet" if walk.old is None else "alarm",
        value=None if share is None else share.value,
        low=None if share is None else share.low,
        high=None if share is None else share.high,
        n=n,
        method="share of flipped answers, Wilson; e-value of flips given all flips",
        evidence=walk.evidence,
        evidence_needed=needed,
        reason=text,
        sql=sql,
        window_from=compared.ts,
        window_to=latest.ts,
        strategy_fp=latest.strategy_fp,
        run_id=latest.run_id,
        change_from=None if walk.old is None else walk.changed_at,
        level="critical",
        detail={
            "flips": len(flips),
            "items": list(flips[:_SHOWN]),
            "asks": len(own),
            "steady_flips": walk.steady[0],
            "steady_answers": walk.steady[1],
            "sentinel_fp": latest.sentinel_fp,
            "rules_out_change": unchanged,
            "new_marks": sorted(latest.marks - compared.marks)[:_SHOWN],
        },
    )


def _sentence(
    walk: _Walk,
    latest: Ask,
    flips: Sequence[str],
    own: Sequence[Ask],
    *,
    share: Estimate | None,
    unchanged: bool,
    needed: float,
) -> str:
    if share is None:
        return "no frozen item was answered both times"
    n = share.n
    when = f"{own[0].ts:%Y-%m-%d}"
    if walk.old is not None and walk.changed_at is not None:
        text = f"the model changed from {walk.changed_at:%Y-%m-%d %H:%M} on: {len(flips)} of {n} frozen items got another label"
        new = sorted(latest.marks - walk.old.marks)
        return text + (f"; the provider's mark is new ({', '.join(new[:3])[:80]})" if new else "")
    if unchanged:
        text = f"the model did not change on {n} frozen items: {len(flips)} flipped since {when} in {len(own)} asks"
    else:
        text = (
            f"no proof yet that the model changed, nor that it did not: {len(flips)} of {n} frozen items flipped since "
            f"{when} (95 % interval {100 * (share.low or 0.0):.1f} to {100 * (share.high or 0.0):.1f} %, by chance "
            f"{100 * chance_of_flip(*walk.steady):.1f} %; evidence {walk.evidence or 1.0:.2g} of {needed:.0f})"
        )
    return text + (f"; the last alarm ended: {walk.ended}" if walk.ended else "")


def _first_ask(asks: Sequence[Ask], latest: Ask, needed: float, sql: str) -> Measurement:
    """A version or set that was asked once: against the version before it is information, not an alarm."""
    earlier = [
        ask for ask in asks if ask.strategy_fp != latest.strategy_fp and ask.sentinel_fp == latest.sentinel_fp
    ]
    flips: tuple[str, ...] = ()
    n = len(latest.labels)
    reason = f"{n} frozen items were asked once: the next ask is compared with these answers"
    if earlier:
        other = earlier[-1]
        flips, n = latest.flips(other), latest.n_both(other)
        reason = (
            f"a new version, {short(latest.strategy_fp)}: {len(flips)} of {n} frozen items got another label than from "
            f"{short(other.strategy_fp)}, which is a change made here; the next ask is compared with these answers"
        )
    return Measurement(
        kind="sentinel",
        subject="answers",
        state="quiet" if earlier else "unknown",
        value=len(flips) / n if earlier and n else None,
        n=n,
        method="share of flipped answers against the version before",
        evidence_needed=needed,
        reason=reason,
        sql=sql,
        window_to=latest.ts,
        strategy_fp=latest.strategy_fp,
        run_id=latest.run_id,
        level="critical",
        detail={"flips": len(flips), "items": list(flips[:_SHOWN]), "asks": 1, "new_version": True},
    )


def _accuracy(asks: Sequence[Ask], sql: str) -> Measurement | None:
    """Accuracy now minus at the first ask of the version, on the items with gold: Tango's paired interval."""
    latest = asks[-1]
    first = next(
        a for a in asks if (a.strategy_fp, a.sentinel_fp) == (latest.strategy_fp, latest.sentinel_fp)
    )
    both = [i for i in latest.gold if i in latest.labels and i in first.labels]
    if not both or first.run_id == latest.run_id:
        return None
    right = {ask.run_id: [ask.labels[i] == latest.gold[i] for i in both] for ask in (first, latest)}
    was, now = right[first.run_id], right[latest.run_id]
    gained = sum(b and not a for a, b in zip(was, now, strict=True))
    lost = sum(a and not b for a, b in zip(was, now, strict=True))
    low, high = tango_interval(gained, lost, len(both))
    p = float(mcnemar_mid_p([gained], [lost])[0])
    return Measurement(
        kind="sentinel",
        subject="accuracy",
        state="quiet",
        value=(gained - lost) / len(both),
        low=float(low),
        high=float(high),
        n=len(both),
        method="difference of accuracy on the same items, Tango",
        reason=(
            f"{sum(now)} of {len(both)} frozen items with gold are right, {sum(was)} were at first (mid-p McNemar {p:.2g}); "
            "information: the flips decide the alarm"
        ),
        sql=sql,
        window_from=first.ts,
        window_to=latest.ts,
        strategy_fp=latest.strategy_fp,
        run_id=latest.run_id,
        detail={"gained": gained, "lost": lost},
    )
