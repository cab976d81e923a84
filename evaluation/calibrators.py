"""From a small model's label log-probabilities to class probabilities: the two simple ways.

Each richer calibrator extends the simpler: batch offset -> + temperature -> + class biases and
confusions (multinomial) -> + a local text classifier (fused; both in ``stacking``). All are
deterministic, predict a matrix (n, K) float64 of rows that sum to 1 (no items: shape (0, K)), and
travel as plain JSON through ``to_params``/``from_params``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from evaluation._arrays import FloatArray, IntArray
from evaluation._logistic import log_loss, log_softmax
from evaluation.label_log_probs import centred, check_prior, matching_offset, normalised

Params = dict[str, Any]
_MAX_BATCH = 2000  # matching is an average: more items than this do not move it


class ClassCalibrator(Protocol):
    """Class probabilities (n, K) from label log-probabilities (n, K), and its parameters."""

    @property
    def n_classes(self) -> int: ...

    def predict(
        self, log_probs: npt.ArrayLike, encoder_log_probs: npt.ArrayLike | None = None
    ) -> FloatArray: ...

    def to_params(self) -> Params: ...


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class BatchCalibration:
    """Zero-gold calibration: per-class offsets remove the prompt's bias; ``offset`` None = per batch.

    Zhou et al., Batch Calibration (ICLR 2024): subtract each class's mean log-probability over the
    batch and renormalise, which presumes classes of about equal share. With a class prior the
    offset matches it instead (:func:`matching_offset`).
    """

    n_classes: int
    offset: FloatArray | None

    @classmethod
    def fit(
        cls, log_probs: npt.ArrayLike, n_classes: int, *, class_prior: FloatArray | None = None
    ) -> BatchCalibration:
        """Offsets from a batch; without items they are taken from each batch predicted later."""
        x = normalised(log_probs, n_classes)
        x = x[:: max(1, len(x) // _MAX_BATCH)]
        if len(x) == 0:
            return cls(n_classes=n_classes, offset=None)
        if class_prior is None:
            return cls(n_classes=n_classes, offset=_batch_offset(x))
        return cls(n_classes=n_classes, offset=matching_offset(x, check_prior(class_prior, n_classes)))

    def predict(self, log_probs: npt.ArrayLike, encoder_log_probs: npt.ArrayLike | None = None) -> FloatArray:
        x = normalised(log_probs, self.n_classes)
        if len(x) == 0:
            return x
        offset = _batch_offset(x) if self.offset is None else self.offset
        return np.asarray(np.exp(log_softmax(x + offset)))

    def to_params(self) -> Params:
        offset = None if self.offset is None else self.offset.tolist()
        return {"method": "batch", "n_classes": self.n_classes, "offset": offset}

    @classmethod
    def from_params(cls, params: Mapping[str, Any]) -> BatchCalibration:
        offset = params["offset"]
        return cls(
            n_classes=int(params["n_classes"]),
            offset=None if offset is None else np.asarray(offset, dtype=np.float64),
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Temperature:
    """Offsets, then one ``scale`` > 0 (1 / temperature): probabilities = softmax(scale (x + offset)).

    Guo et al. (2017). The scale is penalised towards 1 with the weight of one item; it never
    changes a label or the order within a row.
    """

    n_classes: int
    offset: FloatArray
    scale: float

    @classmethod
    def fit(cls, log_probs: npt.ArrayLike, codes: IntArray, *, offset: FloatArray) -> Temperature:
        """The scale in [0.02, 20] with the least penalised log loss of ``codes`` (n,)."""
        from scipy.optimize import minimize_scalar

        x = normalised(log_probs, len(offset)) + offset

        def objective(log_scale: float) -> float:
            loss = float(log_loss(log_softmax(np.exp(log_scale) * x), codes).sum())
            return loss + 0.5 * log_scale**2

        bounds = (float(np.log(0.02)), float(np.log(20.0)))
        found = minimize_scalar(objective, bounds=bounds, method="bounded", options={"xatol": 1e-3})
        return cls(n_classes=len(offset), offset=offset, scale=float(np.exp(found.x)))

    def logits(self, log_probs: npt.ArrayLike) -> FloatArray:
        """Calibrated logits (n, K), rows centred on zero."""
        return centred(self.scale * (normalised(log_probs, self.n_classes) + self.offset))

    def predict(self, log_probs: npt.ArrayLike, encoder_log_probs: npt.ArrayLike | None = None) -> FloatArray:
        return np.asarray(np.exp(log_softmax(self.logits(log_probs))))

    def to_params(self) -> Params:
        return {"method": "temperature", "offset": self.offset.tolist(), "scale": self.scale}

    @classmethod
    def from_params(cls, params: Mapping[str, Any]) -> Temperature:
        offset = np.asarray(params["offset"], dtype=np.float64)
        return cls(n_classes=len(offset), offset=offset, scale=float(params["scale"]))


def _batch_offset(x: FloatArray) -> FloatArray:
    means = x.mean(axis=0)
    return np.asarray(means.mean() - means)
