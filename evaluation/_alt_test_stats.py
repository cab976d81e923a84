"""P-values of the alternative annotator test, and which of them are rejected together."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np

from evaluation._arrays import FloatArray, IntArray

PTest = Literal["t", "wilcoxon", "exact"]
T_TEST_FROM = 30
_GAMMA = 0.001
_GRID = 33


def difference_p_value(d: IntArray, epsilon: float, *, exact: bool) -> tuple[float, PTest]:
    """The p-value of H0: E[d] >= epsilon against E[d] < epsilon, d (n,) in {-1, 0, 1}, n >= 2; and its test.

    Default: one-sample t-test, Wilcoxon signed-rank below 30 items. When all d are equal t does not exist (its
    limit says p = 0); then p is the largest probability under H0 that all are equal and as low: (1 - epsilon)^n
    for 0, ((1 - epsilon) / 2)^n for -1. ``exact``: see :func:`exact_p_value`.
    """
    if exact:
        return exact_p_value(d, epsilon), "exact"
    if (d == d[0]).all():
        share = {-1: (1 - epsilon) / 2, 0: 1 - epsilon, 1: 1.0}[int(d[0])]
        return share ** len(d), "exact"
    if len(d) < T_TEST_FROM:
        from scipy.stats import wilcoxon

        return float(wilcoxon(d - epsilon, alternative="less", method="approx").pvalue), "wilcoxon"
    from scipy.special import stdtr

    t = (d.mean() - epsilon) / (d.std(ddof=1) / math.sqrt(len(d)))
    return float(stdtr(len(d) - 1, t)), "t"


def exact_p_value(d: IntArray, epsilon: float) -> float:
    """A p-value that is valid for any n: P(sum of d <= observed), worst case over the nuisance P(d = -1).

    On the edge of H0, P(d = 1) = P(d = -1) + epsilon. The worst case is taken over an exact 99.9 % interval
    for P(d = -1) and the missing .001 is added: Berger & Boos (1994), JASA 89. The distribution of the sum is
    the n-fold convolution of (P(-1), P(0), P(1)), by FFT; the interval is searched on a grid of 33 points.
    """
    from scipy.special import betaincinv

    n = len(d)
    minus = int((d < 0).sum())
    top = (1 - epsilon) / 2
    low = 0.0 if minus == 0 else float(betaincinv(minus, n - minus + 1, _GAMMA / 2))
    high = 1.0 if minus == n else float(betaincinv(minus + 1, n - minus, 1 - _GAMMA / 2))
    if low > top:  # even the smallest plausible P(-1) lies beyond H0
        return _GAMMA
    grid = np.linspace(low, min(high, top), _GRID)
    return min(1.0, float(_lower_tails(grid, grid + epsilon, n, int(d.sum())).max()) + _GAMMA)


def _lower_tails(minus: FloatArray, plus: FloatArray, n: int, at: int) -> FloatArray:
    """P(S <= at) for S the sum of n draws with P(-1) = minus, P(1) = plus, elementwise (G,)."""
    size = 1 << (2 * n + 1).bit_length()
    step = np.zeros((len(minus), size))
    step[:, 0], step[:, 1], step[:, 2] = minus, 1 - minus - plus, plus
    density = np.fft.irfft(np.fft.rfft(step, axis=1) ** n, n=size, axis=1)
    return np.asarray(np.clip(density[:, : at + n + 1].sum(axis=1), 0.0, 1.0))


def benjamini_yekutieli(p_values: Sequence[float], q: float) -> tuple[bool, ...]:
    """Which hypotheses are rejected at false discovery rate q under any dependence, in the order given.

    Benjamini & Yekutieli (2001), Annals of Statistics 29, theorem 1.3: the largest k with
    p_(k) <= k q / (m (1 + 1/2 + ... + 1/m)) and all smaller p.
    """
    m = len(p_values)
    if m == 0:
        return ()
    p = np.asarray(p_values)
    order = np.argsort(p, kind="stable")
    bound = np.arange(1, m + 1) * q / (m * np.sum(1 / np.arange(1, m + 1)))
    below = np.flatnonzero(p[order] <= bound)
    rejected = np.zeros(m, dtype=np.bool_)
    if below.size:
        rejected[order[: below[-1] + 1]] = True
    return tuple(bool(x) for x in rejected)
