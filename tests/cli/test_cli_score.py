"""`labelproof score`: confidence metrics with intervals, the calibrator and why, plots in a folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson

from labelproof.cli.score import _bar
from tests.cli.conftest import Run
from tests.conftest import MakeProject
from tests.run.run_helpers import run as run_project
from tests.scripted_server import Reply, Seen, scripted_server

CONFIDENCE = ("confidence_auroc", "confidence_ece", "confidence_brier", "confidence_aurc")
LABELS = ("safe", "hate", "spam")


def _reply(seen: Seen) -> Reply:
    number = int(seen.prompt.rsplit("number ", 1)[1].split()[0])
    body = {
        "rationale": "because",
        "label": LABELS[number % 3] if number % 7 else "hate",
        "confidence": 0.7 if number % 5 == 0 else 0.95,
    }
    return Reply(content=orjson.dumps(body).decode(), without_logprobs=True)


def _project(make_project: MakeProject, work: Path) -> Path:
    gold = [(i, LABELS[i % 3], "calibration" if i < 60 else "test") for i in range(120)]
    with scripted_server(_reply) as server:
        folder = make_project(server.base_url, n_items=120, gold=gold)
        run_project(folder, work / "store")
    return folder


def test_the_document_has_intervals_calibrator_and_plots(
    make_project: MakeProject, work: Path, run_json: Callable[..., Any]
) -> None:
    folder = _project(make_project, work)
    found = run_json("score", str(folder), "--plots", str(work / "plots"))
    rows = {row["metric"]: row for row in found["rows"] if row["slice"] == "all"}
    for metric in CONFIDENCE:
        assert rows[metric]["low"] <= rows[metric]["value"] <= rows[metric]["high"]
        assert rows[metric]["n"] == 60
    (used,) = found["calibrators"]
    assert (used["n"], used["n_decisions"]) == (60, 60)
    assert used["method"] in ("raw", "batch", "temperature", "multinomial")
    assert "out-of-fold log loss" in used["why"]
    names = {Path(file).name for file in found["plots"]}
    assert names == {
        f"{stem}{suffix}"
        for stem in ("reliability", "gold_risk_coverage")
        for suffix in (".svg", ".png", ".html")
    }
    assert all(Path(file).stat().st_size > 1000 for file in found["plots"])
    assert "gold split test" in (work / "plots" / "reliability.svg").read_text()


def test_the_terminal_tells_which_calibrator_and_where_confidence_is_off(
    make_project: MakeProject, work: Path, run: Run
) -> None:
    folder = _project(make_project, work)
    code, out, _ = run("score", str(folder))
    assert code == 0
    for words in ("Calibrator of 60 items", "out-of-fold", "ECE:", "Bar: share right", "confidence_aurc"):
        assert words in out
    assert "plots:" not in out
    assert not (work / "plots").exists()


def test_without_a_calibrate_step_the_reader_is_told(
    make_project: MakeProject, work: Path, run: Run, run_json: Callable[..., Any]
) -> None:
    steps = "\n  - kind: normalize\n  - kind: label\n  - kind: route\n"
    gold = [(i, LABELS[i % 3], "test") for i in range(12)]
    with scripted_server(_reply) as server:
        folder = make_project(server.base_url, n_items=12, gold=gold, steps=steps)
        run_project(folder, work / "store")
    assert run_json("score", str(folder))["calibrators"] == []
    assert "No item has a calibrated confidence" in run("score", str(folder))[1]


def test_the_bar_marks_what_confidence_says() -> None:
    assert _bar(0.5, 0.75, width=8) == "████··|·"
    assert _bar(1.0, 1.0, width=4) == "███|"
    assert _bar(0.0, 0.0, width=4) == "|···"
