"""How far annotators agree: Krippendorff's alpha, Cohen's and Fleiss' kappa, per label and per annotator.

Every interval comes from resampling *items* (the annotators are taken as given). What cannot be measured
is an Estimate without value and with the reason.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Literal

import numpy as np

from evaluation._arrays import FloatArray, IntArray
from evaluation._reliability import (
    Distance,
    Patterns,
    alpha_statistic,
    cohen_statistic,
    fleiss_statistic,
    kappa_weights,
    label_distances,
    ordinal_alpha_statistic,
    ratio,
    share_statistic,
    specific_statistic,
    undefined_items,
    why_undefined,
)
from evaluation.intervals import CountStatistic, Estimate, bootstrap_counts
from evaluation.votes import VoteTable
from labelproof.spec.errors import ConfigError

Weights = Literal["linear", "quadratic"]
ALPHA_INTERVAL: Literal["percentile", "bca"] = "bca"
"""Alpha is skewed near 1: the bias-corrected interval covers closer to its level (benchmarks/validity)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelAgreement:
    """Agreement on one label; ``n_votes`` votes for it on items with at least two votes."""

    label: str
    agreement: Estimate
    n_votes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AnnotatorAgreement:
    """Mean share of the others who say what this annotator says, over the items they share."""

    annotator: str
    agreement: Estimate
    n_votes: int


def krippendorff_alpha(
    table: VoteTable,
    *,
    distance: Distance = "nominal",
    seed: int = 0,
    confidence: float = 0.95,
    resamples: int = 1000,
    method: Literal["percentile", "bca"] = ALPHA_INTERVAL,
) -> Estimate:
    """Krippendorff's alpha with an item bootstrap interval; n is the number of items with two votes or more.

    1 is perfect, 0 what chance gives, below 0 systematic disagreement; missing votes are fine. Krippendorff
    (2011). ``ordinal`` uses the order of ``table.labels``; ``masi`` compares label sets "a+b". Undefined when
    no item has two votes or all votes are one label.
    """
    patterns = Patterns.of(table.counts)
    reason = why_undefined(patterns)
    if reason is not None:
        return undefined_items(method, patterns.n_items, reason)
    if distance == "ordinal":
        statistic = ordinal_alpha_statistic(patterns)
    else:
        statistic = alpha_statistic(patterns, label_distances(table.labels, distance))
    return patterns.estimate(statistic, seed=seed, resamples=resamples, confidence=confidence, method=method)


def fleiss_kappa(
    table: VoteTable, *, seed: int = 0, confidence: float = 0.95, resamples: int = 1000
) -> Estimate:
    """Fleiss' kappa (1971) with an item bootstrap interval.

    Defined only when every voted-on item has the same number of votes (at least two); otherwise undefined
    with the reason. Who gave which vote does not matter.
    """
    counts = table.counts
    votes = counts.sum(axis=1)
    votes = votes[votes > 0]
    if votes.size and votes.min() != votes.max():
        return undefined_items(
            "percentile",
            int(votes.size),
            f"items have {votes.min()} to {votes.max()} votes; Fleiss' kappa needs the same number on each "
            "(Krippendorff's alpha does not)",
        )
    patterns = Patterns.of(counts)
    reason = why_undefined(patterns)
    if reason is not None:
        return undefined_items("percentile", patterns.n_items, reason)
    return patterns.estimate(
        fleiss_statistic(patterns), seed=seed, resamples=resamples, confidence=confidence
    )


def cohen_kappa(
    table: VoteTable,
    first: str,
    second: str,
    *,
    weights: Weights | None = None,
    seed: int = 0,
    confidence: float = 0.95,
    resamples: int = 1000,
) -> Estimate:
    """Cohen's kappa of two annotators on the items both voted on, with an item bootstrap interval.

    ``weights`` (Cohen 1968) count a disagreement by its distance in the order of ``table.labels``.
    Undefined without a shared item and when both used one and the same label throughout.
    """
    if first == second:
        raise ConfigError(f"expected two annotators, found {first!r} twice")
    a, b = table.column(first), table.column(second)
    flat = _cross(a, b, len(table.labels))
    n = int(flat.sum())
    if n == 0:
        return undefined_items("percentile", 0, "no item with a vote of both")
    k = len(table.labels)
    square = flat.reshape(k, k)
    if np.count_nonzero(square.sum(axis=0) + square.sum(axis=1)) < 2:
        return undefined_items("percentile", n, "both used one and the same label: chance agreement is 1")
    return bootstrap_counts(
        flat,
        cohen_statistic(k, kappa_weights(k, weights)),
        seed=seed,
        resamples=resamples,
        confidence=confidence,
    )


def percent_agreement(
    table: VoteTable, *, seed: int = 0, confidence: float = 0.95, resamples: int = 1000
) -> Estimate:
    """The mean over items of the share of vote pairs that agree; not corrected for chance."""
    patterns = Patterns.of(table.counts)
    if patterns.n_items == 0:
        return undefined_items("percentile", 0, "no item has two votes")
    return patterns.estimate(share_statistic(patterns), seed=seed, resamples=resamples, confidence=confidence)


def label_agreement(
    table: VoteTable, *, seed: int = 0, confidence: float = 0.95, resamples: int = 1000
) -> tuple[LabelAgreement, ...]:
    """Per label: given a vote for it, how often another vote on that item says the same (all labels, in order).

    Specific agreement, Spitzer & Fleiss (1974); ``agreement.n`` is the items with a vote for the label.
    """
    patterns = Patterns.of(table.counts)
    found = []
    for k, label in enumerate(table.labels):
        own = patterns.counts[:, k]
        n_items = int(patterns.n[own > 0].sum())
        if n_items == 0:
            estimate = undefined_items("percentile", 0, "no vote for it on an item with two votes")
        else:
            made = patterns.estimate(
                specific_statistic(patterns, k), seed=seed, resamples=resamples, confidence=confidence
            )
            estimate = _with_n(made, n_items)
        found.append(LabelAgreement(label=label, agreement=estimate, n_votes=int(patterns.n @ own)))
    return tuple(found)


def annotator_agreement(
    table: VoteTable, *, seed: int = 0, confidence: float = 0.95, resamples: int = 1000
) -> tuple[AnnotatorAgreement, ...]:
    """Per annotator: the mean share of the other votes on their items that say the same (in table order)."""
    table.need_annotators("agreement per annotator")
    counts = table.counts
    votes = counts.sum(axis=1)
    found = []
    for name in table.annotators:
        column = table.column(name)
        rows = np.flatnonzero((column >= 0) & (votes >= 2))
        same = counts[rows, column[rows]] - 1
        shares, n = np.unique(same / (votes[rows] - 1), return_counts=True)
        if rows.size == 0:
            estimate = undefined_items("percentile", 0, "shares no item with another annotator")
        else:
            estimate = bootstrap_counts(
                n.astype(np.int64),
                _mean_of(shares),
                seed=seed,
                resamples=resamples,
                confidence=confidence,
            )
        found.append(AnnotatorAgreement(annotator=name, agreement=estimate, n_votes=int((column >= 0).sum())))
    return tuple(found)


def _mean_of(values: FloatArray) -> CountStatistic:
    return lambda drawn: ratio(drawn @ values, drawn.sum(axis=1))


def _with_n(estimate: Estimate, n: int) -> Estimate:
    return Estimate(**{**asdict(estimate), "n": n})


def _cross(a: IntArray, b: IntArray, k: int) -> IntArray:
    both = (a >= 0) & (b >= 0)
    return np.bincount(a[both] * k + b[both], minlength=k * k).astype(np.int64)
