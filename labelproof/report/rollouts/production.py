"""A production run: the champion over its items, and with a roll-out under way the candidate beside it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from agents.run.arms import open_arm
from agents.run.rollout import Assignment, assign
from agents.run.rows import Arm
from agents.run.sentinel import ask_sentinels
from agents.run.session import LabelRequest, LabelSession
from agents.run.workload import Workload, load_workload
from labelproof.report.rollouts.events import one_writer, read_rollouts
from labelproof.report.rollouts.intents import named, repair
from labelproof.report.rollouts.model import Phase, RolloutState, in_use, running
from labelproof.report.rollouts.watch import Watch, end_canary, is_watched, watch
from labelproof.spec.errors import ConfigError, LabelproofError, ProviderError
from labelproof.spec.hashing import short
from labelproof.store import TraceStore, default_store, open_store

SHADOW_ARM = "shadow"
RunOne = Callable[[LabelSession], Awaitable[Mapping[str, Any] | None]]
"""Runs a session to its end and returns its summary; None when it was handed over to somebody else."""
_KEPT = (
    "run_id",
    "strategy",
    "strategy_fp",
    "n_items",
    "done",
    "auto_accept",
    "review",
    "failed",
    "audited",
    "model_calls",
    "cost_usd",
    "stopped",
    "hint",
)


@dataclass(slots=True, kw_only=True)
class Production:
    """One production run. ``champion`` labels what the champion decides; ``rollout`` is what it follows, if any.

    ``candidate``: the candidate's version of the work, over the canary's items or (in the shadow) over all. ``resting``:
    why a roll-out under way is not followed. Without one, ``rollout`` is a young promotion that is still watched.
    """

    request: LabelRequest
    champion: LabelSession
    rollout: RolloutState | None = None
    candidate: Workload | None = None
    resting: str | None = None
    notes: list[str] = field(default_factory=list)

    @property
    def store(self) -> TraceStore:
        return self.champion.store


def open_production(
    request: LabelRequest, *, follow: bool, root: Path | None = None, flow_run_id: str | None = None
) -> Production:
    """Return the sessions of a run of the project's strategy; ``follow``: of the roll-out under way too.

    Only a first run of the default strategy follows one. Who decides which item is stored before the first call.
    """
    work = load_workload(request.project, request.strategy, limit=request.limit, root=root)
    store = open_store(request.store or default_store())
    state, candidate, resting = None, None, None
    if follow and request.repeat == 0 and request.strategy in (None, work.folder.spec.default_strategy):
        states = _settled(store, work)
        state = running(states)
        if state is not None:
            candidate, resting = _candidate(state, work, request, root)
        else:
            state = in_use(states)
            state = state if state is not None and is_watched(state, datetime.now(UTC)) else None
    if state is None or candidate is None:
        session = LabelSession(request, work, store, flow_run_id=flow_run_id)
        return Production(request=request, champion=session, rollout=state, resting=resting)
    if state.phase == "canary":
        assigned = assign(
            work.items, state.rollout_id, state.share_prob or 0.0, column=_known(state.terms.unit, work)
        )
        _store_units(store, state, assigned, datetime.now(UTC))
        mine = {one.item.id for one in assigned if one.side == "candidate"}
        candidate = replace(candidate, items=[item for item in candidate.items if item.id in mine])
        work = replace(work, items=[item for item in work.items if item.id not in mine])
    session = LabelSession(request, work, store, flow_run_id=flow_run_id)
    return Production(request=request, champion=session, rollout=state, candidate=candidate)


async def run_production(
    production: Production, run_one: RunOne, *, run_other: RunOne | None = None
) -> dict[str, Any] | None:
    """Run the champion, then the candidate beside it, then the monitor; None when the champion was handed over.

    The summary is the champion's; its key `rollout` holds the other side, `sentinel` what became of asking the frozen
    items anew (in a first run of a project that has some). A canary that cannot run is rolled back, and
    the champion decides its items in the same run; so it does when the roll-out was ended while the champion's part
    ran. Whatever happens to a shadow is a note. ``run_other`` runs sessions after the first (default: as the first).
    """
    found = await _run_sides(production, run_one, run_other or run_one)
    if found is None or found.get("stopped") or production.request.repeat:
        return found
    session = production.champion
    asked = await ask_sentinels(
        session.work,
        session.store,
        after_run_id=session.run.run_id,
        left_usd=_left(production, found, *(found.get("rollout") or {}).values()),
        flow_run_id=session.run.flow_run_id,
    )
    return found if asked is None else {**found, "sentinel": asked.to_json()}


async def _run_sides(production: Production, run_one: RunOne, other: RunOne) -> dict[str, Any] | None:
    """Run the champion and, in a roll-out, what stands beside it; the summary with its key `rollout`."""
    summary = await run_one(production.champion)
    state = production.rollout
    if summary is None or state is None:
        return None if summary is None else dict(summary)
    told: dict[str, Any] = {
        "rollout_id": state.rollout_id,
        "phase": state.phase,
        "ref": state.ref,
        "share_prob": state.share_prob,
        "resting": production.resting,
        "candidate": None,
        "instead": None,
        "monitor": None,
        "notes": production.notes,
    }
    found = {**summary, "rollout": told}
    if production.resting is not None or summary.get("stopped"):
        return found
    if state.phase == "shadow":
        told["candidate"] = await _shadow(production, state, summary, other)
    elif state.phase == "canary":
        told["candidate"], told["instead"] = await _canary(production, state, summary, other)
        for side in (told["candidate"], told["instead"]):
            if side is not None and side.get("stopped"):
                found |= {"stopped": side["stopped"], "hint": side.get("hint")}
    seen = await asyncio.to_thread(
        watch, production.store, production.champion.work.folder, now=datetime.now(UTC)
    )
    told["monitor"] = None if seen is None else _watched(seen)
    return found


async def _shadow(
    production: Production, state: RolloutState, summary: Mapping[str, Any], run_one: RunOne
) -> dict[str, Any] | None:
    """Run the candidate in the shadow. The production run is done: nothing that happens here is its failure."""
    assert production.candidate is not None
    taken = await _taken_off(production, state, "shadow", "canary")
    if taken is not None:
        production.notes.append(f"{taken}: no shadow")
        return None
    limits = [one for one in (_left(production, summary), state.terms.shadow_max_cost_usd) if one is not None]
    try:
        session = open_arm(
            production.candidate,
            production.store,
            production.candidate.items,
            Arm(experiment_id=state.rollout_id, name=SHADOW_ARM),
            max_cost_usd=min(limits, default=None),
            batch_size=production.request.batch_size,
            flow_run_id=production.champion.run.flow_run_id,
        )
        done = await run_one(session)
    except Exception as error:  # noqa: BLE001  # a shadow never harms the run that it follows
        production.notes.append(f"the shadow did not run: {_words(error)}")
        return None
    if done is None:
        return None
    if done.get("stopped"):
        production.notes.append(f"the shadow stopped early, and goes on with the next run: {done['stopped']}")
    return _side(done)


async def _canary(
    production: Production, state: RolloutState, summary: Mapping[str, Any], run_one: RunOne
) -> tuple[dict[str, Any] | None, dict[str, Any] | None]:
    """Let the candidate decide its items; return its side, and the champion's in its place when it cannot."""
    assert production.candidate is not None
    if not production.candidate.items:
        production.notes.append("none of these items is the canary's")
        return None, None
    taken = await _taken_off(production, state, "canary", "promoted")
    if taken is not None:
        production.notes.append(f"{taken}: the champion decided its items")
        return None, await _instead(production, summary, run_one)
    queue = True if production.request.queue is None else production.request.queue
    request = replace(
        production.request,
        strategy=production.candidate.strategy.name,
        limit=None,
        queue=queue,
        max_cost_usd=_left(production, summary),
    )
    flow_run_id = production.champion.run.flow_run_id
    done: dict[str, Any] | None = None
    session = LabelSession(request, production.candidate, production.store, flow_run_id=flow_run_id)
    try:
        ran = await run_one(session)
        done = None if ran is None else _side(ran)
        why = None if ran is None or _is_budget(request, ran) else ran.get("stopped")
    except (ConfigError, ProviderError) as error:  # of the candidate: the champion has just run
        why = _words(error)
    if why is None:
        return done, None
    reason = f"the candidate could not run while the champion could: {why}"
    ended = await asyncio.to_thread(end_canary, production.store, state, (reason,), datetime.now(UTC))
    done_about_it = "rolled back, and the" if ended else "the"
    production.notes.append(f"{reason}; {done_about_it} champion decided its items")
    found = await _instead(production, summary, run_one)
    return None if done is None else {**done, "stopped": None}, found


async def _instead(
    production: Production, summary: Mapping[str, Any], run_one: RunOne
) -> dict[str, Any] | None:
    """Let the champion decide the items that were the candidate's; returns its side."""
    assert production.candidate is not None
    request = replace(production.request, limit=None, max_cost_usd=_left(production, summary))
    work = replace(production.champion.work, items=production.candidate.items)
    session = LabelSession(request, work, production.store, flow_run_id=production.champion.run.flow_run_id)
    ran = await run_one(session)
    return None if ran is None else _side(ran)


async def _taken_off(production: Production, state: RolloutState, *goes_on: Phase) -> str | None:
    """Return who ended the roll-out and why if it left its phase while the champion's part ran, else None."""
    now = await asyncio.to_thread(named, production.store, state.project, state.rollout_id)
    if now is None or now.phase in goes_on:
        return None
    phase = now.phase.replace("_", " ")
    return f"{state.ref} is {phase} since this run began ({now.actor}: {now.reason})"


def _candidate(
    state: RolloutState, champion: Workload, request: LabelRequest, root: Path | None
) -> tuple[Workload | None, str | None]:
    """Return the candidate as it was started; None and why when one of the two versions is no longer what it was."""
    if champion.resolved.fingerprint != state.fp_from:
        return None, (
            f"the champion is version {short(champion.resolved.fingerprint)} now, and {state.ref} was started against"
            f" {short(state.fp_from)}: stop the roll-out, and start it again"
        )
    try:
        work = load_workload(request.project, state.strategy, limit=request.limit, root=root)
    except LabelproofError as error:
        return None, f"{state.ref} cannot be read: {_words(error)}"
    if work.resolved.fingerprint != state.fp_to:
        return None, (
            f"{state.strategy} is version {short(work.resolved.fingerprint)} now, and {state.ref} was started:"
            " restore its file, or stop the roll-out and start it again"
        )
    return work, None


def _settled(store: TraceStore, work: Workload) -> tuple[RolloutState, ...]:
    """Return the project's roll-outs, the record of an interrupted promotion or rollback finished first."""
    states = read_rollouts(store, work.folder.name)
    if all(state.pending is None for state in states):
        return states
    with one_writer(store, work.folder.name):
        repair(store, work.folder, datetime.now(UTC))
    return read_rollouts(store, work.folder.name)


def _known(column: str | None, work: Workload) -> str | None:
    """Return the column that units are taken from; none when no item of this run has it (each is its own unit then)."""
    has_it = column is not None and any(item.meta.get(column) is not None for item in work.items)
    return column if has_it else None


def _store_units(
    store: TraceStore, state: RolloutState, assigned: Sequence[Assignment], now: datetime
) -> None:
    """Store who decides what, once per item since the share was set."""
    known = store.query(
        "SELECT DISTINCT item_id FROM rollout_units WHERE rollout_id = $rollout AND ts >= $since",
        {"rollout": state.rollout_id, "since": state.since},
        fresh=True,
        only=("rollout_units",),
    )
    stored = set(known["item_id"].to_pylist())
    new = list({one.item.id: one for one in assigned if one.item.id not in stored}.values())
    if new:
        store.append(
            "rollout_units",
            {
                "rollout_id": [state.rollout_id] * len(new),
                "item_id": [one.item.id for one in new],
                "unit": [one.unit for one in new],
                "arm": [one.side for one in new],
                "ts": [now] * len(new),
            },
        )


def _left(production: Production, summary: Mapping[str, Any], *others: object) -> float | None:
    """Return what all sides have left of the run's budget, US dollars; None without a limit."""
    limit = production.request.max_cost_usd
    if limit is None:
        return None
    spent = [float(side.get("cost_usd") or 0.0) for side in (summary, *others) if isinstance(side, Mapping)]
    return max(0.0, limit - sum(spent))


def _is_budget(request: LabelRequest, ran: Mapping[str, Any]) -> bool:
    """Whether a run stopped because its budget was used up: it goes on with the next one, and nobody is to blame."""
    return (
        bool(ran.get("stopped"))
        and request.max_cost_usd is not None
        and "max_cost_usd" in str(ran["stopped"])
    )


def _side(summary: Mapping[str, Any]) -> dict[str, Any]:
    return {name: summary.get(name) for name in _KEPT}


def _watched(seen: Watch) -> dict[str, Any]:
    reading = seen.canary
    return {
        "phase": seen.state.phase,
        "alarms": list(seen.alarms),
        "rolled_back": seen.rolled_back,
        "proposal": seen.proposal,
        "guards": [] if reading is None else [guard.sentence for guard in reading.guards],
    }


def _words(error: BaseException) -> str:
    return error.message if isinstance(error, LabelproofError) else f"{type(error).__name__}: {error}"
