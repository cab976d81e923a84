"""Paired comparisons keep their promises in simulated worlds. Small runs of benchmarks/validity/experiments."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from benchmarks.validity import experiments as sim
from benchmarks.validity._experiment_sequential import log_e_path, sequential_rows
from benchmarks.validity._experiment_worlds import CHANGED_WORLDS, EQUAL_WORLDS
from benchmarks.validity.harness import Row
from evaluation import score
from evaluation.sequential import EarlyStop
from labelproof.spec.metrics import parse_metric

Check = Callable[[int, np.random.Generator], list[Row]]


@pytest.mark.parametrize(
    ("check", "replicates"),
    [
        (sim._shares, 2000),
        (sim._not_worse, 2000),
        (sim._power, 2000),
        (sim._disagreements, 200),
        (sequential_rows, 200),
        (sim._arms, 100),
        (sim._verdicts, 40),
        (sim._clusters, 30),
        (sim._macro_f1_nulls, 30),
        pytest.param(sim._macro_f1_coverage, 30, marks=pytest.mark.slow),
    ],
)
def test_every_bound_holds(check: Check, replicates: int) -> None:
    rows = check(replicates, np.random.default_rng([20, replicates]))
    assert any(row.holds is not None for row in rows)
    assert [row for row in rows if row.holds is False] == []


def test_what_the_naive_methods_do() -> None:
    rows = [*sequential_rows(300, np.random.default_rng(1)), *sim._clusters(60, np.random.default_rng(2))]
    shown = {(row.check, row.cell.split(",")[0]): row.value for row in rows if row.relation == "shown"}
    assert shown["McNemar repeated", "equal strategies"] > 0.3
    assert shown["McNemar on the same items", "50 authors of 5 to 20 items"] > 0.15
    best = {
        row.measure: row.value for row in sim._arms(100, np.random.default_rng(3)) if "10 arms" in row.cell
    }
    assert best["mean difference of the best arm"] > 0.01
    assert abs(best["the same arm on fresh items"]) < 0.005


def test_the_vectorised_path_is_early_stops() -> None:
    won = np.random.default_rng(4).random(200) < 0.7
    path = log_e_path(won[None, :])[0]
    state = EarlyStop().update(won)
    assert state.stopped_at == 1 + int(np.argmax(path >= np.log(20)))
    assert state.p_value == pytest.approx(np.exp(-path.max()))


def test_the_true_difference_of_a_world_is_that_of_many_items() -> None:
    for world in (*EQUAL_WORLDS, *CHANGED_WORLDS):
        drawn = world.draw(100_000, np.random.default_rng(5))
        assert drawn.gold is not None
        names = [drawn.labels[g] for g in drawn.gold]
        cards = [
            score(names, [drawn.labels[c] for c in side], classes=drawn.classes, resamples=2)
            for side in (drawn.a, drawn.b)
        ]
        for name in ("macro_f1", "f1:c2"):
            ref = parse_metric(name)
            where = "all" if ref.of is None else f"class={ref.of}"
            a, b = (
                m.estimate.value or 0.0
                for card in cards
                for m in card.metrics
                if (m.metric, m.slice) == (ref.name, where)
            )
            assert b - a == pytest.approx(world.truth(ref), abs=0.009)
