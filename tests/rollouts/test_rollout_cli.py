"""From shadow to canary to champion and back, by commands alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest

from labelproof.cli import main
from labelproof.cli.main import Row
from labelproof.store import open_store
from tests.conftest import MakeProject
from tests.rollouts.rollout_helpers import compared, pair_of, safe, two_strategies
from tests.scripted_server import scripted_server

Run = Callable[..., tuple[int, str, str]]
ROWS = (
    Row("promote", "labelproof.cli.promote", "promote", "Make a candidate the champion", "Prove"),
    Row("rollback", "labelproof.cli.promote", "rollback", "Take the last promotion back", "Prove"),
    Row("rollout", "labelproof.cli.promote", "app", "Try a candidate on production traffic", "Prove"),
)


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LABELPROOF_STORE", str(tmp_path / "store"))
    monkeypatch.setenv("LABELPROOF_BY", "ann")
    monkeypatch.setattr(main, "COMMANDS", (*ROWS, *main.COMMANDS))

    def run_command(*arguments: str) -> tuple[int, str, str]:
        capsys.readouterr()
        code = main.dispatch(arguments)
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run_command


def as_json(run: Run, *arguments: str, exits: int = 0) -> Any:
    code, out, err = run(*arguments, "--json")
    assert code == exits, out + err
    return orjson.loads(out)


@pytest.mark.slow
def test_the_whole_way_and_back(make_project: MakeProject, tmp_path: Path, run: Run) -> None:
    with scripted_server(safe) as server:
        folder = two_strategies(make_project, server.base_url, n_items=30)
        name = str(folder)
        champion = folder / "strategies" / "champion.yaml"
        before = champion.read_bytes()
        assert "No roll-out yet" in run("rollout", "status", name)[1]
        assert as_json(run, "rollout", "list", name) == []

        shadow = as_json(
            run, "rollout", "start", name, "candidate", "--shadow", "--why", "a look [red]first[/]"
        )
        labelled = as_json(run, "run", name, "--prefect", "off")
        assert labelled["rollout"]["candidate"]["done"] == labelled["done"] == 30
        code, out, _ = run("rollout", "status", name)
        assert code == 0
        assert "30 items answered; label as the champion's: 30 of 30 (100.0 %)" in " ".join(out.split())
        assert "[red]first[/]" in out

        canary = as_json(run, "rollout", "start", name, "candidate", "--canary", "0.5", "--why", "half")
        assert canary["rollout_id"] == shadow["rollout_id"]
        code, out, _ = run("run", name, "--prefect", "off")
        assert code == 0
        assert "Roll-out" in out
        assert "candidate decided" in " ".join(out.split())
        assert "rollout" not in as_json(run, "run", name, "--prefect", "off", "--no-rollout")
        status = as_json(run, "rollout", "status", name)
        assert (status["phase"], status["canary"]["breaches"]) == ("canary", [])

        code, _, err = run("promote", name, "candidate", "--why", "x")
        assert code == 2
        assert "not promoted: no comparison of champion@" in err
        with open_store(tmp_path / "store") as store:
            compared(store, pair_of(store, folder))
        code, _, err = run("promote", name, "candidate", "--why", "x")
        assert (code, "this is no terminal" in err) == (2, True)
        assert champion.read_bytes() == before
        code, out, _ = run("promote", name, "candidate", "--why", "better", "--yes")
        assert code == 0, out
        assert "comparison c1: ship" in out
        assert run("promote", name, "candidate", "--why", "again", "--yes")[0] == 2
        assert run("rollout", "stop", name, "--why", "x")[0] == 2

        done = as_json(run, "rollback", name, "--why", "complaints", "--by", "bob")
        assert (done["state"], done["by"], done["fp_after"]) == ("rolled_back", "bob", status["fp_from"])
        assert champion.read_bytes() == before
        (trail,) = as_json(run, "rollout", "list", name)
    events = [(event["event"], event["by"], event["why"]) for event in trail["events"]]
    assert events == [
        ("proposed", "ann", "a look [red]first[/]"),
        ("shadow", "ann", "a look [red]first[/]"),
        ("canary", "ann", "half"),
        ("approved", "ann", "better"),
        ("promoted", "ann", "better"),
        ("approved", "bob", "complaints"),
        ("rolled_back", "bob", "complaints"),
    ]
    assert trail["events"][4]["evidence"]["comparison"]["comparison_id"] == "c1"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("rollout", "start", "mini", "candidate", "--why", "x"), "exactly one of --shadow and --canary"),
        (("rollout", "start", "mini", "candidate", "--why", "x", "--canary", "1.5"), "above 0 and below 1"),
        (("rollout", "start", "mini", "nobody", "--why", "x", "--shadow"), "no strategy 'nobody'"),
        (
            ("rollout", "start", "mini", "candidate@ffff", "--why", "x", "--shadow"),
            "candidate@ffff was asked for",
        ),
        (("rollout", "start", "mini", "candidate", "--why", " ", "--shadow"), "a reason is needed"),
        (("rollback", "mini", "--why", "x"), "no promotion of project 'mini' is left"),
        (("promote", "mini", "candidate", "--why", "x", "--ask"), "no Prefect server is up"),
    ],
)
def test_what_cannot_be_done_is_one_line(
    make_project: MakeProject, run: Run, arguments: tuple[str, ...], message: str
) -> None:
    two_strategies(make_project, "http://127.0.0.1:9/v1")
    code, _, err = run(*arguments)
    assert code == 2
    assert message in " ".join(err.split())
    assert "Traceback" not in err
