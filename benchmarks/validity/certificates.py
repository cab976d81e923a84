"""Section 1: does a certified threshold keep its promise, how much does it accept, and what do shortcuts do?

Each case draws gold from 20 simulated pools whose labels are all known; a certificate is violated when the true
error rate above its threshold, over the whole finite pool, exceeds alpha. Coverage counts draws without
certificate as 0.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

import numpy as np

from benchmarks.validity import _pools as pools
from benchmarks.validity._certificate_runs import (
    ALPHA,
    DELTA,
    POOL_N,
    MakePool,
    Rng,
    Tally,
    cases,
    certify_gold,
    must_hold,
    row,
)
from benchmarks.validity._certificate_weighted import bound_rows, region_rows, weighted_rows
from benchmarks.validity.harness import Row
from evaluation.certificates import certify_best_of, certify_groups

POOLS: dict[str, MakePool] = {
    "calibrated": pools.calibrated,
    "confidently wrong": pools.confidently_wrong,
    "coarse": pools.coarse,
    "flat 5.01 %": pools.flat,
}
CLASSES = {"large, calibrated": 0.5, "confidently wrong": 0.25, "flat 5.01 %": 0.15, "rare, flat 5.01 %": 0.1}
STRATEGIES = 5
COMPARED = 4
"""Methods that are only shown run on every fourth draw: they bound nothing."""


def simulate(replicates: int, seed: int) -> Sequence[Row]:
    """Every "must hold" line of section 1, each beside what it is compared to."""
    parts = (
        uniform_rows,
        weighted_rows,
        bound_rows,
        region_rows,
        class_rows,
        best_of_rows,
        small_pool_rows,
        top_up_rows,
    )
    return [one for index, part in enumerate(parts) for one in part(replicates, [seed, index])]


def uniform_rows(replicates: int, seed: Sequence[int]) -> Iterator[Row]:
    """Method (a) and the naive rule, on the same gold."""
    for index, (name, make) in enumerate(POOLS.items()):
        for n in (200, 500, 1000):
            proven, naive, best = Tally(), Tally(), dict[int, float]()
            for pool, rng in cases(make, replicates, [*seed, index, n]):
                found = certify_gold(pool, pool.draw(n, rng))
                proven.add_certificate(pool, found)
                naive.add(pool, found.naive.threshold, found.naive.coverage)
                if id(pool) not in best:
                    best[id(pool)] = pool.oracle_coverage(ALPHA)
            cell = f"{name}, n={n}"
            note = f"oracle {np.mean(list(best.values())):.2f}"
            check = "simple random gold"
            yield must_hold(check, cell, proven.violated)
            if name == "calibrated" and n == 500:
                yield row(
                    check,
                    cell,
                    "coverage",
                    proven.coverage,
                    relation=">=",
                    bound=0.33,
                    page=">= .33",
                    note=note,
                )
            else:
                yield row(check, cell, "coverage", proven.coverage, note=note)
            if name == "calibrated":
                yield row(
                    "naive threshold",
                    cell,
                    "violation",
                    naive.violated,
                    relation=">=",
                    bound=0.45,
                    page=">= .45",
                )
            else:
                yield row("naive threshold", cell, "violation", naive.violated, page=">= .45")


def class_rows(replicates: int, seed: Sequence[int]) -> Iterator[Row]:
    """Method (c): four predicted classes, two of them just over the limit everywhere; any violation counts."""
    makers = (pools.calibrated, pools.confidently_wrong, pools.flat, pools.flat)
    sizes = [int(share * POOL_N) for share in CLASSES.values()]
    rng = np.random.default_rng(seed)
    n = 1000
    joint: list[bool] = []
    single: list[bool] = []
    coverage: list[float] = []
    for part in np.array_split(np.arange(replicates), min(20, replicates)):
        members = [make(size, rng) for make, size in zip(makers, sizes, strict=True)]
        by_class = dict(zip(CLASSES, members, strict=True))
        confidence = np.concatenate([one.confidence for one in members])
        correct = np.concatenate([one.correct for one in members])
        group = np.repeat(list(CLASSES), sizes)
        for run in part:
            gold = rng.choice(POOL_N, n, replace=False, shuffle=False)
            for delta, wrong in ((DELTA, joint), (DELTA * len(CLASSES), single)):
                if wrong is single and run % COMPARED:
                    continue
                found = certify_groups(
                    confidence[gold],
                    correct[gold],
                    group[gold],
                    pool_confidence=confidence,
                    pool_group=group,
                    alphas=dict.fromkeys(CLASSES, ALPHA),
                    delta=delta,
                )
                wrong.append(
                    any(
                        one.threshold is not None and by_class[name].risk(one.threshold) > ALPHA
                        for name, one in found.items()
                    )
                )
                if delta == DELTA:
                    accepted = [
                        size * (one.coverage or 0.0) for size, one in zip(sizes, found.values(), strict=True)
                    ]
                    coverage.append(sum(accepted) / POOL_N)
    cell = f"4 predicted classes, n={n}"
    yield must_hold("per class at delta/K", cell, joint)
    yield row("per class at delta/K", cell, "coverage", coverage)
    yield row("per class, each at delta", cell, "violation", single)


def best_of_rows(replicates: int, seed: Sequence[int]) -> Iterator[Row]:
    """Method (d): five strategies, each wrong slightly too often everywhere; the winner's promise counts."""
    n = 500
    best: list[bool] = []
    each: list[bool] = []
    for run, (pool, rng) in enumerate(cases(pools.flat, replicates, seed)):
        positions = [rng.choice(POOL_N, n, replace=False, shuffle=False) for _ in range(STRATEGIES)]
        for share, wrong in ((DELTA, best), (DELTA * STRATEGIES, each)):
            if wrong is each and run % COMPARED:
                continue
            found = certify_best_of(
                [pool.confidence[at] for at in positions],
                [pool.correct[at] for at in positions],
                pool_confidences=[pool.confidence] * STRATEGIES,
                alpha=ALPHA,
                delta=share,
            )
            winner = None if found.best is None else found.certifications[found.best].threshold
            wrong.append(winner is not None and pool.risk(winner) > ALPHA)
    cell = f"{STRATEGIES} strategies, flat 5.01 %, n={n}"
    yield must_hold("best of S at delta/S", cell, best)
    yield row("best of S, each at delta", cell, "violation", each)


def small_pool_rows(replicates: int, seed: Sequence[int]) -> Iterator[Row]:
    """A pool of 800 of which a good part becomes gold: the hypergeometric test beside the binomial one."""
    makers: dict[str, MakePool] = {
        "calibrated": pools.calibrated,
        "flat 5.01 %": partial(pools.flat, risk=0.0501),
    }
    for index, (name, make) in enumerate(makers.items()):
        for n in (200, 400):
            exact, binomial = Tally(), Tally()
            for run, (pool, rng) in enumerate(cases(make, replicates, [*seed, index, n], n=800)):
                gold = pool.draw(n, rng)
                exact.add_certificate(pool, certify_gold(pool, gold, complete=True))
                if run % COMPARED == 0:
                    binomial.add_certificate(pool, certify_gold(pool, gold))
            cell = f"{name}, pool of 800, n={n}"
            yield must_hold("finite pool, hypergeometric", cell, exact.violated)
            yield row("finite pool, hypergeometric", cell, "coverage", exact.coverage)
            yield row("finite pool, binomial", cell, "violation", binomial.violated)
            yield row("finite pool, binomial", cell, "coverage", binomial.coverage)


def top_up_rows(replicates: int, seed: Sequence[int]) -> Iterator[Row]:
    """Adding gold after a failure and testing old and new together again, up to five looks, is not covered."""
    looks = (300, 400, 500, 600, 700)
    wrong: list[bool] = []
    for pool, rng in cases(pools.flat, replicates, seed):
        gold = _in_drawing_order(pool, looks[-1], rng)
        found = (certify_gold(pool, gold[:n]).threshold for n in looks)
        first = next((threshold for threshold in found if threshold is not None), None)
        wrong.append(first is not None and pool.risk(first) > ALPHA)
    yield row(
        "gold topped up until it certifies",
        "flat 5.01 %, n=300 to 700 in five looks",
        "violation",
        wrong,
        note="each look is a new test: certify fresh gold, or spend delta over the looks",
    )


def _in_drawing_order(
    pool: pools.SimulatedPool, n: int, rng: Rng
) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    return rng.permutation(len(pool.confidence))[:n]
