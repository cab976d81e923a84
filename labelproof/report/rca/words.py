"""An analysis in words: headline, points, and what a table says."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from labelproof.report.numbers import percent
from labelproof.report.numbers import plain_count as count
from labelproof.report.plots._units import MINUS
from labelproof.report.rca.metrics import parse_words
from labelproof.report.rca.model import CauseRow, RateOf, RootCauseReport


def points(value: float | None, *, unit: bool = True) -> str:
    """Return "−4.2 pp" (percentage points), with its sign."""
    if value is None:
        return "-"
    shown = f"{100 * abs(value):.1f}"
    sign = "±" if not shown.strip("0.") else "+" if value > 0 else MINUS
    return f"{sign}{shown}" + (" pp" if unit else "")


def interval(low: float | None, high: float | None) -> str:
    """Return "[−6.1, −2.3]", or nothing."""
    if low is None or high is None:
        return ""
    return f"[{points(low, unit=False)}, {points(high, unit=False)}]"


def rate_words(rate: RateOf | None) -> str:
    """Return "90.9 % (95 % interval 88.2 to 93.1; 412 of 41 300)"."""
    if rate is None:
        return "-"
    return (
        f"{percent(rate.value)} (95 % interval {100 * rate.low:.1f} to {100 * rate.high:.1f}; "
        f"{count(rate.n)} known of {count(rate.population)})"
    )


def headline(report: RootCauseReport) -> str:
    """Return the result in one sentence."""
    name = parse_words(report.metric)
    if report.why_not is not None or report.after is None:
        return f"Cannot be answered: {report.why_not}."
    if report.before is None or report.change is None:
        cause = _first(report.explaining)
        errors = f"{count(report.n_errors)} errors" if report.n_errors else "no errors"
        return f"{name} in {report.later.name}: {rate_words(report.after)}; {errors}{cause}."
    direction = "fell" if report.change < 0 else "rose"
    size = f"{100 * abs(report.change):.1f} points"
    ends = f"from {percent(report.before.value)} to {percent(report.after.value)}"
    if not report.worse and not report.better:
        return (
            f"{name} {direction} by {size} ({ends}), no more than chance would explain: "
            f"95 % interval {interval(report.low, report.high)}{_shared(report.explaining)}."
        )
    head = f"{name} {direction} by {size} {interval(report.low, report.high)}, {ends}"
    if report.explaining and report.mostly_unexplained and report.left_over is not None:
        left = f"{100 * report.left_over:.1f} of {size}"
        return f"{head}, mostly unexplained ({left}); in part: {_sized(report.explaining[:2])}."
    return f"{head}{_first(report.explaining)}."


def _shared(causes: Sequence[CauseRow]) -> str:
    """Without a change there is nothing to be the cause of; what errors share is said all the same."""
    return f"; what its errors share: {', '.join(row.name for row in causes[:2])}" if causes else ""


def _first(causes: Sequence[CauseRow]) -> str:
    if not causes:
        return ", no cause found that explains it"
    more = f", then {', '.join(row.name for row in causes[1:3])}" if len(causes) > 1 else ""
    return f", first cause: {_sized(causes[:1])}{more}"


def _sized(causes: Sequence[CauseRow]) -> str:
    """Return "language (2.1 points), length / truncation (1.0 points)"."""
    return ", ".join(
        row.name + ("" if row.explained is None else f" ({100 * abs(row.explained):.1f} points)")
        for row in causes
    )


def slice_json(report: RootCauseReport) -> list[dict[str, Any]]:
    """Return the worst slices as JSON values, without the rows they hold."""
    if report.slices is None:
        return []
    return [
        {
            "name": one.name,
            "conditions": [list(pair) for pair in one.conditions],
            "n": one.n,
            "n_errors": one.n_errors,
            "error": one.error.value,
            "low": one.error.low,
            "high": one.error.high,
            "share": one.share,
            "lift": one.lift,
            "excess": one.excess,
            "score": one.score,
            "p_value": one.p_value,
            "before": report.slice_before.get(one.name),
        }
        for one in report.slices.slices
    ]
