"""The overview: every number equal to its statement's, the worst project first, nothing of others' words acted on."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import typer
from typer.testing import CliRunner

from labelproof.report.overview.read import SQL, read_overview, statement
from labelproof.report.overview.words import (
    cost_words,
    coverage_words,
    heat_level,
    promise_words,
    quality_words,
)
from labelproof.store import open_store
from tests.overview.overview_helpers import NOW, add_project

HOSTILE = "[red]\x1b[31mx<script>"


def several(path: Path) -> None:
    with open_store(path) as store:
        add_project(store, "calm", auto=60, review=40, state="met", causes={"language": 6, "length": 2})
        add_project(
            store,
            "broken",
            auto=30,
            review=60,
            failed=10,
            cost=None,
            state="breached",
            findings={"critical": 1, "minor": 2},
            alarms={"critical": 1},
            causes={"language": 3, "manipulation": 9},
        )
        add_project(store, "worried", auto=5, state="not yet provable", findings={"major": 1})
        add_project(store, HOSTILE)


def test_numbers_are_those_of_the_statements_and_the_worst_stands_first(tmp_path: Path) -> None:
    several(tmp_path / "store")
    with open_store(tmp_path / "store") as store:
        found = read_overview(store, now=NOW)
        ran = {part: store.query(statement(part, NOW), fresh=True).to_pylist() for part in SQL}
        later = read_overview(store, now=NOW + timedelta(days=40))
    assert [row.project for row in found.rows] == ["broken", "worried", HOSTILE, "calm"]
    broken, worried, empty, calm = found.rows
    assert quality_words(calm.quality) == "96.2 % (95.1 to 97.1; n = 600)"
    assert promise_words(calm.quality) == "≥ 95 %: met"
    assert promise_words(broken.quality) == "≥ 95 %: breached"
    assert quality_words(empty.quality) == "not measured"
    assert coverage_words(calm) == "60.0 % of 100"
    assert cost_words(calm) == "$0.40"
    assert cost_words(broken) == "no price known"
    assert (broken.findings, broken.alarms) == ({"critical": 1, "minor": 2}, {"critical": 1})
    assert worried.findings == {"major": 1}
    assert found.causes == ("language", "manipulation", "length")
    assert broken.heat == {"manipulation": 9, "language": 3}
    assert found.is_bad
    assert {row["project"]: row["n_auto"] for row in ran["work"]} == {"calm": 60, "broken": 30, "worried": 5}
    assert {(row["project"], row["cause"]): row["n"] for row in ran["causes"]}["calm", "language"] == 6
    assert next(row for row in later.rows if row.project == "calm").coverage is None


def test_only_the_latest_analysis_counts_and_old_ones_do_not(tmp_path: Path) -> None:
    with open_store(tmp_path / "store") as store:
        add_project(store, "p", causes={"language": 6})
        add_project(store, "old", causes={"language": 6}, now=NOW - timedelta(days=120))
        rca: dict[str, list[Any]] = {"rca_id": ["newer"], "project": ["p"], "ts": [NOW + timedelta(hours=1)]}
        causes = {
            "rca_id": ["newer"] * 2,
            "project": ["p"] * 2,
            "item_id": ["a", "b"],
            "cause": ["length"] * 2,
        }
        store.append_many({"root_causes": rca, "error_causes": {**causes, "ts": [NOW] * 2}})
        found = read_overview(store, now=NOW + timedelta(hours=2))
    assert {row.project: dict(row.heat) for row in found.rows} == {"p": {"length": 2}, "old": {}}
    assert found.causes == ("length",)
    assert found.only(["old"]).causes == ()


def test_colours_follow_shares() -> None:
    assert [heat_level(n, 100) for n in (0, 1, 10, 25, 50, 100)] == [0, 1, 2, 3, 4, 4]
    assert heat_level(0, 0) == 0


def cli(*arguments: str) -> Any:
    from labelproof.cli.playbook import overview

    app = typer.Typer()
    app.command()(overview)
    return CliRunner(env={"COLUMNS": "240"}).invoke(app, [*arguments, "--now", NOW.isoformat()])


def test_the_command(tmp_path: Path) -> None:
    several(tmp_path / "store")
    store = str(tmp_path / "store")
    shown = cli("--store", store)
    assert shown.exit_code == 1
    assert "\x1b" not in shown.output
    assert "[red]" in shown.output
    assert "9 (75 %)" in shown.output
    told = json.loads(cli("--store", store, "--json").output)
    assert told["projects"][0]["project"] == "broken"
    assert told["sql"]["work"] == cli("--sql", "work").output.rstrip("\n")
    assert cli("--sql", "nonsense").exit_code == 2
    with open_store(tmp_path / "empty"):
        pass
    nothing = cli("--store", str(tmp_path / "empty"))
    assert nothing.exit_code == 0
    assert "Nothing has run" in nothing.output
