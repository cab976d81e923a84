"""Certified auto-accept: a confidence threshold above which at most a share alpha of the labels is wrong.

Learn then Test (Angelopoulos, Bates, Candes, Jordan & Lei 2021) with fixed-sequence testing: candidate thresholds
are fixed from the pool's confidences, tested from strict to lenient, and the last one before the first failure
is certified. The labels of the gold items must not have been used to build or choose the strategy.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from evaluation._arrays import same_length
from evaluation._certificate_design import check_design, region_for_sampling
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
from evaluation._certificate_weighted import certify_weighted
from labelproof.spec.errors import ConfigError

__all__ = [
    "BestOf",
    "Certification",
    "GoldNeed",
    "NaiveThreshold",
    "TestedThreshold",
    "certificate_p_value",
    "certify",
    "certify_best_of",
    "certify_groups",
    "certify_weighted",
    "check_design",
    "gold_needed",
    "region_for_sampling",
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
    plan_delta: float | None = None,
) -> Certification:
    """The certified threshold, or why there is none, from gold drawn uniformly at random.

    ``confidence`` (n,) in [0, 1] and ``correct`` (n,) of the gold items; ``pool_confidence`` (N,) of the items the
    certificate is for. The gold is a simple random sample of the pool, or of the part of it with confidence >=
    ``region_low``: then gold below the region is left aside and only thresholds inside it are tried. p-values are exact
    binomial; with ``pool_is_complete`` (``pool_confidence`` has every item of the finite pool that the gold was drawn
    from without replacement, gold included) exact hypergeometric, which certifies sooner when the gold is
    a sizeable part of the pool. ``grid``: own thresholds, strict to lenient, chosen without the gold's labels;
    default :func:`threshold_grid`. ``plan_delta``: the delta that a test with more gold will be held to, where repeated
    looks divide it (default: ``delta``); ``more_gold`` plans for it.

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
        reason = why_not(tested, gold, pool, alpha, delta, finite=pool_is_complete)
        need = plan_more_gold(
            tested, gold, pool, alpha, plan_delta or delta, finite=pool_is_complete, own_grid=grid is not None
        )
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


def certify_groups(
    confidence: npt.ArrayLike,
    correct: npt.ArrayLike,
    group: Sequence[str] | npt.NDArray[np.generic],
    *,
    pool_confidence: npt.ArrayLike,
    pool_group: Sequence[str] | npt.NDArray[np.generic],
    alphas: Mapping[str, float],
    delta: float = 0.05,
    pool_is_complete: bool = False,
    region_low: float | None = None,
) -> Mapping[str, Certification]:
    """One certification per group (predicted class), jointly valid: no certified group exceeds its alpha.

    ``group`` (n,) and ``pool_group`` (N,) name each item's group, which must not depend on the true label. ``alphas`` gives
    each group that may be auto-accepted its error rate; each of those K groups is tested at delta/K, so that
    with probability >= 1 - ``delta`` all certified thresholds hold at once (Bonferroni). Items of other groups are not
    looked at: they are never auto-accepted. Every result's ``coverage`` is the share of its own group.
    Order of the results: that of ``alphas``. Other parameters and errors as :func:`certify`.
    """
    if not alphas:
        raise ConfigError("alphas: expected an error rate for at least one group, found none")
    names, pool_names = np.asarray(group, dtype=object), np.asarray(pool_group, dtype=object)
    c, y, pool = np.asarray(confidence), np.asarray(correct), np.asarray(pool_confidence)
    same_length(confidence=c, correct=y, group=names)
    same_length(pool_confidence=pool, pool_group=pool_names)
    return {
        name: certify(
            c[names == name],
            y[names == name],
            pool_confidence=pool[pool_names == name],
            alpha=alpha,
            delta=delta / len(alphas),
            pool_is_complete=pool_is_complete,
            region_low=region_low,
        )
        for name, alpha in alphas.items()
    }


def certify_best_of(
    confidences: Sequence[npt.ArrayLike],
    corrects: Sequence[npt.ArrayLike],
    *,
    pool_confidences: Sequence[npt.ArrayLike],
    alpha: float = 0.05,
    delta: float = 0.05,
    pool_is_complete: bool = False,
) -> BestOf:
    """Certifications of S candidate strategies on the same gold, and which of them accepts most.

    One entry per strategy in each sequence. Each is tested at delta/S, so that picking the winner afterwards costs
    nothing: its promise holds with probability >= 1 - ``delta``. Other parameters and errors as :func:`certify`.
    """
    number = same_length(confidences=confidences, corrects=corrects, pool_confidences=pool_confidences)
    if number == 0:
        raise ConfigError("confidences: expected at least one candidate strategy, found none")
    found = tuple(
        certify(
            c,
            y,
            pool_confidence=pool,
            alpha=alpha,
            delta=delta / number,
            pool_is_complete=pool_is_complete,
        )
        for c, y, pool in zip(confidences, corrects, pool_confidences, strict=True)
    )
    certified = [i for i, one in enumerate(found) if one.coverage is not None]
    best = max(certified, key=lambda i: found[i].coverage or 0.0) if certified else None
    return BestOf(certifications=found, best=best)
