"""What certified and naive thresholds do over random gold draws from a pool whose labels are all known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Self

import numpy as np
import numpy.typing as npt

from benchmarks.validity.harness import at_most
from evaluation.certificates import certify

_ROUNDING = 1e-9  # 1 wrong of 20 is 5 %, not more than 5 %


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class KnownPool:
    """Confidences (N,) ascending and whether each label is right (N,): the finite population a certificate is for."""

    confidence: npt.NDArray[np.float64]
    correct: npt.NDArray[np.bool_]

    @classmethod
    def of(cls, confidence: npt.ArrayLike, correct: npt.ArrayLike) -> Self:
        """The pool from arrays in any order."""
        c, y = np.asarray(confidence, dtype=np.float64), np.asarray(correct, dtype=np.bool_)
        order = np.argsort(c, kind="stable")
        return cls(confidence=c[order], correct=y[order])

    def is_violated(self, threshold: float, alpha: float) -> bool:
        """Whether more than the share ``alpha`` of all pool items at or above the threshold is wrong."""
        accepted = self.correct[np.searchsorted(self.confidence, threshold, side="left") :]
        return int(np.count_nonzero(~accepted)) > alpha * len(accepted) + _ROUNDING

    def oracle_coverage(self, alpha: float) -> float:
        """The largest share that one threshold can accept at an error rate of at most ``alpha``; 0 when none can."""
        if not len(self.confidence):
            return 0.0
        first = np.unique(self.confidence, return_index=True)[1]
        errors = np.cumsum(~self.correct[::-1])[::-1][first]
        accepted = len(self.confidence) - first
        good = np.flatnonzero(errors <= alpha * accepted + _ROUNDING)
        return float(accepted[good[0]] / len(self.confidence)) if len(good) else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """Shares over all draws: threshold given, threshold given whose promise is broken, and the mean pool coverage.

    A draw without threshold counts as coverage 0 and as no violation.
    """

    given_rate: float
    violation_rate: float
    coverage: float


@dataclass(frozen=True, slots=True, kw_only=True)
class DrawnGold:
    """One case: ``draws`` gold sets of ``n_gold`` items from a pool of ``n_pool``, judged by three rules each."""

    alpha: float
    delta: float
    n_gold: int
    n_pool: int
    draws: int
    bound: float
    """What a violation rate of at most delta may show: delta + 3 sqrt(delta (1 - delta) / draws)."""
    oracle_coverage: float
    binomial: Outcome
    hypergeometric: Outcome
    naive: Outcome

    @property
    def holds(self) -> bool:
        """Whether both kinds of certificate keep the bound."""
        return max(self.binomial.violation_rate, self.hypergeometric.violation_rate) <= self.bound


@dataclass(slots=True)
class _Tally:
    given: int = 0
    violated: int = 0
    coverage: list[float] = field(default_factory=list)

    def add(self, pool: KnownPool, alpha: float, threshold: float | None, coverage: float | None) -> None:
        self.given += threshold is not None
        self.violated += threshold is not None and pool.is_violated(threshold, alpha)
        self.coverage.append(coverage or 0.0)

    def outcome(self) -> Outcome:
        n = len(self.coverage)
        return Outcome(
            given_rate=self.given / n,
            violation_rate=self.violated / n,
            coverage=float(np.mean(self.coverage)),
        )


def gold_sizes(n_pool: int) -> tuple[int, ...]:
    """100, 200 and half of the pool, ascending; sizes that leave nothing of the pool to draw are left out."""
    return tuple(sorted({n for n in (100, 200, n_pool // 2) if 0 < n < n_pool}))


def draw_gold(
    pool: KnownPool, *, n_gold: int, alphas: Sequence[float], delta: float, draws: int, seed: Sequence[int]
) -> list[DrawnGold]:
    """Certify and pick naively on ``draws`` simple random gold samples without replacement; one result per alpha.

    Every rule and every alpha sees the same gold. The binomial test takes it for draws from an endless pool, the
    hypergeometric one knows the pool is finite; truth is the whole pool in both.
    """
    rng = np.random.default_rng(list(seed))
    tallies = {alpha: (_Tally(), _Tally(), _Tally()) for alpha in alphas}
    n_pool = len(pool.confidence)
    for _ in range(draws):
        gold = rng.choice(n_pool, n_gold, replace=False, shuffle=False)
        for alpha, (binomial, hypergeometric, naive) in tallies.items():
            for complete, tally in ((False, binomial), (True, hypergeometric)):
                found = certify(
                    pool.confidence[gold],
                    pool.correct[gold],
                    pool_confidence=pool.confidence,
                    alpha=alpha,
                    delta=delta,
                    pool_is_complete=complete,
                )
                tally.add(pool, alpha, found.threshold, found.coverage)
            naive.add(pool, alpha, found.naive.threshold, found.naive.coverage)
    return [
        DrawnGold(
            alpha=alpha,
            delta=delta,
            n_gold=n_gold,
            n_pool=n_pool,
            draws=draws,
            bound=at_most(delta, draws),
            oracle_coverage=pool.oracle_coverage(alpha),
            binomial=binomial.outcome(),
            hypergeometric=hypergeometric.outcome(),
            naive=naive.outcome(),
        )
        for alpha, (binomial, hypergeometric, naive) in tallies.items()
    ]
