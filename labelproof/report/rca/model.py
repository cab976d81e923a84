"""What an analysis of root causes says: the change in parts, worst slices, causes, what was ruled out, what to do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any, Literal, get_args

from evaluation.decomposition import Decomposition
from evaluation.slice_finder import SliceSearch
from labelproof.report.rca.periods import Period

Cause = Literal[
    "parse_failure",
    "manipulation",
    "reviewer",
    "language",
    "provider_change",
    "guideline_change",
    "strategy_change",
    "guideline_ambiguity",
    "traffic_mix",
    "gold_doubt",
    "length",
    "no_similar_example",
    "low_confidence",
    "unexplained",
]
CAUSES: tuple[Cause, ...] = get_args(Cause)
"""Most specific first: of two causes that mark the same errors the earlier one is named."""
NAMES: Mapping[Cause, str] = {
    "parse_failure": "unusable answers",
    "manipulation": "manipulation",
    "reviewer": "reviewer turned",
    "language": "language",
    "provider_change": "provider change",
    "guideline_change": "guideline change",
    "strategy_change": "strategy change",
    "guideline_ambiguity": "guideline ambiguity",
    "traffic_mix": "mix of traffic",
    "gold_doubt": "gold doubt",
    "length": "length / truncation",
    "no_similar_example": "no similar example",
    "low_confidence": "low confidence",
    "unexplained": "unexplained",
}
Status = Literal["explains", "covered", "not more than elsewhere", "unmeasured"]
"""explains: more frequent among errors than among right items, and more than before, beyond chance. covered: so is it,
but its errors are those of a cause named before it."""
ActionKind = Literal[
    "change process",
    "clarify guideline",
    "add examples",
    "re-check gold",
    "collect data",
    "fine-tune",
    "look",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorCase:
    """One error of the later period with its evidence; ``fits``: cause -> the evidence in words, strongest first."""

    item_id: str
    external_id: str
    run_id: str
    strategy_fp: str
    label: str | None
    right_label: str | None
    confidence: float | None
    cause: Cause
    fits: Mapping[str, str]
    excerpt: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """What to do about a cause. ``items``: ids of the items it is about; ``clause``: of the guideline, if one is meant."""

    kind: ActionKind
    what: str
    items: tuple[str, ...]
    clause: str | None = None
    command: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CauseRow:
    """One cause: its errors, how it compares with right items, and what it explains.

    ``n_errors``: errors put down to it; ``n_marked``: errors that show its evidence. ``explained``: points of the
    error rate that it adds to the change (or, without an earlier period, to the rate). ``q_value``: corrected over all
    causes (Benjamini-Hochberg). ``line``: the finding in words with its numbers.
    """

    cause: Cause
    status: Status
    n_errors: int
    n_marked: int
    share_errors: float | None
    share_right: float | None
    lift: float | None
    q_value: float | None
    explained: float | None
    low: float | None
    high: float | None
    by_timing: bool
    covered_by: Cause | None
    line: str
    items: tuple[str, ...] = ()
    action: Action | None = None

    @property
    def name(self) -> str:
        return NAMES[self.cause]


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedPart:
    """A part of the change under the name a report gives it."""

    name: str
    value: float
    low: float | None
    high: float | None
    measured: bool
    line: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MixedSlice:
    """A slice whose share or rate changed; ``mix`` and ``within`` are points of the change."""

    name: str
    n_before: int
    n_after: int
    share_before: float
    share_after: float
    rate_before: float | None
    rate_after: float | None
    mix: float
    within: float


@dataclass(frozen=True, slots=True, kw_only=True)
class RateOf:
    """A rate of one period with its 95 % interval; ``n`` rows with known truth of ``population`` decisions (or votes)."""

    value: float
    low: float
    high: float
    n: int
    population: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RootCauseReport:
    """The analysis. ``before`` is None where one period alone is explained, and so are ``change`` and its parts.

    ``worse``: the change is proven to be for the worse (its interval lies wholly on that side of none). ``why_not``: why
    there is no answer, if there is none. ``ruled_out``: what was measured and is not it, with its numbers.
    """

    rca_id: str
    project: str
    metric: str
    earlier: Period | None
    later: Period
    before: RateOf | None
    after: RateOf | None
    change: float | None
    low: float | None
    high: float | None
    lower_is_better: bool
    parts: tuple[NamedPart, ...]
    decomposition: Decomposition | None
    mixed_by: str | None
    mixed: tuple[MixedSlice, ...]
    slices: SliceSearch | None
    slice_before: Mapping[str, tuple[int, int]]
    """Slice name -> (errors, items) in the earlier period."""
    causes: tuple[CauseRow, ...]
    ruled_out: tuple[str, ...]
    unmeasured: tuple[str, ...]
    errors: tuple[ErrorCase, ...]
    n_errors: int
    notes: tuple[str, ...]
    sql: Mapping[str, str]
    at: datetime
    why_not: str | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)
    """Numbers behind the evidence: sentinel, provider marks, strategy versions, reviewers' checks."""

    @property
    def worse(self) -> bool:
        if self.low is None or self.high is None:
            return False
        return self.low > 0 if self.lower_is_better else self.high < 0

    @property
    def better(self) -> bool:
        if self.low is None or self.high is None:
            return False
        return self.high < 0 if self.lower_is_better else self.low > 0

    @property
    def exit_code(self) -> int:
        """0: nothing got worse beyond chance; 1: it got worse; 2: no answer."""
        if self.why_not is not None:
            return 2
        return int(self.worse)

    @property
    def explaining(self) -> tuple[CauseRow, ...]:
        """The causes that explain the change (or the errors), the one that explains most first."""
        return tuple(row for row in self.causes if row.status == "explains")

    @property
    def first_cause(self) -> Cause | None:
        """The cause named first, None when no evidence speaks for one or most of the change is unexplained."""
        found = self.explaining
        return found[0].cause if found and not self.mostly_unexplained else None

    @property
    def left_over(self) -> float | None:
        """Points by which the metric got worse that no cause explains; None where it did not provably get worse."""
        if not self.worse or self.change is None:
            return None
        return abs(self.change) - sum(row.explained or 0.0 for row in self.explaining)

    @property
    def mostly_unexplained(self) -> bool:
        """Whether what no cause explains is more than what any single cause does."""
        largest = max((row.explained or 0.0 for row in self.explaining), default=0.0)
        return self.left_over is not None and self.left_over > largest

    @property
    def actions(self) -> tuple[Action, ...]:
        return tuple(row.action for row in self.causes if row.action is not None)

    @property
    def headline(self) -> str:
        from labelproof.report.rca.words import headline

        return headline(self)

    def to_json(self) -> dict[str, Any]:
        from labelproof.report.rca.words import slice_json

        def period(one: Period | None) -> dict[str, Any] | None:
            return (
                None
                if one is None
                else {"name": one.name, "start": one.start.isoformat(), "end": one.end.isoformat()}
            )

        return {
            "rca_id": self.rca_id,
            "project": self.project,
            "metric": self.metric,
            "headline": self.headline,
            "earlier": period(self.earlier),
            "later": period(self.later),
            "before": None if self.before is None else asdict(self.before),
            "after": None if self.after is None else asdict(self.after),
            "change": self.change,
            "low": self.low,
            "high": self.high,
            "worse": self.worse,
            "exit_code": self.exit_code,
            "why_not": self.why_not,
            "parts": [asdict(part) for part in self.parts],
            "method": None if self.decomposition is None else self.decomposition.method,
            "behaviour_from": None if self.decomposition is None else self.decomposition.behaviour_from,
            "mixed_by": self.mixed_by,
            "mixed": [asdict(one) for one in self.mixed],
            "slices": slice_json(self),
            "first_cause": self.first_cause,
            "left_over": self.left_over,
            "causes": [{**asdict(row), "name": row.name} for row in self.causes],
            "ruled_out": list(self.ruled_out),
            "unmeasured": list(self.unmeasured),
            "next": [asdict(action) for action in self.actions],
            "n_errors": self.n_errors,
            "errors": [asdict(case) for case in self.errors],
            "notes": list(self.notes),
            "facts": dict(self.facts),
            "sql": dict(self.sql),
            "at": self.at.isoformat(),
        }
