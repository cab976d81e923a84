"""A day that goes wrong, for real: worker and run are killed, an alarm is raised, and people are told."""

from __future__ import annotations

import json
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

from labelproof.stack.api import PrefectApi
from labelproof.stack.paths import read_json, stack_paths
from labelproof.stack.procs import marked, send, wait_until
from tests.conftest import MakeProject
from tests.run.run_helpers import rows
from tests.scripted_server import scripted_server
from tests.stack.real import CHECKOUT, labelproof, launch, state_of

pytestmark = pytest.mark.stack

N_ITEMS = 120
CONCURRENCY = 3
SECRET = "s3cret-path"
ENDED = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")


@contextmanager
def receiver() -> Iterator[tuple[str, list[Any]]]:
    """Serve a webhook on loopback; yields its address and what it gets."""
    got: list[Any] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            got.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/hooks/{SECRET}", got
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A root with the shipped flows and the deployment of production; the stack is down afterwards."""
    for name in [name for name in os.environ if name.startswith(("PREFECT_", "LABELPROOF_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("OPENAI_API_KEY", "none")
    (tmp_path / "flows").symlink_to(CHECKOUT / "flows")
    shipped = yaml.safe_load((CHECKOUT / "prefect.yaml").read_text(encoding="utf-8"))
    shipped["deployments"] = [one for one in shipped["deployments"] if one["name"] == "production"]
    (tmp_path / "prefect.yaml").write_text(yaml.safe_dump(shipped), encoding="utf-8")
    yield tmp_path
    labelproof(tmp_path, "down")


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="finds processes through /proc")
def test_a_killed_worker_costs_nothing_twice_and_people_are_told(
    root: Path, make_project: MakeProject
) -> None:
    with receiver() as (address, got), scripted_server(latency_ms=150) as model:
        folder = make_project(model.base_url, n_items=N_ITEMS, model=f"concurrency: {CONCURRENCY}")
        code, started = labelproof(root, "up", "--test-webhook", env={"LABELPROOF_WEBHOOK_URL": address})
        assert (code, started["webhook_test"]["arrived"]) == (0, True), started
        assert got.pop()["name"] == "labelproof.webhook.test"
        with PrefectApi(started["api_url"]) as api:
            first = launch(api, {"project": str(folder), "batch_size": 40})
            assert wait_until(lambda: len(model.requests) > 30, timeout_s=90)
            _kill_worker_and_run(root)
            assert wait_until(lambda: state_of(api, first) == "CRASHED", timeout_s=90, every_s=0.5)
            assert wait_until(lambda: _followed(api, first), timeout_s=120, every_s=0.5), "nobody went on"
            _said(api, got)
        code, told = labelproof(root, "status")
        assert (code, told["problems"], told["webhook"]) == (0, [], True), told
        assert {one["name"]: one["enabled"] for one in told["automations"]} == {
            one["name"]: True for one in told["automations"]
        }
        asked = model.counts
    store = root / ".labelproof" / "store"
    events = rows(store, "SELECT event FROM runs ORDER BY ts")
    assert [row["event"] for row in events] == ["started", "resumed", "finished"], "one run, by two processes"
    assert rows(store, "SELECT count(*) AS n, count(DISTINCT item_id) AS d FROM decisions") == [
        {"n": N_ITEMS, "d": N_ITEMS}
    ]
    assert len(asked) == N_ITEMS
    assert sum(asked.values()) <= N_ITEMS + CONCURRENCY, "only what was on its way at the kill is asked again"
    assert labelproof(root, "down")[0] == 0
    assert _holding(root, SECRET) == [], "the address is in no file in the clear"


def _kill_worker_and_run(root: Path) -> None:
    """kill -9 of the worker and of the flow run below it, as a power cut would."""
    state = read_json(stack_paths(root).state)
    (marker,) = (one["marker"] for one in state["services"] if one["name"] == "worker")
    pids = marked(marker)
    assert len(pids) >= 2
    send(pids, signal.SIGKILL)


def _followed(api: PrefectApi, first: str) -> bool:
    """Whether a second run, started by nobody, has completed; a third would be one too many."""
    runs = api.runs(limit=10)
    assert len(runs) <= 2
    return any(
        run["id"] != first and run["state_type"] == "COMPLETED" and "resumed" in run["tags"] for run in runs
    )


def _said(api: PrefectApi, got: list[Any]) -> None:
    """An alarm reaches the webhook with what a person needs, whatever its words are."""
    reason = 'recall is 81 % (interval 77-84): "too low" </script> {{ 1 + 1 }}'
    payload: dict[str, Any] = {
        "project": "mini",
        "subject": "recall:hate",
        "event": "breached",
        "level": "critical",
    }
    payload |= {"contact": "Ann (#labels)", "reason": reason, "value": 0.81}
    api.emit("labelproof.target.breached", "labelproof.project.mini", payload)
    assert wait_until(lambda: len(got) == 1, timeout_s=60, every_s=0.2), "nobody was told"
    message = got[0]
    assert {name: message[name] for name in payload} == payload
    assert message["text"] == f"mini: recall:hate breached (critical). {reason} For: Ann (#labels)"


def _holding(root: Path, secret: str) -> list[str]:
    files = [path for path in (root / ".labelproof").rglob("*") if path.is_file()]
    return [str(path) for path in files if secret.encode() in path.read_bytes()]
