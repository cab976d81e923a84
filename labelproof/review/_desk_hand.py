"""Handing out: whose turn it is for which task, hidden gold in between, and what of it is shown."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Mapping
from collections.abc import Set as AbstractSet
from datetime import datetime, timedelta

from agents.review_tasks import ReviewTask, check_task_id
from labelproof.report.review_io import hidden_characters
from labelproof.review._desk_room import CHECK_FOR, Room
from labelproof.review._desk_show import rationale_of, shown_meta
from labelproof.review._desk_tools import Tools, lead_only
from labelproof.review.model import (
    Assignment,
    Lease,
    LeaseLost,
    NotAllowed,
    NothingToDo,
    Reviewer,
    Task,
    VoteRole,
)
from labelproof.review.queue import is_check_due, pick_check
from labelproof.spec.errors import LabelproofError, StoreError
from labelproof.spec.hashing import digest
from labelproof.spec.review import SEVERITIES

_log = logging.getLogger(__name__)
_TRIES = 200
_BEHIND = timedelta(seconds=5)
"""How long a task is left alone that another process has finished and whose vote is not here yet."""


class Handing:
    """The part of the desk that hands tasks out."""

    def __init__(self, tools: Tools) -> None:
        self._tools = tools

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
        room = self._tools.room(reviewer, project)
        if role == "adjudicator":
            lead_only(reviewer)
        now = self._tools.clock()
        if task_id is not None:
            return self._this(room, reviewer, task_id, role, now)
        theirs = self._tools.office.leases.of_person(room.name, reviewer.name)
        after = {lease.task_id for lease in theirs} & set(after)  # what they have not, they cannot pass over
        held = self._held_before(room, reviewer, role, theirs, after, now)
        if held is not None:
            return held
        if role == "reviewer":
            with room.lock:
                found = _first(room, reviewer, now, role, after)
            check = self._check(room, reviewer, now, after, may_make=isinstance(found, Task))
            if check is not None:
                return check
        for _ in range(_TRIES):
            with room.lock:
                found = _first(room, reviewer, now, role, after)
                if isinstance(found, NothingToDo):
                    return found
                # Held before it is claimed: no other thread of this process tries for it meanwhile.
                room.queue.hold(found.task_id, reviewer.name, now + room.lease_time)
            lease = self.claim(room, reviewer, found.task_id, role, now)
            given = None if lease is None else self._readable(room, found, lease)
            if given is not None:
                return given
        return NothingToDo(
            reason="held",
            message="Others are taking the tasks that are left; try again in a moment.",
            n_open=len(after),
        )

    def renew(self, reviewer: Reviewer, leases: Mapping[str, str]) -> dict[str, bool]:
        """Extend leases (task id -> token); returns which of them the reviewer still holds."""
        now = self._tools.clock()
        kept: dict[str, bool] = {}
        for room in self._tools.rooms.values():
            mine = {task: token for task, token in leases.items() if room.queue.task(task) is not None}
            if mine:
                until = now + room.lease_time
                kept |= self._tools.office.leases.renew(reviewer.name, mine, until=until, now=now)
                with room.lock:
                    for task_id, still in kept.items():
                        if still and task_id in mine:
                            room.queue.hold(task_id, reviewer.name, until)
        unknown = {task: token for task, token in leases.items() if task not in kept}
        if unknown:  # made a moment ago by another process: the office knows who holds it all the same
            until = now + min(room.lease_time for room in self._tools.rooms.values())
            kept |= self._tools.office.leases.renew(reviewer.name, unknown, until=until, now=now)
        return {task: kept.get(task, False) for task in leases}

    def release(self, reviewer: Reviewer, task_id: str, token: str) -> None:
        """Give a task back unanswered."""
        self._tools.office.leases.release(task_id, token)
        for room in self._tools.rooms.values():
            with room.lock:
                if room.queue.task(task_id) is not None:
                    holder = self._tools.office.leases.holder(task_id, self._tools.clock())
                    if holder is None:
                        room.queue.release(task_id)

    def claim(
        self, room: Room, reviewer: Reviewer, task_id: str, role: VoteRole, now: datetime
    ) -> Lease | None:
        """Claim a task in the office; when somebody else has it, the queue is told."""
        until = now + room.lease_time
        lease = self._tools.office.leases.claim(
            task_id, room.name, reviewer.name, now=now, until=until, role=role
        )
        holder = lease or self._tools.office.leases.holder(task_id, now)
        with room.lock:
            if holder is not None:
                room.queue.hold(task_id, holder.reviewer, holder.until)
            else:  # answered or decided in another process, whose vote is not here yet: it will be in a moment
                room.queue.hold(task_id, "another desk", now + _BEHIND)
        return lease

    def _this(
        self, room: Room, reviewer: Reviewer, task_id: str, role: VoteRole, now: datetime
    ) -> Assignment:
        task = room.find(task_id)
        if task is None:
            raise LeaseLost("This task is not in the queue any more.")
        with room.lock:
            refusal = room.queue.refusal(task_id, reviewer.name, role)
        if refusal is not None:
            raise LeaseLost(refusal)
        if role == "reviewer" and task.kind == "check" and not _is_check_of(task, reviewer.name):
            raise NotAllowed("This task is somebody else's.")
        lease = self.claim(room, reviewer, task_id, role, now)
        if lease is None:
            raise LeaseLost("A colleague has this task open right now.")
        return self.assignment(room, task, lease)

    def _held_before(
        self,
        room: Room,
        reviewer: Reviewer,
        role: VoteRole,
        theirs: Iterable[Lease],
        after: Collection[str],
        now: datetime,
    ) -> Assignment | None:
        """Return a task that this reviewer holds and does not have on this screen."""
        for lease in theirs:
            if lease.until <= now or lease.task_id in after:
                continue
            with room.lock:
                task = room.queue.task(lease.task_id)
                if task is None or room.queue.refusal(lease.task_id, reviewer.name, role) is not None:
                    continue
            again = self.claim(room, reviewer, lease.task_id, role, now)
            given = None if again is None else self._readable(room, task, again)
            if given is not None:
                return given
        return None

    def _check(
        self, room: Room, reviewer: Reviewer, now: datetime, after: Collection[str], *, may_make: bool
    ) -> Assignment | None:
        """Return a hidden gold task when one is due for this reviewer.

        One that they gave back, or whose answer they took back, comes first, as any task of theirs would. ``may_make``:
        something else is open for them; a task out of nowhere would be known for a check.
        """
        with room.lock:
            waiting_ids = [one for one in room.open_checks(reviewer.name) if one not in after]
        for task_id in waiting_ids:
            task = room.queue.task(task_id)
            lease = self.claim(room, reviewer, task_id, "reviewer", now)
            given = None if lease is None or task is None else self._readable(room, task, lease)
            if given is not None:
                return given
        if not may_make:
            return None
        with room.lock:
            done = room.checks_done(reviewer.name)
            waiting = sum(1 for task_id in after if _kind(room, task_id) == "check")
            n_answered = room.queue.answered(reviewer.name) + len(after)
            if not is_check_due(room.policy.checks, n_answered, done + waiting, self._tools.random.random()):
                return None
            met = room.items_answered(reviewer.name) | {
                task.item_id for task in map(room.queue.task, after) if task is not None
            }
            key = digest(["check", room.name, reviewer.name, done + waiting])
            chosen = pick_check(room.checks_for(reviewer), met, key)
        if chosen is None:
            return None
        item_id, label = chosen
        task_id = check_task_id(room.name, item_id, reviewer.name)
        task = room.queue.task(task_id)
        if task is None:
            row = _check_row(room, reviewer.name, task_id, item_id, label, now)
            try:
                task = self._tools.new_task(room, row, wait=False)
            except StoreError as error:
                _log.warning("hidden gold %s of %s cannot be shown: %s", item_id, room.name, error.message)
                return None
        lease = self.claim(room, reviewer, task_id, "reviewer", now)
        return None if lease is None else self._readable(room, task, lease)

    def _readable(self, room: Room, task: Task, lease: Lease) -> Assignment | None:
        """Return a held task, or None when its text is not stored: then nobody gets it before the next reconciling."""
        try:
            return self.assignment(room, task, lease)
        except LabelproofError as error:
            _log.warning("task %s of %s cannot be shown: %s", task.task_id, room.name, error.message)
            with room.lock:
                room.textless.add(task.task_id)
                room.queue.release(task.task_id)
            return None

    def assignment(self, room: Room, task: Task, lease: Lease) -> Assignment:
        """Return a held task as its reviewer may see it."""
        try:
            text, meta = room.text_of(task.item_id)
        except LabelproofError:
            self._tools.office.leases.release(task.task_id, lease.token)
            raise
        care = room.policy.care
        severe = (
            not task.blind
            and task.severity is not None
            and SEVERITIES.index(task.severity) >= SEVERITIES.index(care.blur_from)
        )
        blurred = care.blur == "always" or (care.blur == "severe" and (task.blind or severe))
        image = meta.get(care.image_column) if care.image_column else None
        shown = not task.blind
        return Assignment(
            task=task,
            lease=lease,
            text=text,
            meta=shown_meta(meta, room.folder),
            hidden=hidden_characters(text),
            shown_label=task.label if shown else None,
            shown_confidence=task.confidence if shown else None,
            shown_rationale=rationale_of(self._tools.store, task) if shown else None,
            blurred=blurred,
            image=str(image) if image else None,
        )


def _first(
    room: Room, reviewer: Reviewer, now: datetime, role: VoteRole, after: AbstractSet[str]
) -> Task | NothingToDo:
    """Return the reviewer's next task that is no hidden gold; the lock is held."""
    room.queue.expire(now)
    seen = room.days.seen(reviewer.name, now)
    return room.queue.first_for(reviewer, now, role=role, seen=seen, skip=after | room.textless)


def _kind(room: Room, task_id: str) -> str | None:
    task = room.queue.task(task_id)
    return None if task is None else task.kind


def _is_check_of(task: Task, reviewer: str) -> bool:
    return task.task_id == check_task_id(task.project, task.item_id, reviewer)


def _check_row(
    room: Room, reviewer: str, task_id: str, item_id: str, label: str, now: datetime
) -> ReviewTask:
    return ReviewTask(
        task_id=task_id,
        project=room.name,
        kind="check",
        item_id=item_id,
        label=label,
        blind=True,
        votes_wanted=1,
        reason=f"{CHECK_FOR}{reviewer}",
        ts=now,
    )
