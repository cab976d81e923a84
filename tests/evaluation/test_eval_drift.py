"""Drift over days: few false alarms whatever the spread of days, quick ones for real shifts, and how alarms end."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.validity import drift as simulated
from benchmarks.validity.harness import at_most
from evaluation._arrays import FloatArray
from evaluation._drift_evidence import SIZES, DayScores, split_log_evidence
from evaluation.change_point import locate_change
from evaluation.drift import CategoryScorer, DriftDetector, OrderedScorer, replay, total_variation
from labelproof.spec.errors import ConfigError

LABELS = np.array([0.7, 0.2, 0.1])
DAY0 = 20_000


def days(
    n: int,
    shares: FloatArray,
    rng: np.random.Generator,
    concentration: float | None = 200.0,
    a_day: int = 400,
) -> FloatArray:
    return simulated.daily(shares, concentration, a_day)(n, rng)


def run(counts: FloatArray, *, threshold: float = 1825.0, **more: float) -> DriftDetector:
    names = tuple(f"c{i}" for i in range(counts.shape[1]))
    detector = DriftDetector(threshold=threshold, **more)  # type: ignore[arg-type]
    return replay(detector, np.arange(DAY0, DAY0 + len(counts)), CategoryScorer(counts=counts, names=names))


def test_the_evidence_is_the_bayes_factor_of_the_two_sample_t_test() -> None:
    """Against the integral that Gönen et al. (2005) solve: noncentral t over a normal effect, by quadrature."""
    from scipy.integrate import quad
    from scipy.stats import nct, norm, t

    rng = np.random.default_rng(3)
    x = rng.normal(5, 2, 15)
    x[11:] += 3
    before, after = x[:11], x[11:]
    pooled = (before.var() * 11 + after.var() * 4) / 13
    n_effective = 11 * 4 / 15
    statistic = (after.mean() - before.mean()) / math.sqrt(pooled / n_effective)
    by_hand = np.mean(
        [
            quad(
                lambda d, g=g: (
                    nct.pdf(statistic, 13, d * math.sqrt(n_effective)) * norm.pdf(d, 0, math.sqrt(g))
                ),
                -60,
                60,
                limit=400,
                points=[0.0, 2.0],
            )[0]
            / t.pdf(statistic, 13)
            for g in SIZES
        ]
    )
    scores = DayScores(x=x[:, None], v=np.zeros((15, 1)), names=("x",))
    found = split_log_evidence(scores, np.arange(15), np.zeros(15, dtype=np.bool_), 11)
    assert math.exp(found[0, 0]) == pytest.approx(by_hand, rel=1e-4)


@given(shift=st.floats(-50, 50), scale=st.floats(0.01, 100), seed=st.integers(0, 99))
def test_level_and_spread_of_the_days_do_not_matter(shift: float, scale: float, seed: int) -> None:
    x = np.random.default_rng(seed).normal(0, 1, (20, 2))
    none = np.zeros(20, dtype=np.bool_)
    both = [
        split_log_evidence(DayScores(x=y, v=np.zeros((20, 2)), names=("a", "b")), np.arange(20), none, 9)
        for y in (x, shift + scale * x)
    ]
    assert both[0] == pytest.approx(both[1], rel=1e-6, abs=1e-6)


def test_a_spread_below_what_sampling_gives_is_not_believed() -> None:
    """Twenty days with exactly the same share, and then one more item: without the floor a proof of anything."""
    counts = np.tile([[380.0, 20.0]], (20, 1))
    counts[-1] = [376, 24]
    assert run(counts[:19]).log_evidence is not None
    state = run(counts)
    assert state.log_evidence is not None
    assert state.log_evidence < math.log(20)
    assert not state.alarms


def test_small_simulations_keep_to_the_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(simulated, "DAYS", 50)
    rows = [
        *simulated._false_alarms(8, np.random.default_rng(1)),
        *simulated._text(3, np.random.default_rng(2)),
        *simulated._sentinel(100, np.random.default_rng(3)),
    ]
    assert [row for row in rows if row.holds is False] == []
    assert sum(row.holds is True for row in rows) >= 10
    chi = simulated._daily_test(10, np.random.default_rng(4))
    assert chi[1].value > 0.8  # what it is compared with does not keep to anything


def test_together_five_kinds_keep_to_the_bound_of_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(simulated, "DAYS", 50)
    rows = simulated._all_kinds(4, np.random.default_rng(5))
    assert all(row.holds for row in rows)
    assert rows[0].bound == at_most(50 / simulated.MEAN_DAYS, 4)


def test_a_gross_shift_alarms_on_its_first_day_and_a_clear_one_within_days() -> None:
    rng = np.random.default_rng(7)
    gross = run(np.vstack([days(28, LABELS, rng), days(3, np.array([0.3, 0.2, 0.5]), rng)]))
    assert [(alarm.at, alarm.change.at) for alarm in gross.alarms] == [(28, 28)]
    clear = run(np.vstack([days(28, LABELS, rng), days(10, np.array([0.58, 0.27, 0.15]), rng)]))
    assert clear.alarm is not None
    assert 28 <= clear.alarm.at <= 34
    assert clear.alarm.change.low <= 28 <= clear.alarm.change.high


def test_an_alarm_ends_when_the_traffic_returns() -> None:
    rng = np.random.default_rng(8)
    shifted = np.array([0.3, 0.2, 0.5])
    counts = np.vstack([days(20, LABELS, rng), days(4, shifted, rng), days(12, LABELS, rng)])
    state = run(counts)
    assert len(state.alarms) == 1
    alarm = state.alarms[0]
    assert (alarm.at, alarm.how) == (20, "returned")
    assert alarm.ended_at is not None
    assert 26 <= alarm.ended_at <= 30
    assert state.phase == "watching"
    assert not set(range(20, 24)) & set(state.reference)  # the incident is no reference for what comes


def test_an_alarm_ends_when_what_came_is_the_new_normal_and_the_next_shift_alarms_again() -> None:
    rng = np.random.default_rng(9)
    shifted = np.array([0.3, 0.2, 0.5])
    counts = np.vstack([days(20, LABELS, rng), days(20, shifted, rng), days(3, LABELS, rng)])
    state = run(counts)
    first, second = state.alarms
    assert (first.at, first.how) == (20, "new normal")
    assert first.ended_at is not None
    assert 33 <= first.ended_at <= 35  # seven days learned, seven days quiet
    assert 40 <= second.at <= 42
    assert second.ended_at is None


def test_weekends_of_their_own_level_are_no_drift() -> None:
    rng = np.random.default_rng(10)
    quiet = [run(simulated.weekends(70, rng), threshold=100.0) for _ in range(4)]
    assert not any(state.alarms for state in quiet)


def test_rare_and_new_categories_are_one_event() -> None:
    counts = np.zeros((12, 4))
    counts[:, 0], counts[:, 1], counts[:11, 2] = 300, 100, 1
    counts[11, 3] = 120
    scores = CategoryScorer(counts=counts, names=("en", "de", "fr", "es"))(np.arange(11))
    assert scores.names == ("en", "de", "rare and new ones together")
    assert scores.x[11, 2] > 3 * scores.x[10, 2]


def test_ordered_values_are_compared_below_the_reference_quantiles() -> None:
    counts = np.tile(np.full(10, 40.0), (9, 1))
    scorer = OrderedScorer(
        counts=counts, edges=tuple(float(i + 1) for i in range(10)), missing=np.array([0.0] * 8 + [9.0])
    )
    scores = scorer(np.arange(8))
    assert scores.names[-1] == "no value"
    assert scores.names[0] == "below 1"
    one = OrderedScorer(counts=np.array([[5.0], [6.0]]), edges=(1.0,))(np.arange(1))
    assert one.x.shape == (2, 1)


def test_what_is_no_table_of_counts_is_refused() -> None:
    with pytest.raises(ConfigError, match="found \\(2, 3\\)"):
        CategoryScorer(counts=np.ones((2, 3)), names=("a",))
    with pytest.raises(ConfigError, match="0 or more"):
        CategoryScorer(counts=np.array([[-1.0]]), names=("a",))
    with pytest.raises(ConfigError, match="order of time"):
        replay(
            DriftDetector(threshold=9),
            np.array([3, 3]),
            CategoryScorer(counts=np.ones((2, 1)), names=("a",)),
        )
    with pytest.raises(ConfigError, match="threshold"):
        DriftDetector(threshold=1.0)
    with pytest.raises(ConfigError, match="min_batches"):
        DriftDetector(threshold=9.0, min_batches=2)
    with pytest.raises(ConfigError, match="candidate"):
        locate_change([])


def test_the_change_point_interval_holds_its_share_of_the_posterior() -> None:
    found = locate_change(np.log([0.01, 0.3, 0.6, 0.08, 0.01]), first=100)
    assert (found.at, found.low, found.high) == (102, 101, 103)
    assert locate_change([5.0]).low == 0


def test_the_distance_is_near_nothing_without_a_change_and_covers_a_real_one() -> None:
    rng = np.random.default_rng(11)
    same = [
        total_variation(days(28, LABELS, rng), days(7, LABELS, rng), seed=1, resamples=100) for _ in range(20)
    ]
    assert float(np.mean([one.value or 0.0 for one in same])) < 0.02
    moved = np.array([0.6, 0.2, 0.2])
    real = [
        total_variation(days(28, LABELS, rng), days(7, moved, rng), seed=1, resamples=100) for _ in range(30)
    ]
    held = [one.low is not None and one.high is not None and one.low <= 0.1 <= one.high for one in real]
    assert sum(held) >= 22
    single = total_variation(days(9, LABELS, rng), days(1, moved, rng), seed=1, resamples=100)
    assert single.low is not None
    assert single.high is not None
    assert single.high > single.low
    assert total_variation(np.zeros((1, 2)), np.ones((1, 2)), seed=0).value is None
