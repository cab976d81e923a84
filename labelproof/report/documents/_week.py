"""What every part of the weekly report is given."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from labelproof.report.documents.audited import Harmless
from labelproof.report.documents.book import Book
from labelproof.report.rca.periods import Period
from labelproof.spec.project import ProjectFolder
from labelproof.store import TraceStore

LATE_HOURS = 12
"""A measurement made so long after a period's end still counts for it: monitors run on a schedule."""
TABLES = (
    "runs", "decisions", "review_tasks", "review_events", "votes", "measurements", "alarms", "findings", "rollouts",
    "strategies", "certificates", "certificate_events", "root_causes", "error_causes",
)  # fmt: skip
"""What the weekly queries read, themselves or through views."""
STEPS = 8
"""Periods of the same length that the pictures over time show."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Week:
    """One look at a project's period; the parts add their numbers to ``book``."""

    store: TraceStore
    folder: ProjectFolder
    period: Period
    now: datetime
    strategy: str | None
    names: bool
    """Whether reviewers are called by their names."""
    book: Book
    harmless: Harmless

    @property
    def project(self) -> str:
        return self.folder.name

    @property
    def until(self) -> datetime:
        """The period's end, or now while it runs."""
        return min(self.period.end, self.now)

    @property
    def noun(self) -> str:
        """What the text calls it: week or period."""
        return "week" if self.is_week else "period"

    @property
    def is_week(self) -> bool:
        return self.period.days == 7 and self.period.start.weekday() == 0

    def step(self, back: int) -> tuple[datetime, datetime]:
        """Return start and end of the period ``back`` steps before this one."""
        length = self.period.end - self.period.start
        return self.period.start - back * length, min(self.period.end - back * length, self.until)


def given_of(project: str, period: Period, now: datetime, strategy: str | None) -> Mapping[str, Any]:
    """Return the parameters that the weekly queries share."""
    until = min(period.end, now)
    length = period.end - period.start
    return {
        "project": project,
        "strategy": strategy,
        "since": period.start,
        "until": until,
        "end": period.end,
        "first": period.start - (STEPS - 1) * length,
        "days": length / timedelta(days=1),
        "late": max(until, min(now, period.end + timedelta(hours=LATE_HOURS))) + timedelta(microseconds=1),
    }


__all__ = ["LATE_HOURS", "STEPS", "Week", "given_of"]
