"""The canary's split: stable, of the share asked for, and a higher share only adds units."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

from agents.run.rollout import assign, side_of, unit_of, unit_position
from labelproof.spec.errors import ConfigError
from labelproof.spec.items import Item

units = st.text(min_size=1, max_size=20)
shares = st.floats(0, 1)


@given(units, units, shares, shares)
def test_a_higher_share_only_moves_units_to_the_candidate(
    rollout: str, unit: str, one: float, other: float
) -> None:
    low, high = sorted((one, other))
    if side_of(rollout, unit, low) == "candidate":
        assert side_of(rollout, unit, high) == "candidate"
    assert side_of(rollout, unit, 0.0) == "champion"
    assert side_of(rollout, unit, 1.0) == "candidate"
    assert 0 <= unit_position(rollout, unit) < 1


def test_positions_are_those_of_every_release() -> None:
    assert round(unit_position("R-1", "b2:abc"), 12) == POSITION
    assert unit_position("R-1", "1unit") != unit_position("R-11", "unit")


POSITION = 0.537406139027


@pytest.mark.parametrize("share", [0.01, 0.1, 0.5])
@pytest.mark.parametrize("rollout", ["R-a", "R-b", "R-c"])
def test_the_share_is_what_was_asked_for(share: float, rollout: str) -> None:
    n = 20_000
    taken = sum(side_of(rollout, f"item {i}", share) == "candidate" for i in range(n))
    assert binom.ppf(1e-5, n, share) <= taken <= binom.isf(1e-5, n, share)


def test_roll_outs_split_independently() -> None:
    n = 20_000
    both = sum(side_of("R-a", f"{i}", 0.5) == side_of("R-b", f"{i}", 0.5) for i in range(n))
    assert binom.ppf(1e-5, n, 0.5) <= both <= binom.isf(1e-5, n, 0.5)


def test_the_items_of_one_author_stay_together() -> None:
    items = [Item.of(f"text {i}", meta={"author": f"a{i % 40}"}) for i in range(400)]
    sides: dict[str, set[str]] = {}
    for one in assign(items, "R-1", 0.3, column="author"):
        assert one.unit == f"author={one.item.meta['author']}"
        sides.setdefault(one.unit, set()).add(one.side)
    assert all(len(found) == 1 for found in sides.values())
    assert {side for found in sides.values() for side in found} == {"champion", "candidate"}
    lonely = Item.of("no author")
    assert unit_of(lonely, "author") == lonely.id


def test_a_column_that_no_item_has_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"no item has the metadata column 'writer'; found: author"):
        assign([Item.of("a", meta={"author": 1})], "R-1", 0.5, column="writer")
    with pytest.raises(ConfigError, match="share"):
        assign([], "R-1", 1.5)
