"""Metadata of the compared items as codes: what slices and clusters are made of."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from evaluation._arrays import IntArray
from evaluation.slices import MISSING, OTHER
from labelproof.report.compare.keys import ItemKeys
from labelproof.report.compare.queries import quoted
from labelproof.store import TraceStore

MOST_VALUES = 20
MOST_KEYS = 6
_BINS = 4
_SAMPLE = 2000
_SAFE_KEY = re.compile(r'[^"\\\x00-\x1f]{1,80}\Z')


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One metadata column of n items: ``codes`` (n,) into ``values``."""

    key: str
    values: tuple[str, ...]
    codes: IntArray


def slice_keys(store: TraceStore, project: str, item_ids: pa.Array) -> list[str]:
    """Return the metadata columns worth slicing by, read off a sample: few values, or numbers."""
    step = max(1, len(item_ids) // _SAMPLE)
    some = pa.table({"item_id": item_ids.take(pa.array(np.arange(0, len(item_ids), step)))})
    rows = store.query(
        "SELECT any_value(meta_json) AS meta FROM items SEMI JOIN some_items USING (item_id)"
        " WHERE project = ? GROUP BY item_id",
        [project],
        fresh=True,
        only=["items"],
        given={"some_items": some},
    )["meta"].to_pylist()
    metas = [orjson.loads(meta) for meta in rows if meta]
    kept = []
    for key in sorted({str(key) for meta in metas for key in meta}):
        values = [meta.get(key) for meta in metas]
        known = [value for value in values if value is not None]
        numeric = all(isinstance(value, int | float) and not isinstance(value, bool) for value in known)
        distinct = len({str(value) for value in known})
        few = distinct <= MOST_VALUES and distinct * 2 <= len(known)
        if distinct > 1 and (few or (numeric and distinct > MOST_VALUES)) and _SAFE_KEY.match(key):
            kept.append(key)
    return kept[:MOST_KEYS]


def read_columns(
    store: TraceStore, project: str, keys: ItemKeys, names: Sequence[str], *, whole: frozenset[str]
) -> dict[str, Column]:
    """Return the metadata columns ``names`` of the items with these ``keys``.

    Those in ``whole`` keep every value (clusters); the others are made into at most ``MOST_VALUES`` groups: the rarer
    texts are one, and many different numbers are cut at their quartiles. Unsafe names are left out.
    """
    safe = [name for name in dict.fromkeys(names) if _SAFE_KEY.match(name)]
    if not safe:
        return {}
    source, picked = _picked(safe)
    table = store.query(
        f"SELECT h, ts, {picked} FROM (SELECT hash(item_id, $salt) AS h, ts, {source} AS meta FROM items"
        " WHERE project = $project)",
        {"salt": keys.salt, "project": project},
        fresh=True,
        only=["items"],
    )
    at = keys.positions(np.asarray(table["h"].combine_chunks()))
    rows = np.flatnonzero(at >= 0)
    if len(rows) and np.bincount(at[rows]).max() > 1:  # the same content came in twice: the latest row counts
        ts = np.asarray(pc.fill_null(table["ts"].combine_chunks().cast(pa.int64()), 0))[rows]
        rows = rows[np.argsort(ts, kind="stable")]
    place = np.full(len(keys), -1, dtype=np.int64)
    place[at[rows]] = rows
    return {name: _column(name, table[f"v{i}"], place, whole=name in whole) for i, name in enumerate(safe)}


def _picked(names: Sequence[str]) -> tuple[str, str]:
    """Return the expression read once per item and the columns v0, v1, … taken from it.

    One pass over the JSON for all names, unless two differ in case only: DuckDB's structs take them for one.
    """
    if len({name.casefold() for name in names}) < len(names):
        paths = [quoted(f'$."{name}"') for name in names]
        return "meta_json", ", ".join(
            f"json_extract_string(meta, {path}) AS v{i}" for i, path in enumerate(paths)
        )
    shape = quoted(orjson.dumps(dict.fromkeys(names, "VARCHAR")).decode())
    fields = ", ".join(f"struct_extract(meta, {quoted(name)}) AS v{i}" for i, name in enumerate(names))
    return f"json_transform(meta_json, {shape})", fields


def _column(name: str, values: pa.ChunkedArray, place: IntArray, *, whole: bool) -> Column:
    encoded = values.combine_chunks().dictionary_encode()
    texts = [str(text) for text in encoded.dictionary.to_pylist()]
    codes = np.full(len(place), -1, dtype=np.int64)
    known = place >= 0
    codes[known] = np.asarray(pc.fill_null(encoded.indices, -1), dtype=np.int64)[place[known]]
    if whole:
        return Column(key=name, values=tuple(texts), codes=codes)
    names = _grouped(texts, codes)
    groups = sorted({*names, MISSING} if (codes < 0).any() else set(names))
    lookup = {group: code for code, group in enumerate(groups)}
    table = np.array([lookup[group] for group in names] + [lookup.get(MISSING, 0)], dtype=np.int64)
    return Column(key=name, values=tuple(groups), codes=table[codes])


def _grouped(texts: Sequence[str], codes: IntArray) -> list[str]:
    """Return each text's group: a quartile for many numbers, else itself, the rarer ones together."""
    counts = np.bincount(codes[codes >= 0], minlength=len(texts))
    if len(texts) > MOST_VALUES:
        try:
            numbers = np.array([float(text) for text in texts])
        except ValueError:
            numbers = np.full(len(texts), np.nan)
        if np.isfinite(numbers).all():
            return _quartiles(numbers, np.repeat(numbers, counts))
    kept = set(np.argsort(-counts, kind="stable")[: MOST_VALUES - 1].tolist())
    all_fit = len(texts) <= MOST_VALUES
    return [text if all_fit or code in kept else OTHER for code, text in enumerate(texts)]


def _quartiles(numbers: np.ndarray[tuple[int], np.dtype[np.float64]], all_numbers: object) -> list[str]:
    edges = np.unique(np.quantile(np.asarray(all_numbers), np.linspace(0, 1, _BINS + 1)[1:-1]))
    place = np.searchsorted(edges, numbers, side="left")
    names = {
        int(one): f"[{numbers[place == one].min():g}, {numbers[place == one].max():g}]"
        for one in np.unique(place)
    }
    return [names[int(one)] for one in place]


def cluster_codes(column: Column) -> IntArray:
    """Return cluster ids; items without a value are clusters of their own."""
    order = np.argsort(np.argsort(np.array(column.values, dtype=object))) if column.values else None
    codes = column.codes.copy()
    known = codes >= 0
    if order is not None:
        codes[known] = order[codes[known]]
    codes[~known] = len(column.values) + np.arange(int((~known).sum()))
    return codes
