"""From A's value to B's, step by step: what each changed component brings; the steps sum to the difference."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from labelproof.report.plots._plot import BLUE, GREEN, INK, ORANGE, SOFT, Plot, finished, inline
from labelproof.report.plots._units import delta_words, listed, metric_words, unit_of, value_words
from labelproof.spec.errors import ConfigError

_LINE = 44
_WIDE, _LABELS, _NUMBERS = 360, 182, 218
_SLACK = 1e-6
"""So far may the shares' sum be from the difference: sums of floating-point numbers, not of a model."""
SHAPLEY = (
    "Each bar is a component's Shapley share: what it changes, averaged over all orders of changing the "
    "components; the bars sum to the difference."
)


class ShareLike(Protocol):
    """A component's share; see ``labelproof.report.compare.model.Share``."""

    @property
    def component(self) -> str: ...
    @property
    def delta(self) -> float: ...
    @property
    def low(self) -> float | None: ...
    @property
    def high(self) -> float | None: ...


def waterfall_plot(
    shares: Sequence[ShareLike],
    *,
    metric: str,
    value_a: float,
    value_b: float,
    a: str = "A",
    b: str = "B",
    subject: str = "",
    how: str = SHAPLEY,
) -> Plot:
    """Return how the components' shares lead from ``value_a`` to ``value_b``, in the metric's own unit.

    Shares keep their order; ``how`` says what they are. ``ConfigError`` when they do not sum to the difference: such a picture would lie.
    """
    import altair as alt

    total = sum(one.delta for one in shares)
    if abs(total - (value_b - value_a)) > _SLACK * max(1.0, abs(value_a), abs(value_b)):
        raise ConfigError(
            f"shares: expected a sum of {value_b - value_a:.9g}, the difference of {metric}, found {total:.9g}",
            hint="explain the same pair on the same items again: labelproof explain A B",
        )
    lines = _lines(shares, metric=metric, value_a=value_a, value_b=value_b, a=a, b=b)
    scale_by = 100 if unit_of(metric) == "share" else 1
    ends = [scale_by * one[k] for one in lines for k in ("start", "end", "low", "high") if one[k] is not None]
    room = 0.12 * (max(ends) - min(ends)) or 0.5
    for one in lines:
        for key in ("start", "end", "low", "high"):
            one[key] = None if one[key] is None else scale_by * one[key]
    scale = alt.Scale(
        domain=[min(ends) - room, max(ends) + room], nice=False, zero=False, range=[_LABELS, _LABELS + _WIDE]
    )
    unit = {"share": "%", "usd": "US dollars per 1 000 items", "ms": "milliseconds"}[unit_of(metric)]
    for i, one in enumerate(lines):
        one.update(
            y=_LINE * (i + 0.5), top=_LINE * i + 12, bottom=_LINE * (i + 1) - 12, next=_LINE * (i + 1.5)
        )
    flat: dict[str, Any] = {"scale": None, "axis": None}
    base = alt.Chart(inline(lines))
    middle = alt.Y("y:Q", **flat)
    kinds = {"total": BLUE, "up": GREEN, "down": ORANGE, "none": SOFT}
    color = alt.Color("kind:N", scale=alt.Scale(domain=list(kinds), range=list(kinds.values())), legend=None)
    x = alt.X(
        "start:Q",
        scale=scale,
        title=f"{metric_words(metric)} ({unit})",
        axis=alt.Axis(
            tickCount=6,
            domain=False,
            titleAnchor="start",
            titleX=_LABELS + _WIDE / 2,
            titleAlign="center",
        ),
    )
    layers = [
        base.transform_filter("datum.kind !== 'total'")
        .mark_rect()
        .encode(
            x=x,
            x2="end:Q",
            y=alt.Y("top:Q", **flat),
            y2="bottom:Q",
            color=color,
            tooltip=[alt.Tooltip("label:N", title="component"), alt.Tooltip("numbers:N", title="share")],
        ),
        alt.Chart(inline(lines[:-1]))
        .mark_rule(color=SOFT, strokeWidth=1, strokeDash=[2, 2])
        .encode(x=alt.X("end:Q", scale=scale), y=middle, y2="next:Q"),
        base.transform_filter("datum.low !== null")
        .mark_rule(color=INK, strokeWidth=1.5)
        .encode(x=alt.X("low:Q", scale=scale), x2="high:Q", y=middle),
        base.transform_filter("datum.kind === 'total'")
        .mark_rule(color=BLUE, strokeWidth=4)
        .encode(x=alt.X("end:Q", scale=scale), y=alt.Y("top:Q", **flat), y2="bottom:Q"),
        base.mark_text(align="left", limit=_LABELS - 10, color=INK).encode(
            x=alt.value(0), y=middle, text="label:N"
        ),
        base.mark_text(align="left", limit=_NUMBERS, color=INK).encode(
            x=alt.value(_LABELS + _WIDE + 14), y=middle, text="numbers:N"
        ),
    ]
    title = _finding(shares, metric, total)
    return finished(
        alt.layer(*layers).properties(width=_LABELS + _WIDE + _NUMBERS, height=_LINE * len(lines)),
        title=title,
        subtitle=(f"{subject}. " if subject else "") + how + " Thin line: 95 % interval of the share.",
        alt_text=f"Waterfall from {a} to {b} over {len(shares)} components. {title}.",
        rows=[
            {"component": one["label"], "share": one["numbers"], "interval": one["interval"]} for one in lines
        ],
    )


def _lines(
    shares: Sequence[ShareLike], *, metric: str, value_a: float, value_b: float, a: str, b: str
) -> list[dict[str, Any]]:
    def total(label: str, value: float) -> dict[str, Any]:
        words = value_words(metric, value)
        ends = {"start": value, "end": value, "low": None, "high": None}
        return {"label": label, **ends, "kind": "total", "numbers": words, "interval": "-"}

    lines = [total(a, value_a)]
    at = value_a
    for one in shares:
        interval = "-"
        if one.low is not None and one.high is not None:
            ends = (delta_words(metric, end, unit=False) for end in (one.low, one.high))
            interval = " to ".join(ends)
        lines.append(
            {
                "label": one.component,
                "start": at,
                "end": at + one.delta,
                "low": None if one.low is None else at + one.low,
                "high": None if one.high is None else at + one.high,
                "kind": "up" if one.delta > 0 else "down" if one.delta < 0 else "none",
                "numbers": delta_words(metric, one.delta) + (f"   [{interval}]" if interval != "-" else ""),
                "interval": interval,
            }
        )
        at += one.delta
    # The last step ends in the measured value itself, not in a sum of rounded ones.
    return [*lines, total(b, value_b)]


def _finding(shares: Sequence[ShareLike], metric: str, total: float) -> str:
    ranked = sorted(shares, key=lambda one: -abs(one.delta))
    if not ranked:
        return f"{metric_words(metric)} changes by {delta_words(metric, total)}; nothing is known about why"
    words = [f"{one.component} {delta_words(metric, one.delta)}" for one in ranked]
    return f"{metric_words(metric)} {delta_words(metric, total)}: {listed(words)}"
