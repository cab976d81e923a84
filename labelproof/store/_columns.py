"""Columns of Python values in, one Arrow table with the schema's types out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from labelproof.spec.errors import StoreError
from labelproof.store.schema import arrow_schema, event_table

Columns = Mapping[str, Sequence[Any]]


def build_table(table: str, columns: Columns) -> pa.Table:
    """Return ``columns`` (equal lengths) as an Arrow table in storage order; missing ones are NULL.

    Values are what the column's type says: str, int, float, bool, ``datetime`` (a naive one is
    taken as UTC), or None. An unknown table or column, an unequal length or a value of another type
    raises ``StoreError``: nothing is coerced silently, nothing is partly written.
    """
    schema = arrow_schema(table)
    unknown = [name for name in columns if name not in event_table(table).column_names]
    if unknown:
        raise StoreError(
            f"table {table!r} has no column {', '.join(map(repr, unknown))}; it has "
            f"{', '.join(event_table(table).column_names)}"
        )
    n_rows = _common_length(table, columns)
    arrays = []
    for field in schema:
        values = columns.get(field.name)
        if values is None:
            arrays.append(pa.nulls(n_rows, field.type))
        else:
            arrays.append(_array(table, field, values))
    return pa.Table.from_arrays(arrays, schema=schema)


def _array(table: str, field: pa.Field, values: Sequence[Any]) -> pa.Array:
    try:
        if isinstance(values, pa.Array | pa.ChunkedArray):
            return values.cast(field.type)
        return pa.array(values, type=field.type)
    except (pa.ArrowException, UnicodeEncodeError, TypeError, OverflowError) as error:
        row = _first_bad_row(field, values)
        found = f"row {row}: {values[row]!r:.80}" if row is not None else str(error)
        raise StoreError(f"column {table}.{field.name} takes {field.type} or None, found {found}") from error


def _first_bad_row(field: pa.Field, values: Sequence[Any]) -> int | None:
    for row, value in enumerate(values):
        try:
            pa.array([value], type=field.type)
        except (pa.ArrowException, UnicodeEncodeError, TypeError, OverflowError):
            return row
    return None


def _common_length(table: str, columns: Columns) -> int:
    lengths = {name: len(values) for name, values in columns.items()}
    if len(set(lengths.values())) > 1:
        raise StoreError(f"the columns of {table!r} must be equally long, found {lengths}")
    return next(iter(lengths.values()), 0)


def rows_of(table: pa.Table) -> list[dict[str, Any]]:
    """Return an Arrow table as a list of dicts, several times faster than ``to_pylist``."""
    names = table.column_names
    columns = [column.to_pylist() for column in table.columns]
    return [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]


def columns_of(rows: Sequence[Mapping[str, Any]], names: Sequence[str]) -> dict[str, list[Any]]:
    """Return rows turned into columns; a row without a name has None there."""
    return {name: [row.get(name) for row in rows] for name in names}
