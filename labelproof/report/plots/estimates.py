"""Several estimates side by side: a mark and its interval on a line each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from labelproof.report.plots._plot import BLUE, INK, ORANGE, SOFT, Plot, finished, inline, percent

_LINE = 38
_LABELS, _WIDE, _WORDS = 236, 340, 224
"""Pixels of the names, of the room for the lines, of the words at the right; fixed, whatever font draws them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EstimateLine:
    """A share with its interval; ``group`` gives shape and colour, ``reason`` stands there when nothing is known."""

    label: str
    value: float | None
    low: float | None
    high: float | None
    n: int | None
    group: str = ""
    reason: str = ""
    words: str | None = None
    """What stands at the right; default: value and interval."""


def estimates_plot(
    lines: Sequence[EstimateLine],
    *,
    title: str,
    axis: str,
    subtitle: str = "",
    domain: tuple[float, float] | None = None,
    target: float | None = None,
) -> Plot:
    """Return one line per estimate: a mark at its value, a bar for its interval, the numbers at the right.

    At most two ``group`` values: circle and blue, triangle and orange. ``domain``: ends of the axis (shares);
    default: from 0 to a little above the highest end. ``target``: a dashed line.
    """
    import altair as alt

    groups = list(dict.fromkeys(line.group for line in lines))[:2] or [""]
    rows = [_row(line, i) for i, line in enumerate(lines)]
    ends = [x for line in lines for x in (line.value, line.high) if x is not None]
    top = min(1.0, 1.15 * max([*ends, 0.02])) if domain is None else domain[1]
    start = 0.0 if domain is None else domain[0]
    scale = alt.Scale(domain=[start, top], nice=False, clamp=True, range=[_LABELS, _LABELS + _WIDE])
    high = _LINE * max(1, len(lines))
    y: Any = alt.Y("y:Q", scale=alt.Scale(domain=[0, high], range=[0, high]), axis=None)
    x = alt.X(
        "low:Q",
        title=axis,
        scale=scale,
        axis=alt.Axis(
            format=".3~p",
            tickCount=6,
            domain=False,
            titleAnchor="start",
            titleX=_LABELS + _WIDE / 2,
            titleAlign="center",
        ),
    )
    color = alt.Color(
        "group:N", scale=alt.Scale(domain=groups, range=[BLUE, ORANGE][: len(groups)]), legend=None
    )
    shape = alt.Shape(
        "group:N",
        scale=alt.Scale(domain=groups, range=["circle", "triangle-down"][: len(groups)]),
        legend=None,
    )
    base = alt.Chart(inline(rows)).encode(y=y)
    known = base.transform_filter("datum.value !== null")
    layers: list[Any] = [
        base.transform_filter("datum.low !== null")
        .mark_rule(strokeWidth=4)
        .encode(x=x, x2="high:Q", color=color),
        known.mark_point(filled=True, size=130, opacity=1, stroke="white", strokeWidth=1.5).encode(
            x=alt.X("value:Q", scale=scale, title=axis), color=color, shape=shape
        ),
        base.mark_text(align="left", color=INK, limit=_LABELS - 10).encode(x=alt.value(0), text="label:N"),
        base.mark_text(align="left", color=SOFT, limit=_WORDS).encode(
            x=alt.value(_LABELS + _WIDE + 18), text="words:N"
        ),
    ]
    if target is not None:
        goal = alt.Chart(inline([{"target": target}]))
        layers.append(
            goal.mark_rule(color=INK, strokeDash=[7, 4], strokeWidth=1.5).encode(
                x=alt.X("target:Q", scale=scale, title=axis)
            )
        )
    return finished(
        alt.layer(*layers).properties(width=_LABELS + _WIDE + _WORDS + 18, height=high),
        title=title,
        subtitle=subtitle,
        alt_text=f"{title}. {len(lines)} estimates with intervals.",
        rows=[
            {
                "": line.label,
                axis.lower(): percent(line.value),
                "interval": "-" if line.low is None else f"{percent(line.low)} to {percent(line.high)}",
                "n": "-" if line.n is None else str(line.n),
            }
            for line in lines
        ],
    )


def _row(line: EstimateLine, place: int) -> dict[str, Any]:
    if line.words is not None:
        words = line.words
    elif line.value is None:
        words = line.reason or "not known"
    elif line.low is None or line.high is None:
        words = percent(line.value)
    else:
        words = f"{percent(line.value)}  ({percent(line.low)} to {percent(line.high)})"
    return {
        "y": _LINE * (place + 0.5),
        "label": line.label,
        "value": line.value,
        "low": line.low,
        "high": line.high,
        "group": line.group,
        "words": words,
    }
