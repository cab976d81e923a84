"""Counts and sums: work by day, the most frequent causes, money by week."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from labelproof.report.plots._plot import (
    BLUE,
    INK,
    ORANGE,
    SOFT,
    WIDTH,
    Plot,
    finished,
    haloed,
    inline,
    percent,
)

_LINE = 34
_LABELS, _WIDE = 236, 460
"""Pixels of the names and of the bars; fixed, whatever font draws them."""
_LIGHT = "#b9b9b9"
_SHADES = {"by the machine": BLUE, "to people": _LIGHT, "failed": ORANGE}


@dataclass(frozen=True, slots=True, kw_only=True)
class DayVolume:
    """What became of the items of one day; ``day`` as it is written below the bar."""

    day: str
    auto: int
    review: int
    failed: int


def volume_plot(days: Sequence[DayVolume], *, title: str, subtitle: str = "") -> Plot:
    """Return one stacked bar a day, with the share that the machine decided written above it."""
    import altair as alt

    rows: list[dict[str, Any]] = []
    heads: list[dict[str, Any]] = []
    for place, one in enumerate(days):
        parts = {"by the machine": one.auto, "to people": one.review, "failed": one.failed}
        rows += [
            {"day": one.day, "place": place, "kind": kind, "n": n, "order": order}
            for order, (kind, n) in enumerate(parts.items())
        ]
        total = sum(parts.values())
        heads.append({"day": one.day, "total": total, "words": percent(one.auto / total, 0) if total else ""})
    x = alt.X(
        "day:N",
        sort=[one.day for one in days],
        title=None,
        axis=alt.Axis(labelAngle=0, labelOverlap=True, ticks=False),
    )
    color = alt.Color(
        "kind:N",
        scale=alt.Scale(domain=list(_SHADES), range=list(_SHADES.values())),
        legend=alt.Legend(title=None, orient="top", direction="horizontal", columnPadding=48),
    )
    bars = (
        alt.Chart(inline(rows))
        .mark_bar(stroke="white", strokeWidth=1)
        .encode(x=x, y=alt.Y("n:Q", title="Decisions", axis=alt.Axis(tickCount=5, format=",d")), color=color, order="order:O")
    )  # fmt: skip
    above = alt.Chart(inline(heads)).encode(x=x, y=alt.Y("total:Q", title="Decisions"), text="words:N")
    return finished(
        alt.layer(bars, above.mark_text(baseline="bottom", dy=-5, color=INK)).properties(
            width=WIDTH, height=260
        ),
        title=title,
        subtitle=subtitle or "Above each bar: the share that the machine decided alone.",
        alt_text=f"{title}. Stacked bars for {len(days)} days.",
        rows=[
            {
                "day": one.day,
                "by the machine": str(one.auto),
                "to people": str(one.review),
                "failed": str(one.failed),
            }
            for one in days
        ],
    )


def bars_plot(counts: Mapping[str, float], *, title: str, axis: str, subtitle: str = "") -> Plot:
    """Return one horizontal bar per name, in the order given, with its count at the end."""
    import altair as alt

    rows = [
        {"y": _LINE * (i + 0.5), "label": name, "n": n, "words": f"{n:,.0f}".replace(",", " ")}
        for i, (name, n) in enumerate(counts.items())
    ]
    high = _LINE * max(1, len(rows))
    top = 1.12 * max([*counts.values(), 1.0])
    y = alt.Y("y:Q", scale=alt.Scale(domain=[0, high], range=[0, high]), axis=None)
    scale = alt.Scale(domain=[0, top], nice=False, range=[_LABELS, _LABELS + _WIDE])
    placed = alt.Axis(
        tickMinStep=1,
        tickCount=5,
        format=",d",
        titleAnchor="start",
        titleX=_LABELS + _WIDE / 2,
        titleAlign="center",
    )
    x = alt.X("n:Q", title=axis, scale=scale, axis=placed)
    base = alt.Chart(inline(rows)).encode(y=y)
    layers = [
        base.mark_rule(color=BLUE, strokeWidth=20).encode(x=x, x2=alt.value(_LABELS)),
        base.mark_text(align="left", dx=8, color=INK).encode(x=x, text="words:N"),
        base.mark_text(align="left", color=INK, limit=_LABELS - 10).encode(x=alt.value(0), text="label:N"),
    ]
    return finished(
        alt.layer(*layers).properties(width=_LABELS + _WIDE + 40, height=high),
        title=title,
        subtitle=subtitle,
        alt_text=f"{title}. Bars for {len(rows)} names.",
        rows=[{"": name, axis.lower(): f"{n:g}"} for name, n in counts.items()],
    )


def money_plot(
    periods: Sequence[str],
    usd: Sequence[float | None],
    *,
    title: str,
    axis: str,
    bound: float | None = None,
    words: Sequence[str] | None = None,
    subtitle: str = "",
) -> Plot:
    """Return one bar per period in US dollars, None as a gap, the promised bound as a dashed line.

    ``words``: what stands above each bar; default: the value.
    """
    import altair as alt

    said = words or ["no price" if value is None else f"${value:.3g}" for value in usd]
    rows = [
        {"period": name, "usd": value, "words": shown, "at": value or 0.0}
        for name, value, shown in zip(periods, usd, said, strict=True)
    ]
    top = 1.15 * max([*(value for value in usd if value is not None), bound or 0.0, 0.01])
    x = alt.X(
        "period:N",
        sort=list(periods),
        title=None,
        axis=alt.Axis(labelAngle=0, labelOverlap=True, ticks=False),
    )
    scale = alt.Scale(domain=[0, top])
    y = alt.Y("at:Q", title=axis, scale=scale, axis=alt.Axis(format="$.2~f", tickCount=5))
    base = alt.Chart(inline(rows)).encode(x=x, y=y)
    layers: list[Any] = [
        base.mark_bar(color=BLUE, width=34),
        base.mark_text(baseline="bottom", dy=-5, color=SOFT).encode(text="words:N"),
    ]
    if bound is not None and rows:
        goal = alt.Chart(inline([{"bound": bound, "period": periods[0], "text": f"promise ${bound:g}"}]))
        layers += [
            goal.mark_rule(color=INK, strokeDash=[7, 4], strokeWidth=1.5).encode(
                y=alt.Y("bound:Q", scale=scale)
            ),
            *haloed(
                goal.encode(x=x, y=alt.Y("bound:Q", scale=scale), text="text:N"),
                INK,
                baseline="bottom",
                dy=-4,
            ),
        ]
    return finished(
        alt.layer(*layers).properties(width=WIDTH, height=220),
        title=title,
        subtitle=subtitle,
        alt_text=f"{title}. Bars for {len(rows)} periods.",
        rows=[{"period": name, axis.lower(): shown} for name, shown in zip(periods, said, strict=True)],
    )
