"""One alarm at a time: it breaches, escalates as its hours pass, is taken on, recovers; whoever looks, however often."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from labelproof.report.monitor.alarms import acknowledge, alarms_from, alarms_of, next_events, owner_of, step
from labelproof.report.monitor.model import AlarmEvent, Measurement
from labelproof.spec.errors import ConfigError
from labelproof.spec.project import ProjectFolder
from labelproof.store import TraceStore, open_store
from tests.monitor.monitor_world import day, hours, watched_project

BAD = Measurement(
    kind="target",
    subject="auto_accuracy",
    state="breached",
    value=0.9,
    bound=0.95,
    side="at_least",
    level="major",
    reason="90 %; promised ≥ 95 %",
    change_from=day(-2),
)
GOOD = replace(BAD, state="met", value=0.97, reason="97 %", change_from=None)
UNSURE = replace(BAD, state="not yet provable")
Told = list[tuple[str, str | None]]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[TraceStore]:
    with open_store(tmp_path / "store") as opened:
        yield opened


@pytest.fixture
def folder(tmp_path: Path) -> ProjectFolder:
    return watched_project(tmp_path / "mini", ["metric: auto_accuracy, at_least: 0.95, owner: Dee"])


def words(events: Sequence[AlarmEvent]) -> Told:
    return [(event.event, event.role) for event in events]


def passed(store: TraceStore, folder: ProjectFolder, found: Measurement, at: datetime) -> Told:
    return words(step(store, folder, [found], now=at))


def test_a_breach_escalates_until_it_recovers(store: TraceStore, folder: ProjectFolder) -> None:
    assert passed(store, folder, BAD, day(0)) == [("breached", "QA lead")]
    assert passed(store, folder, BAD, day(0) + hours(23.9)) == []
    assert passed(store, folder, BAD, day(0) + hours(24)) == [("escalated", "policy")]
    assert passed(store, folder, UNSURE, day(2)) == []  # neither broken nor kept: it lasts
    assert passed(store, folder, BAD, day(4)) == [("escalated", "vendor")]
    assert passed(store, folder, BAD, day(30)) == []  # nobody is left to tell
    assert passed(store, folder, GOOD, day(31)) == [("recovered", None)]
    assert passed(store, folder, GOOD, day(32)) == []
    (alarm,) = alarms_of(store, "mini")
    assert (alarm.state, alarm.breached_at, alarm.recovered_at) == ("recovered", day(0), day(31))
    assert alarm.change_from == day(-2)


def test_a_pass_that_comes_late_tells_everybody_whose_hour_has_passed(
    store: TraceStore, folder: ProjectFolder
) -> None:
    passed(store, folder, BAD, day(0))
    assert passed(store, folder, BAD, day(5)) == [("escalated", "policy"), ("escalated", "vendor")]
    view = store.query("SELECT state, role, contact, n_escalated FROM current_alarms", fresh=True).to_pylist()
    assert view == [{"state": "breached", "role": "vendor", "contact": "Cy", "n_escalated": 2}]


def test_critical_ones_escalate_sooner(store: TraceStore, folder: ProjectFolder) -> None:
    bad = replace(BAD, level="critical")
    passed(store, folder, bad, day(0))
    assert passed(store, folder, bad, day(0) + hours(4)) == [("escalated", "policy")]


def test_a_second_pass_at_the_same_time_adds_nothing(store: TraceStore, folder: ProjectFolder) -> None:
    for at in (day(0), day(1), day(9)):
        assert passed(store, folder, BAD, at)
        assert passed(store, folder, BAD, at) == []


def test_taking_it_on_stops_escalation_and_not_the_alarm(store: TraceStore, folder: ProjectFolder) -> None:
    passed(store, folder, BAD, day(0))
    (alarm,) = alarms_of(store, "mini")
    event = acknowledge(store, "mini", alarm.alarm_id[:6], actor="eve", why=" on it ", now=day(0) + hours(1))
    assert (event.actor, event.reason) == ("eve", "on it")
    assert passed(store, folder, BAD, day(9)) == []
    assert alarms_of(store, "mini")[0].state == "acknowledged"
    assert passed(store, folder, GOOD, day(10)) == [("recovered", None)]
    for wrong, why, match in (
        (alarm.alarm_id, "x", "is over since"),
        ("A-no", "x", "no alarm"),
        ("A-", "", "reason"),
    ):
        with pytest.raises(ConfigError, match=match):
            acknowledge(store, "mini", wrong, actor="eve", why=why, now=day(11))


def test_the_next_breach_is_another_alarm(store: TraceStore, folder: ProjectFolder) -> None:
    for n, found in enumerate((BAD, GOOD, BAD)):
        passed(store, folder, found, day(n))
    first, second = alarms_of(store, "mini")
    assert first.alarm_id != second.alarm_id
    assert (first.state, second.state) == ("recovered", "breached")


def test_two_monitors_at_once_make_one_alarm(store: TraceStore, folder: ProjectFolder) -> None:
    barrier = threading.Barrier(4)

    def look(n: int) -> None:
        barrier.wait()
        step(store, folder, [BAD], now=day(0) + hours(n / 3600))

    threads = [threading.Thread(target=look, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(alarms_of(store, "mini")) == 1
    assert store.query("SELECT count(*) AS n FROM current_alarms", fresh=True)["n"].to_pylist() == [1]
    assert passed(store, folder, BAD, day(1)) == [("escalated", "policy")]


def test_a_promise_that_is_withdrawn_ends_its_alarm(
    store: TraceStore, folder: ProjectFolder, tmp_path: Path
) -> None:
    drifted = replace(BAD, kind="drift", subject="text", state="alarm")
    step(store, folder, [BAD, drifted], now=day(0))
    silent = watched_project(
        tmp_path / "mini", ["metric: coverage, at_least: 0.5"], monitoring="drift: [length]"
    )
    events = step(store, silent, [], now=day(1))
    assert sorted((event.subject, event.event) for event in events) == [
        ("auto_accuracy", "recovered"),
        ("text", "recovered"),
    ]
    assert "taken out of project.yaml" in events[0].reason


def test_who_is_told_and_who_answers(store: TraceStore, tmp_path: Path) -> None:
    alone = watched_project(
        tmp_path / "alone", ["metric: auto_accuracy, at_least: 0.95, owner: Dee"], contacts=""
    )
    events = step(store, alone, [BAD], now=day(0))
    assert [(event.role, event.contact) for event in events] == [(None, "Dee")]
    assert step(store, alone, [BAD], now=day(50)) == ()
    assert owner_of(alone, "drift", "text") is None
    told = watched_project(tmp_path / "told", ["metric: auto_accuracy, at_least: 0.95"])
    assert owner_of(told, "target", "auto_accuracy") == "Ann"
    event = next(next_events(told, [], [BAD], day(0)))
    assert (event.role, event.contact) == ("QA lead", "Ann (#qa)")


def test_the_first_contact_may_be_told_later(store: TraceStore, tmp_path: Path) -> None:
    slow = watched_project(
        tmp_path / "slow",
        ["metric: auto_accuracy, at_least: 0.95"],
        monitoring="escalate_after_hours: {major: [2, 5]}",
    )
    assert passed(store, slow, BAD, day(0)) == [("breached", None)]
    assert passed(store, slow, BAD, day(0) + hours(2)) == [("escalated", "QA lead")]
    assert passed(store, slow, BAD, day(0) + hours(5)) == [("escalated", "policy")]
    assert passed(store, slow, BAD, day(9)) == []


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    looks=st.lists(
        st.tuples(st.sampled_from([BAD, GOOD, UNSURE]), st.floats(0.1, 60)), min_size=1, max_size=12
    )
)
def test_whatever_comes_there_is_one_open_alarm_at_most_and_each_is_told_once(
    looks: list[tuple[Measurement, float]], folder: ProjectFolder
) -> None:
    at = day(0)
    events: list[AlarmEvent] = []
    for found, gap in looks:
        at += hours(gap)
        events += next_events(folder, alarms_from(events), [found], at)
        known = alarms_from(events)
        assert list(next_events(folder, known, [found], at)) == []
        assert sum(alarm.is_open for alarm in known) <= 1
        assert any(alarm.is_open for alarm in known) or found.state != "breached"
    for alarm in alarms_from(events):
        listed = words(alarm.events)
        assert len(listed) == len(set(listed))
        assert listed[0] == ("breached", "QA lead")
        assert alarm.is_open == (listed[-1][0] != "recovered")
