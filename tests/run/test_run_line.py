"""Stopping the line sends everything to people from the next batch on, and is undone by starting it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from agents.line import start_line, stop_line, stopped_line, stopped_lines
from agents.run.drive import drive, new_loop_run
from agents.run.session import LabelRequest, LabelSession
from labelproof.cli.line import app
from labelproof.report.run_report import run_report
from labelproof.spec.errors import ConfigError
from labelproof.spec.project import find_project
from labelproof.store import open_store
from tests.conftest import MakeProject
from tests.run.run_helpers import rows, run
from tests.scripted_server import scripted_server

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
DECISIONS = "SELECT decision, reason, count(*) AS n FROM decisions WHERE run_id = ? GROUP BY ALL ORDER BY ALL"
GOLD = [(i, ("safe", "hate", "spam")[i % 3], "calibration") for i in range(12)]


def decided(store: Path, summary: Mapping[str, Any]) -> dict[str, int]:
    found = rows(store, DECISIONS, summary["run_id"])
    return {
        row["decision"]: sum(one["n"] for one in found if one["decision"] == row["decision"]) for row in found
    }


def test_everything_goes_to_people_until_the_line_is_started(
    make_project: MakeProject, tmp_path: Path
) -> None:
    store = tmp_path / "store"
    with scripted_server() as server:
        folder = make_project(server.base_url, gold=GOLD, routing="mode: threshold, threshold_prob: 0.0")
        project = find_project(str(folder))
        assert decided(store, run(folder, store)) == {"auto_accept": 12}
        with open_store(store) as opened:
            stop_line(opened, project, why="complaints about spam", by="ann", now=NOW)
        stopped = run(folder, store)
        assert decided(store, stopped) == {"review": 12}
        assert stopped["line_stopped"] == "complaints about spam"
        (reason,) = rows(store, DECISIONS, stopped["run_id"])
        assert reason["reason"] == "the line is stopped: complaints about spam"
        n_asked = len(server.requests)
        with open_store(store) as opened:
            start_line(opened, project, why="mended", by="bob", now=NOW + HOUR)
        assert decided(store, run(folder, store)) == {"auto_accept": 12}
        assert len(server.requests) == n_asked, "answers are stored: neither way pays"


def test_a_run_under_way_sees_it_at_its_next_batch(make_project: MakeProject, tmp_path: Path) -> None:
    with scripted_server() as server:
        folder = make_project(server.base_url, gold=GOLD, routing="mode: threshold, threshold_prob: 0.0")
        request = LabelRequest(project=str(folder), store=str(tmp_path / "store"), batch_size=4)
        session = LabelSession.open(request)

        async def label(_: str, index: int) -> Mapping[str, int]:
            done = await session.label_batch(index)
            if index == 0:
                stop_line(session.store, session.work.folder, why="look", by="ann", now=NOW)
            return done

        summary = new_loop_run(drive(session, label_batch=label, in_flight=1))
        assert summary is not None
        assert decided(tmp_path / "store", summary) == {"auto_accept": 4, "review": 8}
        report = run_report(session.store, session.work, summary)
        session.store.close()
    assert ("Line", "stopped, so everything goes to people: look") in report.lines()


def test_it_is_one_alarm_with_a_history_however_often_it_is_asked_for(
    make_project: MakeProject, tmp_path: Path
) -> None:
    from labelproof.report.monitor.alarms import alarms_of, step

    project = find_project(str(make_project("http://unused")))
    with open_store(tmp_path / "store") as store:
        assert start_line(store, project, why="nothing to start", by="ann", now=NOW) is None
        first = stop_line(store, project, why="spam", by="ann", now=NOW)
        assert stop_line(store, project, why="again", by="bob", now=NOW + HOUR) == first
        assert step(store, project, (), now=NOW + 100 * HOUR) == (), "no measurement ends it"
        (alarm,) = alarms_of(store, project.name)
        assert (alarm.kind, alarm.subject, alarm.is_open, alarm.reason) == ("run", "line", True, "spam")
        assert start_line(store, project, why="mended", by="bob", now=NOW + 2 * HOUR) == first
        assert stopped_line(store, project.name) is None
        second = stop_line(store, project, why="spam again", by="ann", now=NOW + 3 * HOUR)
        assert second.alarm_id != first.alarm_id
        assert stopped_lines(store) == {project.name: second}
        with pytest.raises(ConfigError, match="a reason"):
            start_line(store, project, why=" ", by="ann", now=NOW)


def test_the_command_says_what_is_so(make_project: MakeProject, tmp_path: Path) -> None:
    folder = str(make_project("http://unused"))
    assert find_project(folder).name == "mini"
    where = ["--store", str(tmp_path / "store")]

    def call(*arguments: str) -> tuple[int, dict[str, Any]]:
        done = CliRunner().invoke(app, [*arguments, *where, "--json"])
        return done.exit_code, json.loads(done.stdout)

    code, said = call("stop", folder, "--why", "[bold]spam[/]", "--by", "ann")
    assert (code, said["stopped"], said["why"]) == (0, True, "[bold]spam[/]")
    assert call("status", folder)[0] == 1
    shown = CliRunner().invoke(app, ["status", folder, *where])
    assert "by ann: [bold]spam[/]" in shown.stdout, "a reason is text, no markup"
    assert call("start", folder, "--why", "mended") == (
        0,
        {"stopped": False, "was_stopped": True},
    )
    assert call("status", folder) == (0, {"stopped": False})
