"""Where the labels are worst: accuracy per metadata value, worst first."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from evaluation._arrays import BoolArray, as_bools, same_length
from evaluation.intervals import Estimate, wilson

MetaValue = str | int | float | bool | None
MISSING = "(missing)"
OTHER = "(other)"


@dataclass(frozen=True, slots=True, kw_only=True)
class SliceRow:
    """One slice: items whose metadata ``key`` has ``value`` (a text, a bin ``[low, high]``, or missing).

    ``is_small``: fewer items than the table's ``small_n``, so the place in the order says little.
    """

    key: str
    value: str
    accuracy: Estimate
    is_small: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class SliceTable:
    """Every slice, lowest lower bound of accuracy first; ``small_n`` is where ``is_small`` begins."""

    rows: tuple[SliceRow, ...]
    n: int
    small_n: int


def slice_table(
    metadata: Sequence[Mapping[str, MetaValue]],
    correct: npt.ArrayLike,
    *,
    bins: int = 4,
    small_n: int = 30,
    max_values: int = 50,
    confidence: float = 0.95,
) -> SliceTable:
    """Accuracy with Wilson interval per metadata key and value.

    ``metadata`` holds one mapping per item in the order of ``correct``; an absent key, None and NaN
    are the slice ``(missing)``. Keys whose values are all numbers (not bools) with more than
    ``bins`` distinct ones are cut at their quantiles; beyond ``max_values`` distinct texts the rarer
    ones are ``(other)``. Intervals are per slice, not corrected for how many are looked at. No
    items: no rows.
    """
    right = as_bools(correct, "correct")
    n = same_length(metadata=metadata, correct=right)
    rows = []
    for key in dict.fromkeys(key for meta in metadata for key in meta):
        values = [meta.get(key) for meta in metadata]
        for value, chosen in _groups(values, bins, max_values).items():
            size = int(chosen.sum())
            rows.append(
                SliceRow(
                    key=key,
                    value=value,
                    accuracy=wilson(int(right[chosen].sum()), size, confidence=confidence),
                    is_small=size < small_n,
                )
            )
    rows.sort(key=lambda row: (row.accuracy.low or 0.0, row.key, row.value))
    return SliceTable(rows=tuple(rows), n=n, small_n=small_n)


def _groups(values: Sequence[MetaValue], bins: int, max_values: int) -> dict[str, BoolArray]:
    """Which items carry each value; every item is in exactly one group."""
    missing = np.array(
        [v is None or (isinstance(v, float) and math.isnan(v)) for v in values], dtype=np.bool_
    )
    known = [v for v, gone in zip(values, missing, strict=True) if not gone]
    numeric = all(isinstance(v, int | float) and not isinstance(v, bool) for v in known)
    if numeric and len(set(known)) > bins:
        names = _bin_names(np.array(known, dtype=np.float64), bins)
    else:
        names = [_text(v) for v in known]
        kinds, counts = np.unique(np.array(names, dtype=object), return_counts=True)
        kept = set(kinds[np.argsort(-counts, kind="stable")][:max_values].tolist())
        names = [name if name in kept else OTHER for name in names]
    labels = np.full(len(values), MISSING, dtype=object)
    labels[~missing] = names
    return {name: np.asarray(labels == name) for name in dict.fromkeys(labels.tolist())}


def _bin_names(numbers: npt.NDArray[np.float64], bins: int) -> list[str]:
    """Each number's quantile bin, named by the smallest and largest number in it."""
    edges = np.unique(np.quantile(numbers, np.linspace(0, 1, bins + 1)[1:-1]))
    place = np.searchsorted(edges, numbers, side="left")
    names = {
        int(b): f"[{numbers[place == b].min():g}, {numbers[place == b].max():g}]" for b in np.unique(place)
    }
    return [names[int(b)] for b in place]


def _text(value: MetaValue) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
