"""Tasks to hand out, on few sorted shelves, so that the next one for anybody is found at a shelf's front."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator, Sequence
from typing import NamedTuple

from sortedcontainers import SortedList

from labelproof.review.model import VoteRole
from labelproof.spec.labels import Severity

Place = tuple[float, str]
"""(rank, task id): the order of tasks."""


class Shelf(NamedTuple):
    """What tasks have in common that decides who may take them.

    ``role``: of whoever answers them next; ``people``: who may not (any more).
    """

    role: VoteRole
    severity: Severity | None
    language: str | None
    skills: frozenset[str]
    people: frozenset[str]


class Shelves:
    """Sorted shelves and, sorted too, the first task of each.

    A search walks the first tasks in order and stops at the first that is admitted: mostly the very first. Its worst case is
    the number of shelves, never the number of tasks.
    """

    def __init__(self) -> None:
        self._shelves: dict[Shelf, SortedList[Place]] = {}
        self._fronts: SortedList[tuple[float, str, Shelf]] = SortedList()

    def put(self, shelf: Shelf, new: Sequence[Place]) -> None:
        """Add tasks, at least one, that are not there yet."""
        tasks = self._shelves.setdefault(shelf, SortedList())
        front = tasks[0] if tasks else None
        tasks.update(new)
        if tasks[0] != front:
            if front is not None:
                self._fronts.remove((*front, shelf))
            self._fronts.add((*tasks[0], shelf))

    def take(self, shelf: Shelf, place: Place) -> None:
        """Remove a task that is there."""
        tasks = self._shelves[shelf]
        is_front = tasks[0] == place
        tasks.remove(place)
        if is_front:
            self._fronts.remove((*place, shelf))
            if tasks:
                self._fronts.add((*tasks[0], shelf))
        if not tasks:
            del self._shelves[shelf]

    def first(self, admits: Callable[[Shelf], bool], skip: Container[str]) -> str | None:
        """Return the first task, outside ``skip``, of a shelf that is admitted; None when there is none."""
        best: Place | None = None
        for rank, task_id, shelf in self._fronts:
            if best is not None and best < (rank, task_id):
                break
            if not admits(shelf):
                continue
            if task_id not in skip:
                return task_id
            behind = next((place for place in self._shelves[shelf] if place[1] not in skip), None)
            if behind is not None and (best is None or behind < best):
                best = behind
        return None if best is None else best[1]

    def sizes(self) -> Iterator[tuple[Shelf, int]]:
        """Yield every shelf with its number of tasks."""
        for shelf, tasks in self._shelves.items():
            yield shelf, len(tasks)
