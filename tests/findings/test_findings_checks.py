"""Checks at work: what a look reads, when a finding closes and opens again, and that no item counts twice."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from labelproof.report.findings import book
from labelproof.report.findings.book import find_finding
from labelproof.report.findings.checks import CheckResult, run_checks, window_start
from labelproof.report.findings.model import Finding
from labelproof.spec.errors import ConfigError
from labelproof.spec.project import ProjectFolder
from labelproof.store import TraceStore, open_store
from tests.findings.findings_helpers import (
    PROJECT,
    T0,
    Value,
    days,
    decisions,
    hours,
    measure_of,
    opened,
    project_folder,
    state_in_view,
)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[TraceStore]:
    with open_store(tmp_path / "store") as made:
        yield made


@pytest.fixture
def folder(tmp_path: Path) -> ProjectFolder:
    return project_folder(tmp_path)


def look(
    store: TraceStore, folder: ProjectFolder, now: datetime, value: Value = (None, 0), **more: Any
) -> CheckResult:
    (found,) = run_checks(store, folder, now=now, measure=measure_of(lambda _: value), **more)
    return found


def again(store: TraceStore, one: Finding) -> Finding:
    return find_finding(store, PROJECT, one.finding_id)


def test_it_closes_when_the_check_has_held_on_three_runs(store: TraceStore, folder: ProjectFolder) -> None:
    one = opened(store)
    verdicts = [
        look(store, folder, T0 + days(day), (share, 200), run_id=f"r{day}").verdict
        for day, share in enumerate([0.97, 0.93, 0.96, 0.99, 0.955], start=1)
    ]
    assert verdicts == ["held", "failed", "held", "held", "closed"]
    closed = again(store, one)
    assert (closed.state, closed.value) == ("closed", 0.955)
    assert closed.events[-1].actor == "monitor"
    said = closed.events[-1].reason or ""
    assert said.startswith(
        "its check held on 3 runs in a row; auto_accuracy >= 0.95: 0.955 (95 % interval 0.9"
    )
    assert "n = 200): holds (after run r5)" in said
    view = state_in_view(store, one.finding_id)
    assert (view["state"], view["check_held"], view["value"]) == ("closed", 3, 0.955)


def test_each_look_reads_the_work_since_the_look_before(store: TraceStore, folder: ProjectFolder) -> None:
    opened(store)
    seen: list[Any] = []
    values: list[Value] = [(0.99, 200), (0.99, 10), (0.99, 40)]
    for day, value in enumerate(values, start=1):
        given = measure_of({"auto_accuracy": value}, seen)
        run_checks(store, folder, now=T0 + days(day), measure=given)
    starts = [since for _, since, _ in seen]
    ends = [until for _, _, until in seen]
    assert starts == [ends[0] - days(1), ends[0], ends[0]]  # the second was too small: the third reads it too
    assert ends[2] - ends[0] == days(2)


def test_one_pass_looks_once(store: TraceStore, folder: ProjectFolder) -> None:
    opened(store)
    first = look(store, folder, T0 + days(1), (0.99, 200))
    assert (first.verdict, first.held) == ("held", 1)
    assert run_checks(store, folder, now=T0 + days(1), measure=measure_of(lambda _: (0.99, 200))) == ()
    # A finding that was opened in this very pass has no new work either.
    opened(store, "s2", now=T0 + days(1))
    assert run_checks(store, folder, now=T0 + days(1), measure=measure_of(lambda _: (0.99, 200))) == ()


def test_too_little_data_decides_nothing_and_is_said_once(store: TraceStore, folder: ProjectFolder) -> None:
    one = opened(store)
    for hour in range(1, 6):
        assert look(store, folder, T0 + hours(hour), (0.99, hour)).verdict == "waits"
    after = again(store, one)
    assert [event.event for event in after.events] == ["opened", "checked"]
    assert after.events[-1].reason == "auto_accuracy >= 0.95: a look needs at least 30"
    look(store, folder, T0 + hours(7), (None, 0))
    assert again(store, one).events[-1].reason == "auto_accuracy >= 0.95: no settled audit"
    assert state_in_view(store, one.finding_id)["check_held"] == 0


def test_what_is_proven_must_be_proven(store: TraceStore, folder: ProjectFolder) -> None:
    opened(store, check="auto_accuracy >= 0.95 proven", check_runs=1)
    waits = look(store, folder, T0 + days(1), (0.96, 200))
    assert waits.verdict == "waits"
    assert "kept, but not proven yet" in waits.words
    assert look(store, folder, T0 + days(2), (0.99, 900)).verdict == "closed"


def closed_one(store: TraceStore, folder: ProjectFolder, **more: Any) -> Finding:
    one = opened(store, check_runs=1, **more)
    assert look(store, folder, T0 + days(1), (0.99, 200)).verdict == "closed"
    return again(store, one)


def test_closed_it_opens_by_itself_when_it_fails_provably(store: TraceStore, folder: ProjectFolder) -> None:
    one = closed_one(store, folder)
    assert look(store, folder, T0 + days(2), (0.97, 200)).verdict == "held"
    assert look(store, folder, T0 + days(3), (0.94, 200)).verdict == "failed"  # could be luck
    assert again(store, one).state == "closed"
    assert look(store, folder, T0 + days(4), (0.80, 400)).verdict == "reopened"
    back = again(store, one)
    assert (back.state, back.n_seen, back.check_held) == ("open", 2, 0)
    assert (back.events[-1].reason or "").startswith("its check fails again; auto_accuracy >= 0.95: 0.8")
    assert state_in_view(store, one.finding_id)["state"] == "open"
    assert look(store, folder, T0 + days(5), (0.99, 100)).verdict == "closed"


def test_a_failure_that_could_be_luck_is_read_together_with_what_follows(
    store: TraceStore, folder: ProjectFolder
) -> None:
    one = closed_one(store, folder)
    start = window_start(one)
    look(store, folder, T0 + days(2), (0.94, 100))
    assert window_start(again(store, one)) == start
    look(store, folder, T0 + days(2), (0.94, 100))  # nothing new: no second look
    assert sum(event.event == "checked" for event in again(store, one).events) == 2
    look(store, folder, T0 + days(3), (0.96, 200))
    assert window_start(again(store, one)) == T0 + days(3)


def test_the_watch_ends(store: TraceStore, folder: ProjectFolder) -> None:
    one = closed_one(store, folder, evidence={"watch_days": 10})
    assert again(store, one).watched_until() == one.since + days(10)
    assert run_checks(store, folder, now=T0 + days(12), measure=measure_of(lambda _: (0.1, 500))) == ()


def test_accepted_risks_and_findings_without_check_are_left_alone(
    store: TraceStore, folder: ProjectFolder
) -> None:
    one = opened(store)
    book.accept(store, one, why="known", actor="lea", now=T0 + hours(1))
    opened(store, "s2", check=None)
    assert run_checks(store, folder, now=T0 + days(1), measure=measure_of(lambda _: (0.1, 500))) == ()


def test_a_quantity_is_looked_at_an_hour_apart_and_opens_after_two(
    store: TraceStore, folder: ProjectFolder
) -> None:
    one = opened(store, check="review_age_hours <= 24", check_runs=2)
    assert look(store, folder, T0 + hours(1), (20.0, 5)).verdict == "held"
    assert run_checks(store, folder, now=T0 + hours(1.5), measure=measure_of(lambda _: (20.0, 5))) == ()
    assert look(store, folder, T0 + hours(2.5), (20.0, 5)).verdict == "closed"
    assert look(store, folder, T0 + hours(4), (30.0, 5)).verdict == "failed"
    assert look(store, folder, T0 + hours(6), (30.0, 6)).verdict == "reopened"
    assert again(store, one).state == "open"


def test_a_check_of_several_clauses_needs_all(store: TraceStore, folder: ProjectFolder) -> None:
    opened(store, check="auto_accuracy >= 0.95 and coverage >= 0.5", check_runs=1)
    values: dict[str, Value] = {"auto_accuracy": (0.99, 200), "coverage": (0.4, 200)}
    (found,) = run_checks(store, folder, now=T0 + days(1), measure=measure_of(values))
    assert (found.verdict, [one.outcome for one in found.clauses]) == ("failed", ["holds", "fails"])
    values["coverage"] = (None, 0)
    (found,) = run_checks(store, folder, now=T0 + days(2), measure=measure_of(values))
    assert found.verdict == "waits"
    values["coverage"] = (0.6, 200)
    (found,) = run_checks(store, folder, now=T0 + days(3), measure=measure_of(values))
    assert found.verdict == "closed"


def test_what_cannot_be_measured_says_why(store: TraceStore, folder: ProjectFolder) -> None:
    def refuses(metric: str, since: datetime, until: datetime) -> Any:
        raise ConfigError(f"no label of {metric}")

    opened(store, check="recall:gone >= 0.9")
    (found,) = run_checks(store, folder, now=T0 + days(1), measure=refuses)
    assert (found.verdict, found.words) == (
        "waits",
        "recall:gone >= 0.9: cannot be measured: no label of recall:gone",
    )


def test_somebody_who_was_quicker_counts(store: TraceStore, folder: ProjectFolder) -> None:
    """Two monitors at once: the second one finds that the first has looked, and writes nothing."""
    one = opened(store, check_runs=5)

    def slow(metric: str, since: datetime, until: datetime) -> Any:
        if len(again(store, one).events) == 1:
            look(store, folder, T0 + days(1), (0.99, 200))
        return measure_of(lambda _: (0.99, 200))(metric, since, until)

    run_checks(store, folder, now=T0 + days(1), measure=slow)
    assert again(store, one).check_held == 1


def test_a_check_that_no_release_can_read_is_left_alone(store: TraceStore, folder: ProjectFolder) -> None:
    store.append(
        "findings",
        {
            "finding_id": ["F-1"],
            "project": [PROJECT],
            "event": ["opened"],
            "title": ["by hand"],
            "check_text": ["magic >= 1"],
            "actor": ["x"],
            "ts": [T0],
        },
    )
    assert run_checks(store, folder, now=T0 + days(1), measure=measure_of({})) == ()


def add_suite_run(store: TraceStore, ts: datetime, failed: int, n: int, strategy: str = "champion") -> None:
    run = f"s{ts:%d%H}{strategy}"
    store.append_many(
        {
            "suite_runs": {
                "suite_run_id": [run],
                "project": [PROJECT],
                "suite": ["robustness"],
                "suite_fp": ["b2:x"],
                "strategy": [strategy],
                "strategy_fp": ["b2:s1"],
                "n_cases": [n],
                "summary_json": ["{}"],
                "ts": [ts],
            },
            "suite_results": {
                "suite_run_id": [run] * n,
                "case_id": [f"c{i}" for i in range(n)],
                "functionality": ["typo" if i % 2 else "leet" for i in range(n)],
                "passed": [i >= failed for i in range(n)],
                "ts": [ts] * n,
            },
        }
    )


def test_a_suite_must_run_again(store: TraceStore, folder: ProjectFolder) -> None:
    opened(store, check="suite:robustness/leet fail_rate <= 0.1", check_runs=1)
    add_suite_run(store, T0 - hours(1), 0, 40)
    assert "has not run since" in look(store, folder, T0 + hours(1)).words
    add_suite_run(store, T0 + hours(2), 0, 40, "candidate")  # another strategy says nothing of this one
    assert look(store, folder, T0 + hours(3)).verdict == "waits"
    add_suite_run(store, T0 + hours(4), 10, 40)
    assert look(store, folder, T0 + hours(5)).clauses[0].reading.value == 0.25
    add_suite_run(store, T0 + hours(6), 2, 40)
    done = look(store, folder, T0 + hours(7))
    assert (done.verdict, done.clauses[0].reading.value, done.clauses[0].reading.n) == ("closed", 0.05, 20)
    rows = store.query(done.clauses[0].reading.sql, fresh=True).to_pylist()
    assert (rows[0]["n"], rows[0]["failed"]) == (20, 1)


def add_measured(store: TraceStore, ts: datetime, kind: str, subject: str, state: str) -> None:
    store.append(
        "measurements",
        {
            "measurement_id": [f"m{ts:%d%H%M}{subject}"],
            "project": [PROJECT],
            "kind": [kind],
            "subject": [subject],
            "state": [state],
            "value": [0.2],
            "n": [100],
            "reason": ["more hate than before" if state == "alarm" else ""],
            "ts": [ts],
        },
    )


def test_drift_must_be_quiet_on_new_work(store: TraceStore, folder: ProjectFolder) -> None:
    one = opened(store, check="drift:label_mix quiet", check_runs=2)
    add_measured(store, T0 + hours(1), "drift", "label_mix", "quiet")
    assert "no new decisions since" in look(store, folder, T0 + hours(1)).words
    decisions(store, [("i1", "safe")], T0 + hours(2), run_id="r1")
    assert look(store, folder, T0 + hours(2)).verdict == "held"
    assert look(store, folder, T0 + hours(3)).verdict == "waits"  # nothing was decided since
    decisions(store, [("i2", "safe")], T0 + hours(4), run_id="r2")
    assert "not measured since" in look(store, folder, T0 + hours(4)).words
    add_measured(store, T0 + hours(5), "drift", "label_mix", "unknown")
    assert look(store, folder, T0 + hours(5)).verdict == "waits"
    add_measured(store, T0 + hours(6), "drift", "label_mix", "quiet")
    assert look(store, folder, T0 + hours(6)).verdict == "closed"
    decisions(store, [("i3", "hate")], T0 + hours(7), run_id="r3")
    add_measured(store, T0 + hours(7), "drift", "label_mix", "alarm")
    assert look(store, folder, T0 + hours(7)).verdict == "reopened"
    assert "more hate than before" in (again(store, one).events[-1].reason or "")


def test_the_sentinel_set_must_have_been_asked_again(store: TraceStore, folder: ProjectFolder) -> None:
    opened(store, check="sentinel quiet", check_runs=1)
    add_measured(store, T0 + hours(1), "sentinel", "answers", "quiet")
    assert "were not asked again since" in look(store, folder, T0 + hours(1)).words
    store.append("sentinel_answers", {"project": [PROJECT], "item_id": ["i"], "ts": [T0 + hours(2)]})
    add_measured(store, T0 + hours(2), "sentinel", "answers", "quiet")
    assert look(store, folder, T0 + hours(2)).verdict == "closed"


def test_its_own_items_are_answered_again(store: TraceStore, folder: ProjectFolder) -> None:
    items = [{"item_id": f"i{n}", "right": "hate"} for n in range(3)] + ["i3", "unknown"]
    opened(store, check="items right >= 0.75", check_runs=1, evidence={"items": items})
    store.append(
        "gold",
        {"project": [PROJECT], "item_id": ["i3"], "label": ["safe"], "gold_fp": ["b2:g"], "ts": [T0]},
    )
    assert "were not answered again" in look(store, folder, T0 + hours(1)).words
    decisions(store, [("i0", "hate"), ("i1", "safe")], T0 + hours(2), run_id="r1")
    partial = look(store, folder, T0 + hours(3))
    assert (partial.verdict, partial.clauses[0].reading.n) == ("waits", 2)
    assert "a look needs at least 4" in partial.words
    decisions(store, [("i2", "hate"), ("i3", "hate")], T0 + hours(4), run_id="r2")
    assert look(store, folder, T0 + hours(5)).clauses[0].reading.value == 0.5
    fixed = [("i0", "hate"), ("i1", "hate"), ("i2", "hate"), ("i3", "hate")]
    decisions(store, fixed, T0 + hours(6), run_id="r3", strategy="candidate")
    assert look(store, folder, T0 + hours(7)).verdict == "waits"
    decisions(store, fixed, T0 + hours(8), run_id="r4")
    done = look(store, folder, T0 + hours(9))
    assert (done.verdict, done.clauses[0].reading.value) == ("closed", 0.75)
    (row,) = store.query(done.clauses[0].reading.sql, fresh=True).to_pylist()
    assert row == {"expected": 4, "n": 4, "is_right": 3}


def test_items_that_nobody_labelled_cannot_be_checked(store: TraceStore, folder: ProjectFolder) -> None:
    opened(store, check="items right >= 0.75", evidence={"items": ["i1"]})
    assert "none of its items has a label" in look(store, folder, T0 + hours(1)).words
    opened(store, "s2", check="items right >= 0.75", evidence={})
    found = run_checks(store, folder, now=T0 + hours(2), measure=measure_of({}))
    assert "the finding names no items" in " ".join(one.words for one in found)
