"""The calibrators one by one: what they keep, what they change, and that they travel as JSON."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evaluation import BatchCalibration, Fused, MultinomialLogistic, Platt, Temperature
from evaluation.calibrators import ClassCalibrator
from evaluation.folds import stratified_folds
from evaluation.label_log_probs import matching_offset, normalised
from evaluation.stacking import class_calibrator_from_params
from labelproof.spec.errors import ConfigError
from tests.evaluation.simulate import Simulated, shares, simulate

PROBS = st.lists(st.floats(0, 1), min_size=2, max_size=50)


def _sample(n: int = 300, k: int = 4, seed: int = 1) -> Simulated:
    return simulate(n, k, prior=shares("uneven", k, np.random.default_rng(seed)), seed=seed)


def _all(data: Simulated) -> list[ClassCalibrator]:
    k = len(data.classes)
    batch = BatchCalibration.fit(data.log_probs, k)
    assert batch.offset is not None
    base = Temperature.fit(data.log_probs, data.codes, offset=batch.offset)
    found: list[ClassCalibrator] = [batch, base]
    for penalty in (None, 30.0):
        found.append(MultinomialLogistic.fit(data.log_probs, data.codes, base=base, cross_penalty=penalty))
        found.append(Fused.fit(data.log_probs, data.encoder, data.codes, base=base, cross_penalty=penalty))
    return found


def test_every_calibrator_gives_probabilities_and_survives_json() -> None:
    data = _sample()
    for model in _all(data):
        p = model.predict(data.log_probs, data.encoder)
        assert p.shape == (300, 4)
        assert p.dtype == np.float64
        assert p.sum(axis=1) == pytest.approx(1.0)
        assert (p > 0).all()
        again = class_calibrator_from_params(json.loads(json.dumps(model.to_params())))
        assert np.array_equal(again.predict(data.log_probs, data.encoder), p)
        assert model.predict(np.zeros((0, 4)), np.zeros((0, 4))).shape == (0, 4)
    with pytest.raises(ConfigError, match="found 'magic'"):
        class_calibrator_from_params({"method": "magic"})


def test_batch_calibration_subtracts_mean_log_probabilities() -> None:
    """Zhou et al.: p proportional to p(y|x) / exp(mean log p(y|.))."""
    data = _sample()
    floored = normalised(data.log_probs, 4)
    by_hand = np.exp(floored - floored.mean(axis=0))
    by_hand /= by_hand.sum(axis=1, keepdims=True)
    fitted = BatchCalibration.fit(data.log_probs, 4)
    assert fitted.predict(data.log_probs) == pytest.approx(by_hand, abs=1e-6)
    own_batch = BatchCalibration.fit(np.zeros((0, 4)), 4)
    assert own_batch.predict(data.log_probs) == pytest.approx(by_hand, abs=1e-6)


def test_prior_matching_meets_the_prior() -> None:
    data = _sample()
    prior = np.array([0.7, 0.2, 0.08, 0.02])
    model = BatchCalibration.fit(data.log_probs, 4, class_prior=prior)
    assert model.predict(data.log_probs).mean(axis=0) == pytest.approx(prior, abs=1e-4)
    assert matching_offset(data.log_probs, prior).sum() == pytest.approx(0.0, abs=1e-9)
    with pytest.raises(ConfigError, match="positive shares that sum to 1"):
        BatchCalibration.fit(data.log_probs, 4, class_prior=np.array([0.5, 0.5, 0.0, 0.0]))


def test_log_probabilities_with_holes() -> None:
    found = normalised([[-0.1, -np.inf, -3.0], [-np.inf, -np.inf, -np.inf], [0.0, -np.inf, -20.0]], 3)
    assert np.exp(found).sum(axis=1) == pytest.approx(1.0)
    assert found[0, 1] < found[0, 2] - 0.9
    assert found[1] == pytest.approx(np.log(1 / 3))
    assert np.isfinite(found).all()
    assert found[2, 1] <= found[2, 2] + 1e-9
    for bad in ([[np.nan, 0.0]], [[np.inf, 0.0]], [[0.0, 0.0, 0.0]]):
        with pytest.raises(ConfigError, match="log_probs: expected"):
            normalised(bad, 2)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.integers(5, 60), st.integers(2, 6))
def test_temperature_keeps_the_order_within_an_item(seed: int, n: int, k: int) -> None:
    data = simulate(n, k, prior=np.full(k, 1 / k), seed=seed)
    model = Temperature.fit(data.log_probs, data.codes, offset=np.zeros(k))
    assert model.scale > 0
    before, after = normalised(data.log_probs, k), np.log(model.predict(data.log_probs))
    assert np.array_equal(np.argsort(before, axis=1), np.argsort(after, axis=1))


def test_temperature_recovers_a_known_scale() -> None:
    """Sharpened three times over a true softmax: the scale is 1/3 within 4 asymptotic standard errors."""
    rng = np.random.default_rng(5)
    logits = rng.normal(size=(4000, 3)) * 2
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    codes = (rng.random((4000, 1)) > p.cumsum(axis=1)).sum(axis=1)
    model = Temperature.fit(3 * logits, codes, offset=np.zeros(3))
    information = 4000 * np.mean((p * logits**2).sum(1) - (p * logits).sum(1) ** 2)
    assert abs(3 * model.scale - 1) < 4 / np.sqrt(information) + 0.01


@settings(max_examples=25, deadline=None)
@given(PROBS, st.data(), PROBS)
def test_platt_never_reorders(top: list[float], data: st.DataObject, new: list[float]) -> None:
    right = data.draw(st.lists(st.booleans(), min_size=len(top), max_size=len(top)))
    mapped = Platt.fit(top, right).predict(sorted(new))
    assert (np.diff(mapped) >= -1e-12).all()
    assert ((mapped >= 0) & (mapped <= 1)).all()


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10_000), st.integers(500, 900), PROBS)
def test_the_isotonic_blend_never_reorders(seed: int, n: int, new: list[float]) -> None:
    rng = np.random.default_rng(seed)
    p = np.round(rng.random(n), 2)
    model = Platt.fit(p, rng.random(n) < p**2)
    assert model.blend == n / (n + 1500)
    mapped = model.predict(sorted(new))
    assert (np.diff(mapped) >= -1e-12).all()
    assert ((mapped > 0) & (mapped < 1)).all()
    again = Platt.from_params(json.loads(json.dumps(model.to_params())))
    assert np.array_equal(again.predict(sorted(new)), mapped)


def test_platt_edges() -> None:
    assert (Platt.fit([0.6, 0.9, 0.7], [True] * 3).predict([0.5, 0.99]) < 1).all()
    assert (Platt.fit([0.6, 0.9, 0.7], [False] * 3).predict([0.5, 0.99]) > 0).all()
    with pytest.raises(ConfigError, match="at least one calibration item"):
        Platt.fit([], [])
    with pytest.raises(ConfigError, match="top_probs: expected finite"):
        Platt.fit([0.5], [True]).predict([np.nan])


def test_platt_corrects_overconfidence_most_of_the_way() -> None:
    rng = np.random.default_rng(8)
    truth = rng.uniform(0.5, 0.99, size=2000)
    shown = 1 / (1 + np.exp(-2 * np.log(truth / (1 - truth))))
    right = rng.random(2000) < truth
    model = Platt.fit(shown[:1000], right[:1000])
    after = np.abs(model.predict(shown[1000:]) - truth[1000:]).mean()
    assert after < 0.3 * np.abs(shown[1000:] - truth[1000:]).mean()


def test_a_class_missing_from_gold_stays_possible() -> None:
    data = _sample(400, 4, 3)
    kept = data.codes != 2
    base = Temperature.fit(data.log_probs[kept], data.codes[kept], offset=np.zeros(4))
    for penalty in (None, 3.0):
        model = MultinomialLogistic.fit(
            data.log_probs[kept], data.codes[kept], base=base, cross_penalty=penalty
        )
        p = model.predict(data.log_probs)[:, 2]
        assert 1e-6 < p.mean() < 0.05


def test_fused_asks_for_the_second_voter() -> None:
    data = _sample()
    model = _all(data)[3]
    with pytest.raises(ConfigError, match="expected its class log-probabilities, found none"):
        model.predict(data.log_probs)
    with pytest.raises(ConfigError, match="same items"):
        model.predict(data.log_probs, data.encoder[:5])


@given(st.lists(st.integers(0, 3), min_size=4, max_size=60), st.integers(2, 4), st.integers(0, 99))
def test_folds_are_even_and_stratified(codes: list[int], folds: int, seed: int) -> None:
    array = np.array(codes)
    fold = stratified_folds(array, folds, seed=seed)
    sizes = np.bincount(fold, minlength=folds)
    assert sizes.max() - sizes.min() <= 1
    for c in set(codes):
        per_fold = np.bincount(fold[array == c], minlength=folds)
        assert per_fold.max() - per_fold.min() <= 1
    with pytest.raises(ConfigError, match="folds: expected"):
        stratified_folds(array, len(codes) + 1, seed=seed)
