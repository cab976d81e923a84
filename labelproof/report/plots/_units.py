"""Metrics as people read them: in which unit, in how many digits, and which direction is good."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from evaluation.paired import PairedDifference

Unit = Literal["share", "usd", "ms"]
_UNITS: dict[str, Unit] = {"cost_per_1k_usd": "usd", "latency_ms": "ms"}
MINUS = "−"
NAMES = {
    "accuracy": "Accuracy",
    "macro_f1": "Macro-F1",
    "auto_accuracy": "Accuracy of auto-accepts",
    "auto_accept_rate": "Auto-accepted",
    "failed_rate": "Failed",
    "cost_per_1k_usd": "Cost per 1 000 items",
    "latency_ms": "Time per item",
    "recall": "Recall",
    "precision": "Precision",
    "f1": "F1",
    "suite": "Suite",
}


def unit_of(metric: str) -> Unit:
    """Return in what a metric is measured: a share from 0 to 1, US dollars, or milliseconds."""
    return _UNITS.get(metric.partition(":")[0], "share")


def metric_words(metric: str) -> str:
    """Return a metric's name for people: `recall:hate` is "Recall: hate"."""
    name, _, of = metric.partition(":")
    words = NAMES.get(name, name)
    return f"{words}: {of}" if of else words


def value_words(metric: str, value: float | None) -> str:
    """Return "84.2 %", "$0.41" or "812 ms"; "-" for None."""
    if value is None:
        return "-"
    unit = unit_of(metric)
    if unit == "usd":
        return f"${_money(value)}"
    return f"{value:.0f} ms" if unit == "ms" else f"{100 * value:.1f} %"


def delta_words(metric: str, delta: float | None, *, unit: bool = True) -> str:
    """Return a difference with its sign: "+1.9 pp" (percentage points), "−$0.03", "+93 ms"; "-" for None."""
    if delta is None:
        return "-"
    kind = unit_of(metric)
    size = abs(delta)
    shown = _money(size) if kind == "usd" else f"{size:.0f}" if kind == "ms" else f"{100 * size:.1f}"
    sign = "±" if not shown.strip("0.") else "+" if delta > 0 else MINUS
    if kind == "usd":
        return f"{sign}${shown}"
    return f"{sign}{shown}" + ({"ms": " ms", "share": " pp"}[kind] if unit else "")


def interval_words(metric: str, found: PairedDifference) -> str:
    """Return "+0.6 to +3.2", or why there is no interval."""
    if found.low is None or found.high is None:
        return found.reason or "no interval"
    low, high = (delta_words(metric, end, unit=False) for end in (found.low, found.high))
    return f"{low} to {high}"


def direction(found: PairedDifference, *, lower_is_better: bool) -> Literal["better", "worse", "open"]:
    """Return whether the whole interval lies on one side of no difference; a bound that is 0 shows neither."""
    if found.low is None or found.high is None or (found.low <= 0 <= found.high):
        return "open"
    return "better" if (found.low > 0) != lower_is_better else "worse"


def listed(words: Sequence[str], most: int = 3) -> str:
    """Return "a, b and c", or "a, b, c and 4 more"."""
    shown = list(words[:most])
    if len(words) > most:
        return f"{', '.join(shown)} and {len(words) - most} more"
    return " and ".join([", ".join(shown[:-1]), shown[-1]]) if len(shown) > 1 else "".join(shown)


def _money(value: float) -> str:
    """Cents from ten cents on; below, two digits that are not zero."""
    if value == 0 or value >= 0.1:
        return f"{value:.2f}"
    rounded = float(f"{value:.2g}")
    return f"{rounded:.10f}".rstrip("0") if rounded else "0"
