"""The error rate behind audited items, with the interval that its sampling design supports."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from evaluation._arrays import BoolArray, FloatArray, IntArray, as_bools, as_floats, check_level, same_length
from evaluation._design_intervals import (
    Interval,
    fay_feuer_interval,
    hypergeometric_interval,
    korn_graubard_interval,
)
from evaluation.intervals import Estimate, clopper_pearson, undefined, wilson
from labelproof.spec.errors import ConfigError

WILSON_FROM = 20
"""Wilson from this many errors and this many correct items on; Clopper-Pearson below. Exact calculation:
coverage of the pair at 95 % is at least .937 for every rate and n = 20..1000; of Wilson alone down to .838."""
GAMMA_BELOW = 3
"""Fewer weighted errors than this: Fay-Feuer. Korn-Graubard alone fell to .900 there (see _design_intervals)."""
_LEAST_PER_STRATUM = 2


def error_rate(
    wrong: npt.ArrayLike,
    inclusion_prob: npt.ArrayLike,
    *,
    stratum: npt.ArrayLike | None = None,
    population_n: int | None = None,
    stratum_sizes: npt.ArrayLike | None = None,
    confidence: float = 0.95,
) -> Estimate:
    """The share of wrong items in the population that the audited items (n,) were drawn from.

    ``wrong`` (n,) what the audit found, ``inclusion_prob`` (n,) in (0, 1] as stored at routing.
    ``stratum`` (n,) codes 0..H-1 in order of confidence with ``stratum_sizes`` (H,) population counts:
    the estimate is post-stratified, sum of W_h x rate_h, which also corrects that independent draws give
    random sample sizes. A stratum with fewer than two audited items is joined with its neighbour.

    Equal probabilities without strata are a simple random sample: Wilson, Clopper-Pearson below 20 errors
    or 20 correct items, and the exact hypergeometric interval when ``population_n`` is known. Otherwise
    Korn-Graubard (1998), or Fay-Feuer (1997) when fewer than three errors were found. ``population_n``
    or ``stratum_sizes`` make it a statement about those items; without them, about their source.
    No value for n = 0.
    """
    check_level(confidence)
    y, pi = as_bools(wrong, "wrong"), check_inclusion(inclusion_prob)
    same_length(wrong=y, inclusion_prob=pi)
    if (stratum is None) != (stratum_sizes is None):
        raise ConfigError(
            "expected stratum and stratum_sizes together, found one of them",
            hint="count the population items of each stratum: the audited ones do not tell",
        )
    if stratum is None or stratum_sizes is None:
        if population_n is not None and population_n < y.size:
            raise ConfigError(f"population_n: expected at least {y.size} audited items, found {population_n}")
        if y.size == 0:
            return undefined("none", 0, "no audited items")
        if np.ptp(pi) == 0:
            return _simple_random(y, population_n, confidence)
        sizes = None if population_n is None else np.array([population_n], dtype=np.float64)
        return _weighted(y, pi, np.zeros(y.size, dtype=np.int64), sizes, confidence, joined=False)
    codes, sizes = _check_strata(stratum, stratum_sizes, population_n, y.size)
    if y.size == 0:
        return undefined("none", 0, "no audited items")
    codes, sizes, joined = join_thin_strata(codes, sizes)
    return _weighted(y, pi, codes, sizes, confidence, joined=joined)


def correct_rate(
    wrong: npt.ArrayLike,
    inclusion_prob: npt.ArrayLike,
    *,
    stratum: npt.ArrayLike | None = None,
    population_n: int | None = None,
    stratum_sizes: npt.ArrayLike | None = None,
    confidence: float = 0.95,
) -> Estimate:
    """The share of right items: 1 - :func:`error_rate`, its interval mirrored."""
    return complement(
        error_rate(
            wrong,
            inclusion_prob,
            stratum=stratum,
            population_n=population_n,
            stratum_sizes=stratum_sizes,
            confidence=confidence,
        )
    )


def complement(estimate: Estimate) -> Estimate:
    """The Estimate of 1 - p."""
    if estimate.value is None:
        return estimate
    low, high = estimate.low, estimate.high
    return replace(
        estimate,
        value=1 - estimate.value,
        low=None if high is None else 1 - high,
        high=None if low is None else 1 - low,
    )


def check_inclusion(inclusion_prob: npt.ArrayLike, name: str = "inclusion_prob") -> FloatArray:
    """Inclusion probabilities in (0, 1]; zero is refused: an item that could not be drawn was not."""
    pi = as_floats(inclusion_prob, name)
    bad = np.flatnonzero((pi <= 0) | (pi > 1))
    if bad.size:
        first = int(bad[0])
        raise ConfigError(
            f"{name}: expected values in (0, 1], found {pi[first]:g} at index {first}",
            hint="pass the probability stored with each decision when it was routed",
        )
    return pi


def _simple_random(y: BoolArray, population_n: int | None, level: float) -> Estimate:
    errors, n = int(y.sum()), y.size
    if population_n is not None:
        low, high = hypergeometric_interval(errors, n, population_n, level)
        method = "census" if n == population_n else "hypergeometric"
        return Estimate(value=errors / n, low=low, high=high, n=n, method=method)
    interval = wilson if min(errors, n - errors) >= WILSON_FROM else clopper_pearson
    return interval(errors, n, confidence=level)


def _check_strata(
    stratum: npt.ArrayLike, stratum_sizes: npt.ArrayLike, population_n: int | None, n: int
) -> tuple[IntArray, FloatArray]:
    """Codes (n,) and population counts (H,) that fit each other."""
    sizes, numbers = as_floats(stratum_sizes, "stratum_sizes"), as_floats(stratum, "stratum")
    if numbers.size != n:
        raise ConfigError(f"stratum: expected {n} codes, one per audited item, found {numbers.size}")
    if (sizes < 0).any() or (sizes != np.round(sizes)).any() or sizes.sum() == 0:
        raise ConfigError(f"stratum_sizes: expected item counts, found {sizes.tolist()}")
    if population_n is not None and population_n != sizes.sum():
        raise ConfigError(
            f"population_n: expected the {sizes.sum():g} items of all strata, found {population_n}"
        )
    outside = np.flatnonzero((numbers < 0) | (numbers >= sizes.size) | (numbers != np.round(numbers)))
    if outside.size:
        first = int(outside[0])
        raise ConfigError(
            f"stratum: expected codes 0..{sizes.size - 1}, found {numbers[first]:g} at index {first}"
        )
    codes = numbers.astype(np.int64)
    counts = np.bincount(codes, minlength=sizes.size)
    if (counts > sizes).any():
        h = int(np.flatnonzero(counts > sizes)[0])
        raise ConfigError(
            f"stratum {h}: expected at most its {sizes[h]:g} items audited, found {counts[h]}",
            hint="pass the whole population's counts, and each audited item once",
        )
    return codes, sizes


def join_thin_strata(codes: IntArray, sizes: FloatArray) -> tuple[IntArray, FloatArray, bool]:
    """Join neighbours until each stratum has two audited items: (codes, sizes, whether any was joined)."""
    counts = np.bincount(codes, minlength=sizes.size)
    group = np.zeros(sizes.size, dtype=np.int64)
    held = current = 0
    for h in range(sizes.size):
        if held >= _LEAST_PER_STRATUM:
            current, held = current + 1, 0
        group[h] = current
        held += int(counts[h])
    if held < _LEAST_PER_STRATUM and current > 0:
        group[group == current] = current - 1
    joined = bool((counts[sizes > 0] < _LEAST_PER_STRATUM).any()) and sizes.size > 1
    return group[codes], np.bincount(group, weights=sizes).astype(np.float64), joined


@dataclass(frozen=True, slots=True, kw_only=True)
class _Design:
    """Weights that sum to 1 over the audited items, and each item's share of variance left to chance."""

    weight: FloatArray
    chance: FloatArray


def _weighted(
    y: BoolArray, pi: FloatArray, codes: IntArray, sizes: FloatArray | None, level: float, *, joined: bool
) -> Estimate:
    """Hajek within strata, strata weighted by their known sizes."""
    n_strata = 1 if sizes is None else sizes.size
    total = np.bincount(codes, weights=1 / pi, minlength=n_strata)
    share = np.ones(1) if sizes is None else sizes / sizes.sum()
    design = _Design(
        weight=(share / total)[codes] / pi,
        chance=np.ones(y.size) if sizes is None else _left_to_chance(codes, pi, sizes),
    )
    value = min(1.0, max(0.0, float(design.weight @ y)))
    errors = int(y.sum())
    few = min(errors, y.size - errors) < GAMMA_BELOW
    if y.size == 1 and sizes is None:
        return replace(clopper_pearson(errors, 1, confidence=level), value=value)
    if not design.chance.any():
        return Estimate(value=value, low=value, high=value, n=y.size, method="census")
    if few:
        interval, method = fay_feuer_interval(y, design.weight, design.chance > 0, level), "fay-feuer"
    else:
        interval = korn_graubard_interval(y, design.weight, design.chance, codes, level)
        method = "korn-graubard"
    low, high = _within_what_was_seen(interval, errors, y.size, sizes)
    reason = "strata with fewer than two audited items were joined with their neighbours" if joined else None
    return Estimate(
        value=value, low=min(low, value), high=max(high, value), n=y.size, method=method, reason=reason
    )


def _left_to_chance(codes: IntArray, pi: FloatArray, sizes: FloatArray) -> FloatArray:
    """1 - pi per item: what is always audited adds no sampling error; nor does a stratum audited in full."""
    counts = np.bincount(codes, minlength=sizes.size)
    full = counts == sizes
    return np.where(full[codes], 0.0, 1.0 - pi)


def _within_what_was_seen(interval: Interval, errors: int, n: int, sizes: FloatArray | None) -> Interval:
    """Of N items at least the errors found are wrong, and at least the correct ones found are right."""
    low, high = interval
    if sizes is None:
        return max(0.0, low), min(1.0, high)
    population = float(sizes.sum())
    return max(errors / population, low), min(1 - (n - errors) / population, high)
