"""Give a candidate traffic: in the shadow, or a share of it as a canary; and take it away again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from datetime import datetime
from typing import Any

from labelproof.report.rollouts.champion_file import champion_path
from labelproof.report.rollouts.events import one_writer, read_rollouts, record
from labelproof.report.rollouts.intents import TICK, end_event, is_open, named, repair, say_why
from labelproof.report.rollouts.model import EventName, RolloutState, Terms, running
from labelproof.report.rollouts.pair import Pair
from labelproof.report.rollouts.promote import open_event, open_rollout
from labelproof.spec.errors import ConfigError
from labelproof.spec.project import ProjectFolder
from labelproof.store import TraceStore


def start(
    store: TraceStore,
    pair: Pair,
    *,
    share_prob: float | None,
    terms: Terms,
    why: str,
    by: str,
    now: datetime,
) -> RolloutState:
    """Put a candidate into the shadow (``share_prob`` None) or make it a canary with that share, above 0 and below 1.

    A roll-out of the same versions that is under way goes on with the new share or phase; one of another candidate
    must be stopped first. What it rests on so far is recorded, and no verdict is asked for: this is how one gets it.
    """
    say_why(why)
    if share_prob is not None and not 0 < share_prob < 1:
        raise ConfigError(
            f"--canary: expected a share above 0 and below 1, found {share_prob:g}",
            hint="the whole traffic is a promotion: labelproof promote",
        )
    if pair.path.resolve().parent != champion_path(pair.champion.folder).resolve().parent:
        raise ConfigError("a roll-out needs its file among the project's strategies", path=pair.path)
    _check_unit(pair, terms)
    name: EventName = "shadow" if share_prob is None else "canary"
    with one_writer(store, pair.project):
        other = running(read_rollouts(store, pair.project))
        if other is not None and (other.fp_from, other.fp_to) != (pair.fp_from, pair.fp_to):
            raise ConfigError(
                f"{other.ref} is under way ({other.phase}, {other.rollout_id})",
                hint=f"labelproof rollout stop {pair.project} --why ..., then start this one",
            )
        state = open_rollout(store, pair, None)
        event = open_event(pair, state, name, by=by, why=why, now=now, flow_run_id=None)
        evidence: Mapping[str, Any] = {**pair.evidence.to_json(), "terms": asdict(terms)}
        event = replace(event, share_prob=share_prob, evidence=evidence)
        if state is None:
            first = replace(event, event="proposed", share_prob=None)
            record(store, [first, replace(event, ts=event.ts + TICK)])
        else:
            record(store, [event])
        after = named(store, pair.project, event.rollout_id)
        assert after is not None  # its event was just written
        return after


def stop(
    store: TraceStore,
    project: str,
    *,
    why: str,
    by: str,
    now: datetime,
    folder: ProjectFolder | None = None,
) -> RolloutState:
    """Take the traffic away from the roll-out under way, or close a proposal; the champion decides everything.

    ``folder``: its champion's file is looked at first: a promotion whose record was interrupted is one, and is not stopped.
    """
    say_why(why)
    with one_writer(store, project):
        if folder is not None:
            repair(store, folder, now)
        states = read_rollouts(store, project)
        state = running(states) or next((one for one in states if is_open(one)), None)
        if state is None:
            raise ConfigError(
                f"no roll-out of project {project!r} is under way",
                hint="labelproof rollout list shows those that ended; a promotion is taken back by labelproof rollback",
            )
        record(store, [end_event(state, "stopped", by=by, why=why, now=now)])
        after = named(store, project, state.rollout_id)
        assert after is not None  # its event was just written
        return after


def _check_unit(pair: Pair, terms: Terms) -> None:
    if terms.unit is None or any(item.meta.get(terms.unit) is not None for item in pair.champion.items):
        return
    known = sorted({name for item in pair.champion.items for name in item.meta})
    raise ConfigError(
        f"no item has the metadata column {terms.unit!r}; found: {', '.join(known) or 'none'}",
        key="--unit",
        hint="name one of these columns, or leave it out: items are then assigned one by one",
    )
