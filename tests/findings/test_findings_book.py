"""The life of a finding in the store: one per source, who may do what when, two who act at once."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from labelproof.report.findings import book
from labelproof.report.findings.book import find_finding, findings_of, open_finding
from labelproof.report.findings.events import later, record, stored_finding
from labelproof.report.findings.model import FindingEvent, finding_of, in_order
from labelproof.spec.errors import ConfigError
from labelproof.store import TraceStore, open_store
from tests.findings.findings_helpers import HOSTILE, PROJECT, T0, days, hours, opened, state_in_view


@pytest.fixture
def store(tmp_path: Path) -> Iterator[TraceStore]:
    with open_store(tmp_path / "store") as made:
        yield made


def test_the_same_source_is_the_same_finding(store: TraceStore) -> None:
    first = opened(store)
    again = opened(store, now=T0 + hours(1))
    assert again.finding_id == first.finding_id
    assert len(again.events) == 1  # nothing new was said
    assert opened(store, "s2").finding_id != first.finding_id
    assert len(findings_of(store, PROJECT)) == 2
    assert findings_of(store, "other") == ()


def test_seen_again_it_takes_over_what_is_worse_and_keeps_what_people_wrote(store: TraceStore) -> None:
    one = opened(store)
    one = book.edit(
        store, one, actor="olga", now=T0 + hours(1), check="coverage >= 0.5", cause="a new prompt"
    )
    worse = opened(store, severity="critical", evidence={"sql": "SELECT 2"}, now=T0 + hours(2), cause="x")
    assert (worse.severity, worse.evidence) == ("critical", {"sql": "SELECT 2"})
    assert (worse.check, worse.cause) == ("coverage >= 0.5", "a new prompt")
    assert opened(store, severity="minor", now=T0 + hours(3)).severity == "critical"


def test_closed_it_opens_again(store: TraceStore) -> None:
    one = opened(store)
    closed = book.close(store, one, why="fixed the prompt", actor="olga", now=T0 + days(1))
    assert closed.state == "closed"
    assert closed.events[-1].reason == "fixed the prompt (its check had held on 0 of 3 runs)"
    again = opened(store, now=T0 + days(2))
    assert (again.finding_id, again.state, again.n_seen) == (one.finding_id, "open", 2)
    assert again.due == T0 + days(2) + days(14)


def test_an_accepted_risk_stays_accepted_unless_it_is_worse(store: TraceStore) -> None:
    one = opened(store)
    book.accept(store, one, why="known", actor="lea", now=T0 + hours(1), until=T0 + days(60))
    seen = opened(store, evidence={"sql": "SELECT 3"}, now=T0 + hours(2))
    assert (seen.state, seen.events[-1].event) == ("accepted", "noted")
    assert seen.is_overdue(T0 + days(61))
    assert opened(store, severity="critical", now=T0 + hours(3)).state == "open"


def test_a_risk_accepted_without_end_is_never_overdue(store: TraceStore) -> None:
    one = opened(store)
    assert one.is_overdue(T0 + days(15))
    accepted = book.accept(store, one, why="known", actor="lea", now=T0 + hours(1))
    assert (accepted.due, accepted.is_overdue(T0 + days(400))) == (None, False)


def test_what_makes_no_sense_is_refused(store: TraceStore) -> None:
    one = opened(store)
    closed = book.close(store, one, why="done", actor="ann", now=T0 + hours(1))
    with pytest.raises(ConfigError, match=r"is closed since 2026-05-04 09:00 \(by ann\)"):
        book.close(store, one, why="also done", actor="bob", now=T0 + hours(2))
    with pytest.raises(ConfigError, match="is closed"):
        book.accept(store, closed, why="fine", actor="bob", now=T0 + hours(2))
    opened_again = book.reopen(store, closed, why="it is back", actor="bob", now=T0 + hours(3))
    assert opened_again.check_held == 0
    with pytest.raises(ConfigError, match="is open"):
        book.reopen(store, opened_again, why="again", actor="bob", now=T0 + hours(4))
    for what in ("", "   "):
        with pytest.raises(ConfigError, match="why it is closed"):
            book.close(store, opened_again, why=what, actor="bob", now=T0 + hours(4))
    with pytest.raises(ConfigError, match="at most 200 characters"):
        opened(store, "s9", title="x" * 201)
    with pytest.raises(ConfigError, match="expected a title"):
        opened(store, "s9", title=" \n ")
    with pytest.raises(ConfigError, match="critical, major, minor"):
        opened(store, "s9", severity="huge")
    with pytest.raises(ConfigError, match="position 1"):
        opened(store, "s9", check="nonsense >= 1")
    with pytest.raises(ConfigError, match="a day to come"):
        book.accept(store, opened_again, why="x", actor="bob", now=T0 + days(2), until=T0)


def test_a_changed_check_counts_anew(store: TraceStore) -> None:
    one = opened(store, check_runs=3)
    record(
        store,
        later(
            one,
            [
                FindingEvent(
                    finding_id=one.finding_id,
                    project=PROJECT,
                    event="checked",
                    check_held=2,
                    value=0.97,
                    actor="monitor",
                    ts=T0 + hours(1),
                )
            ],
        ),
    )
    held = find_finding(store, PROJECT, one.finding_id)
    assert held.progress == "2 of 3 runs"
    same = book.edit(store, held, actor="ann", now=T0 + hours(2), check="auto_accuracy >= 95 %", cause="x")
    assert same.check_held == 2  # the same check in other words
    new = book.edit(store, held, actor="ann", now=T0 + hours(2), check="auto_accuracy >= 0.96")
    assert new.progress == "0 of 3 runs"
    none = book.edit(store, new, actor="ann", now=T0 + hours(3), check="")
    assert (none.check, none.progress) == (None, "no check")


def test_times_never_run_backwards(store: TraceStore) -> None:
    one = opened(store, now=T0 + days(3))
    noted = book.note(store, one, "from a slow clock", actor="ann", now=T0)
    assert [event.event for event in noted.events] == ["opened", "noted"]
    assert noted.events[0].ts < noted.events[1].ts


def test_of_two_who_close_one_is_told(tmp_path: Path, store: TraceStore) -> None:
    one = opened(store)
    said: list[str] = []
    ready = threading.Barrier(2)

    def close(who: str) -> None:
        with open_store(tmp_path / "store") as mine:
            ready.wait()
            try:
                book.close(mine, one, why=f"{who} did it", actor=who, now=T0 + hours(1))
                said.append("closed")
            except ConfigError as error:
                said.append(error.message)

    threads = [threading.Thread(target=close, args=(who,)) for who in ("ann", "bob")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert min(said) == "closed"
    assert "is closed since" in max(said)
    after = find_finding(store, PROJECT, one.finding_id)
    assert [event.event for event in after.events] == ["opened", "closed"]


def test_of_two_machines_that_close_the_first_one_counts(store: TraceStore) -> None:
    """Without the lock, as over a lake: both rows are there, and whoever wrote first has closed it."""
    one = opened(store)
    for minute, who in ((2, "bob"), (1, "ann")):
        record(
            store,
            [
                FindingEvent(
                    finding_id=one.finding_id,
                    project=PROJECT,
                    event="closed",
                    actor=who,
                    reason="done",
                    ts=T0 + hours(minute),
                )
            ],
        )
    after = find_finding(store, PROJECT, one.finding_id)
    assert (after.state, after.closed_at) == ("closed", T0 + hours(1))


def test_two_that_open_the_same_at_once_make_one_finding(tmp_path: Path, store: TraceStore) -> None:
    ready = threading.Barrier(3)

    def open_it() -> None:
        with open_store(tmp_path / "store") as mine:
            ready.wait()
            open_finding(
                mine,
                PROJECT,
                title="t",
                severity="major",
                owner="",
                source="monitor",
                source_id="target:x",
                evidence={},
                actor="monitor",
                now=T0,
            )

    threads = [threading.Thread(target=open_it) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (one,) = findings_of(store, PROJECT)
    assert len(one.events) == 1


def test_findings_are_named_by_their_beginning(store: TraceStore) -> None:
    one = opened(store)
    for ref in (one.finding_id, one.finding_id[:6], one.finding_id[2:].upper(), f" {one.finding_id} "):
        assert find_finding(store, None, ref).finding_id == one.finding_id
    with pytest.raises(ConfigError, match="no finding begins with 'F-zz'"):
        find_finding(store, None, "F-zz")
    with pytest.raises(ConfigError, match="no finding of project 'other'"):
        find_finding(store, "other", one.finding_id)
    with pytest.raises(ConfigError, match="no finding"):
        find_finding(store, None, "F-")


def test_the_view_says_the_same(store: TraceStore) -> None:
    one = opened(store, title=HOSTILE.replace("\x1b", ""), evidence={"items": [f"i{n}" for n in range(900)]})
    one = book.assign(store, one, "ann", actor="lea", now=T0 + hours(1), due=T0 + days(2))
    one = book.note(store, one, HOSTILE, actor="ann", now=T0 + hours(2))
    view = state_in_view(store, one.finding_id)
    assert (view["state"], view["owner"], view["title"]) == (one.state, "ann", one.title)
    assert view["due_ts"] == one.due == T0 + days(2)
    assert (len(one.item_ids()), one.evidence["n_items"]) == (500, 900)
    found = stored_finding(store, PROJECT, one.finding_id)
    assert found is not None
    assert found.events[-1].reason == HOSTILE.strip()
    assert finding_of(reversed(found.events)) == found
    assert in_order(reversed(found.events)) == list(found.events)
