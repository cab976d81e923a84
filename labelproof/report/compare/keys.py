"""Rows of several tables matched by 64-bit keys: sorting integers takes a fifth of the time of joining strings."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from evaluation._arrays import IntArray

Keys = npt.NDArray[np.uint64]


def are_distinct(keys: Keys) -> bool:
    """Return whether no two keys are equal."""
    ordered = np.sort(keys)
    return not bool((ordered[1:] == ordered[:-1]).any())


def positions(keys: Keys, order: IntArray, others: Keys) -> IntArray:
    """Return for each of ``others`` its position in ``keys`` (``order`` = their argsort), -1 where it is none."""
    if not len(keys) or not len(others):
        return np.full(len(others), -1, dtype=np.int64)
    mine = np.argsort(others)  # ascending needles: searching them walks memory in one direction
    ordered, needles = keys[order], others[mine]
    place = np.minimum(np.searchsorted(ordered, needles), len(keys) - 1)
    found = np.empty(len(others), dtype=np.int64)
    found[mine] = np.where(ordered[place] == needles, order[place], -1)
    return found
