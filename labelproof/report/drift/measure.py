"""Drift of a project's traffic and answers, one measurement a kind: quiet, alarm, or unknown and what is missing."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import cache
from typing import Any, TypeAlias

import numpy as np

from evaluation._arrays import BoolArray
from evaluation.drift import DriftDetector, replay
from labelproof.report.drift.provider import measure_provider
from labelproof.report.drift.read import (
    DAY,
    EPOCH,
    Traffic,
    day_number,
    day_start,
    days_of_work,
    main_version,
)
from labelproof.report.drift.sentinel import SentinelVerdict, sentinel_verdict
from labelproof.report.drift.streams import (
    Shift,
    Stream,
    confidence_stream,
    label_stream,
    language_stream,
    length_stream,
    manipulation_stream,
    text_stream,
)
from labelproof.report.drift.version import measure_version
from labelproof.report.drift.words import alarm_reason, learning_reason, quiet_reason
from labelproof.report.monitor.model import Measurement
from labelproof.spec.monitoring import DriftKind, MonitorPolicy
from labelproof.spec.project import ProjectFolder
from labelproof.store import TraceStore

EVENTS: frozenset[str] = frozenset({"provider", "strategy"})
"""Kinds that are facts, not tests: they have no false alarms."""
BLOCKS = 2
"""Whole `reference_days` that are read before the one under way: an alarm of one is still known in the next."""
_LARGEST = 709.0
Sides: TypeAlias = tuple[BoolArray, BoolArray]
"""Batches before and after."""


def measure_drift(
    store: TraceStore,
    folder: ProjectFolder,
    *,
    now: datetime,
    run_id: str | None = None,
    seed: int = 0,
    sentinel: Sequence[Measurement] | None = None,
) -> tuple[Measurement, ...]:
    """Return one measurement per kind of `monitoring.drift`, from what was decided up to ``now``.

    ``sentinel``: what ``measure_sentinel`` found at ``now``, where it is known; by default it is measured here.
    """
    policy = folder.spec.monitoring
    if not policy.drift:
        return ()
    day, _ = days_of_work(store, folder.name, now)
    verdict = sentinel_verdict(store, folder, now=now, found=sentinel)
    look = _Look(
        store=store, folder=folder, policy=policy, now=now, run_id=run_id, seed=seed, verdict=verdict
    )
    if len(day) == 0:
        return tuple(look.unknown(kind, "nothing has been decided yet") for kind in policy.drift)
    block = int((day_number(now) - day[0]) // policy.reference_days)
    first = int(day[0] + max(0, block - BLOCKS) * policy.reference_days)
    traffic = Traffic(store=store, project=folder.name, until=now, first=first)
    version = main_version(store, folder.name, now, now - policy.window_days * DAY)
    streams = _streams(traffic, look, version)
    found = []
    for kind in policy.drift:
        if kind == "provider":
            found.append(measure_provider(store, folder, version=version, now=now, run_id=run_id))
        elif kind == "strategy":
            found.append(measure_version(store, folder, version=version, now=now, run_id=run_id))
        elif kind in ("label_mix", "confidence") and version is None:
            found.append(look.unknown(kind, f"nothing was decided in the last {policy.window_days:g} days"))
        elif kind == "manipulation" and not folder.spec.routing.review_manipulation:
            found.append(look.unknown(kind, "`routing.review_manipulation` is off: no decision says so"))
        else:
            found.append(look.measured(kind, streams[kind]()))
    return tuple(found)


def _streams(traffic: Traffic, look: _Look, version: str | None) -> dict[str, Callable[[], Stream]]:
    today, seed = day_number(look.now), look.seed
    texts = cache(traffic.texts)
    known = version or ""
    return {
        "label_mix": lambda: label_stream(traffic, known, today, seed),
        "confidence": lambda: confidence_stream(traffic, known, today, seed),
        "language": lambda: language_stream(traffic, texts, look.policy.language_column, today, seed),
        "length": lambda: length_stream(texts(), today, seed),
        "text": lambda: text_stream(texts(), today, seed),
        "manipulation": lambda: manipulation_stream(traffic, today, seed),
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class _Look:
    """One pass: who looks, when, by which policy."""

    store: TraceStore
    folder: ProjectFolder
    policy: MonitorPolicy
    now: datetime
    run_id: str | None
    seed: int
    verdict: SentinelVerdict | None

    @property
    def threshold(self) -> float:
        """Evidence that alarms: all tests together then have one false alarm in `drift_mean_days`."""
        tests = sum(kind not in EVENTS for kind in self.policy.drift)
        return max(1, tests) * self.policy.drift_mean_days

    def unknown(self, kind: DriftKind, reason: str, *, n: int = 0, sql: str = "") -> Measurement:
        return Measurement(
            kind="drift",
            subject=kind,
            state="unknown",
            value=None,
            n=n,
            evidence_needed=self.threshold,
            reason=reason,
            sql=sql,
            window_to=self.now,
            run_id=self.run_id,
        )

    def measured(self, kind: DriftKind, stream: Stream) -> Measurement:
        """Replay the kind's detector over its batches and say where it stands."""
        detector = DriftDetector(
            threshold=self.threshold,
            reference_days=self.policy.reference_days,
            window_days=self.policy.window_days,
            weekends=stream.batches.are_days,
        )
        state = replay(detector, stream.batches.last, stream.scorer)
        if state.phase == "learning" or not (state.watched or state.alarms):
            reason = learning_reason(state, stream)
            return self.unknown(kind, reason, n=int(stream.n.sum()), sql=stream.sql)
        return self._standing(kind, stream, state)

    def _standing(self, kind: DriftKind, stream: Stream, state: DriftDetector) -> Measurement:
        alarm, last = state.alarm, stream.batches.last
        position = np.arange(len(last))
        if alarm is None:
            known = np.array(sorted({*state.reference, *state.watched}), dtype=np.int64)
            begin = (self.now - EPOCH) / DAY - self.policy.window_days
            recent = int((last[known] + 1 > begin).sum())
            split = min(max(len(known) - max(recent, 1), state.min_batches), len(known) - 1)
            before, after = np.isin(position, known[:split]), np.isin(position, known[split:])
        else:
            before = np.isin(position, alarm.before)
            after = position >= alarm.change.at
        if not stream.n[before].sum() or not stream.n[after].sum():  # such as confidences that nobody knows
            when = "before" if stream.n[after].sum() else "in the days looked at"
            return self.unknown(
                kind, f"no {stream.about} is known {when}", n=int(stream.n.sum()), sql=stream.sql
            )
        shift = stream.shift(before, after)
        log_evidence = state.log_evidence if alarm is None else alarm.log_evidence
        reason = (
            quiet_reason(kind, stream, state, shift)
            if alarm is None
            else alarm_reason(kind, stream, alarm, shift, self.verdict)
        )
        return Measurement(
            kind="drift",
            subject=kind,
            state="quiet" if alarm is None else "alarm",
            value=shift.effect.value,
            low=shift.effect.low,
            high=shift.effect.high,
            n=int(stream.n[after].sum()),
            method=f"e-SR over days; {shift.effect.method}",
            evidence=None if log_evidence is None else math.exp(min(log_evidence, _LARGEST)),
            evidence_needed=self.threshold,
            reason=reason,
            sql=stream.sql,
            window_from=day_start(int(stream.batches.first[after][0])),
            window_to=self.now.astimezone(UTC),
            strategy_fp=stream.version,
            run_id=self.run_id,
            change_from=None if alarm is None else day_start(int(stream.batches.first[alarm.change.at])),
            detail=_detail(stream, state, shift, (before, after)),
        )


def _detail(stream: Stream, state: DriftDetector, shift: Shift, sides: Sides) -> dict[str, Any]:
    """Numbers for a reader and the root-cause analysis; texts are named by item id alone."""
    alarm, first = state.alarm, stream.batches.first
    found: dict[str, Any] = {
        "about": stream.about,
        "moved": [asdict(one) for one in shift.moved],
        "items": list(shift.items),
        "n_before": int(stream.n[sides[0]].sum()),
        "n_after": int(stream.n[sides[1]].sum()),
        "days_before": int(sides[0].sum()),
        "days_after": int(sides[1].sum()),
        "watching_since": None
        if state.watching_since is None
        else day_start(state.watching_since).date().isoformat(),
        "ended": None,
    }
    if alarm is not None:
        low, high = day_start(int(first[alarm.change.low])), day_start(int(first[alarm.change.high]))
        found["change_between"] = [low.date().isoformat(), high.date().isoformat()]
        found["alarm_on"] = day_start(int(stream.batches.last[alarm.at])).date().isoformat()
    elif state.alarms:
        found["ended"] = state.alarms[-1].how
    return found
