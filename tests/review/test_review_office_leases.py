"""Leases: one holder per task, what ends a hold, and who is not given a task again."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from labelproof.review.office import Office
from labelproof.spec.errors import BugError
from tests.review.office_helpers import T0, TEN_MINUTES, at, cheap_office, claim, must_claim


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    with cheap_office(tmp_path) as office:
        yield office


def test_a_held_task_is_nobody_elses_until_the_lease_ends(office: Office) -> None:
    lease = must_claim(office, "t", "ann")
    assert (lease.task_id, lease.reviewer, lease.until) == ("t", "ann", T0 + TEN_MINUTES)
    assert claim(office, "t", "bob", at(599.999999)) is None
    assert office.leases.holder("t", at(599.999999)) == lease
    assert office.leases.holder("t", at(600)) is None
    later = must_claim(office, "t", "bob", at(600))
    assert later.token != lease.token
    assert claim(office, "t", "ann", at(601)) is None


def test_the_holder_claims_again_with_the_same_token_and_a_later_end(office: Office) -> None:
    first = must_claim(office, "t", "ann")
    again = must_claim(office, "t", "ann", at(60))
    late = must_claim(office, "t", "ann", at(5000))
    assert first.token == again.token == late.token
    assert again.until == at(660)
    assert office.leases.holder("t", at(5001)) == late


def test_a_sign_of_life_moves_the_end_also_late_but_not_of_what_others_took(office: Office) -> None:
    kept, late, taken = (must_claim(office, task, "ann") for task in ("kept", "late", "taken"))
    must_claim(office, "taken", "bob", at(700))
    tokens = {"kept": kept.token, "late": late.token, "taken": taken.token, "never": "x"}
    renewed = office.leases.renew("ann", tokens, until=at(1400), now=at(800))
    assert renewed == {"kept": True, "late": True, "taken": False, "never": False}
    assert claim(office, "late", "bob", at(1399)) is None
    holder = office.leases.holder("taken", at(801))
    assert holder is not None
    assert holder.reviewer == "bob"


def test_a_token_proves_nothing_for_somebody_else(office: Office) -> None:
    lease = must_claim(office, "t", "ann")
    assert office.leases.renew("bob", {"t": lease.token}, until=at(900), now=T0) == {"t": False}
    assert office.leases.renew("ann", {"t": "guess"}, until=at(900), now=T0) == {"t": False}
    assert office.leases.renew("ann", {}, until=at(900), now=T0) == {}


def test_a_released_task_is_free_and_a_wrong_token_frees_nothing(office: Office) -> None:
    lease = must_claim(office, "t", "ann")
    assert not office.leases.release("t", "guess")
    assert claim(office, "t", "bob") is None
    assert office.leases.release("t", lease.token)
    assert not office.leases.release("t", lease.token)
    must_claim(office, "t", "bob")


def test_who_answered_is_not_asked_again_and_others_are_until_it_is_decided(office: Office) -> None:
    must_claim(office, "t", "ann")
    office.leases.finish("t", "ann", decided=False, now=at(5))
    assert office.leases.holder("t", at(5)) is None
    assert claim(office, "t", "ann", at(6)) is None
    must_claim(office, "t", "bob", at(6))
    office.leases.finish("t", "bob", decided=True, now=at(7))
    assert claim(office, "t", "cem", at(8)) is None


def test_a_late_answer_leaves_the_new_holder_alone_unless_it_decides(office: Office) -> None:
    must_claim(office, "t", "ann")
    must_claim(office, "t", "bob", at(700))
    office.leases.finish("t", "ann", decided=False, now=at(701))
    holder = office.leases.holder("t", at(702))
    assert holder is not None
    assert holder.reviewer == "bob"
    office.leases.finish("t", "cem", decided=True, now=at(703))
    assert office.leases.holder("t", at(704)) is None
    assert office.leases.renew("bob", {"t": holder.token}, until=at(1500), now=at(704)) == {"t": False}


def test_an_undo_gives_the_task_back_to_its_reviewer_and_to_others(office: Office) -> None:
    must_claim(office, "t", "ann")
    office.leases.finish("t", "ann", decided=False, now=T0)
    must_claim(office, "t", "bob")
    office.leases.finish("t", "bob", decided=True, now=T0)
    office.leases.unfinish("t", "ann")
    assert claim(office, "t", "bob") is None
    lease = must_claim(office, "t", "ann")
    assert office.leases.release("t", lease.token)
    must_claim(office, "t", "cem")


def test_an_answer_after_an_undo_counts_again(office: Office) -> None:
    for decided in (True, False, True):
        must_claim(office, "t", "ann")
        office.leases.finish("t", "ann", decided=decided, now=T0)
        office.leases.finish("t", "ann", decided=decided, now=T0)
        assert claim(office, "t", "ann") is None
        assert (claim(office, "t", "bob", at(10)) is None) is decided
        office.leases.unfinish("t", "ann")
        holder = office.leases.holder("t", at(20))
        if holder is not None:
            office.leases.release("t", holder.token)


def test_a_reopened_task_is_asked_again_but_not_of_those_who_answered(office: Office) -> None:
    office.leases.finish("t", "ann", decided=True, now=T0)
    office.leases.reopen("t")
    assert claim(office, "t", "ann") is None
    must_claim(office, "t", "bob")


def test_a_lead_decides_what_reviewers_have_decided_and_only_one_lead_does(office: Office) -> None:
    office.leases.finish("t", "ann", decided=False, now=T0)
    office.leases.finish("t", "bob", decided=True, now=T0)
    assert claim(office, "t", "lea", role="adjudicator") is not None
    assert claim(office, "t", "leo", role="adjudicator") is None
    office.leases.finish("t", "lea", decided=True, now=T0)
    assert claim(office, "t", "leo", role="adjudicator") is None
    office.leases.unfinish("t", "lea")
    assert claim(office, "t", "leo", role="adjudicator") is not None
    assert claim(office, "t", "cem", at(700)) is None, "the reviewers' part is still decided"


def test_a_lead_keeps_the_task_when_a_late_answer_of_a_reviewer_comes(office: Office) -> None:
    assert claim(office, "t", "lea", role="adjudicator") is not None
    office.leases.finish("t", "ann", decided=True, now=T0)
    holder = office.leases.holder("t", T0)
    assert holder is not None
    assert holder.reviewer == "lea"


def test_held_lists_a_projects_leases_that_still_hold(office: Office) -> None:
    first = must_claim(office, "b", "ann")
    second = must_claim(office, "a", "bob", at(300))
    office.leases.claim("c", "other", "ann", now=T0, until=at(600))
    assert office.leases.held("p", at(599)) == [second, first]
    assert office.leases.held("p", at(600)) == [second]
    assert office.leases.held("nothing", T0) == []


def test_pruning_forgets_what_is_older_and_nothing_else(office: Office) -> None:
    must_claim(office, "old", "ann")
    office.leases.finish("voted", "ann", decided=True, now=T0)
    kept = must_claim(office, "new", "ann", at(1000))
    office.leases.finish("voted later", "ann", decided=True, now=at(1000))
    assert office.leases.prune(at(900)) == 2
    assert office.leases.prune(at(900)) == 0
    assert claim(office, "voted", "bob", at(1000)) is not None
    assert claim(office, "voted later", "bob", at(1000)) is None
    assert office.leases.renew("ann", {"new": kept.token}, until=at(2000), now=at(1001)) == {"new": True}


@pytest.mark.parametrize("wrong", [T0, T0 - timedelta(seconds=1)])
def test_a_lease_that_ends_before_it_begins_is_a_bug(office: Office, wrong: datetime) -> None:
    with pytest.raises(BugError, match="must end after it begins"):
        office.leases.claim("t", "p", "ann", now=T0, until=wrong)
    with pytest.raises(BugError, match="must end after it begins"):
        office.leases.renew("ann", {"t": "x"}, now=T0, until=wrong)


def test_a_time_without_a_zone_is_a_bug(office: Office) -> None:
    with pytest.raises(BugError, match="without a zone"):
        office.leases.held("p", datetime(2026, 3, 2))
