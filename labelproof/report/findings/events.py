"""The rows of `findings`: appended as events, read back, one writer at a time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields, replace
from datetime import UTC, timedelta
from time import monotonic, sleep
from typing import Any

import orjson

from agents.run.lock import RunLock
from labelproof.report.findings.model import Finding, FindingEvent, findings_from
from labelproof.spec.errors import ConfigError
from labelproof.spec.hashing import PREFIX, digest
from labelproof.store import TraceStore

EVENTS = "SELECT * FROM findings WHERE $project IS NULL OR project = $project ORDER BY ts, finding_id"
ONE = "SELECT * FROM findings WHERE project = $project AND finding_id = $id ORDER BY ts"
TICK = timedelta(microseconds=1)
_WAIT_S = 10.0
_RENAMED = {"check": "check_text", "evidence": "evidence_json", "due": "due_ts"}


def record(store: TraceStore, events: Sequence[FindingEvent]) -> None:
    """Append events as one durable batch: all or none."""
    if not events:
        return
    columns: dict[str, list[Any]] = {}
    for name in (field.name for field in fields(FindingEvent)):
        values = [getattr(event, name) for event in events]
        if name == "evidence":
            values = [None if one is None else orjson.dumps(one).decode() for one in values]
        columns[_RENAMED.get(name, name)] = values
    store.append("findings", columns)


def read_events(store: TraceStore, project: str | None) -> list[FindingEvent]:
    """Return the events of a project's findings, or of all projects', oldest first."""
    rows = store.query(EVENTS, {"project": project}, fresh=True, only=("findings",)).to_pylist()
    return [_event_of(row) for row in rows]


@contextmanager
def one_writer(store: TraceStore, project: str) -> Iterator[None]:
    """Let one process at a time decide on a project's findings; ``ConfigError`` when another one takes long."""
    name = digest(["findings", project]).removeprefix(PREFIX)[:12]
    lock = RunLock(store.location.root / "runs" / f"findings-{name}.lock")
    deadline = monotonic() + _WAIT_S
    while not lock.acquire():
        if monotonic() > deadline:
            raise ConfigError(
                f"process {lock.holder()} is writing findings of project {project!r}",
                hint="wait for it, then look: labelproof findings list",
            )
        sleep(0.02)
    try:
        yield
    finally:
        lock.release()


def later(known: Finding, events: Sequence[FindingEvent]) -> list[FindingEvent]:
    """Return events at their times, but after all stored ones and one after the other."""
    last = known.changed_at
    found = []
    for event in events:
        last = max(event.ts, last + TICK)
        found.append(replace(event, ts=last))
    return found


def stored_finding(store: TraceStore, project: str, finding_id: str) -> Finding | None:
    """Return a finding as it stands in the store, None when there is none."""
    rows = store.query(
        ONE,
        {"project": project, "id": finding_id},
        fresh=True,
        only=("findings",),
    ).to_pylist()
    found = findings_from(_event_of(row) for row in rows)
    return found[0] if found else None


def _event_of(row: Mapping[str, Any]) -> FindingEvent:
    known = {name: row[_RENAMED.get(name, name)] for name in (field.name for field in fields(FindingEvent))}
    text = known["evidence"]
    known["evidence"] = None if text is None else orjson.loads(text)
    known["ts"] = known["ts"].astimezone(UTC)
    known["due"] = None if known["due"] is None else known["due"].astimezone(UTC)
    return FindingEvent(**known)
