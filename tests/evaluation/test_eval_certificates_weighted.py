"""Gold with unequal inclusion probabilities: refused unweighted, certified by betting."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from benchmarks.validity._certificate_weighted import betting
from benchmarks.validity._pools import calibrated
from evaluation import certify, certify_weighted, check_design
from evaluation._certificate_betting import BETS, fewest_accepted_betting
from labelproof.spec.errors import ConfigError

POOL = np.round(np.linspace(0.5, 0.999, 2000), 6)
GOLD = POOL[::4]
RIGHT = np.ones(500, dtype=bool)
UNIFORM = np.full(500, 0.25)  # 500 of 2000


def test_equal_probabilities_certify_without_errors() -> None:
    found = certify_weighted(GOLD, RIGHT, UNIFORM, pool_confidence=POOL, pool_n=2000, w_max=1.0)
    assert found.certified
    assert found.method == "betting"
    assert found.coverage == 1.0
    assert found.n_accepted == 500
    assert found.upper is not None
    assert certify(GOLD, RIGHT, pool_confidence=POOL).upper <= found.upper <= 0.05  # type: ignore[operator]


@pytest.mark.parametrize("wrong", [0, 3, 10, 20, 60])
def test_betting_is_never_more_lenient_than_the_exact_test(wrong: int) -> None:
    """With equal weights both see the same counts; Markov's inequality costs something."""
    correct = RIGHT.copy()
    correct[:wrong] = False
    exact = certify(GOLD, correct, pool_confidence=POOL)
    grid = [row.threshold for row in exact.tested]
    bets = certify_weighted(GOLD, correct, UNIFORM, pool_confidence=POOL, pool_n=2000, w_max=1.0, grid=grid)
    for ours, theirs in zip(bets.tested, exact.tested, strict=True):
        assert (ours.n_accepted, ours.n_errors) == (theirs.n_accepted, theirs.n_errors)
        assert ours.p_value >= theirs.p_value
        assert ours.passed <= theirs.passed


def test_only_weights_relative_to_their_bound_matter() -> None:
    rng = np.random.default_rng(2)
    pi = rng.uniform(0.1, 0.9, 500)
    correct = rng.random(500) < 0.99
    bound = 500 / (2000 * 0.1)
    grid = [0.9, 0.8, 0.6]
    one = certify_weighted(GOLD, correct, pi, pool_confidence=POOL, pool_n=2000, w_max=bound, grid=grid)
    ten = certify_weighted(GOLD, correct, pi, pool_confidence=POOL, pool_n=200, w_max=10 * bound, grid=grid)
    p_one, p_ten = ([row.p_value for row in found.tested] for found in (one, ten))
    assert p_one == pytest.approx(p_ten, rel=1e-9)
    assert 0 < p_one[0] < 1


def test_the_pool_bounds_the_weights_of_each_threshold() -> None:
    """Rarely drawn items at the bottom do not weaken thresholds that leave them out."""
    pi = np.where(POOL > 0.7, 0.3, 0.01)
    gold = np.flatnonzero(POOL > 0.7)[::4]
    given: dict[str, Any] = {"pool_confidence": POOL, "pool_n": 2000}
    every = certify_weighted(POOL[gold], RIGHT[: len(gold)], pi[gold], pool_inclusion_prob=pi, **given)
    assert every.certified
    assert every.threshold is not None
    assert every.threshold > 0.7
    largest = len(gold) / (2000 * 0.01)
    assert not certify_weighted(POOL[gold], RIGHT[: len(gold)], pi[gold], w_max=largest, **given).certified


def test_items_that_are_never_drawn_cannot_be_certified() -> None:
    pi = np.where(POOL > 0.7, 0.25, 0.0)
    gold = np.flatnonzero(POOL > 0.7)[::4]
    found = certify_weighted(
        POOL[gold],
        RIGHT[: len(gold)],
        pi[gold],
        pool_confidence=POOL,
        pool_n=2000,
        pool_inclusion_prob=pi,
        grid=[0.9, 0.8, 0.71, 0.6],
    )
    assert [row.passed for row in found.tested][-1] is False
    assert found.tested[-1].p_value == 1.0
    assert found.tested[-1].upper == 1.0


def test_weighted_gold_without_certificate_says_what_would_do() -> None:
    found = certify_weighted(
        GOLD[::10], RIGHT[:50], UNIFORM[:50], pool_confidence=POOL, pool_n=2000, w_max=1.0
    )
    assert found.reason is not None
    assert found.reason.startswith("too little evidence")
    assert found.more_gold is not None
    assert found.more_gold.n_accepted_more is not None
    assert "on their own" in found.more_gold.why
    wrong = certify_weighted(GOLD, ~RIGHT, UNIFORM, pool_confidence=POOL, pool_n=2000, w_max=1.0)
    assert wrong.more_gold is not None
    assert wrong.more_gold.n_accepted_more is None


def test_no_weighted_gold_or_pool_is_an_answer() -> None:
    none = certify_weighted([], [], [], pool_confidence=POOL, pool_n=2000, w_max=2.0)
    assert none.reason == "there is no gold to test on: label some items first"
    empty = certify_weighted([], [], [], pool_confidence=[], pool_n=0, w_max=2.0)
    assert empty.reason == "the pool is empty: there is nothing to accept"
    assert empty.more_gold is None


def test_items_drawn_twice_count_twice() -> None:
    twice = np.repeat(GOLD[-60:], 2)
    given: dict[str, Any] = {"pool_confidence": POOL, "pool_n": 2000, "w_max": 1.0, "grid": [0.5]}
    once = certify_weighted(GOLD[-60:], RIGHT[:60], np.full(60, 0.03), **given)
    double = certify_weighted(twice, RIGHT[:120], np.full(120, 0.06), **given)
    assert double.tested[0].n_accepted == 120
    assert double.tested[0].p_value < once.tested[0].p_value


def test_the_region_leaves_gold_below_it_aside() -> None:
    correct = GOLD >= 0.8
    found = certify_weighted(
        GOLD, correct, UNIFORM, pool_confidence=POOL, pool_n=2000, w_max=1.0, region_low=0.8
    )
    assert found.n_gold == (GOLD >= 0.8).sum()
    assert found.n_errors == 0
    assert found.coverage == (POOL >= 0.8).mean()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"inclusion_prob": [0.5, 0.0]}, r"inclusion_prob: expected probabilities in \(0, 1\], found 0.0"),
        ({"inclusion_prob": [0.5, -0.1]}, "inclusion_prob: expected values in"),
        ({"inclusion_prob": [0.5, float("nan")]}, "inclusion_prob: expected finite"),
        ({"inclusion_prob": [0.5]}, "inclusion_prob 1, confidence 2"),
        ({"w_max": None}, "found neither"),
        ({"pool_inclusion_prob": [0.5, 0.5]}, "found both"),
        ({"w_max": None, "pool_inclusion_prob": [0.5]}, "pool_inclusion_prob 1"),
        ({"w_max": None, "pool_inclusion_prob": [0.6, 0.6]}, "w_max: expected a bound on every weight"),
        ({"w_max": 0.1}, "w_max: expected a bound on every weight"),
        ({"w_max": float("inf")}, "w_max: expected a positive number"),
        ({"w_max": 0.0}, "w_max: expected a positive number"),
        ({"pool_n": 0}, "pool_n: expected the number of items"),
        ({"alpha": 1.0}, "alpha: expected a rate"),
    ],
    ids=range(13),
)
def test_impossible_weights_are_refused(change: dict[str, Any], message: str) -> None:
    given: dict[str, Any] = {
        "confidence": [0.9, 0.8],
        "correct": [True, False],
        "inclusion_prob": [0.5, 0.5],
        "pool_confidence": [0.9, 0.8],
        "pool_n": 2,
        "w_max": 2.0,
    }
    with pytest.raises(ConfigError, match=message):
        certify_weighted(**{**given, **change})


@pytest.mark.parametrize("alpha", [0.01, 0.05, 0.3])
def test_the_fewest_gold_items_that_bets_certify(alpha: float) -> None:
    n = fewest_accepted_betting(alpha, 0.05)
    win = 1 + BETS * alpha / (1 - alpha)
    assert np.mean(win**n) >= 20 > np.mean(win ** (n - 1))


def test_the_simulated_decision_is_the_shipped_one() -> None:
    rng = np.random.default_rng(8)
    for _ in range(6):
        pool = calibrated(3000, rng)
        wish = 0.2 + pool.confidence**8
        pi = 600 * wish / wish.sum()
        gold = np.flatnonzero(rng.random(3000) < pi)
        shipped = certify_weighted(
            pool.confidence[gold],
            pool.correct[gold],
            pi[gold],
            pool_confidence=pool.confidence,
            pool_n=3000,
            pool_inclusion_prob=pi,
        )
        assert betting(pool, gold, pi, w_max=None) == (shipped.threshold, shipped.coverage or 0.0)


def test_uniform_gold_may_be_used_unweighted() -> None:
    assert check_design(["simple_random"] * 3, [0.1, 0.1, 0.1]) == "simple_random"
    assert check_design(["simple_random"] * 3, [None, None, 0.1]) == "simple_random"
    assert check_design(["region", "simple_random"], [0.3, 0.1]) == "region"
    assert check_design([], []) is None


@pytest.mark.parametrize(
    ("designs", "pi", "message"),
    [
        (["active", "active"], [0.1, 0.1], "found 'active'"),
        (["simple_random", "stratified"], [0.1, 0.2], "found 'stratified'"),
        (["simple_random", "simple_random"], [0.1, 0.2], "found 0.1 to 0.2"),
        (["region", "region"], [0.1, 0.2], "all region gold"),
    ],
    ids=range(4),
)
def test_weighted_gold_is_refused_unweighted(designs: list[str], pi: list[float], message: str) -> None:
    with pytest.raises(ConfigError, match=message) as error:
        check_design(designs, pi)
    assert error.value.hint is not None
    assert "certify_weighted" in error.value.hint


@pytest.mark.parametrize(
    ("pi", "message"),
    [
        ([0.1, 0.0], "found 0.0 at index 1"),
        ([0.1, 1.2], "expected values in"),
        ([0.1], "inclusion_prob 1"),
    ],
    ids=range(3),
)
def test_impossible_probabilities_are_refused(pi: list[float], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        check_design(["simple_random", "simple_random"], pi)
