"""Automatic calibration on simulated small-model outputs: it must not hurt, and must be honest."""

from __future__ import annotations

import json

import numpy as np
import numpy.typing as npt
import pytest

from evaluation import CalibratedLabels, FittedCalibrator, auroc, calibration_error, fit_calibrator
from labelproof.spec.errors import ConfigError
from tests.evaluation.simulate import shares, simulate

TEST_N = 3000
Hits = npt.NDArray[np.bool_]


def _run(
    n: int, k: int, kind: str, seed: int, *, fused: bool = False
) -> tuple[FittedCalibrator, CalibratedLabels, Hits, Hits, Hits]:
    """The calibrator from n items; its answers on new items; which are right, raw's, the best rule's."""
    prior = shares(kind, k, np.random.default_rng([seed, k]))
    data = simulate(n + TEST_N, k, prior=prior, seed=seed)
    fitted = fit_calibrator(
        data.log_probs[:n],
        data.labels[:n],
        data.classes,
        encoder_log_probs_oof=data.encoder[:n] if fused else None,
        batch_log_probs=data.log_probs[n : n + 500],
        seed=seed,
    )
    found = fitted.predict(data.log_probs[n:], data.encoder[n:] if fused else None)
    gold = data.codes[n:]
    raw = data.log_probs[n:].argmax(axis=1) == gold
    best = data.bayes[n:].argmax(axis=1) == gold
    return fitted, found, found.codes == gold, raw, best


@pytest.mark.parametrize(("n", "k"), [(200, 2), (200, 4), (200, 12), (1000, 2), (1000, 12)])
@pytest.mark.parametrize("kind", ["equal", "uneven", "rare"])
def test_auto_never_hurts_with_enough_gold_and_comes_near_the_best(n: int, kind: str, k: int) -> None:
    """Test of 3000 items: no loss to the raw argmax beyond 3 standard errors of the paired difference.

    Against the best possible rule the allowance is the price of estimation, about K parameters
    (offsets) over n items at most, plus the same 3 standard errors.
    """
    fitted, _, right, raw, best = _run(n, k, kind, seed=k + n)
    assert fitted.report is not None
    gain = right.astype(float) - raw
    assert gain.mean() >= -3 * gain.std() / np.sqrt(TEST_N)
    loss = best.astype(float) - right
    assert loss.mean() <= min(k, 8) / n + 3 * loss.std() / np.sqrt(TEST_N)


@pytest.mark.parametrize(("n", "seeds"), [(20, 2), (50, 1)])
def test_auto_helps_on_average_with_little_gold(n: int, seeds: int) -> None:
    """Over 18 (9) models the mean gain is beyond 3 standard errors between models; few lose anything."""
    gains = np.array(
        [
            np.mean(right.astype(float) - raw)
            for seed in range(1, seeds + 1)
            for kind in ("equal", "uneven", "rare")
            for k in (2, 4, 12)
            for _, _, right, raw, _ in [_run(n, k, kind, seed)]
        ]
    )
    assert gains.mean() > 3 * gains.std(ddof=1) / np.sqrt(len(gains))
    assert (gains > -0.02).mean() >= 0.75


@pytest.mark.parametrize("k", [2, 4, 12])
def test_no_gold_is_batch_calibration(k: int) -> None:
    """Equal shares, biased model: averaged over thirty models the gain is beyond 3 standard errors."""
    gains = []
    for seed in range(30):
        fitted, _, right, raw, _ = _run(0, k, "equal", seed)
        assert (fitted.method, fitted.n, fitted.out_of_fold) == ("batch", 0, None)
        gains.append(np.mean(right.astype(float) - raw))
    assert np.mean(gains) > 3 * np.std(gains, ddof=1) / np.sqrt(30)
    assert fitted.report is not None
    assert "No gold" in fitted.report.why
    assert fitted.report.accuracy.value is None


def test_no_gold_but_known_shares() -> None:
    """One class of 85 %: the known shares repair what presuming equal ones breaks."""
    k = 4
    data = simulate(4000, k, prior=shares("rare", k, np.random.default_rng(1)), seed=1)
    blind = fit_calibrator(np.zeros((0, k)), [], data.classes, batch_log_probs=data.log_probs)
    told = fit_calibrator(
        np.zeros((0, k)),
        [],
        data.classes,
        batch_log_probs=data.log_probs,
        class_prior=(0.85, 0.05, 0.05, 0.05),
    )
    accuracy = [np.mean(f.predict(data.log_probs).codes == data.codes) for f in (blind, told)]
    raw = np.mean(data.log_probs.argmax(axis=1) == data.codes)
    assert accuracy[1] > max(raw, accuracy[0]) + 0.05
    assert told.report is not None
    assert "class prior" in told.report.why


@pytest.mark.parametrize("n", [50, 200])
def test_fusing_a_second_voter_helps(n: int) -> None:
    for seed in range(2):
        fitted, found, right, _, best = _run(n, 4, "uneven", seed, fused=True)
        alone, _, right_alone, _, _ = _run(n, 4, "uneven", seed)
        assert (fitted.method, fitted.needs_encoder, alone.needs_encoder) == ("fused", True, False)
        gain = right.astype(float) - best
        assert gain.mean() > 3 * gain.std() / np.sqrt(TEST_N)
        better = auroc(found.confidence, right).value
        assert better is not None
        assert better > 0.8
        assert right.mean() > right_alone.mean()


def test_confidence_and_report_are_honest() -> None:
    """Out-of-fold accuracy is the test's within 4 standard errors; ECE on new items stays small.

    Confidence minus accuracy on new items, averaged over six models, within .05.
    """
    gaps = []
    for seed in range(6):
        fitted, found, right, _, _ = _run(200, 4, "uneven", seed)
        report = fitted.report
        assert report is not None
        assert fitted.out_of_fold is not None
        assert report.accuracy.value is not None
        p = right.mean()
        assert abs(report.accuracy.value - p) < 4 * np.sqrt(p * (1 - p) / 200)
        gaps.append(found.confidence.mean() - p)
        error = calibration_error(found.confidence, right, seed=1, resamples=50).estimate.value
        assert error is not None
        assert error < 0.1
    assert abs(np.mean(gaps)) < 0.05


def test_the_report_says_why() -> None:
    data = simulate(120, 3, prior=np.array([0.5, 0.3, 0.2]), seed=4)
    fitted = fit_calibrator(data.log_probs, data.labels, data.classes, encoder_log_probs_oof=data.encoder)
    report = fitted.report
    assert report is not None
    assert [c.name for c in report.candidates] == [
        "raw",
        "batch",
        "temperature",
        "multinomial(biases)",
        "multinomial(100)",
        "multinomial(10)",
        "fused(biases)",
        "fused(100)",
        "fused(10)",
    ]
    assert "120 items" in report.why
    assert min(c.gap for c in report.candidates) == 0.0
    assert report.ece_floor is not None
    plain = json.loads(json.dumps(report.to_json()))
    assert plain["accuracy"]["value"] == report.accuracy.value
    assert plain["candidates"][1]["name"] == "batch"


def test_fitted_calibrators_travel_as_json_and_are_deterministic() -> None:
    data = simulate(520, 3, prior=np.array([0.5, 0.3, 0.2]), seed=4)
    for method in ("auto", "batch", "temperature", "multinomial", "fused"):
        fits = [
            fit_calibrator(
                data.log_probs, data.labels, data.classes, method=method, encoder_log_probs_oof=data.encoder
            )
            for _ in range(2)
        ]
        again = FittedCalibrator.from_params(json.loads(json.dumps(fits[0].to_params())))
        assert fits[0].to_params() == fits[1].to_params()
        ours, theirs = (f.predict(data.log_probs, data.encoder) for f in (fits[0], again))
        assert ours.labels == theirs.labels
        assert np.array_equal(ours.confidence, theirs.confidence)
        assert np.array_equal(ours.probs, theirs.probs)
    with pytest.raises(ConfigError, match="expected version 1, found 2"):
        FittedCalibrator.from_params({**fits[0].to_params(), "version": 2})


@pytest.mark.parametrize("n", [1, 2, 4, 5, 12, 19])
def test_tiny_gold_is_one_temperature(n: int) -> None:
    data = simulate(n + 100, 3, prior=np.full(3, 1 / 3), seed=n)
    fitted = fit_calibrator(data.log_probs[:n], data.labels[:n], data.classes, batch_log_probs=data.log_probs)
    assert fitted.method == "temperature"
    assert fitted.report is not None
    assert f"Only {n} calibration items" in fitted.report.why
    assert (fitted.report.accuracy.value is None) == (n < 5)
    assert fitted.predict(data.log_probs).probs.sum(axis=1) == pytest.approx(1.0)


def test_one_class_only_perfect_and_hopeless_models() -> None:
    """Nothing breaks and nothing claims certainty: probabilities stay inside (0, 1)."""
    data = simulate(100, 3, prior=np.full(3, 1 / 3), seed=9)
    one = fit_calibrator(data.log_probs, ["c0"] * 100, data.classes)
    assert one.report is not None
    assert one.report.missing_classes == ("c1", "c2")
    assert "kept at a small probability" in one.report.why
    assert (one.predict(data.log_probs).probs > 0).all()
    sharp = np.where(np.eye(3)[data.codes] > 0, 0.0, -np.inf)
    perfect = fit_calibrator(sharp, data.labels, data.classes)
    assert perfect.report is not None
    assert perfect.report.accuracy.value == 1.0
    assert perfect.report.auroc.value is None
    assert perfect.predict(sharp).confidence.max() < 1.0
    wrong = fit_calibrator(np.roll(sharp, 1, axis=1), data.labels, data.classes)
    assert wrong.report is not None
    assert wrong.report.raw_accuracy.value == 0.0
    blank = fit_calibrator(np.full((100, 3), -np.inf), data.labels, data.classes)
    assert np.ptp(blank.predict(np.full((5, 3), -np.inf)).confidence) == 0.0


def test_wrong_input_is_refused() -> None:
    data = simulate(30, 3, prior=np.full(3, 1 / 3), seed=2)
    with pytest.raises(ConfigError, match="labels: expected one of c0, c1, c2; found 'x'"):
        fit_calibrator(data.log_probs, ["x"] * 30, data.classes)
    with pytest.raises(ConfigError, match="log_probs 30, labels 29"):
        fit_calibrator(data.log_probs, data.labels[:-1], data.classes)
    with pytest.raises(ConfigError, match="method fused: expected"):
        fit_calibrator(data.log_probs, data.labels, data.classes, method="fused")
    with pytest.raises(ConfigError, match="temperature: expected labelled"):
        fit_calibrator(np.zeros((0, 3)), [], data.classes, method="temperature")
    with pytest.raises(ConfigError, match="1 NaN"):
        fit_calibrator(
            np.where(np.arange(90).reshape(30, 3) == 4, np.nan, data.log_probs), data.labels, data.classes
        )
    with pytest.raises(ConfigError, match="class_prior"):
        fit_calibrator(data.log_probs, data.labels, data.classes, class_prior=(0.5, 0.5))


def test_a_calibrated_score_is_left_as_it_is() -> None:
    """Log-probabilities that are the truth: raw wins in most of 8 draws of 400, and says so in words."""
    rng = np.random.default_rng(12)
    kept = []
    for seed in range(8):
        data = simulate(400, 3, prior=np.full(3, 1 / 3), seed=100 + seed)
        fitted = fit_calibrator(data.bayes, data.labels, data.classes, seed=seed)
        assert fitted.report is not None
        if fitted.method == "raw":
            kept.append(fitted)
            assert "left as they are" in fitted.report.why
            assert fitted.predict(data.bayes).probs == pytest.approx(np.exp(data.bayes), abs=1e-6)
    assert len(kept) >= 5
    few = rng.choice(400, 49, replace=False)
    small = fit_calibrator(data.bayes[few], [data.labels[i] for i in few], data.classes)
    assert small.report is not None
    assert "raw" not in {c.name for c in small.report.candidates}
