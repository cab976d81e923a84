"""What `up` writes through Prefect's API, against a scripted server on loopback."""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from labelproof.stack import api_url
from labelproof.stack.api import PrefectApi, StackError, is_healthy
from labelproof.stack.automations import ensure_automation, zombie_automation
from labelproof.stack.caretaker import close_stopped_runs
from labelproof.stack.paths import StackPaths
from labelproof.stack.setup import apply_schedules


class FakePrefect:
    """Answers by (method, path); POST bodies are kept, PATCH and PUT change nothing."""

    def __init__(self) -> None:
        self.answers: dict[tuple[str, str], Any] = {("GET", "/health"): True}
        self.asked: list[tuple[str, str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.url = ""
        self.busy = 0
        """How many requests to answer with 503."""

    def changes(self) -> list[tuple[str, str, Any]]:
        """Return the requests that write."""
        return [
            one
            for one in self.asked
            if one[0] != "GET" and not one[1].endswith(("/filter", "/count")) and one[1] != "/health"
        ]


@contextmanager
def serve(fake: FakePrefect) -> Iterator[FakePrefect]:
    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            length = int(self.headers.get("content-length") or 0)
            body = json.loads(self.rfile.read(length)) if length else None
            path = self.path.removeprefix("/api")
            fake.asked.append((self.command, path, body))
            fake.headers.append({name.lower(): value for name, value in self.headers.items()})
            answer = fake.answers.get((self.command, path), {} if self.command != "GET" else None)
            payload = b"not here" if answer is None else json.dumps(answer).encode()
            fake.busy, status = max(0, fake.busy - 1), 503 if fake.busy else 404 if answer is None else 200
            self.send_response(status)
            self.send_header("content-length", str(len(payload)))
            self.end_headers()
            self.wfile.write(payload)

        do_GET = do_POST = do_PATCH = do_PUT = do_DELETE = answer

        def log_message(self, *_: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    fake.url = f"http://127.0.0.1:{server.server_address[1]}/api"
    try:
        yield fake
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def fake(paths: StackPaths) -> Iterator[FakePrefect]:
    with serve(FakePrefect()) as started:
        yield started


def deployment(*schedules: tuple[str, bool]) -> dict[str, Any]:
    return {
        "id": "d1",
        "name": "production",
        "flow_id": "f1",
        "schedules": [
            {"id": f"s-{slug}", "slug": slug, "active": active, "schedule": {"cron": "0 * * * *"}}
            for slug, active in schedules
        ],
    }


def test_a_redeploy_keeps_the_schedules_the_user_had_switched_on(fake: FakePrefect) -> None:
    fake.answers["POST", "/deployments/filter"] = [deployment(("hourly", False), ("weekly", False))]
    fake.answers["POST", "/flows/filter"] = [{"id": "f1", "name": "label"}]
    with PrefectApi(fake.url) as api:
        before = {("label/production", "hourly"): True, ("label/production", "weekly"): False}
        result = apply_schedules(api, before, None)
    assert result == before
    assert fake.changes() == [("PATCH", "/deployments/d1/schedules/s-hourly", {"active": True})]


@pytest.mark.parametrize("wanted", [True, False])
def test_schedules_are_switched_all_at_once(fake: FakePrefect, wanted: bool) -> None:
    fake.answers["POST", "/deployments/filter"] = [deployment(("hourly", False), ("weekly", True))]
    fake.answers["POST", "/flows/filter"] = [{"id": "f1", "name": "label"}]
    with PrefectApi(fake.url) as api:
        apply_schedules(api, {}, wanted)
    changed = "s-hourly" if wanted else "s-weekly"
    assert fake.changes() == [("PATCH", f"/deployments/d1/schedules/{changed}", {"active": wanted})]


def test_new_schedules_stay_off_unless_asked_for(fake: FakePrefect) -> None:
    fake.answers["POST", "/deployments/filter"] = [deployment(("hourly", False))]
    fake.answers["POST", "/flows/filter"] = [{"id": "f1", "name": "label"}]
    with PrefectApi(fake.url) as api:
        apply_schedules(api, {}, None)
    assert fake.changes() == []


def test_the_automation_is_written_once_and_again_only_if_it_differs(fake: FakePrefect) -> None:
    key = ("POST", "/automations/filter")
    with PrefectApi(fake.url) as api:
        fake.answers[key] = []
        assert ensure_automation(api, zombie_automation(90.0))
        created = fake.changes()[-1][2]
        fake.answers[key] = [{"id": "a1", **created}]
        assert not ensure_automation(api, zombie_automation(90.0))
        assert len(fake.changes()) == 1
        assert ensure_automation(api, zombie_automation(45.0))
        assert fake.changes()[-1][:2] == ("PUT", "/automations/a1")


def test_a_run_that_waits_for_a_person_is_no_dead_run() -> None:
    expected = zombie_automation(90.0)["trigger"]["expect"]
    assert {"prefect.flow-run.Suspended", "prefect.flow-run.Paused"} <= set(expected)


def test_runs_are_closed_only_when_no_other_worker_may_own_them(fake: FakePrefect) -> None:
    fake.answers["POST", "/flow_runs/filter"] = [
        {"id": "r1", "state_type": "RUNNING"},
        {"id": "r2", "state_type": "CANCELLING"},
    ]
    workers = ("POST", "/work_pools/labelproof/workers/filter")
    with PrefectApi(fake.url) as api:
        fake.answers[workers] = [{"name": "labelproof-other", "status": "ONLINE"}]
        assert close_stopped_runs(api, "labelproof-here") == 0
        assert fake.changes() == []
        fake.answers[workers] = [{"name": "labelproof-other", "status": "OFFLINE"}]
        assert close_stopped_runs(api, "labelproof-here") == 2
    ends = [(method, path, body["state"]["type"]) for method, path, body in fake.changes()]
    assert ends == [
        ("POST", "/flow_runs/r1/set_state", "CRASHED"),
        ("POST", "/flow_runs/r2/set_state", "CANCELLED"),  # what somebody stops is not to go on by itself
    ]


def test_a_refusal_is_told_with_the_servers_words(fake: FakePrefect) -> None:
    with PrefectApi(fake.url) as api, pytest.raises(StackError, match="404 not here"):
        api.call("GET", "/nowhere")


def test_a_server_whose_database_is_locked_is_asked_again(
    fake: FakePrefect, monkeypatch: pytest.MonkeyPatch
) -> None:
    with PrefectApi(fake.url) as api:
        fake.busy = 1
        assert api.call("GET", "/health") is True
        assert len(fake.asked) == 2
        monkeypatch.setattr("labelproof.stack.api.BUSY_S", -1.0)
        fake.busy = 1
        with pytest.raises(StackError, match="503"):
            api.call("GET", "/health")


def test_the_users_own_server_is_used_when_it_answers(
    fake: FakePrefect, paths: StackPaths, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert api_url(paths.root) is None
    monkeypatch.setenv("PREFECT_API_URL", fake.url + "/")
    assert api_url(paths.root) == fake.url
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:9/api")
    assert api_url(paths.root) is None


def test_credentials_of_the_environment_are_sent(fake: FakePrefect, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREFECT_API_KEY", "key-1")
    assert is_healthy(fake.url, timeout_s=5.0)
    assert fake.headers[-1]["authorization"] == "Bearer key-1"


def test_a_web_server_that_is_not_prefect_is_not_healthy(fake: FakePrefect) -> None:
    fake.answers["GET", "/health"] = "welcome"
    assert not is_healthy(fake.url, timeout_s=5.0)


def test_certificates_are_loaded_only_where_they_are_read(
    fake: FakePrefect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever waits for a server asks four times a second; to load them took a fifth of a core."""
    loaded: list[str] = []
    load = ssl.create_default_context

    def watched(*args: Any, **more: Any) -> ssl.SSLContext:
        loaded.append("certificates")
        return load(*args, **more)

    monkeypatch.setattr(ssl, "create_default_context", watched)
    assert is_healthy(fake.url, timeout_s=5.0)
    PrefectApi(fake.url).__exit__(None, None, None)
    assert loaded == []
    assert not is_healthy("https://127.0.0.1:9/api", timeout_s=5.0)
    assert loaded != []
