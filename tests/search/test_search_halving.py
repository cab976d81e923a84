"""Rounds, ranks, and the luck of the best of many."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.search.halving import (
    affordable,
    board,
    expected_maximum,
    most_calls,
    optimism,
    schedule,
    survivors,
)
from evaluation.paired import NO_ANSWER
from labelproof.spec.errors import ConfigError
from labelproof.spec.metrics import MetricRef

ACCURACY = MetricRef(name="accuracy")
BINARY = np.eye(2, dtype=np.bool_)


def test_candidates_halve_while_items_double() -> None:
    found = schedule(12, 128)
    assert [(rung.n_candidates, rung.n_items) for rung in found] == [(12, 16), (6, 32), (3, 64), (2, 128)]
    assert [(r.n_candidates, r.n_items) for r in schedule(12, 60)] == [(12, 30), (6, 60)]
    assert [(r.n_candidates, r.n_items) for r in schedule(12, 100, rounds=1)] == [(12, 100)]
    with pytest.raises(ConfigError, match="at least one candidate"):
        schedule(0, 10)


@given(st.integers(1, 40), st.integers(1, 500), st.none() | st.integers(1, 8))
def test_every_schedule_ends_on_all_items_and_never_grows_candidates(
    k: int, n: int, rounds: int | None
) -> None:
    found = schedule(k, n, rounds=rounds)
    sizes = [rung.n_items for rung in found]
    left = [rung.n_candidates for rung in found]
    assert sizes == sorted(sizes)
    assert sizes[-1] == n
    assert left[0] == k
    assert left == sorted(left, reverse=True)
    assert left[-1] >= 1


def test_calls_are_counted_once_an_item_and_the_dearest_survive() -> None:
    rungs = schedule(4, 64)
    assert [(r.n_candidates, r.n_items) for r in rungs] == [(4, 32), (2, 64)]
    assert most_calls(rungs, [1, 1, 1, 5], 1) == 32 * (1 + 8) + 32 * (1 + 6)


@given(st.integers(16, 300), st.integers(100, 20_000), st.lists(st.integers(1, 5), min_size=1, max_size=12))
def test_a_limit_on_calls_is_kept_and_used(n: int, most: int, per_item: list[int]) -> None:
    try:
        found = affordable(per_item, 1, n, most)
    except ConfigError:
        assert 16 * (1 + sum(per_item)) > most
        return
    assert most_calls(found, per_item, 1) <= most
    size = found[-1].n_items
    if size < n:
        assert most_calls(schedule(len(per_item), size + 1, min_items=16), per_item, 1) > most


def test_ties_go_to_the_cheaper_and_what_cannot_be_measured_comes_last() -> None:
    scores = {"a": 0.8, "b": 0.8, "c": math.nan, "d": 0.9, "e": 0.8}
    cost = {"a": None, "b": 0.2, "c": 0.0, "d": 9.0, "e": 0.1}
    assert survivors(scores, cost, 5) == ["d", "e", "b", "a", "c"]
    assert survivors(scores, cost, 2) == ["d", "e"]


def test_a_board_scores_all_strategies_under_the_same_weights() -> None:
    gold = np.array([0, 1, 0, 1, 1, 0, 0, 1])
    answers = np.vstack([gold, np.where(np.arange(8) < 4, gold, NO_ANSWER), 1 - gold])
    found = board(
        ("base", "half", "none"),
        gold,
        answers,
        members=BINARY,
        classes=("x", "y"),
        metric=ACCURACY,
        design=np.ones(8),
        resamples=200,
    )
    assert found.values.tolist() == [1.0, 0.5, 0.0]
    scored = found.scored()
    assert scored["base"].low == scored["base"].high == 1.0
    assert scored["half"].delta == -0.5
    assert scored["half"].delta_low < -0.5 < scored["half"].delta_high
    weighted = board(
        ("base", "half", "none"),
        gold,
        answers,
        members=BINARY,
        classes=("x", "y"),
        metric=ACCURACY,
        design=np.where(np.arange(8) < 4, 3.0, 1.0),
        resamples=10,
    )
    assert weighted.values[1] == pytest.approx(12 / 16)


@pytest.mark.parametrize(("k", "published"), [(2, 0.56419), (3, 0.84628), (10, 1.53875), (12, 1.62923)])
def test_the_expected_maximum_is_the_published_one(k: int, published: float) -> None:
    """Teichroew (1956), Annals of Mathematical Statistics 27: expected values of normal order statistics."""
    assert expected_maximum(k) == pytest.approx(published, abs=1e-5)
    assert expected_maximum(1) == 0.0


def equal_arms(rng: np.random.Generator, k: int, n: int) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Gold and answers of K + 1 strategies of the same accuracy .7, half of whose errors they share."""
    shared = rng.random(n) < 0.15
    right = ~(shared | (rng.random((k + 1, n)) < 0.15 / 0.85))
    gold = rng.integers(0, 2, n)
    return gold, np.where(right, gold, 1 - gold)


def test_the_best_of_equal_candidates_leads_by_luck_and_the_correction_takes_it_away() -> None:
    """Twelve arms, none better: the tuning lead is an illusion, the corrected lead and a fresh sample are not."""
    rng = np.random.default_rng(5)
    leads, corrected, bounds, fresh = [], [], [], []
    for seed in range(120):
        gold, answers = equal_arms(rng, 12, 100)
        tuned = board(
            tuple("abcdefghijklm"),
            gold,
            answers,
            members=BINARY,
            classes=("x", "y"),
            metric=ACCURACY,
            design=np.ones(100),
            seed=seed,
            resamples=100,
        )
        found = optimism(tuned, 12)
        assert found.corrected is not None
        assert found.if_equal is not None
        leads.append(found.lead)
        corrected.append(found.corrected)
        bounds.append(found.if_equal)
        new_gold, new_answers = equal_arms(rng, 12, 100)
        right = (new_answers == new_gold).mean(axis=1)
        fresh.append(right[np.argmax(tuned.values)] - right[0])
    assert np.mean(leads) > 0.05
    assert abs(np.mean(fresh)) < 3 * np.std(fresh) / math.sqrt(len(fresh))
    assert abs(np.mean(corrected)) < 3 * np.std(corrected) / math.sqrt(len(corrected))
    assert np.mean(bounds) == pytest.approx(np.mean(leads), rel=0.2)


def test_a_real_lead_survives_the_correction() -> None:
    rng = np.random.default_rng(2)
    n = 400
    gold = rng.integers(0, 2, n)
    right = np.vstack([rng.random(n) < 0.6, rng.random(n) < 0.6, rng.random(n) < 0.85])
    found = optimism(
        board(
            ("base", "same", "better"),
            gold,
            np.where(right, gold, 1 - gold),
            members=BINARY,
            classes=("x", "y"),
            metric=ACCURACY,
            design=np.ones(n),
        ),
        2,
    )
    assert found.corrected == pytest.approx(found.lead, abs=0.02)
    assert found.corrected is not None
    assert found.if_equal is not None
    assert found.corrected > 2 * found.if_equal


def test_luck_without_a_candidate_is_not_measurable() -> None:
    alone = board(
        ("base",),
        np.array([0, 1]),
        np.array([[0, 1]]),
        members=BINARY,
        classes=("x", "y"),
        metric=ACCURACY,
        design=np.ones(2),
        resamples=5,
    )
    found = optimism(alone, 3)
    assert (found.lead, found.corrected, found.if_equal) == (0.0, None, None)
