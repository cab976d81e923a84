"""How true confidence is as a probability of being right: calibration error and Brier score.

``confidence`` (n,) are calibrated probabilities in [0, 1], ``correct`` (n,) says whether each label
was right. NaN raises ConfigError; what is undefined is None with a reason, never 0 or 1.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from evaluation._arrays import FloatArray, IntArray, confidence_pair
from evaluation.intervals import Estimate, bootstrap, undefined

MAX_BINS = 15
_ITEMS_PER_BIN = 20


def default_bins(n: int) -> int:
    """How many equal-mass bins n items carry: one per 20 items, 1 to 15, never more than items."""
    return min(n, max(1, min(MAX_BINS, n // _ITEMS_PER_BIN)))


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibrationError:
    """ECE with what a perfectly calibrated score would show on as many items.

    ``bins`` equal-mass bins; ``floor`` and ``floor_p95`` are the mean and 95th percentile of the
    ECE if every confidence were exactly true (the bias of ECE at this n, by simulation); ``note``
    says in words how to read the value against them.
    """

    estimate: Estimate
    bins: int
    floor: float | None
    floor_p95: float | None
    note: str


def calibration_error(
    confidence: npt.ArrayLike,
    correct: npt.ArrayLike,
    *,
    seed: int,
    bins: int | None = None,
    resamples: int = 500,
    level: float = 0.95,
) -> CalibrationError:
    """Expected calibration error over equal-mass bins, and its bias at this sample size.

    ECE = sum over bins of (n_b / n) |accuracy_b - mean confidence_b|: Naeini et al. (2015), with
    equal-mass bins as Nixon et al. (2019) advise; biased upwards in small samples (Roelofs et al.
    2022). Default bins: one per 20 items, 1 to 15. Percentile bootstrap interval.
    """
    c, y = confidence_pair(confidence, correct)
    n = len(c)
    number = min(n, bins or default_bins(n))
    if n == 0:
        return CalibrationError(
            estimate=undefined("bootstrap-percentile", 0, "no items"),
            bins=number,
            floor=None,
            floor_p95=None,
            note="no items",
        )

    def statistic(index: IntArray) -> FloatArray:
        order = np.argsort(c[index], axis=1, kind="stable")
        picked = np.take_along_axis(index, order, axis=1)
        return _binned_gap(c[picked], y[picked].astype(np.float64), number)

    ece = _including(bootstrap(statistic, n, seed=seed, resamples=resamples, confidence=level))
    ordered = np.sort(c)
    rng = np.random.default_rng([seed, 1])
    rounds = max(50, min(500, 2_000_000 // n))
    chance = np.concatenate(
        [
            _binned_gap(ordered[None, :], (rng.random((1, n)) < ordered).astype(np.float64), number)
            for _ in range(rounds)
        ]
    )
    floor, p95 = float(chance.mean()), float(np.quantile(chance, 0.95))
    verdict = "more than" if (ece.value or 0.0) > p95 else "no more than"
    return CalibrationError(
        estimate=ece,
        bins=number,
        floor=floor,
        floor_p95=p95,
        note=f"{number} equal-mass bins of {n} items; a perfectly calibrated score would show"
        f" {floor:.3f} here (up to {p95:.3f}), so this is {verdict} chance; ECE is biased upwards",
    )


def _including(estimate: Estimate) -> Estimate:
    """The interval widened to include the value: resampling adds noise, which ECE counts as error, so that all
    replicates may lie above the ECE of the sample itself.
    """
    value, low, high = estimate.value, estimate.low, estimate.high
    if value is None or low is None or high is None:
        return estimate
    return replace(estimate, low=min(low, value), high=max(high, value))


def brier(confidence: npt.ArrayLike, correct: npt.ArrayLike, *, seed: int, resamples: int = 1000) -> Estimate:
    """The mean squared distance of confidence from being right, 0 (best) to 1 (Brier 1950)."""
    c, y = confidence_pair(confidence, correct)
    loss = (c - y) ** 2
    return bootstrap(lambda index: loss[index].mean(axis=1), len(c), seed=seed, resamples=resamples)


def _binned_gap(c: FloatArray, y: FloatArray, bins: int) -> FloatArray:
    """ECE of each row of (B, n) confidences sorted ascending."""
    n = c.shape[1]
    starts = np.array([len(part) for part in np.array_split(np.arange(n), bins)])
    edges = np.concatenate([[0], np.cumsum(starts)[:-1]])
    return np.asarray(np.abs(np.add.reduceat(y - c, edges, axis=1)).sum(axis=1) / n)
