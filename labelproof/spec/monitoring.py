"""What is watched every day: targets with their levels and escalation, drift, the sentinel set."""

from __future__ import annotations

from typing import Annotated, Literal, get_args

from pydantic import Field, field_validator, model_validator

from labelproof.spec.strategy import Spec

Level = Literal["critical", "major", "minor"]
LEVELS: tuple[Level, ...] = get_args(Level)
"""How much a breach hurts, worst first; findings use the same words for their severity."""
TargetMetric = Literal[
    "auto_accuracy",
    "recall",
    "coverage",
    "failed_rate",
    "agreement",
    "review_age_hours",
    "cost_per_1000",
    "throughput_per_hour",
    "reviewer_accuracy",
]
TARGET_METRICS: tuple[TargetMetric, ...] = get_args(TargetMetric)
LOWER_IS_BETTER: frozenset[str] = frozenset({"failed_rate", "review_age_hours", "cost_per_1000"})
DriftKind = Literal[
    "label_mix", "confidence", "text", "language", "length", "provider", "manipulation", "strategy"
]
DRIFT_KINDS: tuple[DriftKind, ...] = get_args(DriftKind)
"""`manipulation`: the share of items that were sent to people because they try to steer the model. `strategy`: a new
version decides that nobody compared, approved or promoted."""
Hours = Annotated[float, Field(ge=0)]
ESCALATE_AFTER_HOURS: dict[Level, tuple[float, ...]] = {
    "critical": (0.0, 4.0, 24.0),
    "major": (0.0, 24.0, 72.0),
    "minor": (0.0, 72.0, 168.0),
}


class Target(Spec):
    """A promised level of one metric."""

    metric: str
    """auto_accuracy (share of right automatic decisions), recall:LABEL, coverage (share decided by the machine),
    failed_rate, agreement (Krippendorff's alpha of reviewers), review_age_hours (95th percentile of how long
    open review tasks wait), cost_per_1000 (US dollars per 1 000 items), throughput_per_hour, or reviewer_accuracy."""
    at_least: float | None = None
    at_most: float | None = None
    level: Level = "major"
    """How much a breach hurts: critical, major or minor; decides how fast it escalates."""
    owner: str = ""
    """Who answers for it; default: the first contact."""
    window_days: float | None = Field(default=None, gt=0)
    """Days of work it is measured over; default: `monitoring.window_days`."""
    note: str = ""

    @property
    def name(self) -> str:
        """The metric without its label: `recall` of `recall:hate`."""
        return self.metric.partition(":")[0]

    @property
    def of(self) -> str | None:
        """The label a recall is about; None for other metrics."""
        return self.metric.partition(":")[2] or None

    @property
    def bound(self) -> float:
        bound = self.at_least if self.at_least is not None else self.at_most
        assert bound is not None  # exactly one is given
        return bound

    @property
    def promise(self) -> str:
        """`>= 0.95` or `<= 24`."""
        return f"≥ {self.at_least:g}" if self.at_least is not None else f"≤ {self.bound:g}"

    @model_validator(mode="after")
    def _sound(self) -> Target:
        if self.name not in TARGET_METRICS:
            raise ValueError(
                f"unknown target metric {self.metric!r}; expected one of {', '.join(TARGET_METRICS)}"
            )
        if (self.name == "recall") != (self.of is not None):
            raise ValueError(
                f"target {self.metric!r}: recall names a label (`recall:LABEL`), the others none"
            )
        if (self.at_least is None) == (self.at_most is None):
            raise ValueError(f"target {self.metric!r}: give exactly one of at_least and at_most")
        wanted = "at_most" if self.name in LOWER_IS_BETTER else "at_least"
        if getattr(self, wanted) is None:
            raise ValueError(f"target {self.metric!r} is a promise of `{wanted}`")
        shares = ("auto_accuracy", "recall", "coverage", "failed_rate", "reviewer_accuracy")
        if self.name in shares and not 0 < self.bound < 1:
            raise ValueError(
                f"target {self.metric!r}: expected a share between 0 and 1, found {self.bound:g}"
            )
        return self


class Contact(Spec):
    """Who is told, in order, when a target breaks: first the QA lead, then the policy owner, then the vendor."""

    role: str
    name: str = ""
    channel: str = ""


class SentinelPolicy(Spec):
    """A frozen set of items asked anew in every run: what changes on it is the model, not the traffic."""

    items: int = Field(default=0, ge=0)
    """How many; 0: none. Each run pays their calls again."""
    every_hours: float = Field(default=0.0, ge=0)
    """Not asked again before so many hours have passed; 0: in every run."""


class MonitorPolicy(Spec):
    """How production is watched. Decides no label: outside every fingerprint."""

    window_days: float = Field(default=7.0, gt=0)
    """Days of work a target is measured over, and drift is looked for in."""
    reference_days: float = Field(default=28.0, gt=0)
    """Days before the window that drift compares it with."""
    delta: float = Field(default=0.05, gt=0, lt=1)
    """Probability that the targets' monitors raise any false alarm in 180 days, however often one looks; a recovery starts anew."""
    drift: tuple[DriftKind, ...] = DRIFT_KINDS
    """What is tested for drift."""
    drift_mean_days: float = Field(default=365.0, gt=1)
    """All drift tests together alarm falsely once in so many days, on average, or less often."""
    language_column: str = "language"
    """Metadata column with an item's language; without it, it is guessed from the script and frequent words."""
    sentinel: SentinelPolicy = SentinelPolicy()
    escalate_after_hours: dict[Level, tuple[Hours, ...]] = Field(
        default_factory=lambda: dict(ESCALATE_AFTER_HOURS)
    )
    """Level -> hours after which each contact in turn is told of a breach that lasts."""

    @field_validator("escalate_after_hours")
    @classmethod
    def _rising(cls, value: dict[Level, tuple[float, ...]]) -> dict[Level, tuple[float, ...]]:
        for level, hours in value.items():
            if not hours or list(hours) != sorted(set(hours)):
                raise ValueError(f"escalate_after_hours.{level}: expected rising hours, found {list(hours)}")
        return {level: value.get(level, ESCALATE_AFTER_HOURS[level]) for level in LEVELS}
