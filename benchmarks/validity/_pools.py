"""Imaginary pools of labelled items whose true error rate above every confidence is known."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

CALIBRATED = (2.519205, 0.444566)
"""Beta parameters at which calibrated confidence has accuracy .85 and AUROC .855; oracle coverage is then .69."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SimulatedPool:
    """Confidences (ascending), whether each label is right, and a segment that confidence does not show."""

    confidence: Floats
    correct: Bools
    segment: Bools

    def risk(self, threshold: float) -> float:
        """True error rate among the items with confidence >= threshold."""
        accepted = self.correct[np.searchsorted(self.confidence, threshold, side="left") :]
        return (len(accepted) - int(np.count_nonzero(accepted))) / len(accepted)

    def oracle_coverage(self, alpha: float) -> float:
        """Largest share that may be accepted at an error rate of alpha, knowing every label."""
        first = np.unique(self.confidence, return_index=True)[1]
        errors = np.cumsum(~self.correct[::-1])[::-1]
        accepted = len(self.confidence) - first
        good = np.flatnonzero(errors[first] <= alpha * accepted + 1e-9)
        return int(accepted[good[0]]) / len(self.confidence) if len(good) else 0.0

    def draw(self, n: int, rng: np.random.Generator) -> npt.NDArray[np.int64]:
        """Positions of a simple random sample without replacement."""
        return rng.choice(len(self.confidence), n, replace=False, shuffle=False)


def _pool(confidence: Floats, p_right: Floats, rng: np.random.Generator) -> SimulatedPool:
    order = np.argsort(confidence, kind="stable")
    correct = rng.random(len(confidence)) < p_right
    return SimulatedPool(
        confidence=confidence[order], correct=correct[order], segment=np.zeros(len(order), dtype=np.bool_)
    )


def calibrated(n: int, rng: np.random.Generator) -> SimulatedPool:
    """Confidence is the probability of being right."""
    c = rng.beta(*CALIBRATED, size=n)
    return _pool(c, c, rng)


def confidently_wrong(n: int, rng: np.random.Generator) -> SimulatedPool:
    """As calibrated, but 2 % of the items are near the top and wrong three times in five."""
    c = rng.beta(*CALIBRATED, size=n)
    cluster = rng.random(n) < 0.02
    c[cluster] = rng.uniform(0.97, 1.0, cluster.sum())
    return _pool(c, np.where(cluster, 0.4, c), rng)


def coarse(n: int, rng: np.random.Generator) -> SimulatedPool:
    """Six verbal levels, too sure of themselves; the error rate above the third from the top just exceeds 5 %."""
    level = np.array([0.6, 0.7, 0.8, 0.9, 0.95, 1.0])
    mass = np.array([0.03, 0.07, 0.15, 0.20, 0.25, 0.30])
    right = np.array([0.45, 0.55, 0.70, 0.88, 0.96, 0.98])
    pick = rng.choice(len(level), n, p=mass)
    return _pool(level[pick], right[pick], rng)


def flat(n: int, rng: np.random.Generator, *, risk: float = 0.0501) -> SimulatedPool:
    """The error rate above every threshold is ``risk`` rounded up to whole items: every certificate is wrong."""
    c = np.sort(rng.random(n))
    from_top = np.ceil(risk * np.arange(n + 1) - 1e-9)
    wrong = np.diff(from_top) > 0
    return SimulatedPool(confidence=c, correct=~wrong[::-1], segment=np.zeros(n, dtype=np.bool_))


def two_segments(n: int, rng: np.random.Generator) -> SimulatedPool:
    """Calibrated over all, but in a fifth of the items (a language, a dialect) errors are several times as likely.

    ``segment`` marks those. Confidence says nothing about the segment.
    """
    c = rng.beta(*CALIBRATED, size=n)
    hard = rng.random(n) < 0.2
    p_wrong = np.where(hard, np.minimum(1.0, 3.0 * (1 - c)), 0.5 * (1 - c))
    order = np.argsort(c, kind="stable")
    correct = rng.random(n) >= p_wrong
    return SimulatedPool(confidence=c[order], correct=correct[order], segment=hard[order])


def hidden_segment(n: int, rng: np.random.Generator) -> SimulatedPool:
    """A twelfth of the items is wrong half of the time, all others nearly never; 5 % are wrong above any threshold."""
    c = np.sort(rng.random(n))
    hidden = np.zeros(n, dtype=np.bool_)
    hidden[::12] = True
    wrong = np.zeros(n, dtype=np.bool_)
    wrong[::24] = True
    wrong[7::111] = True
    return SimulatedPool(confidence=c, correct=~wrong, segment=hidden)
