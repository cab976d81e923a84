"""From label log-probabilities to class probabilities, the two learned ways: multinomial and fused."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from evaluation._arrays import FloatArray, IntArray
from evaluation._logistic import BlockSoftmax, fit_block_softmax
from evaluation.calibrators import BatchCalibration, ClassCalibrator, Params, Temperature
from evaluation.label_log_probs import centred, normalised
from labelproof.spec.errors import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MultinomialLogistic:
    """Softmax regression on the temperature-calibrated log-probabilities, shrunk towards them.

    Ridge with the identity as its prior mean: class biases, a common scale and, unless
    ``cross_penalty`` is None, confusions between classes. A class without calibration items keeps
    a small probability, because its bias is only ever pulled by the penalty.
    """

    base: Temperature
    weights: BlockSoftmax
    cross_penalty: float | None

    @property
    def n_classes(self) -> int:
        return self.base.n_classes

    @classmethod
    def fit(
        cls,
        log_probs: npt.ArrayLike,
        codes: IntArray,
        *,
        base: Temperature,
        cross_penalty: float | None,
    ) -> MultinomialLogistic:
        """The ridge fit on calibration items; ``cross_penalty`` counts in items (large = shrink)."""
        weights = fit_block_softmax(
            base.logits(log_probs)[None],
            codes,
            prior_bias=np.zeros(base.n_classes),
            prior_scale=np.ones(1),
            cross_penalty=cross_penalty,
        )
        return cls(base=base, weights=weights, cross_penalty=cross_penalty)

    def predict(self, log_probs: npt.ArrayLike, encoder_log_probs: npt.ArrayLike | None = None) -> FloatArray:
        return np.asarray(np.exp(self.weights.log_probs(self.base.logits(log_probs)[None])))

    def to_params(self) -> Params:
        return {
            "method": "multinomial",
            "base": self.base.to_params(),
            "weights": _weights_to_params(self.weights),
            "cross_penalty": self.cross_penalty,
        }

    @classmethod
    def from_params(cls, params: Mapping[str, Any]) -> MultinomialLogistic:
        return cls(
            base=Temperature.from_params(params["base"]),
            weights=_weights_from_params(params["weights"]),
            cross_penalty=params["cross_penalty"],
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Fused:
    """Multinomial logistic on the model's and a local text classifier's class log-probabilities.

    Stacking (Wolpert 1992): the classifier's scores of calibration items must be out-of-fold, or
    it would be trusted for what it has memorised. The prior gives both voters half the weight.
    """

    base: Temperature
    weights: BlockSoftmax
    cross_penalty: float | None

    @property
    def n_classes(self) -> int:
        return self.base.n_classes

    @classmethod
    def fit(
        cls,
        log_probs: npt.ArrayLike,
        encoder_log_probs_oof: npt.ArrayLike,
        codes: IntArray,
        *,
        base: Temperature,
        cross_penalty: float | None,
    ) -> Fused:
        """The ridge fit on calibration items, two blocks of K features."""
        weights = fit_block_softmax(
            _blocks(base, log_probs, encoder_log_probs_oof),
            codes,
            prior_bias=np.zeros(base.n_classes),
            prior_scale=np.full(2, 0.5),
            cross_penalty=cross_penalty,
        )
        return cls(base=base, weights=weights, cross_penalty=cross_penalty)

    def predict(self, log_probs: npt.ArrayLike, encoder_log_probs: npt.ArrayLike | None = None) -> FloatArray:
        if encoder_log_probs is None:
            raise ConfigError(
                "encoder_log_probs: this calibrator fuses the model with a text classifier;"
                " expected its class log-probabilities, found none",
                hint="pass TextClassifier.log_probs(embeddings) of the same items",
            )
        blocks = _blocks(self.base, log_probs, encoder_log_probs)
        return np.asarray(np.exp(self.weights.log_probs(blocks)))

    def to_params(self) -> Params:
        return {
            "method": "fused",
            "base": self.base.to_params(),
            "weights": _weights_to_params(self.weights),
            "cross_penalty": self.cross_penalty,
        }

    @classmethod
    def from_params(cls, params: Mapping[str, Any]) -> Fused:
        return cls(
            base=Temperature.from_params(params["base"]),
            weights=_weights_from_params(params["weights"]),
            cross_penalty=params["cross_penalty"],
        )


def class_calibrator_from_params(params: Mapping[str, Any]) -> ClassCalibrator:
    """The calibrator whose ``to_params`` gave ``params``; ConfigError for an unknown method."""
    method = params.get("method")
    if method == "batch":
        return BatchCalibration.from_params(params)
    if method == "temperature":
        return Temperature.from_params(params)
    if method == "multinomial":
        return MultinomialLogistic.from_params(params)
    if method == "fused":
        return Fused.from_params(params)
    raise ConfigError(
        f"calibrator method: expected batch, temperature, multinomial or fused, found {method!r}"
    )


def _blocks(base: Temperature, log_probs: npt.ArrayLike, encoder_log_probs: npt.ArrayLike) -> FloatArray:
    """Both voters' centred log-probabilities (2, n, K)."""
    model = base.logits(log_probs)
    encoder = centred(normalised(encoder_log_probs, base.n_classes, "encoder_log_probs"))
    if model.shape != encoder.shape:
        raise ConfigError(
            f"expected encoder_log_probs for the same items, found shapes {model.shape} and {encoder.shape}"
        )
    return np.stack([model, encoder])


def _weights_to_params(weights: BlockSoftmax) -> Params:
    return {
        "bias": weights.bias.tolist(),
        "scale": weights.scale.tolist(),
        "cross": weights.cross.tolist(),
    }


def _weights_from_params(params: Mapping[str, Any]) -> BlockSoftmax:
    return BlockSoftmax(
        bias=np.asarray(params["bias"], dtype=np.float64),
        scale=np.asarray(params["scale"], dtype=np.float64),
        cross=np.asarray(params["cross"], dtype=np.float64),
    )
