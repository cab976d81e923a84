"""What labels cost in money and time, per item and per correct label."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from evaluation._arrays import FloatArray, IntArray, as_bools, as_floats, same_length
from evaluation.intervals import Estimate, bootstrap, undefined
from labelproof.spec.errors import ConfigError

_METHOD = "bootstrap-percentile"


def score_cost(
    *,
    cost_usd: npt.ArrayLike | None,
    latency_ms: npt.ArrayLike,
    correct: npt.ArrayLike | None,
    seed: int = 0,
    resamples: int = 1000,
) -> dict[str, Estimate]:
    """Cost in USD and latency in milliseconds per item and per correct label, by metric name.

    One entry per item, same order. ``cost_usd`` None: the price is not known, ``correct`` None:
    no gold; what needs them is undefined with that reason. A per-correct-label value divides the
    total over all items, right or wrong, by the number of right labels. Percentile-bootstrap
    intervals over items; quantiles by order statistics. Negative or non-finite values raise
    ConfigError.
    """
    latency = _amounts(latency_ms, "latency_ms")
    n = len(latency)
    right = None
    if correct is not None:
        right = as_bools(correct, "correct").astype(np.float64)
        same_length(latency_ms=latency, correct=right)
    per_item = undefined(_METHOD, n, "the price of at least one call is not known")
    per_correct = per_item
    if cost_usd is not None:
        cost = _amounts(cost_usd, "cost_usd")
        same_length(cost_usd=cost, latency_ms=latency)
        per_item = _mean(cost, seed, resamples)
        per_correct = _per_correct(cost, right, seed, resamples)
    return {
        "cost_usd_per_item": per_item,
        "cost_usd_per_correct": per_correct,
        "latency_ms_mean": _mean(latency, seed, resamples),
        "latency_ms_per_correct": _per_correct(latency, right, seed, resamples),
        "latency_ms_p50": quantile_interval(latency, 0.50),
        "latency_ms_p95": quantile_interval(latency, 0.95),
        "latency_ms_p99": quantile_interval(latency, 0.99),
    }


def _amounts(values: npt.ArrayLike, name: str) -> FloatArray:
    amounts = as_floats(values, name)
    if (amounts < 0).any():
        first = int(np.flatnonzero(amounts < 0)[0])
        raise ConfigError(f"{name}: expected values >= 0, found {amounts[first]} at index {first}")
    return amounts


def quantile_interval(values: npt.ArrayLike, q: float, *, confidence: float = 0.95) -> Estimate:
    """A quantile (the smallest value with at least a share q at or below it) with its interval.

    Distribution-free: the number of items below the true quantile is Binomial(n, q), so two order
    statistics enclose it (David & Nagaraja 2003, section 7.1). No interval when n is too small for
    an upper or lower end; the reason says so.
    """
    from scipy.stats import binom

    x = np.sort(as_floats(values, "values"))
    n = len(x)
    if not 0.0 < q < 1.0:
        raise ConfigError(f"quantile: expected a share in (0, 1), found {q}")
    if n == 0:
        return undefined("order-statistics", 0, "no items")
    value = float(x[max(0, int(np.ceil(q * n)) - 1)])
    tail = (1 - confidence) / 2
    # P(X_(l) > quantile) = P(Bin < l) <= tail and P(X_(u) < quantile) = P(Bin >= u) <= tail.
    lower = int(binom.ppf(tail, n, q))
    upper = int(binom.ppf(1 - tail, n, q)) + 1
    if lower < 1 or upper > n:
        return Estimate(
            value=value,
            low=None,
            high=None,
            n=n,
            method="order-statistics",
            reason=f"{n} items are too few to bound the {q:.0%} quantile on both sides",
        )
    return Estimate(
        value=value,
        low=float(x[lower - 1]),
        high=float(x[upper - 1]),
        n=n,
        method="order-statistics",
    )


def _mean(values: FloatArray, seed: int, resamples: int) -> Estimate:
    found = bootstrap(lambda index: values[index].mean(axis=1), len(values), seed=seed, resamples=resamples)
    return _constant(found)


def _per_correct(values: FloatArray, right: FloatArray | None, seed: int, resamples: int) -> Estimate:
    n = len(values)
    if right is None:
        return undefined(_METHOD, n, "no gold: which labels are right is unknown")
    if n and not right.any():
        return undefined(_METHOD, n, "no label is right")
    known = right

    def ratio(index: IntArray) -> FloatArray:
        hits = known[index].sum(axis=1)
        total = values[index].sum(axis=1)
        return np.asarray(
            np.divide(total, hits, out=np.full_like(total, np.nan), where=hits > 0), dtype=np.float64
        )

    return _constant(bootstrap(ratio, n, seed=seed, resamples=resamples))


def _constant(found: Estimate) -> Estimate:
    """The estimate; equal costs for every item are a fact about a price, so the interval is the point."""
    if found.value is not None and found.low is None and found.n >= 2:
        return Estimate(value=found.value, low=found.value, high=found.value, n=found.n, method=found.method)
    return found
