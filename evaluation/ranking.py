"""How well confidence ranks right labels above wrong ones: AUROC and AURC."""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from evaluation._arrays import (
    BoolArray,
    FloatArray,
    IntArray,
    as_bools,
    as_floats,
    check_level,
    confidence_pair,
    same_length,
)
from evaluation.intervals import Estimate, bootstrap, undefined


def auroc(scores: npt.ArrayLike, positive: npt.ArrayLike, *, confidence: float = 0.95) -> Estimate:
    """The chance that a positive item outscores a negative one, ties counting half.

    Any finite scores (raw signals too). Interval: DeLong, DeLong & Clarke-Pearson (1988) variance
    by placement values, taken on the logit scale (Qin & Hotilovac 2008) so that it stays in (0, 1);
    where that variance is zero or a group has one item, Newcombe (2006) method 5. None when only
    one group is present.
    """
    check_level(confidence)
    s, y = as_floats(scores, "scores"), as_bools(positive, "positive")
    n = same_length(scores=s, positive=y)
    m1, m0 = int(y.sum()), int((~y).sum())
    if m1 == 0 or m0 == 0:
        reason = "no items" if n == 0 else f"all {n} items are {'right' if m1 else 'wrong'}"
        return undefined("delong-logit", n, f"{reason}: AUROC needs both groups")
    ranks = _midranks(s)
    # A positive's placement: the share of negatives below it; a negative's: of positives above it.
    place1 = (ranks[y] - _midranks(s[y])) / m0
    place0 = 1 - (ranks[~y] - _midranks(s[~y])) / m1
    value = float(place1.mean())
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    variance = 0.0
    if m1 > 1 and m0 > 1:
        variance = float(place1.var(ddof=1) / m1 + place0.var(ddof=1) / m0)
    if variance <= 1e-15 or not 0 < value < 1:
        low, high = _newcombe_auc(value, m1, m0, z)
        return Estimate(value=value, low=low, high=high, n=n, method="newcombe-5")
    centre = math.log(value / (1 - value))
    half = z * math.sqrt(variance) / (value * (1 - value))
    low, high = (1 / (1 + math.exp(-min(700.0, max(-700.0, x)))) for x in (centre - half, centre + half))
    return Estimate(value=value, low=low, high=high, n=n, method="delong-logit")


def aurc(confidence: npt.ArrayLike, correct: npt.ArrayLike, *, seed: int, resamples: int = 500) -> Estimate:
    """The error rate averaged over all coverages, most confident first (0 is best).

    Geifman, Uziel & El-Yaniv (2019), eq. 4. Tied items enter in random order: the expectation over
    orders is taken, not a lucky one.
    """
    c, y = confidence_pair(confidence, correct)
    wrong = 1.0 - y

    def statistic(index: IntArray) -> FloatArray:
        order = np.argsort(-c[index], axis=1, kind="stable")
        picked = np.take_along_axis(index, order, axis=1)
        return _mean_selective_risk(c[picked], wrong[picked])

    return bootstrap(statistic, len(c), seed=seed, resamples=resamples)


def _midranks(values: FloatArray) -> FloatArray:
    """1-based ranks, ties sharing their mean rank."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    upper = np.cumsum(counts)
    return np.asarray((upper - (counts - 1) / 2)[inverse], dtype=np.float64)


def _newcombe_auc(value: float, m1: int, m0: int, z: float) -> tuple[float, float]:
    """Newcombe (2006), Statistics in Medicine 25, method 5: score-type limits for an AUROC.

    Solves |theta - value| = z sqrt(V(theta)) with the Hanley-McNeil exponential-model variance at
    both group sizes replaced by their mean.
    """
    from scipy.optimize import brentq

    star = (m1 + m0) / 2 - 1

    def gap(theta: float) -> float:
        spread = theta * (1 - theta) / (m1 * m0)
        spread *= 1 + star * (1 - theta) / (2 - theta) + star * theta / (1 + theta)
        return (theta - value) ** 2 - z * z * spread

    tiny = 1e-12
    low = 0.0 if value <= tiny else float(brentq(gap, tiny, value - tiny if value == 1 else value))
    high = 1.0 if value >= 1 - tiny else float(brentq(gap, max(value, tiny), 1 - tiny))
    return low, high


def _mean_selective_risk(c: FloatArray, wrong: FloatArray) -> FloatArray:
    """AURC of each row of (B, n) confidences sorted descending, in expectation over tied orders."""
    n = c.shape[1]
    position = np.arange(1, n + 1)
    new: BoolArray = np.ones(c.shape, dtype=np.bool_)
    new[:, 1:] = c[:, 1:] != c[:, :-1]
    start = np.maximum.accumulate(np.where(new, position - 1, 0), axis=1)
    closing: BoolArray = np.ones(c.shape, dtype=np.bool_)
    closing[:, :-1] = new[:, 1:]
    end = np.minimum.accumulate(np.where(closing, position, n)[:, ::-1], axis=1)[:, ::-1]
    total = np.concatenate([np.zeros((len(c), 1)), np.cumsum(wrong, axis=1)], axis=1)
    before = np.take_along_axis(total, start, axis=1)
    inside = np.take_along_axis(total, end, axis=1) - before
    errors = before + inside * (position - start) / (end - start)
    return np.asarray((errors / position).mean(axis=1), dtype=np.float64)
