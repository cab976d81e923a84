"""A number with its uncertainty: proportions (Wilson, Clopper-Pearson) and the bootstrap."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from statistics import NormalDist
from typing import Literal

import numpy as np

from evaluation._arrays import FloatArray, IntArray, check_level
from labelproof.spec.errors import BugError, ConfigError

BootstrapMethod = Literal["percentile", "bca"]
Statistic = Callable[[IntArray], FloatArray]
CountStatistic = Callable[[FloatArray], FloatArray]

_CELLS_PER_CHUNK = 2_000_000  # 16 MB of int64 indices at a time
_JACKKNIFE_GROUPS = 200
_MAX_UNDEFINED_SHARE = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A point value with its interval; what cannot be measured is None and ``reason`` says why.

    ``low``/``high`` are the two-sided interval's ends (both inclusive, both None together), ``n`` the
    number of items (or trials) behind the value, ``method`` how the interval was made.
    """

    value: float | None
    low: float | None
    high: float | None
    n: int
    method: str
    reason: str | None = None

    def __post_init__(self) -> None:
        if (self.low is None) != (self.high is None):
            raise BugError(f"an interval needs both ends or none, found {self.low}, {self.high}")
        for number in (self.value, self.low, self.high):
            if number is not None and not math.isfinite(number):
                raise BugError(f"an estimate is finite or None, found {number}")
        if (self.value is None or self.low is None) and not self.reason:
            raise BugError("an estimate without value or interval needs a reason")


def undefined(method: str, n: int, reason: str) -> Estimate:
    """An Estimate without a value, for the given reason."""
    return Estimate(value=None, low=None, high=None, n=n, method=method, reason=reason)


def wilson(successes: int, n: int, *, confidence: float = 0.95) -> Estimate:
    """A proportion with Wilson's score interval; no value for n = 0.

    Wilson (1927), JASA 22, without continuity correction; recommended by Brown, Cai & DasGupta
    (2001), Statistical Science 16, eq. 4.
    """
    _check_counts(successes, n, confidence)
    if n == 0:
        return undefined("wilson", 0, "no items")
    p = successes / n
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    centre = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    # At the ends the algebra gives exactly 0 or 1; rounding may not.
    low = 0.0 if successes == 0 else max(0.0, centre - half)
    high = 1.0 if successes == n else min(1.0, centre + half)
    return Estimate(value=p, low=low, high=high, n=n, method="wilson")


def clopper_pearson(successes: int, n: int, *, confidence: float = 0.95) -> Estimate:
    """A proportion with the exact (never under-covering) interval; no value for n = 0.

    Clopper & Pearson (1934), Biometrika 26, through beta quantiles.
    """
    from scipy.special import betaincinv

    _check_counts(successes, n, confidence)
    if n == 0:
        return undefined("clopper-pearson", 0, "no items")
    tail = (1 - confidence) / 2
    low = 0.0 if successes == 0 else float(betaincinv(successes, n - successes + 1, tail))
    high = 1.0 if successes == n else float(betaincinv(successes + 1, n - successes, 1 - tail))
    return Estimate(value=successes / n, low=low, high=high, n=n, method="clopper-pearson")


def bootstrap(
    statistic: Statistic,
    n: int,
    *,
    seed: int,
    resamples: int = 1000,
    confidence: float = 0.95,
    method: BootstrapMethod = "percentile",
) -> Estimate:
    """A statistic of n items with an interval from resampling the items, reproducible by seed.

    ``statistic`` maps an index matrix (B, m) of item positions to B values, NaN where undefined.
    Efron (1979) percentile interval, or BCa: Efron (1987), JASA 82, eq. 6.8, with the acceleration
    from a delete-group jackknife (at most 200 groups). No value when the statistic is undefined on
    the sample; no interval when n < 2, when over a tenth of the resamples are undefined, or when
    all resamples agree (then the sample carries no information about its own spread).
    """
    check_level(confidence)
    name = f"bootstrap-{method}"
    if n == 0:
        return undefined(name, 0, "no items")
    point = float(statistic(np.arange(n, dtype=np.int64)[None, :])[0])
    rng = np.random.default_rng(seed)
    chunk = max(1, _CELLS_PER_CHUNK // n)
    parts = [
        statistic(rng.integers(0, n, size=(min(chunk, resamples - start), n)))
        for start in range(0, resamples, chunk)
    ]

    def jackknife() -> tuple[FloatArray, FloatArray]:
        groups = min(n, _JACKKNIFE_GROUPS)
        order = rng.permutation(n)
        values = np.empty(groups)
        for g in range(groups):
            kept = np.delete(order, slice(g * n // groups, (g + 1) * n // groups))
            values[g] = statistic(kept[None, :])[0]
        return values, np.ones(groups)

    return _from_replicates(point, np.concatenate(parts), n, name, confidence, jackknife)


def bootstrap_counts(
    counts: IntArray,
    statistic: CountStatistic,
    *,
    seed: int,
    resamples: int = 1000,
    confidence: float = 0.95,
    method: BootstrapMethod = "percentile",
) -> Estimate:
    """As :func:`bootstrap`, for items that fall into few kinds: ``counts`` (C,) says how many of each.

    Resampling items with replacement is the same as one multinomial draw of the counts, so the cost
    does not grow with n. ``statistic`` maps a count matrix (B, C) to B values, NaN where undefined.
    """
    check_level(confidence)
    name = f"bootstrap-{method}"
    n = int(counts.sum())
    if n == 0:
        return undefined(name, 0, "no items")
    filled = np.flatnonzero(counts)
    weights = counts[filled].astype(np.float64)

    def evaluate(small: FloatArray) -> FloatArray:
        full = np.zeros((len(small), len(counts)))
        full[:, filled] = small
        return statistic(full)

    rng = np.random.default_rng(seed)
    point = float(evaluate(weights[None, :])[0])
    chunk = max(1, _CELLS_PER_CHUNK // len(counts))
    parts = [
        evaluate(rng.multinomial(n, weights / n, size=min(chunk, resamples - start)).astype(np.float64))
        for start in range(0, resamples, chunk)
    ]

    def jackknife() -> tuple[FloatArray, FloatArray]:
        return evaluate(weights[None, :] - np.eye(len(filled))), weights

    return _from_replicates(point, np.concatenate(parts), n, name, confidence, jackknife)


def _from_replicates(
    point: float,
    replicates: FloatArray,
    n: int,
    method: str,
    confidence: float,
    jackknife: Callable[[], tuple[FloatArray, FloatArray]],
) -> Estimate:
    """The Estimate that the point value and its bootstrap replicates support."""
    if math.isnan(point):
        return undefined(method, n, "undefined on this sample")
    known = replicates[~np.isnan(replicates)]
    share = 1 - known.size / replicates.size
    reason = None
    if n < 2:
        reason = "one item shows no spread: no interval"
    elif share > _MAX_UNDEFINED_SHARE:
        reason = f"undefined in {share:.0%} of the resamples: no interval"
    elif np.ptp(known) < 1e-12:
        reason = "every resample gave the same value: no interval"
    if reason is not None:
        return Estimate(value=point, low=None, high=None, n=n, method=method, reason=reason)
    tails = np.array([(1 - confidence) / 2, (1 + confidence) / 2])
    if method == "bootstrap-bca":
        tails = _bca_tails(point, known, tails, *jackknife())
    low, high = np.quantile(known, tails)
    return Estimate(value=point, low=float(low), high=float(high), n=n, method=method)


def _bca_tails(
    point: float, known: FloatArray, tails: FloatArray, left_out: FloatArray, weights: FloatArray
) -> FloatArray:
    """Efron (1987), eq. 6.8: the quantile levels shifted for median bias and acceleration."""
    from scipy.special import ndtr, ndtri

    below = (np.sum(known < point) + 0.5 * np.sum(known == point)) / known.size
    # Half a replicate from either end keeps the bias finite when no replicate lies below the point.
    bias = ndtri(np.clip(below, 0.5 / known.size, 1 - 0.5 / known.size))
    defined = ~np.isnan(left_out)
    values, mass = left_out[defined], weights[defined]
    deviations = np.average(values, weights=mass) - values if values.size else values
    spread = float(np.sum(mass * deviations**2))
    skew = float(np.sum(mass * deviations**3))
    acceleration = skew / (6 * spread**1.5) if spread > 0 else 0.0
    z = ndtri(tails)
    return np.asarray(ndtr(bias + (bias + z) / (1 - acceleration * (bias + z))), dtype=np.float64)


def _check_counts(successes: int, n: int, confidence: float) -> None:
    check_level(confidence)
    if not 0 <= successes <= n:
        raise ConfigError(f"expected 0 <= successes <= n, found successes {successes}, n {n}")
