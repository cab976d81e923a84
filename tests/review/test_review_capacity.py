"""The capacity plan against a simulation task by task, and its inputs measured from stored votes."""

from __future__ import annotations

import heapq
import json
import math
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labelproof.review.model import Vote, VoteAnswer
from labelproof.review.people import Rate, capacity_plan, measured_arrivals, measured_rate, stored_rate
from labelproof.spec.errors import ConfigError
from labelproof.store import TraceStore, open_store
from tests.review.people_rows import NOW, minutes_from, put_tasks, put_votes

SIXTY = Rate(median=60, low=40, high=90)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[TraceStore]:
    with open_store(tmp_path / "store") as opened:
        yield opened


def due_in(*hours: float) -> np.ndarray:
    return NOW.timestamp() + 3600 * np.array(hours, dtype=np.float64)


def ones(due: np.ndarray) -> np.ndarray:
    return np.ones(due.size, dtype=np.int64)


def simulate(
    due: np.ndarray, votes: np.ndarray, rate: float, people: int, hours_per_day: float
) -> tuple[float, list[int]]:
    """Let people answer one after the other: clock hours until all is done, and the tasks decided after their due time."""
    hour = 24 / hours_per_day / rate  # of the clock, for one answer
    free = [0.0] * people
    late, last = [], 0.0
    for i in np.argsort(due, kind="stable"):
        done = 0.0
        for _ in range(votes[i]):
            done = max(done, heapq.heappop(free) + hour)
            heapq.heappush(free, done)
        last = max(last, done)
        left = (due[i] - NOW.timestamp()) / 3600
        if left >= 0 and done > left + 1e-7:
            late.append(int(i))
    return last, late


def fewest_people(due: np.ndarray, votes: np.ndarray, rate: float, hours_per_day: float) -> int:
    """The fewest people with which as few tasks are late as with more than could ever be used."""
    best = len(simulate(due, votes, rate, 2000, hours_per_day)[1])
    people = int(votes.max(initial=1))
    while len(simulate(due, votes, rate, people, hours_per_day)[1]) > best:
        people += 1
    return people


@settings(max_examples=80, deadline=None)
@given(
    tasks=st.lists(st.tuples(st.integers(-300, 3000), st.integers(1, 3)), min_size=1, max_size=60),
    per_hour=st.sampled_from([7.0, 20.0, 60.0, 61.3]),
    people=st.integers(3, 6),
    hours_per_day=st.sampled_from([24.0, 8.0, 5.5]),
)
def test_the_plan_is_what_a_simulation_finds(
    tasks: list[tuple[int, int]], per_hour: float, people: int, hours_per_day: float
) -> None:
    # Due times off the grid of answers, so that no tie is decided by the last digit of a float.
    due = NOW.timestamp() + np.array([60.0 * minutes + 17.0 for minutes, _ in tasks])
    votes = np.array([n for _, n in tasks], dtype=np.int64)
    rate = Rate(median=per_hour, low=per_hour, high=per_hour)
    plan = capacity_plan(due, votes, NOW, rate, people, hours_per_day, 0.0)
    clear, late = simulate(due, votes, per_hour, people, hours_per_day)
    one = 24 / hours_per_day / per_hour
    assert plan.clear_hours.value is not None
    assert clear - one <= plan.clear_hours.value <= clear + 1e-9
    assert plan.late.value == len(late)
    assert plan.n_overdue == sum(minutes * 60 + 17 < 0 for minutes, _ in tasks)
    first = min((due[i] for i in late), default=None)
    assert (None if plan.first_late_at is None else plan.first_late_at.timestamp()) == first
    assert plan.people_needed == fewest_people(due, votes, per_hour, hours_per_day)


def test_a_large_queue_agrees_with_the_simulation() -> None:
    rng = np.random.default_rng(5)
    due = NOW.timestamp() + np.sort(rng.uniform(-3600, 72 * 3600, 20_000))
    votes = rng.integers(1, 3, 20_000)
    plan = capacity_plan(due, votes, NOW, SIXTY, 10, 8.0, 0.0)
    clear, late = simulate(due, votes, 60.0, 10, 8.0)
    assert plan.clear_hours.value == pytest.approx(clear, abs=0.06)
    assert plan.late.value == len(late)
    assert plan.votes_left == votes.sum()


def test_the_order_given_does_not_matter() -> None:
    due = due_in(0.1, 5, 0.02, 3)
    plan = capacity_plan(due, np.array([1, 2, 1, 3]), NOW, SIXTY, 3, 24.0, 0.0)
    turned = capacity_plan(due[::-1], np.array([3, 1, 2, 1]), NOW, SIXTY, 3, 24.0, 0.0)
    assert plan == turned


def test_hours_and_their_range_by_hand() -> None:
    """120 answers, 2 people at 60 an hour: one hour of work, three of the clock at 8 hours a day."""
    due = due_in(*([100.0] * 120))
    plan = capacity_plan(due, ones(due), NOW, SIXTY, 2, 8.0, 0.0)
    assert (plan.work_hours.value, plan.work_hours.low, plan.work_hours.high) == pytest.approx(
        (1.0, 60 / 90, 1.5)
    )
    assert plan.clear_hours.value == pytest.approx(3.0)
    assert (plan.load, plan.outrun, plan.first_late_at) == (0.0, False, None)


def test_new_tasks_are_worked_off_too() -> None:
    due = due_in(*([100.0] * 120))
    plan = capacity_plan(due, ones(due), NOW, SIXTY, 2, 24.0, 60.0)
    assert plan.clear_hours.value == pytest.approx(2.0)
    assert plan.load == pytest.approx(0.5)
    assert plan.clear_hours.low == pytest.approx(1.0)
    assert plan.clear_hours.high == pytest.approx(120 / 20)


def test_arrivals_above_capacity_never_clear() -> None:
    due = due_in(1.0, 2.0)
    plan = capacity_plan(due, ones(due), NOW, SIXTY, 1, 8.0, 30.0)
    assert plan.clear_hours.value is None
    assert plan.clear_hours.reason == (
        "new tasks ask for 30 answers an hour and 1 people give 20: the queue never clears"
    )
    assert plan.work_hours.value is None
    assert plan.outrun
    assert plan.load == pytest.approx(1.5)
    assert plan.people_needed == 2
    assert any("it takes 2 people to keep up" in note for note in plan.notes)
    # Exactly as fast as they are answered: still never clear, and one more is needed.
    even = capacity_plan(due, ones(due), NOW, SIXTY, 1, 8.0, 20.0)
    assert even.outrun
    assert even.people_needed == 2


def test_the_slow_end_may_never_clear_where_the_median_does() -> None:
    due = due_in(50.0)
    plan = capacity_plan(due, ones(due), NOW, SIXTY, 1, 24.0, 50.0)
    assert plan.clear_hours.value == pytest.approx(0.1)
    assert plan.clear_hours.high is None
    assert plan.clear_hours.reason is not None
    assert plan.clear_hours.reason.startswith("at the slow end: new tasks ask for 50 answers an hour")


def test_a_task_that_wants_more_people_than_there_are_is_never_done() -> None:
    due = due_in(10.0)
    plan = capacity_plan(due, np.array([2]), NOW, SIXTY, 1, 8.0, 0.0)
    assert plan.clear_hours.value is None
    assert plan.clear_hours.reason is not None
    assert "each from somebody else" in plan.clear_hours.reason
    assert plan.late.value == 1
    assert plan.people_needed == 2


def test_who_cannot_be_helped_does_not_count_for_the_people_needed() -> None:
    due = due_in(-1.0, 10 / 3600, 1.0)
    plan = capacity_plan(due, ones(due), NOW, SIXTY, 1, 24.0, 0.0)
    assert (plan.n_overdue, plan.n_unavoidable, plan.late.value) == (1, 1, 1)
    assert plan.first_late_at == NOW + timedelta(seconds=10)
    assert plan.people_needed == 1


def test_nobody_at_work_and_nothing_to_do() -> None:
    none = np.zeros(0)
    empty = capacity_plan(none, ones(none), NOW, SIXTY, 0, 8.0, 0.0)
    assert (empty.clear_hours.value, empty.people_needed, empty.late.value, empty.load) == (0.0, 0, 0, 0.0)
    due = due_in(1.0)
    idle = capacity_plan(due, ones(due), NOW, SIXTY, 0, 8.0, 0.0)
    assert idle.clear_hours.value is None
    assert idle.late.value == 1
    assert idle.people_needed == 1
    assert idle.to_json()["load"] is None
    shown = idle.to_json()
    assert json.loads(orjson.dumps(shown)) == json.loads(json.dumps(shown))


@pytest.mark.parametrize(
    ("people", "hours", "arrivals", "said"),
    [
        (-1, 8.0, 0.0, "people: expected 0 or more"),
        (1, 0.0, 0.0, "hours_per_day: expected more than 0"),
        (1, 25.0, 0.0, "hours_per_day: expected more than 0 and at most 24, found 25"),
        (1, 8.0, -1.0, "arrivals_per_hour"),
        (1, 8.0, math.nan, "arrivals_per_hour"),
        (1, 8.0, math.inf, "arrivals_per_hour"),
    ],
)
def test_impossible_numbers_are_refused(people: int, hours: float, arrivals: float, said: str) -> None:
    due = due_in(1.0)
    with pytest.raises(ConfigError, match=said):
        capacity_plan(due, ones(due), NOW, SIXTY, people, hours, arrivals)


def test_bad_arrays_are_refused() -> None:
    due = due_in(1.0, 2.0)
    with pytest.raises(ConfigError, match="one due time and one number of votes a task"):
        capacity_plan(due, np.array([1]), NOW, SIXTY, 1, 8.0, 0.0)
    with pytest.raises(ConfigError, match="at least 1 vote left"):
        capacity_plan(due, np.array([1, 0]), NOW, SIXTY, 1, 8.0, 0.0)
    with pytest.raises(ConfigError, match="finite due times"):
        capacity_plan(np.array([1.0, np.nan]), np.array([1, 1]), NOW, SIXTY, 1, 8.0, 0.0)
    with pytest.raises(ConfigError, match="0 < low <= median <= high"):
        Rate(median=60, low=0, high=90)


# --- measured from votes -----------------------------------------------------------------------


def vote(i: int, *, seconds: float | None = 30.0, answer: VoteAnswer = "label", at: datetime = NOW) -> Vote:
    return Vote(
        vote_id=f"v{i:04d}",
        project="mini",
        task_id=f"t{i}",
        item_id=f"i{i}",
        annotator="ann",
        role="reviewer",
        answer=answer,
        label="safe" if answer == "label" else None,
        note=None,
        source="web",
        seconds=seconds,
        at=at + timedelta(minutes=i),
    )


def test_the_rate_is_answers_per_hour_of_active_time() -> None:
    rate = measured_rate([vote(i) for i in range(200)])
    assert (rate.median, rate.low, rate.high, rate.n, rate.note) == pytest.approx((120, 120, 120, 200, None))
    mixed = [vote(i, seconds=20.0 if i < 100 else 60.0) for i in range(200)]
    spread = measured_rate(reversed(mixed))
    assert (spread.low, spread.high) == pytest.approx((60, 180))
    assert spread.median == pytest.approx(120)


def test_skips_cost_time_and_withdrawn_votes_none() -> None:
    votes = [vote(2 * i) for i in range(100)] + [vote(2 * i + 1, answer="skip") for i in range(100)]
    rate = measured_rate(votes)
    assert rate.n == 100
    assert rate.median == pytest.approx(60)
    withdrawn = [vote(1000 + i, answer="withdrawn") for i in range(100)]
    assert measured_rate([*votes, *withdrawn]) == rate


def test_a_pause_is_not_an_hours_work_on_one_answer() -> None:
    rate = measured_rate([vote(i, seconds=7200.0 if i == 5 else 30.0) for i in range(20)])
    assert rate.median == pytest.approx(20 * 3600 / (19 * 30 + 600))
    assert rate.note == "measured on 20 answers: the range will settle with more"


@pytest.mark.parametrize("seconds", [None, 0.0, -5.0, math.nan])
def test_without_twenty_timed_answers_the_rate_is_assumed(seconds: float | None) -> None:
    rate = measured_rate([vote(i, seconds=seconds if i < 81 else 30.0) for i in range(100)])
    assert (rate.median, rate.low, rate.high, rate.n) == (60, 30, 120, 0)
    assert rate.note == "60 answers an hour are assumed: 19 of 20 answers with a time were found"


def test_the_stored_rate_counts_hidden_gold_as_time(store: TraceStore) -> None:
    tasks = put_tasks(store, ["safe"] * 100)
    checks = put_tasks(store, ["safe"] * 100, kind="check")
    assert stored_rate(store, "mini", NOW).n == 0
    times = minutes_from(NOW - timedelta(days=1), 200)
    both = {task: "safe" for pair in zip(tasks, checks, strict=True) for task in pair}
    put_votes(store, "ann", both, at=times, seconds=30.0)
    rate = stored_rate(store, "mini", NOW)
    assert rate.n == 100
    # Hidden gold comes after each task, so the first stretch holds one check less.
    assert rate.median == pytest.approx(60)
    assert stored_rate(store, "other", NOW).n == 0
    assert stored_rate(store, "mini", NOW + timedelta(days=40)).n == 0


def test_arrivals_are_answers_asked_for_in_an_hour(store: TraceStore) -> None:
    assert measured_arrivals(store, "mini", NOW) == 0.0
    put_tasks(store, [None] * 12, wanted=2, at=NOW - timedelta(hours=1))
    put_tasks(store, [None] * 50, kind="check", at=NOW - timedelta(hours=1))
    put_tasks(store, [None] * 50, project="other", at=NOW - timedelta(hours=1))
    assert measured_arrivals(store, "mini", NOW) == 0.0, "a first batch says nothing of what will come"
    assert measured_arrivals(store, "mini", NOW + timedelta(hours=47)) == pytest.approx(24 / 48)
    put_tasks(store, [None] * 10, at=NOW - timedelta(days=30))
    assert measured_arrivals(store, "mini", NOW) == pytest.approx(24 / 168)
    assert measured_arrivals(store, "mini", NOW + timedelta(days=8)) == 0.0
