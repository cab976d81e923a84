"""Gold that is not a simple random sample: what the weights are for, and what uniform draws in a region win."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.validity import _pools as pools
from benchmarks.validity._certificate_runs import (
    ALPHA,
    DELTA,
    POOL_N,
    Ints,
    MakePool,
    Rng,
    Tally,
    cases,
    certify_gold,
    must_hold,
    row,
)
from benchmarks.validity._pools import Floats, SimulatedPool
from benchmarks.validity.harness import Row
from evaluation._certificate_sequence import check_gold
from evaluation._certificate_weighted import weigh
from evaluation.certificates import certify, region_for_sampling


def sure_items_first(pool: SimulatedPool) -> Floats:
    """Per-draw probabilities that prefer items the model is sure of, a fifth of it uniform."""
    wish = pool.confidence**20
    return np.asarray((0.2 + 0.8 * wish / wish.mean()) / len(wish))


def easy_segment_first(pool: SimulatedPool) -> Floats:
    """Per-draw probabilities four times as high outside the segment whose labels are hard to get."""
    wish = np.where(pool.segment, 0.25, 1.0)
    return np.asarray(wish / wish.sum())


@dataclass(frozen=True, slots=True, kw_only=True)
class Design:
    """A pool, how gold is drawn from it, and how much."""

    make: MakePool
    per_draw: Callable[[SimulatedPool], Floats]
    sizes: tuple[int, ...]


DESIGNS = {
    "calibrated, sure items first": Design(
        make=pools.calibrated, per_draw=sure_items_first, sizes=(500, 1000)
    ),
    "easy segment 4:1": Design(make=pools.two_segments, per_draw=easy_segment_first, sizes=(1000,)),
    "flat 5.01 %, sure items first": Design(make=pools.flat, per_draw=sure_items_first, sizes=(1000,)),
}


def _draw(q: Floats, n: int, rng: Rng) -> Ints:
    """Positions of n draws with replacement, item i with probability q[i] each time."""
    cumulated = np.cumsum(q)
    return np.asarray(np.searchsorted(cumulated, rng.random(n) * cumulated[-1], side="right"), dtype=np.int64)


def betting(
    pool: SimulatedPool, gold: Ints, pi: Floats, *, w_max: float | None
) -> tuple[float | None, float]:
    """Threshold and coverage as :func:`certify_weighted` decides them, without its upper bounds (which cost time)."""
    kept, inside = check_gold(pool.confidence[gold], pool.correct[gold], pool.confidence, None)
    found = weigh(
        kept,
        inside,
        pi[gold],
        pool_confidence=pool.confidence,
        pool_n=len(pool.confidence),
        alpha=ALPHA,
        delta=DELTA,
        w_max=w_max,
        pool_pi=pi if w_max is None else None,
        grid=None,
        region_low=None,
    )
    passed = np.logical_and.accumulate(found.log_e_values(ALPHA) >= -np.log(DELTA))
    if not passed[:1].any():
        return None, 0.0
    threshold = float(found.thresholds[passed.sum() - 1])
    return threshold, float(np.mean(pool.confidence >= threshold))


def weighted_rows(replicates: int, seed: Sequence[int]) -> Iterator[Row]:
    """Method (b): unequal probabilities, ignored or used; drawn with replacement or by independent coins."""
    for index, (name, design) in enumerate(DESIGNS.items()):
        for n in design.sizes:
            ignored, drawn, coins = Tally(), Tally(), Tally()
            for pool, rng in cases(design.make, replicates, [*seed, index, n]):
                q = design.per_draw(pool)
                pi = n * q
                gold = _draw(q, n, rng)
                ignored.add_certificate(pool, certify_gold(pool, gold))
                drawn.add(pool, *betting(pool, gold, pi, w_max=None))
                independent = np.flatnonzero(rng.random(POOL_N) < pi)
                coins.add(pool, *betting(pool, independent, pi, w_max=None))
            cell = f"{name}, n={n}"
            yield row("weights ignored", cell, "violation", ignored.violated, page=".76 to .96")
            yield must_hold("betting, with replacement", cell, drawn.violated)
            yield row("betting, with replacement", cell, "coverage", drawn.coverage)
            yield must_hold("betting, independent coins", cell, coins.violated)
            yield row("betting, independent coins", cell, "coverage", coins.coverage)


def bound_rows(replicates: int, seed: Sequence[int]) -> Iterator[Row]:
    """Why the bound on the weights must come from the design: errors sit where it hardly ever looks."""
    n = 500
    proven, seen, ignored = Tally(), Tally(), Tally()
    for pool, rng in cases(pools.hidden_segment, replicates, seed):
        wish = np.where(pool.segment, 0.01, 1.0)
        q = wish / wish.sum()
        gold = _draw(q, n, rng)
        proven.add(pool, *betting(pool, gold, n * q, w_max=None))
        largest = float(1 / (POOL_N * q[gold].min()))
        seen.add(pool, *betting(pool, gold, n * q, w_max=largest * (1 + 1e-12)))
        ignored.add_certificate(pool, certify_gold(pool, gold))
    cell = f"errors where the design hardly looks, n={n}"
    yield must_hold("betting, with replacement", cell, proven.violated)
    yield row("betting, largest weight seen as bound", cell, "violation", seen.violated)
    yield row("weights ignored", cell, "violation", ignored.violated, page=".76 to .96")


def region_rows(replicates: int, seed: Sequence[int]) -> Iterator[Row]:
    """Method (b), the better way: gold uniform inside a region found on 300 calibration items."""
    makers: dict[str, MakePool] = {
        "calibrated": pools.calibrated,
        "confidently wrong": pools.confidently_wrong,
        "flat 5.01 %": pools.flat,
    }
    for index, (name, make) in enumerate(makers.items()):
        for n in (200, 500):
            inside = Tally()
            for pool, rng in cases(make, replicates, [*seed, index, n]):
                other = pool.draw(300, rng)
                low = region_for_sampling(
                    pool.confidence[other],
                    pool.correct[other],
                    pool_confidence=pool.confidence,
                    alpha=ALPHA,
                )
                first = int(np.searchsorted(pool.confidence, low, side="left"))
                gold = first + rng.choice(POOL_N - first, n, replace=False, shuffle=False)
                found = certify(
                    pool.confidence[gold],
                    pool.correct[gold],
                    pool_confidence=pool.confidence,
                    alpha=ALPHA,
                    delta=DELTA,
                    region_low=low,
                )
                inside.add_certificate(pool, found)
            cell = f"{name}, n={n}"
            yield must_hold("gold uniform in a region", cell, inside.violated)
            yield row("gold uniform in a region", cell, "coverage", inside.coverage)
