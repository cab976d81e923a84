"""E-values of discordant pairs and of splits: means, integrals and what peeking does to them."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate, stats
from scipy.special import gammaln

from evaluation.sequential import CONCENTRATIONS, EarlyStop, SrmMonitor, discordant_e_value, srm_e_value
from labelproof.spec.errors import ConfigError


@pytest.mark.parametrize(("wins", "losses"), [(0, 0), (5, 1), (30, 12), (3, 9)])
def test_the_e_value_is_the_mixture(wins: int, losses: int) -> None:
    def ratio(p: float) -> float:
        return stats.beta.pdf(p, 2, 2) * (2 * p) ** wins * (2 * (1 - p)) ** losses

    assert discordant_e_value(wins, losses) == pytest.approx(integrate.quad(ratio, 0, 1)[0], rel=1e-8)


def test_it_has_mean_one_when_neither_is_better() -> None:
    n = 60
    e = [discordant_e_value(w, n - w) for w in range(n + 1)]
    assert stats.binom.pmf(np.arange(n + 1), n, 0.5) @ e == pytest.approx(1)
    assert stats.binom.pmf(np.arange(n + 1), n, 0.8) @ e > 20


def test_it_never_overflows() -> None:
    assert math.isfinite(discordant_e_value(1_000_000, 0))
    assert 0 < discordant_e_value(500_000, 500_000) < 1
    with pytest.raises(ConfigError, match="counts >= 0"):
        discordant_e_value(-1, 0)


@settings(deadline=None, max_examples=50)
@given(st.lists(st.booleans(), max_size=80), st.integers(0, 80))
def test_early_stop_keeps_its_first_alarm(won: list[bool], cut: int) -> None:
    at_once, in_parts = EarlyStop().update(won), EarlyStop().update(won[:cut]).update(won[cut:])
    assert at_once == in_parts
    path = [discordant_e_value(sum(won[:i]), i - sum(won[:i])) for i in range(len(won) + 1)]
    assert at_once.p_value == pytest.approx(1 / max(path))
    assert at_once.e_value == pytest.approx(path[-1])
    reached = [i for i, e in enumerate(path) if e >= 20 * (1 - 1e-12)]
    assert at_once.stopped_at == (reached[0] if reached else None)
    assert at_once.stop == bool(reached)


def test_early_stop_says_who_won() -> None:
    assert EarlyStop().update([True] * 12).direction == "b"
    assert EarlyStop().update([False] * 12).direction == "a"
    assert EarlyStop().direction is None
    assert EarlyStop().update([True] * 9).stopped_at == 9
    with pytest.raises(ConfigError, match="alpha"):
        EarlyStop(alpha=0)


def test_srm_is_the_dirichlet_mixture() -> None:
    counts, shares = np.array([40, 25, 15]), np.array([0.5, 0.3, 0.2])
    each = []
    for c in CONCENTRATIONS:
        prior = c * shares
        each.append(
            gammaln(c)
            - gammaln(c + 80)
            + (gammaln(prior + counts) - gammaln(prior)).sum()
            - counts @ np.log(shares)
        )
    assert srm_e_value([40, 25, 15], [0.5, 0.3, 0.2]) == pytest.approx(np.exp(each).mean(), rel=1e-9)
    flat = float(stats.betabinom.pmf(9, 12, 1, 1) / stats.binom.pmf(9, 12, 0.5))
    one = np.exp(gammaln(2) - gammaln(14) + gammaln(10) + gammaln(4) + 12 * math.log(2))
    assert one == pytest.approx(flat)


def test_srm_has_mean_one_and_sees_gross_and_fine_deviations() -> None:
    k = np.arange(201)
    e = [srm_e_value([int(i), int(200 - i)], [0.9, 0.1]) for i in k]
    assert stats.binom.pmf(k, 200, 0.9) @ e == pytest.approx(1)
    assert srm_e_value([20, 0], [0.5, 0.5]) > 100, "a side that never answers"
    assert srm_e_value([10_400, 9_600], [0.5, 0.5]) > 100, "52 : 48"
    assert srm_e_value([10_050, 9_950], [0.5, 0.5]) < 1
    assert srm_e_value([0, 0], [0.5, 0.5]) == pytest.approx(1)
    assert math.isfinite(srm_e_value([10**7, 0], [0.5, 0.5]))


def test_the_monitor_keeps_its_alarm() -> None:
    monitor = SrmMonitor(shares=(0.5, 0.5)).update([10, 9])
    assert monitor.alarm_at is None
    alarmed = monitor.update([60, 10])
    assert alarmed.alarm_at == 89
    later = alarmed.update([0, 50])
    assert (later.alarm_at, later.counts) == (89, (70, 69))
    assert later.e_value < 1
    assert later.p_value == alarmed.p_value <= 0.01
    with pytest.raises(ConfigError, match="2 counts"):
        monitor.update([1])
    for shares in ((0.5, 0.6), (1.0,), (0.0, 1.0)):
        with pytest.raises(ConfigError, match="shares"):
            SrmMonitor(shares=shares)
