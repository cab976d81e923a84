"""Paired tests at their edges: clusters in which nothing changed, cases of few bases, metrics that vanish."""

from __future__ import annotations

import numpy as np
import pytest

from evaluation._arrays import BoolArray, IntArray
from evaluation.paired import NO_ANSWER, PairedAnswers
from evaluation.paired_tests import paired_difference
from evaluation.suites import failure_difference
from evaluation.verdict import decide
from labelproof.spec.metrics import MetricRef, parse_metric

FAILED = MetricRef(name="failed_rate")


def failures(a: BoolArray, b: BoolArray, cluster: IntArray) -> PairedAnswers:
    n = len(a)
    return PairedAnswers(
        labels=("x",),
        classes=("x",),
        members=np.ones((1, 1), dtype=np.bool_),
        gold=None,
        a=np.where(a, NO_ANSWER, 0).astype(np.int64),
        b=np.where(b, NO_ANSWER, 0).astype(np.int64),
        accepted_a=np.zeros(n, dtype=np.bool_),
        accepted_b=np.zeros(n, dtype=np.bool_),
        cluster=cluster,
    )


def test_a_guardrail_on_what_never_happens_holds_in_clusters_too() -> None:
    never = np.zeros(600, dtype=np.bool_)
    found = paired_difference(failures(never, never, np.arange(600) // 3), FAILED, margin=0.02)
    assert found.p_not_worse == pytest.approx(0.98**200)
    assert (found.delta, found.p_value) == (0.0, 1.0)
    assert found.high == pytest.approx(1 - 0.025 ** (1 / 200))
    assert decide(found, [(found, True)], goal="better", alpha=0.05, p_primary=1.0).holds == (True,)
    few = paired_difference(failures(never[:60], never[:60], np.arange(60) // 3), FAILED, margin=0.02)
    assert few.p_not_worse == pytest.approx(0.98**20)  # 20 authors prove no 2 %
    one_big = np.r_[np.zeros(500, dtype=np.int64), np.arange(1, 101)]
    uneven = paired_difference(failures(never, never, one_big), FAILED, margin=0.02)
    assert uneven.p_not_worse == pytest.approx(0.98 ** (600**2 / (500**2 + 100)))


def test_the_bound_of_clusters_without_a_change_is_no_false_promise() -> None:
    rng = np.random.default_rng(5)
    margin, n_clusters, rounds = (
        0.05,
        70,
        2000,
    )  # the null at its edge: one cluster in twenty fails as a whole
    cluster = np.repeat(np.arange(n_clusters), 4)
    proven = 0
    for _ in range(rounds):
        b = np.repeat(rng.random(n_clusters) < margin, 4)
        if b.any():
            continue  # the t test's business
        found = paired_difference(failures(np.zeros_like(b), b, cluster), FAILED, margin=margin)
        proven += found.p_not_worse is not None and found.p_not_worse <= 0.05
    assert 0 < proven / rounds < 0.05


def test_one_case_proves_nothing_of_a_suite() -> None:
    alone = failure_difference(np.array([False]), np.array([True]), ["x"])
    assert alone.value == 1
    assert alone.low is not None
    assert alone.low < 0
    variants = failure_difference(np.zeros(5, dtype=np.bool_), np.ones(5, dtype=np.bool_), ["x"] * 5)
    assert variants.value == 1
    assert variants.low is not None
    assert variants.low < 0
    many = failure_difference(np.zeros(30, dtype=np.bool_), np.ones(30, dtype=np.bool_), list("abcdef") * 5)
    assert many.low is not None
    assert many.low > 0


def test_a_few_bases_are_no_proof_either() -> None:
    a, b = np.zeros(6, dtype=np.bool_), np.array([1, 1, 1, 1, 1, 0], dtype=np.bool_)
    found = failure_difference(a, b, ["x", "x", "y", "y", "z", "z"])
    assert found.value == pytest.approx(5 / 6)
    assert found.low is not None
    assert found.high is not None
    assert found.low < 0.2  # two degrees of freedom


@pytest.mark.parametrize("metric", ["precision:b", "f1:b"])
def test_a_metric_that_vanishes_without_any_one_cluster_has_no_interval(metric: str) -> None:
    answers = PairedAnswers(
        labels=("none", "a", "b"),
        classes=("none", "a", "b"),
        members=np.eye(3, dtype=np.bool_),
        gold=np.array([1, 1, 1]),
        a=np.array([-1, -1, 2]),
        b=np.array([1, 2, 0]),
        accepted_a=np.zeros(3, dtype=np.bool_),
        accepted_b=np.zeros(3, dtype=np.bool_),
        cluster=np.arange(3),
    )
    found = paired_difference(answers, parse_metric(metric), margin=0.02)
    assert (found.delta, found.low, found.high, found.p_value) == (0.0, None, None, None)
    assert found.reason is not None
