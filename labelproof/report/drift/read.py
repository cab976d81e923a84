"""Traffic per day, from the store: what was decided, in which language, how long; each with its SQL."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from evaluation._arrays import FloatArray, IntArray
from labelproof.report.compare.queries import quoted
from labelproof.store import TraceStore

DAY = timedelta(days=1)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
TEXTS_A_DAY = 150
"""Texts that are read of a day, the first by item id: ids are hashes, so it is a draw, the same one every time."""
CONFIDENCE_BINS = 200
FAILED = "(failed)"
_DAY = "(epoch_us({ts}) // 86400000000)"
MINE = """WITH mine AS (
    SELECT run_id FROM runs WHERE project = $project
    GROUP BY run_id HAVING max(coalesce(repeat_idx, 0)) = 0
),
"""
# An item that runs decide again is no new traffic: it counts on the day it was decided first.
_FRESH = f"""{MINE}fresh AS (
    SELECT item_id, {_DAY.format(ts="min(d.ts)")} AS day
    FROM decisions AS d JOIN mine USING (run_id) WHERE d.ts <= $until GROUP BY item_id
)
"""
_SAID = f"""{MINE}said AS (
    SELECT d.item_id, {_DAY.format(ts="d.ts")} AS day,
           CASE WHEN d.decision = 'failed' THEN NULL ELSE d.label END AS label,
           CASE WHEN isfinite(coalesce(d.confidence, d.raw_confidence))
                THEN coalesce(d.confidence, d.raw_confidence) END AS confidence
    FROM decisions AS d JOIN mine USING (run_id)
    WHERE d.strategy_fp = $version AND d.ts <= $until
    QUALIFY row_number() OVER (PARTITION BY d.item_id ORDER BY d.ts, d.run_id) = 1
)
"""
DAYS = f"{_FRESH}SELECT day, count(*) AS n FROM fresh GROUP BY day ORDER BY day\n"
VERSIONS = f"""{MINE}recent AS (
    SELECT d.strategy_fp, {_DAY.format(ts="d.ts")} AS day, count(*) AS n
    FROM decisions AS d JOIN mine USING (run_id) WHERE d.ts <= $until AND d.ts >= $window GROUP BY ALL
)
SELECT strategy_fp FROM recent ORDER BY day DESC, n DESC, strategy_fp LIMIT 1
"""
LABELS = (
    _SAID
    + f"""SELECT day, coalesce(label, '{FAILED}') AS name, count(*) AS n FROM said WHERE day >= $first
GROUP BY ALL ORDER BY day, name
"""
)
CONFIDENCES = (
    _SAID
    + f"""SELECT day, CASE WHEN confidence IS NOT NULL
       THEN least(floor(confidence * {CONFIDENCE_BINS}), {CONFIDENCE_BINS - 1})::BIGINT END AS bin, count(*) AS n
FROM said WHERE day >= $first AND label IS NOT NULL GROUP BY ALL ORDER BY day, bin
"""
)
MANIPULATIONS = (
    f"""{MINE}firsts AS (
    SELECT d.item_id, {_DAY.format(ts="d.ts")} AS day, d.reason
    FROM decisions AS d JOIN mine USING (run_id) WHERE d.ts <= $until
    QUALIFY row_number() OVER (PARTITION BY d.item_id ORDER BY d.ts, d.run_id) = 1
)
"""
    """SELECT day, CASE WHEN coalesce(starts_with(reason, 'manipulation'), false)
       THEN 'items that try to steer the model' ELSE 'other items' END AS name, count(*) AS n
FROM firsts WHERE day >= $first GROUP BY ALL ORDER BY 1, 2
"""
)
_META = """meta AS (
    SELECT item_id, arg_max(meta_json, ts) AS meta_json FROM items WHERE project = $project GROUP BY item_id
)
"""
LANGUAGES = (
    _FRESH.rstrip()
    + ",\n"
    + _META
    + """SELECT f.day, json_extract_string(m.meta_json, $column) AS name, count(*) AS n
FROM fresh AS f LEFT JOIN meta AS m USING (item_id) WHERE f.day >= $first GROUP BY ALL ORDER BY 1, 2
"""
)
TEXTS = (
    _FRESH.rstrip()
    + """,
drawn AS (
    SELECT item_id, day FROM fresh WHERE day >= $first
    QUALIFY row_number() OVER (PARTITION BY day ORDER BY item_id) <= $most
),
named AS (
    SELECT item_id, any_value(text_hash) AS text_hash FROM items SEMI JOIN drawn USING (item_id)
    WHERE project = $project GROUP BY item_id
)
SELECT d.day, d.item_id, any_value(t.text) AS text
FROM drawn AS d JOIN named USING (item_id) JOIN texts AS t USING (text_hash)
GROUP BY ALL ORDER BY d.day, d.item_id
"""
)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class DayCounts:
    """Items a day and category. ``day`` (D,) rising day numbers since 1970-01-01, ``counts`` (D, M), ``names`` (M,)."""

    day: IntArray
    counts: FloatArray
    names: tuple[str, ...]
    sql: str

    @property
    def n(self) -> FloatArray:
        return np.asarray(self.counts.sum(axis=1))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class DayTexts:
    """Texts drawn of each day, in the order of days. ``day`` (n,), ``item_id`` (n,)."""

    day: IntArray
    item_id: tuple[str, ...]
    text: tuple[str, ...]
    sql: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Traffic:
    """What is read: the project's work up to ``until``, from day number ``first`` on."""

    store: TraceStore
    project: str
    until: datetime
    first: int

    def _ask(self, sql: str, **more: Any) -> tuple[pa.Table, str]:
        params = {"project": self.project, "until": self.until, "first": self.first, **more}
        named = {name: value for name, value in params.items() if f"${name}" in sql}
        return self.store.query(sql, named, fresh=True), with_values(sql, named)

    def labels(self, version: str) -> DayCounts:
        """Return the labels that a strategy version gave first to each item."""
        return _pivot(*self._ask(LABELS, version=version))

    def confidences(self, version: str) -> tuple[DayCounts, FloatArray]:
        """Return counts over bins of confidence (D, bins), and of decisions without one (D,)."""
        table, sql = self._ask(CONFIDENCES, version=version)
        day, at, total = _days(table)
        n = table["n"].to_numpy().astype(np.float64)
        bins = table["bin"].to_numpy(zero_copy_only=False).astype(np.float64)
        counts, missing = np.zeros((total, CONFIDENCE_BINS)), np.zeros(total)
        known = np.isfinite(bins)
        np.add.at(
            counts, (at[known], np.clip(bins[known], 0, CONFIDENCE_BINS - 1).astype(np.int64)), n[known]
        )
        np.add.at(missing, at[~known], n[~known])
        names = tuple(f"{(i + 1) / CONFIDENCE_BINS:g}" for i in range(CONFIDENCE_BINS))
        return DayCounts(day=day, counts=counts, names=names, sql=sql), missing

    def manipulations(self) -> DayCounts:
        """Return items by whether their first decision was review because they try to steer the model."""
        return _pivot(*self._ask(MANIPULATIONS))

    def languages(self, column: str) -> DayCounts | None:
        """Return items by the metadata ``column``; None when no item has it."""
        escaped = column.replace("\\", "\\\\").replace('"', '\\"')
        table, sql = self._ask(LANGUAGES, column=f'$."{escaped}"')
        if table["name"].null_count == table.num_rows:
            return None
        return _pivot(table, sql)

    def texts(self) -> DayTexts:
        """Return up to ``TEXTS_A_DAY`` texts of each day."""
        table, sql = self._ask(TEXTS, most=TEXTS_A_DAY)
        return DayTexts(
            day=table["day"].to_numpy().astype(np.int64),
            item_id=tuple(table["item_id"].to_pylist()),
            text=tuple(table["text"].to_pylist()),
            sql=sql,
        )


def days_of_work(store: TraceStore, project: str, until: datetime) -> tuple[IntArray, IntArray]:
    """Return the day numbers with new items (D,) and how many (D,), from the first on."""
    table = store.query(DAYS, {"project": project, "until": until}, fresh=True)
    return table["day"].to_numpy().astype(np.int64), table["n"].to_numpy().astype(np.int64)


def main_version(store: TraceStore, project: str, until: datetime, window: datetime) -> str | None:
    """Return the version that decided most on the latest day of work since ``window``; None without any."""
    found = store.query(VERSIONS, {"project": project, "until": until, "window": window}, fresh=True)
    rows = found["strategy_fp"].to_pylist()
    return None if not rows else str(rows[0])


def day_number(when: datetime) -> int:
    """Return the days from 1970-01-01 to the UTC day of ``when``."""
    return int((when.astimezone(UTC) - EPOCH) // DAY)


def day_start(day: int) -> datetime:
    """Return the first moment of a day number, UTC."""
    return EPOCH + day * DAY


def with_values(sql: str, params: Mapping[str, Any]) -> str:
    """Return the statement with its parameters written out, to be run by hand."""
    for name in sorted(params, key=len, reverse=True):
        value = params[name]
        if isinstance(value, datetime):
            literal = f"TIMESTAMPTZ {quoted(value.astimezone(UTC).isoformat())}"
        else:
            literal = str(value) if isinstance(value, int | float) else quoted(str(value))
        sql = sql.replace(f"${name}", literal)
    return sql


def _days(table: pa.Table) -> tuple[IntArray, npt.NDArray[np.intp], int]:
    day, at = np.unique(table["day"].to_numpy().astype(np.int64), return_inverse=True)
    return day, at, len(day)


def _pivot(table: pa.Table, sql: str) -> DayCounts:
    """Return the counts of a table (day, name, n); rows without a name are left out."""
    kept = table.filter(table["name"].is_valid())
    day, at, total = _days(kept)
    names = sorted(set(kept["name"].to_pylist()))
    place = {name: i for i, name in enumerate(names)}
    counts = np.zeros((total, max(1, len(names))))
    columns = np.array([place[name] for name in kept["name"].to_pylist()], dtype=np.int64)
    np.add.at(counts, (at, columns), kept["n"].to_numpy().astype(np.float64))
    return DayCounts(day=day, counts=counts, names=tuple(names) or ("none",), sql=sql)
