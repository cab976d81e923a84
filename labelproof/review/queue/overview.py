"""The queue in numbers, counted as it changes and never by looking at every task."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray
from sortedcontainers import SortedList

from labelproof.review.model import FOR_LEADS, Outcome, Task, TaskState
from labelproof.review.queue.outcome import n_labels_given
from labelproof.spec.labels import Severity
from labelproof.spec.review import SEVERITIES, TASK_KINDS, TaskKind

STATES: tuple[TaskState, ...] = get_args(TaskState)
KINDS: tuple[TaskKind, ...] = tuple(kind for kind in TASK_KINDS if kind != "check")
SeverityName = Severity | Literal["unknown"]
SEVERITY_NAMES: tuple[SeverityName, ...] = (*SEVERITIES, "unknown")
"""``unknown``: no label, or a kind whose label is not to be told (audit, gold)."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class QueueOverview:
    """A project's queue at one time. Every state, kind and severity has its count, zero when there is none.

    Hidden gold (``check``) is nobody's work and counts only when a reviewer raised a question with it, as escalated.
    ``n_overdue``: open tasks due before ``at``; ``n_held``: tasks under a lease, whatever their state; ``votes_wanted``: answers still
    missing on open tasks. ``due_s`` (seconds since 1970, ascending) and ``votes_left`` (at least 1) have one
    entry an open task, in the same order, and cannot be written to.
    """

    at: datetime
    by_state: Mapping[TaskState, int]
    open_by_kind: Mapping[TaskKind, int]
    open_by_severity: Mapping[SeverityName, int]
    n_open: int
    n_overdue: int
    n_held: int
    oldest_open: datetime | None
    votes_wanted: int
    due_s: NDArray[np.float64]
    votes_left: NDArray[np.int64]
    overdue_by_kind: Mapping[TaskKind, int]
    oldest_by_kind: Mapping[TaskKind, datetime]
    """Only kinds with open tasks."""

    def to_json(self) -> dict[str, Any]:
        """Return everything but the two arrays."""
        return {
            "at": self.at.isoformat(),
            "by_state": dict(self.by_state),
            "open_by_kind": dict(self.open_by_kind),
            "open_by_severity": dict(self.open_by_severity),
            "n_open": self.n_open,
            "n_overdue": self.n_overdue,
            "n_held": self.n_held,
            "oldest_open": self.oldest_open.isoformat() if self.oldest_open else None,
            "votes_wanted": self.votes_wanted,
            "overdue_by_kind": dict(self.overdue_by_kind),
            "oldest_by_kind": {kind: at.isoformat() for kind, at in self.oldest_by_kind.items()},
        }


class Tally:
    """Counters that follow tasks as they enter and leave their states."""

    def __init__(self) -> None:
        self.by_state: Counter[TaskState] = Counter()
        self._severities: Counter[SeverityName] = Counter()
        self._made: dict[TaskKind, SortedList[datetime]] = {kind: SortedList() for kind in KINDS}
        self._due: dict[tuple[int, TaskKind], SortedList[float]] = {}
        """(Votes left, kind) -> due times in seconds since 1970."""
        self._stretches: dict[tuple[int, TaskKind], NDArray[np.float64]] = {}
        """The same as arrays, for those that have not changed since they were last asked for."""
        self._votes_wanted = 0

    def enter(self, tasks: Iterable[tuple[Task, Outcome]]) -> None:
        """Count tasks in the states of their outcomes."""
        made: dict[TaskKind, list[datetime]] = {}
        due: dict[tuple[int, TaskKind], list[float]] = {}
        for task, outcome in tasks:
            if _counts(task, outcome):
                self.by_state[outcome.state] += 1
                if outcome.state == "open":
                    left = _votes_left(task, outcome)
                    self._severities[task.severity or "unknown"] += 1
                    self._votes_wanted += left
                    made.setdefault(task.kind, []).append(task.made_at)
                    due.setdefault((left, task.kind), []).append(task.due_at.timestamp())
        for kind, times in made.items():
            self._made[kind].update(times)
        for key, seconds in due.items():
            self._due.setdefault(key, SortedList()).update(seconds)
            self._stretches.pop(key, None)

    def leave(self, task: Task, outcome: Outcome) -> None:
        """Take back what ``enter`` counted for a task."""
        if not _counts(task, outcome):
            return
        self.by_state[outcome.state] -= 1
        if outcome.state == "open":
            left = _votes_left(task, outcome)
            self._severities[task.severity or "unknown"] -= 1
            self._votes_wanted -= left
            self._made[task.kind].remove(task.made_at)
            self._due[left, task.kind].remove(task.due_at.timestamp())
            self._stretches.pop((left, task.kind), None)

    @property
    def n_for_leads(self) -> int:
        """How many tasks wait for a lead."""
        return sum(self.by_state[state] for state in FOR_LEADS)

    def overview(self, now: datetime, n_held: int) -> QueueOverview:
        """Return the numbers at ``now``."""
        due_s, votes_left = self._due_arrays()
        overdue = dict.fromkeys(KINDS, 0)
        for (_, kind), due in self._due.items():
            overdue[kind] += due.bisect_left(now.timestamp())
        oldest = {kind: made[0] for kind, made in self._made.items() if made}
        return QueueOverview(
            at=now,
            by_state={state: self.by_state[state] for state in STATES},
            open_by_kind={kind: len(made) for kind, made in self._made.items()},
            open_by_severity={name: self._severities[name] for name in SEVERITY_NAMES},
            n_open=self.by_state["open"],
            n_overdue=sum(overdue.values()),
            n_held=n_held,
            oldest_open=min(oldest.values(), default=None),
            votes_wanted=self._votes_wanted,
            due_s=due_s,
            votes_left=votes_left,
            overdue_by_kind=overdue,
            oldest_by_kind=oldest,
        )

    def _due_arrays(self) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        keys = sorted(self._due)
        for key in keys:
            if key not in self._stretches:
                self._stretches[key] = np.array(list(self._due[key]), dtype=np.float64)
        if not keys:
            return np.empty(0, dtype=np.float64), np.empty(0, dtype=np.int64)
        # Ascending stretches, fewest votes left first: a stable sort only has to merge them.
        due_s = np.concatenate([self._stretches[key] for key in keys])
        votes_left = np.repeat(np.array([left for left, _ in keys]), [len(self._due[key]) for key in keys])
        order = np.argsort(due_s, kind="stable")
        due_s, votes_left = due_s[order], votes_left[order].astype(np.int64)
        due_s.flags.writeable = votes_left.flags.writeable = False
        return due_s, votes_left


def _counts(task: Task, outcome: Outcome) -> bool:
    return task.kind != "check" or outcome.state in FOR_LEADS


def _votes_left(task: Task, outcome: Outcome) -> int:
    return max(1, task.votes_wanted - n_labels_given(outcome))
