"""Stopping the line: from the next batch on every item goes to a person, until somebody starts the line again.

One switch a project, whatever the strategy, its certificate or a roll-out say. It is kept as an alarm (kind `run`,
subject `line`), so that the monitor shows it, escalates it when it is forgotten, and its history stays.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

import orjson

from labelproof.spec.errors import ConfigError
from labelproof.spec.hashing import digest
from labelproof.spec.project import ProjectFolder
from labelproof.store import TraceStore

KIND, SUBJECT, LEVEL = "run", "line", "major"
_HISTORY = (
    "SELECT alarm_id, project, event, reason, actor, ts FROM alarms"
    " WHERE kind = 'run' AND subject = 'line' AND event IN ('breached', 'recovered') ORDER BY ts, event"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class StoppedLine:
    """A project whose items all go to people; ``since`` when, ``by`` whom and ``why``."""

    alarm_id: str
    project: str
    since: datetime
    by: str
    why: str

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def stopped_lines(store: TraceStore) -> dict[str, StoppedLine]:
    """Return the lines that are stopped now, by project."""
    now: dict[str, StoppedLine] = {}
    for row in store.query(_HISTORY, fresh=True, only=("alarms",)).to_pylist():
        if row["event"] == "breached":
            now[row["project"]] = StoppedLine(
                alarm_id=row["alarm_id"],
                project=row["project"],
                since=row["ts"],
                by=row["actor"] or "",
                why=row["reason"] or "",
            )
        elif row["project"] in now and now[row["project"]].alarm_id == row["alarm_id"]:
            del now[row["project"]]
    return now


def stopped_line(store: TraceStore, project: str) -> StoppedLine | None:
    """Return the project's stopped line, None while the machine may decide."""
    return stopped_lines(store).get(project)


def stop_line(store: TraceStore, folder: ProjectFolder, *, why: str, by: str, now: datetime) -> StoppedLine:
    """Send everything to people from the next batch on; a line that is stopped already stays as it is."""
    _reason(why)
    known = stopped_line(store, folder.name)
    if known is not None:
        return known
    n_before = store.query(
        "SELECT count(DISTINCT alarm_id) AS n FROM alarms WHERE project = ? AND kind = ? AND subject = ?",
        [folder.name, KIND, SUBJECT],
        fresh=True,
        only=("alarms",),
    ).to_pylist()[0]["n"]
    content = ["alarm", folder.name, KIND, SUBJECT, n_before]
    line = StoppedLine(
        alarm_id="A-" + digest(content).removeprefix("b2:")[:12],
        project=folder.name,
        since=now,
        by=by,
        why=why.strip(),
    )
    store.append("alarms", _row(folder, line, "breached", by, why, now))
    return line


def start_line(
    store: TraceStore, folder: ProjectFolder, *, why: str, by: str, now: datetime
) -> StoppedLine | None:
    """Let the machine decide again from the next batch on; returns what was stopped, None if nothing was."""
    _reason(why)
    line = stopped_line(store, folder.name)
    if line is not None:
        store.append("alarms", _row(folder, line, "recovered", by, why, now))
    return line


def _reason(why: str) -> None:
    if not why.strip():
        raise ConfigError("expected a reason, found none", key="--why", hint="--why 'complaints about spam'")


def _row(
    folder: ProjectFolder, line: StoppedLine, event: str, by: str, why: str, now: datetime
) -> dict[str, list[Any]]:
    """Return the alarm's event; the first contact is told of a stop, the monitor tells the others in time."""
    told = folder.spec.contacts[0] if event == "breached" and folder.spec.contacts else None
    channel = f"({told.channel})" if told is not None and told.channel else ""
    contact = "" if told is None else " ".join(part for part in (told.name, channel) if part)
    row = {
        "alarm_id": line.alarm_id,
        "project": line.project,
        "kind": KIND,
        "subject": SUBJECT,
        "event": event,
        "level": LEVEL,
        "role": None if told is None else told.role,
        "contact": contact or None,
        "value": None,
        "bound": None,
        "change_from": None,
        "reason": why.strip(),
        "evidence_json": orjson.dumps({} if told is None else {"contact": 0}).decode(),
        "actor": by,
        "ts": now,
        "flow_run_id": None,
    }
    return {name: [value] for name, value in row.items()}
