"""Roll-outs in the store: their events appended and read back, ids, and one writer at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields
from datetime import UTC, datetime
from time import monotonic, sleep

import orjson

from agents.run.lock import RunLock
from labelproof.report.rollouts.model import RolloutEvent, RolloutState, running, states_of
from labelproof.spec.errors import ConfigError
from labelproof.spec.hashing import PREFIX, digest
from labelproof.store import TraceStore

EVENTS = (
    "SELECT rollout_id, project, event, strategy, fp_from, fp_to, share_prob, actor, reason, evidence_json,"
    " flow_run_id, ts FROM rollouts WHERE project = $project ORDER BY ts, rollout_id"
)
_WAIT_S = 10.0


def record(store: TraceStore, events: Sequence[RolloutEvent]) -> None:
    """Append events as one durable batch: all or none, in the outbox on return."""
    columns: dict[str, list[object]] = {}
    for field in fields(RolloutEvent):
        values = [getattr(event, field.name) for event in events]
        if field.name == "evidence":
            columns["evidence_json"] = [orjson.dumps(value).decode() for value in values]
        else:
            columns[field.name] = values
    store.append("rollouts", columns)


def read_rollouts(store: TraceStore, project: str) -> tuple[RolloutState, ...]:
    """Return all roll-outs of a project, the one proposed last first."""
    rows = store.query(EVENTS, {"project": project}, fresh=True, only=("rollouts",)).to_pylist()
    return states_of(
        RolloutEvent(
            **{key: value for key, value in row.items() if key not in ("evidence_json", "ts")},
            evidence=orjson.loads(row["evidence_json"] or "{}"),
            ts=row["ts"].astimezone(UTC),
        )
        for row in rows
    )


def running_rollout(store: TraceStore, project: str) -> RolloutState | None:
    """Return the roll-out that production runs of a project follow."""
    return running(read_rollouts(store, project))


def new_rollout_id(project: str, fp_to: str, now: datetime, *, flow_run_id: str | None = None) -> str:
    """Return the id of a roll-out: of a moment, or of the flow run that asks (the same one, however often it runs)."""
    what = ["rollout", project, fp_to, flow_run_id or now.isoformat()]
    return "R-" + digest(what).removeprefix(PREFIX)[:12]


@contextmanager
def one_writer(store: TraceStore, project: str) -> Iterator[None]:
    """Let one process at a time decide on a project's roll-outs; ``ConfigError`` when another one takes long."""
    name = digest(["rollouts", project]).removeprefix(PREFIX)[:12]
    lock = RunLock(store.location.root / "runs" / f"rollouts-{name}.lock")
    deadline = monotonic() + _WAIT_S
    while not lock.acquire():
        if monotonic() > deadline:
            raise ConfigError(
                f"process {lock.holder()} is deciding on a roll-out of project {project!r}",
                hint="wait for it, then look: labelproof rollout status",
            )
        sleep(0.05)
    try:
        yield
    finally:
        lock.release()
