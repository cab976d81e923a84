"""`labelproof rca` as a person types it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from labelproof.cli.rca import rca
from labelproof.store import open_store
from tests.rca.rca_world import made

runner = CliRunner()
app = typer.Typer()
app.command()(rca)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("rca-cli")
    with open_store(folder / "store") as store:
        made(store, folder / "mini", "injection", n=300, seed=5)
        store.drain_all()
    return folder


def _run(place: Path, *words: str) -> tuple[int, str]:
    found = runner.invoke(
        app, [str(place / "mini"), "--store", str(place / "store"), "--now", "2026-10-20T08:00", *words]
    )
    return found.exit_code, found.output


def test_the_last_two_weeks_are_compared_unless_somebody_says_otherwise(place: Path, tmp_path: Path) -> None:
    page, text, items = tmp_path / "out" / "page.html", tmp_path / "rca.md", tmp_path / "items"
    code, shown = _run(place, "--html", str(page), "--markdown", str(text), "--export-items", str(items))
    assert code == 1
    assert "first cause: manipulation" in shown
    assert "2026-W41" in shown
    assert page.read_text().startswith("\n<!doctype html>") or "<!doctype html>" in page.read_text()
    assert text.read_text().startswith("# Root causes: mini, accuracy")
    assert (items / "manipulation.jsonl").is_file()
    assert "written:" in shown
    code, again = _run(place, "--from", "W41", "--to", "W42", "--json")
    body = json.loads(again)
    assert code == 1
    assert body["first_cause"] == "manipulation"
    assert body["exit_code"] == 1
    assert sum(part["value"] for part in body["parts"]) == pytest.approx(body["change"])


def test_one_period_and_metrics(place: Path) -> None:
    code, shown = _run(place, "--to", "2026-10-05..2026-10-11", "--no-record")
    assert code == 0
    assert "errors" in shown
    code, shown = _run(place, "--metric", "recall:hate", "--json")
    assert code == 1
    assert json.loads(shown)["metric"] == "recall:hate"


def test_findings_are_opened_on_request(place: Path) -> None:
    code, shown = _run(place, "--open-findings", "--json")
    assert code == 1
    (finding,) = json.loads(shown)["findings"]
    with open_store(place / "store") as store:
        rows = store.query(
            "SELECT source, cause FROM current_findings WHERE finding_id = ?", [finding], fresh=True
        )
    (row,) = rows.to_pylist()
    assert row["source"] == "rca"
    assert row["cause"].startswith("manipulation")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--to", "soon"), "expected a period"),
        (("--metric", "age"), "expected one of accuracy"),
        (("--from", "W42", "--to", "W42"), "overlap"),
        (("--from", "W30", "--to", "W31"), "nothing was decided"),
        (("--now", "noon"), "expected a time"),
    ],
)
def test_what_the_user_must_fix_exits_2(place: Path, words: tuple[str, ...], said: str) -> None:
    code, shown = _run(place, *words)
    assert code == 2
    assert said in " ".join(shown.split())
