"""The desk against a curious reviewer, lost texts, a full disk, clocks that differ, and other processes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from agents.review_tasks import routed_task_id
from labelproof.review._desk_show import rounded_up
from labelproof.review._desk_writer import _Ask, vote_row
from labelproof.review.model import Assignment, LeaseLost, NothingToDo, Vote
from labelproof.spec.errors import StoreError
from labelproof.store import TraceStore
from tests.report.review_rows import add_items
from tests.review.desk_helpers import ANN, BOB, T0, Place, add_tasks, make_place, nothing, take, vote

MakePlace = Callable[..., Place]
ALWAYS = "checks: {first: 0, rate_prob: 1, splits: [test]}"
FIRST = "checks: {first: 1, rate_prob: 0, splits: [test]}"


@pytest.fixture
def place(tmp_path: Path) -> Iterator[MakePlace]:
    made: list[Place] = []

    def make(*arguments: Any, gold: dict[str, str] | None = None, **more: Any) -> Place:
        at = make_place(tmp_path, *arguments, **more)
        made.append(at)
        if gold:
            add_gold(at, gold)
        return at

    yield make
    for one in made:
        one.close()


def add_gold(at: Place, gold: dict[str, str]) -> list[str]:
    """Store items with these gold labels in the split test, and let the desk know."""
    ids = add_items(at.store, list(gold))
    n = len(ids)
    rows = {"gold_set": ["g"] * n, "gold_fp": ["b2:g"] * n, "project": ["mini"] * n, "item_id": ids}
    at.store.append("gold", {**rows, "label": list(gold.values()), "split": ["test"] * n, "ts": [T0] * n})
    at.desk._rooms["mini"].load_checks()
    return ids


def stored(store: TraceStore, sql: str) -> list[dict[str, Any]]:
    return list(store.query(sql, fresh=True).to_pylist())


# --- hidden gold -----------------------------------------------------------------------------------


def test_an_empty_queue_hands_out_no_hidden_gold(place: MakePlace) -> None:
    at = place([], review=ALWAYS, gold={"gold a": "hate"})
    assert nothing(at.desk, ANN).reason == "empty"
    assert stored(at.store, "SELECT task_id FROM review_tasks") == []


def test_hidden_gold_that_is_given_back_comes_back_first_as_any_task_does(place: MakePlace) -> None:
    at = place(["one", "two"], review=FIRST, gold={"gold a": "hate", "gold b": "safe", "gold c": "spam"})
    check = take(at.desk, ANN)
    assert check.task.kind == "check"
    ahead = take(at.desk, ANN, after=[check.task.task_id])
    assert ahead.task.kind == "routed"
    for given in (check, ahead):
        at.desk.release(ANN, given.task.task_id, given.lease.token)
    vote(at.desk, ANN, take(at.desk, ANN))  # the check, again
    assert stored(at.store, "SELECT count(*) AS n FROM review_tasks WHERE kind = 'check'") == [{"n": 1}]
    at.desk.close()
    at.desk = at.reopen()
    undone = at.desk.undo(ANN, "mini")
    assert isinstance(undone, Assignment)
    at.desk.release(ANN, undone.task.task_id, undone.lease.token)
    assert take(at.desk, ANN).task.task_id == check.task.task_id


def test_gold_under_a_label_that_the_schema_lost_measures_nobody(place: MakePlace) -> None:
    at = place(["one"], review=ALWAYS, gold={"gold a": "harassment"})
    assert take(at.desk, ANN).task.kind == "routed"


def test_hidden_gold_whose_row_was_lost_is_stored_with_its_answer(
    place: MakePlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    at = place(["one"], review=FIRST, gold={"gold a": "hate"})
    full_disk(at, monkeypatch)
    given = take(at.desk, ANN)
    assert given.task.kind == "check"
    with pytest.raises(StoreError):
        vote(at.desk, ANN, given)
    monkeypatch.undo()
    assert vote(at.desk, ANN, given).state == "agreed"
    assert stored(at.store, "SELECT kind, state FROM task_outcomes WHERE kind = 'check'") == [
        {"kind": "check", "state": "agreed"}
    ]


def test_tasks_cannot_be_passed_over_by_naming_them(place: MakePlace) -> None:
    at = place(["one", "two", "three"])
    hardest = take(at.desk, ANN)
    at.desk.release(ANN, hardest.task.task_id, hardest.lease.token)
    assert take(at.desk, ANN, after=[hardest.task.task_id]).task.task_id == hardest.task.task_id


# --- what goes wrong -------------------------------------------------------------------------------


def full_disk(at: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise StoreError("/srv/secret/outbox: no space left on device")

    monkeypatch.setattr(at.store, "append_many", refuse)


def test_a_full_disk_loses_no_task_and_the_same_answer_can_be_sent_again(
    place: MakePlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    at = place(["one"])
    given = take(at.desk, ANN)
    full_disk(at, monkeypatch)
    with pytest.raises(StoreError):
        vote(at.desk, ANN, given)
    assert nothing(at.desk, BOB).reason == "held"
    assert take(at.desk, ANN).task.task_id == given.task.task_id
    monkeypatch.undo()
    assert vote(at.desk, ANN, given).state == "agreed"
    assert len(stored(at.store, "FROM votes")) == 1


def test_one_row_that_cannot_be_stored_takes_no_other_vote_with_it(
    place: MakePlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    at = place(["one", "two"])
    append = at.store.append_many

    def picky(tables: Any, **how: Any) -> Any:
        if any(row == "bad" for columns in tables.values() for row in columns["vote_id"]):
            raise StoreError("this row cannot be stored")
        return append(tables, **how)

    monkeypatch.setattr(at.store, "append_many", picky)
    writer = at.desk._tools.writer
    rows = [vote_row(made(at, vote_id)) for vote_id in ("good 1", "bad", "good 2")]
    asks = [_Ask({"votes": [row]}) for row in rows]
    writer._write(asks)
    assert [ask.done.exception() is None for ask in asks] == [True, False, True]
    assert [row["vote_id"] for row in stored(at.store, "FROM votes ORDER BY vote_id")] == ["good 1", "good 2"]


def test_a_task_whose_text_is_gone_stops_nobody(place: MakePlace) -> None:
    at = place(["fine"])
    lost = ["b2:lost1", "b2:lost2"]
    n = len(lost)
    at.store.append(
        "items",
        {
            "item_id": lost,
            "external_id": ["x", "y"],
            "project": ["mini"] * n,
            "text_hash": ["b2:gone1", "b2:gone2"],
            "meta_json": [None] * n,
            "ts": [T0] * n,
        },
    )
    add_tasks(at.store, at.folder, lost, at=T0 - timedelta(days=9))  # the most urgent ones
    at.desk.sync()
    at.desk._rooms["mini"].reconcile(at.clock())
    given = take(at.desk, ANN)
    assert given.text == "fine"
    vote(at.desk, ANN, given)
    assert isinstance(at.desk.next(ANN, "mini"), NothingToDo)
    assert at.office.leases.held("mini", at.clock()) == []


def made(at: Place, vote_id: str, *, text: int = 0, who: str = "cyd", at_time: Any = T0) -> Vote:
    item = at.ids[text]
    return Vote(
        vote_id=vote_id,
        project="mini",
        task_id=routed_task_id("mini", item),
        item_id=item,
        annotator=who,
        role="reviewer",
        answer="label",
        label="safe",
        note=None,
        source="import",
        seconds=None,
        at=at_time,
    )


def import_votes(at: Place, votes: Sequence[Vote]) -> None:
    """Store votes as another process would."""
    rows = [vote_row(one) for one in votes]
    at.store.append("votes", {name: [row[name] for row in rows] for name in rows[0]})


def test_answers_that_come_late_with_an_old_time_are_found(place: MakePlace) -> None:
    at = place(["one", "two"])
    import_votes(at, [made(at, "old", at_time=T0 - timedelta(days=2))])
    at.desk.sync()
    at.desk._rooms["mini"].reconcile(at.clock())
    assert at.desk.outcome("mini", routed_task_id("mini", at.ids[0])).state == "agreed"
    assert take(at.desk, ANN).text == "two"


def test_a_row_from_the_future_does_not_blind_the_desk_to_the_present(place: MakePlace) -> None:
    at = place(["one", "two"])
    import_votes(at, [made(at, "future", at_time=T0 + timedelta(days=300))])
    at.desk.sync()
    at.clock.forward(minutes=1)
    import_votes(at, [made(at, "now", text=1, at_time=at.clock())])
    at.desk.sync()
    assert at.desk.outcome("mini", routed_task_id("mini", at.ids[1])).state == "agreed"


def test_a_repeated_answer_is_known_to_another_process(place: MakePlace) -> None:
    at = place(["one"], kind="audit")
    with at.reopen() as other:
        given = take(at.desk, ANN)
        first = vote(at.desk, ANN, given, "hate")
        again = vote(other, ANN, given, "hate")
        assert (again.repeated, again.vote) == (True, first.vote)
        with pytest.raises(LeaseLost):
            vote(other, ANN, given, "safe")
    assert len(stored(at.store, "FROM votes")) == 1


# --- numbers ---------------------------------------------------------------------------------------


def test_numbers_fall_alike_after_hidden_gold_and_after_any_task(place: MakePlace) -> None:
    at = place([f"text {i}" for i in range(25)], review=FIRST, gold={"gold a": "hate"})
    kinds, shown = [], []
    for _ in range(3):
        given = take(at.desk, ANN)
        before = at.desk.progress(ANN, "mini")
        vote(at.desk, ANN, given)
        after = at.desk.progress(ANN, "mini")
        kinds.append(given.task.kind)
        shown.append((before.n_open_for_me, after.n_open_for_me, before.rounded))
    assert kinds == ["check", "routed", "routed"]
    assert set(shown) == {(30, 30, True)}


def test_exposure_is_shown_by_ones_own_answers(place: MakePlace) -> None:
    at = place(["one", "two"], labels=["threat", "safe"])
    for _ in range(2):
        vote(at.desk, ANN, take(at.desk, ANN), "safe")
    assert at.desk.progress(ANN, "mini").seen == {"low": 2}


@pytest.mark.parametrize(
    ("n", "shown"),
    [(0, 0), (1, 10), (10, 10), (11, 20), (100, 100), (101, 110), (1_001, 1_100), (9_999, 10_000)],
)
def test_rounded_counts(n: int, shown: int) -> None:
    assert rounded_up(n) == shown
