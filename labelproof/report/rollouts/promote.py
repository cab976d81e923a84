"""Promote a candidate: propose, reject, or make it the champion on the evidence that it is better."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from labelproof.report.rollouts.champion_file import planned_change, read_text
from labelproof.report.rollouts.events import new_rollout_id, one_writer, read_rollouts, record
from labelproof.report.rollouts.intents import (
    TICK,
    Outcome,
    carry_out,
    end_event,
    is_open,
    named,
    repair,
    say_why,
    shown,
)
from labelproof.report.rollouts.model import EventName, RolloutEvent, RolloutState
from labelproof.report.rollouts.pair import Pair
from labelproof.spec.errors import ConfigError
from labelproof.store import TraceStore


def promote(
    store: TraceStore,
    pair: Pair,
    *,
    why: str,
    by: str,
    now: datetime,
    force: bool = False,
    rollout_id: str | None = None,
    flow_run_id: str | None = None,
) -> Outcome:
    """Make the candidate the champion: its content in the champion's file, under the champion's name.

    Refused unless a comparison of exactly these versions says ship; ``force`` goes ahead, and is recorded with what
    was missing. A roll-out of this version that is under way ends in it.
    """
    say_why(why)
    if pair.evidence.missing and not force:
        raise ConfigError(
            f"not promoted: {pair.evidence.missing}",
            hint=f"{pair.evidence.hint}; or --force, which is recorded as such",
        )
    change = planned_change(pair.champion, pair.candidate, pair.path)
    with one_writer(store, pair.project):
        repair(store, pair.champion.folder, now)
        if read_text(change.path) != change.before:
            raise ConfigError(
                "the champion's file was changed meanwhile", path=change.path, hint="run promote again"
            )
        state = open_rollout(store, pair, rollout_id)
        intent = open_event(pair, state, "approved", by=by, why=why, now=now, flow_run_id=flow_run_id)
        evidence = {
            **pair.evidence.to_json(),
            "forced": pair.evidence.missing if force else None,
            "certificate": pair.certificate.to_json(),
            "intent": "promote",
            "path": shown(change.path, pair.champion.folder),
            "before": change.before,
            "after": change.after,
        }
        proposed = replace(intent, event="proposed") if state is None else None
        intent = replace(intent, evidence=evidence, ts=intent.ts + TICK)
        carry_out(store, pair.champion.folder, intent, "promoted", first=proposed)
        after = named(store, pair.project, intent.rollout_id)
        assert after is not None  # its events were just written
    return Outcome(
        state=after,
        path=change.path,
        fp_before=pair.fp_from,
        fp_after=pair.fp_to,
        evidence=evidence,
        certificate=pair.certificate,
    )


def propose(
    store: TraceStore, pair: Pair, *, why: str, by: str, now: datetime, flow_run_id: str | None = None
) -> RolloutState:
    """Record that somebody asks for a promotion, and return its roll-out: the one under way, else a new one."""
    say_why(why)
    with one_writer(store, pair.project):
        state = open_rollout(store, pair, None)
        event = open_event(pair, state, "proposed", by=by, why=why, now=now, flow_run_id=flow_run_id)
        record(store, [replace(event, evidence=pair.evidence.to_json())])
        known = named(store, pair.project, event.rollout_id)
        assert known is not None  # its event was just written
        return known


def asked_by(store: TraceStore, project: str, flow_run_id: str | None) -> RolloutState | None:
    """Return the roll-out that a flow run asked about, also when it starts again after the answer."""
    if flow_run_id is None:
        return None
    found = (
        state
        for state in read_rollouts(store, project)
        if any(event.flow_run_id == flow_run_id for event in state.events)
    )
    return next(found, None)


def reject(store: TraceStore, state: RolloutState, *, why: str, by: str, now: datetime) -> RolloutState:
    """Record that a proposal was turned down; one that has ended stays as it is."""
    with one_writer(store, state.project):
        known = named(store, state.project, state.rollout_id) or state
        if not is_open(known):
            return known
        record(store, [end_event(known, "rejected", by=by, why=why, now=now)])
        return named(store, state.project, state.rollout_id) or known


def open_event(
    pair: Pair,
    state: RolloutState | None,
    name: EventName,
    *,
    by: str,
    why: str,
    now: datetime,
    flow_run_id: str | None,
) -> RolloutEvent:
    """Return an event of ``state``, or the first one of a new roll-out when there is none."""
    known = None if state is None else state.rollout_id
    return RolloutEvent(
        rollout_id=known or new_rollout_id(pair.project, pair.fp_to, now, flow_run_id=flow_run_id),
        project=pair.project,
        event=name,
        strategy=pair.path.stem,
        fp_from=pair.fp_from,
        fp_to=pair.fp_to,
        actor=by,
        reason=why,
        flow_run_id=flow_run_id,
        ts=now if state is None else max(now, state.events[-1].ts + TICK),
    )


def open_rollout(store: TraceStore, pair: Pair, rollout_id: str | None) -> RolloutState | None:
    """Return the roll-out of these versions that has not ended: the one named, else the newest."""
    for state in read_rollouts(store, pair.project):
        fits = state.fp_from == pair.fp_from and state.fp_to == pair.fp_to
        if fits and is_open(state) and rollout_id in (None, state.rollout_id):
            return state
    return None
