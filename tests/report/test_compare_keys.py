"""Rows of other tables find their item by its 64-bit hash."""

from __future__ import annotations

import numpy as np
import pytest

from labelproof.report.compare.keys import Hashes, ItemKeys, nearly_sorted

ENDS = (0, 1, 2**63, 2**64 - 2, 2**64 - 1)


def hashes(*values: int) -> Hashes:
    return np.array(values, dtype=np.uint64)


def drawn(n: int, seed: int) -> Hashes:
    return np.random.default_rng(seed).integers(0, 2**64, n, dtype=np.uint64)


@pytest.mark.parametrize("n", [1, 2, 3, 64, 1000, 1025])
def test_every_row_finds_its_item_and_strangers_find_none(n: int) -> None:
    wanted, strangers = drawn(n, 1), drawn(n, 2)
    rows = np.concatenate([wanted, strangers, wanted])
    mixed = np.random.default_rng(3).permutation(len(rows))
    found = ItemKeys(wanted, 0).positions(rows[mixed])
    place_of = {int(value): place for place, value in enumerate(wanted)}
    assert found.tolist() == [place_of.get(int(value), -1) for value in rows[mixed]]


def test_the_smallest_and_largest_hashes_are_found() -> None:
    keys = ItemKeys(hashes(*reversed(ENDS)), 0)
    assert keys.positions(hashes(*ENDS)).tolist() == [4, 3, 2, 1, 0]
    assert keys.positions(hashes(3, 2**63 - 1)).tolist() == [-1, -1]


def test_hashes_that_share_their_leading_bits_are_told_apart() -> None:
    near = np.uint64(7 << 60) + np.arange(100, dtype=np.uint64)
    rows = np.random.default_rng(0).permutation(100)
    assert ItemKeys(near, 0).positions(near[rows]).tolist() == rows.tolist()


def test_no_items_or_no_rows_find_nothing() -> None:
    assert ItemKeys(hashes(), 0).positions(hashes(1, 2)).tolist() == [-1, -1]
    assert ItemKeys(hashes(1, 2), 0).positions(hashes()).tolist() == []


def test_equal_keys_are_noticed() -> None:
    assert ItemKeys(hashes(5, 1, 3), 0).are_distinct
    assert not ItemKeys(hashes(5, 1, 5), 0).are_distinct


def test_nearly_sorted_is_a_permutation_in_order_of_the_leading_bits() -> None:
    values = drawn(5000, 4)
    order = nearly_sorted(values)
    assert sorted(order.tolist()) == list(range(5000))
    leading = values[order] >> np.uint64(13)
    assert (leading[1:] >= leading[:-1]).all()
