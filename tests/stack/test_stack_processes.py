"""Processes are told apart by more than their pid, and nothing of a service survives its owner."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from labelproof.stack.control import down
from labelproof.stack.guard import EXIT_LOCKED
from labelproof.stack.guarded import Guarded, is_guarded, is_running, start_guarded, stop_leftover
from labelproof.stack.paths import StackPaths, read_json
from labelproof.stack.procs import identity, is_alive, marked, wait_until
from tests.stack.fakes import SLEEPER, STUBBORN, WITH_CHILD


def guarded(paths: StackPaths, code: str, *options: str, name: str = "fake", grace_s: float = 2.0) -> Guarded:
    return start_guarded(
        paths,
        name=name,
        command=[sys.executable, "-c", code],
        api_url="http://127.0.0.1:9/api",
        env={},
        marker=f"test-{os.getpid()}-{paths.root.name}.{name}",
        grace_s=grace_s,
        options=["--sweep-grace", "0.5", *options],
    )


def wait_for_record(service: Guarded) -> dict[str, object]:
    assert wait_until(lambda: bool(service.record()), timeout_s=20), "the guard wrote no record"
    return service.record()


def test_a_reused_pid_is_not_taken_for_the_process_that_had_it() -> None:
    own = identity(os.getpid())
    assert own is not None
    assert is_alive(os.getpid(), own)
    assert not is_alive(os.getpid(), own + "0")
    assert not is_alive(os.getpid(), None)


def test_a_process_that_ended_but_was_not_waited_for_counts_as_gone() -> None:
    child = subprocess.Popen([sys.executable, "-c", "pass"])
    try:
        known = identity(child.pid)
        assert wait_until(lambda: identity(child.pid) is None, timeout_s=20)
        assert not is_alive(child.pid, known)
    finally:
        child.wait()


def test_the_service_and_its_children_end_when_the_owner_is_killed(paths: StackPaths) -> None:
    owner_code = textwrap.dedent(f"""
        import sys, time
        from labelproof.stack.guarded import start_guarded
        from labelproof.stack.paths import stack_paths
        start_guarded(stack_paths({str(paths.root)!r}), name="fake", command=[sys.executable, "-c", {WITH_CHILD!r}],
                      api_url="http://127.0.0.1:9/api", env={{}}, marker="killed-owner.fake", grace_s=2.0,
                      options=["--sweep-grace", "0.5"])
        time.sleep(300)
    """)
    owner = subprocess.Popen([sys.executable, "-c", owner_code], cwd=Path(__file__).parents[2])
    assert wait_until((paths.root / "ready").exists, timeout_s=30)
    assert len(marked("killed-owner.fake")) == 3, "guard, service and the child in its own session"
    owner.kill()
    owner.wait()
    assert wait_until(lambda: marked("killed-owner.fake") == [], timeout_s=20)


def test_a_service_that_ignores_sigterm_is_killed_after_its_grace(paths: StackPaths) -> None:
    service = guarded(paths, STUBBORN, grace_s=0.3)
    record = wait_for_record(service)
    assert wait_until((paths.root / "ready").exists, timeout_s=20)
    service.stop(timeout_s=20)
    assert not is_running(record)
    assert read_json(paths.record("fake"))["exit_code"] == -signal.SIGKILL
    assert marked(service.marker) == []


def test_the_exit_code_of_a_service_that_ends_by_itself_comes_through(paths: StackPaths) -> None:
    service = guarded(paths, "print('so long'); raise SystemExit(7)")
    assert service.process.wait(20) == 7
    assert "so long" in service.log_path.read_text()
    service.release()


def test_only_one_guard_may_own_the_database(paths: StackPaths) -> None:
    first = guarded(paths, SLEEPER, "--lock", str(paths.server_lock), name="first")
    wait_for_record(first)
    second = guarded(paths, SLEEPER, "--lock", str(paths.server_lock), name="second")
    assert second.process.wait(20) == EXIT_LOCKED
    assert not paths.record("second").exists()
    second.release()
    first.stop(timeout_s=20)


def test_a_released_service_stays_until_the_last_borrower_lets_go(paths: StackPaths) -> None:
    with paths.clients_lock.open("a") as borrower:
        fcntl.flock(borrower, fcntl.LOCK_SH)
        service = guarded(paths, SLEEPER, "--clients", str(paths.clients_lock))
        record = wait_for_record(service)
        service.release(drained=True)
        with pytest.raises(subprocess.TimeoutExpired):
            service.process.wait(0.8)
        assert is_running(record)
    assert service.process.wait(20) == 0
    assert not is_running(record)


def test_down_stops_what_a_killed_guard_left_and_is_idempotent(paths: StackPaths) -> None:
    service = guarded(paths, WITH_CHILD)
    record = wait_for_record(service)
    assert wait_until((paths.root / "ready").exists, timeout_s=20)
    service.process.kill()
    service.process.wait()
    service.release()
    assert is_running(record)
    assert not is_guarded(record)
    told: list[str] = []
    assert down(paths.root, report=told.append)
    assert told == ["stopped fake, which had no supervisor any more"]
    assert marked(service.marker) == []
    assert not down(paths.root, report=told.append)


def test_down_leaves_a_server_alone_that_a_run_started_for_itself(paths: StackPaths) -> None:
    service = guarded(paths, SLEEPER, "--note", "owner=run", "--note", "api_url=x", name="server")
    record = wait_for_record(service)
    assert not down(paths.root, report=lambda _: None)
    assert is_running(record)
    service.stop(timeout_s=20)


def test_a_leftover_is_not_looked_for_under_an_empty_marker() -> None:
    assert not stop_leftover({})
