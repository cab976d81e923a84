"""Numbers of targets as people read them: shares in percent, ages in hours, costs in dollars."""

from __future__ import annotations

import math

from evaluation.intervals import Estimate

SHARES = frozenset({"auto_accuracy", "recall", "coverage", "failed_rate", "reviewer_accuracy"})


def value_text(metric: str, value: float | None) -> str:
    """Return a metric's value with its unit: 96.2 %, 31 h, $3.20 per 1 000, 1 240 an hour, 0.81; "-" for None."""
    if value is None:
        return "-"
    name = metric.partition(":")[0]
    if name in SHARES:
        text = f"{100 * value:.4g}" if abs(100 * value - round(100 * value)) < 1e-9 else f"{100 * value:.1f}"
        return f"{text} %"
    if name == "review_age_hours":
        return f"{value:.3g} h"
    if name == "cost_per_1000":
        return f"${value:.2f} per 1 000" if value >= 0.01 or value == 0 else f"${value:.2g} per 1 000"
    if name == "throughput_per_hour":
        return f"{count_text(value)} an hour"
    if name == "decisions":
        return count_text(value)
    return f"{value:.3g}"


def interval_text(metric: str, low: float | None, high: float | None) -> str:
    """Return "95.1-97.1"; shares are rounded outward, so that no digit says too much; "" without an interval."""
    if low is None or high is None or low == high:
        return ""
    if metric.partition(":")[0] in SHARES:
        return f"{math.floor(1000 * low + 1e-9) / 10:.1f}-{math.ceil(1000 * high - 1e-9) / 10:.1f}"
    return f"{low:.3g} to {high:.3g}"


CHANGES: dict[tuple[str, str], str] = {
    ("drift", "provider"): "of calls new",
    ("drift", "strategy"): "of decisions",
    ("drift", "text"): "AUC",
    ("sentinel", "answers"): "flipped",
    ("sentinel", "accuracy"): "points",
}
"""(kind, subject) of drift and sentinel -> what its number is; the others are shares of the work that moved."""


def change_text(kind: str, subject: str, value: float | None) -> str:
    """Return how large a change is: "0.6 % moved", "AUC 0.49", "2.5 % flipped", "+1.5 points"; "-" for None."""
    if value is None:
        return "-"
    what = CHANGES.get((kind, subject), "moved")
    if what == "AUC":
        return f"AUC {value:.2f}"
    return f"{100 * value:+.1f} points" if what == "points" else f"{100 * value:.1f} % {what}"


def change_interval_text(kind: str, subject: str, low: float | None, high: float | None) -> str:
    """Return the interval in the same unit, "0.0 to 2.3"; "" without one."""
    if low is None or high is None:
        return ""
    if CHANGES.get((kind, subject)) == "AUC":
        return f"{low:.2f} to {high:.2f}"
    return f"{100 * low:.1f} to {100 * high:.1f}"


def estimate_text(metric: str, found: Estimate) -> str:
    """Return value, interval and n in words."""
    band = interval_text(metric, found.low, found.high)
    inside = f"95 % interval {band}, n = {count_text(found.n)}" if band else f"n = {count_text(found.n)}"
    return f"{value_text(metric, found.value)} ({inside})"


def evidence_text(value: float) -> str:
    """Return a number of evidence in few characters: 0.31, 4.2, 120, 5 850, 2.2e+07."""
    if value >= 1e6:
        return f"{value:.2g}"
    return f"{value:.2g}" if value < 10 else count_text(value)


def count_text(n: float) -> str:
    """Return a count with thin groups: 41 300."""
    return f"{n:,.0f}".replace(",", " ")
