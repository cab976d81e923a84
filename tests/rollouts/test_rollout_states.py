"""A roll-out is what its events say, in whatever order they arrive."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labelproof.report.rollouts.model import (
    ENDED,
    EventName,
    RolloutEvent,
    Terms,
    in_use,
    running,
    state_of,
    states_of,
)
from labelproof.spec.errors import ConfigError

START = datetime(2026, 3, 1, tzinfo=UTC)
NAMES: tuple[EventName, ...] = get_args(EventName)


def event(
    name: EventName, minute: int = 0, *, rollout: str = "R-1", share: float | None = None
) -> RolloutEvent:
    return RolloutEvent(
        rollout_id=rollout,
        project="mini",
        event=name,
        strategy="candidate",
        fp_from="b2:a",
        fp_to="b2:b",
        share_prob=share,
        actor=f"at {minute}",
        reason=f"{name} {minute}",
        ts=START + timedelta(minutes=minute),
    )


def trail(*names: EventName) -> list[RolloutEvent]:
    return [event(name, minute, share=0.1 if name == "canary" else None) for minute, name in enumerate(names)]


trails = st.lists(st.sampled_from(NAMES), max_size=12).map(lambda names: trail("proposed", *names))


@given(trails, st.randoms())
def test_the_state_does_not_depend_on_the_order_of_arrival(events: list[RolloutEvent], rng: object) -> None:
    shuffled = list(events)
    rng.shuffle(shuffled)  # type: ignore[attr-defined]
    assert state_of(shuffled) == state_of(events)


@given(trails)
def test_each_event_either_counts_or_came_too_late(events: list[RolloutEvent]) -> None:
    state = state_of(events)
    kept = {id(one) for one in (*state.events, *state.ignored)}
    assert kept == {id(one) for one in events}
    assert list(state.events) == [one for one in events if one in state.events]


@given(trails)
def test_what_has_ended_never_begins_again(events: list[RolloutEvent]) -> None:
    ended = False
    for n in range(1, len(events) + 1):
        state = state_of(events[:n])
        assert not ended or state.phase in ENDED
        ended = state.phase in ENDED
        assert (state.share_prob is not None) == (state.phase == "canary")
        assert state.phase != "promoted" or state.promoted is not None


@given(trails)
def test_a_promotion_leaves_only_by_rollback(events: list[RolloutEvent]) -> None:
    state = state_of(events)
    names = [one.event for one in state.events]
    if "promoted" in names:
        later = names[names.index("promoted") + 1 :]
        assert set(later) <= {"alarm", "approved", "rolled_back"}


def test_events_of_one_moment_pass_in_the_order_of_a_roll_out() -> None:
    at_once = [replace(one, ts=START) for one in trail("proposed", "canary", "alarm", "rolled_back")]
    state = state_of(reversed(at_once))
    assert state.phase == "rolled_back"
    assert len(state.alarms) == 1
    assert state.ignored == ()


def test_an_intent_is_pending_until_it_is_done() -> None:
    assert state_of(trail("proposed", "approved")).pending is not None
    assert state_of(trail("proposed", "approved", "promoted")).pending is None
    assert state_of(trail("proposed", "approved", "promoted", "approved")).pending is not None
    assert state_of(trail("proposed", "approved", "promoted", "approved", "rolled_back")).pending is None


def test_the_terms_are_those_agreed_last() -> None:
    first = replace(event("canary", 1, share=0.1), evidence={"terms": {"unit": "author", "watch_days": 3}})
    later = replace(event("canary", 2, share=0.3), evidence={"terms": {"auto_rollback": True}})
    state = state_of([event("proposed"), first, later, event("promoted", 3)])
    assert state.terms == Terms(unit="author", watch_days=3, auto_rollback=True)


def test_one_roll_out_is_followed_and_the_last_promotion_is_in_use() -> None:
    one = [event("proposed", 0), event("promoted", 1)]
    two = [event("proposed", 2, rollout="R-2"), event("promoted", 3, rollout="R-2")]
    three = [event("proposed", 4, rollout="R-3"), event("shadow", 5, rollout="R-3")]
    states = states_of([*three, *one, *two])
    assert [state.rollout_id for state in states] == ["R-3", "R-2", "R-1"]
    followed, used = running(states), in_use(states)
    assert followed is not None
    assert used is not None
    assert (followed.rollout_id, used.rollout_id) == ("R-3", "R-2")
    undone = in_use(states_of([*one, *two, event("rolled_back", 6, rollout="R-2")]))
    assert undone is not None
    assert undone.rollout_id == "R-1"


@pytest.mark.parametrize(
    "events", [[], [event("canary")], [event("proposed"), event("stopped", 1, rollout="R-2")]]
)
def test_events_without_a_proposal_or_of_several_roll_outs_are_refused(events: list[RolloutEvent]) -> None:
    with pytest.raises(ConfigError, match="the events of one roll-out"):
        state_of(events)
