"""`labelproof compare --experiment`: as the experiment itself concluded, with a next step that fits it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
import typer
from typer.testing import CliRunner, Result

from labelproof.cli.compare import compare
from labelproof.cli.experiment import app
from labelproof.report.compare.numbers import metric_value
from tests.conftest import MakeProject
from tests.experiments.experiment_helpers import answering, make_arms
from tests.scripted_server import ScriptedServer, scripted_server

ARMS = ("champion", "candidate", "third")
comparing = typer.Typer()
comparing.command()(compare)


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with scripted_server(answering()) as running:
        yield running


def call(commands: typer.Typer, *line: str) -> Result:
    return CliRunner(env={"COLUMNS": "200"}).invoke(commands, list(line))


def ended(folder: Path, store: Path, arms: tuple[str, ...], *more: str) -> dict[str, Any]:
    """Run an experiment to its end and return what `--json` says."""
    line = (str(folder), "--arms", ",".join(arms), "--prefect", "off", "--yes", "--json")
    found: dict[str, Any] = orjson.loads(call(app, "run", *line, *more, "--store", str(store)).stdout)
    assert found["state"] == "finished"
    return found


def test_every_comparison_of_three_arms_is_corrected_as_the_experiment_was(
    make_project: MakeProject, server: ScriptedServer, tmp_path: Path
) -> None:
    """It was not: a candidate looked at alone had a p-value half as large, and could ship."""
    folder, store = make_arms(make_project, server.base_url, arms=ARMS, rerun=0), tmp_path / "store"
    done = ended(folder, store, ARMS)
    for one in done["outcomes"]:
        line = ("champion", one["arm"], "-p", str(folder), "--experiment", done["experiment_id"])
        found = orjson.loads(call(comparing, *line, "--store", str(store), "--json").stdout)
        assert found["rows"][0]["p_holm"] == pytest.approx(one["p_holm"])
        assert found["verdict"] == one["verdict"]
    assert done["outcomes"][0]["p_holm"] > done["comparisons"][0]["rows"][0]["difference"]["p_value"]


def test_without_gold_the_next_step_is_to_ask_people_about_this_experiment(
    make_project: MakeProject, server: ScriptedServer, tmp_path: Path
) -> None:
    folder, store = make_arms(make_project, server.base_url, rerun=0), tmp_path / "store"
    done = ended(folder, store, ARMS[:2], "--items", "1000")
    step = f"labelproof experiment label {done['experiment_id']}"
    assert done["comparisons"][0]["next_step"].startswith(step)
    shown = call(app, "show", done["experiment_id"], "--store", str(store)).output
    assert "every item that is no gold" in shown
    assert "1000" not in shown


def test_the_commands_an_experiment_names_next_work_as_printed(
    make_project: MakeProject, server: ScriptedServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, store = make_arms(make_project, server.base_url, rerun=0), tmp_path / "store"
    done = ended(folder, store, ARMS[:2])
    shown = call(app, "show", done["experiment_id"], "--store", str(store)).output
    (line,) = re.findall(r" compare (\S.*?)   ", shown)
    monkeypatch.chdir(folder.parent)
    again = call(comparing, *line.split(), "--store", str(store))
    assert again.exit_code == 0, again.output
    assert "SHIP" in again.output


def test_a_page_that_cannot_be_written_is_one_line_and_no_traceback(
    make_project: MakeProject, server: ScriptedServer, tmp_path: Path
) -> None:
    folder, store = make_arms(make_project, server.base_url, rerun=0), tmp_path / "store"
    ended(folder, store, ARMS[:2])
    (tmp_path / "file").write_text("in the way")
    line = ("champion", "candidate", "-p", str(folder), "--store", str(store), "--html")
    refused = call(comparing, *line, str(tmp_path / "file" / "page.html"))
    assert refused.exit_code == 2
    assert "the page cannot be written" in refused.output
    written = call(comparing, *line, str(tmp_path / "new" / "page.html"))
    assert written.exit_code == 0
    assert (tmp_path / "new" / "page.html").read_text().startswith("<!")


@pytest.mark.parametrize(
    ("usd", "text"),
    [(0.0, "$0.00"), (1.4e-17, "$0.0000"), (7e-5, "$0.0001"), (0.0062, "$0.0062"), (2, "$2.00")],
)
def test_money_has_no_exponents(usd: float, text: str) -> None:
    assert metric_value("cost_per_1k_usd", usd) == text
