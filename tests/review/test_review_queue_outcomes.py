"""The outcome of a task in memory and the view task_outcomes are one rule."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import count
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from labelproof.review.model import Task, TaskEvent, Vote
from labelproof.review.queue import outcome_of
from labelproof.store import TraceStore, open_store
from tests.review.queue_helpers import at, queue_of, task, vote

PROJECTS = count()
WHO = ("ana", "ben", "cid")
SAID = ("spam", "hate", "skip", "flag", "unclear", "withdrawn")
EVENTS: tuple[TaskEvent, ...] = ("closed", "reopened", "escalated")


@dataclass(frozen=True)
class Case:
    """A task with its votes and events in order of arrival."""

    wanted: int
    votes: tuple[tuple[str, str, bool, int], ...]
    """(who, what, as adjudicator, second)."""
    events: tuple[tuple[TaskEvent, int], ...]


CASES = st.builds(
    Case,
    wanted=st.integers(1, 3),
    votes=st.lists(
        # Few seconds, so that answers of one person meet in one; adjudicators never answer at the same time as each other.
        st.tuples(st.sampled_from(WHO), st.sampled_from(SAID), st.sampled_from((False, False, True)), st.integers(0, 3)),
        max_size=7,
    ).map(tuple),
    events=st.lists(
        st.tuples(st.sampled_from(EVENTS), st.integers(0, 20)), max_size=3, unique_by=lambda event: event[1]
    ).map(tuple),
)  # fmt: skip


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TraceStore]:
    with open_store(tmp_path_factory.mktemp("outcomes") / "store") as opened:
        yield opened


def built(project: str, n: int, case: Case) -> tuple[Task, list[Vote]]:
    name = f"{project} t{n}"
    votes = [
        vote(
            who,
            said,
            task_id=name,
            after=second + (i + 1) / 100 if is_lead else second,
            role="adjudicator" if is_lead else "reviewer",
            vote_id=f"{name} {i * 7 % 5} {i}",
            project=project,
        )
        for i, (who, said, is_lead, second) in enumerate(case.votes)
    ]
    return task(name, project=project, votes_wanted=case.wanted), votes


def stored(store: TraceStore, tasks: Sequence[Task], votes: Sequence[Vote], events: Sequence[Any]) -> None:
    names = ("task_id", "project", "kind", "item_id", "label", "blind", "votes_wanted")
    said = ("vote_id", "project", "task_id", "item_id", "annotator", "role", "answer", "label", "source")
    rows = {name: [getattr(one, name) for one in tasks] for name in names}
    store.append("review_tasks", rows | {"ts": [one.made_at for one in tasks]})
    if votes:
        answers = {name: [getattr(one, name) for one in votes] for name in said}
        store.append("votes", answers | {"ts": [one.at for one in votes]})
    if events:
        columns = dict(zip(("event_id", "project", "task_id", "event", "ts"), map(list, zip(*events, strict=True)), strict=True))  # fmt: skip
        store.append("review_events", columns)


# A failing case is printed by itself and is small: shrinking would only cost minutes of store reads.
@settings(
    max_examples=20,
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(cases=st.lists(CASES, min_size=5, max_size=20), seed=st.integers(0, 999))
def test_view_and_memory_say_the_same(store: TraceStore, cases: list[Case], seed: int) -> None:
    project = f"p{next(PROJECTS)}"
    pairs = [built(project, n, case) for n, case in enumerate(cases)]
    tasks, votes = [one for one, _ in pairs], [one for _, many in pairs for one in many]
    events: list[tuple[str, str, str, TaskEvent, datetime]] = [
        (f"e{n} {second}", project, tasks[n].task_id, event, at(second))
        for n, case in enumerate(cases)
        for event, second in case.events
    ]
    stored(store, tasks, [*votes, *votes[:3]], events)
    rows = store.query("SELECT * FROM task_outcomes WHERE project = ?", [project], fresh=True).to_pylist()
    store.drain()
    seen = {
        row["task_id"]: (row["state"], row["final_label"], row["n_answers"], row["n_votes"]) for row in rows
    }

    queue = queue_of(*tasks[::2])
    arriving: list[Any] = [*votes, *votes[:3], *events, *tasks[1::2]]
    Random(seed).shuffle(arriving)
    for one in arriving:
        if isinstance(one, Vote):
            queue.apply_vote(one)
        elif isinstance(one, Task):
            queue.add(one)
        else:
            queue.apply_event(one[2], one[3], one[4])
    for n, (one, given_votes) in enumerate(pairs):
        event, second = max(cases[n].events, key=lambda pair: pair[1], default=(None, 0))
        outcome = outcome_of(one, reversed([*given_votes, *given_votes]), event, at(second))
        assert queue.outcome(one.task_id) == outcome
        answers = [vote for vote in outcome.votes if vote.role == "reviewer"]
        n_votes = sum(vote.answer == "label" for vote in answers)
        assert seen[one.task_id] == (outcome.state, outcome.final_label, len(answers), n_votes), cases[n]


def test_a_later_vote_replaces_and_at_the_same_time_the_higher_id_does() -> None:
    first, second = vote(said="spam", vote_id="b"), vote(said="hate", vote_id="a")
    assert outcome_of(task(), [first, second], None).final_label == "spam"
    assert outcome_of(task(), [second, first], None).final_label == "spam"
    assert outcome_of(task(), [first, vote(said="hate", vote_id="a", after=1)], None).final_label == "hate"


def test_votes_of_other_tasks_and_projects_are_left_out() -> None:
    strays = [vote(task_id="t2"), vote(project="other")]
    assert outcome_of(task(), strays, None).votes == ()


def test_answers_come_oldest_first_with_the_adjudicators() -> None:
    votes = [
        vote("ana", "hate", after=2),
        vote("ben", after=1),
        vote("lea", "hate", role="adjudicator", after=3),
    ]
    outcome = outcome_of(task(votes_wanted=2), votes, None)
    assert [one.annotator for one in outcome.votes] == ["ben", "ana", "lea"]
    assert (outcome.state, outcome.final_label) == ("adjudicated", "hate")


@pytest.mark.parametrize(
    ("said", "event", "state"),
    [
        (("spam", "hate"), "closed", "closed"),
        (("spam", "hate"), "reopened", "disputed"),
        (("spam", "spam"), "closed", "agreed"),
        (("spam", "flag"), "closed", "closed"),
        (("spam", "skip"), "escalated", "escalated"),
        (("spam", "skip"), "closed", "closed"),
        (("spam", "skip"), "reopened", "open"),
        (("spam", "withdrawn"), None, "open"),
    ],
)
def test_what_was_decided_stays_and_a_lead_may_close_the_rest(
    said: tuple[str, str], event: TaskEvent | None, state: str
) -> None:
    votes = [vote(who, what) for who, what in zip(WHO, said, strict=False)]
    assert outcome_of(task(votes_wanted=2), votes, event, at(100)).state == state


def test_asking_again_deals_with_what_was_raised_before() -> None:
    raised = vote(WHO[0], "flag")
    asked_again = raised.at + timedelta(seconds=1)
    assert outcome_of(task(votes_wanted=2), [raised], "reopened", asked_again).state == "open"
    assert outcome_of(task(votes_wanted=2), [raised], "reopened", raised.at).state == "open"
    later = replace(vote(WHO[1], "unclear"), at=asked_again + timedelta(seconds=1))
    assert outcome_of(task(votes_wanted=2), [raised, later], "reopened", asked_again).state == "escalated"
