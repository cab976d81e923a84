"""A server that a run starts for itself is shared, borrowed and never left behind."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from labelproof.stack import api_url, start_server
from labelproof.stack import handle as handle_module
from labelproof.stack.api import StackError, is_healthy
from labelproof.stack.paths import StackPaths, read_json
from labelproof.stack.procs import marked, wait_until
from tests.stack.fakes import http_server_service, python_service

CHECKOUT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def fake_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handle_module, "prefect_server", http_server_service)
    monkeypatch.setattr(handle_module, "LINGER_S", 0.1)


def test_the_server_goes_with_the_last_run_that_uses_it(paths: StackPaths) -> None:
    first = start_server(paths.root)
    url = first.wait_ready(30)
    assert url is not None
    assert first.owned
    assert api_url(paths.root) is None, "only `start_server` may lend a server that can vanish"
    second = start_server(paths.root)
    assert second.wait_ready(30) == url
    assert not second.owned
    first.stop(drain=False)
    assert is_healthy(url, timeout_s=5.0), "the second run still uses it"
    second.stop(drain=False)
    assert wait_until(lambda: not is_healthy(url), timeout_s=30)
    second.stop()


def test_stop_returns_when_the_server_is_gone_and_the_next_one_keeps_the_port(paths: StackPaths) -> None:
    urls = []
    for _ in range(2):
        with start_server(paths.root) as handle:
            urls.append(handle.wait_ready(30))
            marker = read_json(paths.record("server"))["marker"]
            handle.stop(drain=False)
            assert marked(marker) == []
    assert urls[0] is not None
    assert urls[0] == urls[1]


def test_a_stop_while_the_server_still_starts_leaves_nothing(paths: StackPaths) -> None:
    handle = start_server(paths.root)
    assert wait_until(lambda: bool(read_json(paths.record("server"))), timeout_s=30)
    handle.stop()
    assert marked(read_json(paths.record("server"))["marker"]) == []


def test_a_server_that_refuses_to_say_what_it_queued_is_ended_all_the_same(paths: StackPaths) -> None:
    with start_server(paths.root) as handle:  # the fake answers no POST
        assert handle.wait_ready(30)
    assert marked(read_json(paths.record("server"))["marker"]) == []


def test_a_run_that_is_killed_takes_its_server_along(paths: StackPaths) -> None:
    code = textwrap.dedent(f"""
        import os, signal
        from labelproof.stack import handle
        from tests.stack.fakes import http_server_service
        handle.prefect_server, handle.LINGER_S = http_server_service, 0.1
        started = handle.start_server({str(paths.root)!r})
        assert started.wait_ready(30)
        os.kill(os.getpid(), signal.SIGKILL)
    """)
    assert subprocess.run([sys.executable, "-c", code], cwd=CHECKOUT, check=False).returncode == -9
    marker = read_json(paths.record("server"))["marker"]
    assert wait_until(lambda: marked(marker) == [], timeout_s=30)


def test_a_server_whose_guard_was_killed_is_replaced(paths: StackPaths) -> None:
    first = start_server(paths.root)
    assert first.wait_ready(30)
    orphan = read_json(paths.record("server"))
    assert first._guarded is not None
    first._guarded.process.kill()
    first._guarded.process.wait()
    second = start_server(paths.root)
    assert second.wait_ready(30)
    assert second.owned
    assert orphan["pid"] not in marked(orphan["marker"])
    first.stop(drain=False)
    second.stop(drain=False)


def test_a_server_that_cannot_start_is_told_with_its_log(
    paths: StackPaths, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = python_service("server", "print('database is locked'); raise SystemExit(1)")
    monkeypatch.setattr(handle_module, "prefect_server", lambda: broken)
    handle = start_server(paths.root)
    with pytest.raises(StackError, match=r"exit code 1(.|\n)*database is locked"):
        handle.wait_ready(30)
    handle.stop()
