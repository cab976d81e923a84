"""How a project's people work: overlap, order, leases, care for reviewers, and how they are measured."""

from __future__ import annotations

from typing import Annotated, Literal, get_args

from pydantic import Field, field_validator, model_validator

from labelproof.spec.labels import Severity
from labelproof.spec.strategy import NAME, Spec

TaskKind = Literal["audit", "gold", "routed", "disagreement", "appeal", "check"]
"""Why a person is asked: a drawn audit, a gold candidate, an item the machine may not decide, strategies that
differ, an answer that was contested. ``check``: hidden gold that measures the reviewer, shown like any task."""
TASK_KINDS: tuple[TaskKind, ...] = get_args(TaskKind)
SEVERITIES: tuple[Severity, ...] = get_args(Severity)
Hours = Annotated[float, Field(gt=0)]

VOTES_WANTED: dict[TaskKind, int] = {
    "audit": 2,
    "gold": 2,
    "routed": 1,
    "disagreement": 1,
    "appeal": 2,
    "check": 1,
}
"""Independent votes with one and the same label that decide a task."""
SLA_HOURS: dict[Severity, float] = {"critical": 4.0, "high": 12.0, "medium": 24.0, "low": 72.0}
DAILY_LIMIT: dict[Severity, int] = {"critical": 200, "high": 400}
KIND_SLA_HOURS: dict[TaskKind, float] = {"audit": 72.0, "gold": 168.0}


class Checks(Spec):
    """Hidden gold among a reviewer's tasks: the first ones, then a share, drawn at random."""

    first: int = Field(default=5, ge=0)
    """So many of a new reviewer's first tasks are hidden gold."""
    rate_prob: float = Field(default=0.10, ge=0, le=1)
    """Probability that a later task is hidden gold."""
    splits: tuple[str, ...] = ("calibration", "certify", "test")
    """Gold splits they come from; `examples` may stand in prompts and guidelines."""


class SkillRule(Spec):
    """Which tasks ask for a skill; every rule that matches must be among the reviewer's skills."""

    labels: tuple[str, ...] = ()
    """The machine's label is one of these; never used for audits and gold, whose order tells nothing of it."""
    kinds: tuple[TaskKind, ...] = ()
    meta: dict[str, str | tuple[str, ...]] = Field(default_factory=dict)
    """Metadata column -> value or values."""

    @model_validator(mode="after")
    def _something(self) -> SkillRule:
        if not (self.labels or self.kinds or self.meta):
            raise ValueError("a skill needs labels, kinds or meta to say which tasks ask for it")
        return self


class Care(Spec):
    """What protects reviewers."""

    blur: Literal["always", "severe", "never"] = "always"
    """Text starts blurred until asked for. severe: only tasks that show the machine's label, and only from
    `blur_from` on; blind tasks then stay blurred, since a blur by severity would tell the label."""
    blur_from: Severity = "high"
    image_column: str | None = None
    """Metadata column with an image file of the project's folder; shown grey, and only when asked for."""
    daily_limit: dict[Severity, int] = Field(default_factory=lambda: dict(DAILY_LIMIT))
    """Items of this severity that one reviewer sees in a day (UTC); after that they get others."""
    break_after_minutes: float = Field(default=50.0, gt=0)
    """Minutes of work after which a break is suggested."""
    break_minutes: float = Field(default=10.0, gt=0)
    """Pause that counts as a break."""

    @field_validator("daily_limit")
    @classmethod
    def _positive(cls, limits: dict[Severity, int]) -> dict[Severity, int]:
        if any(limit < 1 for limit in limits.values()):
            raise ValueError("daily_limit: every limit must be at least 1")
        return limits


class ReviewPolicy(Spec):
    """The section `review:` of a project. Nothing here decides labels: it is outside every fingerprint."""

    votes_wanted: dict[TaskKind, Annotated[int, Field(ge=1, le=9)]] = Field(default_factory=dict)
    """Overrides of how many agreeing votes decide a task of a kind (audit, gold, appeal: 2; others: 1)."""
    show_model: tuple[Literal["routed", "disagreement", "appeal"], ...] = ()
    """Kinds whose tasks show the machine's label and rationale before the vote. Default: none, since a label
    that is shown pulls the vote towards it. Audits and gold are always blind."""
    shown_meta: tuple[str, ...] | Literal["*"] = "*"
    """Metadata columns that reviewers see; `*`: all but those whose name or value could be an answer. Name them where
    others hint at one, such as a topic."""
    sla_hours: dict[Severity, Hours] = Field(default_factory=dict)
    """Hours until a task is due, by the severity of the machine's label (critical 4, high 12, medium 24, low 72)."""
    kind_sla_hours: dict[TaskKind, Hours] = Field(default_factory=dict)
    """Hours until a task of a kind is due, whatever its severity (audit 72, gold 168)."""
    uncertainty_pull: float = Field(default=0.5, ge=0, le=1)
    """How much earlier an uncertain item comes: at confidence 0 by this share of its SLA, at 1 not at all."""
    lease_minutes: float = Field(default=10.0, gt=0, le=240)
    """A task held this long without a sign of life goes back to the queue."""
    undo_minutes: float = Field(default=30.0, ge=0)
    """How long a reviewer may take an answer back."""
    skips_to_lead: int = Field(default=3, ge=1)
    """A task that so many reviewers skipped goes to a lead."""
    language_column: str = "language"
    """Metadata column with an item's language; reviewers with languages get only theirs and unknown ones."""
    skills: dict[Annotated[str, Field(pattern=NAME)], SkillRule] = Field(default_factory=dict)
    checks: Checks = Checks()
    care: Care = Care()

    def votes(self, kind: TaskKind) -> int:
        """Return how many agreeing votes decide a task of this kind."""
        return self.votes_wanted.get(kind, VOTES_WANTED[kind])

    def is_blind(self, kind: TaskKind) -> bool:
        """Return whether the machine's answer is hidden until the vote."""
        return kind not in self.show_model

    def due_hours(self, kind: TaskKind, severity: Severity | None) -> float:
        """Return hours from a task's creation until it is due; an unknown severity counts as medium."""
        by_kind = {**KIND_SLA_HOURS, **self.kind_sla_hours}
        if kind in by_kind:
            return by_kind[kind]
        return {**SLA_HOURS, **self.sla_hours}[severity or "medium"]
