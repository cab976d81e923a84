"""A promotion that waits for a person's answer: asked once, answered once, however often the asking process restarts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from labelproof.report.rollouts.events import one_writer
from labelproof.report.rollouts.evidence import COMPARISONS
from labelproof.report.rollouts.intents import is_open, repair
from labelproof.report.rollouts.model import RolloutState
from labelproof.report.rollouts.pair import Pair, load_pair
from labelproof.report.rollouts.promote import asked_by, promote, propose, reject
from labelproof.report.rollouts.text import markdown, outcome_lines, pair_lines, trail_lines
from labelproof.spec.errors import ConfigError
from labelproof.spec.project import find_project
from labelproof.store import TraceStore, default_store, open_store


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A proposal, and what it rests on as ``markdown``; ``outcome`` (JSON values) once it was answered."""

    state: RolloutState
    markdown: str
    outcome: dict[str, Any] | None = None


def ask(store: str | None, request: Mapping[str, Any], flow_run_id: str | None, now: datetime) -> Asked:
    """Record the proposal and return what the person is shown.

    The flow run that asked before gets the same roll-out back, with its outcome if it has one. ``ConfigError`` when the
    evidence does not carry a promotion and ``force`` was not asked for: nobody is bothered with what would be refused.
    """
    with open_store(store or default_store()) as opened:
        folder = find_project(request["project"])
        with one_writer(opened, folder.name):
            repair(opened, folder, now)
        known = asked_by(opened, folder.name, flow_run_id)
        if known is not None and not is_open(known):
            return Asked(state=known, markdown=_ended(known), outcome=_outcome(known))
        pair = _pair(opened, request, now)
        if pair.evidence.missing and not request["force"]:
            raise ConfigError(
                f"not proposed: {pair.evidence.missing}", hint=f"{pair.evidence.hint}; or set force"
            )
        if known is None:
            known = propose(
                opened, pair, why=request["why"], by=request["by"], now=now, flow_run_id=flow_run_id
            )
        return Asked(state=known, markdown=_question(known, pair, request))


def answer(
    store: str | None,
    request: Mapping[str, Any],
    state: RolloutState,
    *,
    approve: bool,
    by: str,
    why: str,
    now: datetime,
    flow_run_id: str | None,
) -> Asked:
    """Promote or reject; a second answer to the same proposal changes nothing."""
    with open_store(store or default_store()) as opened:
        known = next(
            (one for one in (asked_by(opened, state.project, flow_run_id),) if one is not None), state
        )
        if not is_open(known):
            return Asked(state=known, markdown=_ended(known), outcome=_outcome(known))
        if not approve:
            known = reject(opened, known, why=why, by=by, now=now)
            return Asked(state=known, markdown=_ended(known), outcome=_outcome(known))
        pair = _pair(opened, request, now)
        if (pair.fp_from, pair.fp_to) != (known.fp_from, known.fp_to):
            raise ConfigError(
                f"champion or candidate were edited after {known.ref} was proposed",
                hint="propose it again: what was approved is no longer what the files hold",
            )
        done = promote(
            opened,
            pair,
            why=why,
            by=by,
            now=now,
            force=bool(request["force"]),
            rollout_id=known.rollout_id,
            flow_run_id=flow_run_id,
        )
        lines = outcome_lines(done)
        return Asked(
            state=done.state,
            markdown=markdown(f"Promoted: {done.state.ref}", lines),
            outcome=_outcome(done.state),
        )


def _pair(store: TraceStore, request: Mapping[str, Any], now: datetime) -> Pair:
    return load_pair(store, request["project"], request["strategy"], evidence=request["evidence"], now=now)


def _question(state: RolloutState, pair: Pair, request: Mapping[str, Any]) -> str:
    lines = [("Asked", f"{request['by']}: {request['why']}"), *pair_lines(pair)]
    if request["force"] and pair.evidence.missing:
        lines.append(("FORCED", "approving it goes ahead without that evidence, and is recorded as such"))
    return markdown(f"Promote {state.ref} in {state.project}?", lines, sql=COMPARISONS)


def _ended(state: RolloutState) -> str:
    return markdown(f"{state.ref}: {state.phase.replace('_', ' ')}", trail_lines(state))


def _outcome(state: RolloutState) -> dict[str, Any]:
    return {
        "rollout_id": state.rollout_id,
        "project": state.project,
        "strategy": state.strategy,
        "fp_from": state.fp_from,
        "fp_to": state.fp_to,
        "state": state.phase,
        "by": state.actor,
        "why": state.reason,
    }
