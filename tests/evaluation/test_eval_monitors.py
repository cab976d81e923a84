"""Monitors: e-values by numerical integration, recursions by hand, and what peeking does to them."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate, stats

from benchmarks.validity.harness import at_most
from benchmarks.validity.monitors import LIMIT, daily_counts, ever_above, first_alarm_at
from evaluation import DriftMonitor, SlaMonitor, sla_e_values, sla_log_e_values
from evaluation._e_processes import _log_tail_by_fraction, log_beta_above, shiryaev_roberts
from evaluation.monitors import drift_bets
from labelproof.spec.errors import ConfigError


@pytest.mark.parametrize(
    ("errors", "n", "limit"), [(0, 0, 0.05), (0, 40, 0.05), (9, 60, 0.05), (30, 900, 0.02)]
)
def test_sla_e_values_by_numerical_integration(errors: int, n: int, limit: float) -> None:
    def ratio(p: float) -> float:
        if p >= 1:
            return 0.0 if errors < n else limit**-errors
        return math.exp(errors * math.log(p / limit) + (n - errors) * math.log((1 - p) / (1 - limit)))

    def prior(p: float) -> float:
        return math.exp((1 / limit - 1) * math.log1p(-p)) if p < 1 else 0.0

    top = integrate.quad(lambda p: ratio(p) * prior(p), limit, 1, epsabs=0)[0]
    expected = top / integrate.quad(prior, limit, 1, epsabs=0)[0]
    assert sla_e_values([errors], [n], limit) == pytest.approx(expected, rel=1e-7)


def test_the_e_value_has_mean_one_at_the_limit_and_less_below() -> None:
    n, k = 120, np.arange(121)
    e = sla_e_values(k, np.full(121, n), LIMIT)
    assert stats.binom.pmf(k, n, LIMIT) @ e == pytest.approx(1.0, rel=1e-9)
    assert stats.binom.pmf(k, n, 0.6 * LIMIT) @ e < 1


@pytest.mark.parametrize(("a", "b"), [(3.0, 500.0), (30.0, 3000.0), (2.0, 40.0)])
def test_both_ways_to_the_beta_tail_agree(a: float, b: float) -> None:
    arrays = np.array([a]), np.array([b])
    assert _log_tail_by_fraction(*arrays, 0.1) == pytest.approx(log_beta_above(*arrays, 0.1), rel=1e-10)


def test_a_million_audits_do_not_overflow() -> None:
    size = 1_000_000
    rates = np.array([0.0, 0.04, 0.05, 0.5, 1.0])
    log_e = sla_log_e_values(np.round(rates * size), np.full(5, size), LIMIT)
    assert np.isfinite(log_e).all()
    assert (np.diff(log_e) > 0).all()
    assert log_e[0] > -30, "the prior keeps some weight next to the limit"
    assert np.isfinite(sla_e_values([size], [size], LIMIT)).all()
    monitor = SlaMonitor(limit=LIMIT).update(np.ones(20_000, dtype=np.bool_))
    assert math.isfinite(monitor.e_value)
    drift = DriftMonitor(baseline=0.03).update(np.zeros(20_000, dtype=np.bool_))
    assert np.isfinite(drift.path).all()
    assert np.isfinite(drift.update(np.ones(20_000, dtype=np.bool_)).path).all()


@settings(deadline=None, max_examples=40)
@given(st.lists(st.booleans(), max_size=60), st.integers(0, 60))
def test_how_audits_arrive_does_not_matter(wrong: list[bool], cut: int) -> None:
    pi = np.linspace(0.02, 0.4, len(wrong))
    weighted = SlaMonitor(limit=0.1, min_inclusion_prob=0.01)
    for at_once, in_parts in (
        (SlaMonitor(limit=0.1).update(wrong), SlaMonitor(limit=0.1).update(wrong[:cut]).update(wrong[cut:])),
        (weighted.update(wrong, pi), weighted.update(wrong[:cut], pi[:cut]).update(wrong[cut:], pi[cut:])),
    ):
        assert (at_once.n, at_once.errors, at_once.alarm_at) == (
            in_parts.n,
            in_parts.errors,
            in_parts.alarm_at,
        )
        assert at_once.log_e == pytest.approx(in_parts.log_e, abs=1e-9)
    whole = DriftMonitor(baseline=0.1, mean_run=20).update(wrong)
    parts = DriftMonitor(baseline=0.1, mean_run=20).update(wrong[:cut]).update(wrong[cut:])
    assert whole.path == pytest.approx(parts.path, abs=1e-9)
    assert (whole.alarm_at, whole.change_at) == (parts.alarm_at, parts.change_at)


def test_an_sla_alarm_names_its_audit_and_stays() -> None:
    quiet = SlaMonitor(limit=0.05).update([False] * 100)
    assert not quiet.alarm
    assert quiet.e_value < 1
    loud = quiet.update([True] * 25)
    assert loud.alarm
    assert loud.alarm_at is not None
    running = sla_e_values(np.arange(1, 26), 100 + np.arange(1, 26), 0.05)
    assert loud.alarm_at == 101 + int(np.argmax(running >= 20))
    later = loud.update([False] * 5000)
    assert later.e_value < 20
    assert (later.alarm, later.alarm_at) == (True, loud.alarm_at)
    assert loud.update([]) is loud


def test_anytime_interval_holds_no_rejected_rate() -> None:
    monitor = SlaMonitor(limit=0.05).update([True] * 7 + [False] * 93)
    found = monitor.anytime_interval(0.9)
    assert found.low is not None
    assert found.high is not None
    for p, inside in ((found.low, 0), (found.high, 0), (found.low + 1e-4, 1), (found.high - 1e-4, 1)):
        evidence = stats.betabinom.logpmf(7, 100, 1, 20) - stats.binom.logpmf(7, 100, p)
        assert np.sign(np.round(math.log(10) - evidence, 6)) == inside
    fixed = stats.binomtest(7, 100).proportion_ci(0.9)
    assert found.low < fixed.low < fixed.high < found.high
    nothing, everything = (SlaMonitor(limit=0.05).update([x] * 50).anytime_interval() for x in (False, True))
    assert (nothing.low, nothing.value, everything.value, everything.high) == (0.0, 0.0, 1.0, 1.0)
    assert SlaMonitor(limit=0.05).anytime_interval().reason == "no audited items"
    weighted = SlaMonitor(limit=0.05, min_inclusion_prob=0.1).anytime_interval()
    assert weighted.reason is not None
    assert "weighted" in weighted.reason


def test_weighted_bets_are_fair_at_the_limit() -> None:
    # Two kinds of items, half each, error rates .02 and .08: on average at the limit .05. Audits favour the second.
    pi, risk = np.array([0.01, 0.04]), np.array([0.02, 0.08])
    share = pi / pi.sum()
    start = SlaMonitor(limit=0.05, min_inclusion_prob=0.01)
    mean = sum(
        share[kind] * (risk[kind] if wrong else 1 - risk[kind]) * start.update([wrong], [pi[kind]]).e_value
        for kind in (0, 1)
        for wrong in (False, True)
    )
    assert mean == pytest.approx(1.0)
    assert share @ risk > 0.05, "unweighted, the audits would look worse than the limit"


@pytest.mark.parametrize("make", [SlaMonitor(limit=0.05), DriftMonitor(baseline=0.05)], ids=["sla", "drift"])
def test_unequal_probabilities_without_a_bound_are_refused(make: SlaMonitor | DriftMonitor) -> None:
    with pytest.raises(ConfigError, match="min_inclusion_prob"):
        make.update([True, False], [0.1, 0.2])
    assert make.update([True, False], [0.1, 0.1]).n == 2


def test_weights_beyond_the_bound_and_missing_ones_are_refused() -> None:
    monitor = SlaMonitor(limit=0.05, min_inclusion_prob=0.1)
    with pytest.raises(ConfigError, match="at index 1"):
        monitor.update([True, False], [0.1, 0.05])
    with pytest.raises(ConfigError, match="found none"):
        monitor.update([True])
    with pytest.raises(ConfigError, match="one value per item"):
        monitor.update([True], [0.1, 0.1])
    assert monitor.update([]) is monitor


def test_weighted_drift_rises_with_the_population() -> None:
    monitor = DriftMonitor(baseline=0.05, mean_run=50, min_inclusion_prob=0.02)
    assert monitor.update([True] * 30, [0.04] * 30).alarm


def test_shiryaev_roberts_is_its_recursion() -> None:
    rng = np.random.default_rng(5)
    log_ratio, m = rng.normal(-0.1, 0.5, (50, 2)), np.array([0.0, 3.0])
    closed = shiryaev_roberts(log_ratio, np.array([-np.inf, np.log(3.0)]))
    for t in range(50):
        m = (m + 1) * np.exp(log_ratio[t])
        assert closed[t] == pytest.approx(np.log(m))


def test_drift_path_by_hand_and_change_point_by_search() -> None:
    rng = np.random.default_rng(8)
    wrong = np.concatenate([rng.random(150) < 0.05, rng.random(150) < 0.4])
    monitor = DriftMonitor(baseline=0.05, mean_run=200).update(wrong)
    bets = drift_bets(0.05)
    ratios = np.where(wrong[:, None], 1 + bets * 0.95 / 0.05, 1 - bets)
    m = np.zeros(4)
    for t in range(20):
        m = (m + 1) * ratios[t]
        assert monitor.path[t] == pytest.approx(math.log(m.mean()))
    tails = np.cumsum(np.log(ratios)[::-1], axis=0)[::-1]
    assert monitor.change_at == 1 + int(np.unravel_index(tails.argmax(), tails.shape)[0])
    assert monitor.alarm_at is not None
    assert monitor.alarm_at == 1 + int(np.argmax(monitor.path >= math.log(200)))
    assert abs(monitor.change_at - 151) < 30


def test_drift_bets_are_likelihood_ratios_of_raised_odds() -> None:
    bets = drift_bets(0.2)
    raised = 0.2 + bets * 0.8
    assert raised / (1 - raised) == pytest.approx(np.array([1.5, 2, 3, 5]) * 0.25)


def test_no_audits_and_no_change() -> None:
    start = DriftMonitor(baseline=0.05)
    assert start.update([]) is start
    assert (start.alarm, start.change_at, start.path.size) == (False, None, 0)
    assert start.update([False] * 40).change_at is None


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: SlaMonitor(limit=0.0), "limit"),
        (lambda: SlaMonitor(limit=0.1, delta=1.0), "delta"),
        (lambda: SlaMonitor(limit=0.1, min_inclusion_prob=0.0), "min_inclusion_prob"),
        (lambda: DriftMonitor(baseline=1.0), "baseline"),
        (lambda: DriftMonitor(baseline=0.1, mean_run=1.0), "mean_run"),
        (lambda: DriftMonitor(baseline=0.1, min_inclusion_prob=2.0), "min_inclusion_prob"),
        (lambda: SlaMonitor(limit=0.1).update([0.5]), "true/false"),
        (lambda: SlaMonitor(limit=0.1).anytime_interval(2.0), "level"),
        (lambda: sla_e_values([3], [2], 0.1), "errors <= n"),
        (lambda: sla_e_values([1, 2], [2], 0.1), "one value per item"),
        (lambda: sla_e_values([float("nan")], [2], 0.1), "errors_cumulative"),
    ],
    ids=[
        "limit",
        "delta",
        "sla-pi",
        "baseline",
        "run",
        "drift-pi",
        "bool",
        "level",
        "counts",
        "lengths",
        "nan",
    ],
)
def test_bad_monitors_are_refused(make: object, message: str) -> None:
    assert callable(make)
    with pytest.raises(ConfigError, match=message):
        make()


def test_daily_looks_in_small() -> None:
    rng = np.random.default_rng(12)
    errors, n = daily_counts(LIMIT, 300, rng)
    assert ever_above(errors, n, math.log(20)).mean() <= at_most(0.05, 300)
    repeated = np.any(stats.binom.sf(errors - 1, n, LIMIT) <= 0.05, axis=1)
    assert repeated.mean() > 0.12, "a fixed-time test looked at daily alarms far too often"
    worse, n = daily_counts(2 * LIMIT, 100, rng)
    assert ever_above(worse, n, math.log(20)).mean() > 0.9


def test_drift_delay_in_small() -> None:
    rng = np.random.default_rng(13)
    fresh = np.full((100, 4), -np.inf)
    assert first_alarm_at(rng.random((100, 1000)) < 0.1, fresh).mean() <= 130
    quiet = first_alarm_at(rng.random((100, 4000)) < 0.03, fresh)
    assert quiet.mean() >= 1000, "runs cut at 4001 give a lower bound of the mean run length"
