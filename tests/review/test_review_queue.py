"""The queue's rules one by one: order, who gets what, refusals, leases, leads, undo, skips, numbers."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import numpy as np
import pytest

from labelproof.review.model import NothingToDo, Reviewer, ReviewError, Task, VoteRole
from labelproof.review.queue import Queue
from labelproof.spec.review import ReviewPolicy
from tests.review.queue_helpers import T0, at, queue_of, task, vote

ANA, BEN, LEA = Reviewer(name="ana"), Reviewer(name="ben"), Reviewer(name="lea", role="lead")


def got(queue: Queue, who: Reviewer = ANA, **given: Any) -> str:
    """Return the id of the next task, or why there is none."""
    found = queue.first_for(who, given.pop("now", T0), **given)
    return found.task_id if isinstance(found, Task) else found.reason


def said(queue: Queue, who: Reviewer = ANA, **given: Any) -> str:
    found = queue.first_for(who, T0, **given)
    assert isinstance(found, NothingToDo)
    return found.message


# Order


def test_lowest_rank_first_and_ties_by_id() -> None:
    queue = queue_of(task("b", rank=2), task("c", rank=1), task("a", rank=1))
    assert got(queue) == "a"
    assert got(queue, skip=["a"]) == "c"
    assert got(queue, skip=["a", "c"]) == "b"


def test_a_skipped_front_does_not_hide_a_better_shelf() -> None:
    queue = queue_of(
        task("a", rank=1), task("z", rank=9), task("es", rank=5, language="es"), task("de", rank=7, language="de")
    )  # fmt: skip
    assert [got(queue, skip=skip) for skip in (["a"], ["a", "es"], ["a", "es", "de"])] == ["es", "de", "z"]


def test_a_handed_task_is_not_held_until_the_desk_says_so() -> None:
    queue = queue_of(task())
    assert got(queue) == got(queue, BEN) == "t1"


# Who gets what


def test_somebody_who_answered_gets_the_task_no_more_but_others_do() -> None:
    queue = queue_of(task(votes_wanted=2))
    queue.apply_vote(vote("ana", "skip"))
    assert (got(queue), got(queue, BEN)) == ("voted", "t1")
    assert "1 task waiting for somebody else" in said(queue)


def test_undo_hands_the_task_back() -> None:
    queue = queue_of(task())
    assert queue.apply_vote(vote("ana", "spam")).state == "agreed"  # type: ignore[union-attr]
    assert got(queue) == "empty"
    outcome = queue.apply_vote(vote("ana", "withdrawn", after=5))
    assert outcome is not None
    assert (outcome.state, outcome.votes) == ("open", ())
    assert got(queue) == "t1"


def test_skills_and_languages() -> None:
    queue = queue_of(
        task("graphic", skills=frozenset(("graphic",))),
        task("es", rank=1, language="es"),
        task("any", rank=2),
    )
    german = Reviewer(name="dora", languages=frozenset(("de",)))
    spanish = Reviewer(name="eva", languages=frozenset(("es",)), skills=frozenset(("graphic", "other")))
    assert [got(queue, who) for who in (ANA, german, spanish)] == ["es", "any", "graphic"]
    queue.apply_event("any", "closed", T0)
    assert got(queue, german) == "skills"
    assert "2 tasks for other skills or languages (es, graphic)" in said(queue, german)


def test_the_daily_limit_of_a_severity_leaves_the_others() -> None:
    policy = ReviewPolicy.model_validate({"care": {"daily_limit": {"critical": 2}}})
    queue = queue_of(task("c", severity="critical"), task("h", severity="high", rank=1), policy=policy)
    assert got(queue, seen={"critical": 1}) == "c"
    assert got(queue, seen={"critical": 2, "high": 5000}) == "h"
    queue.apply_event("h", "closed", T0)
    assert got(queue, seen={"critical": 2}) == "limit"
    assert "1 task past your daily limit (critical)" in said(queue, seen={"critical": 2})


def test_hidden_gold_is_not_handed_out_from_here_and_is_nobodys_work() -> None:
    queue = queue_of(task(kind="check"))
    assert (got(queue), got(queue, LEA, role="adjudicator")) == ("empty", "empty")
    assert sum(queue.overview(T0).by_state.values()) == 0
    assert queue.refusal("t1", "ana", "reviewer") is None


def test_a_question_raised_with_hidden_gold_reaches_the_leads() -> None:
    queue = queue_of(task(kind="check"))
    queue.apply_vote(vote("ana", "flag"))
    assert got(queue, LEA, role="adjudicator") == "t1"
    assert queue.overview(T0).by_state["escalated"] == len(queue.for_leads()) == 1


@pytest.mark.parametrize("state", ["agreed", "disputed", "escalated", "closed"])
def test_only_open_tasks_go_to_reviewers(state: str) -> None:
    queue = queue_of(task(votes_wanted=2))
    if state == "agreed":
        queue.apply_vote(vote("bob"))
        queue.apply_vote(vote("cid"))
    elif state == "disputed":
        queue.apply_vote(vote("bob", "spam"))
        queue.apply_vote(vote("cid", "hate"))
    elif state == "escalated":
        queue.apply_vote(vote("bob", "unclear"))
    else:
        queue.apply_event("t1", "closed", T0)
    assert queue.outcome("t1").state == state
    assert got(queue) == "empty"
    queue.apply_event("t1", "reopened", at(1))
    assert got(queue) == ("t1" if state in ("closed", "escalated") else "empty")


# Leases


def test_a_held_task_is_for_nobody_until_released_or_expired() -> None:
    queue = queue_of(task())
    queue.hold("t1", "ben", at(600))
    assert (got(queue), queue.holder("t1")) == ("held", "ben")
    assert "others hold 1 task that you could take" in said(queue)
    assert (got(queue, BEN), said(queue, BEN)[:38]) == ("held", "No task for you now: you hold 1 task y")
    queue.release("t1")
    assert (got(queue), queue.holder("t1")) == ("t1", None)
    queue.hold("t1", "ben", at(600))
    assert got(queue, now=at(599)) == "held"
    assert got(queue, now=at(600)) == "t1"


def test_a_sign_of_life_moves_the_end_and_a_new_holder_replaces_the_old() -> None:
    queue = queue_of(task())
    queue.hold("t1", "ben", at(600))
    queue.hold("t1", "ben", at(900))
    assert queue.expire(at(600)) == []
    queue.hold("t1", "cid", at(950))
    assert queue.holder("t1") == "cid"
    assert queue.overview(at(901)).n_held == 1
    assert queue.expire(at(950)) == ["t1"]
    queue.release("t1")
    assert got(queue) == "t1"


def test_a_lease_may_be_known_before_its_task() -> None:
    queue = Queue(ReviewPolicy())
    queue.hold("t1", "ben", at(600))
    assert queue.add(task())
    assert got(queue) == "held"
    assert got(queue, now=at(601)) == "t1"


def test_a_held_task_that_is_answered_comes_back_on_the_right_shelf() -> None:
    queue = queue_of(task(votes_wanted=2))
    queue.hold("t1", "ben", at(600))
    queue.apply_vote(vote("ben"))
    assert (got(queue), got(queue, BEN)) == ("held", "held")
    queue.release("t1")
    assert (got(queue), got(queue, BEN)) == ("t1", "voted")


def test_what_others_hold_and_would_not_be_for_me_is_not_promised() -> None:
    queue = queue_of(task(language="es"))
    queue.hold("t1", "ben", at(600))
    assert got(queue, Reviewer(name="dora", languages=frozenset(("de",)))) == "skills"


def test_what_can_change_soonest_is_said_first_with_all_counts() -> None:
    queue = queue_of(
        task("h"), task("s", skills=frozenset(("x",))), task("s2", language="es", skills=frozenset(("x",))),
        task("l", severity="critical"), task("v", votes_wanted=2), task("o"),
    )  # fmt: skip
    queue.hold("h", "ben", at(600))
    queue.hold("o", "ana", at(600))
    queue.apply_vote(vote("ana", task_id="v"))
    found = queue.first_for(ANA, T0, seen={"critical": 200})
    assert isinstance(found, NothingToDo)
    assert (found.reason, found.n_open) == ("held", 6)
    for part in (
        "others hold 1 task that",
        "you hold 1 task yourself",
        "1 task past",
        "2 tasks for other skills or languages (x)",
        "1 task waiting",
    ):
        assert part in found.message


def test_tasks_that_the_client_has_already_are_its_own() -> None:
    queue = queue_of(task())
    assert got(queue, skip=("t1",)) == "held"
    assert "you hold 1 task yourself" in said(queue, skip=("t1",))


# Leads


def test_disputed_tasks_go_to_an_adjudicator_who_was_not_a_reviewer() -> None:
    queue = queue_of(task(votes_wanted=2))
    queue.apply_vote(vote("ana", "spam"))
    queue.apply_vote(vote("lea", "hate"))
    zoe = Reviewer(name="zoe", role="lead", languages=frozenset(("xx",)))
    assert (got(queue, LEA, role="adjudicator"), got(queue, zoe, role="adjudicator")) == ("voted", "t1")
    queue.hold("t1", "zoe", at(9))
    assert got(queue, Reviewer(name="yan", role="lead"), role="adjudicator") == "held"
    outcome = queue.apply_vote(vote("zoe", "hate", role="adjudicator"))
    assert outcome is not None
    assert (outcome.state, outcome.final_label) == ("adjudicated", "hate")
    assert got(queue, zoe, role="adjudicator") == "empty"


def test_taking_an_answer_back_does_not_make_a_reviewer_an_adjudicator() -> None:
    queue = queue_of(task())
    queue.apply_vote(vote("lea"))
    queue.apply_vote(vote("lea", "withdrawn", after=1))
    queue.apply_vote(vote("ana", "unclear"))
    assert got(queue, LEA, role="adjudicator") == "voted"
    assert "were a reviewer" in str(queue.refusal("t1", "lea", "adjudicator"))


def test_an_adjudicator_who_skipped_is_not_asked_again_but_may_still_decide() -> None:
    queue = queue_of(task())
    queue.apply_vote(vote("ana", "unclear"))
    queue.apply_vote(vote("lea", "skip", role="adjudicator"))
    assert got(queue, LEA, role="adjudicator") == "voted"
    assert queue.refusal("t1", "lea", "adjudicator") is None


def test_an_adjudicator_saw_all_answers_and_does_not_review_the_task_later() -> None:
    queue = queue_of(task())
    queue.apply_vote(vote("ana", "flag"))
    queue.apply_vote(vote("lea", "spam", role="adjudicator", after=1))
    queue.apply_vote(vote("lea", "withdrawn", role="adjudicator", after=2))
    queue.apply_vote(vote("ana", "withdrawn", after=3))
    assert (got(queue, LEA), got(queue, BEN), got(queue)) == ("voted", "t1", "t1")
    assert "seen this task" in str(queue.refusal("t1", "lea", "reviewer"))


def test_for_leads_in_order() -> None:
    queue = queue_of(task("a", rank=3), task("b", rank=1), task("c", rank=2))
    for name in "abc":
        queue.apply_vote(vote("ana", "flag", task_id=name))
    queue.apply_vote(vote("lea", "spam", role="adjudicator", task_id="c"))
    assert [(one.task_id, outcome.state) for one, outcome in queue.for_leads()] == [
        ("b", "escalated"), ("a", "escalated"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("done", "who", "role", "why"),
    [
        ((), "ana", "reviewer", None),
        ((), "ana", "adjudicator", "nothing to adjudicate"),
        ((vote("ana", "skip"),), "ana", "reviewer", "answered this task already"),
        ((vote("ana"), vote("ben")), "cid", "reviewer", "decided already"),
        ((vote("ana"), vote("ben")), "lea", "adjudicator", "decided already"),
        ((vote("ana", "a"), vote("ben", "b")), "cid", "reviewer", "waits for a lead"),
        ((vote("ana", "a"), vote("ben", "b")), "cid", "adjudicator", None),
        ((vote("ana", "a"), vote("ben", "b")), "ben", "adjudicator", "were a reviewer"),
        ((vote("ana", "a"), vote("ana", "withdrawn", after=1)), "ana", "reviewer", None),
    ],
    ids=lambda value: None if isinstance(value, tuple) else str(value),
)
def test_refusals(done: tuple[Any, ...], who: str, role: VoteRole, why: str | None) -> None:
    queue = queue_of(task(votes_wanted=2))
    for one in done:
        queue.apply_vote(one)
    found = queue.refusal("t1", who, role)
    assert found is None if why is None else why in str(found)


def test_closed_and_unknown_tasks_are_refused() -> None:
    queue = queue_of(task())
    queue.apply_event("t1", "closed", T0)
    assert "closed" in str(queue.refusal("t1", "ana", "reviewer"))
    assert "no task 'other'" in str(queue.refusal("other", "ana", "reviewer"))
    with pytest.raises(ReviewError, match="no task 'other'"):
        queue.outcome("other")


# Skips


def test_enough_skips_ask_for_a_lead_and_skips_before_a_reopening_count_no_more() -> None:
    queue = queue_of(task(votes_wanted=2), policy=ReviewPolicy(skips_to_lead=2))
    queue.apply_vote(vote("ana", "skip"))
    assert queue.to_escalate() == []
    queue.apply_vote(vote("ben", "skip", after=1))
    assert queue.to_escalate() == ["t1"]
    queue.apply_event("t1", "escalated", at(2))
    assert (queue.to_escalate(), queue.outcome("t1").state) == ([], "escalated")
    queue.apply_event("t1", "reopened", at(3))
    assert (queue.to_escalate(), queue.outcome("t1").state) == ([], "open")
    queue.apply_vote(vote("cid", "skip", after=4))
    queue.apply_vote(vote("dan", "skip", after=5))
    assert queue.to_escalate() == ["t1"]
    queue.apply_vote(vote("dan", "withdrawn", after=6))
    assert queue.to_escalate() == []


# Arrival


def test_votes_and_events_wait_for_their_task() -> None:
    queue = Queue(ReviewPolicy())
    assert queue.apply_vote(vote("ana", "spam")) is None
    assert queue.apply_vote(vote("ana", "spam")) is None
    assert queue.apply_event("t2", "closed", T0) is None
    assert queue.answered("ana") == 0
    assert queue.add(task("t1"))
    assert queue.add(task("t2"))
    assert (queue.outcome("t1").state, queue.outcome("t2").state) == ("agreed", "closed")
    assert queue.answered("ana") == 1


def test_the_same_vote_twice_is_one_vote() -> None:
    queue = queue_of(task(votes_wanted=2))
    first = queue.apply_vote(vote("ana"))
    assert queue.apply_vote(vote("ana")) == first
    assert (queue.outcome("t1").state, queue.answered("ana")) == ("open", 1)


def test_an_old_answer_that_comes_late_changes_nothing() -> None:
    queue = queue_of(task())
    queue.apply_vote(vote("ana", "spam", after=9))
    queue.apply_vote(vote("ana", "hate", after=3))
    assert queue.outcome("t1").final_label == "spam"
    latest = queue.latest_answer("ana")
    assert latest is not None
    assert latest.label == "spam"


def test_a_task_known_already_is_not_new_and_its_earlier_row_counts() -> None:
    queue = queue_of(task(rank=5, made_at=at(10)))
    queue.apply_vote(vote("ana", "skip"))
    assert not queue.add(task(rank=1, made_at=at(20)))
    assert queue.task("t1") == task(rank=5, made_at=at(10))
    assert not queue.add(task(rank=7, made_at=at(0)))
    assert queue.task("t1") == task(rank=7, made_at=at(0))
    assert queue.overview(T0).oldest_open == at(0)
    assert (got(queue), got(queue, BEN)) == ("voted", "t1")


def test_of_two_rows_loaded_at_once_the_earlier_counts() -> None:
    queue = Queue(ReviewPolicy())
    late, early = task(rank=1, made_at=at(20)), task(rank=2, made_at=at(10))
    assert queue.load([late, early, late]) == 1
    assert queue.task("t1") == early
    assert queue.load([task(made_at=at(30)), task("t2")]) == 1


def test_a_vote_of_another_project_does_not_count() -> None:
    queue = queue_of(task())
    queue.apply_vote(vote("ana", project="other"))
    assert (queue.outcome("t1").state, queue.answered("ana"), got(queue)) == ("open", 0, "t1")


# What is known


def test_answers_of_a_person() -> None:
    queue = queue_of(task("a"), task("b", kind="check"), task("c", votes_wanted=2))
    for n, name in enumerate("abc"):
        queue.apply_vote(vote("ana", task_id=name, after=n * 10))
    assert queue.answered("ana") == 3
    assert [one.task_id for one in queue.answered_since("ana", at(10))] == ["b", "c"]
    queue.apply_vote(vote("ana", "withdrawn", task_id="c", after=30))
    latest = queue.latest_answer("ana")
    assert latest is not None
    assert (latest.task_id, queue.answered("ana")) == ("b", 2)
    assert (queue.latest_answer("ben"), queue.answered_since("ben", T0), queue.answered("ben")) == (
        None,
        [],
        0,
    )


def test_adjudications_are_kept_apart() -> None:
    queue = queue_of(task())
    queue.apply_vote(vote("ana", "flag"))
    queue.apply_vote(vote("lea", "spam", role="adjudicator"))
    assert (queue.answered("lea"), queue.answered("lea", "adjudicator")) == (0, 1)
    assert queue.latest_answer("lea") is None
    assert queue.latest_answer("lea", "adjudicator") is not None


def test_tasks_of_an_item_oldest_first() -> None:
    queue = queue_of(task("b", item_id="i", made_at=at(1)), task("a", item_id="i", made_at=at(2)), task("c"))
    assert queue.tasks_of_item("i") == ["b", "a"]
    assert queue.tasks_of_item("none") == []


def test_how_many_tasks_somebody_could_answer() -> None:
    queue = queue_of(
        task("a"), task("b"), task("c"), task("es", language="es"), task("v", votes_wanted=2),
        task("x", kind="check"), task("crit", severity="critical"),
    )  # fmt: skip
    dora = Reviewer(name="dora", languages=frozenset(("de",)))
    queue.apply_vote(vote("dora", "skip", task_id="v"))
    queue.hold("a", "ben", at(600))
    queue.hold("b", "dora", at(600))
    assert queue.n_open_for(dora) == 3  # b, c, crit
    assert queue.n_open_for(dora, seen={"critical": 200}) == 2
    assert queue.n_open_for(BEN) == 5  # a, c, es, v, crit


def test_overview_counts() -> None:
    hour = timedelta(hours=1)
    queue = queue_of(
        task("a", severity="high", due_at=T0 + 2 * hour, votes_wanted=3),
        task("b", severity="high", due_at=T0 - hour, made_at=T0 - 5 * hour),
        task("c", kind="audit", due_at=T0 + hour, made_at=T0 - hour, votes_wanted=2),
        task("d", kind="check", due_at=T0 - hour),
        task("e"),
    )
    queue.apply_vote(vote("ana", task_id="a"))
    queue.apply_vote(vote("ben", "skip", task_id="a"))
    queue.apply_vote(vote("ana", task_id="e"))
    queue.hold("a", "cid", at(60))
    now = queue.overview(T0)
    assert (now.n_open, now.n_overdue, now.n_held, now.votes_wanted) == (3, 1, 1, 5)
    assert now.by_state == {
        "open": 3, "agreed": 1, "disputed": 0, "escalated": 0, "adjudicated": 0, "closed": 0,
    }  # fmt: skip
    assert now.open_by_kind == {"audit": 1, "gold": 0, "routed": 2, "disagreement": 0, "appeal": 0}
    assert now.open_by_severity == {"low": 0, "medium": 0, "high": 2, "critical": 0, "unknown": 1}
    assert now.overdue_by_kind["routed"] == 1
    assert queue.overview(T0 + 2 * hour).n_overdue == 2, "due now is not overdue yet"
    assert (now.oldest_open, now.oldest_by_kind["audit"]) == (T0 - 5 * hour, T0 - hour)
    assert np.array_equal(now.due_s - T0.timestamp(), [-3600, 3600, 7200])
    assert np.array_equal(now.votes_left, [1, 2, 2])
    with pytest.raises(ValueError, match="read-only"):
        now.due_s[0] = 0
    assert now.to_json()["oldest_open"] == "2026-03-02T07:00:00+00:00"


def test_an_empty_queue_has_an_overview() -> None:
    now = Queue(ReviewPolicy()).overview(T0)
    assert (now.n_open, now.oldest_open, now.due_s.size, now.votes_left.size) == (0, None, 0, 0)
    assert now.to_json()["by_state"]["open"] == 0
    assert got(Queue(ReviewPolicy())) == "empty"
