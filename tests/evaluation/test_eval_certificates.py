"""What a certification answers: thresholds, reasons, more gold, and what it refuses."""

from __future__ import annotations

from dataclasses import FrozenInstanceError
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluation import (
    certificate_p_value,
    certify,
    certify_best_of,
    certify_groups,
    region_for_sampling,
    threshold_grid,
)
from evaluation._certificate_grid import fewest_accepted, start_coverage
from labelproof.spec.errors import ConfigError

POOL = np.round(np.linspace(0.5, 0.999, 2000), 6)
EVERY_TENTH = POOL[::10]


def _all(right: bool, n: int) -> npt.NDArray[np.bool_]:
    return np.full(n, right)


def test_a_certificate_states_what_it_rests_on() -> None:
    correct = EVERY_TENTH >= 0.6
    found = certify(EVERY_TENTH, correct, pool_confidence=POOL, alpha=0.05, delta=0.05)
    assert found.certified
    assert found.method == "fixed-sequence-binomial"
    assert (found.alpha, found.delta, found.n_gold) == (0.05, 0.05, 200)
    assert found.threshold is not None
    accepted = found.threshold <= EVERY_TENTH
    assert found.n_accepted == accepted.sum()
    assert found.n_errors == (accepted & ~correct).sum()
    assert found.coverage == (found.threshold <= POOL).mean()
    assert found.upper is not None
    assert found.upper <= 0.05
    assert certificate_p_value(found.n_errors, found.n_accepted, 0.05) <= 0.05
    assert found.reason is None
    assert found.more_gold is None
    with pytest.raises(FrozenInstanceError):
        found.certified = False  # type: ignore[misc]


def test_the_sequence_stops_at_its_first_failure() -> None:
    correct = np.ones(200, dtype=bool)
    correct[(EVERY_TENTH > 0.80) & (EVERY_TENTH < 0.81)] = False  # a burst of errors; below it all are right
    found = certify(EVERY_TENTH, correct, pool_confidence=POOL, alpha=0.05)
    tested = [row.tested for row in found.tested]
    stop = tested.index(False)
    assert not any(tested[stop:])
    assert [row.passed for row in found.tested[:stop]] == [True] * (stop - 1) + [False]
    assert found.tested[stop - 1].p_value > 0.05
    assert min(row.p_value for row in found.tested[stop:]) <= 0.05  # would pass, but was not tested
    assert found.threshold == found.tested[stop - 2].threshold
    assert not any(row.passed for row in found.tested[stop:])


def test_the_naive_threshold_is_laxer_than_the_certified_one() -> None:
    correct = np.ones(200, dtype=bool)
    correct[:20] = False
    found = certify(EVERY_TENTH, correct, pool_confidence=POOL, alpha=0.05)
    lax = found.naive
    assert lax.threshold is not None
    assert found.threshold is not None
    assert lax.threshold < found.threshold
    assert lax.n_errors / lax.n_accepted <= 0.05 < (lax.n_errors + 1) / (lax.n_accepted + 1)
    assert lax.coverage == (lax.threshold <= POOL).mean()


def test_all_right_certifies_everything_and_all_wrong_nothing() -> None:
    right = certify(EVERY_TENTH, _all(True, 200), pool_confidence=POOL)
    assert right.coverage == 1.0
    assert right.threshold == POOL[0]
    wrong = certify(EVERY_TENTH, _all(False, 200), pool_confidence=POOL)
    assert not wrong.certified
    assert wrong.threshold is None
    assert wrong.coverage is None
    assert wrong.upper == 1.0
    assert wrong.naive.threshold is None
    assert wrong.reason is not None
    assert wrong.reason.startswith("too many errors")
    assert wrong.more_gold is not None
    assert wrong.more_gold.n_accepted_more is None
    assert wrong.more_gold.why.startswith("no amount of gold helps")


@pytest.mark.parametrize("complete", [False, True])
def test_no_gold_is_an_answer(complete: bool) -> None:
    found = certify([], [], pool_confidence=POOL, pool_is_complete=complete)
    assert not found.certified
    assert found.n_gold == found.n_accepted == 0
    assert found.upper is None
    assert found.reason == "there is no gold to test on: label some items first"
    assert [row.p_value for row in found.tested] == [1.0] * len(found.tested)
    assert found.more_gold is not None
    assert found.more_gold.n_accepted_more is not None


def test_an_empty_pool_is_an_answer() -> None:
    found = certify([0.9], [True], pool_confidence=[])
    assert (found.certified, found.tested, found.more_gold) == (False, (), None)
    assert found.naive.coverage is None
    assert found.reason == "the pool is empty: there is nothing to accept"
    above = certify([0.9], [True], pool_confidence=[0.9, 0.8], region_low=0.95)
    assert above.reason is not None
    assert "region" in above.reason


def test_too_little_gold_says_how_much_and_of_which_kind() -> None:
    gold = EVERY_TENTH[::5]
    found = certify(gold, _all(True, 40), pool_confidence=POOL)
    assert found.reason is not None
    assert found.reason.startswith("too little gold")
    assert "59" in found.reason
    need = found.more_gold
    assert need is not None
    assert need.n_accepted_more is not None
    assert need.n_random_more is not None
    assert need.chance >= 0.8
    share = (need.confidence_at_least <= POOL).mean()
    assert need.n_random_more == int(np.ceil(need.n_accepted_more / share))
    # Adding what was asked for, none of it wrong, certifies.
    more = np.linspace(need.confidence_at_least, 0.999, need.n_accepted_more)
    topped = certify(
        np.concatenate([gold, more]),
        _all(True, 40 + len(more)),
        pool_confidence=POOL,
        region_low=need.confidence_at_least,
    )
    assert topped.certified


def test_the_chance_of_more_gold_is_what_drawing_it_gives() -> None:
    gold = np.concatenate([np.full(66, 0.99), np.linspace(0.1, 0.5, 100)])
    correct = np.ones(166, dtype=bool)
    correct[0] = False
    correct[66:] = False
    pool = np.concatenate([np.full(4000, 0.99), np.linspace(0.1, 0.5, 6000)])
    need = certify(gold, correct, pool_confidence=pool).more_gold
    assert need is not None
    assert need.confidence_at_least == 0.99
    assert need.n_accepted_more is not None
    rate = 1.5 / 86  # half an error and twenty items are added to 1 of 66
    rng = np.random.default_rng(11)
    errors = 1 + rng.binomial(need.n_accepted_more, rate, size=4000)
    certified = [certificate_p_value(int(k), 66 + need.n_accepted_more, 0.05) <= 0.05 for k in errors]
    assert need.chance == pytest.approx(np.mean(certified), abs=0.03)


def test_more_gold_than_the_pool_holds_is_not_asked_for() -> None:
    pool = np.linspace(0.9, 0.99, 120)
    need = certify(pool[::4], _all(True, 30), pool_confidence=pool).more_gold
    assert need is not None
    assert need.n_accepted_more is None
    assert need.why.startswith("the pool is too small")


def test_an_error_rate_next_to_alpha_is_not_a_question_of_gold() -> None:
    gold = np.full(2000, 0.9)
    correct = np.arange(2000) >= 99
    need = certify(gold, correct, pool_confidence=np.full(10**6, 0.9)).more_gold
    assert need is not None
    assert need.n_random_more is None
    assert need.why.startswith("no realistic amount of gold helps")


def test_a_finite_pool_needs_less_gold() -> None:
    pool = np.linspace(0.5, 0.99, 100)
    gold = pool[::2]
    sample = certify(gold, _all(True, 50), pool_confidence=pool)
    complete = certify(gold, _all(True, 50), pool_confidence=pool, pool_is_complete=True)
    assert not sample.certified
    assert complete.certified
    assert complete.method == "fixed-sequence-hypergeometric"
    assert complete.upper is not None
    assert complete.upper <= 0.05
    some = complete.tested[-1]
    assert certificate_p_value(some.n_errors, some.n_accepted, 0.05, pool_accepted=100) == some.p_value
    everything = certify(pool, np.arange(100) >= 5, pool_confidence=pool, pool_is_complete=True)
    assert everything.coverage == 1.0  # a census with exactly 5 % errors
    assert everything.upper == 0.05


def test_a_finite_pool_says_how_much_gold_it_needs() -> None:
    pool = np.linspace(0.5, 0.99, 100)
    found = certify(pool[::5], _all(True, 20), pool_confidence=pool, pool_is_complete=True)
    assert found.reason is not None
    assert found.reason.startswith("too little gold")
    assert found.more_gold is not None
    assert found.more_gold.n_accepted_more is not None


def test_a_finite_pool_with_too_many_errors_seen_is_beyond_help() -> None:
    """7 of 110 exceed 6 %, whatever the last item turns out to be; the estimate alone, 5.97 %, would not say so."""
    pool = np.full(110, 0.9)
    found = certify(pool[:109], np.arange(109) >= 7, pool_confidence=pool, pool_is_complete=True, alpha=0.06)
    assert found.more_gold is not None
    assert found.more_gold.why.startswith("no amount of gold helps")


def test_gold_that_is_not_in_a_complete_pool_is_refused() -> None:
    pool = np.linspace(0.5, 0.99, 100)
    for gold in ([0.123, pool[3]], [pool[3], pool[3]]):  # another strategy's confidence; one item twice
        with pytest.raises(ConfigError, match="complete pool that holds the gold") as error:
            certify(gold, [True, True], pool_confidence=pool, pool_is_complete=True)
        assert error.value.hint is not None
    with pytest.raises(ConfigError, match="n_gold"):
        threshold_grid([0.5], n_gold=2, pool_is_complete=True)


def test_ties_are_accepted_together() -> None:
    pool = np.repeat([0.9, 0.7, 0.5], 100)
    found = certify(np.full(300, 0.9), _all(True, 300), pool_confidence=pool)
    assert [row.threshold for row in found.tested] == [0.9, 0.7, 0.5]
    assert [row.n_accepted for row in found.tested] == [300, 300, 300]
    one_level = certify(np.full(80, 0.7), _all(True, 80), pool_confidence=np.full(50, 0.7))
    assert (one_level.threshold, one_level.coverage) == (0.7, 1.0)


def test_gold_below_the_region_is_left_aside() -> None:
    gold = np.concatenate([EVERY_TENTH[EVERY_TENTH >= 0.7], [0.51, 0.52]])
    correct = np.concatenate([_all(True, len(gold) - 2), [False, False]])
    found = certify(gold, correct, pool_confidence=POOL, region_low=0.7)
    assert found.n_gold == len(gold) - 2
    assert found.threshold == POOL[POOL >= 0.7][0]
    assert found.coverage == (POOL >= 0.7).mean()  # of the whole pool


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"confidence": [0.9, float("nan")]}, "confidence: expected finite numbers"),
        ({"confidence": [0.9, 1.2]}, "confidence: expected values in"),
        ({"correct": [True]}, "expected one value per item"),
        ({"correct": [True, 2]}, "correct: expected true/false"),
        ({"pool_confidence": [0.5, float("nan")]}, "pool_confidence: expected finite numbers"),
        ({"alpha": 0.0}, "alpha: expected a rate"),
        ({"delta": 1.0}, "delta: expected a rate"),
        ({"region_low": 1.5}, "region_low: expected values in"),
        ({"grid": [0.5, 0.9]}, "grid: expected strictly descending"),
        ({"grid": [0.9, 0.9]}, "grid: expected strictly descending"),
        ({"grid": [0.9, 0.5], "region_low": 0.7}, "grid: expected thresholds >= region_low"),
    ],
    ids=lambda value: value if isinstance(value, str) else "-".join(value),
)
def test_bad_numbers_are_refused(change: dict[str, Any], message: str) -> None:
    given_numbers: dict[str, Any] = {
        "confidence": [0.9, 0.8],
        "correct": [True, False],
        "pool_confidence": [0.9, 0.8, 0.7],
    }
    with pytest.raises(ConfigError, match=message):
        certify(**{**given_numbers, **change})


def test_an_own_grid_is_tested_as_it_is() -> None:
    found = certify(EVERY_TENTH, _all(True, 200), pool_confidence=POOL, grid=[0.8, 0.6])
    assert [row.threshold for row in found.tested] == [0.8, 0.6]
    assert certify(EVERY_TENTH, _all(True, 200), pool_confidence=POOL, grid=[]).reason is not None
    above = certify(EVERY_TENTH, _all(True, 200), pool_confidence=POOL, grid=[1.0])
    assert not above.certified
    assert above.tested[0].coverage == 0.0
    assert above.more_gold is None


def test_the_grid_starts_where_the_page_says() -> None:
    assert fewest_accepted(0.05, 0.05) == 59
    assert round(1e9 * (start_coverage(1e9, 59) or 0)) == 76  # 76.49: "77" accepted items
    assert start_coverage(59, 59) == 1.0
    assert start_coverage(58, 59) is None
    for n, first in ((200, 0.363), (300, 0.25), (5000, 0.25)):
        grid = threshold_grid(POOL, n_gold=n)
        assert (grid[0] <= POOL).mean() == pytest.approx(first, abs=0.005)
        assert len(grid) == 20
    stricter = threshold_grid(POOL, n_gold=2000, alpha=0.01)
    assert (stricter[0] <= POOL).mean() == pytest.approx(0.25, abs=0.001)
    assert (threshold_grid(POOL, n_gold=400, alpha=0.01)[0] <= POOL).mean() > 0.7


def test_too_little_gold_still_shows_the_curve() -> None:
    for n in (0, 10, 58):
        grid = threshold_grid(POOL, n_gold=n)
        assert (grid[0] <= POOL).mean() == pytest.approx(0.25, abs=0.001)


def test_coarse_scores_start_at_the_first_level_that_holds_enough() -> None:
    pool = np.repeat([1.0, 0.9, 0.8, 0.6], [50, 150, 400, 400])
    assert list(threshold_grid(pool, n_gold=5000)) == [1.0, 0.9, 0.8, 0.6]  # top level: 5 %
    assert list(threshold_grid(pool, n_gold=500)) == [0.9, 0.8, 0.6]
    assert list(threshold_grid(pool, n_gold=70)) == [0.6]
    assert list(threshold_grid(pool, n_gold=0)) == [1.0, 0.9, 0.8, 0.6]
    sure = np.concatenate([np.full(600, 1.0), np.linspace(0.3, 0.9, 400)])
    assert threshold_grid(sure, n_gold=500)[0] == 1.0


@given(
    st.lists(st.integers(0, 60).map(lambda i: i / 60), min_size=1, max_size=200),
    st.integers(0, 400),
    st.integers(2, 25),
    st.one_of(st.none(), st.integers(0, 60).map(lambda i: i / 60)),
)
def test_every_grid_is_a_descending_part_of_the_pool(
    pool: list[float], n: int, levels: int, low: float | None
) -> None:
    grid = threshold_grid(pool, n_gold=n, levels=levels, region_low=low)
    inside = [c for c in pool if low is None or c >= low]
    assert set(grid) <= set(inside)
    assert (np.diff(grid) < 0).all()
    assert len(grid) <= levels
    assert (len(grid) == 0) == (not inside)
    if inside:
        assert grid[-1] == min(inside)
        shuffled = threshold_grid(pool[::-1], n_gold=n, levels=levels, region_low=low)
        assert list(shuffled) == list(grid)


def test_groups_share_delta_and_keep_their_own_alpha() -> None:
    group = np.where(np.arange(200) % 2 == 0, "safe", "harm")
    pool_group = np.where(np.arange(2000) % 2 == 0, "safe", "harm")
    correct = (group == "safe") | (EVERY_TENTH > 0.9)
    found = certify_groups(
        EVERY_TENTH,
        correct,
        group,
        pool_confidence=POOL,
        pool_group=pool_group,
        alphas={"safe": 0.1, "harm": 0.1, "spam": 0.02},
        delta=0.06,
    )
    assert list(found) == ["safe", "harm", "spam"]
    assert [one.delta for one in found.values()] == [pytest.approx(0.02)] * 3
    assert [one.alpha for one in found.values()] == [0.1, 0.1, 0.02]
    assert found["safe"].coverage == 1.0
    assert not found["harm"].certified
    assert found["spam"].reason == "the pool is empty: there is nothing to accept"
    alone = certify(
        EVERY_TENTH[::2], correct[::2], pool_confidence=POOL[::2], alpha=0.1, delta=found["safe"].delta
    )
    assert alone == found["safe"]


def test_one_group_alone_is_a_plain_certificate() -> None:
    group, pool_group = ["a"] * 200, ["a"] * 2000
    found = certify_groups(
        EVERY_TENTH, _all(True, 200), group, pool_confidence=POOL, pool_group=pool_group, alphas={"a": 0.05}
    )
    assert found["a"] == certify(EVERY_TENTH, _all(True, 200), pool_confidence=POOL)
    with pytest.raises(ConfigError, match="at least one group"):
        certify_groups([], [], [], pool_confidence=[], pool_group=[], alphas={})
    with pytest.raises(ConfigError, match="group 1"):
        certify_groups([0.5, 0.5], [1, 1], ["a"], pool_confidence=[], pool_group=[], alphas={"a": 0.1})


def test_the_best_of_several_strategies_pays_for_the_choice() -> None:
    weak, strong = EVERY_TENTH >= 0.7, EVERY_TENTH >= 0.55
    found = certify_best_of(
        [EVERY_TENTH] * 3, [weak, strong, _all(False, 200)], pool_confidences=[POOL] * 3, alpha=0.1
    )
    assert found.best == 1
    assert [one.delta for one in found.certifications] == [pytest.approx(0.05 / 3)] * 3
    none = certify_best_of([EVERY_TENTH], [_all(False, 200)], pool_confidences=[POOL])
    assert none.best is None
    with pytest.raises(ConfigError, match="at least one candidate"):
        certify_best_of([], [], pool_confidences=[])
    with pytest.raises(ConfigError, match="pool_confidences 1"):
        certify_best_of([EVERY_TENTH] * 2, [weak] * 2, pool_confidences=[POOL])


def test_the_region_ends_where_alpha_stops_being_plausible() -> None:
    correct = EVERY_TENTH >= 0.75
    low = region_for_sampling(EVERY_TENTH, correct, pool_confidence=POOL, alpha=0.05)
    accepted = low <= EVERY_TENTH
    assert 0.70 < low < 0.75  # a few errors below .75 are still plausible at 5 %
    assert (accepted & ~correct).sum() / accepted.sum() < 0.08


def test_the_region_without_errors_or_calibration_items_is_the_pool() -> None:
    low = region_for_sampling([], [], pool_confidence=POOL, alpha=0.05)
    assert low == POOL[0]
    assert region_for_sampling(EVERY_TENTH, _all(True, 200), pool_confidence=POOL, alpha=0.05) == POOL[0]


def test_the_region_keeps_a_quarter_of_the_pool() -> None:
    low = region_for_sampling(EVERY_TENTH, _all(False, 200), pool_confidence=POOL, alpha=0.05)
    assert (low <= POOL).mean() == pytest.approx(0.25)
    with pytest.raises(ConfigError, match="at least one item"):
        region_for_sampling([], [], pool_confidence=[], alpha=0.05)
    with pytest.raises(ConfigError, match="alpha"):
        region_for_sampling([], [], pool_confidence=[0.5], alpha=0.0)


@pytest.mark.parametrize(
    ("n_errors", "n_accepted", "pool_accepted", "message"),
    [(2, 1, None, "n_errors <= n_accepted"), (-1, 1, None, "0 <= n_errors"), (0, 5, 4, "pool_accepted")],
)
def test_impossible_certificates_are_refused(
    n_errors: int, n_accepted: int, pool_accepted: int | None, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        certificate_p_value(n_errors, n_accepted, 0.05, pool_accepted=pool_accepted)
