"""How much more gold a certificate would take, and when no amount of it helps."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np

from evaluation._arrays import FloatArray, IntArray
from evaluation._certificate_evidence import check_rates, fewest_bad_errors
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


@lru_cache(maxsize=256)
def gold_needed_in_finite_pool(alpha: float, delta: float, pool_accepted: int) -> IntArray:
    """As :func:`gold_needed` for draws without replacement from ``pool_accepted`` items, for every useful error count.

    The last entry counts one error less than exceeds alpha and may need the whole pool. Smallest n by bisection
    on the exact hypergeometric p-value, which falls in n.
    """
    from scipy.stats import hypergeom

    bad = int(fewest_bad_errors(alpha, pool_accepted))
    k = np.arange(min(bad, _ERRORS_PLANNED), dtype=np.int64)
    low, high = k + 1, np.full_like(k, pool_accepted)
    while (low < high).any():
        middle = (low + high) // 2
        certifies = hypergeom.cdf(k, pool_accepted, bad, middle) <= delta
        high = np.where(certifies, middle, high)
        low = np.where(certifies, low, middle + 1)
    return high


def likely_error_rate(n_errors: float, n_accepted: float, alpha: float) -> float:
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
    rate: float | None = None,
    finite: bool = False,
) -> GoldNeed:
    """The smallest addition of accepted gold that certifies ``threshold`` with chance >= .8 at the likely error rate.

    ``pool_accepted`` of the pool's ``pool_n`` items lie at or above the threshold; more gold than those is never
    asked for. The chance is exact: P(Bin(more, rate) <= errors allowed - errors so far). ``rate``: an error rate
    known otherwise (from weighted gold); the new gold is then judged on its own and the old left out. ``finite``: by
    the exact finite-pool test, which needs less.
    """
    fresh = rate is not None
    likely = likely_error_rate(n_errors, n_accepted, alpha) if rate is None else rate
    where = f"at confidence {threshold:.4g} or above"
    seen = (
        f"{n_errors} of {n_accepted} gold items {where} are wrong, a likely error rate of {_percent(likely)}"
        if n_accepted
        else f"there is no gold {where} yet, and its error rate is taken to be {_percent(likely)}"
    )
    used = (0, 0) if fresh else (n_errors, n_accepted)
    needed = (
        gold_needed_in_finite_pool(alpha, delta, pool_accepted)
        if finite
        else _needed(alpha, delta, _ERRORS_PLANNED * (1 + math.ceil(used[0] / _ERRORS_PLANNED)))
    )
    hopeless = (
        likely >= alpha or len(needed) <= used[0]
    )  # or: the finite pool has too many errors, already seen
    more, chance = (None, 0.0) if hopeless else _plan(needed[used[0] :] - used[1], likely)
    unlabelled = max(0, pool_accepted - n_accepted)
    if hopeless:
        why = (
            f"no amount of gold helps: {seen}, and at most {100 * alpha:.4g} % is asked for; improve the strategy or its"
            " confidence, or tolerate a higher error rate"
        )
    elif more is None:
        why = (
            f"no realistic amount of gold helps: {seen}, too close to the {100 * alpha:.4g} % asked for to be told apart;"
            " improve the strategy or tolerate a higher error rate"
        )
    elif more > unlabelled:
        why = (
            f"the pool is too small: about {more} more gold items {where} would be needed, and {unlabelled} unlabelled"
            " ones are left there; label those by hand instead"
        )
    else:
        return GoldNeed(
            n_accepted_more=more,
            confidence_at_least=threshold,
            n_random_more=math.ceil(more * pool_n / pool_accepted),
            chance=chance,
            why=f"{seen}; if it is that, {more} {'new' if fresh else 'more'} gold items drawn uniformly there"
            f" certify {'on their own ' if fresh else ''}with probability {100 * chance:.0f} %",
        )
    return GoldNeed(
        n_accepted_more=None, confidence_at_least=threshold, n_random_more=None, chance=0.0, why=why
    )


def _plan(more: IntArray, rate: float) -> tuple[int | None, float]:
    """Fewest items to add and the chance that they certify, where ``more[j]`` items may hold j errors.

    (None, 0.0) if even the largest plan has a chance below .8.
    """
    from scipy.special import bdtr

    spare_errors: FloatArray = np.arange(len(more), dtype=np.float64)
    useful = more > 0
    more, spare_errors = more[useful], spare_errors[useful]
    for part in (slice(0, 30), slice(30, 200), slice(200, None)):  # small plans are the usual answer
        chance = bdtr(np.minimum(spare_errors[part], more[part]), more[part], rate)
        good = np.flatnonzero(chance >= CHANCE)
        if len(good):
            return int(more[part][good[0]]), float(chance[good[0]])
    return None, 0.0


def _percent(share: float) -> str:
    return f"{100 * share:.2g} %"
