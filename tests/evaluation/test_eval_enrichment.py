"""Marks among errors: exact tests, points that add up, and no cause in what all rows share."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluation.enrichment import enrichment, fisher_greater
from labelproof.spec.errors import ConfigError


@given(st.integers(0, 30), st.integers(0, 30), st.integers(0, 30), st.integers(0, 30))
def test_fisher_is_that_of_scipy(a: int, b: int, c: int, d: int) -> None:
    from scipy.stats import fisher_exact

    if a + b and c + d and a + c and b + d:
        assert fisher_greater(a, b, c, d) == pytest.approx(
            fisher_exact(np.array([[a, b], [c, d]]), "greater")[1], abs=1e-9
        )
    assert 0 <= fisher_greater(a, b, c, d) <= 1


def test_a_mark_that_brings_errors_explains_their_rise() -> None:
    rng = np.random.default_rng(1)
    later = np.repeat([False, True], 2000)
    marked = (rng.random(4000) < 0.2) & later
    wrong = rng.random(4000) < np.where(marked, 0.4, 0.05)
    found = enrichment(marked, wrong, later)
    assert found.explained == pytest.approx(0.2 * 0.35, abs=0.015)
    assert found.low < found.explained < found.high
    assert found.lift == pytest.approx(8, abs=2)
    assert found.p_value is not None
    assert found.p_value < 1e-6
    assert not found.by_timing
    assert found.n_errors_marked + found.n_right_marked == marked.sum()


def test_a_mark_on_every_later_row_is_known_by_timing_only() -> None:
    rng = np.random.default_rng(2)
    later = np.repeat([False, True], 1000)
    wrong = rng.random(2000) < np.where(later, 0.15, 0.05)
    found = enrichment(later, wrong, later)
    assert found.by_timing
    assert found.explained == pytest.approx(wrong[later].mean() - wrong[~later].mean())
    assert found.p_lift is not None
    assert found.p_lift < 1e-6


def test_what_right_items_carry_as_often_explains_nothing() -> None:
    rng = np.random.default_rng(3)
    later = np.repeat([False, True], 2000)
    marked = rng.random(4000) < np.where(later, 0.5, 0.1)
    found = enrichment(marked, rng.random(4000) < 0.1, later)
    assert abs(found.explained) < 0.03
    assert found.p_lift is not None
    assert found.p_lift > 0.01


def test_where_everything_got_worse_alike_a_mark_that_errors_always_carry_explains_nothing() -> None:
    rng = np.random.default_rng(5)
    later = np.repeat([False, True], 3000)
    marked = rng.random(6000) < 0.2
    wrong = rng.random(6000) < np.where(marked, 0.3, 0.1) + 0.3 * later
    found = enrichment(marked, wrong, later)
    assert found.p_value is not None
    assert found.p_value < 0.01  # errors carry it more often, and more errors do than before ...
    assert found.low < 0 < found.high  # ... but the others rose as much
    assert abs(found.explained) < 0.02


def test_rows_that_stand_for_more_count_for_more() -> None:
    """Ten times as many decisions are automatic; people judge all of the rest, and a tenth of them."""
    rng = np.random.default_rng(6)
    later = np.repeat([False, True], 1000)
    routed = rng.random(2000) < np.where(later, 0.8, 0.5)
    weight = np.where(routed, 1.0, 10.0)
    wrong = rng.random(2000) < np.where(routed, np.where(later, 0.2, 0.35), np.where(later, 0.25, 0.05))
    weighed, counted = enrichment(later, wrong, later, weight=weight), enrichment(later, wrong, later)
    assert weighed.p_value is not None
    assert counted.p_value is not None
    assert weighed.p_value < 1e-4
    assert counted.p_value > 0.01


def test_weighted_tests_alarm_no_more_often_than_promised() -> None:
    rng = np.random.default_rng(7)
    runs, later = 600, np.repeat([False, True], 200)
    alarms = 0
    for _ in range(runs):
        routed = rng.random(400) < 0.4
        wrong = rng.random(400) < np.where(routed, 0.3, 0.1)
        found = enrichment(later, wrong, later, weight=np.where(routed, 1.0, 10.0), resamples=0)
        alarms += found.p_value is not None and found.p_value <= 0.05
    assert alarms / runs <= 0.05 + 3 * (0.05 * 0.95 / runs) ** 0.5


def test_one_period_alone_is_told_without_a_change() -> None:
    found = enrichment([True] * 5 + [False] * 15, [True] * 4 + [False] * 16, [True] * 20)
    assert found.p_change is None
    assert found.p_value == found.p_lift
    assert found.explained == pytest.approx(4 / 20)
    none = enrichment([False] * 4, [True, False] * 2, [True] * 4)
    assert none.p_value is None
    assert none.lift is None
    with pytest.raises(ConfigError):
        enrichment([True], [True], [True], weight=[0.0])


def test_false_causes_are_as_rare_as_promised() -> None:
    rng = np.random.default_rng(4)
    runs, later = 400, np.repeat([False, True], 150)
    alarms = 0
    for _ in range(runs):
        found = enrichment(rng.random(300) < 0.3, rng.random(300) < 0.1, later, resamples=0)
        alarms += found.p_value is not None and found.p_value <= 0.05
    assert alarms / runs <= 0.05 + 3 * (0.05 * 0.95 / runs) ** 0.5
