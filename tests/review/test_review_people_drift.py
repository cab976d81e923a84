"""The test that a reviewer's accuracy fell: what it promises, how soon it notices, and its arithmetic."""

from __future__ import annotations

import math

import numpy as np
import pytest

from evaluation.monitors import drift_bets
from labelproof.review.people.drift import DELTA, OWN_LEVEL_CHECKS, below_bar, below_own_level, log_evidence
from labelproof.spec.errors import ConfigError

R = 300
N_CHECKS = 400


def at_most(bound: float) -> float:
    """The share among R that a probability of ``bound`` exceeds with probability below one in a thousand."""
    return bound + 3.1 * math.sqrt(bound * (1 - bound) / R)


def false_alarms(accuracies: np.ndarray, test: str, seed: int) -> float:
    """Share of R reviewers with these accuracies, one a check, about whom an alarm is ever raised."""
    rng = np.random.default_rng(seed)
    right = rng.random((R, accuracies.size)) < accuracies
    alarms = [below_bar(one, 0.9).alarm if test == "bar" else below_own_level(one).alarm for one in right]
    return float(np.mean(alarms))


@pytest.mark.parametrize(
    ("test", "accuracy"), [("bar", 0.9), ("bar", 0.95), ("own", 0.95), ("own", 0.8), ("own", 0.5)]
)
def test_who_keeps_the_level_is_hardly_ever_alarmed_about(test: str, accuracy: float) -> None:
    assert false_alarms(np.full(N_CHECKS, accuracy), test, 11) <= at_most(DELTA)


def test_labels_of_unequal_difficulty_raise_no_false_alarm() -> None:
    """Checks go round the labels: 99 %, 93 % and 78 % right are 90 % on average."""
    assert false_alarms(np.tile([0.99, 0.93, 0.78], 133), "bar", 12) <= at_most(DELTA)


@pytest.mark.parametrize("test", ["bar", "own"])
def test_a_fall_is_noticed_however_long_all_was_well(test: str) -> None:
    accuracies = np.concatenate([np.full(300, 0.96), np.full(100, 0.6)])
    assert false_alarms(accuracies, test, 13) >= 0.9


def test_the_fall_of_the_manual_is_noticed_as_soon_as_it_says() -> None:
    """docs/how-to/measure-reviewers.md: 96 % right, after 110 checks 70 %; 97 % noticed, half of them within 40 checks."""
    accuracies = np.concatenate([np.full(110, 0.96), np.full(150, 0.7)])
    right = np.random.default_rng(21).random((R, accuracies.size)) < accuracies
    alarms = np.array([below_own_level(one).alarm_at or np.inf for one in right])
    assert np.mean(np.isfinite(alarms)) >= 0.97 - 3.1 * math.sqrt(0.97 * 0.03 / R)
    assert abs(np.median(alarms[np.isfinite(alarms)]) - 150) <= 8


def test_the_money_is_one_fair_bet_after_another() -> None:
    """M by hand: every bet's own product, the k-th started every tenth check with 1/(k(k+1)), the rest unspent."""
    rng = np.random.default_rng(3)
    wrong, limit = rng.random(57) < 0.3, 0.2
    money = []
    for n in range(1, wrong.size + 1):
        total = 0.0
        for bet in drift_bets(limit):
            ratio = 1 + bet * (wrong[:n] - limit) / limit
            begun = range(0, n, 10)
            total += sum(ratio[s:].prod() / ((k + 1) * (k + 2)) for k, s in enumerate(begun))
            total += 1 / (len(begun) + 1)
        money.append(total / drift_bets(limit).size)
    assert np.exp(log_evidence(wrong, limit)) == pytest.approx(money)


def test_the_mean_of_the_money_at_the_limit_is_one() -> None:
    """Exactly, over all 2^11 courses of eleven checks: past the start of the second bet."""
    limit, n = 0.3, 11
    courses = (np.arange(2**n)[:, None] >> np.arange(n)) & 1 == 1
    prob = np.where(courses, limit, 1 - limit).prod(axis=1)
    money = np.array([np.exp(log_evidence(course, limit)) for course in courses])
    assert prob @ money == pytest.approx(np.ones(n))


def test_an_alarm_stays_and_names_the_change() -> None:
    right = np.concatenate([np.ones(60), np.zeros(20), np.ones(200)]).astype(bool)
    found = below_bar(right, 0.9)
    assert found.alarm_at is not None
    assert 60 < found.alarm_at <= 80
    assert found.change_at == 61
    assert below_bar(right[: found.alarm_at], 0.9).alarm_at == found.alarm_at
    assert not below_bar(right[: found.alarm_at - 1], 0.9).alarm
    assert (found.n, found.level, found.e_needed) == (280, 0.9, 20)
    assert found.method.startswith("e-process")


def test_the_own_level_is_counted_from_the_first_check() -> None:
    n = OWN_LEVEL_CHECKS[0]
    found = below_own_level(np.concatenate([np.ones(n), np.zeros(40)]).astype(bool))
    assert found.level == pytest.approx(0.0125 ** (1 / n))  # Clopper-Pearson: n of n right
    assert found.change_at == n + 1
    assert found.alarm_at is not None
    assert found.alarm_at > n
    assert (found.n, found.e_needed, found.false_alarm_prob) == (40, 80, 0.05)


def test_a_longer_record_tells_a_level_better() -> None:
    """From 97 % to 80 %: the first 30 checks alone would allow for it, the first 100 do not."""
    good = np.arange(100) % 33 != 7
    found = below_own_level(np.concatenate([good, np.arange(150) % 5 != 0]))
    assert found.alarm_at is not None
    assert found.alarm_at > 100
    assert found.n == 150
    assert found.level is not None
    assert 0.88 < found.level < 0.94
    assert found.change_at == 101


def test_what_cannot_be_tested_says_why() -> None:
    assert below_bar([], 0.9).reason == "no checks answered"
    assert below_bar([True], None).e_value is None
    few = below_own_level([True] * 30)
    assert few.reason == "30 of the 31 checks that it takes: 30 tell the earlier level"
    hopeless = below_own_level([False] * 50)
    assert hopeless.reason == "all of the first 30 checks were wrong: nothing to fall from"
    assert hopeless.n == 20
    for bar in (0.0, 1.0, 90.0):
        with pytest.raises(ConfigError, match="above 0 and below 1"):
            below_bar([True], bar)


def test_no_course_overflows() -> None:
    found = below_bar(np.zeros(5000, dtype=bool), 0.999)
    assert found.e_value is not None
    assert math.isfinite(found.e_value)
    assert below_bar(np.ones(5000, dtype=bool), 0.001).e_value is not None
