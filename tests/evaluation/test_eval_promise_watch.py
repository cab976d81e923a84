"""Evidence against a promise: rare false alarms over many looks, quick after a long good time, exact arithmetic."""

from __future__ import annotations

import math

import numpy as np
import pytest

from evaluation.monitors import sla_log_e_values
from evaluation.promise_watch import HORIZON, agreement_gains, combined, watch_counts, watch_gains
from labelproof.spec.errors import ConfigError

DELTA, LIMIT, DAYS, A_DAY, R = 0.05, 0.05, 60, 25, 200
MOST = DELTA + 3 * math.sqrt(DELTA * (1 - DELTA) / R)
"""Bound of a simulation with R worlds, as in evaluation-science."""


def ever(bad: np.ndarray, n: np.ndarray, limit: float = LIMIT) -> int | None:
    """Return the first of the daily looks that alarms (1 = the first day); None without."""
    looks = range(1, bad.size + 1)
    return next((t for t in looks if watch_counts(bad[:t], n[:t], limit, delta=DELTA).alarm), None)


@pytest.mark.parametrize("a_day", [10, A_DAY, 100])
def test_false_alarms_over_sixty_daily_looks_keep_to_delta(a_day: int) -> None:
    rng = np.random.default_rng(a_day)
    n = np.full(DAYS, a_day)
    alarms = sum(ever(rng.binomial(a_day, LIMIT, DAYS), n) is not None for _ in range(R))
    assert alarms / R <= MOST


def test_false_alarms_with_unequal_chances_keep_to_delta() -> None:
    rng = np.random.default_rng(5)
    alarms = 0
    for _ in range(R):
        prob = rng.choice([0.02, 0.1, 0.5], size=A_DAY * DAYS)
        # Drawn more often where errors are likelier: what was drawn has far more errors than the population.
        risk = np.where(prob == 0.5, 0.2, np.where(prob == 0.1, 0.08, 0.0263))
        wrong = rng.random(prob.size) < risk
        days = np.repeat(np.arange(DAYS), A_DAY)
        mean = float((risk / prob).sum() / (1 / prob).sum())
        gain = (0.02 / prob) * (wrong - mean) / mean
        looks = (
            watch_gains(gain[: t * A_DAY], days[: t * A_DAY], t, delta=DELTA) for t in range(5, DAYS + 1, 5)
        )
        alarms += any(look.alarm for look in looks)
    assert alarms / R <= MOST


def test_a_change_after_a_long_good_time_is_found_in_days() -> None:
    rng = np.random.default_rng(1)
    good, n = 100, np.full(130, A_DAY)
    ours, theirs = [], []
    for _ in range(40):
        bad = np.concatenate([rng.binomial(A_DAY, 0.02, good), rng.binomial(A_DAY, 0.15, 30)])
        found = next(
            t for t in range(good + 1, 131) if watch_counts(bad[:t], n[:t], LIMIT, delta=DELTA).alarm
        )
        ours.append(found - good)
        plain = sla_log_e_values(np.cumsum(bad), np.cumsum(n), LIMIT)[good:] >= -math.log(DELTA)
        theirs.append(int(np.argmax(plain)) + 1 if plain.any() else 31)
    assert np.mean(ours) <= 7
    assert np.mean(theirs) > 20


def test_the_change_is_dated() -> None:
    bad = np.array([0] * 20 + [8] * 5)
    found = watch_counts(bad, np.full(25, A_DAY), LIMIT, delta=DELTA)
    assert found.alarm
    assert found.change_at == 20


def test_one_block_is_the_sla_monitor_with_half_of_the_money() -> None:
    single = watch_counts([9], [50], LIMIT, delta=DELTA)
    plain = math.exp(float(sla_log_e_values([9], [50], LIMIT)[0]))
    assert single.e_value == pytest.approx(0.5 * plain + 0.5)
    assert watch_counts([9], [50], LIMIT, delta=DELTA, horizon=1).e_value == pytest.approx(plain)


def test_the_money_is_a_fair_game() -> None:
    """The mean evidence at the limit is 1, exactly: summed over all outcomes of three days with two audits each."""
    total = 0.0
    choose = [1, 2, 1]
    for a in range(3):
        for b in range(3):
            for c in range(3):
                chance = math.prod(choose[k] * 0.3**k * 0.7 ** (2 - k) for k in (a, b, c))
                total += chance * watch_counts([a, b, c], [2, 2, 2], 0.3, delta=DELTA).e_value
    assert total == pytest.approx(1.0)


def test_gains_are_a_fair_game_too() -> None:
    total = 0.0
    for bits in range(16):
        wrong = np.array([(bits >> k) & 1 for k in range(4)], dtype=float)
        chance = float(np.prod(np.where(wrong == 1, 0.3, 0.7)))
        gain = np.array([1.0, 0.5, 0.25, 1.0]) * (wrong - 0.3) / 0.3
        total += chance * watch_gains(gain, [0, 0, 1, 2], 3, delta=DELTA).e_value
    assert total == pytest.approx(1.0)


def test_agreement_at_the_promise_keeps_to_delta_and_below_it_alarms() -> None:
    rng = np.random.default_rng(3)

    def looks(agree: float) -> bool:
        n = 40 * DAYS
        truth = rng.integers(0, 2, n)
        votes = np.where(rng.random((2, n)) < agree, truth, 1 - truth)
        pairs = votes.reshape(2, n // 2, 2)
        within = (pairs[0] != pairs[1]).mean(axis=1)
        apart = (pairs[:, None, :, 0] != pairs[None, :, :, 1]).mean(axis=(0, 1))
        gain, days = agreement_gains(within, apart, 0.64), np.repeat(np.arange(DAYS), 20)
        every = range(5, DAYS + 1, 5)
        return any(watch_gains(gain[: 20 * t], days[: 20 * t], t, delta=DELTA).alarm for t in every)

    # Two votes that are each right with probability p have alpha = (2p - 1)^2 on balanced items: .64 at p = .9.
    assert sum(looks(0.9) for _ in range(R)) / R <= MOST
    assert sum(looks(0.8) for _ in range(20)) == 20


def test_streams_share_the_money() -> None:
    loud = watch_counts([40], [50], LIMIT, delta=DELTA)
    quiet = watch_counts([0], [500], LIMIT, delta=DELTA)
    both = combined([(quiet, 0.5), (loud, 0.125)], delta=DELTA)
    assert both.e_value == pytest.approx(0.5 * quiet.e_value + 0.125 * loud.e_value + 0.375)
    assert both.alarm
    assert combined([], delta=DELTA).e_value == pytest.approx(1.0)
    with pytest.raises(ConfigError, match="shares"):
        combined([(quiet, 0.7), (loud, 0.4)], delta=DELTA)


def test_nothing_observed_is_no_evidence_and_nonsense_is_refused() -> None:
    assert watch_counts([0, 0], [0, 0], LIMIT, delta=DELTA).e_value == 1
    assert watch_gains([], [], 3, delta=DELTA).e_value == 1
    for call in (
        lambda: watch_counts([2], [1], LIMIT, delta=DELTA),
        lambda: watch_counts([0] * (HORIZON + 1), [1] * (HORIZON + 1), LIMIT, delta=DELTA),
        lambda: watch_counts([0], [1], 1.0, delta=DELTA),
        lambda: watch_gains([-1.5], [0], 1, delta=DELTA),
        lambda: watch_gains([0.1, 0.1], [1, 0], 2, delta=DELTA),
        lambda: agreement_gains([0.1], [0.5], 1.0),
    ):
        with pytest.raises(ConfigError):
            call()
