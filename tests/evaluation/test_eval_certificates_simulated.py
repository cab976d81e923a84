"""Certified thresholds keep their promise over gold draws; shortcuts do not. Small runs of benchmarks/validity."""

from __future__ import annotations

import pytest

from benchmarks.validity import _pools as pools
from benchmarks.validity._certificate_runs import ALPHA, MakePool, Tally, cases, certify_gold
from benchmarks.validity._certificate_weighted import bound_rows, region_rows, weighted_rows
from benchmarks.validity.certificates import best_of_rows, class_rows, small_pool_rows
from benchmarks.validity.harness import at_most

RUNS = 200


@pytest.mark.parametrize(
    "make",
    [pools.calibrated, pools.confidently_wrong, pools.coarse, pools.flat],
    ids=lambda make: make.__name__,
)
def test_certified_thresholds_hold_where_naive_ones_do_not(make: MakePool) -> None:
    proven, naive = Tally(), Tally()
    for pool, rng in cases(make, RUNS, [20, 500]):
        found = certify_gold(pool, pool.draw(500, rng))
        proven.add_certificate(pool, found)
        naive.add(pool, found.naive.threshold, found.naive.coverage)
    assert sum(proven.violated) / RUNS <= at_most(0.05, RUNS)
    assert sum(naive.violated) / RUNS > 2 * at_most(0.05, RUNS)
    if make is pools.calibrated:
        assert sum(proven.coverage) / RUNS >= 0.33


@pytest.mark.parametrize(
    "part",
    [weighted_rows, bound_rows, region_rows, class_rows, best_of_rows, small_pool_rows],
    ids=lambda part: part.__name__,
)
def test_every_other_method_keeps_its_promise(part: object) -> None:
    assert callable(part)
    rows = list(part(40, [21]))
    assert any(row.holds is not None for row in rows)
    assert [row for row in rows if row.holds is False] == []


def test_shortcuts_break_theirs() -> None:
    weights = [row for row in weighted_rows(20, [22]) if row.check == "weights ignored"]
    assert max(row.value for row in weights) > 0.5
    seen = [row for row in bound_rows(80, [22]) if "largest weight seen" in row.check]
    assert seen[0].value > 0.1


def test_the_imaginary_calibrated_pool_is_the_one_on_the_page() -> None:
    pool = next(cases(pools.calibrated, 1, [24], n=200_000))[0]
    assert pool.correct.mean() == pytest.approx(0.85, abs=0.005)
    assert pool.oracle_coverage(ALPHA) == pytest.approx(0.69, abs=0.01)
