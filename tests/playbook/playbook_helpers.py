"""Stores with comparisons of several projects, written as the product writes them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from labelproof.report.compare.build import record
from labelproof.store import TraceStore
from tests.conftest import STEPS, MakeProject, write_strategy
from tests.report.compare_project import NOW, START, URL, compared, store_answers

NAMES = ("safe", "hate", "spam")
N = 120
CRITIQUE = STEPS.replace("  - kind: calibrate", "  - kind: critique\n  - kind: calibrate")


def measured_project(
    store: TraceStore,
    make_project: MakeProject,
    name: str,
    *,
    wrong_a: int,
    wrong_b: int,
    steps_b: str = CRITIQUE,
    model_b: str = "",
    n: int = N,
    looks: int = 1,
) -> Path:
    """Return a project whose champion and candidate were compared: each errs on the first so many items of its own half."""
    folder = make_project(URL, gold=[(i, NAMES[i % 3], "test") for i in range(n)], n_items=n, name=name)
    write_strategy(folder, URL, name="candidate", steps=steps_b, model=model_b)
    answers = {
        "champion": {i: NAMES[(i + (i < wrong_a)) % 3] for i in range(n)},
        "candidate": {i: NAMES[(i + (n - 1 - i < wrong_b)) % 3] for i in range(n)},
    }
    for strategy, said in answers.items():
        store_answers(store, folder, strategy, said, run_id=f"run-{name}-{strategy}")
    for look in range(looks):
        report = compared(store, folder, now=NOW + timedelta(hours=look))
        record(store, replace(report, at=NOW + timedelta(hours=look)))
    return folder


def several(
    store: TraceStore, make_project: MakeProject, errors: Sequence[tuple[int, int]], **more: Any
) -> list[Path]:
    """Return one measured project for each (errors of A, errors of B)."""
    return [
        measured_project(store, make_project, f"p{k}", wrong_a=a, wrong_b=b, **more)
        for k, (a, b) in enumerate(errors)
    ]


__all__ = ["CRITIQUE", "NAMES", "NOW", "START", "N", "measured_project", "several"]
