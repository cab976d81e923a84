"""Parameters of the flows. Prefect draws its forms from these models: field texts are for people."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class LabelParams(BaseModel):
    """Label a project's waiting items with one strategy."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    project: str = Field(min_length=1, examples=["projects/content_safety"])
    """Folder of the project, for example projects/content_safety."""

    strategy: str = Field(default="champion", min_length=1)
    """Name of a strategy of the project; "champion" is the one that was promoted last."""

    limit: int | None = Field(default=None, ge=1)
    """Label at most this many items; empty = all that wait."""

    batch_size: int = Field(default=200, ge=1, le=5_000)
    """Items per Prefect task: 100 to 500 keep the server's share of the work small."""

    repeat: int = Field(default=0, ge=0)
    """0 uses stored answers again; a higher number asks the models anew (A/A reruns)."""

    max_cost_usd: float | None = Field(default=None, ge=0)
    """Stop when this much is spent in the run, US dollars; the run can be resumed. Empty = no limit."""

    store: str | None = None
    """Trace store to write, a path or URL; empty = the project's own."""

    queue: bool | None = None
    """Put what the machine may not decide into the review queue; empty = for the project's default strategy."""

    rollout: bool = True
    """Follow a roll-out under way when the strategy is the project's default: its shadow answers too, its canary decides
    its share."""


class ScoreParams(BaseModel):
    """Score a strategy's stored decisions against a gold split."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    project: str = Field(min_length=1, examples=["projects/content_safety"])
    """Folder of the project, for example projects/content_safety."""

    strategy: str = Field(default="champion", min_length=1)
    """Name of a strategy of the project; "champion" is the one that was promoted last."""

    split: Literal["examples", "calibration", "certify", "test"] = "test"
    """Gold split to score on; "test" was used for no other decision."""

    store: str | None = None
    """Trace store to read and write, a path or URL; empty = the project's own."""


class CertifyParams(BaseModel):
    """Certify a strategy on the gold of the split "certify"."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    project: str = Field(min_length=1, examples=["projects/content_safety"])
    """Folder of the project, for example projects/content_safety."""

    strategy: str = Field(default="champion", min_length=1)
    """Name of a strategy of the project; "champion" is the one that was promoted last."""

    alpha: float | None = Field(default=None, gt=0, lt=1)
    """Highest error rate promised among auto-accepted items; empty = the project's routing.alpha."""

    delta: float = Field(default=0.05, gt=0, lt=1)
    """Probability that the promise may be wrong."""

    per_class: dict[str, float] = Field(default_factory=dict)
    """Stricter promises by label, for example {"minor_safety": 0.01}; empty = the project's own."""

    pool: int = Field(default=2000, ge=1)
    """Items of the pool whose confidences choose the candidate thresholds."""

    finite_pool: bool = False
    """Promise for the items present now only: reaches further, and speaks of no later item."""

    valid_days: int = Field(default=30, ge=1)
    """Days until the certificate expires."""

    max_cost_usd: float | None = Field(default=None, ge=0)
    """Stop when this much is spent on missing answers, US dollars; it can be resumed. Empty = no limit."""

    store: str | None = None
    """Trace store to read and write, a path or URL; empty = the project's own."""


class PromoteParams(BaseModel):
    """Ask a person whether a candidate becomes the champion: the run waits, suspended, for the answer."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    project: str = Field(min_length=1, examples=["projects/content_safety"])
    """Folder of the project, for example projects/content_safety."""

    strategy: str = Field(min_length=1, examples=["candidate"])
    """Name of the candidate: a strategy file of the project."""

    why: str = Field(min_length=1)
    """Why it should become the champion; kept in the audit trail."""

    by: str = Field(min_length=1)
    """Who asks; kept in the audit trail beside who answers."""

    evidence: str = "latest"
    """Id of the comparison it rests on; "latest" = the newest of exactly these versions on today's gold."""

    force: bool = False
    """Ask even without a comparison that says "ship"; recorded as such."""

    wait_hours: int = Field(default=168, ge=1, le=2160)
    """How long the run waits for an answer; after that nothing changes."""

    store: str | None = None
    """Trace store to read and write, a path or URL; empty = the project's own."""


class ExperimentParams(BaseModel):
    """Run strategies over the same items and compare them by a rule that is written before the first call."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    project: str = Field(min_length=1, examples=["projects/content_safety"])
    """Folder of the project, for example projects/content_safety."""

    arms: list[str] = Field(min_length=2, examples=[["champion", "candidate"]])
    """Strategies of the project; the first is what the others are compared with. NAME@FINGERPRINT: a stored version."""

    split: str = "test"
    """Gold split to compare on: test or certify."""

    items: str | None = None
    """In place of gold: so many items without gold, drawn at random, or "all". Empty = compare on gold."""

    budget_usd: float | None = Field(default=None, ge=0)
    """Stop when all arms together have spent this much, US dollars; it can be resumed. Empty = no limit."""

    name: str | None = None
    """What to call it; empty = the names of the arms."""

    primary: str | None = None
    """What must get better, for example macro_f1; empty = the project's experiments.primary."""

    goal: Literal["better", "not_worse"] | None = None
    """not_worse: enough if it is proven not worse by the margin; empty = the project's experiments.goal."""

    again: bool = False
    """Plan a new experiment, even if the same one is unfinished or has ended."""

    experiment: str | None = None
    """Id of a stored experiment to go on with; then the fields above only have to name its project and arms."""

    batch_size: int = Field(default=200, ge=1, le=5_000)
    """Items per Prefect task."""

    store: str | None = None
    """Trace store to write, a path or URL; empty = the project's own."""


class ArmParams(BaseModel):
    """One arm of a running experiment; started by the flow "experiment", not by hand."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    experiment: str = Field(min_length=1)
    """Id of the experiment."""

    arm: str = Field(min_length=1)
    """Name of the arm."""

    repeat: int = Field(default=0, ge=0, le=1)
    """1: the first arm asked again, to see how many labels change by themselves."""

    batch_size: int = Field(default=200, ge=1, le=5_000)
    """Items per Prefect task."""


class SuiteParams(BaseModel):
    """Run suites of behavioural tests against one strategy, and open findings for broken guardrails."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    project: str = Field(min_length=1, examples=["projects/content_safety"])
    """Folder of the project, for example projects/content_safety."""

    strategy: str = Field(default="champion", min_length=1)
    """Name of a strategy of the project; "champion" is the one that was promoted last."""

    suite: str = "all"
    """robustness, bias, injection, functional, the name of a file of cases, or all."""

    n: int = Field(default=100, ge=1)
    """Base items (or sets of templates) at most, per suite."""

    seed: int = 0
    """Another number draws other items and other changes."""

    max_cost_usd: float | None = Field(default=None, ge=0)
    """Stop when this much is spent on missing answers, US dollars; it can be resumed. Empty = no limit."""

    store: str | None = None
    """Trace store to read and write, a path or URL; empty = the project's own."""


class MonitorParams(BaseModel):
    """Measure a project's targets, drift and sentinel set; raise, escalate and end alarms."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    project: str = Field(min_length=1, examples=["projects/content_safety"])
    """Folder of the project, for example projects/content_safety."""

    store: str | None = None
    """Trace store to read and write, a path or URL; empty = the project's own."""

    now: datetime | None = None
    """Measure as of this time, to replay the past; empty = now."""


class ReportParams(BaseModel):
    """Write a report: a page, Markdown and slides; its numbers can be run as SQL."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    project: str = Field(min_length=1, examples=["projects/content_safety"])
    """Folder of the project, for example projects/content_safety."""

    kind: Literal["weekly", "experiment", "model-card", "data-card"] = "weekly"
    """What to report: a week, the newest experiment, a strategy, or the data."""

    period: str | None = Field(default=None, examples=["2026-W42"])
    """Weekly: W42, 2026-10-05..2026-10-11, last-7d; empty = the last full week."""

    about: str | None = None
    """Weekly: only this strategy's decisions; model-card: the strategy; experiment: id of an experiment or comparison. Empty =
    all decisions, the project's strategy, the newest comparison."""

    out: str | None = None
    """Folder or .html file to write; empty = reports/PROJECT/ below the working directory."""

    slides: bool = True
    """Draw the pictures as 1920 x 1080 PNGs too."""

    store: str | None = None
    """Trace store to read, a path or URL; empty = the project's own."""

    now: datetime | None = None
    """Report as of this time, to replay the past; empty = now."""
