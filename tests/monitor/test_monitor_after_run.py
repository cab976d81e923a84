"""A run of a project with targets measures them, says one line of each event, and is never failed by that."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from labelproof.cli.run import run
from labelproof.report.monitor import run as monitor_run
from labelproof.store import open_store
from tests.conftest import MakeProject
from tests.scripted_server import scripted_server

TARGETS = """contacts: [{role: QA lead, name: Ann}]
targets:
  - {metric: failed_rate, at_most: 0.01, level: minor}
  - {metric: coverage, at_least: 0.999}
"""


@pytest.fixture
def labelled(make_project: MakeProject, tmp_path: Path, request: pytest.FixtureRequest) -> Result:
    """The result of a run over 40 items that are all routed to people; with targets unless asked otherwise."""
    app = typer.Typer()
    app.command()(run)
    with scripted_server() as model:
        folder = make_project(model.base_url, n_items=40, routing="mode: threshold, threshold_prob: 1.0")
        if getattr(request, "param", TARGETS):
            with (folder / "project.yaml").open("a") as file:
                file.write(TARGETS)
        arguments = [str(folder), "--store", str(tmp_path / "store"), "--prefect", "off", "--json"]
        return CliRunner().invoke(app, arguments)


def test_a_breach_is_found_after_the_run_and_stored(labelled: Result, tmp_path: Path) -> None:
    assert labelled.exit_code == 0, labelled.output
    found = json.loads(labelled.stdout)["monitor"]
    states = {one["subject"]: one["state"] for one in found["measurements"] if one["kind"] == "target"}
    assert states == {"failed_rate": "not yet provable", "coverage": "breached"}
    assert [(event["subject"], event["event"], event["role"]) for event in found["events"]] == [
        ("coverage", "breached", "QA lead")
    ]
    with open_store(tmp_path / "store") as store:
        stored = store.query("SELECT DISTINCT run_id FROM measurements WHERE kind = 'target'", fresh=True)
        runs = store.query("SELECT DISTINCT run_id FROM runs", fresh=True)
    assert stored["run_id"].to_pylist() == runs["run_id"].to_pylist()


@pytest.mark.parametrize("labelled", [""], indirect=True)
def test_without_targets_a_run_says_nothing_of_them(labelled: Result) -> None:
    assert labelled.exit_code == 0, labelled.output
    assert "monitor" not in json.loads(labelled.stdout)


class TestBrokenMonitor:
    @pytest.fixture(autouse=True)
    def broken(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def fail(*arguments: object, **more: object) -> None:
            raise RuntimeError("no space left")

        monkeypatch.setattr(monitor_run, "measure", fail)

    def test_the_run_stands_when_watching_fails(self, labelled: Result) -> None:
        assert labelled.exit_code == 0, labelled.output
        found = json.loads(labelled.stdout)
        assert found["done"] == 40
        assert found["monitor"] == {"problem": "the targets were not measured after this run: no space left"}
