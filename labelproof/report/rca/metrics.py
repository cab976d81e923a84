"""Which rates can be explained, and what "right" means for each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from labelproof.spec.errors import ConfigError
from labelproof.spec.labels import LabelSchema

RateName = Literal[
    "accuracy",
    "auto_accuracy",
    "recall",
    "precision",
    "coverage",
    "failed_rate",
    "agreement",
    "reviewer_accuracy",
]
Kind = Literal["truth", "decision", "task", "check"]
_KINDS: dict[RateName, Kind] = {
    "accuracy": "truth",
    "auto_accuracy": "truth",
    "recall": "truth",
    "precision": "truth",
    "coverage": "decision",
    "failed_rate": "decision",
    "agreement": "task",
    "reviewer_accuracy": "check",
}
_WORDS: dict[RateName, str] = {
    "accuracy": "Accuracy",
    "auto_accuracy": "Accuracy of auto-decisions",
    "recall": "Recall",
    "precision": "Precision",
    "coverage": "Share decided by the machine",
    "failed_rate": "Share that failed",
    "agreement": "Share of tasks on which reviewers agree",
    "reviewer_accuracy": "Reviewers' accuracy on hidden gold",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """A rate that can be explained. accuracy: share of all labels that are right, failed items counted as wrong."""

    name: RateName
    of: str | None = None

    @property
    def text(self) -> str:
        return self.name if self.of is None else f"{self.name}:{self.of}"

    @property
    def words(self) -> str:
        return _WORDS[self.name] + (f" of {self.of}" if self.of else "")

    @property
    def kind(self) -> Kind:
        """What a row is: a label with known truth, a decision, a task with several votes, an answered check."""
        return _KINDS[self.name]

    @property
    def lower_is_better(self) -> bool:
        return self.name == "failed_rate"


def parse_rate(text: str, schema: LabelSchema) -> Rate:
    """Return the rate that ``text`` names; ``ConfigError`` lists what can be explained."""
    name, colon, of = text.strip().partition(":")
    needs_label = name in ("recall", "precision")
    if name not in _KINDS or bool(colon) != needs_label or (needs_label and not of):
        known = [one if one not in ("recall", "precision") else f"{one}:LABEL" for one in _KINDS]
        raise ConfigError(
            f"--metric: expected one of {', '.join(known)}; found {text!r}",
            hint="amounts such as cost, age and throughput have no errors to explain: look at "
            "`labelproof monitor --history`",
        )
    if needs_label and of not in schema.leaves:
        raise ConfigError(
            f"--metric {text}: no label {of!r} in the schema; expected one of {', '.join(schema.leaves)}"
        )
    found: dict[str, RateName] = {one: one for one in _KINDS}
    return Rate(name=found[name], of=of or None)


def parse_words(text: str) -> str:
    """Return a rate's name for people, from its text."""
    name, _, of = text.partition(":")
    found: dict[str, RateName] = {one: one for one in _KINDS}
    return Rate(name=found[name], of=of or None).words
