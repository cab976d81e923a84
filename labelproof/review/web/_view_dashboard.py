"""The project at a glance: panels with small tables and bars, and the capacity plan in sentences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from labelproof.report.numbers import count
from labelproof.review.people import ASSUMED, CapacityPlan, Dashboard, Panel, Span, hours_text
from labelproof.review.web._view_words import KIND_WORDS, at_time

_BAR_HEIGHT = 48


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """A day's bar in a picture 48 high; ``y`` from the top."""

    x: int
    y: int
    height: int
    words: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PanelView:
    """A panel; ``kinds``: rows of (kind, open, overdue, oldest) under the queue, ``bars``: votes per day."""

    key: str
    title: str
    value: str
    detail: str
    sql: str
    kinds: tuple[tuple[str, str, str, str], ...]
    bars: tuple[Bar, ...]


def panel_views(found: Dashboard) -> tuple[PanelView, ...]:
    """Return the panels as they are shown, in their order."""
    return tuple(_panel(panel) for panel in found.panels)


def plan_lines(plan: CapacityPlan) -> dict[str, Any]:
    """Return the capacity plan as (words, value) pairs and the assumptions behind them."""
    rate = plan.rate
    measured = f"measured on {count(rate.n)} answers" if rate.n else "assumed"
    facts = [
        (
            "Answers still wanted",
            f"{count(plan.votes_left)} on {count(plan.n_open)} open tasks",
        ),
        (
            "Pace",
            f"{rate.median:.0f} answers an hour of work ({rate.low:.0f} to {rate.high:.0f}; {measured})",
        ),
        ("New work", f"{plan.arrivals_per_hour:.1f} answers asked for in an hour of the clock"),
        ("Clear in", _hours(plan.clear_hours)),
        ("Hours of work for each", _hours(plan.work_hours)),
        ("Late already", count(plan.n_overdue)),
        ("Will be late", _number(plan.late)),
        ("First one late at", "-" if plan.first_late_at is None else f"{at_time(plan.first_late_at)} UTC"),
        ("People with whom no avoidable task gets late", count(plan.people_needed)),
    ]
    return {"facts": facts, "outrun": plan.outrun, "notes": list(plan.notes), "assumed": list(ASSUMED)}


def _panel(panel: Panel) -> PanelView:
    numbers = panel.numbers
    return PanelView(
        key=panel.key,
        title=panel.title,
        value=panel.value,
        detail=panel.detail,
        sql=panel.sql,
        kinds=_kinds(numbers.get("by_kind", {})),
        bars=_bars(numbers["days"]) if panel.key == "votes" else (),
    )


def _kinds(by_kind: Mapping[str, Mapping[str, Any]]) -> tuple[tuple[str, str, str, str], ...]:
    return tuple(
        (
            KIND_WORDS.get(kind, kind),
            count(row["open"]),
            count(row["overdue"]),
            "-" if row["oldest_hours"] is None else hours_text(row["oldest_hours"]),
        )
        for kind, row in by_kind.items()
    )


def _bars(days: Sequence[Mapping[str, Any]]) -> tuple[Bar, ...]:
    most = max((day["votes"] for day in days), default=0) or 1
    heights = [round(_BAR_HEIGHT * day["votes"] / most) for day in days]
    heights = [max(height, 1) for height in heights]
    return tuple(
        Bar(x=14 * i, y=_BAR_HEIGHT - height, height=height, words=f"{day['day']}: {count(day['votes'])}")
        for i, (day, height) in enumerate(zip(days, heights, strict=True))
    )


def _hours(span: Span) -> str:
    if span.value is None:
        return f"never at this pace: {span.reason}"
    if span.low is None or span.high is None:
        return (
            f"{hours_text(span.value)} (longest unknown: {span.reason})"
            if span.reason
            else hours_text(span.value)
        )
    return f"{hours_text(span.value)} ({hours_text(span.low)} to {hours_text(span.high)})"


def _number(span: Span) -> str:
    if span.value is None:
        return f"- ({span.reason})"
    if span.low is None or span.high is None:
        return count(round(span.value))
    return f"{count(round(span.value))} ({count(round(span.low))} to {count(round(span.high))})"
