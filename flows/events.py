"""What automations can react to: a target breached, escalated or recovered; drift; a sentinel set that changed.

An event names project, subject, level, who is to be told and why. It carries no text of an item, no answer of a
reviewer and no secret. Its id follows from the alarm and what happened to it: sent twice, it is the same event.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from uuid import NAMESPACE_URL, UUID, uuid5

from prefect.events import emit_event

from labelproof.report.monitor.model import AlarmEvent

RESOURCE = "labelproof.project."
_LONGEST = 500


def event_name(event: AlarmEvent) -> str | None:
    """Return the name under which automations know it; None for what is not sent (a person took an alarm on)."""
    if event.event == "acknowledged":
        return None
    if event.event == "breached" and event.kind == "drift":
        return "labelproof.drift.detected"
    if event.event == "breached" and event.kind == "sentinel":
        return "labelproof.sentinel.changed"
    return f"labelproof.{event.kind}.{event.event}"


def event_id(event: AlarmEvent) -> UUID:
    """Return an id that the same happening always has."""
    about = f"{event.project}/{event.alarm_id}/{event.event}/{event.evidence.get('contact', '')}"
    return uuid5(NAMESPACE_URL, f"labelproof:{about}")


def payload(event: AlarmEvent) -> dict[str, Any]:
    """Return what the event says, as JSON values."""
    return {
        "project": event.project,
        "alarm_id": event.alarm_id,
        "kind": event.kind,
        "subject": event.subject,
        "event": event.event,
        "level": event.level,
        "role": event.role,
        "contact": event.contact,
        "value": event.value,
        "bound": event.bound,
        "change_from": None if event.change_from is None else event.change_from.isoformat(),
        "reason": event.reason[:_LONGEST],
        "at": event.ts.isoformat(),
    }


def emit(events: Iterable[AlarmEvent]) -> list[str]:
    """Send the events to Prefect; returns the names of those sent. Their place in time is that of sending."""
    sent = []
    for event in events:
        name = event_name(event)
        if name is not None:
            emit_event(
                event=name,
                resource={
                    "prefect.resource.id": f"{RESOURCE}{event.project}",
                    "prefect.resource.name": event.project,
                    "labelproof.subject": event.subject,
                    "labelproof.level": event.level,
                },
                payload=payload(event),
                id=event_id(event),
            )
            sent.append(name)
    return sent
