"""Intervals for weighted samples, on checked arrays: Korn-Graubard, Fay-Feuer, and hypergeometric."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np

from evaluation._arrays import BoolArray, FloatArray, IntArray

Interval: TypeAlias = tuple[float, float]

_PSEUDO_ITEMS = 2.0
"""Weight of the overall rate in each stratum's variance. A stratum of 40 audits without an error is not one
without errors. (3 % errors, overconfident scores, n = 200: coverage .926 at 0 pseudo-items, .938 at 2.)"""


def binomial_interval(events: float, n: float, level: float) -> Interval:
    """Clopper & Pearson (1934) for counts that need not be whole."""
    from scipy.special import betaincinv

    tail = (1 - level) / 2
    low = 0.0 if events <= 0 else float(betaincinv(events, n - events + 1, tail))
    high = 1.0 if events >= n else float(betaincinv(events + 1, n - events, 1 - tail))
    return low, high


def korn_graubard_interval(
    y: BoolArray, weight: FloatArray, chance: FloatArray, codes: IntArray, level: float
) -> Interval:
    """Clopper-Pearson at the effective sample size p(1-p)/var(p), for 0 < p < 1.

    Korn & Graubard (1998), Survey Methodology 24, 193-201: n* = n_eff (t_{n-1}/t_{n-H})^2. ``weight``
    (n,) sums to 1, ``chance`` (n,) is 1 - pi where the population is finite and 1 otherwise, ``codes`` (n,)
    are strata 0..H-1, each with an audited item. Variants: n_eff may exceed n (a gain from stratification is
    the point of the design), and each stratum's variance is taken around its rate shrunk towards p.
    """
    from scipy.special import stdtrit

    n, n_strata = y.size, int(codes.max()) + 1
    p = float(weight @ y)
    variance = linearised_variance(y, weight, chance, codes)
    tail = (1 + level) / 2
    adjust = (stdtrit(n - 1, tail) / stdtrit(n - n_strata, tail)) ** 2
    effective = p * (1 - p) / variance * float(adjust)
    return binomial_interval(effective * p, effective, level)


def linearised_variance(y: BoolArray, weight: FloatArray, chance: FloatArray, codes: IntArray) -> float:
    """Var of sum(weight y) under Poisson sampling, post-stratified: sum over items of w^2 (1-pi) (y - rate_h)^2.

    Residual form of Deville & Särndal (1992), JASA 87, section 3, with two pseudo-items of the overall rate in each stratum.
    """
    p = float(weight @ y)
    count = np.bincount(codes)
    held = np.bincount(codes, weights=weight)
    mean_weight = held / count
    mean_chance = np.bincount(codes, weights=weight**2 * chance) / np.bincount(codes, weights=weight**2)
    events = np.bincount(codes, weights=weight * y)
    rate = (events + _PSEUDO_ITEMS * mean_weight * p) / (held + _PSEUDO_ITEMS * mean_weight)
    seen = np.bincount(codes, weights=weight**2 * chance * (y - rate[codes]) ** 2)
    pseudo = mean_chance * mean_weight**2 * (p * (1 - rate) ** 2 + (1 - p) * rate**2)
    return float(np.sum((seen + _PSEUDO_ITEMS * pseudo) * count / (count + _PSEUDO_ITEMS)))


def fay_feuer_interval(y: BoolArray, weight: FloatArray, by_chance: BoolArray, level: float) -> Interval:
    """Gamma interval of a weighted sum of rare events; of the rarer outcome, mirrored when that is y = 0.

    Fay & Feuer (1997), Statistics in Medicine 16, 791-801: the upper end adds one event at the largest
    weight, so it holds with no event at all. ``by_chance`` (n,): False for items audited with certainty,
    which add their events exactly.
    """
    from scipy.special import gammaincinv

    rare = y if 2 * int(y.sum()) <= y.size else ~y
    sure = float(weight @ (rare & ~by_chance))
    w = weight[by_chance]
    events = rare[by_chance]
    total, square = float(w @ events), float(w**2 @ events)
    tail = (1 - level) / 2
    low = 0.0
    if total > 0:
        low = square / total * float(gammaincinv(total**2 / square, tail))
    total, square = total + float(w.max()), square + float(w.max()) ** 2
    high = square / total * float(gammaincinv(total**2 / square, 1 - tail))
    low, high = min(1.0, sure + low), min(1.0, sure + high)
    return (low, high) if rare is y else (1 - high, 1 - low)


def hypergeometric_interval(events: int, n: int, population_n: int, level: float) -> Interval:
    """Every share K/N of a population that a simple random sample of n does not reject, both tails (1-level)/2.

    Exact and never under-covering (Konijn 1973; Wright 1991); [value, value] when n = N. A Bernoulli sample
    is a simple random one given its size.
    """
    from scipy.stats import hypergeom

    tail = (1 - level) / 2
    least, most = events, population_n - (n - events)
    low, high = least, most
    while low < high:  # the smallest K for which this many events or more are not too surprising
        middle = (low + high) // 2
        if hypergeom.sf(events - 1, population_n, middle, n) > tail:
            high = middle
        else:
            low = middle + 1
    first = low
    low, high = first, most
    while low < high:  # the largest K for which this few events are not too surprising
        middle = (low + high + 1) // 2
        if hypergeom.cdf(events, population_n, middle, n) > tail:
            low = middle
        else:
            high = middle - 1
    return first / population_n, low / population_n
