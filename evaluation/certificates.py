"""Certified auto-accept: a confidence threshold above which at most a share alpha of the labels is wrong.

Learn then Test (Angelopoulos, Bates, Candes, Jordan & Lei 2021) with fixed-sequence testing: candidate thresholds
are fixed from the pool's confidences, tested from strict to lenient, and the last one before the first failure
is certified. The labels of the gold items must not have been used to build or choose the strategy.
"""

from __future__ import annotations

import numpy.typing as npt

from evaluation._certificate_evidence import certificate_p_value, check_rates, p_values, upper_bounds
from evaluation._certificate_gold import gold_needed
from evaluation._certificate_grid import threshold_grid
from evaluation._certificate_reasons import plan_more_gold, why_not
from evaluation._certificate_sequence import (
    check_gold,
    check_grid,
    check_in_pool,
    conclude,
    fixed_sequence,
)
from evaluation._certificate_types import (
    BestOf,
    Certification,
    GoldNeed,
    NaiveThreshold,
    TestedThreshold,
)

__all__ = [
    "BestOf",
    "Certification",
    "GoldNeed",
    "NaiveThreshold",
    "TestedThreshold",
    "certificate_p_value",
    "certify",
    "gold_needed",
    "threshold_grid",
]


def certify(
    confidence: npt.ArrayLike,
    correct: npt.ArrayLike,
    *,
    pool_confidence: npt.ArrayLike,
    alpha: float = 0.05,
    delta: float = 0.05,
    pool_is_complete: bool = False,
    region_low: float | None = None,
    grid: npt.ArrayLike | None = None,
) -> Certification:
    """The certified threshold, or why there is none, from gold drawn uniformly at random.

    ``confidence`` (n,) in [0, 1] and ``correct`` (n,) of the gold items; ``pool_confidence`` (N,) of the items the
    certificate is for. The gold is a simple random sample of the pool, or of the part of it with confidence >=
    ``region_low``: then gold below the region is left aside and only thresholds inside it are tried. p-values are exact
    binomial; with ``pool_is_complete`` (``pool_confidence`` has every item of the finite pool that the gold was drawn
    from without replacement, gold included) exact hypergeometric, which certifies sooner when the gold is
    a sizeable part of the pool. ``grid``: own thresholds, strict to lenient, chosen without the gold's labels;
    default :func:`threshold_grid`.

    Gold with unequal inclusion probabilities needs :func:`certify_weighted`. No gold or an empty pool gives an
    uncertified answer with its reason. ConfigError for NaN, values outside [0, 1], lengths that differ, a grid out of
    order, gold that is not in a pool said to be complete.
    """
    check_rates(alpha, delta)
    gold, pool = check_gold(confidence, correct, pool_confidence, region_low)
    if pool_is_complete:
        check_in_pool(gold, pool)
    if grid is None:
        thresholds = threshold_grid(
            pool.inside,
            n_gold=len(gold.confidence),
            alpha=alpha,
            delta=delta,
            pool_is_complete=pool_is_complete,
        )
    else:
        thresholds = check_grid(grid, region_low)
    accepted, errors = gold.counts(thresholds)
    finite = pool.n_at_least(thresholds) if pool_is_complete else None
    tested = fixed_sequence(
        thresholds,
        p_values(errors, accepted, alpha, finite),
        upper_bounds(errors, accepted, delta, finite),
        gold=gold,
        pool=pool,
        delta=delta,
    )
    reason, need = None, None
    if not tested or not tested[0].passed:
        reason = why_not(tested, gold, pool, alpha, delta)
        need = plan_more_gold(tested, gold, pool, alpha, delta)
    return conclude(
        tested,
        gold=gold,
        pool=pool,
        alpha=alpha,
        delta=delta,
        method="fixed-sequence-hypergeometric" if pool_is_complete else "fixed-sequence-binomial",
        reason=reason,
        more_gold=need,
    )
