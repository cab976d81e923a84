"""Statistics of label counts, vectorised over bootstrap resamples (first axis B)."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from evaluation._arrays import FloatArray
from evaluation.intervals import CountStatistic, Estimate, bootstrap_counts, undefined, wilson


def f1_from_counts(tp: FloatArray, fp: FloatArray, fn: FloatArray) -> FloatArray:
    """F1 = 2tp / (2tp + fp + fn), elementwise; NaN where the class occurs nowhere."""
    size = 2 * tp + fp + fn
    return np.asarray(
        np.divide(2 * tp, size, out=np.full_like(size, np.nan), where=size > 0), dtype=np.float64
    )


def mean_of_defined(values: FloatArray) -> FloatArray:
    """The mean over the last axis, NaN entries left out; NaN where all are."""
    known = ~np.isnan(values)
    total = np.where(known, values, 0.0).sum(axis=-1)
    number = known.sum(axis=-1)
    return np.asarray(
        np.divide(total, number, out=np.full_like(total, np.nan), where=number > 0), dtype=np.float64
    )


def macro_f1_statistic(k: int) -> CountStatistic:
    """Macro-F1 of flattened (k, k + 2) confusion counts: the mean over classes that occur.

    A class occurs when it is in gold or in the predictions, as in scikit-learn's ``f1_score``.
    """

    def statistic(flat: FloatArray) -> FloatArray:
        counts = flat.reshape(len(flat), k, k + 2)
        tp = np.diagonal(counts[:, :, :k], axis1=1, axis2=2)
        return mean_of_defined(f1_from_counts(tp, counts[:, :, :k].sum(axis=1) - tp, counts.sum(axis=2) - tp))

    return statistic


def kappa_statistic(k: int) -> CountStatistic:
    """Cohen's kappa (1960) of flattened (k, k + 2) confusion counts.

    Missing answers are two further categories, never in agreement. NaN when chance agreement is 1.
    """

    def statistic(flat: FloatArray) -> FloatArray:
        counts = flat.reshape(len(flat), k, k + 2)
        n = counts.sum(axis=(1, 2))
        observed = np.trace(counts, axis1=1, axis2=2) / n
        expected = (counts.sum(axis=2) * counts[:, :, :k].sum(axis=1)).sum(axis=1) / n**2
        rest = 1 - expected
        return np.asarray(
            np.divide(observed - expected, rest, out=np.full_like(rest, np.nan), where=rest > 1e-12),
            dtype=np.float64,
        )

    return statistic


def f1_interval(
    tp: int, fp: int, fn: int, n: int, *, seed: int, confidence: float, resamples: int
) -> Estimate:
    """F1 of one class among n items with a bootstrap interval.

    Where the bootstrap has nothing to resample (F1 of 0 or 1), the interval comes from Wilson on
    J = tp / (tp + fp + fn) through the increasing map F1 = 2J / (1 + J).
    """
    found = bootstrap_counts(
        np.array([tp, fp, fn, n - tp - fp - fn], dtype=np.int64),
        lambda counts: f1_from_counts(counts[:, 0], counts[:, 1], counts[:, 2]),
        seed=seed,
        confidence=confidence,
        resamples=resamples,
    )
    involved = tp + fp + fn
    if found.value is None:
        reason = "no items" if n == 0 else "the class is neither in gold nor predicted"
        return undefined(found.method, n, reason)
    if found.low is not None:
        return found
    share = wilson(tp, involved, confidence=confidence)
    assert share.low is not None
    assert share.high is not None
    return replace(
        found,
        low=2 * share.low / (1 + share.low),
        high=2 * share.high / (1 + share.high),
        method="wilson-jaccard",
        reason=None,
    )
