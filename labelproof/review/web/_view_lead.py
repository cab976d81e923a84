"""What waits for a lead, and one task with its reviewers' votes side by side."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, get_args

from labelproof.report.visible_text import Segment, excerpt, segments
from labelproof.review.model import DECIDED, Outcome, Task, Vote
from labelproof.review.people import anonymous
from labelproof.review.web._view_words import ANSWER_WORDS, KIND_WORDS, STATE_WORDS, ago, at_time, due

Filter = Literal["all", "disputed", "unclear", "flag", "skip"]
FILTERS: tuple[Filter, ...] = get_args(Filter)
FILTER_WORDS: dict[Filter, str] = {
    "all": "All",
    "disputed": "Labels differ",
    "unclear": "Guideline unclear",
    "flag": "Flagged",
    "skip": "Skipped",
}
ONE_OF_KIND: Mapping[str, str] = {
    **KIND_WORDS,
    "audit": "audit",
    "gold": "gold candidate",
    "appeal": "appeal",
}
"""What kind a single task is of."""
_ALWAYS_BLIND = frozenset(("audit", "gold", "check"))
"""Kinds whose decision must not follow the machine: what they measure is the machine."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LeadRow:
    """A task on the adjudication list; ``own``: this lead was its reviewer and may not decide it."""

    task_id: str
    short_id: str
    kind: str
    why: str
    notes: tuple[tuple[Segment, ...], ...]
    asked: str
    due: str
    late: bool
    own: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class VoteView:
    """One vote: ``who`` is "Reviewer 1" until the task is decided; ``label`` None for another answer."""

    who: str
    adjudicator: bool
    label: str | None
    answer: str
    note: tuple[Segment, ...] | None
    at: str


def wanted(outcome: Outcome, only: Filter) -> bool:
    """Return whether a task belongs under a filter of the list."""
    if only == "all":
        return True
    if only == "disputed":
        return outcome.state == "disputed"
    return any(vote.answer == only for vote in outcome.votes)


def filter_counts(pairs: Iterable[tuple[Task, Outcome]]) -> list[tuple[Filter, str, int]]:
    """Return (filter, words, tasks under it), for those that have any."""
    outcomes = [outcome for _, outcome in pairs]
    counted = [(only, FILTER_WORDS[only], sum(wanted(one, only) for one in outcomes)) for only in FILTERS]
    return [row for row in counted if row[2] or row[0] == "all"]


def lead_row(task: Task, outcome: Outcome, user: str, now: datetime) -> LeadRow:
    """Return a row of the adjudication list."""
    return LeadRow(
        task_id=task.task_id,
        short_id=short_id(task.item_id),
        kind=ONE_OF_KIND[task.kind],
        why=why(outcome),
        notes=tuple(excerpt(vote.note) for vote in outcome.votes if vote.note),
        asked=ago(task.made_at, now),
        due=due(task.due_at, now),
        late=task.due_at < now,
        own=was_reviewer(outcome, user),
    )


def why(outcome: Outcome) -> str:
    """Return why a task is where it is: "labels differ: hate, safe", "2 skipped, 1 guideline unclear"."""
    votes = [vote for vote in outcome.votes if vote.role == "reviewer"]
    if outcome.state == "disputed":
        labels = dict.fromkeys(vote.label for vote in votes if vote.label is not None)
        return f"labels differ: {', '.join(sorted(labels))}"
    raised = Counter(ANSWER_WORDS[vote.answer] for vote in votes if vote.answer in ANSWER_WORDS)
    if outcome.state == "escalated" and raised:
        return ", ".join(f"{n} {words}" for words, n in sorted(raised.items()))
    return STATE_WORDS[outcome.state]


def vote_views(outcome: Outcome, *, named: bool) -> tuple[VoteView, ...]:
    """Return the votes oldest first; names only once the task is decided, and only if ``named``."""
    hidden = anonymous(outcome.votes)
    shown = named and outcome.state in DECIDED
    return tuple(
        VoteView(
            who=_who(vote, hidden, shown=shown),
            adjudicator=vote.role == "adjudicator",
            label=vote.label if vote.answer == "label" else None,
            answer=ANSWER_WORDS.get(vote.answer, vote.answer),
            note=segments(vote.note) if vote.note else None,
            at=at_time(vote.at),
        )
        for vote in outcome.votes
    )


def may_see_machine(task: Task, outcome: Outcome) -> bool:
    """Return whether an adjudicator may look at the machine's answer: for audits and gold only afterwards."""
    return task.kind not in _ALWAYS_BLIND or outcome.state in DECIDED


def after(pairs: Sequence[tuple[Task, Outcome]], task_id: str, user: str) -> str | None:
    """Return the task that follows on the list and that this lead may decide; None at its end.

    A task that is no longer on the list: its first one.
    """
    ids = [task.task_id for task, _ in pairs]
    start = ids.index(task_id) + 1 if task_id in ids else 0
    rest = pairs[start:]
    return next((task.task_id for task, outcome in rest if not was_reviewer(outcome, user)), None)


def was_reviewer(outcome: Outcome, user: str) -> bool:
    """Return whether this person answered the task as a reviewer."""
    return any(vote.annotator == user and vote.role == "reviewer" for vote in outcome.votes)


def short_id(item_id: str) -> str:
    """Return the first characters of an item's id, enough to tell two apart by eye."""
    return item_id.removeprefix("b2:")[:9]


def _who(vote: Vote, hidden: dict[str, str], *, shown: bool) -> str:
    if shown:
        return vote.annotator
    return "Lead" if vote.role == "adjudicator" else hidden[vote.annotator]
