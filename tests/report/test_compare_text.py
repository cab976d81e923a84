"""How a comparison reads: in the terminal, as Markdown, as JSON; hostile content does nothing in any of them."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner

from labelproof.report.compare.model import CompareReport
from labelproof.report.compare.text import markdown, render
from labelproof.store import TraceStore, open_store
from tests.conftest import MakeProject
from tests.report.compare_project import compared, run_sql, store_answers, two_strategies

NAMES = ("safe", "hate", "spam")
N = 120
GOLD = [(i, NAMES[i % 3], "test") for i in range(N)]
HOSTILE = (
    "@everyone [click](https://evil.example) ![x](http://evil.example/a.png) <img src=x onerror=alert(1)> "
    "`rm` |cell| www.evil.example #1 **b** \x1b[31mred\u200b [bold]rich[/bold]"
)


def shown(report: CompareReport, **more: int) -> str:
    out = StringIO()
    Console(file=out, width=100, color_system=None).print(render(report, **more))  # type: ignore[arg-type]
    return out.getvalue()


@pytest.fixture
def folder(make_project: MakeProject) -> Path:
    rails = "guardrails: [{metric: failed_rate, margin: 0.05}]"
    return two_strategies(make_project, GOLD, n_items=N, experiments=rails)


@pytest.fixture
def store(tmp_path: Path, folder: Path) -> TraceStore:
    opened = open_store(tmp_path / "store")
    right = {i: NAMES[i % 3] for i in range(N)}
    store_answers(opened, folder, "champion", right | {i: NAMES[(i + 1) % 3] for i in range(30)})
    store_answers(opened, folder, "candidate", right | {i: NAMES[(i + 1) % 3] for i in range(28, 32)})
    return opened


def test_the_terminal_shows_the_five_lines_of_a_comparison(store: TraceStore, folder: Path) -> None:
    text = shown(compared(store, folder), flips=2, slices=1)
    lines = text.splitlines()
    assert max(len(line) for line in lines) <= 100
    assert re.match(r"compare champion@[0-9a-f]{6} candidate@[0-9a-f]{6} --gold test@[0-9a-f]{6}", lines[0])
    assert "CHANGED  label.model.temperature 0→0.5   (normalize, calibrate, route same)" in text
    assert "VERDICT  SHIP: accuracy up" in text
    assert re.search(r"accuracy +\.750 +\.967 +\+\.217 \[\+\.\d{3}, \+\.\d{3}\] +<\.001", text)
    assert "FLIPS    fixed 28 · broke 2 · A/A floor not measured · SRM ok · 120/120 items" in text
    assert re.search(r"WHY      label\.model \+\.217 \(the only change\)", text)
    assert "NEXT     labelproof promote mini candidate@" in text
    assert re.search(r"lang=a +60", text)
    assert len(re.findall(r"^(broke|fixed) ", text, re.MULTILINE)) == 2


def hostile(report: CompareReport) -> CompareReport:
    flip = replace(
        report.flips[0],
        external_id=HOSTILE,
        excerpt=HOSTILE,
        label_a=HOSTILE,
        gold_doubt=f"people decided {HOSTILE}",
    )
    slices = [replace(report.slices[0], value=HOSTILE)]
    changed = [
        replace(change, name=HOSTILE) if change.state != "same" else change for change in report.changes
    ]
    return replace(
        report,
        flips=[flip, *report.flips[1:]],
        slices=slices,
        changes=changed,
        notes=[HOSTILE],
        headline=f"up {HOSTILE}",
    )


def test_hostile_text_does_nothing_in_the_terminal(store: TraceStore, folder: Path) -> None:
    text = shown(hostile(compared(store, folder)), flips=3, slices=1)
    assert "\x1b" not in text
    assert "\u200b" not in text
    assert "[U+001B]" in text
    assert "[bold]rich[/bold]" in " ".join(text.split())


def test_hostile_text_does_nothing_in_markdown(store: TraceStore, folder: Path) -> None:
    text = markdown(hostile(compared(store, folder)), with_text=True)
    outside = re.sub(r"<(code|pre)>.*?</\1>", "", text, flags=re.DOTALL)
    for alive in (
        "@everyone",
        "](",
        "http",
        "www.",
        "<img",
        "#1",
        "\x1b",
        "\u200b",
        "|cell|",
        "`rm`",
    ):
        assert alive not in outside, alive
    inside = "".join(found[1] for found in re.findall(r"<(code|pre)>(.*?)</\1>", text, flags=re.DOTALL))
    assert not re.search(r"[@<>\[\]`|*]", re.sub(r"&#\d+;", "", inside))
    for line in text.splitlines():
        if line.startswith("|"):
            assert line.count("|") in (8, 10, 7), line  # metrics, flips with text, slices


def test_markdown_holds_no_text_of_items_unless_asked(store: TraceStore, folder: Path) -> None:
    report = compared(store, folder)
    assert "for the reader" not in markdown(report)
    assert "for the reader" in markdown(report, with_text=True)
    assert markdown(report).startswith("### ✅ SHIP: accuracy up")
    assert "<details><summary>30 of 30 flips</summary>" in markdown(report)


def invoke(*arguments: str) -> tuple[int, str]:
    import typer

    from labelproof.cli.compare import compare

    app = typer.Typer()
    app.command()(compare)
    done = CliRunner().invoke(app, list(arguments))
    return done.exit_code, done.stdout


def test_the_command_is_a_gate(store: TraceStore, folder: Path, tmp_path: Path) -> None:
    where = ["--project", str(folder), "--store", str(tmp_path / "store")]
    assert invoke("champion", "candidate", *where)[0] == 0
    assert invoke("candidate", "champion", *where)[0] == 1
    code, out = invoke("champion", "champion", *where, "--json", "--no-record")
    found = json.loads(out)
    assert (code, found["verdict"], found["exit_code"]) == (2, "inconclusive", 2)
    code, out = invoke("champion", "nobody", *where, "--json")
    assert code == 2
    assert "error" in json.loads(out)
    stored = run_sql(store, "SELECT verdict, strategy_b, n_items, report_json FROM comparisons ORDER BY ts")
    assert [(row["verdict"], row["strategy_b"], row["n_items"]) for row in stored] == [
        ("ship", "candidate", N),
        ("regression", "champion", N),
    ]
    assert "for the reader" not in stored[0]["report_json"]
    assert len(json.loads(stored[0]["report_json"])["flips"]) == 30


def test_the_primary_metric_can_be_chosen_and_markdown_printed(
    store: TraceStore, folder: Path, tmp_path: Path
) -> None:
    where = ["--project", str(folder), "--store", str(tmp_path / "store"), "--no-record"]
    code, out = invoke("champion", "candidate", *where, "--primary", "auto_accept_rate", "--markdown")
    assert code == 2
    assert out.startswith("### ⚠️ NOT YET: auto_accept_rate")


def test_a_handful_of_items_plans_nothing_and_promises_no_impossible_difference(
    make_project: MakeProject, tmp_path: Path
) -> None:
    """It said `about 4 more items`, `too small to be proven` of a guardrail, and a smallest difference of 1.336."""
    gold = [(i, NAMES[i % 3], "test") for i in range(6)]
    rails = "secondary: [macro_f1], guardrails: [{metric: failed_rate, margin: 0.02}]"
    few = two_strategies(make_project, gold, n_items=6, experiments=rails)
    with open_store(tmp_path / "few") as store:
        store_answers(store, few, "champion", {i: NAMES[(i + (i < 3)) % 3] for i in range(6)})
        store_answers(store, few, "candidate", {i: NAMES[i % 3] for i in range(6)})
        report = compared(store, few)
    said = " ".join(shown(report).split())
    assert "accuracy: 6 items are too few to say how many it takes" in said
    assert "at least 130 more items to prove failed_rate" in said, "a plan says 133 in all"
    assert "1.3" not in said.partition("FLIPS")[0]


def test_an_unfinished_repeat_is_completed_by_that_repeat(folder: Path, store: TraceStore) -> None:
    same = {i: NAMES[(i + (i < 30)) % 3] for i in range(60)}
    store_answers(store, folder, "champion", same, repeat=1)
    report = compared(store, folder, "champion", "champion", repeat=1)
    assert report.next_step.endswith("labelproof run mini --strategy champion --repeat 1")


def test_a_version_that_differs_from_itself_is_not_to_be_promoted(folder: Path, store: TraceStore) -> None:
    store_answers(store, folder, "champion", {i: NAMES[i % 3] for i in range(N)}, repeat=1)
    report = compared(store, folder, "champion", "champion", repeat=1)
    assert report.verdict == "ship"
    assert report.next_step.startswith("distrust the set-up")
