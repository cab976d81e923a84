"""How well confidence ranks right labels above wrong ones: AUROC and AURC."""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from evaluation._arrays import (
    FloatArray,
    IntArray,
    as_bools,
    as_floats,
    check_level,
    confidence_pair,
    same_length,
)
from evaluation._jeffreys_bootstrap import jeffreys_bootstrap
from evaluation.intervals import Estimate, undefined

DELONG_FROM = 100  # items in the smaller group from which the asymptotic variance is trusted alone


def auroc(scores: npt.ArrayLike, positive: npt.ArrayLike, *, confidence: float = 0.95) -> Estimate:
    """The chance that a positive item outscores a negative one, ties counting half.

    Any finite scores (raw signals too). Interval: DeLong, DeLong & Clarke-Pearson (1988) variance
    by placement values, taken on the logit scale (Qin & Hotilovac 2008) so that it stays in (0, 1).
    With fewer than 100 items in a group that covers as little as .85 (5 wrong of 100), and Newcombe (2006)
    method 5 takes its place wherever it is the wider. None when only one group is present.
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
    delong = _delong_logit(value, place1, place0, z)
    if delong is not None and min(m1, m0) >= DELONG_FROM:
        return Estimate(value=value, low=delong[0], high=delong[1], n=n, method="delong-logit")
    low, high = _newcombe_auc(value, m1, m0, z)
    if delong is not None and high - low < delong[1] - delong[0]:
        return Estimate(value=value, low=delong[0], high=delong[1], n=n, method="delong-logit")
    return Estimate(value=value, low=low, high=high, n=n, method="newcombe-5")


def _delong_logit(
    value: float, place1: FloatArray, place0: FloatArray, z: float
) -> tuple[float, float] | None:
    """Limits from placement values of both groups; None where they show no variance."""
    m1, m0 = len(place1), len(place0)
    if m1 < 2 or m0 < 2 or not 0 < value < 1:
        return None
    variance = float(place1.var(ddof=1) / m1 + place0.var(ddof=1) / m0)
    if variance <= 1e-15:
        return None
    centre = math.log(value / (1 - value))
    half = z * math.sqrt(variance) / (value * (1 - value))
    low, high = (1 / (1 + math.exp(-min(700.0, max(-700.0, x)))) for x in (centre - half, centre + half))
    return low, high


def aurc(confidence: npt.ArrayLike, correct: npt.ArrayLike, *, seed: int, resamples: int = 500) -> Estimate:
    """The error rate averaged over all coverages, most confident first (0 is best).

    Geifman, Uziel & El-Yaniv (2019), eq. 4. Tied items enter in random order: the expectation over
    orders is taken, not a lucky one. Interval: Bayesian bootstrap with Jeffreys' pseudo-items
    (:func:`evaluation._jeffreys_bootstrap.jeffreys_bootstrap`). None for no items.
    """
    c, y = confidence_pair(confidence, correct)
    order = np.argsort(-c, kind="stable")
    ranked = c[order]
    starts = np.flatnonzero(np.append(True, ranked[1:] != ranked[:-1])[: len(c)])

    def statistic(weight: FloatArray, wrong: FloatArray) -> FloatArray:
        return _mean_selective_risk(weight, wrong, starts)

    return jeffreys_bootstrap(statistic, (1.0 - y)[order], seed=seed, resamples=resamples)


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


def _mean_selective_risk(weight: FloatArray, wrong: FloatArray, starts: IntArray) -> FloatArray:
    """AURC of each row of (B, n) weights, most confident first, in expectation over tied orders.

    ``wrong`` (B, n) is the wrong part of each weight; ``starts`` the first position of each run of tied
    confidences, whose items share their errors evenly.
    """
    n = weight.shape[1]
    if len(starts) < n:
        share = np.add.reduceat(wrong, starts, axis=1) / np.add.reduceat(weight, starts, axis=1)
        wrong = weight * np.repeat(share, np.diff(np.append(starts, n)), axis=1)
    accepted = np.cumsum(weight, axis=1)
    risk = np.cumsum(wrong, axis=1)
    risk /= accepted
    return np.asarray(np.einsum("ij,ij->i", weight, risk) / accepted[:, -1], dtype=np.float64)
