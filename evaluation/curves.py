"""Confidence as curves: reliability, risk against coverage, and a table at chosen thresholds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from evaluation._arrays import FloatArray, as_probabilities, confidence_pair
from evaluation._ece_interval import tied_bins
from evaluation.confidence import default_bins
from evaluation.intervals import Estimate, undefined, wilson


@dataclass(frozen=True, slots=True, kw_only=True)
class ReliabilityBin:
    """One bar of the reliability diagram: the items with confidence in [low, high], both inclusive."""

    low: float
    high: float
    mean_confidence: float
    accuracy: Estimate


def reliability_curve(
    confidence: npt.ArrayLike, correct: npt.ArrayLike, *, bins: int | None = None
) -> tuple[ReliabilityBin, ...]:
    """Equal-mass bins from low to high confidence with Wilson intervals; empty for no items.

    At most ``bins`` (default: one per 20 items, 1 to 15); equal confidences share a bin, so that no
    two bars stand at the same place and the order of items does not matter.
    """
    c, y = confidence_pair(confidence, correct)
    if len(c) == 0:
        return ()
    order = np.argsort(c, kind="stable")
    starts = tied_bins(c[order], bins or default_bins(len(c)))
    return tuple(
        ReliabilityBin(
            low=float(c[part[0]]),
            high=float(c[part[-1]]),
            mean_confidence=float(c[part].mean()),
            accuracy=wilson(int(y[part].sum()), len(part)),
        )
        for part in np.split(order, starts[1:])
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class RiskCoverage:
    """Error rate among the most confident items, one point per distinct confidence, strict to lenient.

    ``threshold[j]``: accept confidence >= it; ``coverage[j]`` the share accepted, ``risk[j]`` the
    share of those that are wrong. Read off one sample, so no guarantee for any single threshold.
    """

    threshold: FloatArray
    coverage: FloatArray
    risk: FloatArray


def risk_coverage_curve(confidence: npt.ArrayLike, correct: npt.ArrayLike) -> RiskCoverage:
    """The risk-coverage curve (El-Yaniv & Wiener 2010); empty arrays for no items."""
    c, y = confidence_pair(confidence, correct)
    order = np.argsort(-c, kind="stable")
    ranked = c[order]
    last = np.flatnonzero(np.append(ranked[1:] != ranked[:-1], True)[: len(ranked)])
    errors = np.cumsum(1.0 - y[order])[last]
    return RiskCoverage(
        threshold=ranked[last],
        coverage=(last + 1) / max(1, len(c)),
        risk=errors / (last + 1),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ThresholdRow:
    """What accepting confidence >= ``threshold_prob`` gives: coverage and accuracy, both Wilson."""

    threshold_prob: float
    coverage: Estimate
    accuracy: Estimate


def threshold_table(
    confidence: npt.ArrayLike, correct: npt.ArrayLike, thresholds: Sequence[float]
) -> tuple[ThresholdRow, ...]:
    """Coverage and accuracy at thresholds given beforehand, in the order given.

    The intervals hold for each threshold alone; picking the best row afterwards is what a
    certificate is for.
    """
    c, y = confidence_pair(confidence, correct)
    rows = []
    for threshold in as_probabilities(thresholds, "thresholds"):
        accepted = c >= threshold
        right = wilson(int(y[accepted].sum()), int(accepted.sum()))
        if len(c) and not accepted.any():
            right = undefined("wilson", 0, f"no item reaches {threshold:g}")
        rows.append(
            ThresholdRow(
                threshold_prob=float(threshold),
                coverage=wilson(int(accepted.sum()), len(c)),
                accuracy=right,
            )
        )
    return tuple(rows)
