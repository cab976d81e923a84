"""`up`, `down` and `status` at the command line, as far as no server is needed."""

from __future__ import annotations

import json
import os
import re

import pytest
from typer.testing import CliRunner

from labelproof.cli.stack import app
from labelproof.stack import control
from labelproof.stack.paths import StackPaths, write_json
from labelproof.stack.procs import identity

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


def test_status_shows_services_schedules_and_runs(paths: StackPaths, monkeypatch: pytest.MonkeyPatch) -> None:
    entry = {"name": "worker", "marker": "m.worker", "ready": True, "restarts": 2}
    own = {"pid": os.getpid(), "identity": identity(os.getpid())}
    url = "http://127.0.0.1:4200/api"
    write_json(
        paths.state, {**own, "phase": "ready", "api_url": url, "ui_url": url[:-4], "services": [entry]}
    )
    write_json(paths.record("worker"), {**own, "marker": "m.worker", "started_at": 0.0})
    run = {"deployment": "label/production", "state": "Completed", "started_at": "2026-01-01T00:00:02+00:00"}
    monkeypatch.setattr(control, "is_healthy", lambda *_, **__: True)
    monkeypatch.setattr(
        control,
        "_runs_status",
        lambda _: {
            "schedules": [
                {
                    "deployment": "label/production",
                    "slug": "hourly",
                    "cron": "0 * * * *",
                    "timezone": "Etc/UTC",
                    "active": True,
                }
            ],
            "last_scheduled_run": run,
            "next_scheduled_run": None,
            "active_runs": 1,
        },
    )
    done = RUNNER.invoke(app, ["status", "--root", str(paths.root)])
    assert done.exit_code == 0, done.output
    assert "up  http://127.0.0.1:4200" in done.stdout
    assert "restarted 2 times" in done.stdout
    assert "schedule label/production, hourly: 0 * * * * Etc/UTC, on" in done.stdout
    assert "last run: label/production, Completed, 2026-01-01T00:00:02Z" in done.stdout
    assert "1 run at work" in done.stdout
