"""How good confidence is: against scikit-learn, brute force, and simulated coverage."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics

from evaluation import (
    aurc,
    auroc,
    brier,
    calibration_error,
    reliability_curve,
    risk_coverage_curve,
    threshold_table,
)
from labelproof.spec.errors import ConfigError


def _pairs(n: int, seed: int, *, levels: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Calibrated confidences, on ``levels`` equal steps when given, and what happened."""
    rng = np.random.default_rng(seed)
    c = rng.beta(4, 1.5, size=n)
    if levels:
        c = np.ceil(c * levels) / levels
    return c, rng.random(n) < c


@pytest.mark.parametrize("levels", [0, 5])
def test_auroc_and_brier_agree_with_scikit_learn(levels: int) -> None:
    c, y = _pairs(300, 1, levels=levels)
    assert auroc(c, y).value == pytest.approx(metrics.roc_auc_score(y, c))
    assert brier(c, y, seed=1).value == pytest.approx(metrics.brier_score_loss(y, c))


def test_delong_standard_error_is_the_published_estimator() -> None:
    """DeLong et al. (1988), eqs. 4-6, written out over all pairs."""
    c, y = _pairs(800, 4, levels=8)
    psi = (c[y][:, None] > c[~y][None, :]) + 0.5 * (c[y][:, None] == c[~y][None, :])
    variance = psi.mean(1).var(ddof=1) / y.sum() + psi.mean(0).var(ddof=1) / (~y).sum()
    a = psi.mean()
    half = 1.959964 * np.sqrt(variance) / (a * (1 - a))
    found = auroc(c, y)
    assert found.low == pytest.approx(1 / (1 + np.exp(-(np.log(a / (1 - a)) - half))), abs=1e-6)
    assert found.high == pytest.approx(1 / (1 + np.exp(-(np.log(a / (1 - a)) + half))), abs=1e-6)


def test_auroc_at_the_ends_keeps_a_wide_interval() -> None:
    perfect = auroc([0.1, 0.2, 0.8, 0.9, 0.95], [False, False, True, True, True])
    assert (perfect.value, perfect.high, perfect.method) == (1.0, 1.0, "newcombe-5")
    assert perfect.low is not None
    assert 0.3 < perfect.low < 0.9
    worst = auroc([0.9, 0.8, 0.1], [False, False, True])
    assert (worst.value, worst.low) == (0.0, 0.0)
    assert worst.high is not None
    assert worst.high > 0.3
    tied = auroc([0.5] * 10, [True] * 5 + [False] * 5)
    assert (tied.value, tied.method) == (0.5, "newcombe-5")
    assert auroc([0.2, 0.4, 0.3], [True, False, False]).method == "newcombe-5"


def test_undefined_has_a_reason() -> None:
    assert "all 3 items are right" in str(auroc([0.1, 0.2, 0.3], [True] * 3).reason)
    assert "all 2 items are wrong" in str(auroc([0.1, 0.2], [False] * 2).reason)
    for found in (
        auroc([], []),
        brier([], [], seed=1),
        aurc([], [], seed=1),
        calibration_error([], [], seed=1).estimate,
    ):
        assert found.value is None
        assert "no items" in str(found.reason)
    assert reliability_curve([], []) == ()
    assert len(risk_coverage_curve([], []).threshold) == 0
    assert threshold_table([], [], [0.5])[0].coverage.value is None


def test_bad_confidences_are_refused() -> None:
    with pytest.raises(
        ConfigError, match=r"confidence: expected finite numbers, found 1 of 2 .*index 1: nan"
    ):
        brier([0.3, float("nan")], [True, False], seed=1)
    with pytest.raises(ConfigError, match=r"expected values in \[0, 1\], found 1.2 at index 0"):
        aurc([1.2], [True], seed=1)
    with pytest.raises(ConfigError, match="scores: expected finite"):
        auroc([np.nan], [True])
    with pytest.raises(ConfigError, match=r"correct: expected true/false, found 2\.0"):
        brier([0.5], [2], seed=1)
    with pytest.raises(ConfigError, match="confidence 1, correct 2"):
        brier([0.5], [True, False], seed=1)


@given(st.lists(st.tuples(st.sampled_from([0.2, 0.5, 0.9]), st.booleans()), min_size=1, max_size=6))
def test_aurc_is_the_mean_over_all_orders_of_ties(pairs: list[tuple[float, bool]]) -> None:
    """Brute force: every order that is sorted by confidence, each equally likely."""
    ordered = [
        p for p in itertools.permutations(pairs) if all(a[0] >= b[0] for a, b in itertools.pairwise(p))
    ]
    risks = [
        np.mean([np.mean([not right for _, right in order[: k + 1]]) for k in range(len(order))])
        for order in ordered
    ]
    found = aurc([c for c, _ in pairs], [y for _, y in pairs], seed=1, resamples=2)
    assert found.value == pytest.approx(np.mean(risks))


def test_calibration_error_is_read_against_its_floor() -> None:
    c, y = _pairs(400, 3)
    good = calibration_error(c, y, seed=1)
    assert (good.bins, good.estimate.n) == (15, 400)
    assert good.floor is not None
    assert good.floor_p95 is not None
    assert good.estimate.value is not None
    assert good.estimate.value < good.floor_p95
    assert "no more than chance" in good.note
    overconfident = calibration_error(np.sqrt(c), y, seed=1)
    assert overconfident.estimate.value is not None
    assert overconfident.floor_p95 is not None
    assert overconfident.estimate.value > overconfident.floor_p95
    assert "this is more than chance" in overconfident.note
    assert good == calibration_error(c, y, seed=1)


def test_ece_by_hand() -> None:
    c = [0.1, 0.2, 0.6, 0.8]
    found = calibration_error(c, [False, True, True, True], seed=1, bins=2)
    assert found.estimate.value == pytest.approx(0.5 * abs(0.5 - 0.15) + 0.5 * abs(1.0 - 0.7))
    bins = reliability_curve(c, [False, True, True, True], bins=2)
    assert [(b.low, b.high, b.accuracy.value) for b in bins] == [(0.1, 0.2, 0.5), (0.6, 0.8, 1.0)]
    assert bins[0].mean_confidence == pytest.approx(0.15)


def test_risk_coverage_and_thresholds() -> None:
    c, y = [0.9, 0.9, 0.7, 0.5], [True, False, True, False]
    curve = risk_coverage_curve(c, y)
    assert curve.threshold.tolist() == [0.9, 0.7, 0.5]
    assert curve.coverage.tolist() == [0.5, 0.75, 1.0]
    assert curve.risk.tolist() == pytest.approx([0.5, 1 / 3, 0.5])
    strict, lenient = threshold_table(c, y, [0.95, 0.7])
    assert (strict.coverage.value, strict.accuracy.value) == (0.0, None)
    assert "no item reaches 0.95" in str(strict.accuracy.reason)
    assert lenient.coverage.value == 0.75
    assert lenient.accuracy.value == pytest.approx(2 / 3)


@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), max_size=40))
def test_curves_partition_the_items(pairs: list[tuple[float, bool]]) -> None:
    c, y = [p for p, _ in pairs], [right for _, right in pairs]
    bins = reliability_curve(c, y, bins=4)
    assert sum(b.accuracy.n for b in bins) == len(pairs)
    curve = risk_coverage_curve(c, y)
    assert (np.diff(curve.threshold) < 0).all()
    assert (np.diff(curve.coverage) > 0).all()
    if pairs:
        assert curve.coverage[-1] == 1.0
        assert curve.risk[-1] == pytest.approx(1 - np.mean(y))


def test_auroc_interval_covers() -> None:
    """R = 400, n = 80: misses at most .05 + 3·sqrt(.05·.95/400) = .083 of runs around the truth."""
    truth = auroc(*_pairs(200_000, 77)).value
    assert truth is not None
    missed = 0
    for seed in range(400):
        e = auroc(*_pairs(80, seed))
        assert e.low is not None
        assert e.high is not None
        missed += not e.low <= truth <= e.high
    assert missed / 400 <= 0.083
