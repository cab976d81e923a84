"""The queue of one project: what was asked and answered, and who gets which task next."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from datetime import datetime
from types import MappingProxyType

from sortedcontainers import SortedList

from labelproof.review.model import (
    DECIDED,
    FOR_LEADS,
    NothingToDo,
    Outcome,
    Reviewer,
    ReviewError,
    Task,
    TaskEvent,
    Vote,
    VoteRole,
)
from labelproof.review.queue._answers import Answers
from labelproof.review.queue._holds import Hold, Holds
from labelproof.review.queue._shelves import Place, Shelf, Shelves
from labelproof.review.queue._takers import Obstacles, Taker
from labelproof.review.queue.outcome import Seat, is_newer, outcome_of, seat_of
from labelproof.review.queue.overview import QueueOverview, Tally
from labelproof.spec.labels import Severity
from labelproof.spec.review import ReviewPolicy

_NOTHING_SEEN: Mapping[Severity, int] = MappingProxyType({})
_NOBODY: frozenset[str] = frozenset()
_Event = tuple[datetime, TaskEvent]
_EVENT_ORDER: dict[TaskEvent, int] = {"closed": 0, "reopened": 1, "escalated": 2}
"""Of events at the same time the last of these counts, so that their order of arrival does not."""


class _Record:
    """A task with all that is known of it.

    ``votes``: the newest of each seat, withdrawn ones too. ``shelf``: where it waits while nobody holds it, None when it is
    not to be handed out.
    """

    __slots__ = ("event", "outcome", "shelf", "task", "votes")

    def __init__(self, task: Task, event: _Event | None) -> None:
        self.task = task
        self.event = event
        self.votes: dict[Seat, Vote] = {}
        self.outcome: Outcome
        self.shelf: Shelf | None = None

    @property
    def place(self) -> Place:
        return (self.task.rank, self.task.task_id)

    def settle(self) -> None:
        """Set outcome and shelf from task, votes and event."""
        task = self.task
        event_at, event = self.event or (None, None)
        self.outcome = outcome_of(task, self.votes.values(), event, event_at)
        state = self.outcome.state
        if state in FOR_LEADS:
            people = self.people("reviewer") | self.answered("adjudicator")
            self.shelf = Shelf("adjudicator", None, None, frozenset(), people)
        elif state == "open" and task.kind != "check":
            people = self.people("adjudicator") | self.answered("reviewer") if self.votes else _NOBODY
            self.shelf = Shelf("reviewer", task.severity, task.language, task.skills, people)
        else:
            self.shelf = None

    def people(self, role: VoteRole) -> frozenset[str]:
        """Return whoever ever answered in a role, even if they took it back."""
        return frozenset(vote.annotator for vote in self.votes.values() if vote.role == role)

    def answered(self, role: VoteRole) -> frozenset[str]:
        """Return whoever's answer in a role stands."""
        return frozenset(vote.annotator for vote in self.outcome.votes if vote.role == role)

    def n_skips(self) -> int:
        """Return how many reviewers skipped, since the task was last opened again."""
        since = self.event[0] if self.event is not None and self.event[1] == "reopened" else None
        skips = (v for v in self.outcome.votes if v.role == "reviewer" and v.answer == "skip")
        return sum(since is None or vote.at > since for vote in skips)


class Queue:
    """The state of one project's review tasks, as a function of what was added: tasks, votes, events, holds.

    In memory and without I/O; the clock is an argument; not thread-safe. Tasks, votes and events may come in any order and
    more than once: the state is the same. Votes are facts here: who may vote is asked before (``refusal``).
    Holds are what this process knows of leases; a vote does not end its author's hold, ``release`` does.
    """

    def __init__(self, policy: ReviewPolicy) -> None:
        self.policy = policy
        self._records: dict[str, _Record] = {}
        self._items: dict[str, list[str]] = {}
        self._vote_ids: set[str] = set()
        self._early_votes: dict[str, list[Vote]] = {}
        self._early_events: dict[str, _Event] = {}
        self._shelves: dict[VoteRole, Shelves] = {"reviewer": Shelves(), "adjudicator": Shelves()}
        self._for_leads: SortedList[Place] = SortedList()
        self._to_escalate: SortedList[Place] = SortedList()
        self._holds = Holds()
        self._answers = Answers()
        self._tally = Tally()

    # What happened

    def add(self, task: Task) -> bool:
        """Take a task in and return whether it is new; of two rows with one id the earlier counts."""
        record = self._records.get(task.task_id)
        if record is None:
            self._enter((self._new(task),))
            return True
        if task.made_at < record.task.made_at:
            self._leave(record)
            self._items[record.task.item_id].remove(task.task_id)
            self._items.setdefault(task.item_id, []).append(task.task_id)
            record.task = task
            self._enter((record,))
        return False

    def load(
        self,
        tasks: Iterable[Task],
        votes: Iterable[Vote] = (),
        events: Iterable[tuple[str, TaskEvent, datetime]] = (),
    ) -> int:
        """Take in many at once and return how many tasks were new: as one by one, only several times faster."""
        for vote in votes:
            self.apply_vote(vote)  # kept aside, which costs next to nothing, while its task is new
        for task_id, event, at in events:
            self.apply_event(task_id, event, at)
        first: dict[str, Task] = {}
        for task in tasks:
            known = first.setdefault(task.task_id, task)
            if task.made_at < known.made_at:
                first[task.task_id] = task
        new = [self._new(task) for task in first.values() if task.task_id not in self._records]
        self._enter(new)
        for task in first.values():
            self.add(task)
        return len(new)

    def apply_vote(self, vote: Vote) -> Outcome | None:
        """Take a vote in and return what became of its task; None while the task is unknown (the vote waits for it)."""
        record = self._records.get(vote.task_id)
        if vote.vote_id in self._vote_ids:
            return None if record is None else record.outcome
        self._vote_ids.add(vote.vote_id)
        if record is None:
            self._early_votes.setdefault(vote.task_id, []).append(vote)
            return None
        self._leave(record)
        self._keep(record, vote)
        self._enter((record,))
        return record.outcome

    def apply_event(self, task_id: str, event: TaskEvent, at: datetime) -> Outcome | None:
        """Take an event in and return what became of its task; None while the task is unknown. The latest counts."""
        record = self._records.get(task_id)
        if record is None:
            self._early_events[task_id] = _later(self._early_events.get(task_id), (at, event))
            return None
        self._leave(record)
        record.event = _later(record.event, (at, event))
        self._enter((record,))
        return record.outcome

    # Leases

    def hold(self, task_id: str, reviewer: str, until: datetime) -> None:
        """Note that a reviewer holds a task, known or not yet, until a time; it replaces any other holder."""
        if task_id not in self._holds:
            self._unshelve(task_id)
        self._holds.add(task_id, Hold(reviewer, until))

    def release(self, task_id: str) -> None:
        """Note that nobody holds a task."""
        if self._holds.drop(task_id):
            self._shelve(task_id)

    def expire(self, now: datetime) -> list[str]:
        """Free tasks whose hold ended at ``now`` or before, and return them."""
        ended = self._holds.expired(now)
        for task_id in ended:
            self.release(task_id)
        return ended

    def holder(self, task_id: str) -> str | None:
        """Return who holds a task; a hold that has ended counts until ``expire``."""
        hold = self._holds.get(task_id)
        return None if hold is None else hold.reviewer

    def held(self) -> set[str]:
        """Return the tasks that somebody holds; a hold that has ended counts until ``expire``."""
        return {task_id for task_id, _ in self._holds}

    # What to do next

    def first_for(
        self,
        reviewer: Reviewer,
        now: datetime,
        *,
        role: VoteRole = "reviewer",
        seen: Mapping[Severity, int] = _NOTHING_SEEN,
        skip: Container[str] = (),
    ) -> Task | NothingToDo:
        """Return the most urgent task for somebody, or why there is none. It is not held by this: call ``hold``.

        A reviewer gets open tasks that nobody holds, outside ``skip``, that they have not answered (or have taken their answer back)
        nor adjudicated, with skills and language of theirs, and below the daily limit of their severity; ``seen``: items
        of each severity that they saw today. Hidden gold is not handed out from here. An adjudicator gets disputed and
        escalated tasks that they were never a reviewer of and have not answered as adjudicator.
        """
        self.expire(now)
        taker = Taker.of(reviewer, role, self.policy.care, seen)
        shelves = self._shelves[role]
        found = shelves.first(taker.admits, skip)
        if found is not None:
            return self._records[found].task
        obstacles = Obstacles(taker=taker)
        for shelf, n in shelves.sizes():
            obstacles.count(shelf, n)
        for task_id, hold in self._holds:
            record = self._records.get(task_id)
            if record is not None and record.shelf is not None and record.shelf.role == role:
                obstacles.count(record.shelf, 1, hold.reviewer)
        n_open = self._tally.by_state["open"] if role == "reviewer" else self._tally.n_for_leads
        return obstacles.verdict(n_open)

    def n_open_for(self, reviewer: Reviewer, *, seen: Mapping[Severity, int] = _NOTHING_SEEN) -> int:
        """Return how many open tasks a reviewer could answer now, with those in their own hands, without hidden gold."""
        taker = Taker.of(reviewer, "reviewer", self.policy.care, seen)
        n = sum(size for shelf, size in self._shelves["reviewer"].sizes() if taker.admits(shelf))
        own = (self._records.get(task_id) for task_id, hold in self._holds if hold.reviewer == reviewer.name)
        shelves = (record.shelf for record in own if record is not None and record.shelf is not None)
        return n + sum(shelf.role == "reviewer" and taker.admits(shelf) for shelf in shelves)

    def refusal(self, task_id: str, reviewer_name: str, role: VoteRole) -> str | None:
        """Return why a vote of this person would not be taken now, for that person to read; None when it would.

        Leases, skills and limits are not looked at. An adjudicator may change an answer that was no label.
        """
        record = self._records.get(task_id)
        if record is None:
            return f"there is no task {task_id!r} in this project's queue: it may be of another project"
        state = record.outcome.state
        given = [v for v in record.outcome.votes if v.annotator == reviewer_name and v.role == role]
        if role == "reviewer" and given:
            return "you have answered this task already: take that answer back (undo) to give another one"
        if state in DECIDED:
            return "this task is decided already; your answer is not needed"
        if state == "closed":
            return "this task was closed and is not asked any more; a lead can open it again"
        if role == "adjudicator":
            if reviewer_name in record.people("reviewer"):
                return "you were a reviewer of this task: somebody else decides it"
            if state not in FOR_LEADS:
                return "nothing to adjudicate: reviewers have neither given different labels nor raised a question"
            return None
        if state in FOR_LEADS:
            return f"this task is {state} and waits for a lead; your answer is not needed"
        if reviewer_name in record.people("adjudicator"):
            return "you have seen this task with other people's answers, as adjudicator: somebody else reviews it"
        return None

    def to_escalate(self) -> list[str]:
        """Return open tasks that so many reviewers skipped (since it was last opened again) that a lead should see them."""
        return [task_id for _, task_id in self._to_escalate]

    # What is known

    def task(self, task_id: str) -> Task | None:
        """Return a task, None when unknown."""
        record = self._records.get(task_id)
        return None if record is None else record.task

    def outcome(self, task_id: str) -> Outcome:
        """Return what became of a task; raises ``ReviewError`` when it is unknown."""
        record = self._records.get(task_id)
        if record is None:
            raise ReviewError(
                f"there is no task {task_id!r} in this project's queue", hint="is it of another project?"
            )
        return record.outcome

    def tasks_of_item(self, item_id: str) -> list[str]:
        """Return the tasks about an item, oldest first."""
        tasks = (self._records[task_id].task for task_id in self._items.get(item_id, ()))
        return [task.task_id for task in sorted(tasks, key=lambda task: (task.made_at, task.task_id))]

    def for_leads(self) -> list[tuple[Task, Outcome]]:
        """Return disputed and escalated tasks, most urgent first; hidden gold too when a reviewer raised a question."""
        records = (self._records[task_id] for _, task_id in self._for_leads)
        return [(record.task, record.outcome) for record in records]

    def latest_answer(self, reviewer: str, role: VoteRole = "reviewer") -> Vote | None:
        """Return the answer that somebody gave last and has not taken back."""
        return self._answers.latest(reviewer, role)

    def answered(self, reviewer: str, role: VoteRole = "reviewer") -> int:
        """Return how many answers of somebody stand, of any kind, on any task, hidden gold too."""
        return self._answers.count(reviewer, role)

    def answered_since(self, reviewer: str, start: datetime, role: VoteRole = "reviewer") -> list[Vote]:
        """Return the standing answers that somebody gave at ``start`` or later, oldest first."""
        return self._answers.since(reviewer, role, start)

    def overview(self, now: datetime) -> QueueOverview:
        """Return the queue in numbers at ``now``."""
        self.expire(now)
        return self._tally.overview(now, len(self._holds))

    # Upkeep: a record leaves all indexes, changes, and enters them again

    def _new(self, task: Task) -> _Record:
        """Return the record of a task that is new, with what came before it; not in any index yet."""
        record = _Record(task, self._early_events.pop(task.task_id, None))
        self._records[task.task_id] = record
        self._items.setdefault(task.item_id, []).append(task.task_id)
        for vote in self._early_votes.pop(task.task_id, ()):
            self._keep(record, vote)
        return record

    def _keep(self, record: _Record, vote: Vote) -> None:
        if vote.project != record.task.project:
            return  # as in the store's view: a vote counts for the task of its own project
        seat = seat_of(vote)
        known = record.votes.get(seat)
        if known is None or is_newer(vote, known):
            record.votes[seat] = vote
            self._answers.replace(known, vote)

    def _enter(self, records: Sequence[_Record]) -> None:
        """Put records that are in no index into those where they belong now."""
        waiting: dict[Shelf, list[Place]] = {}
        for record in records:
            record.settle()
            if record.shelf is not None:
                if record.task.task_id not in self._holds:
                    waiting.setdefault(record.shelf, []).append(record.place)
                if record.shelf.role == "adjudicator":
                    self._for_leads.add(record.place)
                elif record.votes and record.n_skips() >= self.policy.skips_to_lead:
                    self._to_escalate.add(record.place)
        for shelf, places in waiting.items():
            self._shelves[shelf.role].put(shelf, places)
        self._tally.enter((record.task, record.outcome) for record in records)

    def _leave(self, record: _Record) -> None:
        """Take a record out of all indexes, before it changes."""
        self._unshelve(record.task.task_id)
        self._tally.leave(record.task, record.outcome)
        if record.shelf is not None:
            index = self._for_leads if record.shelf.role == "adjudicator" else self._to_escalate
            index.discard(record.place)
            record.shelf = None

    def _shelve(self, task_id: str) -> None:
        """Put a task on its shelf if it may be handed out and nobody holds it."""
        record = self._records.get(task_id)
        if record is not None and record.shelf is not None and task_id not in self._holds:
            self._shelves[record.shelf.role].put(record.shelf, (record.place,))

    def _unshelve(self, task_id: str) -> None:
        """Take back what ``_shelve`` did while the task's hold was as it is now."""
        record = self._records.get(task_id)
        if record is not None and record.shelf is not None and task_id not in self._holds:
            self._shelves[record.shelf.role].take(record.shelf, record.place)


def _later(known: _Event | None, new: _Event) -> _Event:
    if known is None:
        return new
    return max(known, new, key=lambda event: (event[0], _EVENT_ORDER[event[1]]))
