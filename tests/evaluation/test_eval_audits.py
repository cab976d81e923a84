"""Audit plans: strata that never split ties, allocations by hand, probabilities that routing can apply."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evaluation import AuditPlan, AuditStrata, audit_allocation, audit_probabilities, audit_strata
from labelproof.spec.errors import ConfigError

CONFIDENCES = st.lists(st.sampled_from([0.0, 0.3, 0.5, 0.9, 0.95, 0.99, 1.0]), min_size=1, max_size=80)


@settings(deadline=None)
@given(CONFIDENCES, st.integers(1, 9))
def test_strata_partition_the_pool_and_keep_ties_together(pool: list[float], n_strata: int) -> None:
    strata = audit_strata(pool, n_strata=n_strata)
    codes = strata.codes(pool)
    assert len(strata.sizes) == len(strata.edges) + 1 <= n_strata
    assert strata.sizes == tuple(np.bincount(codes, minlength=len(strata.sizes)))
    assert min(strata.sizes) > 0
    for level in set(pool):
        assert len({int(code) for code, c in zip(codes, pool, strict=True) if c == level}) == 1
    order = np.argsort(pool)
    assert (np.diff(codes[order]) >= 0).all()


def test_strata_of_distinct_confidences_are_fifths() -> None:
    strata = audit_strata(np.linspace(0, 1, 1000))
    assert strata.sizes == (200, 200, 200, 200, 200)


def test_one_level_is_one_stratum() -> None:
    assert audit_strata([0.9, 0.9, 0.9]) == AuditStrata(edges=(), sizes=(3,))


def test_allocation_is_the_hand_calculation() -> None:
    # Sizes 600, 300, 100 with errors .02, .1, .5: size x sqrt(e(1-e)) = 84, 90, 50, in sum 224.
    found = audit_allocation([600, 300, 100], [0.02, 0.1, 0.5], 100)
    by_size, by_spread = np.array([60.0, 30.0, 10.0]), 100 * np.array([84.0, 90.0, 50.0]) / 224
    assert found.n == pytest.approx(0.6 * by_size + 0.4 * by_spread)
    assert found.inclusion_prob == pytest.approx(found.n / [600, 300, 100])
    assert audit_allocation([600, 300, 100], [0.02, 0.1, 0.5], 100, neyman=0).n == pytest.approx(by_size)


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.integers(1, 500), st.floats(0, 1)), min_size=1, max_size=6),
    st.floats(0.001, 1),
)
def test_allocation_reaches_its_total_and_stays_inside_the_strata(
    strata: list[tuple[int, float]], share: float
) -> None:
    sizes = np.array([size for size, _ in strata], dtype=np.float64)
    n = share * sizes.sum()
    found = audit_allocation(sizes, [error for _, error in strata], n)
    assert found.n.sum() == pytest.approx(n, rel=1e-9)
    assert (found.n <= sizes * (1 + 1e-12)).all()
    assert ((found.inclusion_prob > 0) & (found.inclusion_prob <= 1)).all()
    assert (found.n >= np.minimum(min(2, n / sizes.size), sizes) - 1e-9).all()


def test_no_item_weighs_more_than_the_proportional_share_allows() -> None:
    # Confident strata are believed perfect; still at least 60 % of a simple random sample goes there.
    found = audit_allocation([900, 100], [0.0, 0.5], 50)
    assert found.inclusion_prob.min() >= 0.6 * 50 / 1000


def test_plan_averages_to_its_rate_and_survives_json() -> None:
    c = np.random.default_rng(3).beta(8, 1, 5000)
    plan = audit_probabilities(c, rate_prob=0.05)
    pi = plan.inclusion_prob(c)
    assert pi.mean() == pytest.approx(0.05)
    assert AuditPlan.from_json(plan.to_json()) == plan
    assert plan.item_inclusion_prob(float(c[17])) == pi[17]
    assert (np.diff(plan.stratum_prob) < 0).all(), "low confidence is audited more often"
    assert plan.inclusion_prob([]).size == 0


def test_expected_errors_and_strata_of_ones_own() -> None:
    c = np.repeat([0.6, 0.8, 0.9], 100)
    upside_down = audit_probabilities(c, rate_prob=0.1, expected_error=c, strata=audit_strata(c, n_strata=3))
    assert upside_down.edges == (0.8, 0.9)
    assert upside_down.inclusion_prob(c).mean() == pytest.approx(0.1)
    assert upside_down.stratum_prob[0] > upside_down.stratum_prob[2], "e = .6 is less certain than .9"


def test_a_plan_without_a_pool_and_an_audit_of_everything() -> None:
    assert AuditPlan.uniform(0.02).inclusion_prob([0.1, 1.0]) == pytest.approx([0.02, 0.02])
    everything = audit_probabilities([0.2, 0.9, 0.9, 1.0], rate_prob=1.0)
    assert everything.inclusion_prob([0.2, 0.95]) == pytest.approx([1.0, 1.0])


@pytest.mark.parametrize(
    ("confidence", "rate", "message"),
    [
        ([], 0.1, "found none"),
        ([0.5, float("nan")], 0.1, "index 1"),
        ([0.5, 1.2], 0.1, r"in \[0, 1\]"),
        ([0.5], 0.0, r"rate in \(0, 1\]"),
        ([0.5], 1.5, r"rate in \(0, 1\]"),
    ],
)
def test_bad_pools_and_rates_are_refused(confidence: list[float], rate: float, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        audit_probabilities(confidence, rate_prob=rate)


def test_strata_of_another_pool_are_refused() -> None:
    with pytest.raises(ConfigError, match="each of the 2 strata"):
        audit_probabilities([0.9, 0.95], rate_prob=0.5, strata=AuditStrata(edges=(0.5,), sizes=(4, 4)))


@pytest.mark.parametrize(
    ("sizes", "error", "n", "message"),
    [
        ([10, 0], [0.1, 0.1], 2, "at least one item"),
        ([], [], 1, "at least one item"),
        ([10, 10], [0.1], 2, "one value per item"),
        ([10, 10], [0.1, 0.1], 21, "at most 20"),
        ([10, 10], [0.1, 0.1], 0, "more than 0"),
        ([10, 10], [0.1, 1.1], 2, r"in \[0, 1\]"),
    ],
)
def test_impossible_allocations_are_refused(
    sizes: list[float], error: list[float], n: float, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        audit_allocation(sizes, error, n)


@pytest.mark.parametrize("shares", [(-0.1, 0.5, 2.0), (0.0, 0.0, 2.0), (0.6, 0.4, -1.0)])
def test_impossible_shares_are_refused(shares: tuple[float, float, float]) -> None:
    with pytest.raises(ConfigError, match="expected shares"):
        audit_allocation([10], [0.1], 2, proportional=shares[0], neyman=shares[1], minimum=shares[2])


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"edges": [0.5], "stratum_prob": [0.1], "rate_prob": 0.1}',
        '{"edges": [0.5, 0.4], "stratum_prob": [0.1, 0.1, 0.1], "rate_prob": 0.1}',
        '{"edges": [NaN], "stratum_prob": [0.1, 0.1], "rate_prob": 0.1}',
        '{"edges": [], "stratum_prob": [0.0], "rate_prob": 0.1}',
        '{"edges": [], "stratum_prob": ["x"], "rate_prob": 0.1}',
    ],
)
def test_what_is_no_plan_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="audit plan"):
        AuditPlan.from_json(text)


def test_independent_draws_meet_the_stored_probabilities() -> None:
    rng = np.random.default_rng(11)
    c = rng.beta(5, 1, 40_000)
    plan = audit_probabilities(c, rate_prob=0.1)
    drawn: npt.NDArray[np.bool_] = rng.random(c.size) < plan.inclusion_prob(c)
    codes = audit_strata(c).codes(c)
    for h, prob in enumerate(plan.stratum_prob):
        here = drawn[codes == h]
        assert abs(here.mean() - prob) < 4 * np.sqrt(prob * (1 - prob) / here.size)
