"""Two strategies on the same items: the arrays that paired tests read, and what a paired test answers."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Literal

import numpy as np
import numpy.typing as npt

from evaluation._arrays import FloatArray, IntArray
from labelproof.spec.errors import ConfigError

BoolArray = npt.NDArray[np.bool_]
NO_ANSWER = -1
"""Code of an answer that is missing: the strategy failed. It is wrong in every metric, and never gold."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PairedAnswers:
    """What strategies A and B answered on the same n items, as codes of labels.

    ``labels`` (L,) are all canonical labels that occur; ``members`` (L, K) says which of the K ``classes`` each of them
    names (single-label and taxonomy: one each; multi-label: its set). ``gold`` (n,) are codes 0..L-1, or None where
    there is no gold; ``a`` and ``b`` (n,) are codes or ``NO_ANSWER``. ``accepted_*`` (n,): would be auto-accepted.
    ``weight`` (n,): 1 / inclusion probability, None when all count alike. ``cluster`` (n,): ids of what belongs
    together (author, thread), None when items are independent. ``cost_*`` in US dollars and ``latency_*`` in
    milliseconds (n,), None where unknown.
    """

    labels: tuple[str, ...]
    classes: tuple[str, ...]
    members: BoolArray
    gold: IntArray | None
    a: IntArray
    b: IntArray
    accepted_a: BoolArray
    accepted_b: BoolArray
    weight: FloatArray | None = None
    cluster: IntArray | None = None
    cost_a: FloatArray | None = None
    cost_b: FloatArray | None = None
    latency_a: FloatArray | None = None
    latency_b: FloatArray | None = None

    def __post_init__(self) -> None:
        if self.members.shape != (len(self.labels), len(self.classes)):
            raise ConfigError(
                f"members: expected shape {(len(self.labels), len(self.classes))}, found {self.members.shape}"
            )
        n = len(self.a)
        for name in _PER_ITEM:
            values = getattr(self, name)
            if values is not None and len(values) != n:
                raise ConfigError(f"{name}: expected {n} values, one per item, found {len(values)}")

    @property
    def n(self) -> int:
        return len(self.a)

    def only(self, keep: BoolArray | IntArray) -> PairedAnswers:
        """Return the same for some of the items."""

        def part(values: npt.NDArray[np.generic] | None) -> npt.NDArray[np.generic] | None:
            return None if values is None else values[keep]

        kept = {name: part(getattr(self, name)) for name in _PER_ITEM}
        return PairedAnswers(labels=self.labels, classes=self.classes, members=self.members, **kept)  # type: ignore[arg-type]


_PER_ITEM = tuple(
    field.name for field in fields(PairedAnswers) if field.name not in ("labels", "classes", "members")
)
"""The fields with one value an item (n,)."""

PairedMethod = Literal["mcnemar-tango", "paired-jackknife", "cluster-sign-flip", "paired-t", "not-measurable"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PairedDifference:
    """One metric of B minus the same of A on the same items, in the metric's own unit.

    ``low`` and ``high``: the paired interval at ``confidence``; ``p_value``: two-sided, of no difference, before any
    correction. ``p_not_worse``: one-sided, of "B is worse than A by ``margin`` or more" (small = proven not worse), None
    without a margin. ``detectable``: the smallest difference that n such items show with 80 % power. ``n``: items the
    metric speaks of (recall: gold items of the class). ``n_a_only``, ``n_b_only``: items that only A (only B) got right,
    for metrics that are shares of items. What cannot be measured is None, with the reason.
    """

    metric: str
    value_a: float | None
    value_b: float | None
    delta: float | None
    low: float | None
    high: float | None
    p_value: float | None
    n: int
    method: PairedMethod
    confidence: float
    margin: float | None = None
    p_not_worse: float | None = None
    detectable: float | None = None
    n_a_only: int | None = None
    n_b_only: int | None = None
    reason: str | None = None
