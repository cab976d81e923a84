"""Multi-label calibration: sets, their confidence, and rare classes."""

from __future__ import annotations

import json

import numpy as np
import pytest

from evaluation import FittedMultiLabelCalibrator, auroc, fit_multilabel_calibrator
from labelproof.spec.errors import ConfigError
from tests.evaluation.simulate import log_softmax

CLASSES = ("hate", "sexual", "threat")
SHARES = np.array([0.4, 0.2, 0.1])


def _sets(rows: np.ndarray) -> list[str]:
    return ["+".join(n for n, yes in zip(CLASSES, row, strict=True) if yes) or "none" for row in rows]


def _sample(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """No/yes log-probabilities (n, 3, 2), over-sharp and biased towards yes, and the truth (n, 3)."""
    rng = np.random.default_rng(seed)
    truth = rng.random((n, 3)) < SHARES
    odds = 3 * (rng.normal(size=(n, 3)) + 2.5 * truth - 1.25 + np.array([1.0, 0.5, 1.0]))
    return log_softmax(np.stack([-odds / 2, odds / 2], axis=2).reshape(-1, 2)).reshape(n, 3, 2), truth


def test_sets_and_their_confidence_are_calibrated() -> None:
    """2000 new items: better than raw beyond 3 paired standard errors; confidence within .06 of truth."""
    x, truth = _sample(2300, 1)
    fitted = fit_multilabel_calibrator(x[:300], _sets(truth[:300]), CLASSES)
    found = fitted.predict(x[300:])
    right = (found.chosen == truth[300:]).all(axis=1)
    raw = ((x[300:, :, 1] > x[300:, :, 0]) == truth[300:]).all(axis=1)
    gain = right.astype(float) - raw
    assert gain.mean() > 3 * gain.std() / np.sqrt(2000)
    assert abs(found.confidence.mean() - right.mean()) < 0.06
    assert list(found.labels) == _sets(found.chosen)
    ranks = auroc(found.confidence, right).value
    assert ranks is not None
    assert ranks > 0.65
    assert fitted.quality is not None
    assert fitted.quality.accuracy.value == pytest.approx(right.mean(), abs=4 * 0.5 / np.sqrt(300))
    assert len(fitted.reports) == 3
    assert fitted.platt is not None


def test_travels_as_json() -> None:
    x, truth = _sample(120, 2)
    fitted = fit_multilabel_calibrator(x, _sets(truth), CLASSES, encoder_log_probs_oof=x)
    again = FittedMultiLabelCalibrator.from_params(json.loads(json.dumps(fitted.to_params())))
    ours, theirs = fitted.predict(x, x), again.predict(x, x)
    assert ours.labels == theirs.labels
    assert np.array_equal(ours.confidence, theirs.confidence)
    assert again.needs_encoder == fitted.needs_encoder


def test_no_gold_and_known_shares() -> None:
    x, truth = _sample(2000, 3)
    blind = fit_multilabel_calibrator([], [], CLASSES, batch_log_probs=x)
    told = fit_multilabel_calibrator([], [], CLASSES, batch_log_probs=x, class_prior=tuple(SHARES))
    right = [(f.predict(x).chosen == truth).all(axis=1).mean() for f in (blind, told)]
    assert right[1] > right[0]
    assert told.predict(x).probs.mean(axis=0) == pytest.approx(SHARES, abs=1e-3)
    assert blind.quality is not None
    assert blind.quality.accuracy.value is None


def test_a_class_nobody_has_and_wrong_shapes() -> None:
    x, truth = _sample(60, 4)
    truth[:, 2] = False
    fitted = fit_multilabel_calibrator(x, _sets(truth), CLASSES)
    assert not fitted.predict(x).chosen[:, 2].any()
    with pytest.raises(ConfigError, match="3 classes, 2: no yes"):
        fit_multilabel_calibrator(x[:, :, 0], _sets(truth), CLASSES)
    with pytest.raises(ConfigError, match="joined by"):
        fit_multilabel_calibrator(x, ["spam"] * 60, CLASSES)
    with pytest.raises(ConfigError, match="expected 3 shares"):
        fit_multilabel_calibrator(x, _sets(truth), CLASSES, class_prior=(0.5,))
