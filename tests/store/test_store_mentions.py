"""Waiting rows are copied for the tables that a statement reads: none is missed, whatever its words look like."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import duckdb
import pytest

from labelproof.store import TraceStore
from labelproof.store._mentions import names_read
from labelproof.store.schema import EVENT_TABLES, TABLES, VIEWS
from tests.store.store_helpers import at

VALUES: dict[str, Any] = {"VARCHAR": "x", "DOUBLE": 0.5, "BIGINT": 1, "BOOLEAN": True, "TIMESTAMPTZ": at(0)}


def row(table: str) -> dict[str, list[Any]]:
    """Return one row whose keys agree with those of every other table."""
    return {
        column.name: ["{}" if column.name.endswith("_json") else VALUES[column.type]]
        for column in TABLES[table].columns
    }


def tables_of(tree: str) -> set[str]:
    """Return the names of the tables and views in a parsed statement."""
    return {node["table_name"] for node in nodes(json.loads(tree)) if node.get("type") == "BASE_TABLE"}


def nodes(tree: Any) -> Iterator[dict[str, Any]]:
    if isinstance(tree, dict):
        yield tree
    for inner in tree.values() if isinstance(tree, dict) else tree if isinstance(tree, list) else ():
        yield from nodes(inner)


def test_every_table_and_view_holds_what_waits(store: TraceStore) -> None:
    store.append_many({name: row(name) for name in EVENT_TABLES})
    names = [*EVENT_TABLES, *VIEWS]
    waiting = {name: store.query(f'SELECT * FROM "{name}"', fresh=True).to_pylist() for name in names}
    assert all(len(waiting[name]) == 1 for name in EVENT_TABLES)
    store.drain_all()
    assert {name: store.query(f'SELECT * FROM "{name}"').to_pylist() for name in names} == waiting
    assert sum(bool(waiting[name]) for name in VIEWS) > len(VIEWS) / 2


def test_no_table_of_a_view_is_missed(store: TraceStore) -> None:
    """By DuckDB's own parser."""
    stored = store.query(
        "SELECT view_name, sql FROM duckdb_views() WHERE database_name = 'trace'"
    ).to_pylist()
    found = {one["view_name"]: one["sql"].partition(" AS ")[2].rstrip("; \n") for one in stored}
    assert set(VIEWS) <= set(found)
    with duckdb.connect() as parser:
        reads = {
            name: tables_of(
                parser.execute("SELECT json_serialize_sql(?::VARCHAR)", [found[name]]).fetchall()[0][0]
            )
            for name in VIEWS
        }
    assert all(reads.values())
    for name in VIEWS:
        left, all_of_it = {name}, set[str]()
        while left:
            all_of_it |= left
            left = {inner for outer in left for inner in reads.get(outer, ())} - all_of_it
        told = names_read(f"SELECT 1 FROM {name}")
        assert told is not None
        assert all_of_it & (TABLES.keys() | VIEWS.keys()) <= told


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM DECISIONS",
        'SELECT * FROM "Decisions"',
        "FROM (FROM decisions)",
        "WITH d AS (SELECT 1), e AS (FROM decisions) FROM e",
        "SELECT * FROM query('FROM ' || 'deci' || 'sions')",
        "SELECT * FROM query_table('deci' || 'sions')",
        "SELECT/**/*/**/FROM/**/decisions--",
    ],
)
def test_a_table_is_found_however_it_is_written(store: TraceStore, sql: str) -> None:
    store.append("decisions", row("decisions"))
    assert store.query(sql, fresh=True).num_rows == 1


def test_only_what_is_named_is_needed() -> None:
    named = names_read("SELECT count(*) FROM runs")
    assert named is not None
    assert named & TABLES.keys() == {"runs"}
    assert names_read("FROM query_table(getvariable('t'))") is None
