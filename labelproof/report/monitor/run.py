"""One pass of the monitor: measure, store, raise and end alarms, void certificates, open and check findings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

from labelproof.report.monitor.alarms import WATCHED, Alarm, alarms_of, step
from labelproof.report.monitor.metrics import Window
from labelproof.report.monitor.model import AlarmEvent, Measurement, measurement_rows
from labelproof.report.monitor.targets import measure_targets, measure_volume, window_up_to
from labelproof.report.quality_data import read_certificates, read_streams
from labelproof.report.quality_monitors import monitor_readings, void_alarmed
from labelproof.report.quality_promises import Promises
from labelproof.spec.project import ProjectFolder
from labelproof.store import TraceStore

VOIDING = frozenset({"label_mix", "confidence", "text", "provider"})
"""Kinds of drift after which what was proven on earlier traffic is proven no longer; so does a changed sentinel."""
OF_THE_TRAFFIC = frozenset({"text"})
"""These end the certificates of every strategy, the others those of the strategy in use."""
_LONGEST_WHY = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class MonitorReport:
    """What one pass found and did. ``voided``: certificate id -> why. ``findings``: ids of those opened.

    ``alarms``: those that are open after it. ``checked``: what became of findings' checks, a sentence each.
    """

    project: str
    at: datetime
    measurements: tuple[Measurement, ...]
    events: tuple[AlarmEvent, ...]
    voided: Mapping[str, str]
    findings: tuple[str, ...]
    alarms: tuple[Alarm, ...] = ()
    checked: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    to_send: tuple[AlarmEvent, ...] = ()
    """For a pass of a flow: its events, and those of passes since the last flow's that had no Prefect to tell."""

    @property
    def is_breached(self) -> bool:
        """Whether something that is watched is breached or alarms now."""
        return any(one.is_bad for one in self.measurements)

    def to_json(self) -> dict[str, Any]:
        return {
            "project": self.project,
            "at": self.at.isoformat(),
            "breached": self.is_breached,
            "measurements": [one.to_json() for one in self.measurements],
            "events": [asdict(one) for one in self.events],
            "alarms": [
                {
                    "alarm_id": one.alarm_id,
                    "kind": one.kind,
                    "subject": one.subject,
                    "state": one.state,
                    "level": one.level,
                    "since": one.breached_at,
                    "change_from": one.change_from,
                    "reason": one.reason,
                    "told": [
                        {"at": event.ts, "role": event.role, "contact": event.contact}
                        for event in one.events
                        if event.contact or event.role
                    ],
                }
                for one in self.alarms
            ],
            "voided_certificates": dict(self.voided),
            "findings": list(self.findings),
            "checked": list(self.checked),
            "notes": list(self.notes),
        }


def is_watched(folder: ProjectFolder) -> bool:
    """Whether a project asks to be watched after each run: it has targets or a sentinel set."""
    return bool(folder.spec.targets) or folder.spec.monitoring.sentinel.items > 0


@dataclass(frozen=True, slots=True, kw_only=True)
class AfterRun:
    """What watching after a run gave: a report, or why there is none (a problem of the watching, not of the run)."""

    report: MonitorReport | None = None
    problem: str | None = None


def monitor_after_run(
    store: TraceStore, folder: ProjectFolder, *, now: datetime, run_id: str, flow_run_id: str | None = None
) -> AfterRun | None:
    """Make a pass after a production run; None for a project that asks for none. Never raises: the run stands."""
    if not is_watched(folder):
        return None
    try:
        store.drain_all(10.0)
        return AfterRun(report=monitor(store, folder, now=now, run_id=run_id, flow_run_id=flow_run_id))
    except Exception as error:  # noqa: BLE001  # whatever is wrong with watching must not fail a run that is done
        what = str(error) or type(error).__name__
        return AfterRun(problem=f"the targets were not measured after this run: {what}")


def monitor(
    store: TraceStore,
    folder: ProjectFolder,
    *,
    now: datetime,
    run_id: str | None = None,
    flow_run_id: str | None = None,
    seed: int = 0,
) -> MonitorReport:
    """Return what a pass at ``now`` found, after storing it; a second pass at one ``now`` changes no alarm."""
    from labelproof.report.findings.checks import run_checks
    from labelproof.report.findings.hooks import breaches_without_finding, open_from_alarms

    told_until = None if flow_run_id is None else _last_flow(store, folder.name, now)
    measured = measure(store, folder, now=now, run_id=run_id, seed=seed)
    # A flow's volume is stored last, once Prefect has been told: see `note_told`.
    at_once = [one for one in measured if flow_run_id is None or one.kind != "volume"]
    store.append("measurements", measurement_rows(folder.name, at_once, now, flow_run_id))
    events = step(store, folder, measured, now=now)
    alarms = alarms_of(store, folder.name)
    voided = void_by_audits(store, folder, now) | void_by_drift(store, folder, alarms, now)
    breaches = [one.events[0] for one in alarms if one.is_open and one.kind in WATCHED]
    missed = breaches_without_finding(
        store,
        folder.name,
        [one for one in breaches if one.alarm_id not in {event.alarm_id for event in events}],
    )
    findings = open_from_alarms(store, folder, [*missed, *events], now=now)
    checks = run_checks(store, folder, now=now, run_id=run_id)
    return MonitorReport(
        project=folder.name,
        at=now,
        measurements=measured,
        events=events,
        voided=voided,
        findings=findings,
        alarms=tuple(alarm for alarm in alarms if alarm.is_open),
        checked=tuple(
            f"finding {check.finding_id} {check.verdict}: {check.title} ({check.words})"
            for check in checks
            if check.verdict in ("closed", "reopened")
        ),
        to_send=()
        if told_until is None
        else tuple(event for alarm in alarms for event in alarm.events if event.ts > told_until),
    )


def note_told(store: TraceStore, report: MonitorReport, flow_run_id: str) -> None:
    """Store that a flow's pass has told Prefect its events; without it the next flow sends them again, with their ids."""
    last = [one for one in report.measurements if one.kind == "volume"]
    until = max([report.at, *(event.ts for event in report.to_send)])
    store.append("measurements", measurement_rows(report.project, last, until, flow_run_id))


def measure(
    store: TraceStore, folder: ProjectFolder, *, now: datetime, run_id: str | None = None, seed: int = 0
) -> tuple[Measurement, ...]:
    """Return all measurements at ``now``: targets, volume, drift, sentinel; stores nothing."""
    from labelproof.report.drift.measure import measure_drift
    from labelproof.report.drift.sentinel import measure_sentinel

    windows: dict[datetime, Window] = {}
    since = now - timedelta(days=folder.spec.monitoring.window_days)
    with store.held():
        targets = measure_targets(store, folder, now=now, run_id=run_id, windows=windows)
        sentinel = measure_sentinel(store, folder, now=now)
        drift = measure_drift(store, folder, now=now, run_id=run_id, seed=seed, sentinel=sentinel)
        return (
            *targets,
            *drift,
            *sentinel,
            measure_volume(window_up_to(windows, store, folder, since, now)),
        )


def _last_flow(store: TraceStore, project: str, now: datetime) -> datetime:
    """Return when a flow's pass has told Prefect last, at most a day ago: of what came since then nobody may know."""
    sql = (
        "SELECT max(ts) AS ts FROM measurements WHERE project = $project AND kind = 'volume' AND flow_run_id <> '' "
        "AND ts < $now"
    )
    rows = store.query(sql, {"project": project, "now": now}, fresh=True, only=("measurements",)).to_pylist()
    return max(rows[0]["ts"] or now - timedelta(days=1), now - timedelta(days=1))


def void_by_audits(store: TraceStore, folder: ProjectFolder, now: datetime) -> dict[str, str]:
    """Void the valid certificates whose own audits raise an alarm, as `labelproof quality` does; return id -> why."""
    from agents.certificates import standings

    valid = [one.certificate for one in standings(store, folder.name, now) if one.state == "valid"]
    if not valid:
        return {}
    stored = read_certificates(store, [one.certificate_id for one in valid])
    asked: set[tuple[str | None, str]] = {(one.certificate_id, one.strategy_fp) for one in valid}
    readings = monitor_readings(
        read_streams(store, folder.name), Promises(folder.spec, stored), asked, stored
    )
    return void_alarmed(store, readings, stored, now)


def void_by_drift(
    store: TraceStore, folder: ProjectFolder, alarms: Sequence[Alarm], now: datetime
) -> dict[str, str]:
    """Void the certificates issued before an open drift or sentinel alarm; return id -> why.

    What was certified after the alarm rests on the traffic as it is now, and stays.
    """
    from agents.certificates import standings, void

    speaking = [
        alarm
        for alarm in alarms
        if alarm.is_open
        and (alarm.kind == "sentinel" or (alarm.kind == "drift" and alarm.subject in VOIDING))
    ]
    if not speaking:
        return {}
    voided: dict[str, str] = {}
    for standing in standings(store, folder.name, now):
        certificate = standing.certificate
        for alarm in speaking:
            is_meant = alarm.subject in OF_THE_TRAFFIC or certificate.strategy == folder.spec.default_strategy
            is_earlier = datetime.fromisoformat(certificate.issued_at) <= alarm.breached_at
            if standing.state == "valid" and is_meant and is_earlier:
                what = "sentinel set" if alarm.kind == "sentinel" else f"{alarm.subject} drift"
                why = f"{what}, alarm {alarm.alarm_id}: {alarm.reason}"[:_LONGEST_WHY]
                void(store, certificate.certificate_id, why, now)
                voided[certificate.certificate_id] = why
                break
    return voided
