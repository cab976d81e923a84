"""The pictures of an analysis: the change as a waterfall, the worst slices with their intervals."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from evaluation.slice_finder import FoundSlice
from labelproof.report.plots import Plot, waterfall_plot
from labelproof.report.plots._plot import INK, ORANGE, SOFT, finished, inline, percent
from labelproof.report.rca.metrics import parse_words
from labelproof.report.rca.model import RootCauseReport
from labelproof.report.rca.text import one_line_of, p_words

HOW = (
    "Each bar is a part of the change: other items (mix), other answers to the same items (behaviour), another yardstick "
    "(gold / reviewers), and what is left; the bars sum to the change."
)
_LINE, _LABELS, _WIDE, _NUMBERS = 40, 300, 300, 160
_MOST_CHARS = 44
_CERTAIN = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class _Bar:
    component: str
    delta: float
    low: float | None
    high: float | None


def change_plot(report: RootCauseReport) -> Plot | str:
    """Return the waterfall from the earlier rate to the later one, or why there is none."""
    if report.before is None or report.after is None or not report.parts:
        return "One period alone has no change to divide."
    assert report.earlier is not None
    bars = [
        _Bar(
            component=part.name + ("" if part.measured else " (not measured)"),
            delta=part.value,
            low=part.low,
            high=part.high,
        )
        for part in report.parts
    ]
    return waterfall_plot(
        bars,
        metric=report.metric,
        value_a=report.before.value,
        value_b=report.after.value,
        a=report.earlier.name,
        b=report.later.name,
        subject=parse_words(report.metric),
        how=HOW,
    )


def slices_plot(report: RootCauseReport) -> Plot | str:
    """Return the error rate of each of the worst slices with its interval, against that of all items; or why not."""
    import altair as alt

    found = report.slices
    if found is None or not found.slices:
        return "No slice is worse than the others." if found is None else f"No slices: {found.reason}."
    overall = found.n_errors / found.n
    rows = [_slice_row(one, i) for i, one in enumerate(found.slices)]
    top = max(row["high"] for row in rows)
    scale = alt.Scale(domain=[0, min(1.0, 1.05 * top)], nice=False, range=[_LABELS, _LABELS + _WIDE])
    flat: dict[str, Any] = {"scale": None, "axis": None}
    base = alt.Chart(inline(rows)).encode(y=alt.Y("y:Q", **flat))
    color = alt.Color(
        "state:N",
        scale=alt.Scale(domain=["certain", "open"], range=[ORANGE, SOFT]),
        legend=None,
    )
    axis = alt.Axis(
        format=".0%",
        tickCount=5,
        domain=False,
        titleAnchor="start",
        titleX=_LABELS + _WIDE / 2,
        titleAlign="center",
    )
    layers = [
        alt.Chart(inline([{"all": overall}]))
        .mark_rule(color=INK, strokeWidth=2, strokeDash=[4, 3])
        .encode(x=alt.X("all:Q", scale=scale)),
        base.mark_rule(strokeWidth=4).encode(
            x=alt.X("low:Q", scale=scale, title="Share that is wrong", axis=axis), x2="high:Q", color=color
        ),
        base.mark_point(filled=True, size=130, opacity=1, stroke="white", strokeWidth=1.5).encode(
            x=alt.X("error:Q", scale=scale), color=color
        ),
        base.mark_text(align="left", limit=_LABELS - 10, color=INK).encode(x=alt.value(0), text="label:N"),
        base.mark_text(align="left", limit=_NUMBERS, color=INK).encode(
            x=alt.value(_LABELS + _WIDE + 14), text="numbers:N"
        ),
    ]
    certain = [one for one in found.slices if one.p_value <= _CERTAIN]
    title = (
        f"Wrong most often: {one_line_of(certain[0].name)} ({percent(certain[0].error.value)} of {certain[0].n})"
        if certain
        else "No slice is worse than chance would show"
    )
    return finished(
        alt.layer(*layers).properties(width=_LABELS + _WIDE + _NUMBERS, height=_LINE * len(rows)),
        title=title,
        subtitle=f"Dashed: all items ({percent(overall)}). Line: 95 % interval of the slice alone. Orange: worse beyond "
        f"chance, corrected for all {found.n_looked_at} slices that were looked at.",
        alt_text=f"Error rates of {len(rows)} slices against {percent(overall)} of all items. {title}.",
        rows=[
            {
                "slice": one_line_of(one.name),
                "wrong": percent(one.error.value),
                "interval": f"{percent(one.error.low)} to {percent(one.error.high)}",
                "items": str(one.n),
                "p (corrected)": p_words(one.p_value),
            }
            for one in found.slices
        ],
    )


def _slice_row(one: FoundSlice, i: int) -> dict[str, Any]:
    name = one_line_of(one.name)
    return {
        "label": name if len(name) <= _MOST_CHARS else name[: _MOST_CHARS - 1] + "…",
        "error": one.error.value,
        "low": one.error.low,
        "high": one.error.high,
        "state": "certain" if one.p_value <= _CERTAIN else "open",
        "numbers": f"{one.n_errors} of {one.n}, p {p_words(one.p_value)}",
        "y": _LINE * (i + 0.5),
    }
