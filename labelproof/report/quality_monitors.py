"""Alarms over the audits behind each promise: an error limit, and a change for the worse."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson

from evaluation.audit_intervals import error_rate
from evaluation.monitors import DriftMonitor, SlaMonitor
from labelproof.report.quality_data import AuditAnswer
from labelproof.report.quality_promises import REST, Promise, Promises
from labelproof.spec.hashing import short
from labelproof.store import TraceStore

BASELINE_AUDITS = 200
"""Without a promise, the upper end of the error rate of this many first audits is what later ones may not exceed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MonitorReading:
    """Where the alarms of one stream of audits stand.

    A stream is what one promise was made about: a certificate's label group, or a strategy version that runs
    without certificate. ``e_value`` alarms at ``e_needed`` (None: nothing is promised, or no audit), ``drift``
    at ``drift_needed``. ``..._alarm_at`` count audits from 1; ``change_from``: when the error rate most likely
    rose, of an alarm.
    """

    certificate_id: str | None
    strategy_fp: str | None
    group: str
    n: int
    n_wrong: int
    limit: float | None
    e_value: float | None
    e_needed: float | None
    sla_alarm_at: int | None
    sla_alarm_time: datetime | None
    baseline: float | None
    drift: float | None
    drift_needed: float | None
    drift_alarm_at: int | None
    drift_alarm_time: datetime | None
    change_at: int | None
    change_from: datetime | None
    reason: str | None
    """Why there is no drift alarm to read."""

    @property
    def sla_alarm(self) -> bool:
        return self.sla_alarm_at is not None

    @property
    def drift_alarm(self) -> bool:
        return self.drift_alarm_at is not None

    @property
    def about(self) -> str:
        """Which decisions, in words."""
        of = (
            f"certificate {self.certificate_id}"
            if self.certificate_id
            else f"version {short(self.strategy_fp or '')}"
        )
        return of if self.group == REST else f"{of}, label {self.group}"

    def to_json(self) -> dict[str, Any]:
        values = {
            key: value.isoformat() if isinstance(value, datetime) else value
            for key, value in asdict(self).items()
        }
        return {**values, "sla_alarm": self.sla_alarm, "drift_alarm": self.drift_alarm}

    def lines(self) -> list[tuple[str, str]]:
        """Return (heading, text) pairs for the two alarms."""
        found = []
        if self.e_value is not None and self.e_needed is not None and self.limit is not None:
            state = "no alarm"
            if self.sla_alarm_at is not None:
                state = f"ALARM at audit {self.sla_alarm_at} ({_day(self.sla_alarm_time)})"
            found.append(
                (
                    "SLA monitor",
                    (
                        f"{self.about}: {state}; e-value {_number(self.e_value)} of {_number(self.e_needed)} needed against "
                        f"at most {100 * self.limit:g} % wrong ({self.n_wrong} of {self.n} audited)"
                    ),
                )
            )
        if self.drift is None or self.drift_needed is None:
            found.append(("Drift monitor", f"{self.about}: {self.reason}"))
            return found
        state = "no alarm"
        if self.drift_alarm_at is not None:
            state = (
                f"ALARM at audit {self.drift_alarm_at} ({_day(self.drift_alarm_time)}); errors most likely rose from "
                f"audit {self.change_at} on ({_day(self.change_from)})"
            )
        found.append(
            (
                "Drift monitor",
                (
                    f"{self.about}: {state}; evidence {_number(self.drift)} of {_number(self.drift_needed)} needed for a "
                    f"rise above {100 * (self.baseline or 0.0):.2g} % wrong"
                ),
            )
        )
        return found

    def why_void(self) -> str | None:
        """Return why a certificate under which this was read must be voided; None without an alarm."""
        if self.drift_alarm_at is not None:
            return (
                f"drift alarm at audit {self.drift_alarm_at}: errors among audited decisions rose above "
                f"{100 * (self.baseline or 0.0):.2g} %, most likely from {_day(self.change_from)} on"
            )
        if self.sla_alarm_at is not None:
            return (
                f"SLA alarm at audit {self.sla_alarm_at}: {self.n_wrong} of {self.n} audited decisions were wrong, "
                f"and at most {100 * (self.limit or 0.0):g} % was promised"
            )
        return None


def monitor_readings(
    answers: Sequence[AuditAnswer],
    promises: Promises,
    asked: set[tuple[str | None, str]],
    certificates: Mapping[str, Mapping[str, Any]],
) -> tuple[MonitorReading, ...]:
    """Return the alarms of every stream that ``asked`` (certificate, strategy version) belongs to.

    ``answers``: all settled audits of the project in the order drawn. Audits that wait leave gaps, as if they
    had never been drawn. Streams under a certificate come first, then by strategy version and label.
    """
    certified = {certificate for certificate, _ in asked if certificate}
    versions = {version for certificate, version in asked if not certificate}
    streams: dict[tuple[str, str, str], tuple[Promise | None, list[AuditAnswer]]] = {}
    for answer in answers:
        if answer.certificate_id in certified or (
            not answer.certificate_id and answer.strategy_fp in versions
        ):
            promise = promises.of(answer.certificate_id, answer.label)
            version = "" if answer.certificate_id else answer.strategy_fp
            key = (answer.certificate_id or "", version, promise.group if promise else REST)
            streams.setdefault(key, (promise, []))[1].append(answer)
    found = []
    for key in sorted(streams, key=lambda key: (not key[0], key)):
        promise, stream = streams[key]
        stored = certificates.get(key[0])
        found.append(
            _reading(key, promise, stream, None if stored is None else orjson.loads(stored["spec_json"]))
        )
    return tuple(found)


def void_alarmed(
    store: TraceStore,
    readings: Sequence[MonitorReading],
    certificates: Mapping[str, Mapping[str, Any]],
    now: datetime,
) -> dict[str, str]:
    """Void the stored certificates under which a monitor alarms, once each; return id -> why."""
    from agents.certificates import void

    voided: dict[str, str] = {}
    for reading in readings:
        key, why = reading.certificate_id, reading.why_void()
        if key is None or why is None or key in voided:
            continue
        stored = certificates.get(key)
        if stored is not None and not stored["voided"]:
            void(store, key, why, now)
            voided[key] = why
    return voided


def _reading(
    key: tuple[str, str, str],
    promise: Promise | None,
    stream: Sequence[AuditAnswer],
    spec: Mapping[str, Any] | None,
) -> MonitorReading:
    wrong = np.array([answer.wrong for answer in stream], dtype=np.bool_)
    prob = np.array([answer.inclusion_prob for answer in stream], dtype=np.float64)
    times = [answer.decided_at for answer in stream]
    least = _least_prob(prob, spec)
    reading = MonitorReading(
        certificate_id=key[0] or None,
        strategy_fp=key[1] or None,
        group=key[2],
        n=len(stream),
        n_wrong=int(wrong.sum()),
        limit=None,
        e_value=None,
        e_needed=None,
        sla_alarm_at=None,
        sla_alarm_time=None,
        baseline=None,
        drift=None,
        drift_needed=None,
        drift_alarm_at=None,
        drift_alarm_time=None,
        change_at=None,
        change_from=None,
        reason=None,
    )
    if promise is not None:
        sla = SlaMonitor(limit=promise.alpha, delta=promise.delta, min_inclusion_prob=least).update(
            wrong, prob
        )
        reading = replace(
            reading,
            limit=promise.alpha,
            e_value=sla.e_value,
            e_needed=1 / promise.delta,
            sla_alarm_at=sla.alarm_at,
            sla_alarm_time=_time(times, sla.alarm_at),
        )
        return _with_drift(reading, _baseline(promise, spec), 0, wrong, prob, least, times)
    if len(stream) <= BASELINE_AUDITS:
        why = f"nothing was promised, and it takes more than {BASELINE_AUDITS} audits to see what is usual"
        return replace(reading, reason=f"{why} ({len(stream)} so far)")
    usual = error_rate(wrong[:BASELINE_AUDITS], prob[:BASELINE_AUDITS])
    return _with_drift(reading, usual.high, BASELINE_AUDITS, wrong, prob, least, times)


def _with_drift(
    reading: MonitorReading,
    baseline: float | None,
    skip: int,
    wrong: npt.NDArray[np.bool_],
    prob: npt.NDArray[np.float64],
    least: float | None,
    times: Sequence[datetime],
) -> MonitorReading:
    """Add the drift alarm over the audits after the first ``skip``."""
    if baseline is None or not 0 < baseline < 1:
        return replace(reading, reason="no rate below 100 % to compare with")
    start = DriftMonitor(baseline=baseline, min_inclusion_prob=least)
    drift = start.update(wrong[skip:], prob[skip:])
    change = None
    if drift.alarm_at is not None:
        # What spoke for a change when the alarm went off; later audits may be better again.
        change = start.update(
            wrong[skip : skip + drift.alarm_at], prob[skip : skip + drift.alarm_at]
        ).change_at
    alarm_at = None if drift.alarm_at is None else skip + drift.alarm_at
    change_at = None if change is None else skip + change
    return replace(
        reading,
        baseline=baseline,
        drift=math.exp(min(700.0, float(drift.path[-1]))),
        drift_needed=drift.mean_run,
        drift_alarm_at=alarm_at,
        drift_alarm_time=_time(times, alarm_at),
        change_at=change_at,
        change_from=_time(times, change_at),
    )


def _least_prob(prob: npt.NDArray[np.float64], spec: Mapping[str, Any] | None) -> float | None:
    """Return the smallest inclusion probability of the audit plan or the audits; None when all are equal."""
    plan = None if spec is None else spec.get("audit_plan")
    if isinstance(plan, str):
        plan = orjson.loads(plan)
    planned = [float(p) for p in plan["stratum_prob"]] if plan else []
    every = {*planned, *(float(p) for p in np.unique(prob))}
    return min(every) if len(every) > 1 else None


def _baseline(promise: Promise, spec: Mapping[str, Any] | None) -> float:
    """Return the error rate that certification bounded, else the promised one."""
    for group in (spec or {}).get("groups") or ():
        upper = group.get("upper")
        if group["group"] == promise.group and upper is not None and 0 < upper <= promise.alpha:
            return float(upper)
    return promise.alpha


def _time(times: Sequence[datetime], at: int | None) -> datetime | None:
    return None if at is None else times[at - 1]


def _day(when: datetime | None) -> str:
    return "unknown" if when is None else f"{when:%Y-%m-%d}"


def _number(value: float) -> str:
    """Return a number of evidence in few characters: 0.31, 4.2, 120, 1 000, 3.2e+09."""
    if value >= 1e6:
        return f"{value:.2g}"
    return f"{value:.2g}" if value < 10 else f"{value:,.0f}".replace(",", " ")
