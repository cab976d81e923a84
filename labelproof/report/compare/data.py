"""Both sides' answers on the same items, read from the store as arrays of codes.

Rows of the store are joined by the 64-bit hash of the item id in numpy: sorting integers takes a fifth of the time that
a million string joins take. Ids among the items asked for are checked to be distinct under it; that an item outside
them collides with one of n is improbable beyond practice (n x n_outside / 2^64).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from evaluation._arrays import FloatArray, IntArray
from evaluation.paired import NO_ANSWER, BoolArray
from labelproof.report.compare.gold import GoldItems
from labelproof.report.compare.keys import FIRST_SALT, ItemKeys
from labelproof.store import TraceStore

_SAID = """
SELECT
    hash(item_id, $salt) AS h, label, coalesce(decision = 'failed', false) AS failed,
    coalesce(decision = 'auto_accept', false) AS accepted, confidence, cost_usd, latency_ms, {run} AS run, ts
FROM {table} WHERE strategy_fp = $fp AND run_id IN ({listed})
"""
_RUNS = """
SELECT run_id, any_value(strategy) AS strategy, any_value(coalesce(repeat_idx, 0)) AS repeat_idx, max(ts) AS ts
FROM runs WHERE project = $project AND strategy_fp = $fp GROUP BY run_id ORDER BY run_id
"""
TABLES = ("decisions", "arm_answers")


@dataclass(frozen=True, slots=True, kw_only=True)
class SideAnswers:
    """One side's latest answer to each of n items, in their order.

    ``label`` (n,): code into ``labels``, ``NO_ANSWER`` where the strategy failed or said nothing; ``answered``: whether
    a row is stored at all. ``confidence``, ``cost_usd``, ``latency_ms``: NaN where unknown. ``run`` (n,): code into
    ``run_ids``, -1 without an answer.
    """

    labels: tuple[str, ...]
    run_ids: tuple[str, ...]
    answered: BoolArray
    label: IntArray
    accepted: BoolArray
    confidence: FloatArray
    cost_usd: FloatArray
    latency_ms: FloatArray
    run: IntArray


@dataclass(frozen=True, slots=True, kw_only=True)
class Repeats:
    """Labels that repeats of one strategy version gave: ``item`` (m,) positions, ``label`` (m,) codes into ``labels``."""

    labels: tuple[str, ...]
    item: IntArray
    label: IntArray
    repeat: IntArray


class Runs:
    """The runs of one strategy version: which repeat each belongs to."""

    def __init__(self, store: TraceStore, project: str, fp: str) -> None:
        self.fp = fp
        rows = store.query(_RUNS, {"project": project, "fp": fp}, fresh=True, only=["runs"]).to_pylist()
        self.repeat_of: dict[str, int] = {row["run_id"]: row["repeat_idx"] for row in rows}

    def of(self, repeat: int) -> list[str]:
        return [run for run, index in self.repeat_of.items() if index == repeat]

    def besides(self, *repeats: int) -> list[str]:
        return [run for run, index in self.repeat_of.items() if index not in repeats]


def wanted_without_gold(
    store: TraceStore, sides: Sequence[tuple[Runs, int]], experiment_id: str | None = None
) -> tuple[pa.Array, ItemKeys]:
    """Return ids and keys of all items that either side answered (in the experiment, if one is named)."""
    runs = [run for side, repeat in sides for run in side.of(repeat)]
    params = {"fps": [side.fp for side, _ in sides], "runs": runs, "experiment": experiment_id}
    parts = [
        f"SELECT item_id FROM {table} WHERE list_contains($fps, strategy_fp) AND list_contains($runs, run_id)"
        for table in TABLES
    ]
    if experiment_id is not None:
        parts = [f"{parts[1]} AND experiment_id = $experiment GROUP BY item_id"]  # both arms answered it
    else:
        del params["experiment"]
    for salt in range(FIRST_SALT, 8):
        table = store.query(
            f"SELECT item_id, hash(item_id, {salt}) AS h FROM ({' UNION '.join(parts)}) ORDER BY item_id",
            params,
            fresh=True,
            only=TABLES,
        )
        keys = ItemKeys(np.asarray(table["h"].combine_chunks()), salt)
        if keys.are_distinct:
            break
    return table["item_id"].combine_chunks(), keys


def said_rows(store: TraceStore, runs: Runs, repeat: int, salt: int = FIRST_SALT) -> pa.Table:
    """Return all rows in which the version answered in one repeat, of whatever items."""
    return _said(store, salt, runs.fp, runs.of(repeat))


def read_side(
    store: TraceStore, keys: ItemKeys, runs: Runs, repeat: int, early: Future[pa.Table]
) -> SideAnswers:
    """Return the version's answers in one repeat to the items with these ``keys``.

    ``early``: its rows under ``FIRST_SALT``, whose reading began before the keys were known; read again under the
    keys' own salt in the case, improbable beyond practice, that two ids collided.
    """
    run_ids = runs.of(repeat)
    table = early.result()
    if keys.salt != FIRST_SALT:
        table = said_rows(store, runs, repeat, keys.salt)
    n = len(keys)
    at = keys.positions(np.asarray(table["h"].combine_chunks()))
    row = _latest(table, at, n)
    there = row >= 0
    labels, label = _labels(table)
    run = np.asarray(table["run"].combine_chunks(), dtype=np.int64)
    accepted = np.asarray(table["accepted"].combine_chunks())

    def spread(values: npt.NDArray[np.generic], missing: object) -> npt.NDArray[np.generic]:
        found = np.full(n, missing, dtype=values.dtype)
        found[there] = values[row[there]]
        return found

    return SideAnswers(
        labels=labels,
        run_ids=tuple(run_ids),
        answered=there,
        label=np.asarray(spread(label, NO_ANSWER), dtype=np.int64),
        accepted=np.asarray(spread(accepted, False), dtype=np.bool_),
        confidence=np.asarray(spread(_floats(table["confidence"]), np.nan), dtype=np.float64),
        cost_usd=np.asarray(spread(_floats(table["cost_usd"]), np.nan), dtype=np.float64),
        latency_ms=np.asarray(spread(_floats(table["latency_ms"]), np.nan), dtype=np.float64),
        run=np.asarray(spread(run, -1), dtype=np.int64),
    )


def read_repeats(store: TraceStore, keys: ItemKeys, runs: Runs, compared: Sequence[int]) -> Repeats:
    """Return what the version's other repeats (not those ``compared``) said of the items, the latest per repeat."""
    wanted = runs.besides(*compared)
    if not wanted:
        none = np.zeros(0, dtype=np.int64)
        return Repeats(labels=(), item=none, label=none, repeat=none)
    table = _said(store, keys.salt, runs.fp, wanted)
    at = keys.positions(np.asarray(table["h"].combine_chunks()))
    repeat_of = np.array([runs.repeat_of[run] for run in wanted], dtype=np.int64)
    run_repeat = repeat_of[np.asarray(table["run"].combine_chunks(), dtype=np.int64)]
    kept = np.flatnonzero(at >= 0)
    n_repeats = int(run_repeat.max(initial=0)) + 1
    cell = at[kept] * n_repeats + run_repeat[kept]
    cells, place = np.unique(cell, return_inverse=True)
    chosen = kept[_latest(table.take(pa.array(kept)), place, len(cells))]
    labels, codes = _labels(table)
    return Repeats(
        labels=labels, item=cells // n_repeats, label=codes[chosen], repeat=np.asarray(cells % n_repeats)
    )


def recode(codes: IntArray, labels: Sequence[str], lookup: Mapping[str, int]) -> IntArray:
    """Return codes into ``labels`` as codes of ``lookup``; ``NO_ANSWER`` stays."""
    table = np.array([lookup[label] for label in labels] + [NO_ANSWER], dtype=np.int64)
    return table[codes]


def all_labels(gold: GoldItems | None, sides: Sequence[SideAnswers]) -> tuple[str, ...]:
    """Return every label that gold or a side names, sorted."""
    names = {label for side in sides for label in side.labels}
    if gold is not None:
        names.update(label for label in pc.unique(gold.labels).to_pylist() if label is not None)
    return tuple(sorted(names))


def gold_codes(gold: GoldItems, lookup: Mapping[str, int]) -> IntArray:
    """Return the gold labels as codes."""
    labels, codes = _codes(gold.labels)
    return recode(codes, labels, lookup)


def _said(store: TraceStore, salt: int, fp: str, runs: Sequence[str]) -> pa.Table:
    names = {f"run{i}": run for i, run in enumerate(runs)}
    listed = ", ".join(f"${name}" for name in names) or "NULL"
    which = "0" if len(runs) == 1 else "list_position($runs, run_id) - 1"
    sql = " UNION ALL ".join(_SAID.format(table=table, listed=listed, run=which) for table in TABLES)
    params: dict[str, object] = {**names, "salt": salt, "fp": fp}
    if len(runs) != 1:
        params["runs"] = list(runs)
    return store.query(sql, params, fresh=True, only=TABLES)


def _latest(table: pa.Table, at: IntArray, n: int) -> IntArray:
    """Return for each of n places the row of its latest answer (ties: the later run), -1 without one."""
    rows = np.flatnonzero(at >= 0)
    found = np.full(n, -1, dtype=np.int64)
    if len(rows) and np.bincount(at[rows], minlength=n).max() > 1:
        ts = np.asarray(pc.fill_null(table["ts"].combine_chunks().cast(pa.int64()), 0))[rows]
        run = np.asarray(table["run"].combine_chunks(), dtype=np.int64)[
            rows
        ]  # runs are listed in order of their ids
        rows = rows[np.lexsort((run, ts))]
    found[at[rows]] = rows  # of equal places the last assignment stays
    return found


def _labels(table: pa.Table) -> tuple[tuple[str, ...], IntArray]:
    """Return the labels and each row's code, ``NO_ANSWER`` where the strategy failed."""
    labels, codes = _codes(table["label"])
    codes[np.asarray(table["failed"].combine_chunks())] = NO_ANSWER
    return labels, codes


def _codes(values: pa.Array | pa.ChunkedArray) -> tuple[tuple[str, ...], IntArray]:
    """Return the distinct strings and each row's code, -1 for null."""
    whole = values.combine_chunks() if isinstance(values, pa.ChunkedArray) else values
    if isinstance(whole, pa.ChunkedArray):  # an empty one stays chunked
        whole = pa.concat_arrays(whole.chunks) if whole.num_chunks else pa.array([], type=pa.string())
    encoded = whole.dictionary_encode()
    codes = np.array(pc.fill_null(encoded.indices, -1), dtype=np.int64)
    return tuple(encoded.dictionary.to_pylist()), codes


def _floats(values: pa.ChunkedArray) -> FloatArray:
    return np.asarray(pc.fill_null(values.combine_chunks().cast(pa.float64()), np.nan), dtype=np.float64)
