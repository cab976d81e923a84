"""The pure part of benchmarks/certified_sets on pools whose answers are known without it."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks._certified_draws import DrawnGold, KnownPool, draw_gold, gold_sizes
from benchmarks.certified_sets import Labelled, markdown
from benchmarks.validity.harness import at_most

DRAWS = 100


def drawn(pool: KnownPool, *, n_gold: int = 150, alpha: float = 0.05, seed: int = 1) -> DrawnGold:
    (case,) = draw_gold(pool, n_gold=n_gold, alphas=[alpha], delta=0.05, draws=DRAWS, seed=[seed])
    return case


def with_errors(n: int, wrong: int) -> KnownPool:
    """Confidence says nothing: the errors lie evenly spread over it."""
    correct = np.ones(n, dtype=bool)
    correct[np.linspace(0, n - 1, wrong).round().astype(int)] = False
    return KnownPool.of(np.linspace(0.5, 0.99, n), correct)


def test_an_error_rate_of_exactly_alpha_is_kept() -> None:
    pool = KnownPool.of(np.full(20, 0.9), [False] + [True] * 19)
    assert not pool.is_violated(0.9, 0.05)
    assert pool.is_violated(0.9, 0.049)
    assert pool.oracle_coverage(0.05) == 1.0
    assert pool.oracle_coverage(0.049) == 0.0


def test_the_oracle_takes_the_laxest_good_threshold_and_whole_ties() -> None:
    confidence = [0.9, 0.8, 0.8, 0.7, 0.6, 0.6]
    correct = [False, True, True, True, True, False]
    pool = KnownPool.of(confidence, correct)
    assert pool.oracle_coverage(0.25) == pytest.approx(4 / 6)
    assert pool.oracle_coverage(0.34) == 1.0
    assert pool.oracle_coverage(0.2) == 0.0
    assert KnownPool.of([], []).oracle_coverage(0.5) == 0.0


def test_a_faultless_pool_is_accepted_whole() -> None:
    """Exact tests may still find a draw too small at the strictest threshold; naive stops at the lowest gold item."""
    case = drawn(KnownPool.of(np.linspace(0.5, 1.0, 300), np.ones(300, dtype=bool)))
    assert case.oracle_coverage == 1.0
    for found in (case.binomial, case.hypergeometric):
        assert found.violation_rate == 0.0
        assert found.coverage == found.given_rate >= 0.9
    assert (case.naive.given_rate, case.naive.violation_rate) == (1.0, 0.0)
    assert 0.98 <= case.naive.coverage <= 1.0
    assert case.holds


def test_an_all_wrong_pool_gets_nothing_which_is_no_violation() -> None:
    case = drawn(KnownPool.of(np.linspace(0.5, 1.0, 300), np.zeros(300, dtype=bool)))
    assert case.oracle_coverage == 0.0
    for found in (case.binomial, case.hypergeometric, case.naive):
        assert (found.given_rate, found.violation_rate, found.coverage) == (0.0, 0.0, 0.0)


def test_certificates_hold_where_the_naive_rule_does_not() -> None:
    case = drawn(with_errors(400, 22), n_gold=150)
    assert case.bound == pytest.approx(at_most(0.05, DRAWS))
    assert case.holds
    assert case.naive.violation_rate > 2 * case.bound


def test_knowing_that_the_pool_is_finite_certifies_more_often() -> None:
    case = drawn(with_errors(300, 9), n_gold=200)
    assert case.hypergeometric.given_rate > case.binomial.given_rate > 0
    assert case.hypergeometric.coverage > case.binomial.coverage


def test_the_same_seed_gives_the_same_numbers_whatever_the_order_of_items() -> None:
    pool = with_errors(300, 9)
    shuffled = np.random.default_rng(3).permutation(300)
    again = KnownPool.of(pool.confidence[shuffled], pool.correct[shuffled])
    assert drawn(pool) == drawn(again)
    assert drawn(pool) != drawn(pool, seed=2)


@pytest.mark.parametrize(
    ("n_pool", "sizes"),
    [(760, (100, 200, 380)), (330, (100, 165, 200)), (200, (100,)), (150, (75, 100)), (1, ())],
)
def test_gold_sizes_fit_the_pool(n_pool: int, sizes: tuple[int, ...]) -> None:
    assert gold_sizes(n_pool) == sizes


def test_a_broken_bound_is_bold_in_the_table() -> None:
    pool = with_errors(400, 22)
    made = Labelled(name="made", labelled_by="nobody", method="none", n_calibration=0, pool=pool)
    case = drawn(pool)
    kept = markdown([made], [(made, case)])
    assert "**" not in kept
    assert "| made | nobody | none | 0 | 400 | 0.945 |" in kept
    broken = DrawnGold(
        **{name: getattr(case, name) for name in case.__slots__ if name not in ("bound", "binomial")},
        bound=0.1,
        binomial=case.naive,
    )
    assert not broken.holds
    assert f"**{case.naive.violation_rate:.3f}**" in markdown([made], [(made, broken)])
