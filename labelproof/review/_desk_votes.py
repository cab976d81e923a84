"""Taking votes: checked, signed, durable, and then told to queue and office."""

from __future__ import annotations

import secrets
import threading
from dataclasses import replace
from datetime import datetime, timedelta

from agents.run.asks import QUEUE
from labelproof.report.review_asks import appeal_task
from labelproof.review._desk_hand import Handing
from labelproof.review._desk_load import load_task
from labelproof.review._desk_room import Room
from labelproof.review._desk_tools import Tools, lead_only
from labelproof.review._desk_writer import vote_row
from labelproof.review.model import (
    ANSWERS,
    DECIDED,
    FOR_LEADS,
    Assignment,
    Ballot,
    LeaseLost,
    NothingToDo,
    Outcome,
    Receipt,
    Reviewer,
    ReviewError,
    Task,
    TaskEvent,
    Vote,
    VoteRole,
)
from labelproof.spec.hashing import digest

_NOTE_MOST = 4_000
_SECONDS_MOST = 86_400.0
_Seat = tuple[str, str, VoteRole]
"""Task, person, role."""


class Votes:
    """The part of the desk that takes answers, and other things people do to tasks."""

    def __init__(self, tools: Tools, handing: Handing) -> None:
        self._tools = tools
        self._handing = handing
        self._casting: dict[_Seat, threading.Event] = {}
        self._casting_lock = threading.Lock()

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
        room = self._tools.room(reviewer, project)
        if role == "adjudicator":
            lead_only(reviewer)
        task = room.find(ballot.task_id)
        if task is None:
            raise LeaseLost("This task is not in the queue any more; your answer was not stored.")
        label, note, seconds = self._checked(room, ballot, role)
        vote_id = digest(["vote", project, task.task_id, reviewer.name, role, ballot.key])
        with self._one_at_a_time((task.task_id, reviewer.name, role)):
            if room.knows_vote(vote_id):
                return self._receipt(room, task, vote_id, repeated=True)
            now = self._tools.clock()
            with room.lock:
                refusal = room.queue.refusal(task.task_id, reviewer.name, role)
            if refusal is not None:
                raise LeaseLost(refusal)
            if not self._keeps_lease(room, reviewer, ballot, now):
                room.take_in(load_task(room.store, room.folder, task.task_id))
                if room.knows_vote(vote_id):  # taken by another process a moment ago
                    return self._receipt(room, task, vote_id, repeated=True)
                minutes = room.policy.lease_minutes
                raise LeaseLost(
                    "This task has gone to a colleague; your answer was not stored. "
                    f"Tasks go back to the queue after {minutes:g} minutes without a sign of life."
                )
            vote = self._signed(
                Vote(
                    vote_id=vote_id,
                    project=project,
                    task_id=task.task_id,
                    item_id=task.item_id,
                    annotator=reviewer.name,
                    role=role,
                    answer=ballot.answer,
                    label=label,
                    note=note,
                    source=source,
                    seconds=seconds,
                    at=room.after_last(reviewer.name, now),
                )
            )
            self._store_vote(room, task, vote)
            return self._receipt(room, task, vote_id, repeated=False)

    def undo(self, reviewer: Reviewer, project: str) -> Assignment | NothingToDo:
        """Take the reviewer's latest answer back and hand the task to them again.

        ``NothingToDo`` when a colleague holds it right now: the answer is withdrawn, and the task comes back later.
        ``ReviewError`` when there is nothing to take back, or it was too long ago.
        """
        room = self._tools.room(reviewer, project)
        now = self._tools.clock()
        with room.lock:
            vote = room.queue.latest_answer(reviewer.name)
            task = room.queue.task(vote.task_id) if vote is not None else None
            state = room.queue.outcome(vote.task_id).state if vote is not None and task is not None else None
        if vote is None or task is None:
            raise ReviewError("There is no answer of yours to take back.")
        limit = timedelta(minutes=room.policy.undo_minutes)
        if now - vote.at > limit:
            raise ReviewError(
                f"Your last answer is more than {room.policy.undo_minutes:g} minutes old; appeal against it instead."
            )
        if state == "adjudicated":
            raise ReviewError("A lead has decided this task already; appeal against it instead.")
        withdrawn = replace(
            vote,
            vote_id=digest(["vote", project, vote.task_id, reviewer.name, "withdrawn", vote.vote_id]),
            answer="withdrawn",
            label=None,
            note=None,
            seconds=None,
            at=room.after_last(reviewer.name, now),
        )
        self._store_vote(room, task, self._signed(withdrawn))
        lease = self._handing.claim(room, reviewer, task.task_id, "reviewer", now)
        if lease is None:
            return NothingToDo(
                reason="held",
                message="Your answer is taken back. A colleague has this task open right now; it may come back to you.",
                n_open=1,
            )
        return replace(self._handing.assignment(room, task, lease), previous=vote)

    def _checked(
        self, room: Room, ballot: Ballot, role: VoteRole
    ) -> tuple[str | None, str | None, float | None]:
        """Return label, note and seconds as they will be stored; ``ReviewError`` says what is wrong."""
        if ballot.answer not in ANSWERS:
            raise ReviewError(f"An answer is one of {', '.join(ANSWERS)}; found {ballot.answer!r}.")
        if not 8 <= len(ballot.key) <= 100:
            raise ReviewError("An answer needs a key of 8 to 100 characters, made once per answer.")
        note = (ballot.note or "").strip() or None
        if note is not None and len(note) > _NOTE_MOST:
            raise ReviewError(f"A note has at most {_NOTE_MOST} characters; found {len(note)}.")
        seconds = ballot.seconds
        if seconds is not None and not 0 <= seconds <= _SECONDS_MOST:
            seconds = None  # a clock that was set back, a page left open for days: not a measurement
        if ballot.answer != "label":
            if role == "adjudicator":
                raise ReviewError(
                    "A lead decides with a label; leave the task open if it cannot be decided yet."
                )
            return None, note, seconds
        if ballot.label is None:
            raise ReviewError("Choose a label first.")
        try:
            return room.schema.canonical(ballot.label), note, seconds
        except ValueError as error:
            raise ReviewError(str(error)) from error

    def _keeps_lease(self, room: Room, reviewer: Reviewer, ballot: Ballot, now: datetime) -> bool:
        until = now + room.lease_time
        kept = self._tools.office.leases.renew(
            reviewer.name, {ballot.task_id: ballot.token}, until=until, now=now
        )
        return kept.get(ballot.task_id, False)

    def _store_vote(self, room: Room, task: Task, vote: Vote) -> None:
        """Make a vote durable, then tell queue and office."""
        row = self._tools.unsaved.get(task.task_id)
        about = {} if row is None else {"review_tasks": [row]}
        self._tools.writer.submit({**about, "votes": [vote_row(vote)]}).result()
        self._tools.unsaved.pop(task.task_id, None)
        with room.lock:
            room.apply(vote)
            state = room.queue.outcome(task.task_id).state
            escalate = [one for one in room.queue.to_escalate() if one == task.task_id]
        if escalate:
            self._escalate(room, task)
            state = "escalated"
        if vote.answer == "withdrawn":
            self._tools.office.leases.unfinish(task.task_id, vote.annotator)
            return
        done = state in DECIDED or state in FOR_LEADS or state == "closed"
        self._tools.office.leases.finish(task.task_id, vote.annotator, decided=done, now=vote.at)
        with room.lock:
            room.queue.release(task.task_id)
            if state in DECIDED and len(room.queue.tasks_of_item(task.item_id)) == 1:
                room.shelf.drop(task.item_id)

    def _receipt(self, room: Room, task: Task, vote_id: str, *, repeated: bool) -> Receipt:
        with room.lock:
            outcome = room.queue.outcome(task.task_id)
            vote = room.vote(vote_id)
        return Receipt(
            vote=vote,
            state=outcome.state,
            repeated=repeated,
            machine_label=None if task.kind in ("check", "audit", "gold") else task.label,
        )

    def _signed(self, vote: Vote) -> Vote:
        return replace(vote, signature=self._tools.office.signer.sign(replace(vote, signature=None)))

    def _one_at_a_time(self, key: _Seat) -> _Turn:
        return _Turn(self._casting, self._casting_lock, key)

    def appeal(self, reviewer: Reviewer, project: str, item_id: str, reason: str) -> Task:
        """Ask people again about an item whose label is contested; returns the task, durable."""
        room = self._tools.room(reviewer, project)
        now = self._tools.clock()
        row = appeal_task(self._tools.store, room.folder, item_id, reason=reason, by=reviewer.name, now=now)
        return self._tools.new_task(room, row)

    def close_task(self, reviewer: Reviewer, project: str, task_id: str, reason: str) -> Outcome:
        """Stop asking about a task. Leads only."""
        return self._event(reviewer, project, task_id, "closed", reason)

    def reopen_task(self, reviewer: Reviewer, project: str, task_id: str, reason: str) -> Outcome:
        """Ask again about a closed or escalated task. Leads only."""
        return self._event(reviewer, project, task_id, "reopened", reason)

    def _event(
        self, reviewer: Reviewer, project: str, task_id: str, event: TaskEvent, reason: str
    ) -> Outcome:
        lead_only(reviewer)
        room = self._tools.room(reviewer, project)
        if not reason.strip():
            raise ReviewError("Say why: the reason is kept with the task.")
        task = room.find(task_id)
        if task is None:
            raise ReviewError(f"There is no task {task_id} in project {project}.")
        with room.lock:
            state = room.queue.outcome(task_id).state
        if state in DECIDED:
            raise ReviewError("This task is decided; appeal against its label instead.")
        if state == "disputed" and event == "reopened":
            raise ReviewError(
                "Reviewers gave different labels: decide it or close it; asking again would not settle it."
            )
        return self._write_event(room, task, event, reviewer.name, reason.strip())

    def _write_event(self, room: Room, task: Task, event: TaskEvent, actor: str, reason: str) -> Outcome:
        now = room.after_last_event(task.task_id, self._tools.clock())
        row = {
            "event_id": digest(["review-event", task.task_id, event, now.isoformat(), secrets.token_hex(4)]),
            "project": room.name,
            "task_id": task.task_id,
            "item_id": task.item_id,
            "actor": actor,
            "event": event,
            "reason": reason,
            "ts": now,
        }
        self._tools.writer.submit({"review_events": [row]}).result()
        if event == "reopened":
            self._tools.office.leases.reopen(task.task_id)
        with room.lock:
            room.apply_event(task.task_id, event, now)
            return room.queue.outcome(task.task_id)

    def _escalate(self, room: Room, task: Task) -> None:
        n = room.policy.skips_to_lead
        self._write_event(room, task, "escalated", QUEUE, f"skipped by {n} reviewers")

    def escalate_waiting(self) -> None:
        """Send to the leads what enough reviewers have skipped."""
        for room in self._tools.rooms.values():
            with room.lock:
                waiting = [room.queue.task(task_id) for task_id in room.queue.to_escalate()]
            for task in waiting:
                if task is not None:
                    self._escalate(room, task)


class _Turn:
    """Lets one request at a time answer a task for a person: a repeated request waits and finds the vote stored."""

    def __init__(self, busy: dict[_Seat, threading.Event], lock: threading.Lock, key: _Seat) -> None:
        self._busy, self._lock, self._key = busy, lock, key

    def __enter__(self) -> None:
        while True:
            with self._lock:
                other = self._busy.get(self._key)
                if other is None:
                    self._busy[self._key] = threading.Event()
                    return
            other.wait()

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._busy.pop(self._key).set()
