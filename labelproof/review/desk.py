"""The desk: hands out tasks, takes votes, and keeps the queue fresh. One per process, safe from any thread.

The queue lives in memory. Leases are claimed in the office, which several processes share; a vote is acknowledged when
its segment is durable; nothing here waits for a drain of the store.
"""

from __future__ import annotations

import gc
import logging
import random
import threading
from collections.abc import Callable, Collection, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Self

from labelproof.review._desk_hand import Handing
from labelproof.review._desk_room import Room
from labelproof.review._desk_show import rounded_up
from labelproof.review._desk_tools import Tools
from labelproof.review._desk_votes import Votes
from labelproof.review._desk_writer import GroupWriter
from labelproof.review.model import (
    Assignment,
    Ballot,
    NothingToDo,
    Outcome,
    Progress,
    Receipt,
    Reviewer,
    ReviewError,
    Task,
    VoteRole,
)
from labelproof.review.office import Office
from labelproof.review.queue import QueueOverview
from labelproof.spec.project import ProjectFolder
from labelproof.store import BackgroundDrain, TraceStore

SYNC_S = 1.0
"""Pause between two looks at what other processes have stored."""
RECONCILE_LOOKS = 60
"""After so many looks, what came late with an old time is searched for."""
MARKS_KEPT = timedelta(hours=1)
_log = logging.getLogger(__name__)


def utc_now() -> datetime:
    """Return the time in UTC."""
    return datetime.now(UTC)


class Desk:
    """The queues of some projects over one store.

    ``seed`` fixes when hidden gold is drawn, for tests; by default nobody can foresee it.
    """

    def __init__(
        self,
        store: TraceStore,
        office: Office,
        projects: Mapping[str, ProjectFolder],
        *,
        clock: Callable[[], datetime] = utc_now,
        seed: int | None = None,
    ) -> None:
        self.store = store
        self.office = office
        self.projects = dict(projects)
        self.clock = clock
        self._rooms = {name: Room(store, folder) for name, folder in self.projects.items()}
        self._tools = Tools(
            store=store,
            office=office,
            writer=GroupWriter(store),
            clock=clock,
            random=random.SystemRandom() if seed is None else random.Random(seed),
            rooms=self._rooms,
        )
        self._handing = Handing(self._tools)
        self._votes = Votes(self._tools, self._handing)
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._drain: BackgroundDrain | None = None
        self.synced_at: datetime | None = None

    @classmethod
    def open(
        cls,
        store: TraceStore,
        office: Office,
        projects: Mapping[str, ProjectFolder],
        *,
        clock: Callable[[], datetime] = utc_now,
        seed: int | None = None,
    ) -> Self:
        """Return a desk with every queue loaded from the store."""
        desk = cls(store, office, projects, clock=clock, seed=seed)
        for room in desk._rooms.values():
            room.load(clock())
        desk._note_leases()
        desk.synced_at = clock()
        gc.collect()
        gc.freeze()  # a hundred thousand tasks stay: full collections would stop everybody for a moment
        return desk

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def start(self) -> None:
        """Keep the queues fresh, and drain the store, in the background."""
        if self._thread is None:
            self._drain = self.store.background_drain()
            self._drain.__enter__()
            self._thread = threading.Thread(target=self._keep_fresh, name="labelproof-sync", daemon=True)
            self._thread.start()

    def close(self) -> None:
        """Write what waits and stop. Leases stay: whoever comes back finds the task they had."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(10)
            self._thread = None
        self._tools.writer.close()
        if self._drain is not None:
            self._drain.__exit__(None, None, None)
            self._drain = None

    # --- a reviewer's work -----------------------------------------------------------------------

    def next(
        self,
        reviewer: Reviewer,
        project: str,
        *,
        role: VoteRole = "reviewer",
        after: Collection[str] = (),
        task_id: str | None = None,
    ) -> Assignment | NothingToDo:
        """Return the next task of a reviewer, held for them; or why there is none.

        ``after``: tasks that this client has on its screen. A task that the reviewer holds otherwise (another tab, a
        closed browser) comes back first. ``task_id``: this very task, ``LeaseLost`` when it cannot be had.
        """
        return self._handing.next(reviewer, project, role=role, after=after, task_id=task_id)

    def renew(self, reviewer: Reviewer, leases: Mapping[str, str]) -> dict[str, bool]:
        """Extend leases (task id -> token); returns which of them the reviewer still holds."""
        return self._handing.renew(reviewer, leases)

    def release(self, reviewer: Reviewer, task_id: str, token: str) -> None:
        """Give a task back unanswered."""
        self._handing.release(reviewer, task_id, token)

    def cast(
        self,
        reviewer: Reviewer,
        project: str,
        ballot: Ballot,
        *,
        role: VoteRole = "reviewer",
        source: str = "web",
    ) -> Receipt:
        """Store a vote and return when it is durable; the same ``key`` again is the same vote.

        ``LeaseLost`` when the task has gone to somebody else or is decided, ``ReviewError`` for an answer that the
        project does not know. A lease that ran out while nobody took the task still counts.
        """
        return self._votes.cast(reviewer, project, ballot, role=role, source=source)

    def undo(self, reviewer: Reviewer, project: str) -> Assignment | NothingToDo:
        """Take the reviewer's latest answer back and hand the task to them again.

        ``NothingToDo`` when a colleague holds it right now: the answer is withdrawn, and the task comes back later.
        ``ReviewError`` when there is nothing to take back, or it was too long ago.
        """
        return self._votes.undo(reviewer, project)

    def appeal(self, reviewer: Reviewer, project: str, item_id: str, reason: str) -> Task:
        """Ask people again about an item whose label is contested; returns the task, durable."""
        return self._votes.appeal(reviewer, project, item_id, reason)

    def close_task(self, reviewer: Reviewer, project: str, task_id: str, reason: str) -> Outcome:
        """Stop asking about a task. Leads only."""
        return self._votes.close_task(reviewer, project, task_id, reason)

    def reopen_task(self, reviewer: Reviewer, project: str, task_id: str, reason: str) -> Outcome:
        """Ask again about a closed task, or one that the queue escalated. Leads only."""
        return self._votes.reopen_task(reviewer, project, task_id, reason)

    # --- what is known ---------------------------------------------------------------------------

    def progress(self, reviewer: Reviewer, project: str) -> Progress:
        """Return the reviewer's day."""
        room = self._tools.room(reviewer, project)
        now = self.clock()
        care = room.policy.care
        with room.lock:
            minutes = room.days.minutes_at_work(reviewer.name, now)
            pace_s = room.days.pace_s(reviewer.name)
            n_open = room.queue.n_open_for(reviewer) + len(room.open_checks(reviewer.name))
            latest = room.queue.latest_answer(reviewer.name)
            seen = room.days.said(reviewer.name, now)
            answered = room.days.answered(reviewer.name, now)
            state = room.queue.outcome(latest.task_id).state if latest is not None else None
        limit = timedelta(minutes=room.policy.undo_minutes)
        if room.plants_gold:
            n_open = rounded_up(n_open)
        return Progress(
            answered=answered,
            n_open_for_me=n_open,
            hours_left=None if pace_s is None else n_open * pace_s / 3600,
            seen=dict(seen),
            limits=dict(care.daily_limit),
            minutes_at_work=minutes,
            break_due=minutes >= care.break_after_minutes,
            can_undo=latest is not None and state != "adjudicated" and now - latest.at <= limit,
            rounded=room.plants_gold,
        )

    def for_leads(self, project: str) -> list[tuple[Task, Outcome]]:
        """Return the tasks that wait for a lead, most urgent first."""
        room = self._rooms[project]
        with room.lock:
            return room.queue.for_leads()

    def outcome(self, project: str, task_id: str) -> Outcome:
        """Return what became of a task, however old; ``ReviewError`` when it is unknown."""
        self.task(project, task_id)
        room = self._rooms[project]
        with room.lock:
            return room.queue.outcome(task_id)

    def task(self, project: str, task_id: str) -> Task:
        """Return a task, however old; ``ReviewError`` when it is unknown."""
        task = self._rooms[project].find(task_id)
        if task is None:
            raise ReviewError(f"There is no task {task_id} in project {project}.")
        return task

    def tasks_of_item(self, project: str, item_id: str) -> list[tuple[Task, Outcome]]:
        """Return the tasks about an item that are in memory (undecided, or decided lately), oldest first."""
        room = self._rooms[project]
        with room.lock:
            found = [room.queue.task(task_id) for task_id in room.queue.tasks_of_item(item_id)]
            return [(task, room.queue.outcome(task.task_id)) for task in found if task is not None]

    def overview(self, project: str) -> QueueOverview:
        """Return the queue in numbers."""
        room = self._rooms[project]
        with room.lock:
            return room.queue.overview(self.clock())

    def text_of(self, project: str, item_id: str) -> tuple[str, Mapping[str, Any]]:
        """Return an item's text and metadata."""
        return self._rooms[project].text_of(item_id)

    # --- freshness -------------------------------------------------------------------------------

    def sync(self) -> None:
        """Take in what other processes have stored, and what the office says of leases."""
        for room in self._rooms.values():
            room.sync(self.clock())
        self._note_leases()
        self._votes.escalate_waiting()
        self.synced_at = self.clock()

    def _note_leases(self) -> None:
        """Make the queues hold what the office holds, by whichever process, and nothing else."""
        now = self.clock()
        for room in self._rooms.values():
            with room.lock:  # while the office is read: a vote that is just finishing must not be held again
                held = {lease.task_id: lease for lease in self.office.leases.held(room.name, now)}
                for task_id in room.queue.held() - held.keys():
                    room.queue.release(task_id)
                for lease in held.values():
                    room.queue.hold(lease.task_id, lease.reviewer, lease.until)

    def _keep_fresh(self) -> None:
        looks = 0
        while not self._stop.wait(SYNC_S):
            looks += 1
            try:
                self.sync()
                if looks % RECONCILE_LOOKS == 0:
                    self.office.leases.prune(self.clock() - MARKS_KEPT)
                    for room in self._rooms.values():
                        room.reconcile(self.clock())
            except Exception:  # noqa: BLE001 - the thread must not die: the next look may work
                _log.exception("the queue could not be brought up to date; the next look tries again")
