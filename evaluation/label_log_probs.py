"""Label log-probabilities made comparable: checked, floored, normalised over the allowed labels."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from evaluation._arrays import FloatArray
from evaluation._logistic import log_softmax
from labelproof.spec.errors import ConfigError

LOG_FLOOR = math.log(1e-12)
_UNSEEN_AT_MOST = -10.0


def normalised(log_probs: npt.ArrayLike, k: int, name: str = "log_probs") -> FloatArray:
    """Log-probabilities (n, k) that sum to 1 over the labels, none below 1e-12 (before re-summing).

    -inf marks a label the server did not return: it gets one nat less than the least likely
    returned one, at most e^-10 (a top-k list leaves out only what is rarer than its tail). A row
    without any finite entry says nothing and becomes uniform. NaN, +inf and wrong shapes raise
    ConfigError.
    """
    x = np.array(log_probs, dtype=np.float64)
    if x.size == 0:
        x = x.reshape(0, k)
    if x.ndim != 2 or x.shape[1] != k:
        raise ConfigError(f"{name}: expected shape (items, {k} classes), found {x.shape}")
    bad = np.isnan(x) | (x == np.inf)
    if bad.any():
        row = int(np.flatnonzero(bad.any(axis=1))[0])
        raise ConfigError(
            f"{name}: expected log-probabilities (-inf for unseen labels), found"
            f" {int(bad.sum())} NaN or +inf (first in row {row})",
            hint="leave out items the model failed on",
        )
    unseen = np.isneginf(x)
    if unseen.any():
        least = np.where(unseen, np.inf, x).min(axis=1, keepdims=True)
        x = np.where(unseen, np.minimum(least - 1.0, _UNSEEN_AT_MOST), x)
        x[unseen.all(axis=1)] = 0.0
    return log_softmax(np.maximum(log_softmax(x), LOG_FLOOR))


def centred(log_probs: FloatArray) -> FloatArray:
    """Rows shifted to sum to zero: the same softmax, with features that do not share an offset."""
    return np.asarray(log_probs - log_probs.mean(axis=1, keepdims=True))


def check_prior(prior: Sequence[float] | FloatArray, k: int) -> FloatArray:
    """Class shares (k,) that are positive and sum to 1; ConfigError otherwise."""
    shares = np.asarray(prior, dtype=np.float64)
    fine = shares.shape == (k,) and bool(np.all(shares > 0)) and abs(shares.sum() - 1) < 1e-6
    if not fine:
        raise ConfigError(f"class_prior: expected {k} positive shares that sum to 1, found {shares.tolist()}")
    return np.asarray(shares / shares.sum())


def matching_offset(log_probs: FloatArray, prior: FloatArray) -> FloatArray:
    """The class offsets (K,) under which the batch's mean class probabilities equal ``prior``.

    Prior matching, Liusie, Manakul & Gales (2023), eq. 5, solved by iterative scaling from the
    batch-calibration start; offsets are centred to sum to zero.
    """
    offset = np.log(prior) - log_probs.mean(axis=0)
    for _ in range(200):
        shares = np.exp(log_softmax(log_probs + offset)).mean(axis=0)
        step = np.log(prior) - np.log(shares)
        offset = offset + step
        if float(np.abs(step).max()) < 1e-4:
            break
    return np.asarray(offset - offset.mean())
