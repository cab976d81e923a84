"""PPI++ against its authors' package, its guards, and its coverage."""

from __future__ import annotations

import numpy as np
import pytest
from ppi_py import ppi_mean_ci, ppi_mean_pointestimate

from benchmarks.validity.audits import make_pool
from benchmarks.validity.harness import at_least
from evaluation import error_rate, ppi_error_rate
from evaluation._arrays import BoolArray, FloatArray
from evaluation.ppi import ppi_moments
from labelproof.spec.errors import ConfigError


def _sample(n: int, size: int, seed: int) -> tuple[BoolArray, FloatArray]:
    rng = np.random.default_rng(seed)
    risk = rng.beta(0.5, 4, size)
    return rng.random(n) < risk[:n], risk


@pytest.mark.parametrize(("n", "size"), [(60, 200), (300, 5000), (1000, 1500)])
def test_moments_are_those_of_the_authors_package(n: int, size: int) -> None:
    y, risk = _sample(n, size, seed=n)
    moments = ppi_moments(y.astype(np.float64), risk[:n], risk, np.ones(n))
    value = ppi_mean_pointestimate(y.astype(np.float64), risk[:n], risk)
    low, high = ppi_mean_ci(y.astype(np.float64), risk[:n], risk, alpha=0.05)
    z = 1.959963984540054
    assert moments.value == pytest.approx(float(value[0]), rel=1e-9)
    assert moments.value - z * moments.std_error == pytest.approx(float(low[0]), rel=1e-6)
    assert moments.value + z * moments.std_error == pytest.approx(float(high[0]), rel=1e-6)


def test_predictions_that_say_something_narrow_the_interval() -> None:
    y, risk = _sample(800, 20_000, seed=2)
    found, plain = ppi_error_rate(y, risk[:800], risk), error_rate(y, [1.0] * 800)
    assert (found.method, found.reason, found.n) == ("ppi++", None, 800)
    assert found.low is not None
    assert found.high is not None
    assert plain.low is not None
    assert plain.high is not None
    assert found.high - found.low < 0.97 * (plain.high - plain.low)


def test_unequal_probabilities_and_shifted_predictions_do_not_bias() -> None:
    rng = np.random.default_rng(6)
    pool = make_pool("overconfident", 0.078, rng)
    risk = 1 - pool.confidence
    pi = np.where(risk > np.quantile(risk, 0.7), 0.1, 0.03)
    values = []
    for _ in range(150):
        a = rng.random(risk.size) < pi
        found = ppi_error_rate(pool.wrong[a], risk[a], risk, inclusion_prob=pi[a])
        assert found.value is not None
        values.append(found.value)
    assert abs(np.mean(values) - 0.078) < 4 * np.std(values) / np.sqrt(len(values))


@pytest.mark.parametrize(
    ("y", "f", "reason"),
    [
        ([True] * 12 + [False] * 12, [0.5] * 24, r"corr\(wrong, predicted\) = 0.00 is below 0.21"),
        ([True] * 12 + [False] * 12, [0.1] * 12 + [0.9] * 12, "= -1.00 is below"),
        ([True] * 9 + [False] * 50, [0.9] * 9 + [0.1] * 50, "fewer than 10 errors"),
        ([True] * 30, [0.9] * 30, "fewer than 10 errors"),
        ([False] * 30, [0.9] * 30, "fewer than 10 errors"),
        ([True] * 12 + [False] * 12, [1.0] * 12 + [0.0] * 12, "no rate inside"),
    ],
    ids=["constant", "reversed", "few", "all-wrong", "all-right", "perfect"],
)
def test_without_use_the_plain_interval_stands_and_says_why(
    y: list[bool], f: list[float], reason: str
) -> None:
    population = f if "inside" not in reason else [0.0] * 100
    found, plain = ppi_error_rate(y, f, population), error_rate(y, [1.0] * len(y))
    assert (found.value, found.low, found.high, found.method) == (
        plain.value,
        plain.low,
        plain.high,
        plain.method,
    )
    assert found.reason is not None
    assert found.reason.startswith("predictions not used: ")
    import re

    assert re.search(reason, found.reason)


def test_no_audits_and_no_population() -> None:
    assert ppi_error_rate([], [], [0.1]).reason == "no audited items"
    y = [True] * 12 + [False] * 12
    assert ppi_error_rate(y, [0.5] * 24, []).reason == (
        "predictions not used: no predictions for the population"
    )


@pytest.mark.parametrize(
    ("y", "f", "population", "message"),
    [
        ([True], [0.5, 0.5], [0.5], "one value per item"),
        ([True], [1.5], [0.5], r"in \[0, 1\]"),
        ([True], [0.5], [float("nan")], "predicted_all"),
    ],
)
def test_bad_predictions_are_refused(
    y: list[bool], f: list[float], population: list[float], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        ppi_error_rate(y, f, population)


@pytest.mark.parametrize("score", ["useful", "useless", "overconfident"])
def test_coverage_in_small(score: str) -> None:
    rng = np.random.default_rng([9, len(score)])
    pool = make_pool(score, 0.078, rng)
    risk = 1 - pool.confidence
    covered = []
    for _ in range(200):
        drawn = rng.choice(risk.size, 200, replace=False)
        found = ppi_error_rate(pool.wrong[drawn], risk[drawn], risk)
        assert found.low is not None
        assert found.high is not None
        covered.append(found.low <= pool.rate <= found.high)
    assert np.mean(covered) >= at_least(0.93, 200)
