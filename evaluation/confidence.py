"""How true confidence is as a probability of being right: calibration error and Brier score.

``confidence`` (n,) are calibrated probabilities in [0, 1], ``correct`` (n,) says whether each label
was right. NaN raises ConfigError; what is undefined is None with a reason, never 0 or 1.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from evaluation._arrays import FloatArray, IntArray, check_level, confidence_pair
from evaluation._ece_interval import binned_error, ece_limits, tied_bins
from evaluation._jeffreys_bootstrap import jeffreys_bootstrap
from evaluation.intervals import Estimate, undefined

ECE_METHOD = "ece-limits"
MAX_BINS = 15
_ITEMS_PER_BIN = 20
_CELLS_PER_CHUNK = 200_000


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
    resamples: int = 2000,
    level: float = 0.95,
) -> CalibrationError:
    """Expected calibration error over equal-mass bins, with limits, and its bias at this sample size.

    ECE = sum over bins of (n_b / n) |accuracy_b - mean confidence_b|: Naeini et al. (2015), with
    equal-mass bins as Nixon et al. (2019) advise. Default bins: one per 20 items, 1 to 15; equal
    confidences share a bin, so the order of items does not matter. The value is biased upwards
    (Roelofs et al. 2022), which is why no bootstrap is used: its interval misses a calibrated score
    always. The limits are :func:`evaluation._ece_interval.ece_limits`, conservative (lower from ``resamples`` draws of
    noise), and speak of the error *between these bins*: what cancels inside a bin (Kumar, Liang & Ma 2019) stays unseen.
    """
    check_level(level)
    c, y = confidence_pair(confidence, correct)
    n = len(c)
    if n == 0:
        return CalibrationError(
            estimate=undefined(ECE_METHOD, 0, "no items"), bins=0, floor=None, floor_p95=None, note="no items"
        )
    order = np.argsort(c, kind="stable")
    c, y = c[order], y[order]
    starts = tied_bins(c, bins or default_bins(n))
    value = float(binned_error((y - c)[None, :], starts)[0])
    rng = np.random.default_rng([seed, 1])
    low, high = ece_limits(c, y, starts, level=level, draws=resamples, rng=rng)
    chance = _chance(c, starts, rng)
    floor, p95 = float(chance.mean()), float(np.quantile(chance, 0.95))
    verdict = "more than" if value > p95 else "no more than"
    return CalibrationError(
        estimate=Estimate(value=value, low=low, high=high, n=n, method=ECE_METHOD),
        bins=len(starts),
        floor=floor,
        floor_p95=p95,
        note=f"{len(starts)} equal-mass bins of {n} items; a perfectly calibrated score would show"
        f" {floor:.3f} here (up to {p95:.3f}), so this is {verdict} chance; ECE is biased upwards",
    )


def _chance(c: FloatArray, starts: IntArray, rng: np.random.Generator) -> FloatArray:
    """ECE in these bins (rounds,) if every confidence (n,) were exactly true."""
    rounds = max(50, min(500, 2_000_000 // len(c)))
    chunk = max(1, _CELLS_PER_CHUNK // len(c))
    parts = [
        binned_error((rng.random((min(chunk, rounds - done), len(c))) < c) - c, starts)
        for done in range(0, rounds, chunk)
    ]
    return np.concatenate(parts)


def brier(confidence: npt.ArrayLike, correct: npt.ArrayLike, *, seed: int, resamples: int = 1000) -> Estimate:
    """The mean squared distance of confidence from being right, 0 (best) to 1.

    Brier (1950), for the event "the label is right". Interval: Bayesian bootstrap with Jeffreys' pseudo-items
    (:func:`evaluation._jeffreys_bootstrap.jeffreys_bootstrap`); for confidences of 0 and 1 only it is Jeffreys'
    interval of the error share. None for no items.
    """
    c, y = confidence_pair(confidence, correct)
    if_right, more_if_wrong = (1 - c) ** 2, c**2 - (1 - c) ** 2

    def statistic(weight: FloatArray, wrong: FloatArray) -> FloatArray:
        return np.asarray((weight @ if_right + wrong @ more_if_wrong) / weight.sum(axis=1))

    return jeffreys_bootstrap(statistic, 1.0 - y, seed=seed, resamples=resamples)
