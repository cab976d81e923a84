"""`labelproof suite run`, `list`, `show`: what is printed, asked and answered with the exit code."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest
import typer
from typer.testing import CliRunner

from labelproof.cli.suite import app
from tests.conftest import MakeProject
from tests.scripted_server import ScriptedServer, scripted_server
from tests.suites.suite_helpers import replying, second_strategy, suite_project, write_cases

Invoke = Callable[..., tuple[int, str]]


@pytest.fixture
def invoke(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Invoke:
    monkeypatch.setenv("LABELPROOF_STORE", str(tmp_path / "store"))
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.chdir(tmp_path)

    def call(*arguments: str) -> tuple[int, str]:
        found = CliRunner().invoke(app, [str(a) for a in arguments])
        if found.exception is not None and not isinstance(found.exception, SystemExit | typer.Exit):
            raise found.exception
        return found.exit_code, found.output

    return call


def _json(found: tuple[int, str]) -> Any:
    return orjson.loads(found[1])


def shouting(prompt: str) -> str | None:
    return "spam" if "LOVELY GARDEN" in prompt or "DESERVE NOTHING" in prompt else None


def _functional(make_project: MakeProject, server: ScriptedServer, **more: Any) -> Path:
    folder = suite_project(make_project, server.base_url, **more)
    write_cases(folder, [("a", "plain", "1x text", "hate"), ("b", "odd", "2x [red]text <b>", "hate")])
    return folder


def test_run_list_and_show(make_project: MakeProject, invoke: Invoke) -> None:
    with scripted_server(replying(lambda _: None)) as server:
        folder = _functional(make_project, server)
        assert "not run yet" in invoke("list", folder)[1]
        assert "Nothing was spent" in invoke("run", folder, "functional", "--plan")[1]
        code, out = invoke("run", folder, "functional", "--yes", "--html", "out/page.html")
        assert code == 0, out
        assert "In all: " in out
        assert "Nothing was spent" not in out
        assert "cases get another label than expected" in out
        assert "1 of 1" in out
        assert "spam instead of hate" in out
        assert "[red]text <b>" in out
        assert Path("out/page.html").read_text().startswith("<!doctype html>")
        listed = _json(invoke("list", folder, "--json"))
        assert [one["suite"] for one in listed["suites"]] == ["robustness", "bias", "injection", "functional"]
        (run,) = listed["runs"]
        assert (run["n_cases"], run["total"]["n_failed"]) == (2, 1)
        assert "failed 1 of 2" in invoke("list", folder)[1]
        code, out = invoke("show", run["suite_run_id"], "--failed")
        assert code == 0
        assert "2x [red]text <b>" in out
        assert "1x text" not in out
        shown = _json(invoke("show", run["suite_run_id"][:12], "--failed", "--json"))
        assert [case["text"] for case in shown["failed"]] == ["2x [red]text <b>"]
        assert shown["total"]["n_failed"] == 1


def test_a_plan_spends_nothing(make_project: MakeProject, invoke: Invoke) -> None:
    with scripted_server(replying(lambda _: None)) as server:
        folder = _functional(make_project, server)
        planned = _json(invoke("run", folder, "all", "--n", "4", "--plan", "--json"))
        assert planned["cases"].keys() == {"robustness", "bias", "injection", "functional"}
        assert planned["cases"]["functional"] == 2
        assert planned["n_calls"] > 100
        code, out = invoke("run", folder, "functional", "--plan")
        assert code == 0
        assert "2 cases: functional 2" in out
        assert "Nothing was spent" in out
        assert not server.requests


def test_what_costs_money_needs_a_yes(make_project: MakeProject, invoke: Invoke) -> None:
    with scripted_server(replying(lambda _: None)) as server:
        folder = _functional(make_project, server)
        path = folder / "strategies" / "champion.yaml"
        path.write_text(
            path.read_text().replace("concurrency: 16", "price_in_usd_per_mtok: 1, price_out_usd_per_mtok: 1")
        )
        code, out = invoke("run", folder, "functional", "--json")
        assert code == 2
        assert "need a yes" in _json((code, out))["error"]
        assert not server.requests
        assert invoke("run", folder, "functional", "--yes")[0] == 0
        assert invoke("run", folder, "functional")[0] == 0  # all answered: nothing to agree to


@pytest.mark.parametrize(("margin", "code", "word"), [("0.01", 1, "broken"), ("0.99", 0, "holds")])
def test_a_broken_guardrail_is_exit_1(
    make_project: MakeProject, invoke: Invoke, margin: str, code: int, word: str
) -> None:
    rule = f"{{guardrails: [{{metric: 'suite:robustness/case_upper', margin: {margin}}}]}}"
    with scripted_server(replying(lambda _: None)) as good, scripted_server(replying(shouting)) as bad:
        folder = suite_project(make_project, good.base_url, experiments=rule)
        second_strategy(folder, bad.base_url)
        first = invoke("run", folder, "robustness", "--n", "12", "--yes")
        assert first[0] == 0
        assert "not measured (there is no other version to hold it against)" in first[1]
        found = invoke("run", folder, "robustness", "--n", "12", "--yes", "--strategy", "candidate")
        assert found[0] == code, found[1]
        assert f"guardrail suite:robustness/case_upper: {word}; failure rate +66.7%" in found[1]
        assert ("finding: " in found[1]) == (word == "broken")
        again = _json(invoke("run", folder, "robustness", "--n", "12", "--strategy", "candidate", "--json"))
        assert again["guardrails"][0]["state"] == word


@pytest.mark.parametrize(
    ("arguments", "wrong"),
    [
        (("robust",), "no suite 'robust'"),
        (("robustness", "--strategy", "nobody"), "no strategy 'nobody'"),
        (("injection", "--target", "nice"), "'nice' is not in the schema"),
        (("lost.csv",), "no such file of cases"),
    ],
)
def test_mistakes_are_one_line_and_exit_2(
    make_project: MakeProject, invoke: Invoke, arguments: tuple[str, ...], wrong: str
) -> None:
    folder = suite_project(make_project, "http://127.0.0.1:9")
    code, out = invoke("run", folder, *arguments, "--json")
    assert code == 2
    assert wrong in _json((code, out))["error"]


def test_show_of_an_unknown_run(make_project: MakeProject, invoke: Invoke) -> None:
    folder = suite_project(make_project, "http://127.0.0.1:9")
    invoke("list", folder)
    code, out = invoke("show", "s123", "--json")
    assert code == 2
    assert "no suite run begins with 's123'" in _json((code, out))["error"]
