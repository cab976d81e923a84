"""Which thresholds a certificate tries, and where: chosen from confidences alone, never from gold labels."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from evaluation._arrays import FloatArray, IntArray, as_probabilities
from evaluation._certificate_evidence import check_rates, p_values
from labelproof.spec.errors import ConfigError

START_COVERAGE = 0.25
_SPREAD = 2.0  # standard deviations by which a draw may fall short of its expected accepted gold


def fewest_accepted(alpha: float, delta: float) -> int:
    """Accepted gold items that certify when none is wrong: smallest n with (1 - alpha)^n <= delta."""
    return math.ceil(math.log(delta) / math.log1p(-alpha) - 1e-9)


def start_coverage(n_gold: float, needed: int) -> float | None:
    """Smallest coverage at which ``n_gold`` random items almost surely accept ``needed``; None if too few.

    "Almost surely" is two standard deviations: the root q of n q - 2 sqrt(n q (1 - q)) = needed, which is the upper
    Wilson limit of needed/n at z = 2. For large n it is (1 + sqrt(1 + needed))^2 / n: 77/n for the 59 of
    :func:`fewest_accepted` at alpha = delta = .05.
    """
    if n_gold < needed:
        return None
    z = _SPREAD
    centre = needed + z * z / 2
    half = z * math.sqrt(max(0.0, needed * (1 - needed / n_gold) + z * z / 4))
    return min(1.0, (centre + half) / (n_gold + z * z))


def threshold_grid(
    pool_confidence: npt.ArrayLike,
    *,
    n_gold: int,
    levels: int = 20,
    region_low: float | None = None,
    alpha: float = 0.05,
    delta: float = 0.05,
    pool_is_complete: bool = False,
) -> FloatArray:
    """Candidate thresholds, strict to lenient (descending, distinct): values the pool's confidences take.

    Continuous scores: at most ``levels`` quantiles, evenly spaced in coverage from max(.25, :func:`start_coverage`) to
    1; a tie is accepted whole, so a threshold's coverage is at least its target and thresholds may coincide.
    Coarse scores (at most ``levels`` distinct values): every value whose coverage reaches start_coverage, without
    the .25; the top level itself as soon as it can hold enough gold. Fewer gold items than could certify anywhere:
    the grid starts at .25 (coarse: at the top) all the same, to show the curve and where gold is missing.

    ``region_low``: only items with confidence >= it exist here; coverage is relative to them, and ``n_gold`` counts
    gold drawn among them. ``pool_is_complete``: the exact finite-pool test will be used, which needs less gold when
    the pool is small. Empty when the pool (or region) is empty. Depends on no gold label or gold confidence.
    """
    check_rates(alpha, delta)
    if levels < 1 or n_gold < 0:
        raise ConfigError(f"expected levels >= 1 and n_gold >= 0, found levels {levels}, n_gold {n_gold}")
    pool = as_probabilities(pool_confidence, "pool_confidence")
    if region_low is not None:
        pool = pool[pool >= region_low]
    if len(pool) == 0:
        return np.zeros(0)
    ascending = np.sort(pool, kind="stable")
    if pool_is_complete:
        start = _start_in_finite_pool(n_gold, len(pool), alpha, delta)
    else:
        start = start_coverage(n_gold, fewest_accepted(alpha, delta))
    return grid_from(ascending, start, levels)


def grid_from(ascending: FloatArray, start: float | None, levels: int) -> FloatArray:
    """The thresholds of :func:`threshold_grid` for sorted confidences and the coverage that gold allows."""
    n = len(ascending)
    if n == 0:
        return np.zeros(0)
    values: FloatArray = np.unique(ascending)[::-1]
    if len(values) <= levels:
        coverage = (n - np.searchsorted(ascending, values, side="left")) / n
        reached: FloatArray = values[coverage >= (start or 0.0) - 1e-12]
        return reached
    targets = np.linspace(max(START_COVERAGE, start or 0.0), 1.0, levels)
    accepted: IntArray = np.ceil(targets * n - 1e-9).astype(np.int64)
    thresholds: FloatArray = np.unique(ascending[n - np.clip(accepted, 1, n)])[::-1]
    return thresholds


@lru_cache(maxsize=256)
def _start_in_finite_pool(n_gold: int, pool_n: int, alpha: float, delta: float) -> float | None:
    """As :func:`start_coverage` with the hypergeometric test and its smaller spread, by trying all sizes."""
    if n_gold > pool_n:
        raise ConfigError(
            f"n_gold: expected at most the {pool_n} items of the complete pool, found {n_gold}",
            hint="a complete pool holds every item that gold was drawn from; is some gold listed twice?",
        )
    sizes = np.unique(np.linspace(1, pool_n, min(pool_n, 400)).round().astype(np.int64))
    share = sizes / pool_n
    left = (pool_n - n_gold) / max(1, pool_n - 1)
    short = n_gold * share - _SPREAD * np.sqrt(n_gold * share * (1 - share) * left)
    accepted = np.clip(np.floor(short + 1e-9), 0, sizes).astype(np.int64)
    enough = p_values(np.zeros_like(accepted), accepted, alpha, sizes) <= delta
    return float(share[np.argmax(enough)]) if enough.any() else None
