"""The supervisor starts services in order, keeps them, and stops them in reverse."""

from __future__ import annotations

import json
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from labelproof.spec.errors import ConfigError
from labelproof.stack.control import is_up, status
from labelproof.stack.paths import StackPaths, read_json
from labelproof.stack.procs import marked, wait_until
from labelproof.stack.services import Context, Service
from labelproof.stack.supervisor import Supervisor
from tests.stack.fakes import SLEEPER, python_service


def make(paths: StackPaths, *services: Service, told: list[str] | None = None, **more: Any) -> Supervisor:
    report = told.append if told is not None else lambda _: None
    return Supervisor(paths.root, services, "http://127.0.0.1:9/api", 9, report=report, **more)


@contextmanager
def running(supervisor: Supervisor) -> Iterator[list[bool]]:
    """Run in a thread until the block ends; yields where the result will stand."""
    result: list[bool] = []
    thread = threading.Thread(target=lambda: result.append(supervisor.run()))
    thread.start()
    try:
        assert wait_until(lambda: state(supervisor).get("phase") == "ready" or bool(result), timeout_s=30)
        yield result
    finally:
        supervisor.request_stop()
        thread.join(60)


def state(supervisor: Supervisor) -> dict[str, Any]:
    return read_json(supervisor.paths.state)


def service_pid(supervisor: Supervisor, name: str) -> int:
    return int(read_json(supervisor.paths.record(name))["pid"])


def test_services_start_in_order_and_stop_in_reverse_with_the_drain_before_the_server(
    paths: StackPaths,
) -> None:
    told: list[str] = []
    server = Service(
        name="server",
        command=python_service("x", SLEEPER).command,
        ready=lambda _: True,
        needs_database=True,
        starts_before_setup=True,
    )

    def setup(_: Context, supervisor: Supervisor) -> None:
        supervisor.tell("setup")

    supervisor = make(
        paths,
        server,
        python_service("worker", SLEEPER),
        told=told,
        setup=setup,
        drain=lambda _: told.append("drained"),
    )
    with running(supervisor) as result:
        found = state(supervisor)
        assert is_up(found)
        assert [one["name"] for one in found["services"]] == ["server", "worker"]
        assert all(one["ready"] for one in found["services"])
    assert result == [True]
    assert told == [
        "starting server",
        "setup",
        "waiting for worker",
        "running",
        "stopping worker",
        "letting the server write what it queued",
        "drained",
        "stopping server",
        "stopped",
    ]
    for name in ("server", "worker"):
        assert marked(f"{supervisor.run_id}.{name}") == []
    assert state(supervisor)["phase"] == "stopped"


def test_a_service_that_dies_is_started_again(paths: StackPaths) -> None:
    supervisor = make(paths, python_service("worker", SLEEPER))
    with running(supervisor):
        first = service_pid(supervisor, "worker")
        os.kill(first, signal.SIGKILL)

        def again() -> bool:
            entry = state(supervisor)["services"][0]
            return bool(entry["restarts"] == 1 and entry["ready"])

        assert wait_until(again, timeout_s=30)
        assert service_pid(supervisor, "worker") != first


def test_a_service_that_does_not_start_ends_the_stack_and_shows_its_log(paths: StackPaths) -> None:
    supervisor = make(
        paths,
        Service(
            name="server",
            command=python_service("x", SLEEPER).command,
            ready=lambda _: True,
            starts_before_setup=True,
        ),
        python_service("worker", "print('no such pool'); raise SystemExit(3)", ready=lambda _: False),
    )
    with running(supervisor) as result:
        assert wait_until(lambda: bool(result), timeout_s=30)
    assert result == [False]
    error = state(supervisor)["error"]
    assert "worker ended with exit code 3" in error
    assert "no such pool" in error
    assert str(paths.log("worker")) in error
    assert state(supervisor)["phase"] == "failed"
    assert marked(f"{supervisor.run_id}.server") == []


def test_a_second_stack_for_the_same_root_is_refused(paths: StackPaths) -> None:
    first = make(paths, python_service("worker", SLEEPER))
    with running(first):
        with pytest.raises(ConfigError, match="another stack is running"):
            make(paths, python_service("worker", SLEEPER)).run()
        assert state(first)["phase"] == "ready", "the refused one wrote nothing"


def test_a_stop_during_the_start_leaves_nothing(paths: StackPaths) -> None:
    supervisor = make(paths, python_service("worker", SLEEPER, ready=lambda _: False))
    result: list[bool] = []
    thread = threading.Thread(target=lambda: result.append(supervisor.run()))
    thread.start()
    assert wait_until(lambda: bool(read_json(paths.record("worker"))), timeout_s=30)
    supervisor.request_stop()
    thread.join(60)
    assert result == [True]
    assert marked(f"{supervisor.run_id}.worker") == []


def test_a_setup_command_that_fails_is_shown_with_the_end_of_its_log(paths: StackPaths) -> None:
    def setup(_: Context, supervisor: Supervisor) -> None:
        argv = ["/bin/sh", "-c", "echo flows/missing.py not found; exit 4"]
        supervisor.command("deploy", argv, dict(os.environ), timeout_s=20)

    supervisor = make(paths, python_service("worker", SLEEPER), setup=setup)
    assert not supervisor.run()
    assert "exit code 4" in state(supervisor)["error"]
    assert "flows/missing.py not found" in state(supervisor)["error"]


def test_status_of_a_killed_supervisor_says_stopped(paths: StackPaths) -> None:
    supervisor = make(paths, python_service("worker", SLEEPER))
    with running(supervisor):
        found = state(supervisor)
    found |= {"phase": "ready", "pid": os.getpid(), "identity": "of another process"}
    paths.state.write_text(json.dumps(found))
    answer = status(paths.root)
    assert answer["phase"] == "stopped"
    assert not answer["running"]
    assert answer["api_url"] is None
