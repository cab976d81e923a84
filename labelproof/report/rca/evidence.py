"""What marks are read from, and what a mark is: the evidence of one cause on each row, in words."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from agents.encoder import Vectors
from labelproof.report.rca.columns import Mix
from labelproof.report.rca.data import Bools, JudgedRow
from labelproof.report.rca.facts import Facts
from labelproof.report.rca.metrics import Rate
from labelproof.report.rca.model import NAMES, Cause
from labelproof.report.rca.same_items import Behaviour
from labelproof.report.rca.yardstick import Yardstick
from labelproof.spec.labels import LabelSchema


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """One cause's mark: which rows carry it (n,), why (row -> words), and what is to be said of it as a whole.

    ``unmeasured``: why nothing can be said, None if it was measured. ``same``: the line for "it is not this".
    """

    cause: Cause
    rows: Bools
    words: Callable[[int], str]
    unmeasured: str | None = None
    same: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What marks are read from."""

    rows: Sequence[JudgedRow]
    facts: Facts
    wrong: Bools
    later: Bools
    rate: Rate
    schema: LabelSchema
    yardstick: Yardstick
    language_column: str
    mix: Mix | None = None
    """The slices of the mix; None for one period alone."""
    behaviour: Behaviour | None = None
    """What the same items say of the model; None for one period alone."""
    texts: Vectors = field(default_factory=lambda: np.zeros((0, 0), dtype=np.float32))
    """Unit vectors of the rows' texts (n, d)."""

    @property
    def n(self) -> int:
        return len(self.rows)

    @property
    def reference(self) -> Bools:
        """Rows that say what is usual: the earlier ones; without them, all."""
        return ~self.later if (~self.later).any() else np.ones(self.n, dtype=np.bool_)

    def none(self) -> Bools:
        return np.zeros(self.n, dtype=np.bool_)


def mark(cause: Cause, evidence: Evidence, why: Mapping[int, str], *, same: str | None = None) -> Mark:
    rows = evidence.none()
    rows[list(why)] = True
    return Mark(cause=cause, rows=rows, words=lambda i: why.get(i, NAMES[cause]), same=same)


def unmeasured(cause: Cause, evidence: Evidence, why: str) -> Mark:
    return Mark(cause=cause, rows=evidence.none(), words=lambda _: NAMES[cause], unmeasured=why)
