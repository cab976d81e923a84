"""What a simulation returns, and when it counts as passed."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

Relation = Literal["<=", ">=", "shown"]
Simulate: TypeAlias = Callable[[int, int], "Sequence[Row]"]
"""(replicates, seed) -> rows. Seeded: the same arguments give the same rows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One number a simulation found, beside what it must hold to.

    ``relation`` "<=" / ">=": ``value`` must lie on that side of ``bound``. "shown": for comparison only
    (what a naive method does). ``page``: the number the specification names, as text. ``replicates``: how many
    simulated data sets stand behind ``value``.
    """

    section: str
    check: str
    cell: str
    measure: str
    value: float
    relation: Relation
    bound: float | None
    replicates: int
    page: str = ""
    note: str = ""

    @property
    def holds(self) -> bool | None:
        """Whether the bound is kept; None for a row that is only shown."""
        if self.relation == "shown" or self.bound is None:
            return None
        return self.value <= self.bound if self.relation == "<=" else self.value >= self.bound


def measured(
    section: str,
    check: str,
    cell: str,
    measure: str,
    value: float,
    replicates: int,
    relation: Relation = "shown",
    bound: float | None = None,
    page: str = "",
) -> Row:
    """Return a row from its fields in the order in which simulations name them."""
    return Row(
        section=section, check=check, cell=cell, measure=measure, value=float(value), relation=relation, bound=bound,
        replicates=replicates, page=page,
    )  # fmt: skip


def at_most(nominal: float, replicates: int) -> float:
    """The largest rate that an event of probability ``nominal`` may show: p + 3 sqrt(p(1-p)/R)."""
    return nominal + 3 * math.sqrt(nominal * (1 - nominal) / replicates)


def at_least(nominal: float, replicates: int) -> float:
    """The smallest rate that an event of probability ``nominal`` may show: p - 3 sqrt(p(1-p)/R)."""
    return nominal - 3 * math.sqrt(nominal * (1 - nominal) / replicates)
