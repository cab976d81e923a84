"""Plots of results: each a finding in its title, with intervals, as SVG, PNG or one HTML file.

Every function takes arrays or frozen results of :mod:`evaluation` and returns a :class:`Plot`. Nothing is
fetched: neither a browser nor the network is needed.
"""

from labelproof.report.plots._plot import Plot
from labelproof.report.plots.agreement import PairLike, agreement_heatmap
from labelproof.report.plots.counts import DayVolume, bars_plot, money_plot, volume_plot
from labelproof.report.plots.coverage import (
    CertificationLike,
    gold_risk_coverage_plot,
    risk_coverage_plot,
)
from labelproof.report.plots.estimates import EstimateLine, estimates_plot
from labelproof.report.plots.forest import forest_plot
from labelproof.report.plots.paired_curves import paired_reliability_plot, paired_risk_coverage_plot
from labelproof.report.plots.reliability import confidence_histogram, reliability_plot
from labelproof.report.plots.slice_heatmap import slice_heatmap
from labelproof.report.plots.trend import quality_over_time_plot
from labelproof.report.plots.waterfall import waterfall_plot

__all__ = [
    "CertificationLike",
    "DayVolume",
    "EstimateLine",
    "PairLike",
    "Plot",
    "agreement_heatmap",
    "bars_plot",
    "confidence_histogram",
    "estimates_plot",
    "forest_plot",
    "gold_risk_coverage_plot",
    "money_plot",
    "paired_reliability_plot",
    "paired_risk_coverage_plot",
    "quality_over_time_plot",
    "reliability_plot",
    "risk_coverage_plot",
    "slice_heatmap",
    "volume_plot",
    "waterfall_plot",
]
