"""What the certificate simulations share: pools, draws, tallies and rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from benchmarks.validity._pools import SimulatedPool
from benchmarks.validity.harness import Relation, Row, at_most
from evaluation.certificates import Certification, certify

ALPHA = DELTA = 0.05
POOL_N = 20_000
_POOLS = 20

Ints: TypeAlias = npt.NDArray[np.int64]
Rng: TypeAlias = np.random.Generator
MakePool: TypeAlias = Callable[[int, Rng], SimulatedPool]


@dataclass(slots=True)
class Tally:
    """Violations and coverage of one method, one entry per draw; coverage 0 without certificate."""

    violated: list[bool] = field(default_factory=list)
    coverage: list[float] = field(default_factory=list)

    def add(self, pool: SimulatedPool, threshold: float | None, coverage: float | None) -> None:
        """Count one draw: violated when the true error rate above the threshold exceeds alpha."""
        self.violated.append(threshold is not None and pool.risk(threshold) > ALPHA)
        self.coverage.append(coverage or 0.0)

    def add_certificate(self, pool: SimulatedPool, found: Certification) -> None:
        self.add(pool, found.threshold, found.coverage)


def cases(
    make: MakePool, replicates: int, seed: Sequence[int], *, n: int = POOL_N
) -> Iterator[tuple[SimulatedPool, Rng]]:
    """A pool and the generator for every replicate; a new pool each 1/20 of them."""
    rng = np.random.default_rng(seed)
    for part in np.array_split(np.arange(replicates), min(_POOLS, replicates)):
        pool = make(n, rng)
        for _ in part:
            yield pool, rng


def certify_gold(pool: SimulatedPool, items: Ints, *, complete: bool = False) -> Certification:
    """Certify the pool from the gold at these positions, as if drawn uniformly."""
    return certify(
        pool.confidence[items],
        pool.correct[items],
        pool_confidence=pool.confidence,
        alpha=ALPHA,
        delta=DELTA,
        pool_is_complete=complete,
    )


def row(
    check: str,
    cell: str,
    measure: str,
    values: Sequence[float] | Sequence[bool],
    *,
    relation: Relation = "shown",
    bound: float | None = None,
    page: str = "",
    note: str = "",
) -> Row:
    """The mean of the values, one per replicate."""
    return Row(
        section="1 certificates",
        check=check,
        cell=cell,
        measure=measure,
        value=float(np.mean(values)),
        relation=relation,
        bound=bound,
        replicates=len(values),
        page=page,
        note=note,
    )


def must_hold(check: str, cell: str, violated: Sequence[bool]) -> Row:
    """A violation rate that delta bounds, with Monte Carlo slack."""
    bound = at_most(DELTA, len(violated))
    return row(check, cell, "violation", violated, relation="<=", bound=bound, page="<= .0646")
