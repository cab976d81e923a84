"""Tasks and votes for tests of the queue: short names, one place for their shape."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from labelproof.review.model import Task, Vote, VoteAnswer, VoteRole
from labelproof.review.queue import Queue
from labelproof.spec.review import ReviewPolicy, TaskKind

T0 = datetime(2026, 3, 2, 12, tzinfo=UTC)


def at(seconds: float) -> datetime:
    return T0 + timedelta(seconds=seconds)


def task(task_id: str = "t1", **given: Any) -> Task:
    """Return an open routed task that wants one vote, due in an hour; ``rank`` 0."""
    kind: TaskKind = given.pop("kind", "routed")
    fields: dict[str, Any] = {
        "project": "mini",
        "item_id": f"item of {task_id}",
        "label": "spam",
        "confidence": 0.5,
        "severity": None,
        "language": None,
        "skills": frozenset(),
        "blind": True,
        "votes_wanted": 1,
        "reason": "",
        "made_at": T0,
        "due_at": T0 + timedelta(hours=1),
        "rank": 0.0,
    }
    return Task(task_id=task_id, kind=kind, **(fields | given))


def vote(
    who: str = "ana",
    said: str = "spam",
    *,
    task_id: str = "t1",
    after: float = 0.0,
    role: VoteRole = "reviewer",
    vote_id: str | None = None,
    project: str = "mini",
) -> Vote:
    """Return a vote; ``said`` is an answer's name or else a label; ``after``: seconds after T0."""
    answers: dict[str, VoteAnswer] = {name: name for name in ("skip", "flag", "unclear", "withdrawn")}
    answer: VoteAnswer = answers.get(said, "label")
    return Vote(
        vote_id=vote_id or f"{who} {role} {task_id} {after} {said}",
        project=project,
        task_id=task_id,
        item_id=f"item of {task_id}",
        annotator=who,
        role=role,
        answer=answer,
        label=said if answer == "label" else None,
        note=None,
        source="web",
        seconds=None,
        at=at(after),
    )


def queue_of(*tasks: Task, policy: ReviewPolicy | None = None) -> Queue:
    queue = Queue(policy or ReviewPolicy())
    queue.load(tasks)
    return queue
