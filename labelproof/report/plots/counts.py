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
_LIGHT = "#9fc7e3"
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
        legend=alt.Legend(title=None, orient="top", direction="horizontal"),
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
    x = alt.X(
        "n:Q",
        title=axis,
        scale=alt.Scale(domain=[0, top]),
        axis=alt.Axis(tickMinStep=1, tickCount=5, format=",d"),
    )
    base = alt.Chart(inline(rows)).encode(y=y)
    layers = [
        base.mark_bar(color=BLUE, height=20).encode(x=x),
        base.mark_text(align="left", dx=6, color=INK).encode(x=x, text="words:N"),
        base.mark_text(align="right", color=INK, limit=230, dx=-12).encode(x=alt.value(0), text="label:N"),
    ]
    return finished(
        alt.layer(*layers).properties(width=WIDTH - 240, height=high),
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
    subtitle: str = "",
) -> Plot:
    """Return one bar per period in US dollars, None as a gap, the promised bound as a dashed line."""
    import altair as alt

    rows = [
        {
            "period": name,
            "usd": value,
            "words": "no price" if value is None else f"${value:.3g}",
            "at": value or 0.0,
        }
        for name, value in zip(periods, usd, strict=True)
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
        rows=[{"period": row["period"], axis.lower(): row["words"]} for row in rows],
    )
