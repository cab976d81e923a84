"""What a comparison says: frozen values that the terminal, Markdown, JSON, the page and the gate all read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Literal

from agents.snapshots import StepChange
from evaluation.curves import ReliabilityBin, RiskCoverage
from evaluation.paired import PairedDifference
from labelproof.spec.hashing import short

Verdict = Literal["ship", "regression", "inconclusive"]
Role = Literal["primary", "guardrail", "secondary", "info"]
Stability = Literal["stable", "unstable", "unknown"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """One strategy version. ``name`` is its name when it answered, ``arm`` its name in the experiment if there is one."""

    name: str
    fp: str
    arm: str | None
    n_answers: int
    """Answers on the items asked for, before pairing."""
    run_ids: Sequence[str]

    @property
    def ref(self) -> str:
        """Name and short fingerprint: `champion@a91f3c`."""
        return f"{self.name}@{short(self.fp)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricRow:
    """One line of the table. ``p_holm``: corrected among the rows of its role (None: not tested)."""

    role: Role
    difference: PairedDifference
    lower_is_better: bool
    p_holm: float | None = None
    holds: bool | None = None
    """Guardrails: True: proven not worse by the margin; False: proven worse; None: unproven."""
    sql: str = ""
    """What anybody can run to get both values."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SliceRow:
    """The primary metric's difference on the items with ``key`` = ``value``. ``q_value``: Benjamini-Hochberg over all rows."""

    key: str
    value: str
    difference: PairedDifference
    q_value: float | None
    small: bool
    """Fewer than 30 items: shown hatched, tested not at all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Flip:
    """An item that A and B label differently.

    ``kind``: fixed (only B right), broke (only A right), both_wrong, no_gold. ``step``: the first step whose output differs.
    ``stability``: unstable when a repeat of A (or of B) changed its label too. ``gold_doubt``: why the gold label is in
    doubt (both agree against it at high confidence, or people disagreed), else None.
    """

    item_id: str
    external_id: str
    gold: str | None
    label_a: str | None
    label_b: str | None
    confidence_a: float | None
    confidence_b: float | None
    decision_a: str | None
    decision_b: str | None
    kind: Literal["fixed", "broke", "both_wrong", "no_gold"]
    step: str | None
    stability: Stability
    gold_doubt: str | None
    excerpt: str
    """The text's first 160 characters, hidden characters made visible; hostile: escape it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rerun:
    """How many labels change by themselves: A asked again on ``n`` items changed ``n_changed`` of them."""

    n: int
    n_changed: int
    expected_on_all: float | None
    """What that rate would change among all compared items; None: not measured."""
    reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Balance:
    """Whether both sides answered what they were given (sample-ratio check), as an e-value: 100 or more = broken."""

    n_both: int
    n_wanted: int
    n_only_a: int
    n_only_b: int
    e_value: float | None
    ok: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """One changed component's Shapley share of the primary metric's difference."""

    component: str
    delta: float
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Why:
    """Shares that sum to the difference; ``n_new_calls``: model calls that replaying the hybrids would take or took.

    ``shares`` is empty while the hybrids are not computed; ``reason`` says then what to run.
    """

    metric: str
    shares: Sequence[Share]
    n_new_calls: int | None
    reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SideCurves:
    """Reliability and risk-coverage of one side on the gold items."""

    reliability: Sequence[ReliabilityBin]
    risk_coverage: RiskCoverage | None


@dataclass(frozen=True, slots=True, kw_only=True)
class CompareReport:
    """Everything a comparison says. ``verdict`` follows ``rule``, which was written before the numbers were seen."""

    project: str
    comparison_id: str
    experiment_id: str | None
    a: Side
    b: Side
    split: str
    gold_fp: str | None
    gold_name: str
    """For people: `test@a1b2c3`, or `no gold`."""
    n_items: int
    """Items that both answered; all rows rest on them."""
    changes: Sequence[StepChange]
    verdict: Verdict
    headline: str
    """The verdict in one sentence: `accuracy up, guardrail "recall:minor_safety" unproven`."""
    rule: str
    planned: bool
    """Whether the rule was hashed before the first call (an experiment), or is the project's at the time of looking."""
    rows: Sequence[MetricRow]
    flips: Sequence[Flip]
    n_fixed: int
    n_broke: int
    n_both_wrong: int
    """Counts over all flips; ``flips`` may hold fewer (see ``flips_left_out``)."""
    flips_left_out: int
    rerun: Rerun
    balance: Balance
    why: Why
    next_step: str
    """What to do now: how many more items for 80 % power, which guardrail lacks what, or the command that promotes."""
    slices: Sequence[SliceRow]
    curves_a: SideCurves | None
    curves_b: SideCurves | None
    n_looks: int
    """Strategy versions judged on this gold so far, these two included: the more, the luckier the best looks."""
    notes: Sequence[str]
    sql: Mapping[str, str]
    """Panel name (metrics, flips, slices, curves, cost, rerun) → the query behind it."""
    at: datetime

    @property
    def exit_code(self) -> int:
        """0 ship, 1 regression, 2 inconclusive: what a gate needs."""
        return {"ship": 0, "regression": 1, "inconclusive": 2}[self.verdict]

    def to_json(self) -> dict[str, Any]:
        """Return the report as JSON values."""
        return {**asdict(self), "at": self.at.isoformat(), "exit_code": self.exit_code}
