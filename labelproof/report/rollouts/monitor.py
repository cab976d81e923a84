"""What a roll-out's own traffic says: is the split intact, and is the candidate worse than the champion?"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from hashlib import blake2b
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from evaluation.sequential import srm_e_value
from evaluation.two_streams import TwoStreams, block_size, two_streams
from labelproof.report.rollouts.model import RolloutState
from labelproof.spec.experiment import ExperimentPolicy
from labelproof.store import TraceStore

SRM_NEEDED = 100.0
"""Evidence at which a split counts as broken: a false alarm in at most 1 % of roll-outs, over all looks."""
DELTA = 0.05
"""Chance that a candidate that is not worse is ever rolled back, over both guardrails and all looks."""
MARGIN = 0.02
"""How much higher the error rate of auto-accepted items may be when the project names no margin for auto_accuracy."""

# Each item counts once, as it was decided first since the canary (with this share) began: later runs decide it again.
CANARY = """WITH mine AS (SELECT DISTINCT run_id FROM runs WHERE project = $project),
units AS (
    SELECT item_id, arg_max(unit, ts) AS unit, arg_max(arm, ts) AS arm
    FROM rollout_units WHERE rollout_id = $rollout AND ts >= $since GROUP BY item_id
),
wanted AS (SELECT *, CASE arm WHEN 'candidate' THEN $fp_to ELSE $fp_from END AS strategy_fp FROM units),
decided AS (
    SELECT d.* FROM decisions AS d JOIN mine USING (run_id)
    WHERE d.ts >= $since AND d.strategy_fp IN ($fp_from, $fp_to)
    QUALIFY row_number() OVER (PARTITION BY d.item_id, d.strategy_fp ORDER BY d.ts, d.run_id) = 1
),
audits AS (
    SELECT item_id, any_value(final_label) AS final_label FROM task_outcomes
    WHERE project = $project AND kind = 'audit' GROUP BY item_id
)
SELECT w.arm, w.unit, w.item_id, d.ts, d.decision, d.label, d.audited, d.inclusion_prob, a.final_label
FROM wanted AS w
LEFT JOIN decided AS d ON d.item_id = w.item_id AND d.strategy_fp = w.strategy_fp
LEFT JOIN audits AS a ON a.item_id = w.item_id
ORDER BY d.ts NULLS LAST, w.item_id
"""
UNFINISHED = """
SELECT run_id FROM current_runs
WHERE project = $project AND strategy_fp IN ($fp_from, $fp_to) AND changed_at >= $since AND state <> 'finished'
  AND NOT contains(params_json, '"arm"') AND NOT contains(params_json, '"purpose"')
LIMIT 1
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitCheck:
    """Whether units came in the shares that were asked for. ``e_value`` None: ``reason`` says why it is not known."""

    of: str
    n_champion: int
    n_candidate: int
    share_prob: float
    e_value: float | None
    reason: str | None = None

    @property
    def alarm(self) -> bool:
        return self.e_value is not None and self.e_value >= SRM_NEEDED


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardReading:
    """One guardrail: the rate of the candidate against the champion's plus a margin."""

    name: str
    test: TwoStreams

    @property
    def sentence(self) -> str:
        """The reading in one sentence."""
        t = self.test
        rates = f"candidate {_rate(t.new.value, t.new.n)}, champion {_rate(t.old.value, t.old.n)}"
        if t.reason is not None:
            return f"{self.name}: {rates}; not measurable yet: {t.reason}"
        state = f"ALARM at candidate observation {t.alarm_at}" if t.alarm else "no alarm"
        return (
            f"{self.name}: {rates}; {state}; e-value {_short(t.e_value)} of {_short(t.e_needed)} needed against"
            f" at most {100 * t.margin:g} points more"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class CanaryReading:
    """Everything the monitor knows of a canary. ``breaches``: why it must be rolled back; empty: nothing speaks for it."""

    rollout_id: str
    splits: tuple[SplitCheck, ...]
    guards: tuple[GuardReading, ...]
    mix: tuple[tuple[str, float | None, float | None], ...]
    """Label, its share among the champion's and among the candidate's labels; information only."""
    mix_distance: float | None
    """Half the sum of the differences: the share of labels that would have to change, 0 to 1; None without labels."""
    at: datetime
    sql: str

    @property
    def breaches(self) -> tuple[str, ...]:
        broken = [
            f"{split.of} units split {split.n_champion} : {split.n_candidate}, and {1 - split.share_prob:g} :"
            f" {split.share_prob:g} was asked for (e-value {_short(split.e_value or 0)} of {SRM_NEEDED:g})"
            for split in self.splits
            if split.alarm
        ]
        return (*broken, *(guard.sentence for guard in self.guards if guard.test.alarm))

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "at": self.at.isoformat(), "breaches": list(self.breaches)}


def read_canary(
    store: TraceStore, state: RolloutState, policy: ExperimentPolicy, now: datetime
) -> CanaryReading:
    """Return what the canary's items say so far; nothing is written.

    The error rate is that of auto-accepted items, from settled audits: what would have gone out wrong. Items that
    were routed to people say nothing of it: a strategy that routes exactly its mistakes is a good one.
    """
    share = state.share_prob or 0.0
    params = _params(state)
    rows = store.query(CANARY, {**params, "rollout": state.rollout_id}, fresh=True)
    unfinished = store.query(UNFINISHED, params, fresh=True).to_pylist()
    streams = _streams(rows)
    per_block = block_size(share)
    margins = {guard.metric: guard.margin for guard in policy.guardrails}
    named = (
        ("error rate of auto-accepted items", streams["wrong"], margins.get("auto_accuracy", MARGIN)),
        ("share of items that failed", streams["failed"], margins.get("failed_rate", 0.01)),
    )
    guards = tuple(
        GuardReading(
            name=name,
            test=two_streams(
                found["champion"],
                found["candidate"],
                margin=margin,
                delta=DELTA / len(named),
                per_block=per_block,
            ),
        )
        for name, found, margin in named
    )
    mix, distance = _mix(rows)
    return CanaryReading(
        rollout_id=state.rollout_id,
        splits=_splits(rows, share, unfinished[0]["run_id"] if unfinished else None),
        guards=guards,
        mix=mix,
        mix_distance=distance,
        at=now,
        sql=CANARY,
    )


def _params(state: RolloutState) -> dict[str, Any]:
    return {
        "project": state.project,
        "fp_from": state.fp_from,
        "fp_to": state.fp_to,
        "since": state.since,
    }


def _streams(rows: pa.Table) -> dict[str, dict[str, list[bool]]]:
    """Return (failed, wrong) x side -> observations in the order decided, one per unit: those of one author hang together.

    Audits drawn with unequal probabilities are thinned to the smallest one of their side, by a hash of the item.
    """
    failed: dict[str, list[bool]] = {"champion": [], "candidate": []}
    wrong: dict[str, list[bool]] = {"champion": [], "candidate": []}
    seen: set[tuple[str, str]] = set()
    decided = rows.filter(pc.is_valid(rows["decision"]))
    for arm, unit, decision in _rows(decided, "arm", "unit", "decision"):
        if (arm, unit) not in seen:
            seen.add((arm, unit))
            failed[arm].append(decision == "failed")
    # Few of many rows: what was accepted alone, drawn with a known probability, and answered by people.
    drawn = pc.and_(pc.equal(rows["decision"], "auto_accept"), rows["audited"])
    known = pc.and_(pc.is_valid(rows["final_label"]), pc.greater(rows["inclusion_prob"], 0))
    settled = rows.filter(pc.fill_null(pc.and_(drawn, known), fill_value=False))
    least: dict[str, float] = {}
    for arm, prob in _rows(settled, "arm", "inclusion_prob"):
        least[arm] = min(least.get(arm, 1.0), prob)
    audited: set[tuple[str, str]] = set()
    names = ("arm", "unit", "item_id", "inclusion_prob", "label", "final_label")
    for arm, unit, item_id, prob, label, final_label in _rows(settled, *names):
        if (arm, unit) not in audited and _is_kept(item_id, prob, least[arm]):
            audited.add((arm, unit))
            wrong[arm].append(label != final_label)
    return {"failed": failed, "wrong": wrong}


def _rows(table: pa.Table, *names: str) -> Iterator[tuple[Any, ...]]:
    return zip(*(table[name].to_pylist() for name in names), strict=True)


def _is_kept(item_id: str, prob: float, least: float) -> bool:
    """Whether thinning keeps an audit: with probability smallest / own, the same whenever one looks."""
    hashed = blake2b(item_id.encode(), digest_size=8, person=b"lp.thin").digest()
    return bool(int.from_bytes(hashed) / 2**64 * prob < least)


def _splits(rows: pa.Table, share: float, unfinished: str | None) -> tuple[SplitCheck, ...]:
    units: dict[str, set[str]] = {"champion": set(), "candidate": set()}
    answered: dict[str, set[str]] = {"champion": set(), "candidate": set()}
    for arm, unit, decision in zip(
        *(rows[name].to_pylist() for name in ("arm", "unit", "decision")), strict=True
    ):
        units[arm].add(unit)
        if decision is not None:
            answered[arm].add(unit)
    waiting = None if unfinished is None else f"run {unfinished} has not ended"
    return (_split("assigned", units, share, None), _split("answered", answered, share, waiting))


def _split(of: str, units: Mapping[str, set[str]], share: float, reason: str | None) -> SplitCheck:
    counts = (len(units["champion"]), len(units["candidate"]))
    if reason is None and not sum(counts):
        reason = "no unit yet"
    return SplitCheck(
        of=of,
        n_champion=counts[0],
        n_candidate=counts[1],
        share_prob=share,
        e_value=None if reason else srm_e_value(counts, (1 - share, share)),
        reason=reason,
    )


def _mix(rows: pa.Table) -> tuple[tuple[tuple[str, float | None, float | None], ...], float | None]:
    counts: dict[str, Counter[str]] = {"champion": Counter(), "candidate": Counter()}
    for arm, label in zip(rows["arm"].to_pylist(), rows["label"].to_pylist(), strict=True):
        if label is not None:
            counts[arm][label] += 1
    totals = {arm: found.total() for arm, found in counts.items()}
    labels = sorted(
        counts["champion"] | counts["candidate"],
        key=lambda label: (-counts["champion"][label] - counts["candidate"][label], label),
    )

    def part(arm: str, label: str) -> float | None:
        return counts[arm][label] / totals[arm] if totals[arm] else None

    mix = tuple((label, part("champion", label), part("candidate", label)) for label in labels)
    if not all(totals.values()):
        return mix, None
    return mix, sum(abs((b or 0.0) - (a or 0.0)) for _, a, b in mix) / 2


def _rate(value: float | None, n: int) -> str:
    return f"unknown (n = {n})" if value is None else f"{100 * value:.1f} % (n = {n})"


def _short(value: float) -> str:
    if math.isfinite(value) and value < 1e5:
        return f"{value:.3g}" if value < 100 else f"{value:.0f}"
    return f"{value:.1e}"
