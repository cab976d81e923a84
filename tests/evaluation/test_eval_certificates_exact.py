"""Certificates against independent libraries and against enumeration of everything that can be drawn."""

from __future__ import annotations

import itertools
import math
import warnings

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from mapie.risk_control import BinaryClassificationController, precision
from mapie.risk_control.fwer_control import control_fwer
from mapie.risk_control.methods import compute_hoeffding_bentkus_p_value
from scipy.stats import binomtest
from statsmodels.stats.proportion import proportion_confint

from evaluation import certificate_p_value, certify, gold_needed
from evaluation._arrays import BoolArray, FloatArray
from evaluation._certificate_betting import BETS, log_e_values, weighted_upper_bounds
from evaluation._certificate_evidence import p_values, upper_bounds
from evaluation._certificate_gold import gold_needed_in_finite_pool


def _gold(seed: int, n: int) -> tuple[FloatArray, BoolArray, FloatArray]:
    rng = np.random.default_rng(seed)
    pool = rng.beta(3.0, 0.5, size=4000)
    gold = rng.choice(pool, n, replace=False)
    return gold, rng.random(n) < gold, pool


@pytest.mark.parametrize("alpha", [0.03, 0.05, 0.1])
@pytest.mark.parametrize("seed", range(12))
def test_decisions_are_those_of_mapie(seed: int, alpha: float) -> None:
    gold, correct, pool = _gold(seed, 400)
    found = certify(gold, correct, pool_confidence=pool, alpha=alpha, delta=0.1)
    accepted = np.array([row.n_accepted for row in found.tested])
    risk = np.array([row.n_errors for row in found.tested]) / accepted

    def decided(*, binary: bool) -> list[int]:
        p = compute_hoeffding_bentkus_p_value(risk, accepted.astype(float), alpha, binary)[:, 0]
        return list(control_fwer(p, 0.1, "fixed_sequence"))

    ours = [j for j, row in enumerate(found.tested) if row.passed]
    # MAPIE rounds errors up from risk * n: where that product is 3.0000000000000004 it counts 4.
    exact = np.ceil(accepted * risk) == [row.n_errors for row in found.tested]
    if exact.all():
        assert decided(binary=True) == ours
    assert set(decided(binary=True)) <= set(ours)
    assert set(decided(binary=False)) <= set(ours)  # the p-value for any bounded loss is larger


@pytest.mark.parametrize("seed", range(6))
def test_the_threshold_is_that_of_mapies_controller(seed: int) -> None:
    gold, correct, pool = _gold(seed, 400)
    found = certify(gold, correct, pool_confidence=pool, alpha=0.1, delta=0.1)
    assert found.certified
    controller = BinaryClassificationController(
        predict_function=lambda x: np.column_stack([1 - x[:, 0], x[:, 0]]),
        risk=precision,
        target_level=0.9,
        confidence_level=0.9,
        list_predict_params=np.array([row.threshold for row in found.tested]),
        fwer_method="fixed_sequence",
        best_predict_param_choice="recall",
    )
    with (
        warnings.catch_warnings()
    ):  # it warns that the empirical risk is not monotone, which costs power only
        warnings.simplefilter("ignore", UserWarning)
        controller.calibrate(gold[:, None], correct.astype(int))
    assert controller.best_predict_param == found.threshold


def test_the_comparison_with_mapie_has_certificates_and_refusals() -> None:
    outcomes = set()
    for seed in range(12):
        gold, correct, pool = _gold(seed, 400)
        outcomes |= {certify(gold, correct, pool_confidence=pool, alpha=a).certified for a in (0.02, 0.1)}
    assert outcomes == {True, False}


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 500), st.data(), st.sampled_from([0.01, 0.05, 0.3]), st.sampled_from([0.01, 0.05, 0.2]))
def test_binomial_numbers_are_those_of_scipy_and_statsmodels(
    n: int, data: st.DataObject, alpha: float, delta: float
) -> None:
    k = data.draw(st.integers(0, n))
    p = certificate_p_value(k, n, alpha)
    assert p == pytest.approx(binomtest(k, n, alpha, alternative="less").pvalue, rel=1e-9)
    upper = upper_bounds(k, n, delta)[0]
    assert upper == pytest.approx(proportion_confint(k, n, alpha=2 * delta, method="beta")[1], abs=1e-9)
    if abs(p - delta) > 1e-9:
        assert (p <= delta) == (upper <= alpha)


@given(st.integers(1, 40), st.data(), st.sampled_from([0.05, 0.07, 0.29, 0.5]))
def test_hypergeometric_numbers_are_those_of_counting(m: int, data: st.DataObject, alpha: float) -> None:
    n = data.draw(st.integers(1, m))
    k = data.draw(st.integers(0, n))

    def at_most(errors: int) -> float:
        """P(at most k errors among n of m items, ``errors`` of them wrong), by counting."""
        ways = sum(math.comb(errors, j) * math.comb(m - errors, n - j) for j in range(k + 1))
        return ways / math.comb(m, n)

    fewest_bad = next(e for e in range(m + 1) if round(e - alpha * m, 9) > 0)
    p = certificate_p_value(k, n, alpha, pool_accepted=m)
    assert p == pytest.approx(at_most(fewest_bad), abs=1e-9)
    chances = {e: at_most(e) for e in range(k, m - n + k + 1)}
    assume(all(abs(chance - 0.05) > 1e-9 for chance in chances.values()))
    possible = [e for e, chance in chances.items() if chance > 0.05]
    upper = upper_bounds(k, n, 0.05, m)[0]
    assert upper == pytest.approx(max(possible) / m, abs=1e-12)
    if abs(p - 0.05) > 1e-9:
        assert (p <= 0.05) == (round(upper * m) < fewest_bad)


def test_gold_needed_is_the_published_list() -> None:
    assert gold_needed(alpha=0.05, delta=0.05) == (59, 93, 124, 153, 181, 208)


@pytest.mark.parametrize("alpha", [0.001, 0.01, 0.05, 0.5, 0.9])
@pytest.mark.parametrize("delta", [0.5, 0.05, 0.001])
def test_gold_needed_is_the_smallest_that_certifies(alpha: float, delta: float) -> None:
    for k, n in enumerate(gold_needed(alpha=alpha, delta=delta, max_errors=12)):
        assert certificate_p_value(k, n, alpha) <= delta
        assert n - 1 <= k or certificate_p_value(k, n - 1, alpha) > delta


@pytest.mark.parametrize("m", [10, 57, 300])
def test_gold_needed_in_a_finite_pool_is_the_smallest_that_certifies(m: int) -> None:
    for k, n in enumerate(gold_needed_in_finite_pool(0.05, 0.05, m)):
        assert certificate_p_value(k, int(n), 0.05, pool_accepted=m) <= 0.05
        assert n - 1 <= k or certificate_p_value(k, int(n) - 1, 0.05, pool_accepted=m) > 0.05


def test_nothing_accepted_is_no_evidence() -> None:
    assert certificate_p_value(0, 0, 0.05) == 1.0
    assert certificate_p_value(0, 0, 0.05, pool_accepted=10) == 1.0
    assert list(p_values([0, 0], [0, 59], 0.05) <= 0.05) == [False, True]
    assert np.isnan(upper_bounds(0, 0, 0.05)).all()


def test_a_census_is_certain() -> None:
    assert certificate_p_value(5, 100, 0.05, pool_accepted=100) == 0.0
    assert certificate_p_value(6, 100, 0.05, pool_accepted=100) == 1.0
    assert upper_bounds(5, 100, 0.05, 100)[0] == 0.05


def _e_value(weights: FloatArray, wrong: BoolArray, w_max: float, alpha: float) -> float:
    n = np.array([len(weights)])
    return math.exp(log_e_values(weights, wrong, n, np.array([1 / w_max]), np.array([alpha]))[0])


def test_e_value_is_the_formula() -> None:
    weights, wrong = np.array([0.5, 2.0, 1.0]), np.array([False, True, False])
    alpha, w_max = 0.1, 2.5
    total = 0.0
    for g in BETS:
        product = 1.0
        for w, err in zip(weights, wrong, strict=True):
            product *= 1 + g * (w * (alpha - err)) / (w_max * (1 - alpha))
        total += product
    assert _e_value(weights, wrong, w_max, alpha) == pytest.approx(total / len(BETS), rel=1e-12)


# Five items, error rate above alpha = .35 (two wrong); accepted: all.
_WRONG = np.array([True, False, False, True, False])


@settings(deadline=None, max_examples=25)
@given(st.lists(st.integers(1, 9), min_size=5, max_size=5))
def test_the_mean_e_value_is_at_most_one_with_replacement(shares: list[int]) -> None:
    q = np.array(shares) / sum(shares)
    weights = 1 / (5 * q)
    mean = 0.0
    for draw in itertools.product(range(5), repeat=3):
        items = list(draw)
        mean += float(np.prod(q[items])) * _e_value(weights[items], _WRONG[items], weights.max(), 0.35)
    assert mean <= 1 + 1e-12


@settings(deadline=None, max_examples=25)
@given(st.lists(st.integers(1, 9), min_size=5, max_size=5))
def test_the_mean_e_value_is_at_most_one_under_poisson_sampling(tenths: list[int]) -> None:
    pi = np.array(tenths) / 10
    weights = 1 / pi
    mean = 0.0
    for coins in itertools.product([False, True], repeat=5):
        taken = np.array(coins)
        chance = float(np.prod(np.where(taken, pi, 1 - pi)))
        mean += chance * _e_value(weights[taken], _WRONG[taken], weights.max(), 0.35)
    assert mean <= 1 + 1e-12


def test_the_mean_e_value_is_at_most_one_without_replacement() -> None:
    draws = [list(draw) for draw in itertools.combinations(range(5), 3)]
    mean = np.mean([_e_value(np.ones(3), _WRONG[draw], 1.0, 0.35) for draw in draws])
    assert mean <= 1


def test_the_mean_e_value_grows_when_the_claim_is_true() -> None:
    """The same enumeration with alpha above the error rate .4: the bound is tight enough to tell."""
    draws = [list(draw) for draw in itertools.product(range(5), repeat=3)]
    assert np.mean([_e_value(np.ones(3), _WRONG[draw], 1.0, 0.6) for draw in draws]) > 1.05


def test_a_largest_weight_that_was_only_seen_is_no_bound() -> None:
    """Half of a pool is wrong and drawn once in 200 draws: with the weights seen, the mean e-value is far above 1."""
    q_right, q_wrong, n = 0.995, 0.005, 60
    mean_seen = mean_bound = 0.0
    for k in range(n + 1):
        chance = math.comb(n, k) * q_wrong**k * q_right ** (n - k)
        wrong = np.arange(n) < k
        weights = np.where(wrong, 0.5 / q_wrong, 0.5 / q_right)
        mean_seen += chance * _e_value(weights, wrong, weights.max(), 0.05)
        mean_bound += chance * _e_value(weights, wrong, 0.5 / q_wrong, 0.05)
    assert mean_bound <= 1 < mean_seen


def test_weighted_upper_bound_inverts_the_e_value() -> None:
    rng = np.random.default_rng(3)
    weights, wrong = rng.uniform(0.3, 3.0, 400), rng.random(400) < 0.02
    n, scale = np.array([0, 150, 400]), np.full(3, 1 / 3)
    upper = weighted_upper_bounds(weights, wrong, n, scale, 0.05)
    assert np.isnan(upper[0])
    for shift, expected in ((1e-6, True), (-1e-6, False)):
        reached = log_e_values(weights, wrong, n[1:], scale[1:], upper[1:] + shift) >= math.log(20)
        assert list(reached) == [expected, expected]
