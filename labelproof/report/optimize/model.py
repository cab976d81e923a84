"""A strategy search as data: what was asked, what is planned, what came out."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

from agents.search.halving import Optimism, Rung, Scored
from agents.search.space import FAMILIES, Family
from labelproof.spec.hashing import digest
from labelproof.spec.strategy import Strategy

State = Literal["base", "winner", "finalist", "dropped", "failed", "waiting"]
"""waiting: the search stopped before it was judged; failed: it cannot run here, with the reason."""
BASE = "base"


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchRequest:
    """What to search. ``rounds`` None: as many as candidates and gold support; ``metric`` None: the project's primary."""

    base: str | None = None
    candidates: int = 12
    rounds: int | None = None
    seed: int = 0
    space: tuple[Family, ...] = FAMILIES
    budget_usd: float | None = None
    max_calls: int | None = None
    metric: str | None = None
    writer: str | None = None
    name: str | None = None
    top: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """One candidate before it runs. ``instructions``: numbers of the instruction variants it takes up."""

    id: str
    name: str
    says: str
    families: tuple[str, ...]
    strategy: Strategy
    instructions: tuple[int, ...]
    calls_per_item: int
    """At most: steps with a `when:` count for every item."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchPlan:
    """Everything that decides a search, fixed before its first call; ``search_id`` comes from ``fp``.

    ``n_calls_most``: model calls at most when nothing is stored yet; unusable answers that are asked again come on top.
    """

    project: str
    base: str
    base_fp: str
    metric: str
    seed: int
    rungs: tuple[Rung, ...]
    candidates: tuple[Planned, ...]
    skipped: dict[str, str]
    n_learn: int
    n_judge: int
    learn_fp: str
    judge_fp: str
    tag: str
    """Part of the names of what the search writes."""
    n_study: int
    n_variants: int
    writer: str | None
    n_calls_most: int

    @property
    def fp(self) -> str:
        return digest(self.to_json())

    @property
    def search_id(self) -> str:
        return f"s-{self.fp.rpartition(':')[2][:10]}"

    def to_json(self) -> dict[str, Any]:
        """Return the plan as stored in `experiments.plan_json`."""
        return {
            "kind": "search",
            "project": self.project,
            "base": self.base,
            "base_fp": self.base_fp,
            "metric": self.metric,
            "seed": self.seed,
            "rounds": [asdict(rung) for rung in self.rungs],
            "candidates": [
                {"id": one.id, "name": one.name, "says": one.says, "families": list(one.families)}
                for one in self.candidates
            ],
            "skipped": dict(self.skipped),
            "n_learn": self.n_learn,
            "n_judge": self.n_judge,
            "learn_fp": self.learn_fp,
            "judge_fp": self.judge_fp,
            "tag": self.tag,
            "n_study": self.n_study,
            "n_variants": self.n_variants,
            "writer": self.writer,
            "n_calls_most": self.n_calls_most,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundResult:
    """One strategy in one round. ``cost_per_1k_usd`` None: no price is known."""

    round: int
    n_items: int
    score: Scored
    n_failed: int
    cost_per_1k_usd: float | None
    survived: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class CandidateResult:
    """One strategy of the search. ``fp``: the version that all calibration gold would make; ``file``: where it was written."""

    id: str
    name: str
    says: str
    state: State
    fp: str | None
    reason: str | None
    rounds: tuple[RoundResult, ...]
    changes: tuple[dict[str, Any], ...]
    instruction: str | None = None
    file: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Confirmed:
    """What the fresh experiment on untouched gold says of one winner; numbers None: not measurable."""

    experiment_id: str
    candidate: str
    split: str
    n_items: int
    verdict: str | None
    headline: str
    value_base: float | None
    value: float | None
    delta: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchReport:
    """A search after this process; ``stopped``: why it is not complete (the same command goes on)."""

    plan: SearchPlan
    gold_fp: str
    candidates: tuple[CandidateResult, ...]
    winners: tuple[str, ...]
    optimism: Optimism | None
    spent_usd: float
    n_calls: int
    stopped: str | None
    hint: str | None
    confirm_command: str | None
    confirmed: tuple[Confirmed, ...] = ()
    unconfirmed: str | None = None
    """Why there is a winner and no confirmation."""
    notes: tuple[str, ...] = ()

    @property
    def exit_code(self) -> int:
        """0: a winner (ships, where it was confirmed); 1: none, stopped, or a regression; 2: confirmed as inconclusive."""
        if self.stopped or not self.winners:
            return 1
        verdicts = {one.verdict for one in self.confirmed}
        if not verdicts or "ship" in verdicts:
            return 0
        return 1 if verdicts == {"regression"} else 2

    def by_id(self, candidate: str) -> CandidateResult:
        return next(one for one in self.candidates if one.id == candidate)

    @property
    def sql(self) -> str:
        """The query behind the scores: every candidate's answers beside tuning gold."""
        return (
            "SELECT a.arm, a.item_id, a.label, g.label AS gold, a.cost_usd FROM arm_answers a JOIN current_gold g"
            f" USING (item_id) WHERE a.experiment_id = '{self.plan.search_id}' AND g.project = '{self.plan.project}'"
            f" AND g.gold_fp = '{self.gold_fp}' AND g.split = 'calibration'"
        )

    def to_json(self) -> dict[str, Any]:
        """Return everything as JSON values; NaN becomes None."""
        return {
            "search_id": self.plan.search_id,
            "plan": self.plan.to_json(),
            "plan_fp": self.plan.fp,
            "candidates": [_plain(asdict(one)) for one in self.candidates],
            "winners": list(self.winners),
            "optimism": None if self.optimism is None else _plain(asdict(self.optimism)),
            "spent_usd": self.spent_usd,
            "n_calls": self.n_calls,
            "stopped": self.stopped,
            "hint": self.hint,
            "confirm_command": self.confirm_command,
            "confirmed": [_plain(asdict(one)) for one in self.confirmed],
            "unconfirmed": self.unconfirmed,
            "notes": list(self.notes),
            "sql": self.sql,
        }


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        return value if value == value else None  # noqa: PLR0124 - NaN is not JSON
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return value
