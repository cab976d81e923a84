"""The quality report as pictures."""

from __future__ import annotations

from pathlib import Path

from labelproof.report.plots import Plot, quality_over_time_plot
from labelproof.report.quality import QualityReport


def quality_plots(report: QualityReport) -> dict[str, Plot]:
    """Return file stem -> plot; nothing when no audit is settled."""
    if report.quality is None:
        return {}
    plot = quality_over_time_plot(
        [row.day for row in report.days],
        [row.right.value for row in report.days],
        [row.right.low for row in report.days],
        [row.right.high for row in report.days],
        target=report.promised,
        subject=report.project
        if report.period.strategy is None
        else f"{report.project} · {report.period.strategy}",
    )
    return {"quality-over-time": plot}


def write_plots(report: QualityReport, folder: Path) -> list[Path]:
    """Write every plot of a report as SVG and as a page with its numbers; return the files."""
    return [
        plot.save(folder / f"{stem}{suffix}")
        for stem, plot in quality_plots(report).items()
        for suffix in (".svg", ".html")
    ]
