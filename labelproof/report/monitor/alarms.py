"""One open alarm for each thing that is wrong: breached, escalated when its time runs out, recovered.

What happens next is decided from what is stored plus what was measured, so that a pass may be repeated, and two at
once agree: an alarm's id is the hash of its subject and of how many alarms of that subject ended before it.
"""

from __future__ import annotations

import getpass
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import orjson

from labelproof.report.monitor.model import AlarmEvent, AlarmKind, AlarmWord, Measurement, alarm_rows
from labelproof.spec.errors import ConfigError
from labelproof.spec.hashing import digest
from labelproof.spec.monitoring import LEVELS, Level
from labelproof.spec.project import ProjectFolder
from labelproof.store import TraceStore

ACTOR = "monitor"
WATCHED: tuple[AlarmKind, ...] = ("target", "drift", "sentinel")
"""Kinds of measurement that raise alarms here; those of runs and suites are raised where they are found."""
_HISTORY = "SELECT * FROM alarms WHERE project = $project ORDER BY ts, alarm_id"


@dataclass(slots=True, kw_only=True)
class Alarm:
    """One alarm from its breach to its end; ``told``: places in the project's contacts that were told so far."""

    alarm_id: str
    kind: AlarmKind
    subject: str
    level: Level
    value: float | None
    bound: float | None
    change_from: datetime | None
    reason: str
    breached_at: datetime
    told: set[int] = field(default_factory=set)
    events: list[AlarmEvent] = field(default_factory=list)
    recovered_at: datetime | None = None
    acknowledged_at: datetime | None = None
    acknowledged_by: str | None = None

    @property
    def state(self) -> str:
        """breached, acknowledged or recovered."""
        if self.recovered_at is not None:
            return "recovered"
        return "breached" if self.acknowledged_at is None else "acknowledged"

    @property
    def is_open(self) -> bool:
        return self.recovered_at is None

    def next_step(self, hours: Sequence[float], n_contacts: int) -> tuple[int, datetime] | None:
        """Return whom (place in the contacts) it escalates to next, and when; None when it does not."""
        if self.state != "breached":
            return None
        waiting = [i for i in range(min(len(hours), n_contacts)) if i not in self.told]
        return (waiting[0], self.breached_at + timedelta(hours=hours[waiting[0]])) if waiting else None


def step(
    store: TraceStore, folder: ProjectFolder, measured: Sequence[Measurement], *, now: datetime
) -> tuple[AlarmEvent, ...]:
    """Return, and store, what happens to the project's alarms at ``now``; a second pass at one ``now`` adds nothing."""
    events = tuple(next_events(folder, alarms_of(store, folder.name), measured, now))
    if events:
        store.append("alarms", alarm_rows(events))
    return events


def next_events(
    folder: ProjectFolder, known: Sequence[Alarm], measured: Sequence[Measurement], now: datetime
) -> Iterator[AlarmEvent]:
    """Yield what happens: recoveries and withdrawn promises, then breaches, then escalations. Pure."""
    latest: dict[tuple[AlarmKind, str], Measurement] = {}
    for one in measured:
        if one.kind in ("target", "drift", "sentinel"):
            latest[one.kind, one.subject] = one
    still_open = {(alarm.kind, alarm.subject): alarm for alarm in known if alarm.is_open}
    lasting = dict(still_open)
    for key, alarm in still_open.items():
        ended = _why_over(folder, alarm, latest.get(key))
        if ended is not None:
            reason, value = ended
            yield _event(folder, alarm, "recovered", now, value=value, reason=reason)
            del lasting[key]
    opened = []
    for key, found in latest.items():
        if found.is_bad and key not in still_open:
            n_before = sum((alarm.kind, alarm.subject) == key for alarm in known)
            opened.append(_opened(folder, found, n_before, now))
            yield opened[-1].events[0]
    for alarm in [*lasting.values(), *opened]:
        yield from _escalations(folder, alarm, now)


def acknowledge(
    store: TraceStore, project: str, alarm_id: str, *, actor: str, why: str, now: datetime
) -> AlarmEvent:
    """Store that a person has taken an open alarm on: it stops escalating. ``ConfigError`` for one that is not open.

    ``alarm_id``: the id or its beginning.
    """
    if not why.strip():
        raise ConfigError("expected a reason for taking the alarm on", hint="--why 'looking into it'")
    found = [alarm for alarm in alarms_of(store, project) if alarm.alarm_id.startswith(alarm_id)]
    named = [alarm for alarm in found if alarm.alarm_id == alarm_id] or found
    if len(named) != 1:
        what = "no alarm" if not named else f"{len(named)} alarms"
        raise ConfigError(f"{what} {alarm_id!r} in project {project!r}", hint=f"labelproof monitor {project}")
    (alarm,) = named
    if not alarm.is_open:
        raise ConfigError(f"alarm {alarm.alarm_id} is over since {alarm.recovered_at:%Y-%m-%d %H:%M}")
    event = AlarmEvent(
        alarm_id=alarm.alarm_id,
        project=project,
        kind=alarm.kind,
        subject=alarm.subject,
        event="acknowledged",
        level=alarm.level,
        role=None,
        contact=None,
        value=alarm.value,
        bound=alarm.bound,
        change_from=alarm.change_from,
        reason=why.strip(),
        evidence={},
        actor=actor,
        ts=now,
    )
    if alarm.acknowledged_at is None or alarm.acknowledged_by != actor:
        store.append("alarms", alarm_rows([event]))
    return event


def alarms_of(store: TraceStore, project: str, *, since: datetime | None = None) -> tuple[Alarm, ...]:
    """Return the project's alarms, oldest first; ``since``: those that are open or changed since then."""
    rows = store.query(_HISTORY, {"project": project}, fresh=True, only=("alarms",)).to_pylist()
    listed = alarms_from(_from_row(row) for row in rows)
    if since is None:
        return listed
    return tuple(one for one in listed if one.is_open or one.events[-1].ts >= since)


def alarms_from(events: Iterable[AlarmEvent]) -> tuple[Alarm, ...]:
    """Return the alarms behind events in the order of time, oldest alarm first."""
    found: dict[str, Alarm] = {}
    for event in events:
        alarm = found.get(event.alarm_id)
        if alarm is None:
            alarm = found[event.alarm_id] = Alarm(
                alarm_id=event.alarm_id,
                kind=event.kind,
                subject=event.subject,
                level=event.level,
                value=event.value,
                bound=event.bound,
                change_from=event.change_from,
                reason=event.reason,
                breached_at=event.ts,
            )
        alarm.events.append(event)
        _note(alarm, event)
    return tuple(sorted(found.values(), key=lambda one: (one.breached_at, one.alarm_id)))


def user_name() -> str:
    """Return who runs this program, for the record."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a container's user without a name
        return "unknown"


def _note(alarm: Alarm, event: AlarmEvent) -> None:
    if event.event == "recovered":
        alarm.recovered_at = alarm.recovered_at or event.ts
    elif event.event == "acknowledged":
        alarm.acknowledged_at = alarm.acknowledged_at or event.ts
        alarm.acknowledged_by = event.actor
    place = event.evidence.get("contact")
    if isinstance(place, int):
        alarm.told.add(place)


def _why_over(
    folder: ProjectFolder, alarm: Alarm, found: Measurement | None
) -> tuple[str, float | None] | None:
    """Return why an open alarm is over, and the value then; None while it lasts, or was not measured."""
    if alarm.kind not in WATCHED:
        return None
    if found is None:
        if alarm.kind == "target" and alarm.subject not in {one.metric for one in folder.spec.targets}:
            return "no longer promised: the target was taken out of project.yaml", None
        if alarm.kind == "drift" and alarm.subject not in folder.spec.monitoring.drift:
            return "no longer watched: monitoring.drift in project.yaml leaves it out", None
        return None
    if found.is_good or (found.state == "not yet provable" and found.detail.get("recovered")):
        return found.reason or found.state, found.value
    return None


def _opened(folder: ProjectFolder, found: Measurement, n_before: int, now: datetime) -> Alarm:
    kind: AlarmKind = (
        "drift" if found.kind == "drift" else "sentinel" if found.kind == "sentinel" else "target"
    )
    content = ["alarm", folder.name, kind, found.subject, n_before]
    alarm = Alarm(
        alarm_id="A-" + digest(content).removeprefix("b2:")[:12],
        kind=kind,
        subject=found.subject,
        level=found.level,
        value=found.value,
        bound=found.bound,
        change_from=found.change_from,
        reason=found.reason,
        breached_at=now,
    )
    evidence = {
        "low": found.low,
        "high": found.high,
        "n": found.n,
        "method": found.method,
        "evidence": found.evidence,
        "evidence_needed": found.evidence_needed,
        "window_from": found.window_from,
        "window_to": found.window_to,
        "strategy_fp": found.strategy_fp,
        "run_id": found.run_id,
        "detail": found.detail,
        "sql": found.sql,
    }
    at_once = folder.spec.monitoring.escalate_after_hours[found.level][0] == 0
    place = 0 if at_once and folder.spec.contacts else None
    event = _event(folder, alarm, "breached", now, place=place, evidence=evidence)
    alarm.events.append(event)
    _note(alarm, event)
    return alarm


def _escalations(folder: ProjectFolder, alarm: Alarm, now: datetime) -> Iterator[AlarmEvent]:
    """Yield one event for each contact whose hour has come; a moment apart, so that their order is kept."""
    hours = folder.spec.monitoring.escalate_after_hours[alarm.level]
    n_told = 0
    while (due := alarm.next_step(hours, len(folder.spec.contacts))) is not None and due[1] <= now:
        place = due[0]
        lasted = (now - alarm.breached_at).total_seconds() / 3600
        why = f"open for {lasted:.0f} h without recovery or anybody taking it on: {alarm.reason}"
        n_told += 1
        event = _event(
            folder, alarm, "escalated", now + timedelta(microseconds=n_told), reason=why, place=place
        )
        alarm.told.add(place)
        yield event


def _event(
    folder: ProjectFolder,
    alarm: Alarm,
    word: AlarmWord,
    now: datetime,
    *,
    value: float | None = None,
    reason: str | None = None,
    place: int | None = None,
    evidence: Mapping[str, Any] | None = None,
) -> AlarmEvent:
    """``place``: which contact is told. Without contacts the owner of the target stands for the first."""
    role, contact = None, None
    if place is not None:
        told = folder.spec.contacts[place]
        role = told.role
        contact = (
            " ".join(part for part in (told.name, f"({told.channel})" if told.channel else "") if part)
            or None
        )
    elif word == "breached":
        contact = owner_of(folder, alarm.kind, alarm.subject)
    return AlarmEvent(
        alarm_id=alarm.alarm_id,
        project=folder.name,
        kind=alarm.kind,
        subject=alarm.subject,
        event=word,
        level=alarm.level,
        role=role,
        contact=contact,
        value=alarm.value if value is None else value,
        bound=alarm.bound,
        change_from=alarm.change_from,
        reason=alarm.reason if reason is None else reason,
        evidence={**(evidence or {}), **({} if place is None else {"contact": place})},
        actor=ACTOR,
        ts=now,
    )


def owner_of(folder: ProjectFolder, kind: str, subject: str) -> str | None:
    """Return who answers for a target: its owner, else the first contact; drift belongs to the first contact."""
    owners = [one.owner for one in folder.spec.targets if kind == "target" and one.metric == subject]
    if owners and owners[0]:
        return owners[0]
    first = folder.spec.contacts[0] if folder.spec.contacts else None
    return None if first is None else first.name or first.role


def _from_row(row: Mapping[str, Any]) -> AlarmEvent:
    level: Level = row["level"] if row["level"] in LEVELS else "major"
    return AlarmEvent(
        **{
            name: row[name]
            for name in (
                "alarm_id",
                "project",
                "kind",
                "subject",
                "event",
                "role",
                "contact",
                "value",
                "bound",
                "change_from",
                "actor",
                "ts",
            )
        },
        level=level,
        reason=row["reason"] or "",
        evidence=orjson.loads(row["evidence_json"]) if row["evidence_json"] else {},
    )
