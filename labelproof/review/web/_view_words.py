"""Numbers and times as people say them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

from evaluation.intervals import Estimate
from labelproof.report.numbers import count, percent
from labelproof.review._desk_show import rounded_up
from labelproof.review.model import Progress

KIND_WORDS: Mapping[str, str] = {
    "routed": "sent to people",
    "audit": "audits",
    "gold": "gold candidates",
    "disagreement": "strategies differ",
    "appeal": "appeals",
    "check": "hidden gold",
}
STATE_WORDS: Mapping[str, str] = {
    "open": "open",
    "agreed": "agreed",
    "disputed": "labels differ",
    "escalated": "question for a lead",
    "adjudicated": "adjudicated",
    "closed": "closed",
}
ANSWER_WORDS: Mapping[str, str] = {
    "skip": "skipped",
    "flag": "flagged for a lead",
    "unclear": "guideline unclear",
    "withdrawn": "taken back",
}


def span(seconds: float) -> str:
    """Return a length of time in one unit: 40 s, 12 min, 5 h, 3 days; negative counts as its length."""
    length = abs(seconds)
    if length < 60:
        return f"{length:.0f} s"
    if length < 3_600:
        return f"{length / 60:.0f} min"
    if length < 36 * 3_600:
        hours = length / 3_600
        return f"{hours:.1f} h" if hours < 2 else f"{hours:.0f} h"
    days = length / 86_400
    return f"{days:.0f} days"


def ago(at: datetime | None, now: datetime) -> str:
    """Return how long ago: "12 min ago"; "-" for never."""
    return "-" if at is None else f"{span((now - at).total_seconds())} ago"


def due(at: datetime, now: datetime) -> str:
    """Return when something is due: "in 3 h", "2 h late"."""
    left = (at - now).total_seconds()
    return f"in {span(left)}" if left >= 0 else f"{span(left)} late"


def at_time(at: datetime | None) -> str:
    """Return a time to the minute, in UTC."""
    return "-" if at is None else f"{at.astimezone(UTC):%Y-%m-%d %H:%M}"


def rate(estimate: Estimate | None) -> str:
    """Return a share with its interval and number: "94.1 % (90.2-96.5, n = 210)"; or why there is none."""
    if estimate is None:
        return "-"
    if estimate.value is None:
        return f"not measurable: {estimate.reason}"
    if estimate.low is None or estimate.high is None:
        return f"{percent(estimate.value)} (no interval: {estimate.reason}; n = {estimate.n})"
    ends = f"{100 * estimate.low:.1f}-{100 * estimate.high:.1f}"
    return f"{percent(estimate.value)} ({ends}, n = {count(estimate.n)})"


def progress_line(progress: Progress) -> str:
    """Return the line below a task: what was done today and how long the rest takes; never a comparison."""
    done = f"{count(progress.answered)} answered today"
    if progress.n_open_for_me == 0:
        return f"{done} · nothing else is open for you"
    if progress.hours_left is None:
        return f"{done} · {open_words(progress)} open for you"
    return f"{done} · about {span(3_600 * progress.hours_left)} left at your pace"


def open_words(progress: Progress) -> str:
    """Return how many tasks are open for a reviewer: "41", "about 40", "up to 10"."""
    return rough(progress.n_open_for_me) if progress.rounded else count(progress.n_open_for_me)


def rough(n: int) -> str:
    """Return a rounded count in words: "0", "up to 10", "about 40"."""
    n = rounded_up(n)
    return f"{'up to' if n == 10 else 'about'} {count(n)}" if n else "0"


def break_line(progress: Progress) -> str | None:
    """Return the break nudge; None when no break is due."""
    if not progress.break_due:
        return None
    return f"You have worked {progress.minutes_at_work:.0f} minutes without a pause. A break is a good idea."
