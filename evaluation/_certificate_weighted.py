"""Certificates from gold that was drawn with unequal, known probabilities."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from evaluation._arrays import BoolArray, FloatArray, as_probabilities, same_length
from evaluation._certificate_betting import fewest_accepted_betting, log_e_values, weighted_upper_bounds
from evaluation._certificate_evidence import check_rates
from evaluation._certificate_gold import likely_error_rate, more_gold
from evaluation._certificate_grid import grid_from
from evaluation._certificate_reasons import share_text, why_nothing_to_test
from evaluation._certificate_sequence import Gold, Pool, check_gold, check_grid, conclude, fixed_sequence
from evaluation._certificate_types import Certification, GoldNeed, TestedThreshold
from labelproof.spec.errors import ConfigError

_LEVELS = 20


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class WeightedGold:
    """Gold in the order in which falling thresholds accept it, with its weights, and what bounds them.

    ``weight`` is n/(N pi); ``w_max[j]`` bounds the weights of all pool items that threshold j accepts.
    """

    thresholds: FloatArray
    weight: FloatArray
    wrong: BoolArray
    n_accepted: npt.NDArray[np.int64]
    w_max: FloatArray

    def log_e_values(self, alpha: float) -> FloatArray:
        """Natural-log e-value of each threshold against "its error rate exceeds alpha"."""
        alphas = np.full(len(self.thresholds), alpha)
        return log_e_values(self.weight, self.wrong, self.n_accepted, 1.0 / self.w_max, alphas)


def certify_weighted(
    confidence: npt.ArrayLike,
    correct: npt.ArrayLike,
    inclusion_prob: npt.ArrayLike,
    *,
    pool_confidence: npt.ArrayLike,
    pool_n: int,
    alpha: float = 0.05,
    delta: float = 0.05,
    w_max: float | None = None,
    pool_inclusion_prob: npt.ArrayLike | None = None,
    grid: npt.ArrayLike | None = None,
    region_low: float | None = None,
) -> Certification:
    """The certified threshold, or why there is none, from gold drawn with unequal known probabilities.

    ``inclusion_prob`` (n,) in (0, 1]: the probability pi with which the design drew each gold item; for n draws with
    replacement n times the per-draw probability q (an item drawn twice is listed twice). ``pool_n``: the number N of
    items the design drew from; the weights are w = n/(N pi), 1 on average. Method and proof:
    :mod:`evaluation._certificate_betting`; ``p_value`` is 1/e-value, at most 1.

    A bound on the design's weights is required, one of: ``pool_inclusion_prob`` (N,), aligned with ``pool_confidence``,
    from which each threshold takes its own; or ``w_max`` for all items of the pool (or region): 1/s for a design
    that mixes in a uniform share s. The largest weight among the gold is no bound. The default grid starts where the
    largest-weight items alone would give enough evidence.

    ConfigError for pi outside (0, 1], a gold weight above the bound, no bound, and whatever :func:`certify` refuses.
    ``more_gold`` counts fresh gold drawn uniformly above the threshold, to be certified on its own by :func:`certify`.
    """
    check_rates(alpha, delta)
    gold, pool = check_gold(confidence, correct, pool_confidence, region_low)
    evidence = weigh(
        gold,
        pool,
        _check_probabilities(inclusion_prob, "inclusion_prob", len(gold.kept)),
        pool_confidence=np.asarray(pool_confidence, dtype=np.float64),
        pool_n=pool_n,
        alpha=alpha,
        delta=delta,
        w_max=w_max,
        pool_pi=None
        if pool_inclusion_prob is None
        else _check_probabilities(pool_inclusion_prob, "pool_inclusion_prob", pool.n),
        grid=grid,
        region_low=region_low,
    )
    tested = fixed_sequence(
        evidence.thresholds,
        np.exp(-np.maximum(evidence.log_e_values(alpha), 0.0)),
        weighted_upper_bounds(
            evidence.weight, evidence.wrong, evidence.n_accepted, 1.0 / evidence.w_max, delta
        ),
        gold=gold,
        pool=pool,
        delta=delta,
    )
    certified = bool(tested) and tested[0].passed
    return conclude(
        tested,
        gold=gold,
        pool=pool,
        alpha=alpha,
        delta=delta,
        method="betting",
        reason=None if certified else _why_not(tested, gold, pool, alpha, delta),
        more_gold=None if certified else _fresh_gold(tested, evidence, pool, alpha, delta),
    )


def weigh(
    gold: Gold,
    pool: Pool,
    pi: FloatArray,
    *,
    pool_confidence: FloatArray,
    pool_n: int,
    alpha: float,
    delta: float,
    w_max: float | None,
    pool_pi: FloatArray | None,
    grid: npt.ArrayLike | None,
    region_low: float | None,
) -> WeightedGold:
    """The gold with weights n/(N pi), the thresholds to test, and the bound on the weights at each."""
    if (pi <= 0.0).any():
        first = int(np.flatnonzero(pi <= 0.0)[0])
        raise ConfigError(
            f"inclusion_prob: expected probabilities in (0, 1], found {pi[first]} at index {first}",
            hint="an item that could not be drawn cannot be in the gold; check the design's probabilities",
        )
    if pool_n < 1 and len(pi):
        raise ConfigError(f"pool_n: expected the number of items the design drew from, found {pool_n}")
    weight = (len(pi) / (pool_n * pi))[gold.kept] if len(pi) else pi
    bounds = _weight_bounds(pool, pool_confidence, pool_pi, w_max, len(pi) / max(1, pool_n))
    if grid is not None:
        thresholds = check_grid(grid, region_low)
    else:
        start = _start(bounds, len(pi) / max(1, pool.n), fewest_accepted_betting(alpha, delta))
        thresholds = grid_from(pool.inside, start, _LEVELS)
    own = _at(bounds, pool.n_at_least(gold.confidence))
    above = weight > own * (1.0 + 1e-9)
    if above.any():
        first = int(np.flatnonzero(above)[0])
        raise ConfigError(
            f"w_max: expected a bound on every weight n/(N pi), found weight {weight[first]:.6g} above"
            f" {own[first]:.6g} for the gold item with confidence {gold.confidence[first]:.6g}",
            hint="w_max must come from the design: n/(N times the smallest pi it gives to any item it may draw)",
        )
    order = np.argsort(-gold.confidence, kind="stable")
    return WeightedGold(
        thresholds=thresholds,
        weight=weight[order],
        wrong=~gold.correct[order],
        n_accepted=gold.counts(thresholds)[0],
        w_max=_at(bounds, pool.n_at_least(thresholds)),
    )


def _check_probabilities(values: npt.ArrayLike, name: str, expected: int) -> FloatArray:
    pi = as_probabilities(values, name)
    same_length(**{name: pi, "confidence": np.empty(expected)})
    return pi


def _weight_bounds(
    pool: Pool, pool_confidence: FloatArray, pool_pi: FloatArray | None, w_max: float | None, rate: float
) -> FloatArray:
    """Largest weight among the m most confident pool items of the region, m = 1, 2, ...; ``rate`` is n/N."""
    if (pool_pi is None) == (w_max is None):
        found = "neither" if w_max is None else "both"
        raise ConfigError(
            f"expected one bound on the design's weights, w_max or pool_inclusion_prob; found {found}",
            hint="pass the design's probability of every pool item, or w_max = 1/s when it mixes in a uniform share s;"
            " the largest weight among the gold is no bound, as rarely drawn items are missing there",
        )
    if pool_pi is not None:
        order = np.argsort(-pool_confidence, kind="stable")[: len(pool.inside)]
        smallest = np.minimum.accumulate(pool_pi[order])
        with np.errstate(divide="ignore"):  # an item that is never drawn: no finite bound, no certificate
            return np.asarray(rate / smallest)
    assert w_max is not None
    if not (math.isfinite(w_max) and w_max > 0):
        raise ConfigError(f"w_max: expected a positive number, found {w_max}")
    return np.full(len(pool.inside), w_max)


def _at(bounds: FloatArray, accepted: npt.NDArray[np.int64]) -> FloatArray:
    """The bound for each number of accepted pool items; infinite where none is accepted."""
    return np.append(bounds, np.inf)[accepted - 1]


def _start(bounds: FloatArray, rate: float, needed: int) -> float | None:
    """Smallest coverage whose expected sum of w/w_max is two standard deviations above ``needed``."""
    size = len(bounds)
    expected = rate * np.arange(1, size + 1) / bounds
    enough = expected - 2.0 * np.sqrt(expected) >= needed
    return float(np.argmax(enough) + 1) / size if enough.any() else None


def _why_not(tested: tuple[TestedThreshold, ...], gold: Gold, pool: Pool, alpha: float, delta: float) -> str:
    nothing = why_nothing_to_test(tested, gold, pool)
    if nothing is not None:
        return nothing
    first = tested[0]
    return (
        f"too little evidence: at confidence {first.threshold:.4g} or above, the strictest threshold tested,"
        f" {first.n_errors} of {first.n_accepted} weighted gold items are wrong; their weight of evidence"
        f" is {1 / max(first.p_value, 1e-300):.3g}, and {1 / delta:.4g} is needed to show with"
        f" {share_text(1 - delta)} certainty that at most {share_text(alpha)} are wrong"
    )


def _fresh_gold(
    tested: tuple[TestedThreshold, ...], evidence: WeightedGold, pool: Pool, alpha: float, delta: float
) -> GoldNeed | None:
    """Uniform gold above the strictest threshold, at the error rate that the weighted gold suggests."""
    if not tested or tested[0].coverage == 0:
        return None
    first = tested[0]
    weight, wrong = evidence.weight[: first.n_accepted], evidence.wrong[: first.n_accepted]
    effective = float(weight.sum() ** 2 / (weight**2).sum()) if len(weight) else 0.0
    errors = effective * float(weight[wrong].sum() / weight.sum()) if len(weight) else 0.0
    return more_gold(
        first.n_errors,
        first.n_accepted,
        threshold=first.threshold,
        alpha=alpha,
        delta=delta,
        pool_accepted=int(pool.n_at_least(np.array([first.threshold]))[0]),
        pool_n=pool.n,
        rate=likely_error_rate(errors, effective, alpha),
    )
