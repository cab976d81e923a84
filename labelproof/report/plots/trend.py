"""Quality over time: what audits found, day by day, against the target."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from typing import Any, Literal

from evaluation._arrays import same_length
from labelproof.report.plots._plot import BLUE, INK, ORANGE, WIDTH, Plot, finished, haloed, inline, percent
from labelproof.spec.errors import ConfigError


def quality_over_time_plot(
    days: Sequence[date | datetime | str],
    value: Sequence[float | None],
    low: Sequence[float | None],
    high: Sequence[float | None],
    *,
    target: float | None = None,
    measure: str = "Right auto-decisions",
    subject: str = "",
    step: Literal["day", "week"] = "day",
) -> Plot:
    """Return a share per day with its interval as a band, and the target as a dashed line.

    ``step`` week: ``days`` are the days on which weeks begin. ``days`` ascending (dates or ISO strings), the rest (n,) in [0, 1]; None leaves a gap. A day counts as
    below ``target`` only when its whole interval is. ``ConfigError`` for arrays of different lengths.
    """
    import altair as alt

    same_length(days=days, value=value, low=low, high=high)
    names = [_iso(day) for day in days]
    if names != sorted(names):
        raise ConfigError("days: expected ascending dates", hint="sort the rows by day")
    rows: list[dict[str, Any]] = [
        {
            "day": d,
            "value": v,
            "low": a,
            "high": b,
            "below": target is not None and b is not None and b < target,
        }
        for d, v, a, b in zip(names, value, low, high, strict=True)
    ]
    seen = [x for row in rows for x in (row["value"], row["low"]) if x is not None]
    seen += [] if target is None else [target]
    span = 1 - min(seen, default=0.0)
    domain = [max(0.0, min(seen, default=0.0) - 0.1 * span), 1.0]
    # Weeks have their mark below their first day; days are too many for a mark each.
    marks: dict[str, Any] = (
        {"values": [f"{name}T00:00:00Z" for name in names]} if step == "week" else {"tickCount": 6}
    )
    x = alt.X(
        "day:T",
        title="Day" if step == "day" else "Week from",
        axis=alt.Axis(format="%-d %b", grid=False, labelOverlap=True, **marks),
    )
    scale = alt.Scale(domain=domain)
    y = alt.Y("value:Q", title=f"{measure} (%)", scale=scale, axis=alt.Axis(format=".0%"))
    base = alt.Chart(inline(rows))
    layers: list[alt.Chart] = [
        base.mark_area(color=BLUE, opacity=0.18).encode(x=x, y=alt.Y("low:Q", scale=scale), y2="high:Q"),
        base.mark_line(color=BLUE, strokeWidth=2.5).encode(x=x, y=y),
        base.mark_rule(color=BLUE, strokeWidth=1, opacity=0.6).encode(x=x, y="low:Q", y2="high:Q"),
        base.mark_point(filled=True, opacity=1).encode(
            x=x,
            y=y,
            color=alt.condition("datum.below", alt.value(ORANGE), alt.value(BLUE)),
            shape=alt.condition("datum.below", alt.value("triangle-down"), alt.value("circle")),
            size=alt.condition("datum.below", alt.value(130), alt.value(60)),
            tooltip=[
                alt.Tooltip("day:T", title="day"),
                alt.Tooltip("value:Q", title=measure.lower(), format=".1%"),
                alt.Tooltip("low:Q", title="from", format=".1%"),
                alt.Tooltip("high:Q", title="to", format=".1%"),
            ],
        ),
    ]
    if target is not None and rows:
        goal = alt.Chart(inline([{"day": names[0], "target": target, "text": f"target {percent(target)}"}]))
        layers += [
            goal.mark_rule(color=INK, strokeDash=[7, 4], strokeWidth=1.5).encode(y="target:Q"),
            *haloed(
                goal.encode(x="day:T", y="target:Q", text="text:N"),
                INK,
                align="left",
                baseline="bottom",
                dx=4,
                dy=-4,
            ),
        ]
    title = _finding(rows, target, measure, step)
    return finished(
        alt.layer(*layers).properties(width=WIDTH, height=320),
        title=title,
        subtitle=f"{subject}. " * bool(subject)
        + f"Band: the interval of each {step} alone."
        + (f" Triangles: {step}s whose whole interval lies below the target." if target is not None else ""),
        alt_text=f"{measure} over {len(rows)} {step}s, with intervals. {title}.",
        rows=[
            {
                step: row["day"],
                measure.lower(): percent(row["value"]),
                "interval": "-" if row["low"] is None else f"{percent(row['low'])} to {percent(row['high'])}",
            }
            for row in rows
        ],
    )


def _iso(day: date | datetime | str) -> str:
    if isinstance(day, datetime):
        return day.date().isoformat()
    return day.isoformat() if isinstance(day, date) else date.fromisoformat(day[:10]).isoformat()


def _finding(rows: Sequence[dict[str, Any]], target: float | None, measure: str, step: str) -> str:
    known = [row for row in rows if row["value"] is not None]
    if not known:
        return "Nothing has been audited yet"
    last = known[-1]
    band = "" if last["low"] is None else f" ({percent(last['low'])} to {percent(last['high'])})"
    day = date.fromisoformat(last["day"])
    words = f"{measure}: {percent(last['value'])}{band} {'on' if step == 'day' else 'in the week from'} {day.day} {day:%B %Y}"
    if target is None:
        return words
    below = [row["day"] for row in rows if row["below"]]
    if below:
        return (
            f"{words}; {len(below)} of {len(known)} {step}s lie clearly below the target of {percent(target)}"
        )
    return f"{words}; no {step} lies clearly below the target of {percent(target)}"
