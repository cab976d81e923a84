"""The page's pictures: the house plots in colours that follow the page's theme, with their numbers as a table."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

from labelproof.report.compare.model import CompareReport, MetricRow
from labelproof.report.plots import (
    Plot,
    forest_plot,
    paired_reliability_plot,
    paired_risk_coverage_plot,
    slice_heatmap,
    waterfall_plot,
)
from labelproof.report.plots._plot import BLUE, GREEN, GRID, INK, ORANGE, SOFT
from labelproof.report.plots.slice_heatmap import ON_DARK, TONES
from labelproof.spec.errors import ConfigError

PictureName = Literal["forest", "waterfall", "slices", "reliability", "risk"]
NAMES: tuple[PictureName, ...] = get_args(PictureName)
# A drawing's colours by what they mean; compare.css gives each name a colour for light and for dark.
_COLOURS: Mapping[str, str] = {
    "white": "ground",
    INK: "ink",
    SOFT: "soft",
    GRID: "grid",
    BLUE: "blue",
    ORANGE: "orange",
    GREEN: "green",
    "#b9b9b9": "hatch",
    ON_DARK: "on-dark",
    **{
        colour: tone.replace(", ", "-").replace(" ", "-") for tone, colour in TONES.items() if colour != GREEN
    },
}
_PAINT = re.compile(r'\b(fill|stroke)="(white|#[0-9a-f]{6})"')


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """One drawing. ``svg`` is markup of our own making, escaped inside; ``rows`` are its numbers under ``columns``."""

    name: PictureName
    title: str
    subtitle: str
    svg: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]


def picture_of(report: CompareReport, name: PictureName) -> Picture | str:
    """Return a drawing, or the reason why there is none."""
    try:
        plot = _plot(report, name)
    except ConfigError as error:
        return error.message
    if isinstance(plot, str):
        return plot
    head = plot.spec["title"]
    # The page has its own words above the drawing, and its own margins.
    bare = {key: value for key, value in plot.spec.items() if key != "title"}
    untitled = replace(plot, spec={**bare, "padding": 4})
    columns = list(plot.rows[0]) if plot.rows else []
    return Picture(
        name=name,
        title=plot.title,
        subtitle=" ".join(head.get("subtitle", ())),
        svg=themed(untitled.svg()),
        columns=columns,
        rows=[[row[column] for column in columns] for row in plot.rows],
    )


def themed(svg: str) -> str:
    """Return a drawing whose colours are the page's, with its own as what holds outside of a page."""

    def paint(found: re.Match[str]) -> str:
        name = _COLOURS.get(found[2])
        return found[0] if name is None else f'{found[1]}="var(--plot-{name}, {found[2]})"'

    return _PAINT.sub(paint, svg)


def primary_row(report: CompareReport) -> MetricRow | None:
    """Return the row that the verdict is about."""
    return next((row for row in report.rows if row.role == "primary"), None)


def _plot(report: CompareReport, name: PictureName) -> Plot | str:
    names = side_names(report)
    if name == "forest":
        return forest_plot(report.rows, a=names[0], b=names[1])
    if name == "waterfall":
        return _waterfall(report, names)
    if name == "slices":
        if not report.slices:
            return "No metadata column with few values was found, or named under experiments: slices."
        primary = primary_row(report)
        return slice_heatmap(report.slices, lower_is_better=bool(primary and primary.lower_is_better))
    a, b = report.curves_a, report.curves_b
    if a is None or b is None:
        return "Curves need gold labels and confidences of both strategies."
    if name == "reliability":
        return paired_reliability_plot(a.reliability, b.reliability, names=names)
    return paired_risk_coverage_plot(a.risk_coverage, b.risk_coverage, names=names)


def side_names(report: CompareReport) -> tuple[str, str]:
    """Return what the two are called on the page: by name, or with fingerprints when the names are the same."""
    a, b = report.a, report.b
    return (a.name, b.name) if a.name != b.name else (a.ref, b.ref)


def _waterfall(report: CompareReport, names: tuple[str, str]) -> Plot | str:
    why = report.why
    if not why.shares:
        return why.reason or "The shares of the changed components are not computed yet."
    row = next((row for row in report.rows if row.difference.metric == why.metric), None)
    if row is None or row.difference.value_a is None or row.difference.value_b is None:
        return f"The shares explain {why.metric}, which is not measured here."
    found = row.difference
    return waterfall_plot(
        why.shares,
        metric=why.metric,
        value_a=row.difference.value_a,
        value_b=float(found.value_b or 0.0),
        a=names[0],
        b=names[1],
    )
