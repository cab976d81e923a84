"""Which crashed runs are started again, when, and when no more."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labelproof.stack.api import PrefectApi
from labelproof.stack.caretaker import PAUSES_S, crashed_runs, resume_due
from labelproof.stack.paths import StackPaths
from tests.stack.test_stack_api import FakePrefect, serve

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
_numbers = count()


def run(state: str, minutes_ago: float, *, lasted: float = 1.0, **more: Any) -> dict[str, Any]:
    """Return a run as the API gives it; it began so many minutes ago and lasted so many."""
    began = NOW - timedelta(minutes=minutes_ago)
    done = state in ("CRASHED", "COMPLETED", "FAILED", "CANCELLED")
    return {
        "id": f"00000000-0000-4000-8000-{next(_numbers):012d}",
        "name": "label-mini-champion",
        "deployment_id": "d1",
        "parameters": {"params": {"project": "projects/mini"}},
        "state_type": state,
        "tags": ["labelproof", "resumes", "project:mini"],
        "start_time": None if state == "SCHEDULED" else began.isoformat(),
        "expected_start_time": began.isoformat(),
        "end_time": (began + timedelta(minutes=lasted)).isoformat() if done else None,
        "created": began.isoformat(),
        **more,
    }


def fates(*runs: dict[str, Any]) -> list[tuple[str, int]]:
    return [(one.fate, one.attempt) for one in crashed_runs(runs, NOW)]


def test_a_crashed_run_waits_a_little_and_is_resumed() -> None:
    assert fates(run("CRASHED", 1, lasted=0.95)) == [("wait", 1)]
    assert fates(run("CRASHED", 5)) == [("resume", 1)]


@pytest.mark.parametrize("state", ["COMPLETED", "FAILED", "CANCELLED", "RUNNING", "PENDING", "SCHEDULED"])
def test_whatever_came_after_it_goes_on_in_its_place(state: str) -> None:
    assert fates(run("CRASHED", 60), run(state, 5)) == []


def test_a_run_planned_for_later_follows_nothing_yet() -> None:
    assert fates(run("CRASHED", 5), run("SCHEDULED", -50)) == [("resume", 1)]


def test_one_that_waits_for_its_retry_is_alive() -> None:
    waiting = run("SCHEDULED", 5, start_time=(NOW - timedelta(minutes=5)).isoformat())
    assert fates(run("CRASHED", 60), waiting) == []


def test_pauses_grow_and_then_it_is_given_up() -> None:
    assert fates(run("CRASHED", 30), run("CRASHED", 4)) == [("wait", 2)]
    assert fates(run("CRASHED", 30), run("CRASHED", 7)) == [("resume", 2)]
    assert fates(run("CRASHED", 90), run("CRASHED", 60), run("CRASHED", 20)) == [("wait", 3)]
    four = [run("CRASHED", minutes) for minutes in (300, 200, 100, 60)]
    assert len(four) == len(PAUSES_S) + 1
    assert fates(*four) == [("given up", 4)]
    assert fates(*four, run("COMPLETED", 10), run("CRASHED", 5)) == [("resume", 1)], "it counts from anew"


def test_what_crashed_long_ago_is_left_alone() -> None:
    assert fates(run("CRASHED", 25 * 60)) == []
    assert fates(run("CRASHED", 30 * 60), run("CRASHED", 5)) == [("resume", 1)]


def test_other_parameters_are_other_work_and_a_run_without_deployment_is_a_persons() -> None:
    other = {"params": {"project": "projects/other"}}
    assert fates(run("CRASHED", 60), run("COMPLETED", 5, parameters=other)) == [("resume", 1)]
    assert fates(run("CRASHED", 5, deployment_id=None)) == []


@given(st.dictionaries(st.integers(1, 1400), st.sampled_from(["CRASHED", "COMPLETED", "RUNNING"])))
def test_work_is_resumed_only_if_its_last_run_crashed_and_never_twice(history: dict[int, str]) -> None:
    found = crashed_runs([run(state, ago, lasted=0.5) for ago, state in history.items()], NOW)
    assert len(found) == (bool(history) and history[min(history)] == "CRASHED")
    assert all(one.attempt >= 1 for one in found)


@pytest.fixture
def fake(paths: StackPaths) -> Any:
    with serve(FakePrefect()) as started:
        started.answers["GET", "/deployments/d1"] = {"paused": False}
        yield started


def test_it_is_started_with_its_own_parameters_and_a_key_that_admits_one(fake: FakePrefect) -> None:
    crashed = run("CRASHED", 5)
    fake.answers["POST", "/flow_runs/filter"] = [crashed]
    with PrefectApi(fake.url) as api:
        assert resume_due(api, NOW) == ["resumed label-mini-champion, attempt 1 of 3"]
    ((method, path, body),) = fake.changes()
    assert (method, path) == ("POST", "/deployments/d1/create_flow_run")
    assert body["parameters"] == crashed["parameters"]
    assert body["idempotency_key"] == f"labelproof-resume:{crashed['id']}"


def test_nothing_is_started_while_the_deployment_is_paused_or_without_its_tag(fake: FakePrefect) -> None:
    fake.answers["POST", "/flow_runs/filter"] = [run("CRASHED", 5)]
    fake.answers["GET", "/deployments/d1"] = {"paused": True}
    with PrefectApi(fake.url) as api:
        assert resume_due(api, NOW) == []
        fake.answers["GET", "/deployments/d1"] = {"paused": False}
        fake.answers["POST", "/flow_runs/filter"] = [run("CRASHED", 5, tags=["labelproof"])]
        assert resume_due(api, NOW) == []
    assert fake.changes() == []


def test_one_that_is_given_up_is_told_once(fake: FakePrefect) -> None:
    fake.answers["POST", "/flow_runs/filter"] = [run("CRASHED", minutes) for minutes in (300, 200, 100, 60)]
    fake.answers["POST", "/events/filter"] = {"total": 0}
    with PrefectApi(fake.url) as api:
        assert resume_due(api, NOW) == []
        ((method, path, (event,)),) = fake.changes()
        assert (method, path, event["event"]) == ("POST", "/events", "labelproof.run.given_up")
        assert event["payload"]["project"] == "mini"
        fake.answers["POST", "/events/filter"] = {"total": 1}
        assert resume_due(api, NOW) == []
    assert len(fake.changes()) == 1
