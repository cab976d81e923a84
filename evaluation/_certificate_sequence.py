"""Fixed-sequence testing from counted gold to the Certification, whatever the p-values came from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from evaluation._arrays import BoolArray, FloatArray, IntArray, as_bools, as_probabilities, same_length
from evaluation._certificate_types import (
    CertificateMethod,
    Certification,
    GoldNeed,
    NaiveThreshold,
    TestedThreshold,
)
from labelproof.spec.errors import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Gold:
    """Gold inside the region: confidences (n,), whether right (n,); ``kept`` marks it among all gold given."""

    confidence: FloatArray
    correct: BoolArray
    kept: BoolArray

    def counts(self, thresholds: FloatArray) -> tuple[IntArray, IntArray]:
        """Accepted gold items and errors among them at each threshold."""
        order = np.argsort(self.confidence, kind="stable")
        at_least = len(order) - np.searchsorted(self.confidence[order], thresholds, side="left")
        wrong = np.sort(self.confidence[~self.correct])
        errors = len(wrong) - np.searchsorted(wrong, thresholds, side="left")
        return at_least.astype(np.int64), errors.astype(np.int64)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Pool:
    """The pool's confidences inside the region (ascending) and the size of the whole pool."""

    inside: FloatArray
    n: int

    def n_at_least(self, thresholds: FloatArray) -> IntArray:
        """Pool items accepted at each threshold."""
        return np.asarray(
            len(self.inside) - np.searchsorted(self.inside, thresholds, side="left"), dtype=np.int64
        )


def check_gold(
    confidence: npt.ArrayLike,
    correct: npt.ArrayLike,
    pool_confidence: npt.ArrayLike,
    region_low: float | None,
) -> tuple[Gold, Pool]:
    """The gold and the pool, both cut to the region; ConfigError for bad numbers."""
    c = as_probabilities(confidence, "confidence")
    y = as_bools(correct, "correct")
    same_length(confidence=c, correct=y)
    pool = np.sort(as_probabilities(pool_confidence, "pool_confidence"), kind="stable")
    total = len(pool)
    kept = np.ones(len(c), dtype=np.bool_)
    if region_low is not None:
        as_probabilities([region_low], "region_low")
        kept = c >= region_low
        pool = pool[np.searchsorted(pool, region_low, side="left") :]
    return Gold(confidence=c[kept], correct=y[kept], kept=kept), Pool(inside=pool, n=total)


def check_grid(grid: npt.ArrayLike, region_low: float | None) -> FloatArray:
    """The caller's own thresholds; ConfigError unless strictly descending and inside the region."""
    thresholds = as_probabilities(grid, "grid")
    rising = np.flatnonzero(np.diff(thresholds) >= 0)
    if len(rising):
        i = int(rising[0])
        raise ConfigError(
            f"grid: expected strictly descending thresholds, found {thresholds[i]} before {thresholds[i + 1]}"
            f" at index {i}",
            hint="fixed-sequence testing goes from the strictest threshold to the most lenient",
        )
    if region_low is not None and len(thresholds) and thresholds[-1] < region_low:
        raise ConfigError(
            f"grid: expected thresholds >= region_low {region_low}, found {thresholds[-1]}",
            hint="gold drawn inside a region says nothing about items below it",
        )
    return thresholds


def check_in_pool(gold: Gold, pool: Pool) -> None:
    """ConfigError unless the gold's confidences are among the pool's, each at most as often."""
    values, times = np.unique(gold.confidence, return_counts=True)
    held = np.searchsorted(pool.inside, values, side="right") - np.searchsorted(
        pool.inside, values, side="left"
    )
    missing = np.flatnonzero(times > held)
    if len(missing):
        i = int(missing[0])
        raise ConfigError(
            f"pool_confidence: expected a complete pool that holds the gold, found confidence {values[i]} for"
            f" {times[i]} gold items but {held[i]} pool items",
            hint="pass every item's confidence from the same strategy run, each gold item once; or leave out"
            " pool_is_complete",
        )


def fixed_sequence(
    thresholds: FloatArray,
    p: FloatArray,
    upper: FloatArray,
    *,
    gold: Gold,
    pool: Pool,
    delta: float,
) -> tuple[TestedThreshold, ...]:
    """Every threshold, strict to lenient, with what the sequence that stops at the first p > delta made of it."""
    accepted, errors = gold.counts(thresholds)
    pool_accepted = pool.n_at_least(thresholds)
    passed = np.logical_and.accumulate(p <= delta)
    return tuple(
        TestedThreshold(
            threshold=float(thresholds[j]),
            coverage=int(pool_accepted[j]) / pool.n,
            n_accepted=int(accepted[j]),
            n_errors=int(errors[j]),
            p_value=float(p[j]),
            upper=None if np.isnan(upper[j]) else float(upper[j]),
            passed=bool(passed[j]),
            tested=j == 0 or bool(passed[j - 1]),
        )
        for j in range(len(thresholds))
    )


def conclude(
    tested: tuple[TestedThreshold, ...],
    *,
    gold: Gold,
    pool: Pool,
    alpha: float,
    delta: float,
    method: CertificateMethod,
    reason: str | None,
    more_gold: GoldNeed | None,
) -> Certification:
    """The certification at the last threshold that passed, or without one for the given reason."""
    passed = [row for row in tested if row.passed]
    shown = passed[-1] if passed else tested[0] if tested else None
    return Certification(
        certified=bool(passed),
        threshold=passed[-1].threshold if passed else None,
        alpha=alpha,
        delta=delta,
        n_gold=len(gold.confidence),
        n_accepted=shown.n_accepted if shown else 0,
        n_errors=shown.n_errors if shown else 0,
        coverage=passed[-1].coverage if passed else None,
        upper=shown.upper if shown else None,
        method=method,
        tested=tested,
        reason=reason,
        more_gold=more_gold,
        naive=naive_threshold(gold, pool, alpha),
    )


def naive_threshold(gold: Gold, pool: Pool, alpha: float) -> NaiveThreshold:
    """The laxest gold confidence at or above which the gold accuracy is at least 1 - alpha."""
    levels = np.unique(gold.confidence)
    accepted, errors = gold.counts(levels)
    good = np.flatnonzero(errors <= alpha * accepted + 1e-9)
    if len(good) == 0:
        return NaiveThreshold(threshold=None, coverage=None, n_accepted=0, n_errors=0)
    i = int(good[0])
    return NaiveThreshold(
        threshold=float(levels[i]),
        coverage=float(pool.n_at_least(levels[i : i + 1])[0]) / pool.n if pool.n else None,
        n_accepted=int(accepted[i]),
        n_errors=int(errors[i]),
    )
