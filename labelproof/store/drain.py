"""From the outbox into the database: bounded, one transaction, and never the same batch twice."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from types import TracebackType
from typing import Self

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from labelproof.spec.errors import StoreError
from labelproof.store.engine import Cursor, Engine, StoreBusy
from labelproof.store.location import masked
from labelproof.store.outbox import DamagedSegment, Outbox, Segment
from labelproof.store.schema import ARROW_TYPES

MAX_BYTES = 5 << 20
"""One drain's bound by size: about 12 000 rows, a quarter of a second under the lock."""
BREATH_S = 0.02
"""Pause between the steps of a long drain: waiting readers, who look every 5 ms, go first."""
MAX_SEGMENTS = 64
_REST = 9.0
"""The background thread rests this many times the CPU a drain took: at most a tenth of a core."""
_log = logging.getLogger(__name__)

Loaded = tuple[Segment, dict[str, pa.Table]]


@dataclass(frozen=True, slots=True, kw_only=True)
class DrainReport:
    """What a drain did: segments drained, segments still waiting (other writers' new ones included)."""

    drained: int
    left: int


def drain_once(
    engine: Engine, outbox: Outbox, *, max_segments: int, max_bytes: int, wait_s: float
) -> DrainReport:
    """Drain the oldest segments up to either bound (at least one); a taken lock drains nothing."""
    waiting = outbox.waiting()
    if not waiting:
        return DrainReport(drained=0, left=0)
    try:
        drained = engine.write(
            # Listed again under the lock: whoever held it before may have drained the same ones.
            lambda cursor: drain_into(
                cursor, load_waiting(outbox, max_segments=max_segments, max_bytes=max_bytes)
            ),
            wait_s=wait_s,
        )
    except StoreBusy:
        return DrainReport(drained=0, left=len(waiting))
    except duckdb.Error as error:
        raise StoreError(
            f"{len(waiting)} waiting batches could not be drained: {masked(str(error))}",
            hint="they stay in the outbox; check disk space and the store's schema version",
        ) from error
    outbox.remove(drained)
    return DrainReport(drained=len(drained), left=len(outbox.waiting()))


def load_waiting(
    outbox: Outbox, *, max_segments: int | None = None, max_bytes: int | None = None
) -> list[Loaded]:
    """Return the waiting segments with their tables, oldest first; damaged ones are set aside."""
    loaded: list[Loaded] = []
    n_bytes = 0
    waiting = outbox.waiting()
    outbox.forget_all_but(segment.batch_id for segment in waiting)
    for segment in waiting:
        if max_segments is not None and len(loaded) >= max_segments:
            break
        if max_bytes is not None and n_bytes >= max_bytes:
            break
        try:
            tables = outbox.load(segment)
        except DamagedSegment as error:
            outbox.quarantine(segment, error)
            continue
        if tables is not None:
            loaded.append((segment, tables))
            n_bytes += sum(table.nbytes for table in tables.values())
    return loaded


def drain_into(cursor: Cursor, loaded: Sequence[Loaded]) -> list[Segment]:
    """Insert segments that the ledger does not know; returns those that may now be deleted."""
    known = known_batches(cursor, [segment.batch_id for segment, _ in loaded])
    fresh = [(segment, tables) for segment, tables in loaded if segment.batch_id not in known]
    ledger: list[tuple[str, str, int]] = []
    by_table: dict[str, list[pa.Table]] = {}
    for segment, tables in fresh:
        for name, table in tables.items():
            by_table.setdefault(name, []).append(table)
            ledger.append((segment.batch_id, name, table.num_rows))
    for name, parts in by_table.items():
        rows = pa.concat_tables(parts, promote_options="default")
        _insert(cursor, name, one_row_per_text(rows) if name == "texts" else rows)
    if ledger:
        _insert(cursor, "ledger_batches", _ledger_rows(ledger))
    return [segment for segment, _ in loaded]


def known_batches(cursor: Cursor, batch_ids: Iterable[str]) -> set[str]:
    """Return which of these batches have been drained."""
    rows = cursor.execute(
        "SELECT DISTINCT batch_id FROM ledger_batches WHERE batch_id IN (SELECT unnest(?))",
        [list(batch_ids)],
    ).fetchall()
    return {batch_id for (batch_id,) in rows}


def one_row_per_text(rows: pa.Table) -> pa.Table:
    """Return the ``texts`` rows with each hash once."""
    hashes = rows["text_hash"]
    if pc.count_distinct(hashes, mode="all").as_py() == rows.num_rows:
        return rows
    first: dict[str, int] = {}
    for row, text_hash in enumerate(hashes.to_pylist()):
        first.setdefault(text_hash, row)
    return rows.take(pa.array(list(first.values()), type=pa.int64()))


def _insert(cursor: Cursor, table: str, rows: pa.Table) -> None:
    cursor.register("incoming", rows)
    cursor.execute(f'INSERT INTO trace."{table}" BY NAME SELECT * FROM incoming')
    cursor.unregister("incoming")


def _ledger_rows(ledger: Sequence[tuple[str, str, int]]) -> pa.Table:
    batch_ids, tables, counts = zip(*ledger, strict=True)
    return pa.table(
        {
            "batch_id": pa.array(batch_ids, type=pa.string()),
            "table_name": pa.array(tables, type=pa.string()),
            "n_rows": pa.array(counts, type=pa.int64()),
            "ts": pa.array([datetime.now(UTC)] * len(ledger), type=ARROW_TYPES["TIMESTAMPTZ"]),
        }
    )


class BackgroundDrain:
    """A thread that drains about once a second while the block runs, and the rest at its end."""

    def __init__(
        self,
        drain: Callable[[], DrainReport],
        finish: Callable[[], DrainReport],
        *,
        interval_s: float,
    ) -> None:
        self._drain = drain
        self._finish = finish
        self._interval_s = interval_s
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="labelproof-drain", daemon=True)
        self.cpu_s = 0.0
        """CPU seconds the drains took so far, this thread's."""

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        self._thread.join()
        try:
            self._finish()
        except StoreError as problem:
            # Every row is acknowledged and durable in the outbox: the run's work is not in danger.
            _log.warning("waiting rows stay in the outbox: %s", problem)

    def _run(self) -> None:
        pause = self._interval_s
        while not self._stop.wait(pause):
            before = time.thread_time()
            try:
                self._drain()
                pause = self._interval_s
            except Exception:  # noqa: BLE001 - see below
                # A drain that fails loses nothing; a thread that dies would silently stop draining.
                _log.exception("a background drain failed; the next one tries again")
                pause = min(60.0, pause * 2)
            spent = time.thread_time() - before
            self.cpu_s += spent
            pause = max(pause, _REST * spent)
