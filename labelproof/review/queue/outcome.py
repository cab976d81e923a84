"""What became of a task: the rule of the view ``task_outcomes``, in memory."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from labelproof.review.model import Outcome, Task, TaskEvent, TaskState, Vote, VoteRole

Seat = tuple[str, str, VoteRole]
"""Who answered as what: item, annotator, role. One seat has one current answer."""


def seat_of(vote: Vote) -> Seat:
    """Return the seat that a vote was cast from."""
    return (vote.item_id, vote.annotator, vote.role)


def is_newer(vote: Vote, other: Vote) -> bool:
    """Return whether ``vote`` replaces ``other`` of the same seat: the later one, at the same time the higher id."""
    return (vote.at, vote.vote_id) > (other.at, other.vote_id)


def outcome_of(
    task: Task, votes: Iterable[Vote], event: TaskEvent | None, event_at: datetime | None = None
) -> Outcome:
    """Return the state and final label of a task.

    ``votes``: all of the task, in any order and with repetitions; those of other tasks or projects are left out.
    ``event``, ``event_at``: the latest of the task, and when. The current vote of an annotator in a role is the latest (time, then id); a
    withdrawn one is no answer. The first that holds decides:

    - adjudicated: an adjudicator gave a label (the latest counts, at the same time the one with the higher id);
    - agreed: at least ``votes_wanted`` reviewers gave one and the same label;
    - closed: the event says so;
    - disputed: reviewers gave different labels;
    - escalated: a reviewer flagged it or found the guideline unclear (after a reopening, if that is the event), or
      the event says so;
    - open.
    """
    current: dict[Seat, Vote] = {}
    for vote in votes:
        if vote.task_id != task.task_id or vote.project != task.project:
            continue
        seat = seat_of(vote)
        known = current.get(seat)
        if known is None or is_newer(vote, known):
            current[seat] = vote
    answers = sorted((v for v in current.values() if v.answer != "withdrawn"), key=_age)
    dealt_with = event_at if event == "reopened" else None
    state, label = _decide(task, answers, event, dealt_with)
    return Outcome(task_id=task.task_id, state=state, final_label=label, votes=tuple(answers))


def n_labels_given(outcome: Outcome) -> int:
    """Return how many reviewers gave a label."""
    return sum(vote.role == "reviewer" and vote.answer == "label" for vote in outcome.votes)


def _age(vote: Vote) -> tuple[object, ...]:
    return (vote.at, vote.vote_id)


def _decide(
    task: Task, answers: list[Vote], event: TaskEvent | None, dealt_with: datetime | None
) -> tuple[TaskState, str | None]:
    adjudicated: str | None = None
    labels: set[str] = set()
    n_votes, is_raised = 0, False
    for vote in answers:
        if vote.role == "adjudicator":
            if vote.answer == "label" and vote.label is not None:
                adjudicated = vote.label
        elif vote.answer == "label":
            n_votes += 1
            if vote.label is not None:
                labels.add(vote.label)
        elif vote.answer in ("flag", "unclear"):
            is_raised = is_raised or dealt_with is None or vote.at > dealt_with
    if adjudicated:
        return "adjudicated", adjudicated
    if n_votes >= task.votes_wanted and len(labels) <= 1:
        return "agreed", next(iter(labels), None)
    if event == "closed":
        return "closed", None
    if len(labels) > 1:
        return "disputed", None
    return ("escalated" if is_raised or event == "escalated" else "open"), None
