"""What a training set is: its rules, its rows with provenance, and what was left out and why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, get_args

from labelproof.spec.errors import ConfigError

Kind = Literal["sft", "preference", "evaluation"]
KINDS: tuple[Kind, ...] = get_args(Kind)
Source = Literal["auto", "agreed", "adjudicated", "appeal"]
SOURCES: tuple[Source, ...] = get_args(Source)
"""Where a label comes from, the least trusted first: the machine alone, people who agreed, a lead, an appeal."""
Part = Literal["train", "val", "evaluation"]
SAID = {
    "source": "not among the sources asked for",
    "confidence": "accepted below the confidence asked for",
    "uncertified": "auto-accepted without a certificate",
    "voided": "auto-accepted on a certificate that was voided since",
    "schema": "with a label the project no longer has",
    "text": "without a stored text",
    "gold candidate": "drawn for gold: they are to judge, not to teach",
    "same": "the same text again",
    "conflict": "the same text with another label of the same trust",
    "near": "nearly the same text with the same label",
    "gold": "the text of a gold item",
    "near gold": "nearly the text of a gold item, or one in disguise or with more around it",
    "evaluation": "held out for evaluation",
    "not held out": "not in the held-out share",
    "machine": "not decided by people",
    "no contrast": "nobody said anything else",
}
"""Why a row is left out -> in words, after a number."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What decides which rows are in: all of it is part of the set's identity.

    ``min_confidence``: of auto-accepted labels, 0 to 1. ``val_share``: share of groups of like texts held out for
    validation, and as many again for evaluation.
    ``group``: metadata column whose values are never divided between the parts. ``near``: similarity from which two
    texts are nearly the same.
    """

    kind: Kind
    strategy: str
    include: tuple[Source, ...] = SOURCES
    min_confidence: float = 0.0
    uncertified: bool = False
    val_share: float = 0.1
    group: str | None = None
    near: float = 0.8
    seed: int = 0

    def check(self) -> None:
        """Raise ``ConfigError`` for rules that make no sense."""
        unknown = [one for one in self.include if one not in SOURCES]
        if unknown or not self.include:
            raise ConfigError(
                f"include: expected some of {', '.join(SOURCES)}, found {', '.join(unknown) or 'none'}"
            )
        if not 0 <= self.min_confidence <= 1:
            raise ConfigError(f"min-confidence: expected 0 to 1, found {self.min_confidence:g}")
        if not 0 <= self.val_share < 0.5:
            raise ConfigError(f"val-share: expected 0 or more and below .5, found {self.val_share:g}")
        if self.kind == "evaluation" and self.val_share == 0:
            raise ConfigError("an evaluation set is the held-out share: --val-share must be above 0")


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelRow:
    """One decided item. ``rejected``: other labels somebody gave it, with who (model or reviewer, no names).

    ``confidence``: the machine's, of its own label. ``model_label``: what the machine said. ``cluster``: value of the
    grouping column.
    """

    item_id: str
    text: str
    label: str
    source: Source
    task_kind: str | None
    n_annotators: int
    confidence: float | None
    model_label: str | None
    run_id: str | None
    strategy: str | None
    strategy_fp: str | None
    certificate_id: str | None
    certificate_state: str | None
    decided_at: str | None
    cluster: str | None
    rejected: tuple[tuple[str, str], ...] = ()

    @property
    def trust(self) -> int:
        return SOURCES.index(self.source)

    def provenance(self) -> dict[str, Any]:
        """Return where the label comes from, as JSON values: no text, and numbers of people in place of names."""
        names = (
            "item_id", "label", "source", "task_kind", "n_annotators", "confidence", "model_label", "run_id",
            "strategy", "strategy_fp", "certificate_id", "decided_at",
        )  # fmt: skip
        return {name: getattr(self, name) for name in names}


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """Rows by part, and how many were left out by reason."""

    parts: Mapping[Part, Sequence[LabelRow]]
    left_out: Counter[str]
    n_decided: int
    n_gold: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingSet:
    """A set as it was made. ``lines``: part -> JSON lines; ``provenance``: part -> one entry for each line.

    ``balance``: part -> label -> lines.
    """

    project: str
    set_id: str
    rules: Rules
    strategy_fp: str
    prompt: str
    chosen: Chosen
    lines: Mapping[Part, Sequence[bytes]] = field(repr=False)
    provenance: Mapping[Part, Sequence[Mapping[str, Any]]] = field(repr=False)
    balance: Mapping[Part, Mapping[str, int]]
    notes: tuple[str, ...]
    sql: str

    @property
    def n_lines(self) -> int:
        return sum(map(len, self.lines.values()))

    @property
    def n_items(self) -> int:
        return sum(map(len, self.chosen.parts.values()))

    def spec(self) -> dict[str, Any]:
        """Return rules and counts as JSON values: what the store keeps and the manifest begins with."""
        return {
            "set_id": self.set_id,
            "project": self.project,
            "kind": self.rules.kind,
            "rules": {**asdict(self.rules), "include": list(self.rules.include)},
            "strategy_fp": self.strategy_fp,
            "prompt": self.prompt,
            "items": {part: len(rows) for part, rows in self.chosen.parts.items()},
            "lines": {part: len(rows) for part, rows in self.lines.items()},
            "balance": {part: dict(counts) for part, counts in self.balance.items()},
            "sources": {
                part: dict(sorted(Counter(row.source for row in rows).items()))
                for part, rows in self.chosen.parts.items()
            },
            "decided": self.chosen.n_decided,
            "left_out": dict(sorted(self.chosen.left_out.items())),
            "gold_compared": self.chosen.n_gold,
            "notes": list(self.notes),
            "sql": self.sql,
        }
