"""Two streams compared at every observation: false alarms are bounded, real damage is seen."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluation.two_streams import MOST_PER_BLOCK, bets, block_size, two_streams
from labelproof.spec.errors import ConfigError

DELTA = 0.05


def alarms(
    old: float, new: float, *, margin: float, share: float, n: int, times: int, seed: int
) -> list[int | None]:
    rng, block = np.random.default_rng(seed), block_size(share)
    return [
        two_streams(
            rng.random(n * block) < old, rng.random(n) < new, margin=margin, delta=DELTA, per_block=block
        ).alarm_at
        for _ in range(times)
    ]


@pytest.mark.parametrize(
    ("rate", "margin", "share"), [(0.05, 0.0, 0.5), (0.05, 0.0, 0.1), (0.4, 0.0, 0.5), (0.02, 0.02, 0.1)]
)
def test_a_stream_at_the_margin_is_rarely_ever_alarmed(rate: float, margin: float, share: float) -> None:
    found = alarms(rate, rate + margin, margin=margin, share=share, n=800, times=300, seed=3)
    assert sum(at is not None for at in found) <= 300 * DELTA + 1.64 * math.sqrt(300 * DELTA * (1 - DELTA))


def test_a_drift_that_both_share_raises_no_alarm() -> None:
    rng = np.random.default_rng(5)
    rate = np.linspace(0.02, 0.6, 1000)
    found = [
        two_streams(rng.random(1000) < rate, rng.random(1000) < rate, margin=0.0, delta=DELTA).alarm
        for _ in range(200)
    ]
    assert sum(found) <= 200 * DELTA + 1.64 * math.sqrt(200 * DELTA * (1 - DELTA))


@pytest.mark.parametrize(("new", "within"), [(0.3, 120), (0.15, 400), (0.1, 900)])
def test_damage_is_seen(new: float, within: int) -> None:
    found = alarms(0.04, new, margin=0.02, share=0.1, n=within, times=60, seed=11)
    assert sum(at is not None for at in found) >= 48


def test_the_evidence_is_the_mean_of_the_bets_by_hand() -> None:
    found = two_streams([0, 1, 0, 0], [1, 0], margin=0.1, delta=0.05, per_block=2)
    by_hand = np.prod(1 + np.outer([1 - 0.5 - 0.1, 0 - 0 - 0.1], bets()) / 1.1, axis=0).mean()
    assert found.e_value == pytest.approx(by_hand, rel=1e-12)
    assert (found.n_blocks, found.e_needed, found.old.value, found.new.value) == (2, 20.0, 0.25, 0.5)


@given(st.lists(st.booleans(), max_size=30), st.lists(st.booleans(), max_size=30), st.integers(1, 5))
def test_an_alarm_stays_and_leftovers_wait(old: list[bool], new: list[bool], block: int) -> None:
    found = two_streams(old, new, margin=0.0, delta=0.2, per_block=block)
    more = two_streams([*old, False], new, margin=0.0, delta=0.2, per_block=block)
    assert found.n_blocks == min(len(old) // block, len(new))
    assert found.e_value > 0
    if found.alarm:
        assert more.alarm_at == found.alarm_at
    assert (found.reason is None) == (found.n_blocks > 0)


def test_blocks_follow_the_share() -> None:
    assert [block_size(share) for share in (0.5, 0.25, 0.1, 0.01, 0.9, 0.0)] == [
        1,
        3,
        9,
        MOST_PER_BLOCK,
        1,
        1,
    ]


@pytest.mark.parametrize("bad", [{"margin": -0.1}, {"delta": 0.0}, {"per_block": 0}])
def test_settings_outside_their_range_are_refused(bad: dict[str, float]) -> None:
    given_ = {"margin": 0.0, "delta": 0.05, "per_block": 1, **bad}
    with pytest.raises(ConfigError, match="expected margin >= 0"):
        two_streams([True], [False], **given_)  # type: ignore[arg-type]
