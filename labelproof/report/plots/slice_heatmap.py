"""Where a change helps and where it hurts: one cell per slice, darker where the evidence holds after correction."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Protocol

from evaluation.paired import PairedDifference
from labelproof.report.plots._plot import INK, Plot, finished, inline
from labelproof.report.plots._units import delta_words, interval_words, listed, metric_words

_COLUMNS = 5
_CELL_WIDE, _CELL_HIGH, _GAP, _LABELS = 136, 62, 4, 110
_HATCH = 9
"""Pixels between the lines of a hatched cell."""
ALPHA = 0.05
MOST_CELLS = 60
TONES = {
    "better, proven": "#007a5a",
    "better, unproven": "#d3ebe3",
    "no difference": "#ececec",
    "worse, unproven": "#fae0d0",
    "worse, proven": "#b34700",
    "too few items": "#f4f4f4",
    "not measurable": "#f4f4f5",
}
ON_DARK = "#fefefe"


class SliceLike(Protocol):
    """A slice's difference; see ``labelproof.report.compare.model.SliceRow``."""

    @property
    def key(self) -> str: ...
    @property
    def value(self) -> str: ...
    @property
    def difference(self) -> PairedDifference: ...
    @property
    def q_value(self) -> float | None: ...
    @property
    def small(self) -> bool: ...


def slice_heatmap(
    slices: Sequence[SliceLike], *, lower_is_better: bool = False, alpha: float = ALPHA, subject: str = ""
) -> Plot:
    """Return B minus A on each slice; strong colour: Benjamini-Hochberg q below ``alpha``; hatched: too few items.

    The first 60 slices are drawn, the table has all of them.
    """
    import altair as alt

    cells = [_cell(one, lower_is_better=lower_is_better, alpha=alpha) for one in slices]
    drawn = cells[:MOST_CELLS]
    bottom, heads = _place(drawn)
    flat: dict[str, Any] = {"scale": None, "axis": None}
    base = alt.Chart(inline(drawn))
    layers: list[Any] = [
        base.mark_rect(stroke="white", strokeWidth=1, cornerRadius=4).encode(
            x=alt.X("x:Q", **flat),
            x2="x2:Q",
            y=alt.Y("y:Q", **flat),
            y2="y2:Q",
            color=alt.Color(
                "tone:N", scale=alt.Scale(domain=list(TONES), range=list(TONES.values())), legend=None
            ),
            tooltip=[
                alt.Tooltip("name:N", title="slice"),
                alt.Tooltip("delta:N", title="difference"),
                alt.Tooltip("interval:N", title="interval"),
                alt.Tooltip("q:N", title="q (Benjamini-Hochberg)"),
                alt.Tooltip("n:Q", title="items"),
            ],
        ),
        alt.Chart(inline(_hatches(drawn)))
        .mark_rule(color="#b9b9b9", strokeWidth=1)
        .encode(x=alt.X("x:Q", **flat), x2="x2:Q", y=alt.Y("y:Q", **flat), y2="y2:Q"),
        *_words(base, flat),
        alt.Chart(inline(heads))
        .mark_text(align="left", baseline="middle", color=INK, fontWeight="bold", limit=_LABELS - 8)
        .encode(x=alt.value(0), y=alt.Y("y:Q", **flat), text="key:N"),
    ]
    title = _finding(slices, cells)
    rest = len(cells) - len(drawn)
    return finished(
        alt.layer(*layers).properties(
            width=_LABELS + _COLUMNS * (_CELL_WIDE + _GAP), height=max(bottom, _CELL_HIGH)
        ),
        title=title,
        subtitle=(f"{subject}. " if subject else "")
        + f"Dark cells hold after correction for {len(slices)} slices (Benjamini-Hochberg, q < {alpha:g}); pale "
        "cells could be chance; hatched cells have fewer than 30 items and are not tested."
        + (f" {rest} more slices are in the table." if rest else ""),
        alt_text=f"Differences on {len(slices)} slices of the items. {title}.",
        rows=[
            {
                "slice": one["name"],
                "difference": one["delta"],
                "interval": one["interval"],
                "q": one["q"],
                "items": str(one["n"]),
                "reading": one["tone"],
            }
            for one in cells
        ],
    )


def _cell(one: SliceLike, *, lower_is_better: bool, alpha: float) -> dict[str, Any]:
    found = one.difference
    tone = "not measurable"
    if one.small:
        tone = "too few items"
    elif found.delta is not None:
        better = (found.delta > 0) != lower_is_better
        proven = one.q_value is not None and one.q_value < alpha
        tone = f"{'better' if better else 'worse'}, {'proven' if proven else 'unproven'}"
        if found.delta == 0:
            tone = "no difference"
    mark = {"better": "▲ ", "worse": "▼ "}.get(tone.partition(",")[0], "")
    return {
        "key": one.key,
        "value": one.value,
        "name": f"{one.key} = {one.value}",
        "delta": delta_words(found.metric, found.delta),
        "shown": mark + delta_words(found.metric, found.delta),
        "interval": interval_words(found.metric, found),
        "q": "-" if one.q_value is None else f"{one.q_value:.3f}" if one.q_value >= 0.001 else "< 0.001",
        "n": found.n,
        "n_words": f"n = {found.n:,}".replace(",", " "),
        "tone": tone,
        "small": one.small,
        "metric": found.metric,
    }


def _place(cells: Sequence[dict[str, Any]]) -> tuple[float, list[dict[str, Any]]]:
    """Give every cell its corners in pixels, one block of lines per key; return the lower end and the keys' places."""
    top = 0.0
    heads = []
    for key in dict.fromkeys(cell["key"] for cell in cells):
        members = [cell for cell in cells if cell["key"] == key]
        heads.append({"key": key, "y": top + _CELL_HIGH / 2})
        for i, cell in enumerate(members):
            line, column = divmod(i, _COLUMNS)
            x = _LABELS + column * (_CELL_WIDE + _GAP)
            y = top + line * (_CELL_HIGH + _GAP)
            cell.update(x=x, x2=x + _CELL_WIDE, y=y, y2=y + _CELL_HIGH, middle=x + _CELL_WIDE / 2)
            cell.update(first=y + 15, second=y + 33, third=y + 50)
        top += -(-len(members) // _COLUMNS) * (_CELL_HIGH + _GAP) + 3 * _GAP
    return top - 3 * _GAP, heads


def _hatches(cells: Iterable[dict[str, Any]]) -> list[dict[str, float]]:
    """Diagonals from the lower left to the upper right, cut at the cell's edges."""
    lines = []
    for cell in cells:
        if not cell["small"]:
            continue
        for start in range(_HATCH, _CELL_WIDE + _CELL_HIGH, _HATCH):
            low, high = max(0, start - _CELL_HIGH), min(start, _CELL_WIDE)
            lines.append(
                {
                    "x": cell["x"] + low,
                    "y": cell["y"] + start - low,
                    "x2": cell["x"] + high,
                    "y2": cell["y"] + start - high,
                }
            )
    return lines


def _words(base: Any, flat: dict[str, Any]) -> list[Any]:
    import altair as alt

    color = alt.condition(
        "datum.tone === 'better, proven' || datum.tone === 'worse, proven'",
        alt.value(ON_DARK),
        alt.value(INK),
    )
    return [
        base.mark_text(fontSize=size, fontWeight=weight, limit=_CELL_WIDE - 12, baseline="middle").encode(
            x=alt.X("middle:Q", **flat), y=alt.Y(f"{line}:Q", **flat), text=f"{name}:N", color=color
        )
        for line, name, size, weight in (
            ("first", "value", 12, "normal"),
            ("second", "shown", 14, "bold"),
            ("third", "n_words", 11, "normal"),
        )
    ]


def _finding(slices: Sequence[SliceLike], cells: Sequence[dict[str, Any]]) -> str:
    if not slices:
        return "There are no slices to look at"
    metric = metric_words(slices[0].difference.metric)
    worse = [cell["name"] for cell in cells if cell["tone"] == "worse, proven"]
    better = [cell["name"] for cell in cells if cell["tone"] == "better, proven"]
    if worse:
        return f"{metric} is proven worse on {listed(worse)}"
    if better:
        return f"{metric} is proven better on {listed(better)}, and proven worse nowhere"
    return f"{metric}: no slice differs more than chance would explain"
