"""`labelproof experiment` from plan to labels, as people and as CI use it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest
from typer.testing import CliRunner, Result

from labelproof.cli.experiment import app
from tests.conftest import MakeProject
from tests.experiments.experiment_helpers import answering, make_arms, write_arm
from tests.scripted_server import ScriptedServer, scripted_server


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with scripted_server(answering()) as running:
        yield running


class Terminal:
    """The commands over one project and store."""

    def __init__(self, folder: Path, store: Path) -> None:
        self.folder, self.store = str(folder), str(store)

    def __call__(self, command: str, *arguments: str) -> Result:
        line = [command, *arguments, "--store", self.store]
        return CliRunner(env={"COLUMNS": "200"}).invoke(app, line)

    def run(self, *more: str, arms: str = "champion,candidate") -> Result:
        return self("run", self.folder, "--arms", arms, "--prefect", "off", *more)


@pytest.fixture
def terminal(make_project: MakeProject, server: ScriptedServer, tmp_path: Path) -> Terminal:
    return Terminal(make_arms(make_project, server.base_url), tmp_path / "store")


def test_plan_first_then_run_then_show(terminal: Terminal, server: ScriptedServer) -> None:
    planned = terminal.run("--plan")
    assert planned.exit_code == 0, planned.output
    said = " ".join(planned.output.split())
    for text in ("candidate vs champion", "fixed sample of 40 items", "nothing was spent", "champion again"):
        assert text in said
    assert "In all at most 85 calls" in planned.output
    assert server.requests == []
    refused = terminal.run()
    assert refused.exit_code == 2
    assert "nobody is here to agree" in refused.output
    assert server.requests == []
    done = terminal.run("--yes")
    assert done.exit_code == 0, done.output
    assert "found unfinished: it goes on" in done.output
    assert "VERDICT" in done.output
    assert "promote mini candidate" in done.output
    assert len(server.requests) == 85
    again = terminal.run("--json")
    assert again.exit_code == 0
    told = orjson.loads(again.stdout)
    assert (told["state"], told["exit_code"], told["outcomes"][0]["verdict"]) == ("finished", 0, "ship")
    shown = terminal("show", told["experiment_id"][:7])
    assert shown.exit_code == 0
    assert "SHIP" in shown.output
    assert "40 of 40 answers, done" in shown.output
    (listed,) = orjson.loads(terminal("list", "--json").stdout)
    assert listed["experiment_id"] == told["experiment_id"]
    assert told["experiment_id"] in terminal("list").output


def test_json_of_a_plan_has_its_hash_and_costs(terminal: Terminal) -> None:
    told = orjson.loads(terminal.run("--plan", "--json").stdout)
    assert (told["found"], told["n_calls"]) == ("new", 85)
    assert told["cost_usd"] > 0
    assert told["plan_fp"].startswith("b2:")
    assert [(run["arm"], run["repeat"]) for run in told["runs"]] == [
        ("champion", 0),
        ("candidate", 0),
        ("champion", 1),
    ]


def test_a_used_up_budget_exits_2_and_resume_ends_it(terminal: Terminal, server: ScriptedServer) -> None:
    stopped = terminal.run("--yes", "--budget", "0.2")
    assert stopped.exit_code == 2
    assert "give a larger --budget" in stopped.output
    assert "experiment resume E-" in stopped.output
    (listed,) = orjson.loads(terminal("list", "mini", "--json").stdout)
    assert listed["state"] == "stopped"
    before = len(server.requests)
    done = terminal(
        "resume",
        listed["experiment_id"],
        "--project",
        terminal.folder,
        "--budget",
        "9",
        "--yes",
        "--prefect",
        "off",
    )
    assert done.exit_code == 0, done.output
    assert before < len(server.requests) == 85


def test_stop_ends_it_and_the_same_request_is_a_new_plan(terminal: Terminal) -> None:
    first = orjson.loads(terminal.run("--plan", "--json").stdout)["plan"]["experiment_id"]
    stopped = terminal("stop", first, "--why", "[bold]a better prompt[/]")
    assert stopped.exit_code == 0
    assert "[bold]a better prompt[/]" in stopped.output
    assert "withdrawn: [bold]a better" in terminal("list").output
    assert orjson.loads(terminal.run("--plan", "--json").stdout)["plan"]["experiment_id"] != first


def test_a_changed_file_is_refused_with_what_to_do(terminal: Terminal, server: ScriptedServer) -> None:
    assert terminal.run("--plan").exit_code == 0
    write_arm(Path(terminal.folder), server.base_url, "candidate", model=", temperature: 0.5")
    refused = terminal.run("--yes")
    assert refused.exit_code == 2
    assert "strategy 'candidate' was planned as candidate@" in refused.output
    assert "labelproof experiment stop E-" in refused.output
    assert server.requests == []


def test_people_decide_where_the_arms_differ(terminal: Terminal) -> None:
    assert (
        terminal.run("--items", "15", "--yes").exit_code == 2
    )  # accuracy needs gold: inconclusive until people vote
    (listed,) = orjson.loads(terminal("list", "--json").stdout)
    asked = terminal("label", listed["experiment_id"], "--project", terminal.folder, "--limit", "2")
    assert asked.exit_code == 0, asked.output
    assert "2 new tasks in the review queue" in asked.output
    status = terminal("label", listed["experiment_id"], "--project", terminal.folder, "--status", "--json")
    told = orjson.loads(status.stdout)
    assert (told["n_items"], told["n_asked"], told["n_new"], told["stopped"]) == (15, 2, 0, False)
    closed = terminal("label", listed["experiment_id"], "--project", terminal.folder, "--stop")
    assert "2 tasks closed" in closed.output


def test_wrong_options_are_one_line(terminal: Terminal) -> None:
    for arguments, text in (
        (("--items", "few"), "expected a number from 1 on, or all"),
        (("--primary", "beauty"), "no metric 'beauty'"),
    ):
        wrong = terminal.run(*arguments)
        assert wrong.exit_code == 2
        assert text in wrong.output
    assert "no experiment of this store begins with" in terminal("show", "E-none").output
    assert "no experiment here yet" in terminal("list").output


def test_free_models_need_no_yes(terminal: Terminal, server: ScriptedServer) -> None:
    for name in ("champion", "candidate"):
        path = Path(terminal.folder) / "strategies" / f"{name}.yaml"
        path.write_text(path.read_text().replace("usd_per_mtok: 100", "usd_per_mtok: 0"))
    assert terminal.run("--json").exit_code == 0
    assert len(server.requests) == 85
