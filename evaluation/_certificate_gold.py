"""How much more gold a certificate would take, and when no amount of it helps."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np

from evaluation._arrays import FloatArray, IntArray
from evaluation._certificate_evidence import check_rates
from evaluation._certificate_types import GoldNeed
from labelproof.spec.errors import ConfigError

CHANCE = 0.8
_ERRORS_PLANNED = 1000


def gold_needed(*, alpha: float, delta: float, max_errors: int = 5) -> tuple[int, ...]:
    """Accepted gold items with which 0, 1, ..., ``max_errors`` errors still certify: smallest n with p <= delta.

    59, 93, 124, 153, 181, 208 at alpha = delta = .05.
    """
    check_rates(alpha, delta)
    if max_errors < 0:
        raise ConfigError(f"max_errors: expected at least 0, found {max_errors}")
    return tuple(int(n) for n in _needed(alpha, delta, max_errors))


@lru_cache(maxsize=64)
def _needed(alpha: float, delta: float, max_errors: int) -> IntArray:
    from scipy.special import bdtr

    k = np.arange(max_errors + 1, dtype=np.int64)
    low = k + 1  # with at most k trials all of them may be errors: p = 1
    high = np.full_like(k, 2 * math.ceil((max_errors + 1 - 4 * math.log(delta)) / alpha))
    while (low < high).any():
        middle = (low + high) // 2
        certifies = bdtr(k.astype(np.float64), middle, alpha) <= delta
        high = np.where(certifies, middle, high)
        low = np.where(certifies, low, middle + 1)
    return high


def likely_error_rate(n_errors: int, n_accepted: int, alpha: float) -> float:
    """The error rate to plan with: half an error in 1/alpha items is added to what was seen.

    The posterior mean under a prior of mean alpha/2 worth 1/alpha items, so that "none wrong of five" is not taken for
    a rate of zero, and five items with one wrong are already evidence against.
    """
    return (n_errors + 0.5) / (n_accepted + 1 / alpha)


def more_gold(
    n_errors: int,
    n_accepted: int,
    *,
    threshold: float,
    alpha: float,
    delta: float,
    pool_accepted: int,
    pool_n: int,
) -> GoldNeed:
    """The smallest addition of accepted gold that certifies ``threshold`` with chance >= .8 at the likely error rate.

    ``pool_accepted`` of the pool's ``pool_n`` items lie at or above the threshold; more gold than those is never
    asked for. The chance is exact: P(Bin(more, rate) <= errors allowed - errors so far).
    """
    rate = likely_error_rate(n_errors, n_accepted, alpha)
    seen = (
        f"{n_errors} of {n_accepted} gold items at confidence {threshold:.4g} or above are wrong"
        if n_accepted
        else f"there is no gold at confidence {threshold:.4g} or above yet"
    )

    def hopeless(why: str) -> GoldNeed:
        return GoldNeed(
            n_accepted_more=None, confidence_at_least=threshold, n_random_more=None, chance=0.0, why=why
        )

    if rate >= alpha:
        return hopeless(
            f"no amount of gold helps: {seen}, a likely error rate of {rate:.1%}, and {alpha:.1%} is asked for;"
            " improve the strategy or its confidence, or tolerate a higher error rate"
        )
    more, chance = _plan(n_errors, n_accepted, rate, alpha, delta)
    if more is None:
        return hopeless(
            f"no realistic amount of gold helps: {seen}, a likely error rate of {rate:.1%}, too close to the"
            f" {alpha:.1%} asked for to be told apart; improve the strategy or tolerate a higher error rate"
        )
    if more > pool_accepted - n_accepted:
        return hopeless(
            f"the pool is too small: about {more} more gold items at confidence {threshold:.4g} or above would be needed,"
            f" and it has {max(0, pool_accepted - n_accepted)} unlabelled ones there; label those by hand instead"
        )
    return GoldNeed(
        n_accepted_more=more,
        confidence_at_least=threshold,
        n_random_more=math.ceil(more * pool_n / pool_accepted),
        chance=chance,
        why=f"{seen}, a likely error rate of {rate:.1%}; if it is that, {more} more gold items there certify with"
        f" probability {chance:.0%}",
    )


def _plan(
    n_errors: int, n_accepted: int, rate: float, alpha: float, delta: float
) -> tuple[int | None, float]:
    """Items to add and the chance that they certify; (None, 0.0) if even the largest plan falls short of .8."""
    from scipy.special import bdtr

    totals = _needed(alpha, delta, n_errors + _ERRORS_PLANNED)
    more = totals[n_errors:] - n_accepted
    allowed: FloatArray = np.arange(len(more), dtype=np.float64)
    useful = more > 0
    more, allowed = more[useful], allowed[useful]
    chance = bdtr(np.minimum(allowed, more), more, rate)
    good = np.flatnonzero(chance >= CHANCE)
    if len(good) == 0:
        return None, 0.0
    return int(more[good[0]]), float(chance[good[0]])
