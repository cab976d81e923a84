"""The Bayesian bootstrap with Jeffreys' pseudo-items: intervals that hold when errors are few."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from evaluation._arrays import FloatArray, check_level
from evaluation.intervals import Estimate, undefined

METHOD = "jeffreys-bootstrap"
WeightedStatistic = Callable[[FloatArray, FloatArray], FloatArray]
"""(weight (B, n), weight that is wrong (B, n), both >= 0) -> B values."""

_HALF = 0.5
_CELLS_PER_CHUNK = 30_000  # matrices of a quarter megabyte stay in cache: twice as fast as with 4 MB


def jeffreys_bootstrap(
    statistic: WeightedStatistic, wrong: FloatArray, *, seed: int, resamples: int, confidence: float = 0.95
) -> Estimate:
    """The statistic of n items, and the central interval of its Bayesian-bootstrap posterior.

    ``wrong`` (n,) is 0/1 in the order ``statistic`` expects its columns. Each replicate weighs the items by
    Dirichlet weights (Rubin 1981, Annals of Statistics 9) after adding half a right and half a wrong item
    at the place of an item drawn at random: for a share this is Jeffreys' Beta(k + 1/2, n - k + 1/2)
    interval, recommended by Brown, Cai & DasGupta (2001), section 4.3. The percentile bootstrap knows of
    no error that did not happen, and covers AURC in .80 of samples of 100 with 5 % errors; this .96.
    The interval is widened to hold the value. No value for n = 0; one item is enough for a (wide) interval.
    """
    check_level(confidence)
    n = len(wrong)
    if n == 0:
        return undefined(METHOD, 0, "no items")
    value = float(statistic(np.ones((1, n)), wrong[None, :])[0])
    rng = np.random.default_rng(seed)
    chunk = max(1, _CELLS_PER_CHUNK // n)
    parts = [
        statistic(*_weights(rng, wrong, min(chunk, resamples - start)))
        for start in range(0, resamples, chunk)
    ]
    low, high = np.quantile(np.concatenate(parts), [(1 - confidence) / 2, (1 + confidence) / 2])
    return Estimate(value=value, low=min(float(low), value), high=max(float(high), value), n=n, method=METHOD)


def _weights(rng: np.random.Generator, wrong: FloatArray, rows: int) -> tuple[FloatArray, FloatArray]:
    """Unnormalised Dirichlet weights (rows, n) with the pseudo-items' shares, and their wrong part."""
    n = len(wrong)
    weight = rng.standard_exponential((rows, n))
    bad = weight * wrong
    row = np.arange(rows)
    right_at, wrong_at = rng.integers(0, n, (2, rows))
    extra_right, extra_wrong = rng.standard_gamma(_HALF, (2, rows))
    weight[row, right_at] += extra_right
    weight[row, wrong_at] += extra_wrong
    bad[row, wrong_at] += extra_wrong
    return weight, bad
