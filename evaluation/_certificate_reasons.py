"""Why there is no certificate, in words for whoever owns the product, and the gold that would bring one."""

from __future__ import annotations

import numpy as np

from evaluation._arrays import FloatArray
from evaluation._certificate_gold import gold_needed_in_finite_pool, more_gold
from evaluation._certificate_grid import START_COVERAGE, fewest_accepted
from evaluation._certificate_sequence import Gold, Pool
from evaluation._certificate_types import GoldNeed, TestedThreshold

_COARSE_LEVELS = 20
_SMALLEST_COVERAGE = 0.05  # a threshold that accepts less is not worth collecting gold for


def why_nothing_to_test(tested: tuple[TestedThreshold, ...], gold: Gold, pool: Pool) -> str | None:
    """The reason when pool, region, gold or grid is empty."""
    if pool.n == 0:
        return "the pool is empty: there is nothing to accept"
    if len(pool.inside) == 0:
        return "no pool item has a confidence inside the region that the gold was drawn from"
    if len(gold.confidence) == 0:
        return "there is no gold to test on: label some items first"
    if not tested:
        return "no threshold was given to test"
    return None


def why_not(
    tested: tuple[TestedThreshold, ...], gold: Gold, pool: Pool, alpha: float, delta: float, *, finite: bool
) -> str:
    """The reason for an uncertified answer, from the strictest threshold, where the sequence stopped."""
    nothing = why_nothing_to_test(tested, gold, pool)
    if nothing is not None:
        return nothing
    first = tested[0]
    where = f"at confidence {first.threshold:.4g} or above, the strictest threshold tested,"
    needed = fewest_accepted(alpha, delta)
    in_pool = int(pool.n_at_least(np.array([first.threshold]))[0])
    if finite and in_pool:
        needed = int(gold_needed_in_finite_pool(alpha, delta, in_pool)[0])
    if first.n_accepted < needed:
        wrong = f" ({first.n_errors} of them wrong)" if first.n_errors else ""
        return (
            f"too little gold: {where} {first.n_accepted} gold items lie{wrong}; even without a single error it takes"
            f" {needed} to show with {share_text(1 - delta)} certainty that at most {share_text(alpha)} are wrong"
        )
    what = "too many errors" if first.n_errors > alpha * first.n_accepted else "not enough evidence yet"
    return (
        f"{what}: {where} {first.n_errors} of {first.n_accepted} gold items are wrong"
        f" ({100 * first.n_errors / first.n_accepted:.1f} %); the true error rate there may be up to {100 * (first.upper or 1.0):.1f} %"
        f" (upper {share_text(1 - delta)} bound), and at most {share_text(alpha)} is asked for"
    )


def plan_more_gold(
    tested: tuple[TestedThreshold, ...],
    gold: Gold,
    pool: Pool,
    alpha: float,
    delta: float,
    *,
    finite: bool,
    own_grid: bool,
) -> GoldNeed | None:
    """The cheapest plan for a certificate; None when there is nothing to accept.

    The plans: more gold above the strictest threshold tested now, and above those that a larger gold set would start at
    (coverage .25; each level of a coarse pool that accepts at least a twentieth of it); with the caller's ``own_grid``
    only the first, as the sequence always starts there.
    """
    if len(pool.inside) == 0 or not tested or tested[0].coverage == 0:
        return None
    first = tested[0].threshold
    candidates = np.array([first]) if own_grid else np.append(_starts_with_ample_gold(pool), first)
    accepted, errors = gold.counts(candidates)
    in_pool = pool.n_at_least(candidates)
    plans = [
        more_gold(
            int(errors[j]),
            int(accepted[j]),
            threshold=float(candidates[j]),
            alpha=alpha,
            delta=delta,
            pool_accepted=int(in_pool[j]),
            pool_n=pool.n,
            finite=finite,
        )
        for j in range(len(candidates))
    ]
    return min(plans, key=lambda plan: plan.n_random_more or np.inf)


def _starts_with_ample_gold(pool: Pool) -> FloatArray:
    """Thresholds that a test on more gold could start at, strict to lenient."""
    ascending = pool.inside
    values = ascending[np.append(True, ascending[1:] != ascending[:-1])]
    coarse = len(values) <= _COARSE_LEVELS
    share = _SMALLEST_COVERAGE if coarse else START_COVERAGE
    strictest = ascending[len(ascending) - max(1, int(np.ceil(share * len(ascending) - 1e-9)))]
    return np.asarray(values[values <= strictest][::-1] if coarse else [strictest], dtype=np.float64)


def share_text(share: float) -> str:
    """A share as people read it: 5 %, 99.75 %."""
    return f"{100 * share:.4g} %"
