"""`up`, `down` and `status` at the command line, as far as no server is needed."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from typer.testing import CliRunner

from agents.run.lock import RunLock
from labelproof.cli.stack import app
from labelproof.stack import control
from labelproof.stack.automations import ZOMBIE_AUTOMATION
from labelproof.stack.health import store_health
from labelproof.stack.paths import StackPaths, write_json
from labelproof.stack.procs import identity
from labelproof.store import open_store

RUNNER = CliRunner()


def test_status_of_nothing_exits_1_and_names_the_next_command(paths: StackPaths) -> None:
    done = RUNNER.invoke(app, ["status", "--root", str(paths.root)])
    assert done.exit_code == 1
    assert done.stdout.startswith("stopped")
    assert re.search(r"To start it: .* up", done.stdout)
    as_json = RUNNER.invoke(app, ["status", "--root", str(paths.root), "--json"])
    assert as_json.exit_code == 1
    answer = json.loads(as_json.stdout)
    assert (answer["running"], answer["phase"], answer["services"]) == (False, "stopped", [])


def test_down_of_nothing_is_no_error(paths: StackPaths) -> None:
    done = RUNNER.invoke(app, ["down", "--root", str(paths.root)])
    assert (done.exit_code, done.stdout) == (0, "nothing was running\n")
    done = RUNNER.invoke(app, ["down", "--root", str(paths.root), "--json"])
    assert json.loads(done.stdout)["stopped"] is False


def test_up_where_there_is_nothing_to_deploy_exits_2_and_says_which_file(paths: StackPaths) -> None:
    done = RUNNER.invoke(app, ["up", "--root", str(paths.root), "--json"])
    assert done.exit_code == 2
    assert str(paths.root / "prefect.yaml") in json.loads(done.stdout)["error"]
    assert not paths.state.exists(), "no process was started"


def served(**more: Any) -> dict[str, Any]:
    """What a healthy server tells."""
    return {
        "schedules": [
            {
                "deployment": "label/production",
                "slug": "hourly",
                "cron": "0 * * * *",
                "timezone": "Etc/UTC",
                "active": True,
            }
        ],
        "last_scheduled_run": None,
        "next_scheduled_run": None,
        "active_runs": 1,
        "deployments": [
            {
                "deployment": "label/production",
                "tags": ["resumes"],
                "paused": False,
                "last": {"id": "r1", "state": "Completed", "at": "2026-01-01T00:00:02+00:00"},
                "next": "2026-01-01T01:00:00+00:00",
            },
            {"deployment": "promote/approval", "tags": [], "paused": False, "last": None, "next": None},
        ],
        "late": [],
        "silent": [],
        "crashed": [],
        "automations": [{"name": ZOMBIE_AUTOMATION, "present": True, "enabled": True}],
        "webhook": True,
        "pool_paused": False,
        **more,
    }


@pytest.fixture
def up_now(paths: StackPaths, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Make this process look like a stack that is up, and its server tell what is given."""
    entry = {"name": "worker", "marker": "m.worker", "ready": True, "restarts": 2}
    own = {"pid": os.getpid(), "identity": identity(os.getpid())}
    url = "http://127.0.0.1:4200/api"
    state = {**own, "phase": "ready", "api_url": url, "ui_url": url[:-4], "services": [entry]}
    write_json(paths.state, state)
    write_json(paths.record("worker"), {**own, "marker": "m.worker", "started_at": 0.0})
    monkeypatch.setattr(control, "is_healthy", lambda *_, **__: True)
    return lambda **more: monkeypatch.setattr(control, "_runs_status", lambda _: served(**more))


def test_status_shows_services_deployments_and_what_is_stored(
    paths: StackPaths, up_now: Callable[..., None]
) -> None:
    up_now()
    done = RUNNER.invoke(app, ["status", "--root", str(paths.root)])
    assert done.exit_code == 0, done.output
    assert "up  http://127.0.0.1:4200" in done.stdout
    assert "restarted 2 times" in done.stdout
    lines = [" ".join(line.split()) for line in done.stdout.splitlines()]
    assert "label/production 0 * * * * Etc/UTC, on Completed, 2026-01-01 00:00Z 2026-01-01 01:00Z" in lines
    assert "promote/approval by hand" in lines
    assert "1 run at work" in done.stdout
    assert "webhook  set" in done.stdout


CRASHED = {
    "name": "label-mini-champion",
    "fate": "given up",
    "attempt": 4,
    "attempts": 3,
    "due": "2026-01-01T00:00:00+00:00",
    "resumes": True,
}


@pytest.mark.parametrize(
    ("told", "words"),
    [
        (
            {"late": [{"deployment": "label/production", "due": "2026-01-01T00:00:00+00:00"}]},
            "label/production is due since 2026-01-01 00:00Z and nobody runs it",
        ),
        (
            {"silent": [{"id": "r1", "name": "label-[red]mini", "since": "2026-01-01T00:00:00"}]},
            "label-[red]mini shows no sign of life",
        ),
        ({"crashed": [CRASHED]}, "crashed 4 times and is given up"),
        ({"crashed": [{**CRASHED, "fate": "resume", "resumes": False}]}, "is not started again by itself"),
        (
            {"automations": [{"name": ZOMBIE_AUTOMATION, "present": False, "enabled": False}]},
            "is gone; labelproof down, then up writes it",
        ),
        (
            {"automations": [{"name": ZOMBIE_AUTOMATION, "present": True, "enabled": False}]},
            "is switched off in the Prefect UI",
        ),
    ],
)
def test_what_is_wrong_is_said_and_exits_1(
    paths: StackPaths, up_now: Callable[..., None], told: dict[str, Any], words: str
) -> None:
    up_now(**told)
    done = RUNNER.invoke(app, ["status", "--root", str(paths.root)])
    assert done.exit_code == 1
    assert done.stdout.startswith("up, with problems")
    assert words in done.stdout
    answer = json.loads(RUNNER.invoke(app, ["status", "--root", str(paths.root), "--json"]).stdout)
    assert (answer["running"], answer["healthy"], len(answer["problems"])) == (True, False, 1)


@pytest.mark.parametrize(
    ("told", "words"),
    [
        ({"pool_paused": True}, "the work pool is paused: no run is started"),
        ({"webhook": False}, "no webhook is set: alarms are stored, and nobody is told"),
        ({"crashed": [{**CRASHED, "fate": "wait", "attempt": 1}]}, "goes on by itself, attempt 1 of 3"),
    ],
)
def test_what_was_wanted_or_is_seen_to_is_a_note(
    paths: StackPaths, up_now: Callable[..., None], told: dict[str, Any], words: str
) -> None:
    up_now(**told)
    done = RUNNER.invoke(app, ["status", "--root", str(paths.root)])
    assert done.exit_code == 0
    assert words in done.stdout


def test_the_store_tells_of_its_backlog_of_lost_runs_and_of_stopped_lines(
    paths: StackPaths, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("LABELPROOF_STORE", raising=False)
    now = datetime.now(UTC)
    assert store_health(paths.root, now)["exists"] is False, "to look makes nothing"
    with open_store(paths.root / ".labelproof" / "store") as store:
        names = ["lost", "at work", "ended", "followed", "follower"]
        begun = [now - timedelta(hours=hours) for hours in (1, 2, 3, 5, 4)]
        store.append(
            "runs",
            {
                "run_id": ["an experiment's"],
                "ts": [now],
                "event": ["started"],
                "project": ["p5"],
                "strategy": ["champion"],
                "params_json": ['{"arm": ["e1", "a"]}'],
            },
        )
        store.append(
            "runs",
            {
                "run_id": [*names, "ended"],
                "ts": [*begun, now],
                "event": [*["started"] * 5, "finished"],
                "project": ["p1", "p2", "p3", "p4", "p4", "p3"],
                "strategy": ["champion"] * 6,
                "repeat_idx": [1, 0, 0, 0, 0, 0],
                "params_json": ['{"limit": null}'] * 6,
            },
        )
        store.append(
            "alarms",
            {
                "alarm_id": ["A-1"],
                "project": ["p9"],
                "kind": ["run"],
                "subject": ["line"],
                "event": ["breached"],
                "reason": ["spam"],
                "actor": ["ann"],
                "ts": [now],
            },
        )
    locks = [
        RunLock(paths.root / ".labelproof/store/runs" / f"{name}.lock") for name in ("at work", "follower")
    ]
    assert all(lock.acquire() for lock in locks)
    found = store_health(paths.root, now)
    for lock in locks:
        lock.release()
    assert [(one["run_id"], one["repeat_idx"]) for one in found["interrupted"]] == [("lost", 1)]
    assert [(one["project"], one["why"]) for one in found["lines"]] == [("p9", "spam")]
    assert found["waiting"] == 3
    assert 0 <= found["oldest_waiting_s"] < 60
    monkeypatch.setenv("LABELPROOF_STORE", "mongodb://nowhere")
    assert "is not a kind of store" in store_health(paths.root, now)["error"]
