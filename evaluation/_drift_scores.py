"""From a day's counts to scores: shares of labels, languages, and of what lies below a quantile."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from evaluation._arrays import FloatArray, IntArray
from evaluation._drift_evidence import DayScores
from labelproof.spec.errors import ConfigError

RARE = 0.01
"""Categories below this share of the reference are one event together, and so are those never seen in it."""
QUANTILES = (0.1, 0.25, 0.5, 0.75, 0.9)
OTHER = "rare and new ones together"


def share_scores(hits: FloatArray, n: FloatArray, names: tuple[str, ...]) -> DayScores:
    """Scores of ``hits`` (D, K) of ``n`` (D,) items: Anscombe's arcsine, whose sampling variance is 1/(4n + 2).

    Anscombe (1948), Biometrika 35. For rare events the variance is smaller; taking this one is cautious.
    """
    x = np.arcsin(np.sqrt((hits + 0.375) / (n[:, None] + 0.75)))
    v = np.repeat(1 / (4 * n[:, None] + 2), hits.shape[1], axis=1)
    return DayScores(x=x, v=v, names=names)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CategoryScorer:
    """Shares of categories (labels, languages): one event a category, rare and new ones pooled.

    ``counts`` (D, M) items a batch and category, ``names`` (M,).
    """

    counts: FloatArray
    names: tuple[str, ...]

    def __post_init__(self) -> None:
        check_counts(self.counts, self.names)

    def __call__(self, reference: IntArray) -> DayScores:
        known = self.counts[reference].sum(axis=0)
        common = known >= RARE * max(known.sum(), 1.0)
        hits = np.column_stack([self.counts[:, common], self.counts[:, ~common].sum(axis=1)])
        names = (*(name for name, kept in zip(self.names, common, strict=True) if kept), OTHER)
        return share_scores(hits, self.counts.sum(axis=1), names)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class OrderedScorer:
    """Shares of what lies below quantiles of the reference (confidence, length), and of what has no value.

    ``counts`` (D, M) items a batch and bin in rising order; ``edges`` (M,) upper end of each bin, exclusive;
    ``missing`` (D,) items without a value. An event is below 10, 25, 50, 75 or 90 % of the reference.
    """

    counts: FloatArray
    edges: tuple[float, ...]
    missing: FloatArray | None = None

    def __post_init__(self) -> None:
        check_counts(self.counts, self.edges)

    def __call__(self, reference: IntArray) -> DayScores:
        known = self.counts[reference].sum(axis=0).cumsum()
        total = max(float(known[-1]), 1.0)
        # The bin edge nearest to each quantile; an edge that says nothing (0 or all below it) is left out.
        chosen = np.unique([int(np.abs(known / total - q).argmin()) for q in QUANTILES])
        chosen = np.array([c for c in chosen if 0 < known[c] < total] or [len(known) // 2], dtype=np.int64)
        below = self.counts.cumsum(axis=1)[:, chosen]
        n = self.counts.sum(axis=1)
        names = tuple(f"below {self.edges[c]:g}" for c in chosen)
        if self.missing is not None and self.missing.any():
            return share_scores(
                np.column_stack([below, self.missing]), n + self.missing, (*names, "no value")
            )
        return share_scores(below, n, names)


def check_counts(counts: FloatArray, names: tuple[str, ...] | tuple[float, ...]) -> None:
    """Refuse counts that are no (batches, categories) table of counts."""
    if counts.ndim != 2 or counts.shape[1] != len(names) or counts.shape[1] == 0:
        raise ConfigError(
            f"counts: expected (batches, {len(names)}) with a category at least, found {counts.shape}"
        )
    if counts.size and not (np.isfinite(counts).all() and counts.min() >= 0):
        raise ConfigError("counts: expected numbers of items, 0 or more")


def as_counts(values: npt.ArrayLike) -> FloatArray:
    """A table of counts as float64."""
    return np.asarray(values, dtype=np.float64)
