"""A roll-out as a fold of its events: one strategy version's way into use. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Literal

from labelproof.spec.errors import ConfigError
from labelproof.spec.hashing import short

EventName = Literal[
    "proposed",
    "approved",
    "rejected",
    "shadow",
    "canary",
    "promoted",
    "alarm",
    "rolled_back",
    "stopped",
]
Phase = Literal["proposed", "shadow", "canary", "promoted", "rolled_back", "stopped", "rejected"]
MONITOR = "monitor"
"""The actor of what the guardrail monitor does by itself."""
RUNNING: frozenset[Phase] = frozenset(("shadow", "canary"))
ENDED: frozenset[Phase] = frozenset(("rolled_back", "stopped", "rejected"))
_ORDER: tuple[EventName, ...] = (
    "proposed",
    "shadow",
    "canary",
    "alarm",
    "approved",
    "promoted",
    "rolled_back",
    "rejected",
    "stopped",
)
_UNDER_WAY: frozenset[EventName] = frozenset(
    ("proposed", "shadow", "canary", "alarm", "approved", "promoted", "stopped", "rejected", "rolled_back")
)
_MAY: Mapping[Phase, frozenset[EventName]] = {
    "proposed": _UNDER_WAY - {"rolled_back"},
    "shadow": _UNDER_WAY,
    "canary": _UNDER_WAY,
    "promoted": frozenset(("alarm", "approved", "rolled_back")),
    "rolled_back": frozenset(),
    "stopped": frozenset(),
    "rejected": frozenset(),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutEvent:
    """One row of `rollouts`: who did what, why, on which evidence (JSON values)."""

    rollout_id: str
    project: str
    event: EventName
    strategy: str
    fp_from: str
    fp_to: str
    share_prob: float | None = None
    actor: str
    reason: str
    evidence: Mapping[str, Any] = field(default_factory=dict)
    flow_run_id: str | None = None
    ts: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What was agreed when traffic was given: how items are assigned, and what the monitor may do.

    ``unit``: metadata column whose values are assigned as one; None: items. ``shadow_max_cost_usd``: what the shadow
    may spend in one run. ``watch_days``: how long after promotion an alarm concerns the roll-out. ``auto_rollback``:
    whether such an alarm restores the file without asking.
    """

    unit: str | None = None
    shadow_max_cost_usd: float | None = None
    watch_days: int = 14
    auto_rollback: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutState:
    """Where a roll-out stands. ``since``: when its phase (and share) began; ``actor``, ``reason``: who and why.

    ``pending``: an approval whose file change is not recorded as done: it is under way, or was interrupted.
    ``promoted``: the event that put it into use, also after a rollback. ``ignored``: events that came too late.
    """

    rollout_id: str
    project: str
    strategy: str
    fp_from: str
    fp_to: str
    phase: Phase
    share_prob: float | None
    since: datetime
    actor: str
    reason: str
    terms: Terms
    alarms: tuple[RolloutEvent, ...] = ()
    pending: RolloutEvent | None = None
    promoted: RolloutEvent | None = None
    events: tuple[RolloutEvent, ...]
    ignored: tuple[RolloutEvent, ...] = ()

    @property
    def is_running(self) -> bool:
        """Whether production runs follow it: in the shadow, or as a canary."""
        return self.phase in RUNNING

    @property
    def ref(self) -> str:
        return f"{self.strategy}@{short(self.fp_to)}"

    @property
    def proposed_at(self) -> datetime:
        return self.events[0].ts


def state_of(events: Iterable[RolloutEvent]) -> RolloutState:
    """Return where one roll-out stands after its events, in whatever order they are given.

    An event that its phase does not admit (a canary after the end, a second promotion) changes nothing: whichever of
    two processes wrote first has decided. ``ConfigError``: no event, several roll-outs, or no proposal.
    """
    ordered = in_order(events)
    if not ordered or ordered[0].event != "proposed" or len({one.rollout_id for one in ordered}) > 1:
        found = ", ".join(f"{one.rollout_id} {one.event}" for one in ordered[:3]) or "none"
        raise ConfigError(f"expected the events of one roll-out, the proposal first; found: {found}")
    first = ordered[0]
    state = RolloutState(
        rollout_id=first.rollout_id,
        project=first.project,
        strategy=first.strategy,
        fp_from=first.fp_from,
        fp_to=first.fp_to,
        phase="proposed",
        share_prob=None,
        since=first.ts,
        actor=first.actor,
        reason=first.reason,
        terms=_terms(Terms(), first.evidence),
        events=(first,),
    )
    for event in ordered[1:]:
        state = after(state, event)
    return state


def after(state: RolloutState, event: RolloutEvent) -> RolloutState:
    """Return the state after one more event."""
    if event.event not in _MAY[state.phase]:
        return replace(state, ignored=(*state.ignored, event))
    state = replace(state, events=(*state.events, event))
    if event.event == "alarm":
        return replace(state, alarms=(*state.alarms, event))
    if event.event == "approved":
        return replace(state, pending=event)
    if event.event == "proposed":  # somebody asks for the promotion of what is under way
        return state
    return replace(
        state,
        phase=event.event,
        share_prob=event.share_prob if event.event == "canary" else None,
        since=event.ts,
        actor=event.actor,
        reason=event.reason,
        terms=_terms(state.terms, event.evidence),
        pending=None,
        promoted=event if event.event == "promoted" else state.promoted,
    )


def states_of(events: Iterable[RolloutEvent]) -> tuple[RolloutState, ...]:
    """Return all roll-outs among ``events``, the one proposed last first; those without a proposal are left out."""
    by_id: dict[str, list[RolloutEvent]] = {}
    for event in events:
        by_id.setdefault(event.rollout_id, []).append(event)
    whole = [rows for rows in by_id.values() if in_order(rows)[0].event == "proposed"]
    states = [state_of(rows) for rows in whole]
    return tuple(sorted(states, key=lambda state: (state.proposed_at, state.rollout_id), reverse=True))


def running(states: Sequence[RolloutState]) -> RolloutState | None:
    """Return the roll-out that production runs follow: the one whose phase began last, if two were started at once."""
    found = [state for state in states if state.is_running]
    return max(found, key=lambda state: (state.since, state.rollout_id), default=None)


def in_use(states: Sequence[RolloutState]) -> RolloutState | None:
    """Return the promotion that the champion's file rests on: the last one that was not rolled back."""
    found = [state for state in states if state.phase == "promoted"]
    return max(found, key=lambda state: (state.since, state.rollout_id), default=None)


def in_order(events: Iterable[RolloutEvent]) -> list[RolloutEvent]:
    """Return events by time; of those at the same moment, in the order in which a roll-out passes them."""
    return sorted(events, key=lambda one: (one.ts, _ORDER.index(one.event), one.actor, one.reason))


def _terms(known: Terms, evidence: Mapping[str, Any]) -> Terms:
    given = evidence.get("terms")
    if not isinstance(given, Mapping):
        return known
    return replace(known, **{name: given[name] for name in Terms.__slots__ if name in given})
