"""What is late, what shows no sign of life, and each deployment's last and next run."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from labelproof.stack.health import deployments_health

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
DEPLOYMENT = {"id": "d1", "flow_name": "label", "name": "production", "tags": ["resumes"], "paused": False}


class Server:
    """Holds runs and heartbeats; answers as Prefect does, filters by state included."""

    def __init__(self, *runs: dict[str, Any], heartbeats: int = 1) -> None:
        self.runs_held = runs
        self.heartbeats = heartbeats

    def runs(self, *, states: tuple[str, ...] | None = None, **_: Any) -> list[dict[str, Any]]:
        return [run for run in self.runs_held if states is None or run["state_type"] in states]

    def call(self, _: str, path: str, __: Any = None) -> Any:
        return {"/events/filter": {"total": self.heartbeats}}.get(path, {"is_paused": False})


def run(state: str, minutes_ago: float, **more: Any) -> dict[str, Any]:
    at = (NOW - timedelta(minutes=minutes_ago)).isoformat()
    times = {"start_time": None if state == "SCHEDULED" else at, "expected_start_time": at, "end_time": at}
    named = {"id": f"r{minutes_ago:g}", "name": f"label {minutes_ago:g}", "deployment_id": "d1", "tags": []}
    return {**named, **times, "state_type": state, "state_name": state.title(), "parameters": {}, **more}


def health(server: Any, **more: Any) -> dict[str, Any]:
    return deployments_health(server, [{**DEPLOYMENT, **more}], NOW)


def test_each_deployment_has_its_last_and_its_next_run() -> None:
    found = health(Server(run("COMPLETED", 50), run("SCHEDULED", -10)))
    (one,) = found["deployments"]
    assert (one["deployment"], one["last"]["state"]) == ("label/production", "Completed")
    assert one["next"] == "2026-03-02T12:10:00+00:00"
    assert (found["late"], found["silent"], found["crashed"], found["pool_paused"]) == ([], [], [], False)
    (idle,) = health(Server())["deployments"]
    assert (idle["last"], idle["next"]) == (None, None)


@pytest.mark.parametrize(
    ("runs", "paused", "late"),
    [
        ((run("SCHEDULED", 11),), False, True),
        ((run("SCHEDULED", 9),), False, False),
        ((run("SCHEDULED", 11), run("RUNNING", 60)), False, False),  # it waits its turn
        ((run("SCHEDULED", 11), run("COMPLETED", 60)), False, True),
        ((run("SCHEDULED", 11),), True, False),
    ],
)
def test_a_run_is_late_when_it_is_due_and_nothing_is_at_work(
    runs: tuple[dict[str, Any], ...], paused: bool, late: bool
) -> None:
    found = health(Server(*runs), paused=paused)["late"]
    assert [one["deployment"] for one in found] == (["label/production"] if late else [])


@pytest.mark.parametrize(
    ("minutes_ago", "heartbeats", "parent", "silent"),
    [(5, 0, None, True), (5, 1, None, False), (1, 0, None, False), (5, 0, "t1", False)],
)
def test_a_run_is_silent_when_its_heartbeats_stop(
    minutes_ago: float, heartbeats: int, parent: str | None, silent: bool
) -> None:
    running = run("RUNNING", minutes_ago, parent_task_run_id=parent)
    assert bool(health(Server(running, heartbeats=heartbeats))["silent"]) is silent
