"""What each reviewer has done today: answers, exposure by severity, minutes without a pause, pace."""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from statistics import median

from labelproof.review.model import Task, Vote
from labelproof.spec.labels import LabelSchema, Severity
from labelproof.spec.review import SEVERITIES

_PACE_ANSWERS = 50
_PACE_LEAST = 10
_LONGEST_S = 1_800.0
"""An answer that took longer than half an hour was interrupted: it says nothing of the pace."""


@dataclass(slots=True)
class _Day:
    on: date
    answered: set[str] = field(default_factory=set)
    seen: Counter[Severity] = field(default_factory=Counter)
    severity_of: dict[str, Severity] = field(default_factory=dict)
    said: dict[str, Severity] = field(default_factory=dict)
    began: datetime | None = None
    last: datetime | None = None


class DayBook:
    """The day (UTC) of every reviewer of one project; fed with every vote, in any order."""

    def __init__(self, schema: LabelSchema, *, break_minutes: float) -> None:
        self._schema = schema
        self._pause = timedelta(minutes=break_minutes)
        self._days: dict[str, _Day] = {}
        self._seconds: dict[str, deque[float]] = {}

    def note(self, vote: Vote, task: Task | None) -> None:
        """Count a vote. An answer that is taken back stays seen: it was read."""
        if vote.answer == "withdrawn":
            day = self._days.get(vote.annotator)
            if day is not None:
                day.answered.discard(vote.task_id)
            return
        if vote.seconds is not None and 0 < vote.seconds <= _LONGEST_S:
            self._seconds.setdefault(vote.annotator, deque(maxlen=_PACE_ANSWERS)).append(vote.seconds)
        day = self._days.get(vote.annotator)
        if day is None or day.on < vote.at.date():
            day = self._days[vote.annotator] = _Day(on=vote.at.date())
        if vote.at.date() < day.on:
            return
        day.answered.add(vote.task_id)
        self._expose(day, vote, task)
        start = vote.at - timedelta(seconds=min(vote.seconds or 0.0, _LONGEST_S))
        if day.last is None or start - day.last > self._pause:
            day.began = start
        day.last = max(vote.at, day.last or vote.at)

    def seen(self, reviewer: str, now: datetime) -> Counter[Severity]:
        """Return how many items of each severity a reviewer has answered today."""
        day = self._today(reviewer, now)
        return Counter() if day is None else Counter(day.seen)

    def said(self, reviewer: str, now: datetime) -> Counter[Severity]:
        """Return the same by the severity of the reviewer's own labels, which tells nothing of the machine's."""
        day = self._today(reviewer, now)
        return Counter() if day is None else Counter(day.said.values())

    def answered(self, reviewer: str, now: datetime) -> int:
        """Return how many tasks a reviewer has answered today."""
        day = self._today(reviewer, now)
        return 0 if day is None else len(day.answered)

    def minutes_at_work(self, reviewer: str, now: datetime) -> float:
        """Return the minutes since the reviewer's last pause, 0 when they are pausing."""
        day = self._today(reviewer, now)
        if day is None or day.began is None or day.last is None or now - day.last > self._pause:
            return 0.0
        return (now - day.began).total_seconds() / 60

    def pace_s(self, reviewer: str) -> float | None:
        """Return the median seconds per answer of the last fifty; None below ten."""
        known = self._seconds.get(reviewer, ())
        return median(known) if len(known) >= _PACE_LEAST else None

    def _today(self, reviewer: str, now: datetime) -> _Day | None:
        day = self._days.get(reviewer)
        return day if day is not None and day.on == now.date() else None

    def _expose(self, day: _Day, vote: Vote, task: Task | None) -> None:
        """Count the item at the higher severity of the machine's label and the reviewer's own."""
        own: Severity = "medium"
        known: list[Severity] = [task.severity] if task is not None and task.severity is not None else []
        if vote.label is not None:
            try:
                own = self._schema.severity(vote.label)
            except KeyError:  # a label that a later schema no longer has
                own = "medium"
            known.append(own)
        day.said[vote.task_id] = own
        severity: Severity = max(known, key=SEVERITIES.index, default="medium")
        before = day.severity_of.get(vote.task_id)
        if before is not None:
            day.seen[before] -= 1
        day.severity_of[vote.task_id] = severity
        day.seen[severity] += 1
