"""Agreement statistics of vote counts, vectorised over bootstrap resamples of the items.

Items with the same counts are one *pattern*: a resample is then a multinomial draw over patterns, and a
statistic maps how often each pattern was drawn, (B, C), to B values (NaN where undefined).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from evaluation._arrays import FloatArray, IntArray
from evaluation.intervals import BootstrapMethod, CountStatistic, Estimate, bootstrap_counts, undefined

Distance = Literal["nominal", "ordinal", "masi"]
EMPTY_SET = "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class Patterns:
    """The distinct rows of a count matrix: ``counts`` (C, K) and ``n`` (C,) items that have each."""

    counts: FloatArray
    n: IntArray

    @classmethod
    def of(cls, counts: IntArray, *, at_least: int = 2) -> Patterns:
        """The patterns of the items (rows) that have at least that many votes."""
        kept = counts[counts.sum(axis=1) >= at_least]
        if not len(kept):
            return cls(counts=np.zeros((0, counts.shape[1])), n=np.zeros(0, dtype=np.int64))
        rows, n = np.unique(kept, axis=0, return_counts=True)
        return cls(counts=rows.astype(np.float64), n=n.astype(np.int64))

    @property
    def n_items(self) -> int:
        return int(self.n.sum())

    def estimate(
        self,
        statistic: CountStatistic,
        *,
        seed: int,
        resamples: int,
        confidence: float,
        method: BootstrapMethod = "percentile",
    ) -> Estimate:
        """The statistic with its item bootstrap interval."""
        return bootstrap_counts(
            self.n, statistic, seed=seed, resamples=resamples, confidence=confidence, method=method
        )


def why_undefined(patterns: Patterns) -> str | None:
    """Why chance-corrected agreement does not exist on these items; None when it does."""
    if patterns.n_items == 0:
        return "no item has two votes"
    if np.count_nonzero(patterns.n @ patterns.counts) < 2:
        return "only one label was ever used: agreement cannot be told from chance"
    return None


def ratio(top: FloatArray, bottom: FloatArray) -> FloatArray:
    """Top divided by bottom, NaN where bottom is 0."""
    return np.asarray(np.divide(top, bottom, out=np.full(top.shape, np.nan), where=bottom > 1e-12))


def label_distances(labels: tuple[str, ...], distance: Distance) -> FloatArray:
    """Distance (K, K) between labels; for ordinal that of equal marginals is not needed and not given.

    masi: Passonneau (2006), LREC, eq. 2: 1 - J*M of the label sets "a+b" ("none" is the empty set), with J
    their Jaccard coefficient and M = 1 (equal), 2/3 (one holds the other), 1/3 (overlap), 0 (disjoint).
    """
    k = len(labels)
    if distance != "masi":
        return 1.0 - np.eye(k)
    sets = [frozenset() if label == EMPTY_SET else frozenset(label.split("+")) for label in labels]
    found = np.zeros((k, k))
    for a in range(k):
        for b in range(a):
            found[a, b] = found[b, a] = _masi(sets[a], sets[b])
    return found


def _masi(a: frozenset[str], b: frozenset[str]) -> float:
    if a == b:
        return 0.0
    common = len(a & b)
    if not common:
        return 1.0
    monotone = 2 / 3 if a < b or b < a else 1 / 3
    return 1.0 - common / len(a | b) * monotone


def alpha_statistic(patterns: Patterns, distances: FloatArray) -> CountStatistic:
    """Krippendorff's alpha for distances that do not depend on the data: 1 - D_o / D_e.

    Krippendorff (2011), "Computing Krippendorff's Alpha-Reliability", section C. ``distances`` are the
    squared differences of his equations (for nominal data 0 and 1).
    """
    counts = patterns.counts
    observed = np.einsum("ck,kl,cl->c", counts, distances, counts) / (counts.sum(axis=1) - 1)

    def statistic(drawn: FloatArray) -> FloatArray:
        marginal = drawn @ counts
        n = marginal.sum(axis=1)
        expected = np.einsum("bk,kl,bl->b", marginal, distances, marginal) / (n - 1)
        return np.asarray(1.0 - ratio(drawn @ observed, expected))

    return statistic


def ordinal_alpha_statistic(patterns: Patterns) -> CountStatistic:
    """Krippendorff's alpha with his ordinal difference, which depends on how often each label occurs.

    delta^2(c, k) = (n_c/2 + n_(c+1) + ... + n_(k-1) + n_k/2)^2, so every resample has its own.
    """
    counts = patterns.counts
    k = counts.shape[1]
    pairs = counts[:, :, None] * counts[:, None, :]
    pairs[:, np.arange(k), np.arange(k)] -= counts
    coincidences = (pairs / (counts.sum(axis=1) - 1)[:, None, None]).reshape(len(counts), k * k)

    def statistic(drawn: FloatArray) -> FloatArray:
        marginal = drawn @ counts
        middle = np.cumsum(marginal, axis=1) - marginal / 2
        distances = (middle[:, :, None] - middle[:, None, :]) ** 2
        observed = np.einsum("bkl,bkl->b", (drawn @ coincidences).reshape(-1, k, k), distances)
        expected = np.einsum("bk,bkl,bl->b", marginal, distances, marginal) / (marginal.sum(axis=1) - 1)
        return np.asarray(1.0 - ratio(observed, expected))

    return statistic


def share_statistic(patterns: Patterns) -> CountStatistic:
    """Mean over items of the share of vote pairs that agree (Fleiss 1971, eq. 2-3, unequal votes allowed)."""
    counts = patterns.counts
    votes = counts.sum(axis=1)
    agreed = (counts * (counts - 1)).sum(axis=1) / (votes * (votes - 1))
    return lambda drawn: ratio(drawn @ agreed, drawn.sum(axis=1))


def fleiss_statistic(patterns: Patterns) -> CountStatistic:
    """Fleiss' kappa (1971), Psychological Bulletin 76, eq. 7: (P - P_e) / (1 - P_e)."""
    agreement = share_statistic(patterns)

    def statistic(drawn: FloatArray) -> FloatArray:
        marginal = drawn @ patterns.counts
        chance = ((marginal / marginal.sum(axis=1, keepdims=True)) ** 2).sum(axis=1)
        return ratio(agreement(drawn) - chance, 1.0 - chance)

    return statistic


def specific_statistic(patterns: Patterns, label: int) -> CountStatistic:
    """Agreement on one label: given a vote for it, how often another vote on the item says the same.

    Spitzer & Fleiss (1974) for several and unequal votes: sum n(n-1) / sum n(m-1).
    """
    votes = patterns.counts.sum(axis=1)
    own = patterns.counts[:, label]
    return lambda drawn: ratio(drawn @ (own * (own - 1)), drawn @ (own * (votes - 1)))


def kappa_weights(k: int, weights: Literal["linear", "quadratic"] | None) -> FloatArray:
    """Disagreement weights (k, k) of Cohen's kappa: 0/1, |i-j| or (i-j)^2."""
    apart = np.abs(np.arange(k)[:, None] - np.arange(k)[None, :]).astype(np.float64)
    if weights is None:
        return np.asarray((apart > 0).astype(np.float64))
    return np.asarray(apart if weights == "linear" else apart**2)


def cohen_statistic(k: int, weights: FloatArray) -> CountStatistic:
    """Cohen's (weighted) kappa of flattened (k, k) tables: 1 - sum w*observed / sum w*expected.

    Cohen (1960), Educ. Psychol. Meas. 20; weighted: Cohen (1968), Psychological Bulletin 70.
    """

    def statistic(flat: FloatArray) -> FloatArray:
        table = flat.reshape(-1, k, k)
        n = table.sum(axis=(1, 2))
        expected = np.einsum("bk,kl,bl->b", table.sum(axis=2), weights, table.sum(axis=1)) / n
        return np.asarray(1.0 - ratio(np.einsum("bkl,kl->b", table, weights), expected))

    return statistic


def undefined_items(method: BootstrapMethod, n: int, reason: str) -> Estimate:
    """An undefined Estimate named as the bootstrap would name it."""
    return undefined(f"bootstrap-{method}", n, reason)
