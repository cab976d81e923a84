"""The nouns of review: tasks, votes, reviewers, and what a reviewer is given and gets back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, get_args

from labelproof.spec.errors import LabelproofError
from labelproof.spec.labels import Severity
from labelproof.spec.review import TaskKind

Answer = Literal["label", "skip", "flag", "unclear"]
VoteAnswer = Literal["label", "skip", "flag", "unclear", "withdrawn"]
VoteRole = Literal["reviewer", "adjudicator"]
TaskState = Literal["open", "agreed", "disputed", "escalated", "adjudicated", "closed"]
TaskEvent = Literal["closed", "reopened", "escalated"]
AccountRole = Literal["reviewer", "lead", "admin"]
ANSWERS: tuple[Answer, ...] = get_args(Answer)
ACCOUNT_ROLES: tuple[AccountRole, ...] = get_args(AccountRole)
DECIDED: frozenset[TaskState] = frozenset(("agreed", "adjudicated"))
FOR_LEADS: frozenset[TaskState] = frozenset(("disputed", "escalated"))


class ReviewError(LabelproofError):
    """A request that the queue refuses; the message is for the person who asked."""


class LeaseLost(ReviewError):
    """The task is no longer held by this reviewer, and its vote is not wanted any more."""


class NotAllowed(ReviewError):
    """This person may not do this (role, own task, project)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One question to people, as the queue orders it.

    ``rank``: seconds since 1970; the lowest comes first (see ``queue.priority``). ``severity``: of the
    machine's label, None when unknown or not to be told. ``skills``: all of them are asked for.
    """

    task_id: str
    project: str
    kind: TaskKind
    item_id: str
    label: str | None
    confidence: float | None
    severity: Severity | None
    language: str | None
    skills: frozenset[str]
    blind: bool
    votes_wanted: int
    reason: str
    made_at: datetime
    due_at: datetime
    rank: float
    run_id: str | None = None
    strategy_fp: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Vote:
    """One answer as stored in ``votes``; ``label`` in canonical form, None unless ``answer`` is label."""

    vote_id: str
    project: str
    task_id: str
    item_id: str
    annotator: str
    role: VoteRole
    answer: VoteAnswer
    label: str | None
    note: str | None
    source: str
    seconds: float | None
    at: datetime
    signature: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of a task; the view ``task_outcomes`` says the same of the stored rows.

    ``votes``: the current answers, withdrawn ones left out, oldest first.
    """

    task_id: str
    state: TaskState
    final_label: str | None
    votes: tuple[Vote, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reviewer:
    """A person as the queue sees them. Empty ``languages``: all; ``projects``: all. ``skills``: what they have."""

    name: str
    role: AccountRole = "reviewer"
    languages: frozenset[str] = frozenset()
    skills: frozenset[str] = frozenset()
    projects: frozenset[str] = frozenset()

    @property
    def leads(self) -> bool:
        """Whether they may adjudicate and see other people's numbers."""
        return self.role in ("lead", "admin")


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """A task held by one reviewer; ``token`` proves it, ``until`` moves with every sign of life."""

    task_id: str
    reviewer: str
    token: str
    until: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Assignment:
    """A task as its reviewer sees it.

    ``text``: raw, as it came in. ``shown_label``, ``shown_confidence``, ``shown_rationale``: the machine's, None while
    the task is blind. ``previous``: this reviewer's own answer, after an undo. ``is_check`` is never shown.
    """

    task: Task
    lease: Lease
    text: str
    meta: Mapping[str, Any]
    hidden: str | None
    """Hidden characters of the text by name and count."""
    shown_label: str | None = None
    shown_confidence: float | None = None
    shown_rationale: str | None = None
    blurred: bool = True
    image: str | None = None
    previous: Vote | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NothingToDo:
    """Why there is no next task: ``empty`` (all is answered), ``held`` (others hold what is left), ``voted`` (what is
    left waits for somebody else's vote), ``skills`` (what is left asks for skills or languages that the reviewer
    has not), ``limit`` (the daily limit of a severity is reached).
    """

    reason: Literal["empty", "held", "voted", "skills", "limit"]
    message: str
    n_open: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Ballot:
    """What a reviewer sends. ``key``: made by the client once per answer, so that a repeated request is one vote."""

    task_id: str
    token: str
    key: str
    answer: Answer
    label: str | None = None
    note: str | None = None
    seconds: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """A durable vote: ``repeated`` when the same key was stored before. ``machine_label``: now that it is voted."""

    vote: Vote
    state: TaskState
    repeated: bool = False
    machine_label: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """A reviewer's day (UTC) in one project.

    ``seen``: items answered today by the severity of the reviewer's own labels (the machine's would tell its answer);
    ``limits``: the daily limits. ``hours_left``: at this reviewer's own pace, None until ten answers. ``break_due``: work
    without a pause was long enough. ``rounded``: ``n_open_for_me`` is rounded up, since a number that did not fall
    after an answer would tell that it was hidden gold.
    """

    answered: int
    n_open_for_me: int
    hours_left: float | None
    seen: Mapping[Severity, int] = field(default_factory=dict)
    limits: Mapping[Severity, int] = field(default_factory=dict)
    minutes_at_work: float = 0.0
    break_due: bool = False
    can_undo: bool = False
    rounded: bool = False
