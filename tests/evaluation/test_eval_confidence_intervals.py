"""Intervals of Brier, AURC, AUROC and ECE: against closed forms, at the edges, and by simulated coverage."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import beta

from evaluation import aurc, auroc, brier, calibration_error, reliability_curve
from evaluation._ece_interval import binned_error, tied_bins
from evaluation._jeffreys_bootstrap import jeffreys_bootstrap
from evaluation.intervals import Estimate
from evaluation.top_label import cross_fit_platt, form_for

PAIRS = st.lists(
    st.tuples(st.sampled_from([0.0, 0.2, 0.5, 0.9, 1.0]), st.booleans()), min_size=1, max_size=60
)


@pytest.mark.parametrize(("errors", "n"), [(0, 40), (3, 100), (20, 80)])
def test_brier_of_certain_answers_has_the_jeffreys_interval(errors: int, n: int) -> None:
    """Confidence 1 everywhere: Brier is the error share; Beta(k + 1/2, n - k + 1/2) quantiles by scipy."""
    y = np.arange(n) >= errors
    found = brier(np.ones(n), y, seed=3, resamples=20_000)
    assert found.value == pytest.approx(errors / n)
    assert found.low is not None
    assert found.high is not None
    low, high = (float(beta.ppf(q, errors + 0.5, n - errors + 0.5)) for q in (0.025, 0.975))
    assert found.high == pytest.approx(high, rel=0.04)
    assert found.low == pytest.approx(low if errors else 0.0, abs=0.004)


@given(PAIRS)
def test_intervals_hold_their_value_and_stay_in_range(pairs: list[tuple[float, bool]]) -> None:
    c, y = [p for p, _ in pairs], [right for _, right in pairs]
    for e in (
        brier(c, y, seed=1, resamples=40),
        aurc(c, y, seed=1, resamples=40),
        calibration_error(c, y, seed=1, resamples=40).estimate,
    ):
        assert e.value is not None
        assert e.low is not None
        assert e.high is not None
        assert 0 <= e.low <= e.value + 1e-12
        assert e.value <= e.high + 1e-12 <= 1 + 1e-9


def test_no_error_seen_still_leaves_room_for_errors() -> None:
    """100 of 100 right at confidence .99: the percentile bootstrap had said "every resample the same"."""
    c, y = np.full(100, 0.99), np.ones(100, dtype=bool)
    for e in (brier(c, y, seed=1), aurc(c, y, seed=1)):
        assert e.low is not None
        assert e.high is not None
        assert e.high > 0.015
        assert e.method == "jeffreys-bootstrap"
    wrong = aurc(c, ~y, seed=1)
    assert wrong.value == 1.0
    assert wrong.low is not None
    assert wrong.low < 0.99


def test_one_item_and_none() -> None:
    one = brier([0.7], [True], seed=1)
    assert one.value == pytest.approx(0.09)
    assert one.high is not None
    assert one.high > 0.3
    nothing = jeffreys_bootstrap(lambda w, _: w.sum(axis=1), np.zeros(0), seed=1, resamples=10)
    assert (nothing.value, nothing.reason) == (None, "no items")


@given(PAIRS, st.randoms(use_true_random=False))
def test_the_order_of_tied_items_changes_nothing(pairs: list[tuple[float, bool]], random: object) -> None:
    """Bins once cut through ties, so ECE and the reliability curve depended on the order of rows."""
    shuffled = list(pairs)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    found = []
    for rows in (pairs, shuffled):
        c, y = [p for p, _ in rows], [right for _, right in rows]
        curve = reliability_curve(c, y, bins=7)
        assert len({b.low for b in curve}) == len(curve)
        ece = calibration_error(c, y, seed=1, resamples=20, bins=7)
        assert ece.bins == len(curve)
        found.append(([(b.low, b.accuracy.value) for b in curve], round(ece.estimate.value or 0.0, 12)))
    assert found[0] == found[1]


def test_bins_are_about_equal_without_ties() -> None:
    assert tied_bins(np.linspace(0, 1, 10), 3).tolist() == [0, 4, 7]
    assert tied_bins(np.array([0.1, 0.5, 0.5, 0.5, 0.5, 0.9]), 3).tolist() == [0, 1]
    assert tied_bins(np.full(9, 0.4), 5).tolist() == [0]
    assert tied_bins(np.zeros(0), 5).tolist() == []


def test_few_errors_widen_the_auroc_interval() -> None:
    """5 wrong of 100: Newcombe's is wider than DeLong's and taken; with 200 in a group DeLong's is."""
    rng = np.random.default_rng(4)
    y = np.arange(100) >= 5
    assert auroc(rng.random(100) + y, y).method == "newcombe-5"
    many = np.arange(400) >= 200
    assert auroc(rng.random(400) + 0.3 * many, many).method == "delong-logit"


@pytest.mark.parametrize(
    ("n", "form"),
    [(20, "temperature"), (100, "temperature"), (101, "platt"), (499, "platt"), (500, "platt+isotonic")],
)
def test_the_sample_size_chooses_the_top_label_map(n: int, form: str) -> None:
    assert form_for(n) == form
    rng = np.random.default_rng(n)
    truth = rng.uniform(0.5, 0.95, n)
    shown = 1 / (1 + np.exp(-3 * np.log(truth / (1 - truth))))
    platt, name, held_out = cross_fit_platt(shown, rng.random(n) < truth, seed=1, always=True)
    if n < 50:
        assert (platt, name) == (None, "none")
        assert np.array_equal(held_out, shown)
        return
    assert name == form
    assert platt is not None
    assert (platt.intercept == 0.0) == (form == "temperature")
    assert (platt.blend > 0) == (form == "platt+isotonic")
    assert platt.slope < 1


def _covers(e: Estimate, truth: float) -> bool:
    assert e.low is not None
    assert e.high is not None
    return e.low <= truth <= e.high


def test_intervals_cover_when_errors_are_few() -> None:
    """R = 200, n = 100, 5 % errors: at least .93 - 3 sqrt(.93 .07 / 200) = .876 of the intervals hold.

    The percentile bootstrap held in .80 (AURC) and .90 (Brier) of 400, DeLong in .85 of 600.
    """
    big = np.random.default_rng(99)
    c = big.beta(19, 1, 200_000)
    right = big.random(200_000) < c
    truth_brier, truth_aurc, truth_auroc = (
        float((c * (1 - c)).mean()),
        aurc(c, right, seed=1, resamples=1).value,
        auroc(c, right).value,
    )
    assert truth_aurc is not None
    assert truth_auroc is not None
    held = np.zeros(3)
    runs = 0
    for seed in range(200):
        rng = np.random.default_rng([5, seed])
        c = rng.beta(19, 1, 100)
        y = rng.random(100) < c
        if y.all():
            continue
        runs += 1
        held += [
            _covers(brier(c, y, seed=seed, resamples=300), truth_brier),
            _covers(aurc(c, y, seed=seed, resamples=300), truth_aurc),
            _covers(auroc(c, y), truth_auroc),
        ]
    assert (held / runs >= 0.876).all(), held / runs


@pytest.mark.parametrize("sharpen", [1.0, 2.0], ids=["calibrated", "overconfident"])
def test_ece_limits_hold_in_their_bins(sharpen: float) -> None:
    """R = 200: the error in the sample's own bins, known from the true probabilities, lies between the limits."""
    held = above = 0
    for seed in range(200):
        rng = np.random.default_rng([6, seed])
        truth = rng.beta(4, 1.5, 300)
        c = 1 / (1 + np.exp(-sharpen * np.log(truth / (1 - truth))))
        order = np.argsort(c)
        starts = tied_bins(c[order], 15)
        real = float(binned_error((truth - c)[order][None, :], starts)[0])
        e = calibration_error(c, rng.random(300) < truth, seed=seed, resamples=300).estimate
        held += _covers(e, real)
        above += (e.low or 0.0) > 0
    assert held / 200 >= 0.95 - 3 * np.sqrt(0.05 * 0.95 / 200)
    assert above >= 150 if sharpen == 2.0 else above <= 20
