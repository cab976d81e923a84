"""Parts of a change: they sum to it, they name what was planted, and their intervals hold."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evaluation.decomposition import (
    Decomposition,
    Flips,
    SameItems,
    decompose,
    slice_codes,
)
from labelproof.spec.errors import ConfigError


@st.composite
def _rows(draw: st.DrawFn) -> dict[str, object]:
    n = draw(st.integers(2, 40))
    period = [0, 1, *draw(st.lists(st.integers(0, 1), min_size=n - 2, max_size=n - 2))]

    def bools() -> list[bool]:
        return draw(st.lists(st.booleans(), min_size=n, max_size=n))

    same: SameItems | Flips | None = draw(
        st.one_of(
            st.none(),
            st.builds(
                lambda lost, gained: SameItems(n=30, lost=lost, gained=gained),
                st.integers(0, 15),
                st.integers(0, 15),
            ),
            st.builds(lambda changed: Flips(n=30, changed=changed, floor_prob=0.02), st.integers(0, 30)),
        )
    )
    return {
        "period": period,
        "slice_code": draw(st.lists(st.integers(0, 5), min_size=n, max_size=n)),
        "right": bools(),
        "weight": draw(st.lists(st.floats(0.5, 50), min_size=n, max_size=n)),
        "suspect": bools(),
        "right_one_gold": bools(),
        "new_version": bools(),
        "same_items": same,
    }


@settings(max_examples=150)
@given(_rows())
def test_parts_and_slices_sum_to_the_change(rows: dict[str, object]) -> None:
    found = decompose(**rows, resamples=20)  # type: ignore[arg-type]
    period, right, weight = (np.asarray(rows[k], dtype=float) for k in ("period", "right", "weight"))
    rates = [np.average(right[period == t], weights=weight[period == t]) for t in (0, 1)]
    assert found.change == pytest.approx(rates[1] - rates[0], abs=1e-9)
    assert sum(part.value for part in found.parts) == pytest.approx(found.change, abs=1e-9)
    assert sum(one.mix + one.within for one in found.slices) == pytest.approx(found.change, abs=1e-9)
    assert sum(one.mix for one in found.slices) == pytest.approx(found.part("mix").value, abs=1e-9)
    for part in found.parts:
        assert part.low is None or part.low <= part.value <= (part.high or 0.0)
        assert part.measured or part.value == pytest.approx(0.0, abs=1e-9) or part.name == "reviewers"


def _world(
    n: int,
    rng: np.random.Generator,
    *,
    shares: tuple[float, float] = (0.2, 0.2),
    rates: tuple[tuple[float, float], tuple[float, float]] = ((0.95, 0.7), (0.95, 0.7)),
) -> tuple[np.ndarray[tuple[int], np.dtype[np.int64]], ...]:
    """Two slices; ``shares`` of slice 1 and ``rates`` of slices 0 and 1, by period."""
    period = np.repeat([0, 1], n)
    code = (rng.random(2 * n) < np.repeat(shares, n)).astype(np.int64)
    right = (rng.random(2 * n) < np.asarray(rates)[period, code]).astype(np.int64)
    return period, code, right


def test_a_mix_shift_alone_is_mix() -> None:
    found = decompose(*_world(20_000, np.random.default_rng(1), shares=(0.1, 0.5)), resamples=20)
    assert found.part("mix").value == pytest.approx(-0.1, abs=0.01)
    assert found.part("unexplained").value == pytest.approx(0.0, abs=0.01)
    assert [part.measured for part in found.parts] == [True, False, True, True]
    worst = min(found.slices, key=lambda one: one.mix)
    assert worst.code == 1
    assert worst.share_after == pytest.approx(0.5, abs=0.02)


def test_what_the_sentinel_confirms_is_behaviour_and_no_more() -> None:
    drop = _world(20_000, np.random.default_rng(2), rates=((0.95, 0.7), (0.85, 0.6)))
    for same, wanted, left in (
        (SameItems(n=100, lost=10, gained=0), -0.1, 0.0),
        (SameItems(n=100, lost=30, gained=0), -0.1, 0.0),
        (SameItems(n=100, lost=5, gained=0), -0.05, -0.05),
        (SameItems(n=100, lost=0, gained=20), 0.0, -0.1),
        (Flips(n=100, changed=6, floor_prob=0.02), -0.04, -0.06),
        (Flips(n=100, changed=0), 0.0, -0.1),
    ):
        found = decompose(*drop, same_items=same, resamples=20)
        assert found.part("behaviour").value == pytest.approx(wanted, abs=0.01)
        assert found.part("unexplained").value == pytest.approx(left, abs=0.01)
        assert found.part("behaviour").measured


def test_no_flip_of_few_items_leaves_room_for_a_change() -> None:
    drop = _world(2_000, np.random.default_rng(3), rates=((0.95, 0.7), (0.85, 0.6)))
    few = decompose(*drop, same_items=Flips(n=20, changed=0), resamples=500).part("behaviour")
    many = decompose(*drop, same_items=Flips(n=500, changed=0), resamples=500).part("behaviour")
    assert few.value == many.value == 0.0
    assert few.low is not None
    assert many.low is not None
    assert few.low < -0.05 < many.low < 0.0


def test_rows_of_a_reviewer_who_turned_are_told_apart_from_the_rest() -> None:
    rng = np.random.default_rng(4)
    period, code, right = _world(20_000, rng)
    suspect = (period == 1) & (rng.random(len(period)) < 0.3)
    right = np.where(suspect & (rng.random(len(period)) < 0.4), 1 - right, right)
    found = decompose(period, code, right, suspect=suspect, resamples=20)
    assert found.part("reviewers").value == pytest.approx(found.change, abs=0.01)
    assert found.part("reviewers").value < -0.05
    assert found.part("unexplained").value == pytest.approx(0.0, abs=0.01)


def test_one_gold_for_both_periods_tells_what_the_new_gold_did() -> None:
    rng = np.random.default_rng(5)
    period, code, fixed = _world(20_000, rng)
    as_measured = np.where((period == 1) & (rng.random(len(period)) < 0.05), 0, fixed)
    found = decompose(period, code, as_measured, right_one_gold=fixed, resamples=20)
    assert found.part("reviewers").value == pytest.approx(-0.05 * 0.9, abs=0.01)
    assert found.part("unexplained").value == pytest.approx(0.0, abs=0.01)


def test_a_new_version_beside_the_old_one_is_compared_with_it() -> None:
    rng = np.random.default_rng(6)
    period, code, right = _world(20_000, rng)
    new = (period == 1) & (rng.random(len(period)) < 0.5)
    right = np.where(new & (rng.random(len(period)) < 0.2), 0, right)
    found = decompose(period, code, right, new_version=new, resamples=20)
    assert found.behaviour_from == "new version"
    assert found.part("behaviour").value == pytest.approx(found.change, abs=0.01)
    alone = decompose(period, code, right, new_version=period == 1, resamples=20)
    assert alone.behaviour_from == "new version, timing only"
    assert alone.part("behaviour").value == pytest.approx(alone.change - alone.part("mix").value, abs=1e-9)
    unmeasured = decompose(period, code, right, resamples=20)
    assert unmeasured.behaviour_from == "nothing"
    assert unmeasured.part("behaviour").low is None
    assert unmeasured.part("unexplained").value < -0.05


def test_a_slice_that_came_new_is_mix() -> None:
    period = np.repeat([0, 1], 100)
    code = np.where((period == 1) & (np.arange(200) % 2 == 0), 1, 0)
    right = code == 0
    found = decompose(period, code, right)
    assert found.change == pytest.approx(-0.5)
    assert found.part("mix").value == pytest.approx(-0.5)
    assert next(one for one in found.slices if one.code == 1).rate_before is None


def _covered(seed: int, runs: int, n: int) -> dict[str, float]:
    """How often the intervals hold the truth: 20 % to 40 % of slice 1, and 4 points less within."""
    rng = np.random.default_rng(seed)
    shares, rates = (0.2, 0.4), ((0.95, 0.75), (0.91, 0.71))
    truth = {"mix": -0.2 * 0.2, "unexplained": -0.04, "change": -0.08}
    held = dict.fromkeys(truth, 0)
    for _ in range(runs):
        found: Decomposition = decompose(
            *_world(n, rng, shares=shares, rates=rates), resamples=300, seed=int(rng.integers(2**31))
        )
        held["change"] += found.low <= truth["change"] <= found.high
        for name in ("mix", "unexplained"):
            part = next(one for one in found.parts if one.name == name)
            assert part.low is not None
            assert part.high is not None
            held[name] += part.low <= truth[name] <= part.high
    return {name: count / runs for name, count in held.items()}


@pytest.mark.parametrize("n", [100, 400])
def test_intervals_hold_the_truth(n: int) -> None:
    for name, share in _covered(seed=n, runs=200, n=n).items():
        assert share >= 0.95 - 3 * (0.95 * 0.05 / 200) ** 0.5, name


def test_a_period_without_rows_is_refused() -> None:
    with pytest.raises(ConfigError, match="both periods"):
        decompose([1, 1], [0, 0], [True, False])
    with pytest.raises(ConfigError, match="weights above 0"):
        decompose([0, 1], [0, 0], [True, False], weight=[1, 0])
    with pytest.raises(ConfigError, match="lost"):
        SameItems(n=3, lost=2, gained=2)
    with pytest.raises(ConfigError, match="changed"):
        Flips(n=3, changed=4)


def test_slices_are_coded_in_sorted_order() -> None:
    codes, names = slice_codes(["es", "en", "es"])
    assert names == ("en", "es")
    assert codes.tolist() == [1, 0, 1]
