"""What fitting a calibrator found out: out-of-fold quality, the rivals, and the reason in words."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy.typing as npt

from evaluation._arrays import confidence_pair
from evaluation.confidence import brier, calibration_error
from evaluation.intervals import Estimate, undefined, wilson
from evaluation.ranking import aurc, auroc


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """One rival method: its out-of-fold log loss (nats per item) and the gap to the best.

    ``gap`` is the mean paired difference to the lowest loss, ``gap_se`` its standard error; both 0
    for the best.
    """

    name: str
    log_loss: float
    gap: float
    gap_se: float
    accuracy: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Quality:
    """How good labels and confidence are on items their model has not seen.

    ``ece`` is read against ``ece_floor``: the mean ECE of a perfectly calibrated score at this n.
    """

    accuracy: Estimate
    auroc: Estimate
    ece: Estimate
    ece_floor: float | None
    brier: Estimate
    aurc: Estimate


def quality_of(confidence: npt.ArrayLike, correct: npt.ArrayLike, *, seed: int) -> Quality:
    """The quality of out-of-fold confidences (n,) given which labels were right (n,)."""
    c, y = confidence_pair(confidence, correct)
    error = calibration_error(c, y, seed=seed)
    return Quality(
        accuracy=wilson(int(y.sum()), len(y)),
        auroc=auroc(c, y),
        ece=error.estimate,
        ece_floor=error.floor,
        brier=brier(c, y, seed=seed),
        aurc=aurc(c, y, seed=seed),
    )


def unknown_quality(n: int, reason: str) -> Quality:
    """A quality nobody has measured, with the reason."""
    nothing = undefined("none", n, reason)
    return Quality(accuracy=nothing, auroc=nothing, ece=nothing, ece_floor=None, brier=nothing, aurc=nothing)


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibrationReport(Quality):
    """Which calibrator was chosen and why, and its out-of-fold quality on the calibration items.

    ``raw_accuracy`` is the model's own argmax on the same items. ``why`` is one or two sentences
    for people; ``top_label`` says what maps the top probability: none, temperature, platt or
    platt+isotonic.
    """

    method: str
    n: int
    classes: tuple[str, ...]
    missing_classes: tuple[str, ...]
    folds: int
    why: str
    top_label: str
    candidates: tuple[Candidate, ...]
    raw_accuracy: Estimate

    def to_json(self) -> dict[str, Any]:
        """The report as plain JSON types, for ``calibrators.report_json``."""
        plain = asdict(self)
        plain["classes"] = list(self.classes)
        plain["missing_classes"] = list(self.missing_classes)
        plain["candidates"] = list(plain["candidates"])
        return plain
