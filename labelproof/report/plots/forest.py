"""Differences of many metrics with their intervals, one line each: which way, how sure, within which margin."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from evaluation.paired import PairedDifference
from labelproof.report.plots._plot import GREEN, INK, ORANGE, SOFT, Plot, finished, inline
from labelproof.report.plots._units import (
    Unit,
    delta_words,
    direction,
    interval_words,
    listed,
    metric_words,
    unit_of,
    value_words,
)

_LINE = 40
"""Pixels of one metric's line."""
_WIDE, _LABELS, _NUMBERS = 320, 222, 262
_COLORS = {"better": GREEN, "worse": ORANGE, "open": SOFT}
_SHAPES = {"better": "circle", "worse": "triangle-down", "open": "diamond"}
_AXES: dict[Unit, str] = {
    "share": "percentage points",
    "usd": "US dollars per 1 000 items",
    "ms": "milliseconds per item",
}


class RowLike(Protocol):
    """One metric's difference; see ``labelproof.report.compare.model.MetricRow``."""

    @property
    def role(self) -> str: ...
    @property
    def difference(self) -> PairedDifference: ...
    @property
    def lower_is_better(self) -> bool: ...
    @property
    def holds(self) -> bool | None: ...
    @property
    def p_holm(self) -> float | None: ...


def forest_plot(rows: Sequence[RowLike], *, a: str = "A", b: str = "B", subject: str = "") -> Plot:
    """Return B minus A for every metric with its interval; guardrails show their margin as a dashed line.

    Shares, money and time have an axis each, and so have metrics of which less is better: a line means the same
    everywhere in one panel. What is not measurable has a line without a mark, and its reason instead of numbers.
    """
    import altair as alt

    shown = [_row(one) for one in rows]
    panels: dict[tuple[Unit, bool], list[dict[str, Any]]] = {}
    for one, found in zip(rows, shown, strict=True):
        panels.setdefault((unit_of(one.difference.metric), one.lower_is_better), []).append(found)
    charts = [_panel(unit, lower, lines) for (unit, lower), lines in panels.items()]
    title = _finding(rows)
    level = rows[0].difference.confidence if rows else 0.95
    return finished(
        alt.vconcat(*charts, spacing=14) if charts else _panel("share", lower=False, lines=()),
        title=title,
        subtitle=(f"{subject}. " if subject else "")
        + f"{b} minus {a} on the same items; bars: {100 * level:g} % interval of the difference. Circle: better, "
        "triangle: worse, diamond: could be either. Dashed: how much worse a guardrail allows.",
        alt_text=f"Differences of {len(rows)} metrics between {a} and {b} with intervals. {title}.",
        rows=[
            {
                "metric": one["label"],
                a: one["a"],
                b: one["b"],
                "difference": one["difference"],
                "interval": one["interval"],
                "margin": one["margin_words"],
                "items": str(one["n"]),
            }
            for one in shown
        ],
    )


def _row(one: RowLike) -> dict[str, Any]:
    found = one.difference
    scale = 100 if unit_of(found.metric) == "share" else 1
    role = {"primary": " · primary", "guardrail": " · guardrail"}.get(one.role, "")
    margin = None if found.margin is None else found.margin if one.lower_is_better else -found.margin

    def scaled(value: float | None) -> float | None:
        return None if value is None else scale * value

    return {
        "label": metric_words(found.metric) + role,
        "metric": found.metric,
        "delta": scaled(found.delta),
        "low": scaled(found.low),
        "high": scaled(found.high),
        "margin": scaled(margin),
        "margin_words": "-" if margin is None else delta_words(found.metric, margin),
        "a": value_words(found.metric, found.value_a),
        "b": value_words(found.metric, found.value_b),
        "difference": delta_words(found.metric, found.delta),
        "interval": interval_words(found.metric, found),
        "numbers": _numbers(found),
        "state": direction(found, lower_is_better=one.lower_is_better),
        "n": found.n,
    }


def _numbers(found: PairedDifference) -> str:
    if found.delta is None:
        return found.reason or "not measurable"
    return f"{delta_words(found.metric, found.delta)}   [{interval_words(found.metric, found)}]"


def _panel(unit: Unit, lower: bool, lines: Sequence[dict[str, Any]]) -> Any:
    import altair as alt

    reach = [abs(one[k]) for one in lines for k in ("delta", "low", "high", "margin") if one[k] is not None]
    end = 1.15 * max(reach, default=1.0) or 1.0
    placed = [
        {**one, "top": _LINE * i + 6, "y": _LINE * (i + 0.5), "bottom": _LINE * (i + 1) - 6}
        for i, one in enumerate(lines)
    ]
    scale = alt.Scale(domain=[-end, end], nice=False, range=[_LABELS, _LABELS + _WIDE])
    x = _axis(unit, scale, better="← better · worse →" if lower else "← worse · better →")
    y = alt.Y("y:Q", scale=None, axis=None)
    base = alt.Chart(inline(placed)).encode(y=y)
    color = alt.Color(
        "state:N", scale=alt.Scale(domain=list(_COLORS), range=list(_COLORS.values())), legend=None
    )
    shape = alt.Shape(
        "state:N", scale=alt.Scale(domain=list(_SHAPES), range=list(_SHAPES.values())), legend=None
    )
    measured = base.transform_filter("datum.delta !== null")
    names = base.mark_text(align="left", limit=_LABELS - 10, color=INK)
    numbers = base.mark_text(align="left", limit=_NUMBERS, color=INK)
    layers = [
        alt.Chart(inline([{"zero": 0}]))
        .mark_rule(color=INK, strokeWidth=1.5)
        .encode(x=alt.X("zero:Q", scale=scale)),
        alt.Chart(inline([one for one in placed if one["margin"] is not None]))
        .mark_rule(color=INK, strokeWidth=2, strokeDash=[4, 3])
        .encode(x=alt.X("margin:Q", scale=scale), y=alt.Y("top:Q", scale=None, axis=None), y2="bottom:Q"),
        base.transform_filter("datum.low !== null")
        .mark_rule(strokeWidth=4)
        .encode(x=x, x2="high:Q", color=color),
        measured.mark_point(filled=True, size=130, opacity=1, stroke="white", strokeWidth=1.5).encode(
            x=alt.X("delta:Q", scale=scale),
            color=color,
            shape=shape,
        ),
        names.encode(x=alt.value(0), text="label:N"),
        numbers.encode(x=alt.value(_LABELS + _WIDE + 14), text="numbers:N"),
    ]
    return alt.layer(*layers).properties(width=_LABELS + _WIDE + _NUMBERS, height=_LINE * max(1, len(placed)))


def _axis(unit: Unit, scale: Any, *, better: str) -> Any:
    """The axis of differences, as wide as the lines and not as the names and numbers beside them."""
    import altair as alt

    shown = {"share": "'+.3~f'", "usd": "'+$.2~g'", "ms": "'+,.3~f'"}[unit]
    return alt.X(
        "low:Q",
        title=f"{better}   ({_AXES[unit]})",
        scale=scale,
        axis=alt.Axis(
            tickCount=5,
            grid=True,
            domain=False,
            labelExpr=f"datum.value === 0 ? '0' : format(datum.value, {shown})",
            titleAnchor="start",
            titleX=_LABELS + _WIDE / 2,
            titleAlign="center",
        ),
    )


def _finding(rows: Sequence[RowLike]) -> str:
    known: dict[str, list[str]] = {"better": [], "worse": []}
    for one in rows:
        state = direction(one.difference, lower_is_better=one.lower_is_better)
        if state != "open":
            known[state].append(metric_words(one.difference.metric))
    unproven = [
        metric_words(one.difference.metric)
        for one in rows
        if one.role == "guardrail" and one.holds is not True
    ]
    parts = [f"{state}: {listed(names)}" for state, names in known.items() if names]
    if unproven:
        parts.append(f"guardrail not shown to hold: {listed(unproven)}")
    if not parts:
        return "No metric differs more than chance would explain"
    words = "; ".join(parts)
    return words[0].upper() + words[1:]
