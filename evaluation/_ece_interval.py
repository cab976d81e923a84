"""An interval for the binned calibration error that its upward bias does not break."""

from __future__ import annotations

from statistics import NormalDist

import numpy as np

from evaluation._arrays import FloatArray, IntArray

_PSEUDO = 1.0  # right and wrong pseudo-items per bin: a bin without errors is not free of variance


def tied_bins(ordered: FloatArray, bins: int) -> IntArray:
    """First positions of about equal-mass bins of ascending values; equal values share a bin.

    At most ``bins`` of them, fewer when values tie: then a bin takes its tied neighbours in.
    """
    n = len(ordered)
    if n == 0:
        return np.zeros(0, dtype=np.int64)
    cuts = np.cumsum([len(part) for part in np.array_split(np.arange(n), min(bins, n))])[:-1]
    starts = np.searchsorted(ordered, ordered[cuts], side="left")
    return np.unique(np.concatenate([[0], starts])).astype(np.int64)


def binned_error(gap: FloatArray, starts: IntArray) -> FloatArray:
    """Sum over bins of (n_b / n) |mean gap_b| of each row of (B, n) gaps."""
    return np.asarray(np.abs(np.add.reduceat(gap, starts, axis=1)).sum(axis=1) / gap.shape[1])


def ece_limits(
    c: FloatArray, y: FloatArray, starts: IntArray, *, level: float, draws: int, rng: np.random.Generator
) -> tuple[float, float]:
    """Lower and upper limit of the calibration error in these bins, each missed in (1 - level) / 2 at most.

    ``c`` (n,) ascending, ``y`` (n,) 0/1, ``starts`` the bins. With true gaps mu_b and estimates
    mu_b + e_b, e_b independent with variance s_b^2:

    - upper: sum w_b |mu_b + e_b| is in expectation at least sum w_b |mu_b| (Jensen), and its standard
      deviation at most sqrt(sum w_b^2 s_b^2): value + z times that.
    - lower: |sum w_b |mu_b + e_b| - sum w_b |mu_b|| <= sum w_b |e_b| (triangle), whose quantile is
      simulated ``draws`` times. Merging bins never raises the true error but lowers the noise: the best of
      1, about sqrt(B) and B bins counts, their quantiles set jointly.
    """
    n = len(c)
    gap = y - c
    counts = np.diff(np.append(starts, n))
    totals = np.add.reduceat(gap, starts)
    deviation = np.sqrt(_total_variance(c, gap, starts, counts)) / n
    value = float(np.abs(totals).sum() / n)
    z = NormalDist().inv_cdf((1 + level) / 2)
    high = value + z * float(np.sqrt((deviation**2).sum()))
    noise = rng.standard_normal((draws, len(starts))) * deviation
    groupings = [
        np.unique(np.linspace(0, len(starts), k, endpoint=False).astype(int)) for k in _levels(starts)
    ]
    spread = np.stack([np.abs(np.add.reduceat(noise, g, axis=1)).sum(axis=1) for g in groupings])
    found = np.array([np.abs(np.add.reduceat(totals, g)).sum() / n for g in groupings])
    margins = _joint_quantiles(spread, (1 + level) / 2)
    low = float(np.max(found - margins))
    return max(0.0, low), min(1.0, high)


def _total_variance(c: FloatArray, gap: FloatArray, starts: IntArray, counts: IntArray) -> FloatArray:
    """Variance of each bin's summed gap, a right and a wrong pseudo-item at its mean confidence added."""
    middle = np.add.reduceat(c, starts) / counts
    mass = counts + 2 * _PSEUDO
    mean = (np.add.reduceat(gap, starts) + _PSEUDO * (1 - 2 * middle)) / mass
    square = np.add.reduceat(gap**2, starts) + _PSEUDO * ((1 - middle) ** 2 + middle**2)
    return np.asarray(counts * np.maximum(0.0, square / mass - mean**2))


def _levels(starts: IntArray) -> list[int]:
    return sorted({1, max(1, round(len(starts) ** 0.5)), len(starts)})


def _joint_quantiles(spread: FloatArray, probability: float) -> FloatArray:
    """Limits (L,) that all rows of (L, draws) keep together with this probability, equal share each."""
    draws = spread.shape[1]
    ordered = np.sort(spread, axis=1)
    ranks = spread.argsort(axis=1).argsort(axis=1)
    worst = np.sort(ranks.max(axis=0))
    at = int(worst[min(draws - 1, int(np.ceil(probability * draws)))])
    return np.asarray(ordered[:, at])
