"""Shapley shares: they sum to the difference, know interactions, and their intervals are those of paired data."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluation.attribution import CoalitionAnswers, attribute, shapley
from evaluation.paired import NO_ANSWER
from labelproof.spec.errors import ConfigError
from labelproof.spec.metrics import parse_metric

CLASSES = ("ok", "spam", "hate")
MEMBERS = np.eye(3, dtype=bool)


def subsets(names: tuple[str, ...]) -> list[frozenset[str]]:
    return [
        frozenset(name for i, name in enumerate(names) if mask >> i & 1) for mask in range(2 ** len(names))
    ]


@given(k=st.integers(0, 5), r=st.integers(1, 3), seed=st.integers(0, 10**6))
def test_shares_sum_to_the_difference_and_are_the_mean_over_orders(k: int, r: int, seed: int) -> None:
    names = tuple("abcde"[:k])
    rng = np.random.default_rng(seed)
    values = {taken: rng.normal(size=r) for taken in subsets(names)}
    shares = shapley(values)
    assert set(shares) == set(names)
    total = values[frozenset(names)] - values[frozenset()]
    assert np.abs(sum(shares.values(), np.zeros(r)) - total).max() < 1e-9
    # The definition: what a component adds to those before it, averaged over all orders.
    orders = list(permutations(names))
    for name in names:
        gains = [
            values[frozenset(order[: order.index(name) + 1])] - values[frozenset(order[: order.index(name)])]
            for order in orders
        ]
        assert shares[name] == pytest.approx(np.mean(gains, axis=0))


def test_a_component_that_changes_nothing_gets_nothing_and_an_interaction_is_divided() -> None:
    # Neither a nor b helps alone; together they add 1.
    values = {taken: np.array([float({"a", "b"} <= taken)]) for taken in subsets(("a", "b", "c"))}
    shares = {name: float(value[0]) for name, value in shapley(values).items()}
    assert shares == pytest.approx({"a": 0.5, "b": 0.5, "c": 0.0})


def test_a_missing_coalition_is_named() -> None:
    with pytest.raises(ConfigError, match=r"all 4 coalitions; none for \['b'\]"):
        shapley({taken: np.zeros(1) for taken in subsets(("a", "b")) if taken != frozenset("b")})
    with pytest.raises(ConfigError, match="no component taken"):
        shapley({})


def mixtures(n: int = 300, seed: int = 0) -> tuple[np.ndarray, dict[frozenset[str], CoalitionAnswers]]:
    """Return gold and answers: `fix` repairs 40 % of A's mistakes, `noise` turns every tenth item wrong."""
    rng = np.random.default_rng(seed)
    gold = rng.integers(0, 3, n)
    wrong = rng.random(n) < 0.3
    repaired = rng.random(n) < 0.4
    broken = rng.random(n) < 0.1
    found = {}
    for taken in subsets(("fix", "noise")):
        bad = wrong & ~(repaired & ("fix" in taken)) | broken & ("noise" in taken)
        answer = np.where(bad, (gold + 1) % 3, gold)
        found[taken] = CoalitionAnswers(answer=answer, accepted=rng.random(n) < 0.5)
    return gold, found


@pytest.mark.parametrize("metric", ["accuracy", "macro_f1", "recall:spam", "f1:hate", "auto_accuracy"])
def test_intervals_hold_the_shares_and_shares_sum_to_delta(metric: str) -> None:
    gold, found = mixtures()
    result = attribute(
        found, gold=gold, members=MEMBERS, classes=CLASSES, metric=parse_metric(metric), resamples=500
    )
    assert result.reason is None
    assert result.delta is not None
    assert abs(sum(share.delta or 0.0 for share in result.shares) - result.delta) < 1e-9
    everything, nothing = result.values[frozenset(("fix", "noise"))], result.values[frozenset()]
    assert everything is not None
    assert nothing is not None
    assert result.delta == pytest.approx(everything - nothing)
    for share in result.shares:
        assert share.low is not None
        assert share.high is not None
        assert share.delta is not None
        assert share.low < share.delta < share.high
    if metric == "accuracy":
        fix, noise = result.shares
        assert (fix.low or 0) > 0 > (noise.high or 0)


def test_the_interval_of_the_difference_is_that_of_paired_items() -> None:
    gold, found = mixtures(n=2000)
    result = attribute(
        found, gold=gold, members=MEMBERS, classes=CLASSES, metric=parse_metric("accuracy"), resamples=4000
    )
    a, b = found[frozenset()].answer == gold, found[frozenset(("fix", "noise"))].answer == gold
    d = b.astype(float) - a.astype(float)
    half = 1.96 * d.std() / np.sqrt(len(d))
    assert result.delta == pytest.approx(d.mean())
    assert result.low == pytest.approx(d.mean() - half, abs=0.15 * half)
    assert result.high == pytest.approx(d.mean() + half, abs=0.15 * half)


def test_clusters_and_weights_count() -> None:
    gold, found = mixtures(n=400)
    doubled = {
        taken: CoalitionAnswers(answer=np.repeat(f.answer, 4), accepted=np.repeat(f.accepted, 4))
        for taken, f in found.items()
    }
    fixed = {"members": MEMBERS, "classes": CLASSES, "metric": parse_metric("accuracy"), "resamples": 1000}
    single = attribute(found, gold=gold, **fixed)  # type: ignore[arg-type]
    gold4, cluster = np.repeat(gold, 4), np.repeat(np.arange(400), 4)
    clustered = attribute(doubled, gold=gold4, cluster=cluster, **fixed)  # type: ignore[arg-type]
    naive = attribute(doubled, gold=gold4, **fixed)  # type: ignore[arg-type]
    for one, many, wrong in zip(single.shares, clustered.shares, naive.shares, strict=True):
        assert one.delta == pytest.approx(many.delta)
        assert many.low == pytest.approx(one.low)  # four copies of an item say what one says
        assert (wrong.high or 0) - (wrong.low or 0) < 0.6 * ((one.high or 0) - (one.low or 0))
    assert "clusters" in clustered.method
    kept = np.arange(400) < 100
    weighted = attribute(found, gold=gold, weight=kept.astype(float), **fixed)  # type: ignore[arg-type]
    part = {t: CoalitionAnswers(answer=f.answer[kept], accepted=f.accepted[kept]) for t, f in found.items()}
    alone = attribute(part, gold=gold[kept], **fixed)  # type: ignore[arg-type]
    assert weighted.delta == pytest.approx(alone.delta)


def test_what_is_undefined_has_no_shares_and_a_reason() -> None:
    gold, found = mixtures(n=50)
    nothing = CoalitionAnswers(answer=found[frozenset()].answer, accepted=np.zeros(50, dtype=bool))
    result = attribute(
        {**found, frozenset(("fix",)): nothing},
        gold=gold,
        members=MEMBERS,
        classes=CLASSES,
        metric=parse_metric("auto_accuracy"),
    )
    assert result.reason == "auto_accuracy is undefined for the mixture that takes fix from B"
    assert result.delta is not None  # of A and B themselves it is known
    assert [share.delta for share in result.shares] == [None, None]
    assert result.values[frozenset(("fix",))] is None
    empty = np.zeros(0, dtype=np.int64)
    none = attribute(
        {taken: CoalitionAnswers(answer=empty, accepted=empty.astype(bool)) for taken in found},
        gold=empty,
        members=MEMBERS,
        classes=CLASSES,
        metric=parse_metric("accuracy"),
    )
    assert (none.reason, none.delta) == ("there are no items", None)


def test_failed_answers_are_wrong_and_rates_need_no_gold() -> None:
    answer = np.array([0, 1, NO_ANSWER, 2])
    found = {
        frozenset[str](): CoalitionAnswers(answer=answer, accepted=np.array([True, False, False, False])),
        frozenset(("x",)): CoalitionAnswers(
            answer=np.array([0, 1, 2, 2]), accepted=np.array([True, True, True, False])
        ),
    }
    for metric, expected in (("failed_rate", -0.25), ("auto_accept_rate", 0.5)):
        result = attribute(found, gold=None, members=MEMBERS, classes=CLASSES, metric=parse_metric(metric))
        assert result.delta == pytest.approx(expected)
    with pytest.raises(ConfigError, match="expected 4 answers, found 3"):
        attribute(
            {**found, frozenset(("x",)): CoalitionAnswers(answer=answer[:3], accepted=answer[:3] > 0)},
            gold=None,
            members=MEMBERS,
            classes=CLASSES,
            metric=parse_metric("failed_rate"),
        )
