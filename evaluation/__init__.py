"""Everything that judges: pure functions on arrays that return frozen dataclasses, without I/O.

Start at :func:`score` (how right labels are), :func:`fit_calibrator` (labels and confidence from
log-probabilities), :func:`auroc` and :func:`calibration_error` (how good confidence is),
:func:`slice_table` and :func:`score_cost`.
"""

from evaluation.calibration import CalibratedLabels, FittedCalibrator, fit_calibrator
from evaluation.calibration_report import CalibrationReport, Candidate, Quality
from evaluation.calibrators import BatchCalibration, Temperature
from evaluation.confidence import CalibrationError, brier, calibration_error
from evaluation.cost import quantile_interval, score_cost
from evaluation.curves import (
    ReliabilityBin,
    RiskCoverage,
    ThresholdRow,
    reliability_curve,
    risk_coverage_curve,
    threshold_table,
)
from evaluation.intervals import (
    Estimate,
    bootstrap,
    bootstrap_counts,
    clopper_pearson,
    undefined,
    wilson,
)
from evaluation.multilabel_calibration import (
    CalibratedSets,
    FittedMultiLabelCalibrator,
    fit_multilabel_calibrator,
)
from evaluation.ranking import aurc, auroc
from evaluation.scorecard import ConfusionMatrix, Metric, ScoreCard
from evaluation.scoring import ABSTAINED, FAILED, score
from evaluation.slices import SliceRow, SliceTable, slice_table
from evaluation.splits import assign_split
from evaluation.stacking import Fused, MultinomialLogistic
from evaluation.text_classifier import (
    CrossFitted,
    TextClassifier,
    cross_fit_text_classifier,
    fit_text_classifier,
)
from evaluation.top_label import Platt

__all__ = [
    "ABSTAINED",
    "FAILED",
    "BatchCalibration",
    "CalibratedLabels",
    "CalibratedSets",
    "CalibrationError",
    "CalibrationReport",
    "Candidate",
    "ConfusionMatrix",
    "CrossFitted",
    "Estimate",
    "FittedCalibrator",
    "FittedMultiLabelCalibrator",
    "Fused",
    "Metric",
    "MultinomialLogistic",
    "Platt",
    "Quality",
    "ReliabilityBin",
    "RiskCoverage",
    "ScoreCard",
    "SliceRow",
    "SliceTable",
    "Temperature",
    "TextClassifier",
    "ThresholdRow",
    "assign_split",
    "aurc",
    "auroc",
    "bootstrap",
    "bootstrap_counts",
    "brier",
    "calibration_error",
    "clopper_pearson",
    "cross_fit_text_classifier",
    "fit_calibrator",
    "fit_multilabel_calibrator",
    "fit_text_classifier",
    "quantile_interval",
    "reliability_curve",
    "risk_coverage_curve",
    "score",
    "score_cost",
    "slice_table",
    "threshold_table",
    "undefined",
    "wilson",
]
