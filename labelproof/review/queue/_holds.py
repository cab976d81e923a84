"""Leases as one process knows them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import NamedTuple

from sortedcontainers import SortedList


class Hold(NamedTuple):
    """Who holds a task, and until when (exclusive)."""

    reviewer: str
    until: datetime


class Holds:
    """At most one holder a task, and the next to expire first."""

    def __init__(self) -> None:
        self._by_task: dict[str, Hold] = {}
        self._ends: SortedList[tuple[datetime, str]] = SortedList()

    def __contains__(self, task_id: str) -> bool:
        return task_id in self._by_task

    def __len__(self) -> int:
        return len(self._by_task)

    def __iter__(self) -> Iterator[tuple[str, Hold]]:
        return iter(self._by_task.items())

    def get(self, task_id: str) -> Hold | None:
        """Return who holds a task."""
        return self._by_task.get(task_id)

    def add(self, task_id: str, hold: Hold) -> None:
        """Set a task's holder, whoever held it before."""
        self.drop(task_id)
        self._by_task[task_id] = hold
        self._ends.add((hold.until, task_id))

    def drop(self, task_id: str) -> bool:
        """Free a task and return whether it was held."""
        hold = self._by_task.pop(task_id, None)
        if hold is None:
            return False
        self._ends.remove((hold.until, task_id))
        return True

    def expired(self, now: datetime) -> list[str]:
        """Return tasks whose hold has ended, longest ago first."""
        ended: list[str] = []
        for until, task_id in self._ends:
            if until > now:
                break
            ended.append(task_id)
        return ended
