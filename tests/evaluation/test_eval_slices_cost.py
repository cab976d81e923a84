"""Slices of metadata, cost and latency."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from evaluation import quantile_interval, score_cost, slice_table, wilson
from evaluation.slices import MetaValue
from labelproof.spec.errors import ConfigError

VALUES = st.one_of(st.none(), st.booleans(), st.integers(-5, 5), st.floats(), st.sampled_from(["a", "b"]))


def test_worst_slice_comes_first_and_small_ones_are_marked() -> None:
    english: dict[str, MetaValue] = {"lang": "en", "long": True}
    german: dict[str, MetaValue] = {"lang": "de", "long": False}
    short: dict[str, MetaValue] = {"long": False}
    metas = [english] * 40 + [german] * 40 + [short] * 5
    correct = [True] * 38 + [False] * 2 + [True] * 20 + [False] * 20 + [True] * 5
    table = slice_table(metas, correct)
    assert [(r.key, r.value) for r in table.rows[:2]] == [("lang", "de"), ("long", "false")]
    by_name = {(r.key, r.value): r for r in table.rows}
    assert by_name["lang", "de"].accuracy == wilson(20, 40)
    assert by_name["lang", "(missing)"].is_small
    assert not by_name["lang", "en"].is_small
    assert by_name["long", "true"].accuracy.n == 40


def test_numbers_are_cut_at_quantiles_and_rare_texts_join() -> None:
    table = slice_table([{"chars": i, "author": f"a{i}"} for i in range(100)], [True] * 100, max_values=3)
    assert sorted(r.value for r in table.rows if r.key == "chars") == [
        "[0, 24]",
        "[25, 49]",
        "[50, 74]",
        "[75, 99]",
    ]
    assert {r.value: r.accuracy.n for r in table.rows if r.key == "author"}["(other)"] == 97
    few = slice_table([{"stars": i % 3} for i in range(30)], [True] * 30)
    assert sorted(r.value for r in few.rows) == ["0", "1", "2"]
    assert slice_table([], []).rows == ()


@given(st.lists(st.tuples(st.dictionaries(st.sampled_from("kl"), VALUES), st.booleans()), max_size=40))
def test_each_key_partitions_the_items(pairs: list[tuple[dict[str, MetaValue], bool]]) -> None:
    table = slice_table([m for m, _ in pairs], [y for _, y in pairs])
    for key in {key for meta, _ in pairs for key in meta}:
        assert sum(r.accuracy.n for r in table.rows if r.key == key) == len(pairs)
    lows = [r.accuracy.low or 0.0 for r in table.rows]
    assert lows == sorted(lows)


def test_cost_per_correct_label() -> None:
    cost = np.full(50, 0.002)
    found = score_cost(cost_usd=cost, latency_ms=np.arange(50.0), correct=np.arange(50) < 40)
    assert found["cost_usd_per_item"].value == pytest.approx(0.002)
    assert found["cost_usd_per_item"].low == pytest.approx(0.002)
    per_correct = found["cost_usd_per_correct"]
    assert per_correct.value == pytest.approx(0.1 / 40)
    assert per_correct.low is not None
    assert per_correct.high is not None
    assert 0.002 < per_correct.low < 0.0025 < per_correct.high < 0.0035
    assert found["latency_ms_p50"].value == 24.0


def test_unknown_price_no_gold_nothing_right_no_items() -> None:
    blind = score_cost(cost_usd=None, latency_ms=[1.0, 2.0], correct=None)
    assert "price" in str(blind["cost_usd_per_item"].reason)
    assert "no gold" in str(blind["latency_ms_per_correct"].reason)
    wrong = score_cost(cost_usd=[0.1, 0.1], latency_ms=[1.0, 2.0], correct=[False, False])
    assert wrong["cost_usd_per_correct"].reason == "no label is right"
    empty = score_cost(cost_usd=[], latency_ms=[], correct=[])
    assert all(e.value is None and e.reason for e in empty.values())
    with pytest.raises(ConfigError, match=r"latency_ms: expected values >= 0, found -1\.0 at index 1"):
        score_cost(cost_usd=None, latency_ms=[1.0, -1.0], correct=None)
    with pytest.raises(ConfigError, match="not finite"):
        score_cost(cost_usd=[math.nan], latency_ms=[1.0], correct=None)


def test_quantile_interval_is_exact_and_says_when_n_is_too_small() -> None:
    """n = 100, q = .5: order statistics 40 and 61 (Conover, Practical Nonparametric Statistics, 3.2)."""
    found = quantile_interval(np.arange(1, 101), 0.5)
    assert (found.value, found.low, found.high) == (50.0, 40.0, 61.0)
    few = quantile_interval(np.arange(50), 0.99)
    assert few.value == 49.0
    assert few.low is None
    assert "too few" in str(few.reason)


@given(st.integers(30, 2000), st.sampled_from([0.5, 0.95, 0.99]))
def test_quantile_interval_never_undercovers(n: int, q: float) -> None:
    found = quantile_interval(np.arange(n), q)
    if found.low is not None and found.high is not None:
        lower, upper = int(found.low) + 1, int(found.high) + 1
        covered = stats.binom.cdf(upper - 1, n, q) - stats.binom.cdf(lower - 1, n, q)
        assert covered >= 0.95 - 1e-12
