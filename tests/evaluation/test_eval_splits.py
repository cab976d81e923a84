"""Splits are a property of the item, not of the batch it came with."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluation import assign_split
from labelproof.spec.errors import ConfigError

FRACTIONS = {"examples": 0.1, "calibration": 0.3, "certify": 0.4, "test": 0.2}


@given(st.text(), st.integers(0, 2**40), st.permutations(sorted(FRACTIONS)))
def test_stable_whatever_the_order_of_the_fractions(item: str, seed: int, order: list[str]) -> None:
    shuffled = {name: FRACTIONS[name] for name in order}
    assert assign_split(item, shuffled, seed) == assign_split(item, FRACTIONS, seed)


@given(st.text(), st.lists(st.integers(0, 50), min_size=1, max_size=6).filter(any), st.integers())
def test_every_item_lands_in_a_split_that_has_a_share(item: str, parts: list[int], seed: int) -> None:
    fractions = {f"s{i}": part / sum(parts) for i, part in enumerate(parts)}
    assert fractions[assign_split(item, fractions, seed)] > 0


@given(
    st.dictionaries(st.sampled_from("abcd"), st.floats(allow_nan=True), max_size=4).filter(
        lambda f: not (all(v >= 0 for v in f.values()) and abs(sum(f.values()) - 1) < 1e-6)
    )
)
def test_fractions_that_are_no_shares_are_refused(fractions: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match="split fractions: expected shares"):
        assign_split("x", fractions, 0)


def test_sizes_follow_the_shares_and_seeds_are_independent() -> None:
    """Binomial sizes: 4 standard deviations each; two seeds agree as often as chance (sum of p²)."""
    n = 5000
    first = np.array([assign_split(f"item-{i}", FRACTIONS, 1) for i in range(n)])
    second = np.array([assign_split(f"item-{i}", FRACTIONS, 2) for i in range(n)])
    for name, share in FRACTIONS.items():
        assert abs((first == name).mean() - share) < 4 * np.sqrt(share * (1 - share) / n)
    chance = sum(share**2 for share in FRACTIONS.values())
    assert abs((first == second).mean() - chance) < 4 * np.sqrt(chance * (1 - chance) / n)


def test_the_assignment_never_changes_between_versions() -> None:
    """Gold already split on disk must stay where it is."""
    found = [assign_split(f"item-{i}", FRACTIONS, 7) for i in range(6)]
    assert found == ["certify", "calibration", "calibration", "test", "calibration", "certify"]
