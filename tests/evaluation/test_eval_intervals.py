"""Intervals against published numbers, an independent library, and simulated coverage."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from evaluation import Estimate, bootstrap, bootstrap_counts, clopper_pearson, wilson
from evaluation._arrays import FloatArray, IntArray
from labelproof.spec.errors import BugError, ConfigError

# Newcombe (1998), Statistics in Medicine 17, table I: methods 3 (score) and 5 (Clopper-Pearson).
PUBLISHED = [
    (81, 263, (0.2553, 0.3662), (0.2527, 0.3676)),
    (15, 148, (0.0624, 0.1605), (0.0578, 0.1617)),
    (0, 20, (0.0, 0.1611), (0.0, 0.1684)),
    (1, 29, (0.0061, 0.1718), (0.0009, 0.1776)),
]


@pytest.mark.parametrize(("hits", "n", "score", "exact"), PUBLISHED)
def test_published_proportion_intervals(
    hits: int, n: int, score: tuple[float, float], exact: tuple[float, float]
) -> None:
    for estimate, (low, high) in ((wilson(hits, n), score), (clopper_pearson(hits, n), exact)):
        assert estimate.value == hits / n
        assert estimate.low == pytest.approx(low, abs=5e-5)
        assert estimate.high == pytest.approx(high, abs=5e-5)


@given(st.integers(1, 400), st.data(), st.sampled_from([0.8, 0.95, 0.99]))
def test_proportions_agree_with_scipy_and_nest(n: int, data: st.DataObject, level: float) -> None:
    hits = data.draw(st.integers(0, n))
    test = stats.binomtest(hits, n)
    for estimate, ci in (
        (wilson(hits, n, confidence=level), test.proportion_ci(level, method="wilson")),
        (clopper_pearson(hits, n, confidence=level), test.proportion_ci(level, method="exact")),
    ):
        assert (estimate.low, estimate.high) == pytest.approx((ci.low, ci.high), abs=1e-9)
        assert estimate.low is not None
        assert estimate.high is not None
        assert 0 <= estimate.low <= hits / n <= estimate.high <= 1


def test_no_items_is_not_a_zero() -> None:
    for estimate in (wilson(0, 0), clopper_pearson(0, 0), bootstrap(_mean_of(np.zeros(0)), 0, seed=1)):
        assert estimate.value is None
        assert estimate.low is None
        assert estimate.reason == "no items"


def test_impossible_counts_and_levels_are_refused() -> None:
    with pytest.raises(ConfigError, match="successes 5, n 4"):
        wilson(5, 4)
    with pytest.raises(ConfigError, match="level in"):
        clopper_pearson(1, 4, confidence=1.0)
    with pytest.raises(BugError, match="reason"):
        Estimate(value=None, low=None, high=None, n=0, method="x")
    with pytest.raises(BugError, match="finite"):
        Estimate(value=math.nan, low=0.0, high=1.0, n=3, method="x")
    with pytest.raises(BugError, match="both ends"):
        Estimate(value=0.5, low=0.1, high=None, n=3, method="x", reason="one-sided")


METHODS: tuple[Literal["percentile", "bca"], ...] = ("percentile", "bca")


@pytest.mark.parametrize("method", METHODS)
def test_bootstrap_agrees_with_scipy(method: Literal["percentile", "bca"]) -> None:
    """Two independent Monte Carlo ends of 4000 resamples: 5 % of the width is beyond 4 sd of each."""
    x = np.random.default_rng(7).lognormal(size=60)
    ours = bootstrap(_mean_of(x), 60, seed=3, resamples=4000, method=method)
    theirs = stats.bootstrap(
        (x,), _mean_along, n_resamples=4000, method=method, rng=np.random.default_rng(5), vectorized=True
    ).confidence_interval
    assert ours.value == pytest.approx(x.mean())
    assert (ours.low, ours.high) == pytest.approx(
        (theirs.low, theirs.high), abs=0.05 * (theirs.high - theirs.low)
    )


def test_bootstrap_is_reproducible_and_counts_match_items() -> None:
    x = np.repeat([0.0, 1.0, 5.0], [30, 15, 5])
    by_item = bootstrap(_mean_of(x), 50, seed=2, resamples=4000, method="bca")
    assert by_item == bootstrap(_mean_of(x), 50, seed=2, resamples=4000, method="bca")
    values = np.array([0.0, 1.0, 5.0, 9.0])

    def mean(counts: FloatArray) -> FloatArray:
        return np.asarray(counts @ values / counts.sum(axis=1))

    by_kind = bootstrap_counts(np.array([30, 15, 5, 0]), mean, seed=2, resamples=4000, method="bca")
    assert by_kind.value == by_item.value
    assert by_kind.low == pytest.approx(by_item.low, abs=0.06)
    assert by_kind.high == pytest.approx(by_item.high, abs=0.06)


def test_bootstrap_says_when_it_has_nothing_to_say() -> None:
    same = bootstrap(_mean_of(np.ones(9)), 9, seed=1)
    assert (same.value, same.low) == (1.0, None)
    assert same.reason is not None
    assert "same value" in same.reason
    one = bootstrap(_mean_of(np.array([3.0])), 1, seed=1)
    assert (one.value, one.low) == (3.0, None)
    never = bootstrap(lambda index: np.full(len(index), np.nan), 9, seed=1)
    assert never.value is None

    def undefined_without_first(index: IntArray) -> FloatArray:
        return np.where((index == 0).any(axis=1), index.mean(axis=1), np.nan)

    rare = bootstrap(undefined_without_first, 9, seed=1)
    assert rare.value is not None
    assert rare.low is None
    assert rare.reason is not None
    assert "resamples" in rare.reason


def test_simulated_coverage() -> None:
    """R = 300: an interval covering .95 may miss at most .05 + 3·sqrt(.05·.95/300) = .088 of runs.

    The percentile bootstrap of a skewed mean at n = 60 is known to cover about .93, hence .07 as
    its nominal miss rate: .07 + 3·sqrt(.07·.93/300) = .114.
    """
    rng = np.random.default_rng(11)
    missed = {"wilson": 0, "exact": 0, "bootstrap": 0}
    for run in range(300):
        hits = int(rng.binomial(80, 0.12))
        for name, estimate, truth in (
            ("wilson", wilson(hits, 80), 0.12),
            ("exact", clopper_pearson(hits, 80), 0.12),
            ("bootstrap", bootstrap(_mean_of(rng.exponential(size=60)), 60, seed=run, resamples=300), 1.0),
        ):
            assert estimate.low is not None
            assert estimate.high is not None
            missed[name] += not estimate.low <= truth <= estimate.high
    assert missed["wilson"] / 300 <= 0.088
    assert missed["exact"] / 300 <= 0.088
    assert missed["bootstrap"] / 300 <= 0.114


def _mean_along(x: FloatArray, axis: int) -> FloatArray:
    return np.asarray(x.mean(axis=axis))


def _mean_of(x: FloatArray) -> Callable[[IntArray], FloatArray]:
    return lambda index: np.asarray(x[index].mean(axis=1))
