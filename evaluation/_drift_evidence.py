"""Evidence that a day's scores have moved since some day, whatever their usual level and spread.

For each possible day of change: the Bayes factor of the two-sample t-test (Gönen, Johnson, Lu & Westfall 2005,
The American Statistician 59, eq. 3), a mixture over three sizes of change. Its prior on level and spread is the right-Haar
measure, so it is a test martingale for every normal distribution of days (Pérez-Ortiz, Lardy, de Heide & Grünwald 2024,
Annals of Statistics 52; Grünwald, de Heide & Koolen 2024, JRSS B 86, section 4.3).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from evaluation._arrays import BoolArray, FloatArray, IntArray
from evaluation._e_processes import log_mean_exp

SIZES = (1.0, 10.0, 100.0)
"""Prior variances of the change, in squared day-to-day standard deviations: a small, a clear and a gross one."""
WEEKEND_BATCHES = 4
"""Weekends get a level of their own once the reference has so many weekend days and so many others."""
_TINY = 1e-300


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class DayScores:
    """What each batch (day) says about each of K events, on a scale on which days vary about normally.

    ``x`` (D, K) scores, ``v`` (D, K) the part of their variance that comes from having seen only so many items: the
    spread of days is never taken to be smaller. ``names`` (K,) of the events. ``upward``: only a rise counts.
    """

    x: FloatArray
    v: FloatArray
    names: tuple[str, ...]
    upward: bool = False


class Scorer(Protocol):
    """Scores all batches; what it compares them with may depend on the batches in ``reference`` alone."""

    def __call__(self, reference: IntArray) -> DayScores:
        """Return the scores of every batch (D, K); positions of ``reference`` are in the order of time."""
        ...


def split_log_evidence(scores: DayScores, rows: IntArray, weekend: BoolArray, n_before: int) -> FloatArray:
    """Log e-values (J, K) that scores moved at row ``n_before``, ``n_before`` + 1, ..., the last one.

    ``rows`` (n,) positions of batches in the order of time, of which the first ``n_before`` are known to be from
    before; ``weekend`` (D,). Means over sizes of change, one column an event.
    """
    x, v = scores.x[rows], scores.v[rows]
    early, off = weekend[rows[:n_before]], weekend[rows]
    adjust = min(int(early.sum()), int((~early).sum())) >= WEEKEND_BATCHES
    groups = [off, ~off] if adjust else [np.ones(len(rows), dtype=np.bool_)]
    t2, n_effective = _t_squared(x, v, groups, np.arange(n_before, len(rows)), upward=scores.upward)
    freedom = len(rows) - len(groups) - 1
    spread = 1 + n_effective[:, None] * np.array(SIZES)
    log_e = 0.5 * (freedom + 1) * (
        np.log1p(t2[:, :, None] / freedom) - np.log1p(t2[:, :, None] / freedom / spread[:, None, :])
    ) - 0.5 * np.log(spread[:, None, :])
    return log_mean_exp(log_e)


def _t_squared(
    x: FloatArray, v: FloatArray, groups: list[BoolArray], splits: IntArray, *, upward: bool
) -> tuple[FloatArray, FloatArray]:
    """Squared t of after minus before within groups (J, K), and the effective number of days (J,).

    The variance of the difference is its estimate, raised where fewer items than usual stand behind it, and never below
    what sampling of items alone gives: both make evidence smaller.
    """
    shape = (len(splits), x.shape[1])
    n_effective, gain, sampling = np.zeros(len(splits)), np.zeros(shape), np.zeros(shape)
    rest = np.zeros(x.shape[1])
    for group in groups:
        n = int(group.sum())
        if n == 0:
            continue
        centred = np.where(group[:, None], x - x[group].mean(axis=0), 0.0)
        rest += (centred**2).sum(axis=0)
        n_before = np.concatenate([[0], np.cumsum(group)])[splits].astype(np.float64)
        share = n_before / n
        below = _cumulated(centred)[splits]
        # Centred within the group, the sum after is minus the sum before.
        gain -= below
        n_effective += n_before * (1 - share)
        own = np.where(group[:, None], v, 0.0)
        known = _cumulated(own)[splits]
        sampling += share[:, None] ** 2 * (own.sum(axis=0) - known) + (1 - share[:, None]) ** 2 * known
    safe = np.maximum(n_effective, _TINY)[:, None]
    difference = gain / safe
    freedom = len(x) - len(groups) - 1
    s2 = np.maximum(rest - gain**2 / safe, 0.0) / freedom
    sampling = sampling / safe**2
    variance = s2 / safe + np.maximum(sampling - v.mean(axis=0) / safe, 0.0)
    variance = np.maximum(np.maximum(variance, sampling), _TINY)
    if upward:
        difference = np.maximum(difference, 0.0)
    t2 = np.where(n_effective[:, None] > 0, difference**2 / variance, 0.0)
    return t2, n_effective


def _cumulated(values: FloatArray) -> FloatArray:
    """Sums (n + 1, K) of the first 0, 1, ..., n rows."""
    return np.vstack([np.zeros((1, values.shape[1])), np.cumsum(values, axis=0)])
