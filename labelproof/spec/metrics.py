"""Names of metrics as people write them in plans and on the command line: `macro_f1`, `recall:minor_safety`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from labelproof.spec.errors import ConfigError

GoldMetric = Literal["accuracy", "macro_f1", "recall", "precision", "f1", "auto_accuracy"]
"""Need gold. accuracy: exact match (taxonomy: of the leaf). auto_accuracy: accuracy of what would be auto-accepted."""
FreeMetric = Literal["auto_accept_rate", "failed_rate", "cost_per_1k_usd", "latency_ms"]
"""Need no gold. Rates are shares of all items; cost is US dollars per 1 000 items; latency the mean of an item."""
PER_CLASS = frozenset({"recall", "precision", "f1"})
LOWER_IS_BETTER = frozenset({"failed_rate", "cost_per_1k_usd", "latency_ms", "suite"})
OPEN_ENDED = frozenset({"cost_per_1k_usd", "latency_ms"})
"""Metrics that are no share from 0 to 1."""
_GOLD: tuple[str, ...] = get_args(GoldMetric)
_FREE: tuple[str, ...] = get_args(FreeMetric)


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricRef:
    """One metric. ``of``: the class of a per-class metric; of a suite its name, `/functionality` behind it if one is meant.

    A suite's metric is its failure rate (lower is better), 0 to 1.
    """

    name: str
    of: str | None = None

    @property
    def text(self) -> str:
        """The name as people write it."""
        return self.name if self.of is None else f"{self.name}:{self.of}"

    @property
    def needs_gold(self) -> bool:
        return self.name in _GOLD

    @property
    def lower_is_better(self) -> bool:
        return self.name in LOWER_IS_BETTER


def parse_metric(text: str) -> MetricRef:
    """Return the metric of a name such as `macro_f1`, `recall:LABEL` or `suite:robustness`; ``ConfigError`` lists all."""
    name, colon, of = text.strip().partition(":")
    if name in PER_CLASS or name == "suite":
        if of:
            return MetricRef(name=name, of=of)
        what = "suite" if name == "suite" else "label"
        raise ConfigError(f"metric {text!r}: expected {name}:{what.upper()}, naming the {what}")
    if name in (*_GOLD, *_FREE) and not colon:
        return MetricRef(name=name)
    known = [n if n not in PER_CLASS else f"{n}:LABEL" for n in (*_GOLD, *_FREE)]
    raise ConfigError(f"no metric {text!r}; expected one of {', '.join(known)}, suite:NAME")
