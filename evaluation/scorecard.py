"""What scoring hands back: named estimates per slice, the confusion matrix, and flat rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from evaluation._arrays import IntArray
from evaluation.intervals import Estimate
from labelproof.spec.errors import ConfigError

LabelKind = Literal["single", "multi", "taxonomy"]
Row = dict[str, str | int | float | None]
ALL = "all"


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """One estimate with its name and the slice of items it speaks about (``all``, ``class=NAME``)."""

    metric: str
    slice: str
    estimate: Estimate

    def row(self) -> Row:
        """The columns metric, slice, value, low, high, n, method, reason of the ``scores`` table."""
        e = self.estimate
        return {
            "metric": self.metric,
            "slice": self.slice,
            "value": e.value,
            "low": e.low,
            "high": e.high,
            "n": e.n,
            "method": e.method,
            "reason": e.reason,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfusionMatrix:
    """Item counts (R, C): row = gold label, column = what the strategy answered.

    Columns are the classes, then ``__failed__`` and ``__abstained__``. Multi-label: one matrix per
    class, rows and columns ``no, yes`` (an unanswered item is in the two last columns).
    """

    slice: str
    rows: tuple[str, ...]
    columns: tuple[str, ...]
    counts: IntArray


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreCard:
    """Every metric of one strategy on one set of gold items, in report order."""

    kind: LabelKind
    classes: tuple[str, ...]
    n: int
    n_failed: int
    n_abstained: int
    metrics: tuple[Metric, ...]
    confusion: tuple[ConfusionMatrix, ...]

    def get(self, metric: str, where: str = ALL) -> Estimate:
        """The estimate of a metric in the slice ``where``; ConfigError naming what there is when absent."""
        for entry in self.metrics:
            if entry.metric == metric and entry.slice == where:
                return entry.estimate
        known = sorted({f"{m.metric} [{m.slice}]" for m in self.metrics})
        raise ConfigError(f"no metric {metric} [{where}]; expected one of {', '.join(known)}")

    def rows(self) -> list[Row]:
        """One flat row per metric and slice, ready for the ``scores`` table."""
        return [entry.row() for entry in self.metrics]
