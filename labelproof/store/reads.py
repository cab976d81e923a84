"""Reading: SQL on one snapshot, with the rows still waiting in the outbox when asked for."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import duckdb
import pyarrow as pa

from labelproof.spec.errors import StoreError
from labelproof.store._columns import rows_of
from labelproof.store._mentions import names_read
from labelproof.store.drain import Loaded, known_batches, load_waiting
from labelproof.store.engine import Cursor, Engine
from labelproof.store.journal import Identity, identity, journal_paths, read_journal
from labelproof.store.location import masked
from labelproof.store.outbox import Outbox

Params = Sequence[Any] | Mapping[str, Any] | None

_STEPS = """
SELECT s.* FROM steps AS s
SEMI JOIN wanted_items AS i ON s.item_id = i.item_id
SEMI JOIN wanted_specs AS f ON s.spec_fp = f.spec_fp
WHERE s.status = 'ok' AND s.output_json IS NOT NULL AND s.repeat_idx = ?
QUALIFY row_number() OVER (
    PARTITION BY s.item_id, s.step_key ORDER BY s.ts DESC NULLS LAST, s.run_id DESC
) = 1
ORDER BY s.item_id, s.seq
"""
_CALLS = """
WITH found AS (
    SELECT c.* FROM calls AS c SEMI JOIN wanted_items AS i ON c.item_id = i.item_id
)
SELECT found.*, t.text AS response_text
FROM found
LEFT JOIN (
    SELECT text_hash, any_value(text) AS text FROM texts
    SEMI JOIN found ON texts.text_hash = found.response_hash
    GROUP BY text_hash
) AS t ON found.response_hash = t.text_hash
"""
_IDENTITIES = """
SELECT c.run_id, c.item_id, c.step_key, c.call_idx, c.call_key
FROM calls AS c SEMI JOIN wanted_items AS i ON c.item_id = i.item_id
"""


class Reader:
    """Queries against one store."""

    def __init__(self, engine: Engine, outbox: Outbox) -> None:
        self._engine = engine
        self._outbox = outbox

    def query(
        self,
        sql: str,
        params: Params = None,
        *,
        fresh: bool = False,
        only: Collection[str] | None = None,
        given: Mapping[str, pa.Table] | None = None,
    ) -> pa.Table:
        """Return the result of one statement; ``given`` tables can be named in it.

        ``fresh`` adds the outbox's waiting rows to every table and view. What was acknowledged
        before the call is seen exactly once, whoever drains meanwhile: segments are listed before
        the snapshot is taken, and the snapshot's ledger tells which of them it already holds.
        ``only`` names the tables the statement needs: the others' waiting rows are not copied. Without it they are
        those that the statement, and the views it reads, name.
        """
        waiting = load_waiting(self._outbox) if fresh else []
        needed = names_read(sql) if waiting and only is None else only

        def work(cursor: Cursor) -> pa.Table:
            if waiting:
                _shadow_tables(cursor, waiting, needed)
            for name, table in (given or {}).items():
                cursor.register(name, table)
            result = cursor.execute(sql, params)
            return result.to_arrow_table()

        try:
            return self._engine.read(work)
        except duckdb.Error as error:
            raise StoreError(
                f"the query failed: {masked(str(error))}",
                hint="run `labelproof sql --schema` for all tables and columns",
            ) from error

    def steps_for(
        self, item_ids: Sequence[str], spec_fps: Sequence[str], repeat_idx: int
    ) -> list[dict[str, Any]]:
        """Return stored good steps of these items and step specs, the newest per item and step key."""
        if not item_ids or not spec_fps:
            return []
        given = {"wanted_items": _column("item_id", item_ids)}
        given["wanted_specs"] = _column("spec_fp", spec_fps)
        return rows_of(self.query(_STEPS, [repeat_idx], fresh=True, given=given))

    def calls_for(self, item_ids: Sequence[str]) -> list[dict[str, Any]]:
        """Return every paid call for these items, with ``response_text``, wherever it is stored.

        Journals are read first, then the outbox, then the database: the direction calls travel, so
        none can slip past. A call found twice is returned once, the stored row winning.
        """
        if not item_ids:
            return []
        wanted = set(item_ids)
        journalled = [
            row
            for path in journal_paths(self._outbox.folder)
            for row in read_journal(path)
            if row.get("item_id") in wanted
        ]
        given = {"wanted_items": _column("item_id", item_ids)}
        table = self.query(_CALLS, fresh=True, given=given)
        rows = rows_of(table)
        seen = {identity(row) for row in rows}
        for row in journalled:
            if identity(row) not in seen:
                seen.add(identity(row))
                rows.append({name: row.get(name) for name in table.column_names})
        rows.sort(key=_call_order)
        return rows

    def calls_stored_for(self, item_ids: Sequence[str]) -> set[Identity]:
        """Return the identities of the calls for these items in database and outbox."""
        if not item_ids:
            return set()
        given = {"wanted_items": _column("item_id", item_ids)}
        table = self.query(_IDENTITIES, fresh=True, given=given)
        return {identity(row) for row in rows_of(table)}


def _column(name: str, values: Sequence[str]) -> pa.Table:
    return pa.table({name: pa.array(list(dict.fromkeys(values)), type=pa.string())})


def _shadow_tables(cursor: Cursor, waiting: Sequence[Loaded], only: Collection[str] | None) -> None:
    """Put a temporary view with the waiting rows before each table that has some."""
    known = known_batches(cursor, [segment.batch_id for segment, _ in waiting])
    by_table: dict[str, list[pa.Table]] = {}
    for segment, tables in waiting:
        if segment.batch_id not in known:
            for name, table in tables.items():
                if only is None or name in only:
                    by_table.setdefault(name, []).append(table)
    for name, parts in by_table.items():
        # Copied, not scanned in place: DuckDB pushes join filters down that Arrow scans refuse.
        cursor.register(f"arrow_{name}", pa.concat_tables(parts, promote_options="default"))
        cursor.execute(f"CREATE TEMP TABLE waiting_{name} AS SELECT * FROM arrow_{name}")
        cursor.unregister(f"arrow_{name}")
        cursor.execute(
            f'CREATE TEMP VIEW "{name}" AS SELECT * FROM trace."{name}" '
            f"UNION ALL BY NAME SELECT * FROM waiting_{name}"
        )


def _call_order(row: Mapping[str, Any]) -> tuple[str, str, int, str]:
    return row["item_id"], row["step_key"] or "", row["call_idx"] or 0, row["call_key"] or ""
