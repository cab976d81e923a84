"""Hidden gold: when a reviewer meets it, and which."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labelproof.review.queue import is_check_due, pick_check
from labelproof.spec.review import Checks

CHECKS = Checks(first=5, rate_prob=0.1)
GOLD = [(f"i{n}", "hate" if n % 10 == 0 else "safe") for n in range(60)]


@pytest.mark.parametrize("draw", [0.0, 0.5, 0.999])
def test_the_first_tasks_are_checks_whatever_the_draw(draw: float) -> None:
    assert all(is_check_due(CHECKS, n, n, draw) for n in range(5))


@pytest.mark.parametrize(("draw", "due"), [(0.0, True), (0.0999, True), (0.1, False), (0.99, False)])
def test_later_ones_by_the_draw(draw: float, due: bool) -> None:
    assert is_check_due(CHECKS, 5, 5, draw) is due
    assert is_check_due(CHECKS, 4, 5, draw) is due, "one of the first five is in hand already"
    assert is_check_due(CHECKS, 500, 0, draw) is due, "gold that came late does not come in a row"


def test_no_checks_at_all() -> None:
    never = Checks(first=0, rate_prob=0)
    assert not any(is_check_due(never, n, 0, 0.0) for n in range(10))


def test_nothing_left_to_pick() -> None:
    assert pick_check([], set(), "k") is None
    assert pick_check(GOLD, {item for item, _ in GOLD}, "k") is None


def test_rare_labels_are_met_as_often_as_common_ones() -> None:
    done: set[str] = set()
    met: Counter[str] = Counter()
    for n in range(12):
        picked = pick_check(GOLD, done, f"ana {n}")
        assert picked is not None
        done.add(picked[0])
        met[picked[1]] += 1
    assert met == {"hate": 6, "safe": 6}
    picked = pick_check(GOLD, done, "ana 12")
    assert picked is not None
    assert picked[1] == "safe", "only safe is left"


@given(st.permutations(GOLD[:12]), st.sets(st.sampled_from([item for item, _ in GOLD[:11]])), st.text())
def test_the_pick_is_new_and_independent_of_order(
    shuffled: list[tuple[str, str]], done: set[str], key: str
) -> None:
    picked = pick_check(shuffled, done, key)
    assert picked is not None
    assert picked in GOLD
    assert picked[0] not in done
    assert picked == pick_check(GOLD[:12], done, key)


def test_reviewers_meet_different_items_in_different_order() -> None:
    assert len({pick_check(GOLD, set(), f"person {n}") for n in range(40)}) > 10
