"""Everything that judges: pure functions on arrays that return frozen dataclasses, without I/O.

Start at :func:`score` (how right labels are), :func:`fit_calibrator` (labels and confidence from
log-probabilities), :func:`auroc` and :func:`calibration_error` (how good confidence is),
:func:`slice_table` and :func:`score_cost`; :func:`paired_difference` and :func:`decide` (is B better than A?).
"""

from evaluation.agreement import (
    annotator_agreement,
    cohen_kappa,
    fleiss_kappa,
    krippendorff_alpha,
    label_agreement,
    percent_agreement,
)
from evaluation.agreement_report import AgreementReport, agreement_report, pairwise_agreement
from evaluation.alt_test import AltTest, AltTestRow, alt_test
from evaluation.attribution import Attribution, CoalitionAnswers, ComponentShare, attribute, shapley
from evaluation.audit_intervals import correct_rate, error_rate
from evaluation.audits import (
    AuditAllocation,
    AuditPlan,
    AuditStrata,
    audit_allocation,
    audit_probabilities,
    audit_strata,
)
from evaluation.calibration import CalibratedLabels, FittedCalibrator, fit_calibrator
from evaluation.calibration_report import CalibrationReport, Candidate, Quality
from evaluation.calibrators import BatchCalibration, Temperature
from evaluation.certificates import (
    BestOf,
    Certification,
    GoldNeed,
    NaiveThreshold,
    TestedThreshold,
    certificate_p_value,
    certify,
    certify_best_of,
    certify_groups,
    certify_weighted,
    check_design,
    gold_needed,
    region_for_sampling,
    threshold_grid,
)
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
from evaluation.dawid_skene import DawidSkene, dawid_skene
from evaluation.decision_quality import AuditedStratum, QualityEstimate, decision_quality
from evaluation.intervals import (
    Estimate,
    bootstrap,
    bootstrap_counts,
    clopper_pearson,
    undefined,
    wilson,
)
from evaluation.monitors import DriftMonitor, SlaMonitor, sla_e_values, sla_log_e_values
from evaluation.multilabel_calibration import (
    CalibratedSets,
    FittedMultiLabelCalibrator,
    fit_multilabel_calibrator,
)
from evaluation.multiple_testing import benjamini_hochberg, holm
from evaluation.paired import PairedAnswers, PairedDifference
from evaluation.paired_costs import cost_ratio
from evaluation.paired_metrics import metric_values
from evaluation.paired_tests import paired_difference
from evaluation.ppi import ppi_error_rate
from evaluation.ranking import aurc, auroc
from evaluation.rare_class import active_probabilities, class_precision, class_recall
from evaluation.sample_size import detectable_effect, disagreement_savings, items_needed, items_to_resolve
from evaluation.scorecard import ConfusionMatrix, Metric, ScoreCard
from evaluation.scoring import ABSTAINED, FAILED, score
from evaluation.sequential import EarlyStop, SrmMonitor, discordant_e_value, srm_e_value
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
from evaluation.two_streams import TwoStreams, two_streams
from evaluation.verdict import Decision, decide
from evaluation.votes import VoteTable

__all__ = [
    "ABSTAINED",
    "FAILED",
    "AgreementReport",
    "AltTest",
    "AltTestRow",
    "Attribution",
    "AuditAllocation",
    "AuditPlan",
    "AuditStrata",
    "AuditedStratum",
    "BatchCalibration",
    "BestOf",
    "CalibratedLabels",
    "CalibratedSets",
    "CalibrationError",
    "CalibrationReport",
    "Candidate",
    "Certification",
    "CoalitionAnswers",
    "ComponentShare",
    "ConfusionMatrix",
    "CrossFitted",
    "DawidSkene",
    "Decision",
    "DriftMonitor",
    "EarlyStop",
    "Estimate",
    "FittedCalibrator",
    "FittedMultiLabelCalibrator",
    "Fused",
    "GoldNeed",
    "Metric",
    "MultinomialLogistic",
    "NaiveThreshold",
    "PairedAnswers",
    "PairedDifference",
    "Platt",
    "Quality",
    "QualityEstimate",
    "ReliabilityBin",
    "RiskCoverage",
    "ScoreCard",
    "SlaMonitor",
    "SliceRow",
    "SliceTable",
    "SrmMonitor",
    "Temperature",
    "TestedThreshold",
    "TextClassifier",
    "ThresholdRow",
    "TwoStreams",
    "VoteTable",
    "active_probabilities",
    "agreement_report",
    "alt_test",
    "annotator_agreement",
    "assign_split",
    "attribute",
    "audit_allocation",
    "audit_probabilities",
    "audit_strata",
    "aurc",
    "auroc",
    "benjamini_hochberg",
    "bootstrap",
    "bootstrap_counts",
    "brier",
    "calibration_error",
    "certificate_p_value",
    "certify",
    "certify_best_of",
    "certify_groups",
    "certify_weighted",
    "check_design",
    "class_precision",
    "class_recall",
    "clopper_pearson",
    "cohen_kappa",
    "correct_rate",
    "cost_ratio",
    "cross_fit_text_classifier",
    "dawid_skene",
    "decide",
    "decision_quality",
    "detectable_effect",
    "disagreement_savings",
    "discordant_e_value",
    "error_rate",
    "fit_calibrator",
    "fit_multilabel_calibrator",
    "fit_text_classifier",
    "fleiss_kappa",
    "gold_needed",
    "holm",
    "items_needed",
    "items_to_resolve",
    "krippendorff_alpha",
    "label_agreement",
    "metric_values",
    "paired_difference",
    "pairwise_agreement",
    "percent_agreement",
    "ppi_error_rate",
    "quantile_interval",
    "region_for_sampling",
    "reliability_curve",
    "risk_coverage_curve",
    "score",
    "score_cost",
    "shapley",
    "sla_e_values",
    "sla_log_e_values",
    "slice_table",
    "srm_e_value",
    "threshold_grid",
    "threshold_table",
    "two_streams",
    "undefined",
    "wilson",
]
