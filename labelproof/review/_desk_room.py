"""One project at the desk: its queue in memory, kept fresh from the store."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from labelproof.review._desk_day import DayBook
from labelproof.review._desk_load import (
    OVERLAP,
    Event,
    News,
    item_of,
    load_all,
    load_checks,
    load_missing,
    load_since,
    load_task,
    load_texts,
)
from labelproof.review._desk_show import plants_gold
from labelproof.review.model import Outcome, Reviewer, Task, TaskEvent, Vote
from labelproof.review.queue import Queue
from labelproof.spec.errors import StoreError
from labelproof.spec.project import ProjectFolder
from labelproof.store import TraceStore

CHECK_FOR = "hidden gold for "
"""Before the reviewer's name: the reason of a check."""
_BITE = 2_000
"""Rows applied in one go."""
TEXT_BUDGET = 256 << 20
"""Characters of item texts held in memory per project; longer queues read the rest when asked."""


class Shelf:
    """Texts and metadata of items, up to a budget; what does not fit is read when it is asked for."""

    def __init__(self, store: TraceStore, *, budget: int = TEXT_BUDGET) -> None:
        self._store = store
        self._left = budget
        self._texts: dict[str, str] = {}
        self._items: dict[str, tuple[str | None, Mapping[str, Any]]] = {}

    def put(self, items: Mapping[str, tuple[str | None, Mapping[str, Any]]]) -> None:
        """Remember items, and fetch the texts of those that are new, while there is room."""
        self._items.update({item: one for item, one in items.items() if one[0] is not None})
        if self._left <= 0:
            return
        wanted = {
            one[0]: item for item, one in items.items() if one[0] is not None and item not in self._texts
        }
        for text_hash, text in load_texts(self._store, list(wanted)).items():
            self._texts[wanted[text_hash]] = text
            self._left -= len(text)

    def drop(self, item_id: str) -> None:
        """Forget the text of an item that nobody is asked about any more."""
        text = self._texts.pop(item_id, None)
        if text is not None:
            self._left += len(text)

    def get(self, project: str, item_id: str) -> tuple[str, Mapping[str, Any]]:
        """Return text and metadata; ``StoreError`` when the store does not have them."""
        known = self._items.get(item_id)
        text = self._texts.get(item_id)
        if text is not None and known is not None:
            return text, known[1]
        if known is None:
            known = self._find(project, item_id)
        texts = load_texts(self._store, [known[0]] if known[0] else [])
        if known[0] not in texts:
            raise StoreError(
                f"the text of item {item_id} is not in this store",
                hint="run the project again: a run stores the texts of its items",
            )
        return texts[known[0]], known[1]

    def _find(self, project: str, item_id: str) -> tuple[str | None, Mapping[str, Any]]:
        found = item_of(self._store, project, item_id)
        if found is None:
            raise StoreError(f"the store knows no item {item_id} of project {project}")
        self._items[item_id] = found
        return found


class Room:
    """The queue of one project. Hold ``lock`` while touching ``queue`` or ``days``."""

    def __init__(self, store: TraceStore, folder: ProjectFolder) -> None:
        self.store = store
        self.folder = folder
        self.policy = folder.spec.review
        self.schema = folder.spec.labels
        self.lock = threading.RLock()
        self.queue = Queue(self.policy)
        self.days = DayBook(self.schema, break_minutes=self.policy.care.break_minutes)
        self.shelf = Shelf(store)
        self._checks: list[tuple[str, str, str | None]] = []
        self.known_tasks: set[str] = set()
        self._votes: dict[str, Vote] = {}
        self._items_answered: dict[str, set[str]] = {}
        self._checks_done: dict[str, set[str]] = {}
        self._checks_made: dict[str, list[str]] = {}
        self.textless: set[str] = set()
        """Tasks whose text could not be read, until the next reconciling: nobody is handed them."""
        self._last_said: dict[str, datetime] = {}
        self._last_event: dict[str, datetime] = {}
        self._recent: dict[str, datetime] = {}
        """Tasks of the last looks and when they were made: only the thread that looks touches it."""
        self._newest = datetime(1970, 1, 1, tzinfo=UTC)

    @property
    def name(self) -> str:
        return self.folder.name

    @property
    def plants_gold(self) -> bool:
        """Whether reviewers may meet hidden gold here."""
        return plants_gold(self.policy)

    @property
    def lease_time(self) -> timedelta:
        """How long a task is held without a sign of life."""
        return timedelta(minutes=self.policy.lease_minutes)

    def load(self, now: datetime) -> None:
        """Build the queue from the store."""
        self._newest = now
        self.take_in(load_all(self.store, self.folder, now))
        self.load_checks()

    def load_checks(self) -> None:
        """Read the gold that may measure reviewers."""
        found = load_checks(self.store, self.folder)
        self.shelf.put({item: (text_hash, meta) for item, _, text_hash, meta in found})
        column = self.policy.language_column
        with self.lock:
            self._checks = [
                (item, label, str(meta[column]) if meta.get(column) else None)
                for item, label, _, meta in found
                if self.schema.members(label)
                <= self.schema.leaf_classes.keys()  # nobody could answer another
            ]

    def checks_for(self, reviewer: Reviewer) -> list[tuple[str, str]]:
        """Return (item id, gold label) of the hidden gold in a reviewer's languages."""
        known = reviewer.languages
        return [
            (item, label)
            for item, label, spoken in self._checks
            if not known or spoken is None or spoken in known
        ]

    def sync(self, now: datetime) -> None:
        """Take in what was stored since the last look, by whichever process.

        A row from the future (an imported one, or a clock that was wrong) does not move the last look past ``now``.
        """
        since = min(self._newest, now)
        recent = [task_id for task_id, made_at in self._recent.items() if made_at > since - OVERLAP]
        news = load_since(self.store, self.folder, since, self.known_tasks, recent)
        self.take_in(news)
        made = {task.task_id: task.made_at for task in news.tasks if task.task_id in self.known_tasks}
        self._recent = {task_id: self._recent[task_id] for task_id in recent} | made

    def find(self, task_id: str) -> Task | None:
        """Return a task; one that is not in memory (old, or made a moment ago elsewhere) is looked for in the store."""
        task = self.queue.task(task_id)
        if task is None:
            self.take_in(load_task(self.store, self.folder, task_id))
            task = self.queue.task(task_id)
        return task

    def reconcile(self, now: datetime) -> None:
        """Take in what came with an old time: from another machine, or a segment that was held up."""
        with self.lock:
            self.textless.clear()
            known, votes = set(self.known_tasks), list(self._votes)
        self.take_in(load_missing(self.store, self.folder, known, votes, now))
        self.load_checks()

    def take_in(self, news: News) -> None:
        """Apply rows of the store; rows that are known change nothing."""
        with self.lock:  # a task whose text is not stored waits outside: each reconciling looks for it again
            fresh = [
                task
                for task in news.tasks
                if task.task_id not in self.known_tasks and news.items[task.item_id][0] is not None
            ]
        self.shelf.put({task.item_id: news.items[task.item_id] for task in fresh})
        bite = _BITE if self.known_tasks else max(1, len(fresh), len(news.votes), len(news.events))
        for start in range(0, max(len(fresh), len(news.votes), len(news.events)), bite):
            here = slice(start, start + bite)
            with self.lock:  # in bites, once people wait: nobody stands still for a hundred thousand rows
                self._take_in(fresh[here], news.votes[here], news.events[here])
        if news.newest is not None and news.newest > self._newest:
            self._newest = news.newest

    def _take_in(self, tasks: Sequence[Task], votes: Sequence[Vote], events: Sequence[Event]) -> None:
        self.known_tasks.update(task.task_id for task in tasks)
        for task in tasks:
            self._note_check(task)
        new = [vote for vote in votes if vote.vote_id not in self._votes]
        for event in events:
            self._last_event[event.task_id] = max(event.at, self._last_event.get(event.task_id, event.at))
        self.queue.load(tasks, new, ((event.task_id, event.event, event.at) for event in events))
        for vote in new:
            self._remember(vote)

    def add(self, task: Task) -> None:
        """Add a task to the queue; the lock is held."""
        self.known_tasks.add(task.task_id)
        self._note_check(task)
        self.queue.add(task)

    def apply(self, vote: Vote) -> Outcome | None:
        """Apply a vote once; the lock is held."""
        if vote.vote_id in self._votes:
            return self.queue.outcome(vote.task_id) if vote.task_id in self.known_tasks else None
        outcome = self.queue.apply_vote(vote)
        self._remember(vote)
        return outcome

    def _remember(self, vote: Vote) -> None:
        """Keep what a vote says of its author's day; the queue has it already."""
        self._votes[vote.vote_id] = vote
        task = self.queue.task(vote.task_id)
        self.days.note(vote, task)
        self._last_said[vote.annotator] = max(vote.at, self._last_said.get(vote.annotator, vote.at))
        self._items_answered.setdefault(vote.annotator, set()).add(vote.item_id)
        if task is not None and task.kind == "check":
            self._checks_done.setdefault(vote.annotator, set()).add(vote.task_id)

    def apply_event(self, task_id: str, event: TaskEvent, at: datetime) -> Outcome | None:
        """Apply an event; the lock is held."""
        self._last_event[task_id] = max(at, self._last_event.get(task_id, at))
        return self.queue.apply_event(task_id, event, at)

    def after_last_event(self, task_id: str, now: datetime) -> datetime:
        """Return ``now``, or the instant after the task's last event."""
        last = self._last_event.get(task_id)
        return now if last is None else max(now, last + timedelta(microseconds=1))

    def after_last(self, reviewer: str, now: datetime) -> datetime:
        """Return ``now``, or the instant after the reviewer's last answer: a later answer has a later time."""
        last = self._last_said.get(reviewer)
        return now if last is None else max(now, last + timedelta(microseconds=1))

    def items_answered(self, reviewer: str) -> set[str]:
        """Return the items that a reviewer has given any answer on; do not change it."""
        return self._items_answered.get(reviewer, set())

    def _note_check(self, task: Task) -> None:
        if task.kind == "check" and task.reason.startswith(CHECK_FOR):
            self._checks_made.setdefault(task.reason.removeprefix(CHECK_FOR), []).append(task.task_id)

    def open_checks(self, reviewer: str) -> list[str]:
        """Return the hidden gold made for a reviewer that waits for their answer, oldest first."""
        made = self._checks_made.get(reviewer, ())
        return [task_id for task_id in made if self.queue.outcome(task_id).state == "open"]

    def checks_done(self, reviewer: str) -> int:
        """Return how many hidden gold items a reviewer has met."""
        return len(self._checks_done.get(reviewer, ()))

    def knows_vote(self, vote_id: str) -> bool:
        """Whether a vote has been applied."""
        return vote_id in self._votes

    def vote(self, vote_id: str) -> Vote:
        """Return an applied vote."""
        return self._votes[vote_id]

    def text_of(self, item_id: str) -> tuple[str, Mapping[str, Any]]:
        """Return an item's text and metadata; reads the store when they are not in memory."""
        return self.shelf.get(self.name, item_id)
