"""The overview's numbers in words: the same ones in the terminal and on the page."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from labelproof.report.numbers import count, percent
from labelproof.report.overview.read import DAYS, ProjectRow, Quality
from labelproof.spec.monitoring import Level


def quality_words(quality: Quality | None) -> str:
    """Return `96.2 % (95.1 to 97.1; n = 600)`, or why there is no number."""
    if quality is None:
        return "not measured"
    if quality.value is None:
        return quality.reason or "unknown"
    span = (
        ""
        if quality.low is None or quality.high is None
        else f"{100 * quality.low:.1f} to {100 * quality.high:.1f}; "
    )
    return f"{percent(quality.value)} ({span}n = {count(quality.n)})"


def promise_words(quality: Quality | None) -> str:
    """Return `≥ 95 %: met`."""
    if quality is None or quality.bound is None:
        return "none"
    return f"≥ {100 * quality.bound:g} %: {quality.state}"


def coverage_words(row: ProjectRow) -> str:
    """Return `68.3 % of 41 300`."""
    return (
        f"no work in {DAYS} days"
        if row.coverage is None
        else f"{percent(row.coverage)} of {count(row.n_decided)}"
    )


def cost_words(row: ProjectRow) -> str:
    """Return `$0.41`; with how many prices are known where some are not."""
    if row.cost_per_1000 is None:
        return "no price known" if row.n_decided else "-"
    some = "" if row.n_priced == row.n_decided else f" ({count(row.n_priced)} priced)"
    return f"${row.cost_per_1000:,.2f}{some}"


def level_words(counts: Mapping[Level, int]) -> str:
    """Return `1 critical, 2 major`; `none`."""
    return ", ".join(f"{n} {level}" for level, n in counts.items()) or "none"


def ago(at: datetime | None, now: datetime) -> str:
    """Return `3 h ago`."""
    if at is None:
        return "never"
    hours = (now - at).total_seconds() / 3600
    if hours < 1:
        return "within the hour"
    return f"{hours:.0f} h ago" if hours < 48 else f"{hours / 24:.0f} d ago"


def run_words(row: ProjectRow, now: datetime) -> str:
    """Return `finished 3 h ago`."""
    return "no run" if row.run_at is None else f"{row.run_state} {ago(row.run_at, now)}"


def heat_level(n: int, total: int) -> int:
    """Return how strongly a cell is coloured, 0 (nothing) to 4 (half of the project's errors or more)."""
    if not n or not total:
        return 0
    share = n / total
    return 4 if share >= 0.5 else 3 if share >= 0.25 else 2 if share >= 0.1 else 1
