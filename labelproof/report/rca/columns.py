"""What items are told apart by: metadata, language, length, topic; and by what their mix is best weighed."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from evaluation._arrays import IntArray
from evaluation.decomposition import slice_codes
from evaluation.multiple_testing import holm
from evaluation.slices import MISSING, OTHER
from evaluation.text_clusters import cluster_texts
from evaluation.text_drift import UNKNOWN, guess_language
from labelproof.report.rca.data import Bools, JudgedRow
from labelproof.report.rca.facts import Facts, ItemFacts

LANGUAGE, LENGTH, TOPIC, LABEL = "language", "length", "topic", "label"
MOST_VALUES, MOST_KEYS = 20, 6
_CELLS, _LEAST_IN_CELL = 12, 10
_SECOND = 0.01
"""A second column divides the mix too if its shares changed beyond this (Holm's p)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """Name -> value of each row. ``language`` is declared or guessed (``guessed``)."""

    values: Mapping[str, tuple[str, ...]]
    guessed: bool

    def of_items(self) -> dict[str, tuple[str, ...]]:
        """Return the columns that say what came in, not what the machine made of it."""
        return {name: values for name, values in self.values.items() if name != LABEL}


@dataclass(frozen=True, slots=True, kw_only=True)
class Mix:
    """The slices of the mix: ``by`` which columns, ``codes`` (n,) into ``names``. ``p_values``: column -> did its shares change?"""

    by: str | None
    codes: IntArray
    names: tuple[str, ...]
    p_values: Mapping[str, float]


def columns_of(rows: Sequence[JudgedRow], facts: Facts, *, language_column: str, seed: int = 0) -> Columns:
    """Return every column that divides the rows: at most ``MOST_KEYS`` of metadata, language, length, topic, label."""
    items = [facts.item(row) for row in rows]
    languages, guessed = languages_of(items, language_column)
    found: dict[str, tuple[str, ...]] = {LANGUAGE: _pooled(languages)}
    found[LENGTH] = _lengths([item.n_chars for item in items])
    topics = cluster_texts([item.text for item in items], seed=seed) if items else None
    if topics is not None:
        found[TOPIC] = tuple(topics.names[code] for code in topics.codes.tolist())
    found |= _metadata(items, leave_out={language_column})
    sources = [item.source or MISSING for item in items]
    if "source" not in found and len(set(sources)) > 1:
        found["source"] = _pooled(sources)
    found[LABEL] = _pooled([row.label or "(failed)" for row in rows])
    return Columns(
        values={name: values for name, values in found.items() if len(set(values)) > 1}, guessed=guessed
    )


def languages_of(items: Sequence[ItemFacts], column: str) -> tuple[list[str], bool]:
    """Return each item's language, from its metadata if any says it, else guessed from script and frequent words."""
    declared = [item.meta.get(column) for item in items]
    if any(declared):
        return [str(value) if value else UNKNOWN for value in declared], False
    guessed = {text: guess_language(text) for text in {item.text for item in items}}
    return [guessed[item.text] for item in items], True


def mix_of(columns: Columns, later: Bools) -> Mix:
    """Return the slices whose shares changed most: by one column, or two if a second one's shares changed as well.

    Columns are ranked by a chi-squared test of their shares in both periods (Holm over columns); cells of fewer than
    ten rows are one. Without a column there is one slice, and no mix to speak of.
    """
    named = columns.of_items()
    n = len(later)
    raw = {name: _p_of_shares(slice_codes(values)[0], later) for name, values in named.items()}
    if not raw:
        return Mix(by=None, codes=np.zeros(n, dtype=np.int64), names=("all",), p_values={})
    p = dict(zip(raw, (float(one) for one in holm(list(raw.values()))), strict=True))
    order = sorted(raw, key=lambda name: (raw[name], list(named).index(name)))
    by = [order[0]]
    if len(order) > 1 and p[order[1]] <= _SECOND and p[order[0]] <= _SECOND:
        by.append(order[1])
    cells = list(zip(*(named[name] for name in by), strict=True))
    counts: dict[tuple[str, ...], int] = {}
    for cell in cells:
        counts[cell] = counts.get(cell, 0) + 1
    kept = {
        cell
        for cell in sorted(counts, key=lambda one: (-counts[one], one))[: _CELLS - 1]
        if counts[cell] >= _LEAST_IN_CELL
    }
    texts = [_cell_name(by, cell) if cell in kept else OTHER for cell in cells]
    codes, names = slice_codes(texts)
    return Mix(by=" and ".join(by), codes=codes, names=names, p_values=p)


def _cell_name(by: Sequence[str], cell: Sequence[str]) -> str:
    return " & ".join(f"{name} = {value}" for name, value in zip(by, cell, strict=True))


def _p_of_shares(codes: IntArray, later: Bools) -> float:
    """Return the p-value of Pearson's chi-squared test that both periods have the same shares; 1 with one period."""
    from scipy.special import chdtrc

    table = np.stack([np.bincount(codes[later == side], minlength=codes.max() + 1) for side in (False, True)])
    totals = table.sum(axis=1)
    if (totals == 0).any() or table.shape[1] < 2:
        return 1.0
    expected = totals[:, None] * table.sum(axis=0) / table.sum()
    statistic = float(((table - expected) ** 2 / expected).sum())
    return float(chdtrc(table.shape[1] - 1, statistic))


def _metadata(items: Sequence[ItemFacts], *, leave_out: set[str]) -> dict[str, tuple[str, ...]]:
    """Return metadata columns with few values, and numbers cut at their quartiles; names of things are left out."""
    keys = sorted({str(key) for item in items for key in item.meta} - leave_out - {LENGTH, TOPIC, LABEL})
    found: dict[str, tuple[str, ...]] = {}
    for key in keys:
        values = [item.meta.get(key) for item in items]
        known = [value for value in values if value is not None and not isinstance(value, list | dict)]
        distinct = len({str(value) for value in known})
        if distinct < 2 or len(found) == MOST_KEYS:
            continue
        numbers = [value for value in known if isinstance(value, int | float) and not isinstance(value, bool)]
        if len(numbers) == len(known) and distinct > MOST_VALUES and all(map(math.isfinite, numbers)):
            found[key] = _quartiles(values)
        elif distinct <= MOST_VALUES or distinct * 10 <= len(known):
            found[key] = _pooled([MISSING if value is None else str(value)[:80] for value in values])
    return found


def _lengths(n_chars: Sequence[int]) -> tuple[str, ...]:
    """Return bins at the quartiles of the texts' lengths, and the longest twentieth."""
    if not n_chars:
        return ()
    numbers = np.array(n_chars, dtype=np.float64)
    edges = np.unique(np.quantile(numbers, [0.25, 0.5, 0.75, 0.95]))
    return tuple(_bin(edges, value, "characters") for value in numbers.tolist())


def _quartiles(values: Sequence[object]) -> tuple[str, ...]:
    numbers = np.array([float(value) for value in values if isinstance(value, int | float)])
    edges = np.unique(np.quantile(numbers, [0.25, 0.5, 0.75]))
    return tuple(_bin(edges, float(v)) if isinstance(v, int | float) else MISSING for v in values)


def _bin(edges: np.ndarray[tuple[int], np.dtype[np.float64]], value: float, unit: str = "") -> str:
    at = int(np.searchsorted(edges, value, side="left"))
    tail = f" {unit}" if unit else ""
    if at == 0:
        return f"up to {edges[0]:g}{tail}"
    if at == len(edges):
        return f"over {edges[-1]:g}{tail}"
    return f"{edges[at - 1]:g} to {edges[at]:g}{tail}"


def _pooled(values: Sequence[str]) -> tuple[str, ...]:
    """Return the values, the rarer ones beyond ``MOST_VALUES`` as one."""
    counts: dict[str, int] = {}
    for value in values:
        counts[value] = counts.get(value, 0) + 1
    kept = set(sorted(counts, key=lambda one: (-counts[one], one))[:MOST_VALUES])
    return tuple(value if value in kept else OTHER for value in values)
