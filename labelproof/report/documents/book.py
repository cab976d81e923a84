"""Where a report's numbers are kept: each is asked of the store once, by the query it is stored with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

import pyarrow as pa

from evaluation.intervals import Estimate, wilson
from labelproof.report.documents.model import Number, Unit
from labelproof.report.quality_data import filled_in
from labelproof.spec.errors import BugError
from labelproof.store import TraceStore

Row = Mapping[str, Any]


class Book:
    """Numbers of one report by name, and the shared queries (panels) that many of them are cells of."""

    def __init__(
        self, store: TraceStore, given: Mapping[str, Any], *, only: Sequence[str] | None = None
    ) -> None:
        """``only``: the tables that the queries read; waiting rows of others are left alone."""
        self._store = store
        self._given = dict(given)
        self._only = only
        self.numbers: dict[str, Number] = {}
        self.queries: dict[str, str] = {}

    def __getitem__(self, name: str) -> Number:
        return self.numbers[name]

    def filled(self, sql: str, **more: Any) -> str:
        """Return a query with its parameters written out, ready for `labelproof sql`."""
        return filled_in(sql, {**self._given, **more})

    def read(self, sql: str, **more: Any) -> pa.Table:
        """Return the rows of a query whose numbers are not shown as they are."""
        return self._store.query(self.filled(sql, **more), fresh=True, only=self._only)

    def panel(self, key: str, sql: str, **more: Any) -> list[Row]:
        """Run a shared query and keep it under ``key``; its cells become numbers by :meth:`cell`."""
        self.queries[key] = self.filled(sql, **more)
        rows: list[Row] = self._store.query(self.queries[key], fresh=True, only=self._only).to_pylist()
        return rows

    def add(self, number: Number) -> Number:
        """Keep a number; one name is one number."""
        if number.name in self.numbers:
            raise BugError(f"the report has two numbers of the name {number.name!r}")
        self.numbers[number.name] = number
        return number

    def cell(
        self,
        name: str,
        label: str,
        panel: str,
        row: Row,
        column: str,
        *,
        unit: Unit = "count",
        n: str | None = None,
        key: Sequence[str] = (),
        reason: str = "",
        estimate: Estimate | None = None,
    ) -> Number:
        """Keep one cell of a panel: ``column`` of the row that the ``key`` columns pick, ``n`` another column.

        ``estimate`` gives the interval; its value is the cell's.
        """
        where = " AND ".join(f"{one} IS NOT DISTINCT FROM {literal(row[one])}" for one in key)
        sql = f"SELECT {column} AS value, {n or 'NULL'} AS n FROM (\n{self.queries[panel]}\n)"
        found = row[column]
        number = Number(
            name=name,
            label=label,
            value=None if found is None else float(found),
            n=None if n is None or row[n] is None else int(row[n]),
            unit=unit,
            sql=f"{sql} WHERE {where}" if where else sql,
            reason="" if found is not None else reason or "nothing to measure it on",
            query=panel,
        )
        return self.add(number if estimate is None else with_interval(number, estimate))

    def share(
        self,
        name: str,
        label: str,
        panel: str,
        row: Row,
        part: str,
        whole: str,
        *,
        key: Sequence[str] = (),
        interval: bool = True,
        reason: str = "",
    ) -> Number:
        """Keep the share ``part`` / ``whole`` of a panel's row, with Wilson's interval where it is an estimate."""
        where = " AND ".join(f"{one} IS NOT DISTINCT FROM {literal(row[one])}" for one in key)
        sql = (
            f"SELECT {part} / nullif({whole}, 0) AS value, {whole} AS n FROM (\n{self.queries[panel]}\n)"
            + (f" WHERE {where}" if where else "")
        )
        k, n = int(row[part] or 0), int(row[whole] or 0)
        number = Number(
            name=name,
            label=label,
            value=k / n if n else None,
            n=n,
            unit="share",
            sql=sql,
            reason="" if n else reason or "nothing to measure it on",
            query=panel,
        )
        return self.add(with_interval(number, wilson(k, n)) if interval and n else number)

    def computed(
        self, name: str, label: str, sql: str, *, unit: Unit, reason: str = "", method: str = "", **more: Any
    ) -> Number:
        """Keep the number that a query of its own gives (columns `value` and `n`)."""
        text = self.filled(sql, **more)
        row = self._store.query(text, fresh=True, only=self._only).to_pylist()[0]
        value = row["value"]
        return self.add(
            Number(
                name=name,
                label=label,
                value=None if value is None else float(value),
                n=None if row["n"] is None else int(row["n"]),
                unit=unit,
                sql=text,
                reason="" if value is not None else reason or "nothing to measure it on",
                method=method,
            )
        )

    def widen(self, name: str, low: float | None, high: float | None, method: str) -> Number:
        """Give a kept number its interval."""
        self.numbers[name] = replace(self.numbers[name], low=low, high=high, method=method)
        return self.numbers[name]


def with_interval(number: Number, estimate: Estimate) -> Number:
    """Return a number with an estimate's interval; its value stays what the query gave."""
    return replace(number, low=estimate.low, high=estimate.high, method=estimate.method)


def literal(value: Any) -> str:
    """Return a value as SQL; `$` is spelled by code, since parameters start with it."""
    if value is None:
        return "NULL"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, datetime):
        return f"TIMESTAMPTZ '{value.isoformat()}'"
    return "'" + str(value).replace("'", "''").replace("$", "' || chr(36) || '") + "'"
