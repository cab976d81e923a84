"""Every target of a project measured: what it is in its window, and whether the promise holds.

A rate is *breached* when two things hold together: the window's own number lies on the wrong side, and the evidence
that may be looked at as often as one likes (:mod:`evaluation.promise_watch`) has reached what is needed. It is *met*
when the window's interval proves it, else *not yet provable*. A quantity that is counted in full (age, cost,
throughput) is compared as it is; it is breached when it was beyond the bound in every look of an hour or more, or is
beyond it by half. docs/how-to/watch-production.md says the same to people.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from evaluation.intervals import wilson
from evaluation.promise_watch import PromiseWatch
from labelproof.report.monitor import queries
from labelproof.report.monitor.metrics import PLAIN, Reading, Window, read_metric
from labelproof.report.monitor.model import Measurement, State
from labelproof.report.monitor.streams import epoch_start, evidence
from labelproof.report.monitor.values import estimate_text, evidence_text, value_text
from labelproof.spec.monitoring import Target
from labelproof.spec.project import ProjectFolder
from labelproof.store import TraceStore

PERSISTS = timedelta(hours=1)
"""A quantity counted in full is breached, or well again, when all looks of so long a time say so."""
FAR_BEYOND = 1.5
"""Beyond the bound by this factor it is breached at once."""
_MOMENT = timedelta(microseconds=1)
"""Windows end before their end; a look at ``now`` still sees what was stored with that very time."""


def measure_targets(
    store: TraceStore,
    folder: ProjectFolder,
    *,
    now: datetime,
    run_id: str | None = None,
    windows: dict[datetime, Window] | None = None,
) -> tuple[Measurement, ...]:
    """Return every target of the project file as it stands at ``now``, in the file's order; stores nothing.

    ``windows``: windows up to ``now`` by their start, to share what was read; those that are made are added.
    """
    targets = folder.spec.targets
    if not targets:
        return ()
    look = _look(store, folder, now, {} if windows is None else windows)
    return tuple(replace(look.measured(target), run_id=run_id) for target in targets)


def measure_metric(
    store: TraceStore,
    folder: ProjectFolder,
    metric: str,
    *,
    since: datetime,
    until: datetime,
    shared: dict[str, Any] | None = None,
) -> Measurement:
    """Return a target metric over work with ``since`` <= time < ``until``; ``ConfigError`` for an unknown one.

    ``shared``: a dict of several measurements at one time, in which what they read alike is kept.

    Judged by its interval alone, against the project's target of that metric: met or not yet provable. Without such a
    target it is quiet (measured, nothing promised). It never alarms: alarms need evidence over all looks.
    """
    target = next((one for one in folder.spec.targets if one.metric == metric), None)
    window = Window(
        store=store, folder=folder, since=since, until=until, shared={} if shared is None else shared
    )
    reading = read_metric(window, metric)
    state: State = "quiet"
    if reading.estimate.value is None:
        state = "unknown"
    elif target is not None:
        state = "met" if _proves(target, reading) else "not yet provable"
    return _measurement(
        metric, target, reading, state, since=since, until=until, reason=_said(metric, target, reading)
    )


def measure_volume(window: Window) -> Measurement:
    """Return how many items production decided in a window; its state is always quiet."""
    counts = window.counts()
    return Measurement(
        kind="volume",
        subject="decisions",
        state="quiet",
        value=float(counts["decided"]),
        n=counts["decided"],
        method="count",
        reason=f"{counts['auto_accepted']} by the machine, {counts['to_people']} to people, {counts['failed']} failed",
        sql=window.shown(queries.COUNTS),
        window_from=window.since,
        window_to=window.until,
        level="minor",
        detail={name: counts[name] for name in ("decided", "auto_accepted", "to_people", "failed")},
    )


def window_up_to(
    windows: dict[datetime, Window], store: TraceStore, folder: ProjectFolder, since: datetime, now: datetime
) -> Window:
    """Return the window from ``since`` up to and with ``now``, the known one where there is one."""
    found = windows.get(since)
    if found is None:
        shared = next((one.shared for one in windows.values()), {})
        found = windows[since] = Window(
            store=store, folder=folder, since=since, until=now + _MOMENT, shared=shared
        )
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class _Look:
    """One look at a project: windows by their start, what was seen before, which alarms are open."""

    store: TraceStore
    folder: ProjectFolder
    now: datetime
    began: datetime
    windows: dict[datetime, Window]
    alarms: Mapping[str, Mapping[str, Any]]
    recovered: Mapping[str, datetime]
    before: Mapping[str, Sequence[Mapping[str, Any]]]

    def window(self, since: datetime) -> Window:
        return window_up_to(self.windows, self.store, self.folder, since, self.now)

    def measured(self, target: Target) -> Measurement:
        days = target.window_days or self.folder.spec.monitoring.window_days
        since = self.now - timedelta(days=days)
        reading = read_metric(self.window(since), target.metric)
        alarm = self.alarms.get(target.metric)
        if target.name in PLAIN:
            return self._plain(target, reading, since, alarm)
        return self._rate(target, reading, since, alarm)

    def _rate(
        self, target: Target, reading: Reading, since: datetime, alarm: Mapping[str, Any] | None
    ) -> Measurement:
        start = epoch_start(self.recovered.get(target.metric, self.began), self.now)
        watch = evidence(self.window(start), target, reading, delta=self._delta())
        detail: dict[str, Any] = {}
        state: State
        if alarm is not None:
            state, reading, since, detail = self._after_alarm(target, reading, since, alarm["breached_at"])
        elif watch is not None and watch.alarm:
            reading, since = self._with_what_alarms(target, reading, since, start, watch)
            state = "breached" if _is_beyond(target, reading) else self._calm(target, reading)
        else:
            state = self._calm(target, reading)
        change = None
        if watch is not None and watch.change_at is not None:
            change = start + timedelta(days=watch.change_at)
        return replace(
            _measurement(
                target.metric,
                target,
                reading,
                state,
                since=since,
                until=self.now,
                # What ended an alarm is the work since then; the evidence is still that of the epoch.
                reason=_said(target.metric, target, reading, None if detail.get("recovered") else watch),
            ),
            evidence=None if watch is None else watch.e_value,
            evidence_needed=None if watch is None else watch.e_needed,
            change_from=change if state == "breached" else None,
            detail={**reading.detail, **detail, "evidence_from": start.isoformat()},
        )

    def _calm(self, target: Target, reading: Reading) -> State:
        if reading.estimate.value is None:
            return "unknown"
        return "met" if _proves(target, reading) else "not yet provable"

    def _with_what_alarms(
        self, target: Target, reading: Reading, since: datetime, start: datetime, watch: PromiseWatch
    ) -> tuple[Reading, datetime]:
        """Return the reading to judge, and its start: when nothing in the window is settled yet (audits that people
        answer later than a window is long), the work since the change that the evidence speaks of.
        """
        if reading.estimate.value is not None or watch.change_at is None:
            return reading, since
        earlier = min(since, start + timedelta(days=watch.change_at))
        return read_metric(self.window(earlier), target.metric), earlier

    def _after_alarm(
        self, target: Target, reading: Reading, since: datetime, alarmed_at: datetime
    ) -> tuple[State, Reading, datetime, dict[str, Any]]:
        """Return the state under an open alarm: over when the work since then proves the promise, or a whole window
        of it keeps the promise with its point estimate.
        """
        start = max(since, alarmed_at)
        after = read_metric(self.window(start), target.metric)
        is_new = _scored_after(after, alarmed_at)
        if after.detail.get("source") != "gold" and _proves(target, after):
            return "met", after, start, {"recovered": True}
        if (
            is_new
            and since >= alarmed_at
            and after.estimate.value is not None
            and not _is_beyond(target, after)
        ):
            return "not yet provable", after, start, {"recovered": True}
        return "breached", reading, since, {"since_alarm": _as_json(after)}

    def _plain(
        self, target: Target, reading: Reading, since: datetime, alarm: Mapping[str, Any] | None
    ) -> Measurement:
        value = reading.estimate.value
        state: State
        if value is None:
            state = "breached" if alarm is not None else "unknown"
        elif not _is_beyond(target, reading):
            state = "breached" if alarm is not None and not self._lasts(target, beyond=False) else "met"
        elif alarm is not None or _is_far_beyond(target, value) or self._lasts(target, beyond=True):
            state = "breached"
        else:
            state = "not yet provable"
        found = _measurement(
            target.metric,
            target,
            reading,
            state,
            since=since,
            until=self.now,
            reason=_said(target.metric, target, reading),
        )
        return replace(found, detail=reading.detail)

    def _lasts(self, target: Target, *, beyond: bool) -> bool:
        """Whether every look of the last hour or more said the same as this one."""
        first = self.now
        for row in self.before.get(target.metric, ()):
            if row["value"] is None or _wrong_side(target, row["value"]) != beyond:
                break
            first = row["ts"]
        return self.now - first >= PERSISTS

    def _delta(self) -> float:
        """Return each rate's share of the project's chance of a false alarm."""
        n = sum(target.name not in PLAIN for target in self.folder.spec.targets)
        return self.folder.spec.monitoring.delta / max(1, n)


def _look(store: TraceStore, folder: ProjectFolder, now: datetime, windows: dict[datetime, Window]) -> _Look:
    def rows(sql: str, only: tuple[str, ...], **params: Any) -> list[dict[str, Any]]:
        given = {"project": folder.name, **params}
        found: list[dict[str, Any]] = store.query(sql, given, fresh=True, only=only).to_pylist()
        return found

    began = rows(queries.BEGAN, ("runs", "review_tasks"))[0]["began"] or now
    subjects = [target.metric for target in folder.spec.targets if target.name in PLAIN]
    before: dict[str, list[dict[str, Any]]] = {}
    if subjects:
        looks = rows(
            queries.LOOKS, ("measurements",), now=now, since=now - timedelta(days=2), subjects=subjects
        )
        for row in looks:
            before.setdefault(row["subject"], []).append(row)
    return _Look(
        store=store,
        folder=folder,
        now=now,
        began=min(began, now),
        windows=windows,
        alarms={
            row["subject"]: row for row in rows(queries.OPEN_ALARMS, ("alarms",)) if row["kind"] == "target"
        },
        recovered={
            row["subject"]: row["ts"] for row in rows(queries.RECOVERED, ("alarms",), until=now + _MOMENT)
        },
        before=before,
    )


def _measurement(
    metric: str,
    target: Target | None,
    reading: Reading,
    state: State,
    *,
    since: datetime,
    until: datetime,
    reason: str,
) -> Measurement:
    found = reading.estimate
    return Measurement(
        kind="target",
        subject=metric,
        state=state,
        value=found.value,
        low=found.low,
        high=found.high,
        n=found.n,
        method=found.method,
        bound=None if target is None else target.bound,
        side=None if target is None else "at_least" if target.at_least is not None else "at_most",
        reason=reason,
        sql=reading.sql,
        window_from=since,
        window_to=until,
        strategy_fp=reading.strategy_fp,
        level="major" if target is None else target.level,
        detail=reading.detail,
    )


def _said(metric: str, target: Target | None, reading: Reading, watch: PromiseWatch | None = None) -> str:
    """Return the number and what it stands against, in one sentence."""
    found = reading.estimate
    if found.value is None:
        return f"cannot be told: {found.reason}"
    words = estimate_text(metric, found)
    if metric == "review_age_hours" and not found.n:
        words = "nothing waits"
    if target is not None:
        words += (
            f"; promised {'≥' if target.at_least is not None else '≤'} {value_text(metric, target.bound)}"
        )
    if watch is not None:
        words += f"; evidence {evidence_text(watch.e_value)} of {evidence_text(watch.e_needed)}"
    low = _below_bar(target, reading)
    if low:
        words += f"; {len(low)} of {len(reading.detail['reviewers'])} reviewers lie below it, the lowest at {low[0]}"
    if reading.worst is not None and reading.worst.value is not None:
        words += f"; {value_text(metric, reading.worst.value)} if every disputed audit were wrong"
    return words


def _below_bar(target: Target | None, reading: Reading) -> list[str]:
    """Return the accuracy of each reviewer whose own one lies below the bar, lowest first; no names."""
    people = reading.detail.get("reviewers")
    if target is None or target.name != "reviewer_accuracy" or not isinstance(people, Mapping):
        return []
    found = sorted(
        (one["right"] / one["n"], one["right"], one["n"])
        for one in people.values()
        if one["right"] < target.bound * one["n"]
    )
    return [f"{right} of {n}" for _, right, n in found]


def _scored_after(reading: Reading, alarmed_at: datetime) -> bool:
    """Whether a reading is about what came after the alarm; a score of gold may be older than the window it is read in."""
    if reading.detail.get("source") != "gold":
        return True
    return datetime.fromisoformat(reading.detail["scored_at"]) > alarmed_at


def _wrong_side(target: Target, value: float) -> bool:
    return value < target.bound if target.at_least is not None else value > target.bound


def _is_beyond(target: Target, reading: Reading) -> bool:
    """Whether the number lies on the wrong side; for reviewers also when somebody's own one clearly does."""
    value = reading.estimate.value
    if value is None:
        return False
    return _wrong_side(target, value) or bool(_clearly_below(target, reading))


def _clearly_below(target: Target, reading: Reading) -> list[str]:
    """Return the reviewers whose own interval lies below the bar."""
    if target.name != "reviewer_accuracy":
        return []
    people: Mapping[str, Mapping[str, int]] = reading.detail["reviewers"]
    return [
        name for name, one in people.items() if (wilson(one["right"], one["n"]).high or 1.0) < target.bound
    ]


def _is_far_beyond(target: Target, value: float) -> bool:
    if target.at_least is not None:
        return value < target.bound / FAR_BEYOND
    return value > target.bound * FAR_BEYOND


def _proves(target: Target, reading: Reading) -> bool:
    """Whether the interval lies on the right side, also with every disputed audit counted against the machine."""
    for found in (reading.estimate, reading.worst):
        if found is None:
            continue
        end = found.low if target.at_least is not None else found.high
        if end is None or _wrong_side(target, end):
            return False
    return not _clearly_below(target, reading)


def _as_json(reading: Reading) -> dict[str, Any]:
    found = reading.estimate
    return {"value": found.value, "low": found.low, "high": found.high, "n": found.n, "reason": found.reason}
