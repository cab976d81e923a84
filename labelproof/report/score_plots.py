"""A score report as pictures: reliability, and risk against coverage on gold."""

from __future__ import annotations

from pathlib import Path

from labelproof.report.plots import Plot, gold_risk_coverage_plot, reliability_plot
from labelproof.report.scoring import ScoreReport
from labelproof.spec.hashing import short


def score_plots(report: ScoreReport) -> dict[str, Plot]:
    """Return file stem -> plot; items without a confidence take no part."""
    subject = f"{report.project} · {report.strategy}@{short(report.strategy_fp)} · gold split {report.split}"
    return {
        "reliability": reliability_plot(
            report.reliability, confidences=report.confidences, error=report.calibration, subject=subject
        ),
        "gold_risk_coverage": gold_risk_coverage_plot(report.confidences, report.right, subject=subject),
    }


def write_plots(report: ScoreReport, folder: Path) -> list[Path]:
    """Write each plot as SVG, PNG and a page with its numbers; returns the files."""
    return [
        plot.save(folder / f"{stem}{suffix}")
        for stem, plot in score_plots(report).items()
        for suffix in (".svg", ".png", ".html")
    ]
