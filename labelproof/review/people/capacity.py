"""When the queue will be clear, who will be late, and how many people it takes."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
import numpy.typing as npt

from labelproof.review.people.rates import Rate, measured_arrivals, measured_rate, stored_rate
from labelproof.spec.errors import ConfigError

DAY_HOURS = 24.0
_ROUNDING = 1e-9
Result = tuple[float | None, str | None]
"""A number, or None and why there is none."""
ASSUMED = (
    "work is spread evenly over the day: with 8 hours a day, a person answers a third of the clock's hours",
    "the earliest due task comes first, and every open task is anybody's (no skills, languages or daily limits)",
    "new tasks come after those that are open now; a new task with a short deadline that cuts in is not counted",
    "tasks that wait for a lead are not counted",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """A number at the median rate, at the fast end (``low``) and at the slow end (``high``); None with a ``reason``."""

    value: float | None
    low: float | None
    high: float | None
    reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CapacityPlan:
    """What ``people`` people get done.

    ``clear_hours``: clock hours until nothing is open, new tasks included; ``work_hours``: hours of work of each person until
    then. ``n_overdue``: tasks due already; ``late``: tasks not yet due that will be late; of these ``n_unavoidable``
    are, however many people help. ``first_late_at``: when the first of them becomes late at the median rate, None: none
    does. ``people_needed``: the fewest with which no avoidable task gets late and the queue does not grow;
    ``load``: answers asked for by new tasks as a share of what gets answered, from 1 on the queue never clears.
    """

    at: datetime
    people: int
    hours_per_day: float
    rate: Rate
    arrivals_per_hour: float
    n_open: int
    votes_left: int
    clear_hours: Span
    work_hours: Span
    n_overdue: int
    late: Span
    n_unavoidable: int
    first_late_at: datetime | None
    people_needed: int
    load: float
    outrun: bool
    """Whether new tasks ask for answers as fast as people give them, at the median rate."""
    notes: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Return the plan as JSON values; with nobody at work ``load`` is None."""
        return {
            **asdict(self),
            "at": self.at.isoformat(),
            "first_late_at": None if self.first_late_at is None else self.first_late_at.isoformat(),
            "load": self.load if math.isfinite(self.load) else None,
            "assumed": list(ASSUMED),
        }


def capacity_plan(
    due: npt.NDArray[np.float64],
    votes_left: npt.NDArray[np.int64],
    now: datetime,
    rate_per_person_hour: Rate,
    people: int,
    hours_per_day: float,
    arrivals_per_hour: float,
) -> CapacityPlan:
    """Return what becomes of the open tasks when ``people`` answer them, the earliest due first.

    ``due`` (n,): seconds since 1970; ``votes_left`` (n,): answers each still needs, from different people. Any order: it is
    sorted by due time, ties as given. ``rate_per_person_hour``: answers in an hour of work; ``hours_per_day``: of
    work, in (0, 24]; ``arrivals_per_hour``: answers that new tasks ask for in an hour of the clock.

    Each answer takes 1/rate hours of one person's work, so the k-th answer is given after ceil(k / people) / rate hours of
    work. See ``ASSUMED`` for what this leaves out. ``ConfigError`` for negative, infinite or mismatched numbers.
    """
    _check(due, votes_left, people, hours_per_day, arrivals_per_hour)
    order = np.argsort(due, kind="stable")
    answers = np.cumsum(votes_left[order])
    slack = due[order] - now.timestamp()
    coming = slack >= 0
    slack_hours, done = slack[coming] / 3600, answers[coming]
    work_share = hours_per_day / DAY_HOURS
    total = int(answers[-1]) if answers.size else 0
    most = int(votes_left.max(initial=0))
    rate = rate_per_person_hour

    def turns(one: float) -> npt.NDArray[np.int64]:
        """Answers that one person gives before each task is due."""
        return np.floor(slack_hours * one * work_share + _ROUNDING).astype(np.int64)

    def is_late(one: float) -> npt.NDArray[np.bool_]:
        return (done > people * turns(one)) | (votes_left[order][coming] > people)

    late = is_late(rate.median)
    first = float(due[order][coming][late][0]) if late.any() else None
    capacity = people * rate.median * work_share
    load = arrivals_per_hour / capacity if capacity else (math.inf if total or arrivals_per_hour else 0.0)
    clear = _span(rate, lambda one: _clear(total, people, one * work_share, arrivals_per_hour, most))
    needed = _people_needed(done, turns(rate.median), rate.median * work_share, arrivals_per_hour, most)
    return CapacityPlan(
        at=now,
        people=people,
        hours_per_day=hours_per_day,
        rate=rate,
        arrivals_per_hour=arrivals_per_hour,
        n_open=int(due.size),
        votes_left=total,
        clear_hours=clear,
        work_hours=_scaled(clear, work_share),
        n_overdue=int(due.size - done.size),
        late=_span(rate, lambda one: (float(is_late(one).sum()), None)),
        n_unavoidable=int((turns(rate.median) == 0).sum()),
        first_late_at=None if first is None else datetime.fromtimestamp(first, UTC),
        people_needed=needed,
        load=load,
        outrun=arrivals_per_hour > 0 and load >= 1,
        notes=tuple(note for note in (rate.note, _outrun_note(load, arrivals_per_hour, needed)) if note),
    )


def _clear(total: int, people: int, per_person: float, arrivals: float, most: int) -> Result:
    """Return clock hours until ``total`` answers and those that come meanwhile are given, or None and why never."""
    if total == 0:
        return 0.0, None
    if people < most:
        return (
            None,
            f"a task waits for {most} more answers, each from somebody else, and there are {people} people",
        )
    gain = people * per_person - arrivals
    if gain <= 0:
        return None, (
            f"new tasks ask for {arrivals:.3g} answers an hour and {people} people give {people * per_person:.3g}: "
            "the queue never clears"
        )
    return total / gain, None


def _people_needed(
    done: npt.NDArray[np.int64],
    turns: npt.NDArray[np.int64],
    per_person: float,
    arrivals: float,
    most: int,
) -> int:
    """Return the fewest people with ceil(done / people) <= turns for every task that anybody could be in time for."""
    possible = turns > 0
    in_time = int(np.max(-(-done[possible] // turns[possible]), initial=0))
    keeping_up = math.floor(arrivals / per_person) + 1 if arrivals > 0 else 0
    return max(in_time, keeping_up, most, 1 if done.size else 0)


def _span(rate: Rate, at: Callable[[float], Result]) -> Span:
    """Return what ``at`` gives at the median rate, the fast end and the slow end."""
    value, reason = at(rate.median)
    low, _ = at(rate.high)
    high, slow_reason = at(rate.low)
    if reason is None and slow_reason is not None:
        reason = f"at the slow end: {slow_reason}"
    return Span(value=value, low=low, high=high, reason=reason)


def _scaled(span: Span, factor: float) -> Span:
    def scaled(hours: float | None) -> float | None:
        return None if hours is None else hours * factor

    return Span(value=scaled(span.value), low=scaled(span.low), high=scaled(span.high), reason=span.reason)


def _outrun_note(load: float, arrivals: float, needed: int) -> str | None:
    if arrivals <= 0 or load < 1:
        return None
    return f"new tasks come faster than they are answered: it takes {needed} people to keep up"


def _check(
    due: npt.NDArray[np.float64],
    votes_left: npt.NDArray[np.int64],
    people: int,
    hours_per_day: float,
    arrivals: float,
) -> None:
    if due.shape != votes_left.shape or due.ndim != 1:
        raise ConfigError(
            f"expected one due time and one number of votes a task, found shapes {due.shape} and {votes_left.shape}"
        )
    if due.size and not (np.isfinite(due).all() and votes_left.min() >= 1):
        raise ConfigError("expected finite due times and at least 1 vote left on every open task")
    if people < 0:
        raise ConfigError(f"people: expected 0 or more, found {people}")
    if not 0 < hours_per_day <= DAY_HOURS:
        raise ConfigError(f"hours_per_day: expected more than 0 and at most 24, found {hours_per_day:g}")
    if not 0 <= arrivals < math.inf:
        raise ConfigError(f"arrivals_per_hour: expected 0 or more, found {arrivals:g}")


__all__ = [
    "ASSUMED",
    "CapacityPlan",
    "Rate",
    "Span",
    "capacity_plan",
    "measured_arrivals",
    "measured_rate",
    "stored_rate",
]
