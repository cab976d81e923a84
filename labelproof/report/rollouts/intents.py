"""Changes of the champion's file: intent, file, record; and the repair of what a kill interrupted.

Order of writes: first the event `approved` with both texts of the file (the intent), then the file in one step, then
`promoted` or `rolled_back`. A kill in between leaves an intent; :func:`repair` sees by the file whether it was carried
out. The file alone decides what runs use; the events say why it is as it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from labelproof.report.rollouts.champion_file import champion_path, read_text, replace_file
from labelproof.report.rollouts.events import read_rollouts, record
from labelproof.report.rollouts.evidence import CertificateFound
from labelproof.report.rollouts.model import ENDED, EventName, RolloutEvent, RolloutState
from labelproof.spec.errors import ConfigError
from labelproof.spec.project import ProjectFolder
from labelproof.store import TraceStore

TICK = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What happened to the champion's file. ``note``: what a person should know besides."""

    state: RolloutState
    path: Path
    fp_before: str
    fp_after: str
    evidence: Mapping[str, Any]
    certificate: CertificateFound
    note: str | None = None

    def to_json(self) -> dict[str, Any]:
        return {
            "rollout_id": self.state.rollout_id,
            "project": self.state.project,
            "state": self.state.phase,
            "strategy": self.state.strategy,
            "file": str(self.path),
            "fp_before": self.fp_before,
            "fp_after": self.fp_after,
            "by": self.state.actor,
            "why": self.state.reason,
            "evidence": {k: v for k, v in self.evidence.items() if k not in ("before", "after")},
            "certificate": self.certificate.to_json(),
            "note": self.note,
        }


def carry_out(
    store: TraceStore,
    folder: ProjectFolder,
    intent: RolloutEvent,
    done: EventName,
    *,
    first: RolloutEvent | None = None,
) -> None:
    """Record ``intent`` (after ``first``, a proposal), write its text `after` into the champion's file, record ``done``."""
    record(store, [intent] if first is None else [first, intent])
    replace_file(champion_path(folder), str(intent.evidence["after"]))
    _finish(store, intent, done, intent.ts + TICK)


def repair(store: TraceStore, folder: ProjectFolder, now: datetime) -> tuple[RolloutState, ...]:
    """Finish the record of changes that a kill interrupted after the file was written; returns those roll-outs.

    An intent whose file was not written stays open: `rollout status` shows it, and doing it again carries it out.
    """
    found = []
    for state in read_rollouts(store, folder.name):
        intent = state.pending
        if intent is None or read_text(champion_path(folder)) != intent.evidence.get("after"):
            continue
        done: EventName = "rolled_back" if intent.evidence.get("intent") == "rollback" else "promoted"
        _finish(store, intent, done, max(now, intent.ts + TICK))
        found.append(state)
    return tuple(found)


def _finish(store: TraceStore, intent: RolloutEvent, done: EventName, ts: datetime) -> None:
    """Record that the file is written, and with it the end of roll-outs against the version it held before."""
    superseded = [
        end_event(
            state, "stopped", by=intent.actor, why=f"{intent.strategy} was {done.replace('_', ' ')}", now=ts
        )
        for state in read_rollouts(store, intent.project)
        if state.rollout_id != intent.rollout_id and is_open(state)
    ]
    record(store, [replace(intent, event=done, ts=ts), *superseded])


def is_open(state: RolloutState) -> bool:
    """Whether a roll-out is on its way: neither in use nor ended."""
    return state.phase not in ENDED and state.phase != "promoted"


def end_event(state: RolloutState, name: EventName, *, by: str, why: str, now: datetime) -> RolloutEvent:
    """Return an event of a roll-out that exists, later than all its others."""
    return RolloutEvent(
        rollout_id=state.rollout_id,
        project=state.project,
        event=name,
        strategy=state.strategy,
        fp_from=state.fp_from,
        fp_to=state.fp_to,
        actor=by,
        reason=why,
        ts=max(now, state.events[-1].ts + TICK),
    )


def named(store: TraceStore, project: str, rollout_id: str) -> RolloutState | None:
    found = (state for state in read_rollouts(store, project) if state.rollout_id == rollout_id)
    return next(found, None)


def say_why(why: str) -> None:
    if not why.strip():
        raise ConfigError(
            "a reason is needed", key="--why", hint="say why, for those who read the trail later"
        )


def shown(path: Path, folder: ProjectFolder) -> str:
    """Return the path as seen from the project's folder: no place of this machine is stored."""
    return str(path.relative_to(folder.folder))
