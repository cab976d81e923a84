"""Error rates from audits: against scipy and statsmodels, by brute force, and by simulated coverage."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.proportion import proportion_confint

from benchmarks.validity.audits import make_pool
from benchmarks.validity.harness import at_least
from evaluation import (
    AuditPlan,
    audit_probabilities,
    audit_strata,
    correct_rate,
    decision_quality,
    error_rate,
    undefined,
)
from evaluation._design_intervals import (
    binomial_interval,
    fay_feuer_interval,
    hypergeometric_interval,
    korn_graubard_interval,
)
from labelproof.spec.errors import ConfigError


def _wrong(errors: int, n: int) -> list[bool]:
    return [True] * errors + [False] * (n - errors)


@pytest.mark.parametrize(
    ("errors", "n", "name", "method"),
    [
        (20, 200, "wilson", "wilson"),
        (180, 200, "wilson", "wilson"),
        (19, 200, "beta", "clopper-pearson"),
        (0, 50, "beta", "clopper-pearson"),
        (50, 50, "beta", "clopper-pearson"),
        (1, 1, "beta", "clopper-pearson"),
        (0, 1, "beta", "clopper-pearson"),
    ],
)
def test_simple_random_audits_agree_with_statsmodels(errors: int, n: int, name: str, method: str) -> None:
    found = error_rate(_wrong(errors, n), [0.05] * n)
    low, high = proportion_confint(errors, n, 0.05, method=name)
    expected = (errors / n, np.nan_to_num(low, nan=0.0), np.nan_to_num(high, nan=1.0))
    assert (found.value, found.low, found.high) == pytest.approx(expected, abs=1e-9)
    assert found.method == method


def test_the_pair_of_wilson_and_clopper_pearson_covers_whatever_the_rate() -> None:
    for n in (20, 50, 100, 300):
        ends = [error_rate(_wrong(k, n), [0.5] * n) for k in range(n + 1)]
        low = np.array([e.low for e in ends], dtype=np.float64)
        high = np.array([e.high for e in ends], dtype=np.float64)
        for rate in np.concatenate([np.geomspace(1e-5, 0.01, 40), np.linspace(0.01, 0.5, 100)]):
            held = stats.binom.pmf(np.arange(n + 1), n, rate)[(low <= rate) & (rate <= high)].sum()
            assert held >= 0.937, (n, rate)


@settings(deadline=None)
@given(st.integers(1, 14), st.data(), st.sampled_from([0.8, 0.95]))
def test_hypergeometric_ends_by_brute_force(population: int, data: st.DataObject, level: float) -> None:
    n = data.draw(st.integers(1, population))
    events = data.draw(st.integers(0, n))
    tail = (1 - level) / 2
    kept = [
        k
        for k in range(events, population - (n - events) + 1)
        if stats.hypergeom.sf(events - 1, population, k, n) > tail
        and stats.hypergeom.cdf(events, population, k, n) > tail
    ]
    low, high = hypergeometric_interval(events, n, population, level)
    assert (low, high) == (min(kept) / population, max(kept) / population)


def test_a_known_population_narrows_and_a_census_is_exact() -> None:
    y = _wrong(30, 100)
    source, pool = error_rate(y, [0.5] * 100), error_rate(y, [0.5] * 100, population_n=200)
    assert source.low is not None
    assert source.high is not None
    assert pool.low is not None
    assert pool.high is not None
    assert source.low < pool.low < 0.3 < pool.high < source.high
    everything = error_rate(y, [1.0] * 100, population_n=100)
    assert (everything.low, everything.value, everything.high) == (0.3, 0.3, 0.3)
    assert everything.method == "census"


def test_fay_feuer_is_the_gamma_formula() -> None:
    # Six age groups with unequal weights; the formula of Fay & Feuer (1997) written with scipy's gamma law.
    population = np.array([230061, 329449, 114920, 39487, 14208, 3052])
    count = np.array([107, 141, 60, 40, 39, 25])
    standard = np.array([319933, 931318, 786511, 488235, 237863, 61313])
    w = standard / standard.sum() / population
    rate, variance, most = float(w @ count), float(w**2 @ count), float(w.max())
    low = stats.gamma.ppf(0.025, rate**2 / variance, scale=variance / rate)
    shape = (rate + most) ** 2 / (variance + most**2)
    high = stats.gamma.ppf(0.975, shape, scale=(variance + most**2) / (rate + most))
    y = np.concatenate([np.ones(count.sum(), dtype=np.bool_), np.zeros(600, dtype=np.bool_)])
    weight = np.concatenate([np.repeat(w, count), np.full(600, w.min())])
    found = fay_feuer_interval(y, weight, np.ones(y.size, dtype=np.bool_), 0.95)
    assert found == pytest.approx((low, high), rel=1e-9)
    assert rate * 1e5 == pytest.approx(92.3, abs=0.05)


@pytest.mark.parametrize("errors", [0, 1, 2])
def test_few_weighted_errors_with_equal_weights_are_poisson(errors: int) -> None:
    y, weight = np.array(_wrong(errors, 400)), np.full(400, 1 / 400)
    low, high = fay_feuer_interval(y, weight, np.ones(400, dtype=np.bool_), 0.95)
    assert low * 400 == pytest.approx(stats.chi2.ppf(0.025, 2 * errors) / 2 if errors else 0.0)
    assert high * 400 == pytest.approx(stats.chi2.ppf(0.975, 2 * errors + 2) / 2)


def test_fay_feuer_mirrors_and_adds_what_is_certain() -> None:
    y, weight = np.array(_wrong(2, 100)), np.full(100, 0.01)
    chance = np.ones(100, dtype=np.bool_)
    low, high = fay_feuer_interval(y, weight, chance, 0.95)
    mirrored = fay_feuer_interval(~y, weight, chance, 0.95)
    assert mirrored == pytest.approx((1 - high, 1 - low))
    chance[0] = False  # one of the two errors was audited with certainty
    sure = fay_feuer_interval(y, weight, chance, 0.95)
    alone = fay_feuer_interval(y[1:], weight[1:], chance[1:], 0.95)
    assert sure == pytest.approx((alone[0] + 0.01, alone[1] + 0.01))


def test_korn_graubard_by_hand() -> None:
    # Two strata of 300 and 700 items; 30 audits with 9 errors, 70 with 7. Variance within strata by hand.
    y = np.array(_wrong(9, 30) + _wrong(7, 70))
    codes = np.repeat([0, 1], [30, 70])
    found = error_rate(
        y, np.repeat([0.1, 0.1], [30, 70]), stratum=codes, stratum_sizes=[300, 700], confidence=0.9
    )
    p = 0.3 * 9 / 30 + 0.7 * 7 / 70
    shrunk = np.array([(9 + 2 * p) / 32, (7 + 2 * p) / 72])
    variance = 0.9 * float(np.sum(np.array([0.3, 0.7]) ** 2 * shrunk * (1 - shrunk) / [30, 70]))
    effective = p * (1 - p) / variance * (stats.t.ppf(0.95, 99) / stats.t.ppf(0.95, 98)) ** 2
    low = stats.beta.ppf(0.05, effective * p, effective * (1 - p) + 1)
    high = stats.beta.ppf(0.95, effective * p + 1, effective * (1 - p))
    assert found.method == "korn-graubard"
    assert (found.value, found.low, found.high) == pytest.approx((p, low, high))


def test_one_stratum_of_equal_weights_is_almost_clopper_pearson() -> None:
    y = np.array(_wrong(40, 400))
    one = np.ones(400)
    found = korn_graubard_interval(y, one / 400, one, np.zeros(400, dtype=np.int64), 0.95)
    assert found == pytest.approx(binomial_interval(40, 400, 0.95), abs=2e-4)


def test_unequal_probabilities_are_weighted_back() -> None:
    # 10 errors in 20 audits at pi .2, none in 20 audits at pi .02: of 100 + 1000 items 50 are wrong.
    found = error_rate(_wrong(10, 40), [0.2] * 20 + [0.02] * 20)
    assert found.value == pytest.approx(50 / 1100)
    assert found.method == "korn-graubard"
    assert found.high is not None
    assert found.high < 0.25, "the raw share is .25"


def test_strata_known_in_full_leave_nothing_to_chance() -> None:
    y, codes = _wrong(1, 4), [0, 0, 1, 1]
    found = error_rate(y, [1.0] * 4, stratum=codes, stratum_sizes=[2, 2])
    assert (found.low, found.value, found.high, found.method) == (0.25, 0.25, 0.25, "census")
    half = error_rate(y, [1.0, 1.0, 0.5, 0.5], stratum=codes, stratum_sizes=[2, 4])
    assert half.low == pytest.approx(1 / 6), "one of six items is known to be wrong"
    assert half.high is not None
    assert half.high <= 1 - 3 / 6 + 1e-12, "three of six are known to be right"


def test_a_stratum_nobody_audited_joins_its_neighbour() -> None:
    y = np.array(_wrong(8, 60))
    codes = np.repeat([0, 2], [20, 40])
    found = error_rate(y, [0.1] * 60, stratum=codes, stratum_sizes=[200, 100, 400])
    # Strata 0 | 1 + 2 (one without audits is joined upwards): W = 2/7, 5/7.
    assert found.value == pytest.approx(2 / 7 * 8 / 20)
    assert found.reason is not None
    assert "joined" in found.reason
    alone = error_rate([True], [0.1], stratum=[1], stratum_sizes=[5, 5, 5])
    assert alone.value == 1.0
    assert alone.low is not None
    assert alone.low < 0.2


@pytest.mark.parametrize("errors", [0, 60])
def test_all_right_and_all_wrong_keep_an_open_end(errors: int) -> None:
    y, codes = _wrong(errors, 60), np.repeat([0, 1, 2], 20)
    found = error_rate(y, np.repeat([0.1, 0.05, 0.02], 20), stratum=codes, stratum_sizes=[200, 400, 1000])
    assert found.method == "fay-feuer"
    assert found.value == errors / 60
    assert found.low is not None
    assert found.high is not None
    # ln(40) = 3.69 events at the largest weight: 20 audits stand for 1000 of 1600 items.
    open_end = 1000 / 1600 / 20 * np.log(40)
    expected = (0.0, open_end) if errors == 0 else (1 - open_end, 1.0)
    seen = (0.0, 1 - 60 / 1600) if errors == 0 else (60 / 1600, 1.0)
    assert (found.low, found.high) == pytest.approx((max(expected[0], seen[0]), min(expected[1], seen[1])))


@settings(deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.floats(0.01, 1), st.integers(0, 3)), min_size=1, max_size=60))
def test_intervals_contain_their_value_whatever_the_data(rows: list[tuple[bool, float, int]]) -> None:
    y, pi, codes = (list(column) for column in zip(*rows, strict=True))
    for found in (
        error_rate(y, pi),
        error_rate(y, pi, population_n=100),
        error_rate(y, pi, stratum=codes, stratum_sizes=[60, 60, 80, 100]),
    ):
        assert found.value is not None
        assert found.low is not None
        assert found.high is not None
        assert 0 <= found.low <= found.value <= found.high <= 1


def test_correct_rate_is_the_mirror_image() -> None:
    y = _wrong(3, 60)
    wrong, right = error_rate(y, [0.2] * 60), correct_rate(y, [0.2] * 60)
    assert wrong.value is not None
    assert wrong.low is not None
    assert wrong.high is not None
    assert (right.value, right.low, right.high) == (1 - wrong.value, 1 - wrong.high, 1 - wrong.low)
    assert correct_rate([], []) == undefined("none", 0, "no audited items")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"inclusion_prob": [0.5, 0.0]}, "index 1"),
        ({"inclusion_prob": [0.5, 1.5]}, "index 1"),
        ({"inclusion_prob": [0.5, float("nan")]}, "index 1"),
        ({"inclusion_prob": [0.5]}, "one value per item"),
        ({"wrong": [0.0, 2.0]}, "true/false"),
        ({"population_n": 1}, "at least 2"),
        ({"stratum": [0, 1]}, "together"),
        ({"stratum": [0, 2], "stratum_sizes": [5, 5]}, "codes 0..1"),
        ({"stratum": [0], "stratum_sizes": [5, 5]}, "2 codes"),
        ({"stratum": [0, 0], "stratum_sizes": [1, 5]}, "stratum 0"),
        ({"stratum": [0, 0], "stratum_sizes": [5.5, 5]}, "item counts"),
        ({"stratum": [0, 0], "stratum_sizes": [5, 5], "population_n": 11}, "10 items of all strata"),
        ({"confidence": 1.0}, "level"),
    ],
)
def test_bad_audits_are_refused(arguments: dict[str, object], message: str) -> None:
    given_arguments: dict[str, object] = {"wrong": [True, False], "inclusion_prob": [0.5, 0.25], **arguments}
    with pytest.raises(ConfigError, match=message):
        error_rate(**given_arguments)  # type: ignore[arg-type]


def test_quality_in_words_with_its_strata_and_assumptions() -> None:
    rng = np.random.default_rng(4)
    pool = make_pool("useful", 0.05, rng)
    plan = audit_probabilities(pool.confidence, rate_prob=0.03)
    pi = plan.inclusion_prob(pool.confidence)
    a = rng.random(pi.size) < pi
    found = decision_quality(pool.wrong[a], pi[a], pool.confidence[a], population_confidence=pool.confidence)
    assert found.error.low is not None
    assert found.error.high is not None
    assert found.error.low < 0.05 < found.error.high
    assert found.correct.low == 1 - found.error.high
    assert sum(row.audited_n for row in found.strata) == found.audited_n == int(a.sum())
    assert sum(row.population_n for row in found.strata) == found.population_n == pool.wrong.size
    assert sum(row.wrong_n for row in found.strata) == found.wrong_n
    assert found.method == (
        "audits weighted by their inclusion probability within 5 strata of confidence; Korn-Graubard interval"
    )
    assert len(found.assumptions) == 6


def test_quality_without_strata_audits_or_population() -> None:
    flat = decision_quality(_wrong(2, 30), [0.1] * 30, [1.0] * 30, population_confidence=[1.0] * 300)
    assert flat.error.method == "hypergeometric"
    assert len(flat.strata) == 1
    few = decision_quality(
        _wrong(1, 3), [0.1] * 3, [0.2, 0.5, 0.9], population_confidence=[0.2, 0.5, 0.9] * 10
    )
    assert few.error.method == "hypergeometric"
    assert few.error.value == pytest.approx(1 / 3)
    for pool in ([], [0.5, 0.9]):
        nothing = decision_quality([], [], [], population_confidence=pool)
        assert nothing.correct == undefined("none", 0, "no audited items")
        assert nothing.assumptions == ()
    with pytest.raises(ConfigError, match="population_n"):
        decision_quality([True], [0.5], [0.5], population_confidence=[])


def test_audits_under_two_plans_are_one_answer() -> None:
    rng = np.random.default_rng(8)
    pool = make_pool("overconfident", 0.078, rng)
    c = pool.confidence
    pi = np.where(
        rng.random(c.size) < 0.5,
        audit_probabilities(c, rate_prob=0.05).inclusion_prob(c),
        AuditPlan.uniform(0.2).inclusion_prob(c),
    )
    values = []
    for _ in range(60):
        a = rng.random(c.size) < pi
        value = decision_quality(pool.wrong[a], pi[a], c[a], population_confidence=c).error.value
        assert value is not None
        values.append(value)
    assert abs(np.mean(values) - 0.078) < 4 * np.std(values) / np.sqrt(60)


@pytest.mark.parametrize("n", [200, 1000])
@pytest.mark.parametrize("event", [0.078, 0.012])
@pytest.mark.parametrize("score", ["useful", "useless", "overconfident"])
def test_coverage_in_small(score: str, event: float, n: int) -> None:
    rng = np.random.default_rng([5, n, round(event * 1000)])
    pool = make_pool(score, event, rng)
    strata = audit_strata(pool.confidence)
    codes = strata.codes(pool.confidence)
    plan = audit_probabilities(pool.confidence, rate_prob=n / pool.wrong.size)
    pi = plan.inclusion_prob(pool.confidence)
    covered = []
    for _ in range(200):
        a = rng.random(pi.size) < pi
        found = error_rate(pool.wrong[a], pi[a], stratum=codes[a], stratum_sizes=strata.sizes)
        assert found.low is not None
        assert found.high is not None
        covered.append(found.low <= pool.rate <= found.high)
    assert np.mean(covered) >= at_least(0.93, 200)
