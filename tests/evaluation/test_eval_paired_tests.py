"""Paired differences: by hand, by enumeration, and against scipy and statsmodels."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import ttest_rel

from evaluation import score
from evaluation.mcnemar import mcnemar_mid_p, tango_interval
from evaluation.paired import NO_ANSWER, PairedAnswers, PairedDifference
from evaluation.paired_costs import cost_ratio
from evaluation.paired_tests import paired_difference
from labelproof.spec.errors import ConfigError
from labelproof.spec.metrics import parse_metric
from tests.evaluation.paired_answers import paired, random_answers

GOLD_METRICS = ("accuracy", "macro_f1", "recall:c1", "precision:c1", "f1:c1", "auto_accuracy")
FREE_METRICS = ("auto_accept_rate", "failed_rate", "cost_per_1k_usd", "latency_ms")


def _find(answers: PairedAnswers, name: str, **more: Any) -> PairedDifference:
    return paired_difference(answers, parse_metric(name), **more)


def _amounts(n: int, seed: int) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    return {name: rng.gamma(2, 1, n) for name in ("cost_a", "cost_b", "latency_a", "latency_b")}


def test_accuracy_by_hand() -> None:
    gold = ["x"] * 20
    a = ["x"] * 12 + ["y"] * 8
    b = ["x"] * 10 + ["y"] * 2 + ["x"] * 5 + ["y"] * 2 + [None]
    found = _find(paired(gold, a, b, classes="xy"), "accuracy", margin=0.05)
    assert (found.value_a, found.value_b, found.n) == (0.6, 0.75, 20)
    assert found.delta == pytest.approx(0.15)
    assert (found.n_a_only, found.n_b_only) == (2, 5)
    assert found.p_value == pytest.approx(float(mcnemar_mid_p(5, 2)))
    low, high = tango_interval(5, 2, 20)
    assert (found.low, found.high) == (float(low), float(high))
    assert found.p_not_worse is not None
    assert 0.02 < found.p_not_worse < 0.12
    assert found.method == "mcnemar-tango"
    assert found.detectable == pytest.approx(0.33, abs=0.04)


def test_recall_speaks_of_its_class_and_failures_count_the_other_way_round() -> None:
    gold = ["x"] * 6 + ["y"] * 6
    a = ["x", "x", "x", "y", None, "y", *"yyyyyx"]
    b = ["x", "x", "y", "x", "x", "x", None, None, *"yyyx"]
    x = paired(gold, a, b, classes="xy")
    recall = _find(x, "recall:x", margin=0.1)
    assert [recall.n, recall.value_a, recall.value_b] == pytest.approx([6, 0.5, 5 / 6])
    assert (recall.n_a_only, recall.n_b_only) == (1, 3)
    failed = _find(x, "failed_rate", margin=0.1)
    assert [failed.value_a, failed.value_b] == pytest.approx([1 / 12, 2 / 12])
    assert (failed.n_a_only, failed.n_b_only) == (2, 1), "answered by only one"
    better = _find(replace(x, a=x.b, b=x.a), "failed_rate", margin=0.1)
    assert failed.delta == pytest.approx(1 / 12)
    assert failed.p_not_worse is not None
    assert better.p_not_worse is not None
    assert better.p_not_worse < failed.p_not_worse, "fewer failures are better"


@settings(deadline=None, max_examples=15)
@given(st.integers(2, 5), st.integers(0, 10_000))
def test_values_are_the_score_cards_and_sides_can_be_exchanged(k: int, seed: int) -> None:
    x = random_answers(60, k, seed, **_amounts(60, seed))
    assert x.gold is not None
    names = [x.labels[g] for g in x.gold]
    cards = [
        score(names, [None if c == NO_ANSWER else x.labels[c] for c in side], classes=x.classes, resamples=2)
        for side in (x.a, x.b)
    ]
    other = replace(
        x, a=x.b, b=x.a, accepted_a=x.accepted_b, accepted_b=x.accepted_a,
        cost_a=x.cost_b, cost_b=x.cost_a, latency_a=x.latency_b, latency_b=x.latency_a,
    )  # fmt: skip
    for name in (*GOLD_METRICS, *FREE_METRICS):
        found = _find(x, name, resamples=200)
        ref = parse_metric(name)
        if ref.needs_gold and ref.name != "auto_accuracy":
            where = "all" if ref.of is None else f"class={ref.of}"
            values = [
                m.estimate.value
                for card in cards
                for m in card.metrics
                if (m.metric, m.slice) == (ref.name, where)
            ]
            assert [found.value_a, found.value_b] == [None if v is None else pytest.approx(v) for v in values]
        back = _find(other, name, resamples=200)
        assert back.n == found.n
        if found.low is None:
            assert found.reason
            continue
        assert found.delta is not None
        assert found.high is not None
        assert found.low <= found.delta <= found.high
        assert [back.low, back.high] == pytest.approx([-found.high, -found.low])
        assert found.p_value is not None
        assert 0 < found.p_value <= 1


def test_randomisation_by_enumeration() -> None:
    """Ten items: every exchange of A and B, counted by hand for macro-F1."""
    x = paired(list("xxxxyyyyzz"), list("xxyyyyyxzx"), list("xxxxyyzyzz"), classes="xyz")
    found = _find(x, "macro_f1", resamples=20_000)
    assert x.gold is not None
    moving = np.flatnonzero(x.a != x.b)
    seen = []
    for flips in product((False, True), repeat=len(moving)):
        a, b = x.a.copy(), x.b.copy()
        at = moving[np.array(flips)]
        a[at], b[at] = x.b[at], x.a[at]
        one = _find(replace(x, a=a, b=b), "macro_f1", resamples=1)
        assert one.delta is not None
        seen.append(abs(one.delta))
    assert found.delta is not None
    exact = np.mean(np.array(seen) >= abs(found.delta) - 1e-12)
    assert found.p_value == pytest.approx(exact, abs=4 * np.sqrt(exact * (1 - exact) / 20_000))


def test_clusters_by_enumeration() -> None:
    x = random_answers(64, 3, 5, flip=0.6)
    few = replace(x, cluster=np.repeat(np.arange(100, 108), 8))
    for name in ("accuracy", "macro_f1"):
        found = _find(few, name)
        seen = []
        for flips in product((False, True), repeat=8):
            swap = np.repeat(np.array(flips), 8)
            one = _find(replace(x, a=np.where(swap, x.b, x.a), b=np.where(swap, x.a, x.b)), name, resamples=1)
            assert one.delta is not None
            seen.append(abs(one.delta))
        assert found.delta is not None
        assert found.p_value == pytest.approx(np.mean(np.array(seen) >= abs(found.delta) - 1e-12))
        assert found.method == "cluster-sign-flip"
        drawn = _find(replace(few, cluster=np.arange(64) // 4), name, resamples=500)
        assert drawn.p_value is not None
        assert round(drawn.p_value * 501, 6) == round(drawn.p_value * 501), "what was seen is counted in"


def test_cluster_interval_of_equal_clusters_is_the_t_interval_of_their_means() -> None:
    x = random_answers(120, 3, 6, flip=0.5)
    assert x.gold is not None
    step = ((x.b == x.gold).astype(float) - (x.a == x.gold)).reshape(15, 8).mean(axis=1)
    found = _find(replace(x, cluster=np.repeat(np.arange(15), 8)), "accuracy")
    interval = ttest_rel(step, np.zeros(15)).confidence_interval()
    assert [found.low, found.high] == pytest.approx([interval.low, interval.high])


def test_recall_counts_only_clusters_with_its_class() -> None:
    x = paired(list("xxxxyyyy"), list("xyxyyyyy"), list("xxxxyyyy"), classes="xy")
    found = _find(replace(x, cluster=np.array([0, 0, 0, 1, 2, 3, 4, 5])), "recall:x")
    assert found.n == 4
    assert found.p_value == 0.5, "two clusters: four exchanges, two as far out"


def test_money_is_scipys_paired_t() -> None:
    x = random_answers(50, 2, 1, **_amounts(50, 2))
    assert x.cost_a is not None
    assert x.cost_b is not None
    found = _find(x, "cost_per_1k_usd", margin=100.0)
    oracle = ttest_rel(x.cost_b, x.cost_a)
    assert found.p_value == pytest.approx(oracle.pvalue)
    assert [found.low, found.high] == pytest.approx([1000 * e for e in oracle.confidence_interval()])
    less = ttest_rel(x.cost_b - 0.1, x.cost_a, alternative="less")
    assert found.p_not_worse == pytest.approx(less.pvalue)


def test_equal_prices_are_facts() -> None:
    n = 40
    amounts: dict[str, Any] = {"cost_a": np.full(n, 0.002), "cost_b": np.full(n, 0.003)}
    dearer = _find(random_answers(n, 2, 1, **amounts), "cost_per_1k_usd", margin=0.5)
    assert [dearer.low, dearer.high] == pytest.approx([1.0, 1.0])
    assert dearer.p_value == 2.0**-39
    assert dearer.p_not_worse == 1.0
    free = random_answers(n, 2, 1, cost_a=np.zeros(n), cost_b=np.zeros(n))
    found = _find(free, "cost_per_1k_usd", margin=0.5)
    assert (found.delta, found.low, found.high, found.p_value) == (0, 0, 0, 1)
    assert found.p_not_worse == 2.0**-40
    assert cost_ratio(free) == (1, 1, 1)


def test_cost_ratio() -> None:
    rng = np.random.default_rng(4)
    base = rng.gamma(2, 1, 400)
    held = 0
    for _ in range(200):
        a = rng.permutation(base)
        x = random_answers(400, 2, 1, cost_a=a, cost_b=a * rng.lognormal(np.log(1.2), 0.5, 400))
        low, value, high = cost_ratio(x) or (None, 0.0, None)
        assert low is not None
        assert high is not None
        assert low < value < high
        held += low <= 1.2 * np.exp(0.125) <= high
    assert held >= 200 * 0.95 - 3 * np.sqrt(200 * 0.05 * 0.95)
    one = random_answers(1, 2, 1, cost_a=np.ones(1), cost_b=np.full(1, 2.0))
    assert cost_ratio(one) == (None, 2.0, None)
    nothing = random_answers(5, 2, 1, cost_a=np.zeros(5), cost_b=np.ones(5))
    assert cost_ratio(nothing) is None
    assert cost_ratio(random_answers(5, 2, 1)) is None
    part = random_answers(3, 2, 1, cost_a=np.array([1.0, np.nan, 1]), cost_b=np.array([2.0, 9, 2]))
    assert cost_ratio(part) == (2.0, 2.0, 2.0)


def test_weights_enter_value_and_error() -> None:
    x = random_answers(3000, 3, 8, flip=0.5)
    equal = _find(replace(x, weight=np.full(3000, 7.0)), "accuracy")
    assert equal == _find(x, "accuracy")
    weight = np.where(np.arange(3000) < 300, 10.0, 1.0)
    found = _find(replace(x, weight=weight), "accuracy", margin=0.05)
    assert x.gold is not None
    step = (x.b == x.gold).astype(float) - (x.a == x.gold)
    assert found.delta == pytest.approx(np.average(step, weights=weight))
    assert found.method == "paired-jackknife"
    assert found.low is not None
    assert found.high is not None
    influence = weight * (step - np.average(step, weights=weight)) / weight.sum()
    by_hand = 2 * 1.96 * np.sqrt((influence**2).sum())
    assert found.high - found.low == pytest.approx(by_hand, rel=0.03)
    for name in (*GOLD_METRICS, "auto_accept_rate", "failed_rate"):
        ones, many = _find(replace(x, weight=weight), name), _find(replace(x, weight=5 * weight), name)
        assert [many.low, many.high] == pytest.approx([ones.low, ones.high]), "scale is nothing"


def test_a_rare_class_without_a_flip_is_no_proof_of_equality() -> None:
    gold = ["x"] * 190 + ["y"] * 10
    same = paired(gold, gold, gold, classes="xy")
    for name, at_least in (("macro_f1", 0.005), ("f1:y", 0.05), ("precision:y", 0.05), ("recall:y", 0.2)):
        found = _find(same, name, margin=0.001)
        assert (found.delta, found.p_value) == (0, 1)
        assert found.low is not None
        assert found.high is not None
        assert -found.low == pytest.approx(found.high)
        assert found.high >= at_least
        assert found.p_not_worse is not None
        assert found.p_not_worse > 0.3


def test_what_cannot_be_measured_is_none_with_a_reason() -> None:
    x = paired(list("xy"), list("xx"), list("xx"), classes="xyz")
    without = replace(x, gold=None)
    empty = x.only(np.zeros(2, dtype=np.bool_))
    cases = [
        (without, "accuracy", "no gold"),
        (empty, "macro_f1", "no items"),
        (x, "recall:z", "no gold item of class z"),
        (x, "precision:z", "neither side answered z"),
        (x, "f1:z", "neither in gold nor answered"),
        (x, "auto_accuracy", "neither side would auto-accept"),
        (x, "cost_per_1k_usd", "the cost of at least one side is not known"),
        (
            replace(x, latency_a=np.full(2, np.nan), latency_b=np.ones(2)),
            "latency_ms",
            "no item with a known latency",
        ),
    ]
    for answers, name, reason in cases:
        found = _find(answers, name, margin=0.1)
        assert found.method == "not-measurable"
        assert reason in (found.reason or "")
        assert {found.value_a, found.value_b, found.delta, found.low, found.p_value, found.p_not_worse} == {
            None
        }
    one_sided = _find(paired(list("xy"), list("xx"), list("xy"), classes="xy"), "precision:y")
    assert (one_sided.value_a, one_sided.value_b, one_sided.delta, one_sided.p_value) == (
        None,
        1.0,
        None,
        None,
    )
    assert "A never answered y" in (one_sided.reason or "")
    single = paired(["x"], ["y"], ["x"], classes="xy", latency_a=np.ones(1), latency_b=np.ones(1))
    for name in ("macro_f1", "latency_ms"):
        found = _find(single, name, margin=0.1)
        assert found.delta is not None
        assert (found.low, found.p_value, found.p_not_worse) == (None, None, None)
        assert "one item shows no spread" in (found.reason or "")
    one = _find(replace(x, cluster=np.zeros(2, dtype=np.int64)), "accuracy")
    assert "one cluster" in (one.reason or "")
    alike = _find(replace(x, cluster=np.arange(2)), "macro_f1")
    assert "same difference" in (alike.reason or "")


def test_questions_that_make_no_sense_are_refused() -> None:
    x = random_answers(10, 2, 1)
    with pytest.raises(ConfigError, match="labels c0, c1"):
        _find(x, "f1:c9")
    with pytest.raises(ConfigError, match="suite"):
        _find(x, "suite:robustness")
    for margin in (-0.1, 1.0, float("nan")):
        with pytest.raises(ConfigError, match="margin of accuracy"):
            _find(x, "accuracy", margin=margin)


def test_the_same_seed_gives_the_same_answer_and_large_samples_agree_with_small_ones() -> None:
    x = random_answers(200, 4, 2)
    assert _find(x, "macro_f1", seed=3) == _find(x, "macro_f1", seed=3)
    large = x.only(np.repeat(np.arange(200), 200))
    one, many = _find(x, "macro_f1"), _find(large, "macro_f1")
    assert many.delta == pytest.approx(one.delta)
    assert many.n == 40_000
    widths = [d.high - d.low for d in (one, many) if d.high is not None and d.low is not None]
    assert widths[0] / widths[1] == pytest.approx(np.sqrt(200), rel=0.1)
    clusters = replace(large, cluster=np.arange(40_000))
    apart = _find(clusters, "macro_f1")
    assert apart.high == pytest.approx(many.high, rel=0.02)
