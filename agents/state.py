"""What is known about one item while it travels through a strategy."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from labelproof.spec.items import Item

Decision = Literal["auto_accept", "review", "failed"]


@dataclass(frozen=True, slots=True)
class Example:
    """A solved case from the ``examples`` split; ``similarity`` is a cosine, None when fixed."""

    item_id: str
    text: str
    label: str
    similarity: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Spent:
    """What the calls of a step on an item cost in US dollars (None: no price is known) and took in milliseconds."""

    cost_usd: float | None
    latency_ms: float


@dataclass(slots=True)
class ItemState:
    """The running sum of all steps' outputs for one item.

    ``log_probs`` is aligned with the schema's leaves: log-probabilities that sum to one (single-label,
    taxonomy), or log P(yes) of each class by itself (multi-label).
    """

    item: Item
    text: str = ""
    language: str | None = None
    manipulation: tuple[str, ...] = ()
    fixed_examples: tuple[Example, ...] = ()
    near_examples: tuple[Example, ...] = ()
    label: str | None = None
    log_probs: list[float] | None = None
    rationale: str = ""
    raw_confidence: float | None = None
    confidence: float | None = None
    margin: float | None = None
    agreement: float | None = None
    failure: str | None = None
    calibrator_id: str | None = None
    decision: Decision | None = None
    reason: str = ""
    certificate_id: str | None = None
    inclusion_prob: float | None = None
    audited: bool = False
    cost_usd: float | None = 0.0
    """What its model calls cost when they were made, reused ones included; None: no price is known."""
    latency_ms: float = 0.0
    """How long they took then."""
    seq: int = field(default=0)

    def __post_init__(self) -> None:
        """A strategy without `normalize` reads the text as it is."""
        self.text = self.text or self.item.text

    def charge(self, spent: Spent) -> None:
        """Add what a step cost."""
        known = self.cost_usd is not None and spent.cost_usd is not None
        self.cost_usd = (self.cost_usd or 0.0) + (spent.cost_usd or 0.0) if known else None
        self.latency_ms += spent.latency_ms

    def signals(self) -> dict[str, Any]:
        """Return what ``when:`` may read (see ``labelproof.spec.conditions.SIGNALS``)."""
        return {
            "confidence": self.confidence if self.confidence is not None else self.raw_confidence,
            "margin": self.margin,
            "agreement": self.agreement,
            "label": self.label,
            "manipulation": bool(self.manipulation),
            "language": self.language,
            "n_chars": len(self.text),
            "failed": self.failure is not None,
        }
