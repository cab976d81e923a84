"""The desk: leases, votes that are durable, undo, adjudication, hidden gold, several processes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from labelproof.report.review_io import review_sheet
from labelproof.review.model import (
    Assignment,
    Ballot,
    LeaseLost,
    NotAllowed,
    NothingToDo,
    Reviewer,
    ReviewError,
)
from labelproof.spec.errors import ConfigError
from labelproof.store import TraceStore
from tests.report.review_rows import add_items
from tests.review.desk_helpers import (
    ANN,
    BOB,
    CYD,
    LEA,
    NO_CHECKS,
    T0,
    Place,
    add_tasks,
    make_place,
    nothing,
    take,
    vote,
)

MakePlace = Callable[..., Place]


@pytest.fixture
def place(tmp_path: Path) -> Iterator[MakePlace]:
    made: list[Place] = []

    def make(*arguments: Any, **more: Any) -> Place:
        made.append(make_place(tmp_path, *arguments, **more))
        return made[-1]

    yield make
    for one in made:
        one.close()


def stored(store: TraceStore, sql: str) -> list[dict[str, Any]]:
    return list(store.query(sql, fresh=True).to_pylist())


def outcome(at: Place, task_id: str) -> tuple[str, str | None]:
    (row,) = at.store.query(
        "SELECT state, final_label FROM task_outcomes WHERE task_id = ?", [task_id], fresh=True
    ).to_pylist()
    return row["state"], row["final_label"]


def test_a_vote_is_stored_before_it_is_acknowledged(place: MakePlace) -> None:
    at = place(["one"])
    given = take(at.desk, ANN)
    receipt = vote(at.desk, ANN, given, "hate", note="slur")
    (row,) = stored(at.store, "FROM votes")
    assert (row["annotator"], row["label"], row["note"], row["role"]) == ("ann", "hate", "slur", "reviewer")
    assert (row["ts"], row["seconds"], row["source"]) == (T0, 5.0, "web")
    assert row["vote_id"] == receipt.vote.vote_id
    assert at.office.signer.is_valid(receipt.vote)
    assert not at.office.signer.is_valid(replace(receipt.vote, label="safe"))
    assert receipt.state == "agreed"
    assert outcome(at, given.task.task_id) == ("agreed", "hate")
    (final,) = stored(at.store, "FROM final_labels")
    assert (final["label"], final["source"], final["annotators"]) == ("hate", "agreed", "ann")


def test_the_same_answer_sent_again_is_one_vote(place: MakePlace) -> None:
    at = place(["one"])
    given = take(at.desk, ANN)
    first = vote(at.desk, ANN, given, key="once-and-again")
    again = vote(at.desk, ANN, given, key="once-and-again")
    assert (first.repeated, again.repeated) == (False, True)
    assert again.vote == first.vote
    with pytest.raises(LeaseLost, match="answered this task already"):
        vote(at.desk, ANN, given, "hate", key="another answer")
    assert len(stored(at.store, "FROM votes")) == 1


def test_answers_sent_twice_at_the_same_time_are_one_vote(place: MakePlace) -> None:
    at = place(["one"])
    given = take(at.desk, ANN)
    with ThreadPoolExecutor(8) as pool:
        receipts = list(pool.map(lambda _: vote(at.desk, ANN, given, key="same key here"), range(8)))
    assert sum(not receipt.repeated for receipt in receipts) == 1
    assert len(stored(at.store, "FROM votes")) == 1


def test_two_reviewers_never_hold_one_task(place: MakePlace) -> None:
    at = place([f"text {i}" for i in range(40)])
    other = at.reopen()
    people = [Reviewer(name=f"p{i}") for i in range(8)]

    def work(index: int) -> list[str]:
        desk, who = (at.desk, other)[index % 2], people[index]
        mine: list[str] = []
        while isinstance(given := desk.next(who, "mini", after=mine), Assignment):
            mine.append(given.task.task_id)
        return mine

    with ThreadPoolExecutor(8) as pool:
        held = [task for mine in pool.map(work, range(8)) for task in mine]
    other.close()
    assert len(held) == len(set(held)) == 40


def test_a_closed_browser_loses_nothing(place: MakePlace) -> None:
    at = place()
    first = take(at.desk, ANN)
    again = take(at.desk, ANN)
    assert again.task == first.task
    assert again.lease.token == first.lease.token
    ahead = take(at.desk, ANN, after=[first.task.task_id])
    assert ahead.task != first.task


def test_a_lease_runs_out_and_a_late_answer_is_told(place: MakePlace) -> None:
    at = place(["one"])
    given = take(at.desk, ANN)
    assert nothing(at.desk, BOB).reason == "held"
    at.clock.forward(minutes=11)
    taken = take(at.desk, BOB)
    with pytest.raises(LeaseLost, match="gone to a colleague"):
        vote(at.desk, ANN, given)
    assert vote(at.desk, BOB, taken, "hate").state == "agreed"
    assert [row["annotator"] for row in stored(at.store, "FROM votes")] == ["bob"]


def test_a_late_answer_counts_while_nobody_took_the_task(place: MakePlace) -> None:
    at = place(["one"])
    given = take(at.desk, ANN)
    at.clock.forward(hours=2)
    assert vote(at.desk, ANN, given).state == "agreed"


def test_signs_of_life_keep_a_lease(place: MakePlace) -> None:
    at = place(["one"])
    given = take(at.desk, ANN)
    for _ in range(4):
        at.clock.forward(minutes=8)
        assert at.desk.renew(ANN, {given.task.task_id: given.lease.token}) == {given.task.task_id: True}
    assert nothing(at.desk, BOB).reason == "held"
    assert at.desk.renew(BOB, {given.task.task_id: given.lease.token}) == {given.task.task_id: False}
    at.desk.release(ANN, given.task.task_id, given.lease.token)
    assert take(at.desk, BOB).task == given.task


def test_blind_double_vote_disagreement_adjudication(place: MakePlace) -> None:
    at = place(["one"], kind="audit", labels=["safe"])
    first = take(at.desk, ANN)
    assert (first.shown_label, first.shown_confidence, first.shown_rationale) == (None, None, None)
    assert vote(at.desk, ANN, first, "hate").state == "open"
    assert nothing(at.desk, ANN).reason == "voted"
    assert vote(at.desk, BOB, take(at.desk, BOB), "safe").state == "disputed"
    assert nothing(at.desk, CYD).n_open == 0
    with pytest.raises(NotAllowed, match="Only leads"):
        at.desk.next(BOB, "mini", role="adjudicator")
    (task, found), *_ = at.desk.for_leads("mini")
    assert [one.label for one in found.votes] == ["hate", "safe"]
    decided = vote(at.desk, LEA, take(at.desk, LEA, role="adjudicator"), "hate", role="adjudicator")
    assert decided.state == "adjudicated"
    assert outcome(at, task.task_id) == ("adjudicated", "hate")
    assert at.desk.for_leads("mini") == []
    (final,) = stored(at.store, "FROM final_labels")
    assert (final["label"], final["source"], final["annotators"]) == ("hate", "adjudicated", "lea")


def test_a_lead_does_not_decide_what_they_reviewed(place: MakePlace) -> None:
    at = place(["one"], kind="audit")
    vote(at.desk, LEA, take(at.desk, LEA), "hate")
    vote(at.desk, BOB, take(at.desk, BOB), "safe")
    assert isinstance(at.desk.next(LEA, "mini", role="adjudicator"), NothingToDo)
    boss = Reviewer(name="max", role="admin")
    assert take(at.desk, boss, role="adjudicator").task.kind == "audit"


@pytest.mark.parametrize("answer", ["flag", "unclear"])
def test_a_raised_question_goes_to_a_lead(place: MakePlace, answer: Any) -> None:
    at = place(["one"])
    receipt = vote(at.desk, ANN, take(at.desk, ANN), answer=answer, note="clause H-1?")
    assert receipt.state == "escalated"
    assert nothing(at.desk, BOB).reason == "empty"
    assert take(at.desk, LEA, role="adjudicator").task.task_id == receipt.vote.task_id


def test_a_task_that_many_skip_goes_to_a_lead(place: MakePlace) -> None:
    at = place(["one"], review=f"skips_to_lead: 2, {NO_CHECKS}")
    given = take(at.desk, ANN)
    assert vote(at.desk, ANN, given, answer="skip").state == "open"
    assert vote(at.desk, BOB, take(at.desk, BOB), answer="skip").state == "escalated"
    assert outcome(at, given.task.task_id) == ("escalated", None)


def test_undo_hands_the_task_back_with_the_answer(place: MakePlace) -> None:
    at = place(["one", "two"])
    given = take(at.desk, ANN)
    vote(at.desk, ANN, given, "hate")
    again = at.desk.undo(ANN, "mini")
    assert isinstance(again, Assignment)
    assert again.task == given.task
    assert again.previous is not None
    assert again.previous.label == "hate"
    assert outcome(at, given.task.task_id) == ("open", None)
    assert take(at.desk, BOB).task != given.task
    vote(at.desk, ANN, again, "spam", key="second thoughts")
    assert outcome(at, given.task.task_id) == ("agreed", "spam")
    assert at.desk.progress(ANN, "mini").answered == 1


def test_undo_has_its_limits(place: MakePlace) -> None:
    at = place(["one"], kind="audit")
    with pytest.raises(ReviewError, match="no answer of yours"):
        at.desk.undo(ANN, "mini")
    vote(at.desk, ANN, take(at.desk, ANN), "hate")
    take(at.desk, BOB)
    held = at.desk.undo(ANN, "mini")
    assert isinstance(held, NothingToDo)
    assert held.reason == "held"
    at.clock.forward(minutes=11)
    vote(at.desk, ANN, take(at.desk, ANN), "hate", key="a new answer")
    at.clock.forward(minutes=31)
    assert at.desk.progress(ANN, "mini").can_undo is False
    with pytest.raises(ReviewError, match="more than 30 minutes"):
        at.desk.undo(ANN, "mini")


def test_what_another_process_does_arrives(place: MakePlace) -> None:
    at = place(["one", "two"], kind="audit")
    other = at.reopen()
    given = take(other, ANN)
    vote(other, ANN, given, "hate")
    # Before the sync the office already keeps the task from the same person.
    assert take(at.desk, ANN).task != given.task
    at.desk.sync()
    assert len(at.desk.outcome("mini", given.task.task_id).votes) == 1
    (late,) = add_items(at.store, ["three"])
    add_tasks(at.store, at.folder, [late], at=T0)
    at.desk.sync()
    assert at.desk.overview("mini").open_by_kind["routed"] == 1
    other.close()


def test_a_task_that_this_process_has_not_seen_yet_is_renewed_all_the_same(place: MakePlace) -> None:
    at = place(["one"])
    other = at.reopen()
    (late,) = add_items(at.store, ["two"])
    add_tasks(at.store, at.folder, [late], at=T0)
    other.sync()
    held = [take(other, ANN), take(other, BOB)]
    for who, given in zip((ANN, BOB), held, strict=True):
        assert at.desk.renew(who, {given.task.task_id: given.lease.token}) == {given.task.task_id: True}
    other.close()


def test_rows_with_an_old_time_are_found_when_reconciling(place: MakePlace) -> None:
    at = place(["one"])
    (late,) = add_items(at.store, ["two"])
    add_tasks(at.store, at.folder, [late], at=T0 - timedelta(days=3))
    at.desk.sync()
    assert at.desk.overview("mini").n_open == 1
    at.desk._rooms["mini"].reconcile(at.clock())
    assert at.desk.overview("mini").n_open == 2


def test_a_restart_keeps_votes_leases_and_numbers(place: MakePlace) -> None:
    at = place(["one", "two", "three"], kind="audit")
    vote(at.desk, ANN, take(at.desk, ANN), "hate")
    held = take(at.desk, ANN)
    again = at.reopen()
    assert again.overview("mini").to_json() == at.desk.overview("mini").to_json()
    assert again.progress(ANN, "mini") == at.desk.progress(ANN, "mini")
    assert take(again, ANN).task == held.task
    again.close()


def test_a_task_without_a_text_waits_outside(place: MakePlace) -> None:
    at = place(["one"])
    add_tasks(at.store, at.folder, ["b2:unknown"], at=T0)
    at.desk.sync()
    assert at.desk.overview("mini").n_open == 1


def test_bad_answers_are_refused_and_the_task_stays(place: MakePlace) -> None:
    at = place(["one"])
    given = take(at.desk, ANN)
    with pytest.raises(ReviewError, match="not in the schema"):
        vote(at.desk, ANN, given, "nonsense")
    with pytest.raises(ReviewError, match="Choose a label"):
        vote(at.desk, ANN, given, None)
    with pytest.raises(ReviewError, match="key of 8"):
        vote(at.desk, ANN, given, key="short")
    with pytest.raises(ReviewError, match="at most 4000"):
        vote(at.desk, ANN, given, note="x" * 4001)
    with pytest.raises(LeaseLost, match="not in the queue"):
        at.desk.cast(
            ANN,
            "mini",
            Ballot(task_id="b2:none", token="t", key="12345678", answer="label", label="safe"),
        )
    with pytest.raises(LeaseLost):
        vote(at.desk, BOB, given)
    assert stored(at.store, "FROM votes") == []
    assert vote(at.desk, ANN, given).state == "agreed"


def test_people_see_only_their_projects(place: MakePlace) -> None:
    at = place(["one"])
    stranger = Reviewer(name="sam", projects=frozenset(("other",)))
    with pytest.raises(NotAllowed):
        at.desk.next(stranger, "mini")
    with pytest.raises(NotAllowed):
        at.desk.progress(ANN, "absent")


def test_hidden_gold_comes_first_and_decides_nothing(place: MakePlace, tmp_path: Path) -> None:
    at = place(["one", "two"], review="checks: {first: 2, rate_prob: 0}")
    ids = add_items(at.store, ["gold a", "gold b", "gold c"])
    at.store.append(
        "gold",
        {
            "gold_set": ["g"] * 3,
            "gold_fp": ["b2:g"] * 3,
            "project": ["mini"] * 3,
            "item_id": ids,
            "label": ["hate", "safe", "spam"],
            "split": ["test", "certify", "examples"],
            "ts": [T0] * 3,
        },
    )
    at.desk._rooms["mini"].load_checks()
    texts = []
    for _ in range(4):
        given = take(at.desk, ANN)
        texts.append(given.text)
        receipt = vote(at.desk, ANN, given, "hate")
        assert receipt.machine_label is None or given.task.kind == "routed"
    assert set(texts[:2]) == {"gold a", "gold b"}
    assert set(texts[2:]) == {"one", "two"}
    checks = stored(at.store, "SELECT label, votes_wanted FROM review_tasks WHERE kind = 'check' ORDER BY 1")
    assert checks == [{"label": "hate", "votes_wanted": 1}, {"label": "safe", "votes_wanted": 1}]
    assert len(stored(at.store, "FROM final_labels")) == 2
    assert take_all(at, BOB) == set()  # with nothing open for bob, a task would be known for a check
    add_tasks(at.store, at.folder, add_items(at.store, ["three"]), at=T0)
    at.desk.sync()
    assert take_all(at, BOB) == {"gold a", "gold b", "three"}


def take_all(at: Place, who: Reviewer) -> set[str]:
    texts = set()
    while isinstance(given := at.desk.next(who, "mini"), Assignment):
        texts.add(given.text)
        vote(at.desk, who, given)
    return texts


def test_daily_limits_and_breaks(place: MakePlace) -> None:
    at = place(
        ["a", "b", "c", "d"],
        labels=["threat", "threat", "threat", "safe"],
        review=f"{NO_CHECKS}, care: {{daily_limit: {{critical: 2}}, break_after_minutes: 30}}",
    )
    kinds = []
    for _ in range(3):
        given = take(at.desk, ANN)
        kinds.append(given.task.severity)
        at.clock.forward(minutes=8)
        vote(at.desk, ANN, given, "safe", seconds=480)
    assert kinds == ["critical", "critical", "low"]
    assert nothing(at.desk, ANN).reason == "limit"
    progress = at.desk.progress(ANN, "mini")
    assert (progress.seen, progress.limits) == ({"low": 3}, {"critical": 2})  # by their own answers
    assert progress.minutes_at_work == pytest.approx(24)
    assert progress.break_due is False
    at.clock.forward(minutes=7)
    assert at.desk.progress(ANN, "mini").break_due is True
    at.clock.forward(minutes=11)
    assert at.desk.progress(ANN, "mini").minutes_at_work == 0
    at.clock.forward(days=1)
    assert take(at.desk, ANN).task.severity == "critical"


def test_blur_never_tells_what_the_machine_thinks(place: MakePlace) -> None:
    at = place(
        ["a", "b"],
        labels=["threat", "safe"],
        review=f"{NO_CHECKS}, show_model: [routed], care: {{blur: severe}}",
    )
    shown = {a.shown_label: a.blurred for a in (take(at.desk, ANN), take(at.desk, BOB))}
    assert shown == {"threat": True, "safe": False}


def test_blind_tasks_stay_blurred_whatever_their_severity(place: MakePlace) -> None:
    at = place(["a", "b"], labels=["threat", "safe"], review=f"{NO_CHECKS}, care: {{blur: severe}}")
    assert {take(at.desk, who).blurred for who in (ANN, BOB)} == {True}


def test_metadata_that_tells_an_answer_is_left_out(place: MakePlace) -> None:
    meta = {"language": "en", "label": "x", "topic": "hate", "surface": "chat", "score": 0.3, "empty": None}
    at = place(["a"], metas=[meta])
    assert take(at.desk, ANN).meta == {"language": "en", "surface": "chat"}


def test_a_project_names_the_metadata_that_reviewers_see(place: MakePlace) -> None:
    at = place(
        ["a"], metas=[{"language": "en", "topic": "gifts"}], review=f"{NO_CHECKS}, shown_meta: [language]"
    )
    assert take(at.desk, ANN).meta == {"language": "en"}
    sheet = review_sheet(at.store, at.folder)
    assert sheet.rows[0]["meta"] == '{"language":"en"}'


def test_an_appeal_is_asked_blind_and_wins(place: MakePlace) -> None:
    at = place(["one"])
    vote(at.desk, ANN, take(at.desk, ANN), "hate")
    with pytest.raises(ConfigError, match="needs a reason"):
        at.desk.appeal(BOB, "mini", at.ids[0], " ")
    task = at.desk.appeal(BOB, "mini", at.ids[0], "it is a quote")
    for who in (BOB, CYD):
        given = take(at.desk, who)
        assert given.task.task_id == task.task_id
        vote(at.desk, who, given, "safe")
    (final,) = stored(at.store, "FROM final_labels")
    assert (final["label"], final["kind"], final["annotators"]) == ("safe", "appeal", "bob, cyd")


def test_leads_close_and_reopen_with_a_reason(place: MakePlace) -> None:
    at = place(["one"])
    task_id = take(at.desk, ANN).task.task_id
    with pytest.raises(NotAllowed):
        at.desk.close_task(ANN, "mini", task_id, "x")
    with pytest.raises(ReviewError, match="Say why"):
        at.desk.close_task(LEA, "mini", task_id, "")
    assert at.desk.close_task(LEA, "mini", task_id, "a test message").state == "closed"
    assert nothing(at.desk, BOB).reason == "empty"
    assert at.desk.reopen_task(LEA, "mini", task_id, "not a test after all").state == "open"
    assert outcome(at, task_id) == ("open", None)


def test_leads_settle_what_was_raised_and_nothing_else(place: MakePlace) -> None:
    at = place(["one", "two"], kind="audit")
    flagged = take(at.desk, ANN)
    vote(at.desk, ANN, flagged, answer="flag")
    task_id = flagged.task.task_id
    assert at.desk.reopen_task(LEA, "mini", task_id, "clause H-1 answers it").state == "open"
    assert outcome(at, task_id) == ("open", None)
    assert take(at.desk, BOB).task.task_id == task_id
    assert at.desk.close_task(LEA, "mini", task_id, "the item is gone").state == "closed"
    assert outcome(at, task_id) == ("closed", None)
    other = take(at.desk, ANN)
    vote(at.desk, ANN, other, "hate")
    vote(at.desk, CYD, take(at.desk, CYD), "safe")
    other_id = other.task.task_id
    with pytest.raises(ReviewError, match="decide it or close it"):
        at.desk.reopen_task(LEA, "mini", other_id, "again")
    assert at.desk.close_task(LEA, "mini", other_id, "cannot be told").state == "closed"


def test_a_task_closed_long_ago_can_be_reopened(place: MakePlace) -> None:
    at = place(["one"])
    (old,) = add_items(at.store, ["old"])
    (task_id,) = add_tasks(at.store, at.folder, [old], at=T0 - timedelta(days=90))
    at.store.append(
        "review_events",
        {
            "event_id": ["e"],
            "project": ["mini"],
            "task_id": [task_id],
            "item_id": [old],
            "actor": ["lea"],
            "event": ["closed"],
            "ts": [T0 - timedelta(days=80)],
        },
    )
    desk = at.reopen()
    assert desk.overview("mini").n_open == 1
    assert desk.reopen_task(LEA, "mini", task_id, "it matters after all").state == "open"
    assert desk.overview("mini").n_open == 2
    desk.close()


def test_the_background_thread_brings_news(place: MakePlace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("labelproof.review.desk.SYNC_S", 0.02)
    at = place(["one"])
    at.desk.start()
    (late,) = add_items(at.store, ["two"])
    add_tasks(at.store, at.folder, [late], at=T0)
    for _ in range(500):
        if at.desk.overview("mini").n_open == 2:
            break
        at.desk._stop.wait(0.02)
    assert at.desk.overview("mini").n_open == 2
