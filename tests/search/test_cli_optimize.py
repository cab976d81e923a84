"""The command from plan to confirmed winner."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from labelproof.cli.optimize import optimize
from labelproof.report.optimize.text import render
from labelproof.store import open_store
from tests.conftest import MakeProject
from tests.search.search_helpers import MAGIC, PRICED, project, searched, with_writer, written

GOOD = written(f"- {MAGIC}.\n- [bold]Offers[/bold] are spam even when they are polite.")


def call(*arguments: str) -> tuple[int, str]:
    app = typer.Typer()
    app.command()(optimize)
    found = CliRunner().invoke(app, list(arguments))
    assert found.exception is None or isinstance(found.exception, SystemExit), found.exception
    return found.exit_code, found.stdout


def test_plan_spends_nothing_and_the_run_ends_in_a_shipped_winner(
    make_project: MakeProject, tmp_path: Path
) -> None:
    with project(make_project, with_writer(GOOD)) as (folder, server):
        asked = [str(folder), "--store", str(tmp_path / "store"), "--candidates", "4", "--name", "better"]
        asked += ["--space", "few_shot,instructions", "--budget", "5"]
        code, out = call(*asked, "--plan")
        assert code == 0
        assert not server.requests
        assert "Gold of the splits certify and test is not read." in out
        most = re.search(r"at most (\d+) model calls", out)
        assert most is not None
        code, out = call(*asked, "--yes")
        assert code == 0, out
        assert "WINNER" in out
        assert "[bold]Offers[/bold] are spam" in out
        assert "CONFIRMED on 60 items of gold test ship" in out
        assert "LUCK leads by +0." in out
        code, out = call(*asked, "--json")
        told: dict[str, Any] = json.loads(out)
        assert told["confirmed"][0]["verdict"] == "ship"
        assert told["n_calls"] <= int(most[1])
        with open_store(tmp_path / "store") as store:
            found = store.query(told["sql"], fresh=True).to_pylist()
        assert found


def test_money_wants_a_budget(make_project: MakeProject, tmp_path: Path) -> None:
    with project(make_project, model=PRICED) as (folder, server):
        code, out = call(str(folder), "--store", str(tmp_path / "store"), "--json")
        assert code == 2
        assert "costs money" in json.loads(out)["error"]
        code, out = call(
            str(folder), "--store", str(tmp_path / "store"), "--plan", "--json", "--space", "few_shot"
        )
        assert json.loads(out)["cost_usd"] > 1
        assert not server.requests


def test_metrics_that_rest_on_certificates_are_refused(make_project: MakeProject, tmp_path: Path) -> None:
    with project(make_project) as (folder, _):
        code, out = call(
            str(folder), "--store", str(tmp_path / "store"), "--json", "--metric", "auto_accept_rate"
        )
        assert code == 2
        assert "ranks by accuracy" in json.loads(out)["error"]


def test_a_stopped_search_says_how_to_go_on(
    make_project: MakeProject, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from rich.console import Console

    with project(make_project, model=PRICED) as (folder, _), open_store(tmp_path / "store") as store:
        found = searched(folder, store, candidates=2, space=("few_shot",), budget_usd=1.0)
        for part in render(found):
            Console(width=200).print(part)
        out = capsys.readouterr().out
        assert found.exit_code == 1
        assert "STOPPED" in out
        assert "waiting" in out
        assert "WINNER" not in out


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("../../elsewhere", "expected a strategy's name"),
        ("my winner", "expected a strategy's name"),
        ("champion", "another strategy is there"),
    ],
)
def test_a_winners_name_that_cannot_be_written_is_refused_before_anything_is_paid(
    make_project: MakeProject, tmp_path: Path, name: str, why: str
) -> None:
    with project(make_project) as (folder, server):
        code, out = call(str(folder), "--store", str(tmp_path / "store"), "--json", "--name", name)
        assert code == 2
        assert why in json.loads(out)["error"]
        assert not server.requests


def test_a_plan_beyond_the_budget_says_so(make_project: MakeProject, tmp_path: Path) -> None:
    with project(make_project, model=PRICED) as (folder, _):
        asked = [str(folder), "--store", str(tmp_path / "store"), "--plan", "--candidates", "2"]
        assert "more than the budget of $0.0001" in call(*asked, "--budget", "0.0001")[1]
        assert "more than the budget" not in call(*asked, "--budget", "1000")[1]
