"""The trace store's face: append without waiting, drain when free, read what is there."""

from __future__ import annotations

import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pyarrow as pa

from labelproof.spec.errors import StoreError
from labelproof.store._columns import Columns, build_table
from labelproof.store.drain import (
    BREATH_S,
    MAX_BYTES,
    MAX_SEGMENTS,
    BackgroundDrain,
    DrainReport,
    drain_once,
)
from labelproof.store.engine import Cursor, Engine, FileEngine
from labelproof.store.journal import CallJournal, identities
from labelproof.store.lake import LakeEngine
from labelproof.store.location import Location, parse_location
from labelproof.store.migrate import WRITE_WAIT_S, ensure_schema
from labelproof.store.outbox import Outbox, new_batch_id
from labelproof.store.reads import Params, Reader
from labelproof.store.recover import fold_orphans

_SEEN_TEXTS = 65_536


def open_store(url_or_path: str | Path, *, create: bool = True) -> TraceStore:
    """Return the store at a folder, a file or a URL, brought to this release's schema.

    Calls that a killed process paid for are taken over from its journal. ``create=False`` raises
    ``StoreError`` when there is none.
    """
    location = parse_location(url_or_path)
    engine: Engine = FileEngine(location) if location.kind == "duckdb" else LakeEngine(location)
    try:
        outbox = Outbox(location.outbox)
        if create or engine.exists():
            outbox.create()
        ensure_schema(engine, location, create=create)
        store = TraceStore(location, engine, outbox)
        store.fold_orphans()
    except BaseException:
        engine.close()
        raise
    return store


class TraceStore:
    """One open store; usable from any thread. Use as a context manager, or ``close`` it."""

    def __init__(self, location: Location, engine: Engine, outbox: Outbox) -> None:
        self.location = location
        self._engine = engine
        self._outbox = outbox
        self._reader = Reader(engine, outbox)
        self._journals: dict[str, CallJournal] = {}
        self._seen_texts: OrderedDict[str, None] = OrderedDict()
        self._secrets: dict[str, bytes] = {}
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of files and connections. Waiting rows stay durable in the outbox."""
        for journal in list(self._journals.values()):
            journal.close()
        self._engine.close()

    # --- writing -------------------------------------------------------------------------------

    def append(self, table: str, columns: Columns) -> str:
        """Store rows of one table; durable on return. Returns the batch id."""
        return self._append({table: columns})

    def append_many(self, tables: Mapping[str, Columns]) -> None:
        """Store rows of several tables as one durable batch: all of them, or none.

        Columns are equally long lists per table; a missing column is NULL. Texts this process has
        stored lately are left out. Wrong names, types or lengths raise ``StoreError``.
        """
        self._append(tables)

    def _append(self, tables: Mapping[str, Columns]) -> str:
        batch_id = new_batch_id()
        built: dict[str, pa.Table] = {}
        new_texts: list[str] = []
        for name, columns in tables.items():
            if name == "texts":
                columns, new_texts = self._new_texts(columns)
            table = build_table(name, columns)
            if table.num_rows:
                built[name] = table
        if built:
            self._outbox.write(built, batch_id)
        self._remember_texts(new_texts)
        if self._journals and "calls" in built:
            calls = set(identities(tables["calls"], built["calls"].num_rows))
            for journal in list(self._journals.values()):
                journal.acknowledge(calls)
        return batch_id

    def _new_texts(self, columns: Columns) -> tuple[Columns, list[str]]:
        if set(columns) != {"text_hash", "text"} or len({*map(len, columns.values())}) > 1:
            return columns, []
        new: dict[str, str] = {}
        with self._lock:
            for text_hash, text in zip(columns["text_hash"], columns["text"], strict=True):
                if text_hash in self._seen_texts:
                    self._seen_texts.move_to_end(text_hash)
                else:
                    new[text_hash] = text
        return {"text_hash": list(new), "text": list(new.values())}, list(new)

    def _remember_texts(self, hashes: Sequence[str]) -> None:
        with self._lock:
            self._seen_texts.update(dict.fromkeys(hashes))
            while len(self._seen_texts) > _SEEN_TEXTS:
                self._seen_texts.popitem(last=False)

    def journal(self, run_id: str) -> CallJournal:
        """Return this store's call journal of a run, always the same one."""
        with self._lock:
            return self._journals.setdefault(run_id, CallJournal(self._outbox.folder, run_id))

    # --- draining ------------------------------------------------------------------------------

    def drain(
        self, *, max_segments: int = 10, wait_s: float = 0.0, max_bytes: int = MAX_BYTES
    ) -> DrainReport:
        """Move the oldest waiting batches into the database, up to either bound.

        A lock that is not free within ``wait_s`` drains nothing. Orphaned journals are taken over.
        """
        self.fold_orphans()
        return drain_once(
            self._engine,
            self._outbox,
            max_segments=max_segments,
            max_bytes=max_bytes,
            wait_s=wait_s,
        )

    def drain_all(self, timeout_s: float = 60.0) -> DrainReport:
        """Drain in bounded steps until nothing waits or the time is over; ``left`` tells which."""
        deadline = time.monotonic() + timeout_s
        drained = 0
        while True:
            left_s = deadline - time.monotonic()
            report = self.drain(max_segments=MAX_SEGMENTS, wait_s=min(1.0, max(0.0, left_s)))
            drained += report.drained
            if report.left == 0 or left_s <= 0:
                return DrainReport(drained=drained, left=report.left)
            time.sleep(BREATH_S)

    def background_drain(self, interval_s: float = 1.0) -> BackgroundDrain:
        """Return a context manager whose thread drains about every ``interval_s`` seconds.

        It rests longer after an expensive drain, so that it takes a tenth of a core at most, and
        drains what is left when the block ends.
        """
        return BackgroundDrain(
            lambda: self.drain(max_segments=MAX_SEGMENTS, wait_s=min(0.5, interval_s)),
            lambda: self.drain_all(30.0),
            interval_s=interval_s,
        )

    def fold_orphans(self) -> int:
        """Store the calls in journals whose process is gone; returns how many."""
        return fold_orphans(self._outbox.folder, self._append, self._reader.calls_stored_for)

    # --- reading -------------------------------------------------------------------------------

    def query(
        self,
        sql: str,
        params: Params = None,
        *,
        fresh: bool = False,
        only: Collection[str] | None = None,
        given: Mapping[str, pa.Table] | None = None,
    ) -> pa.Table:
        """Return the result of one read-only statement; ``fresh`` includes the waiting batches.

        ``only``: the tables that the statement reads, itself or through views; waiting rows of others are then
        left alone, which keeps a frequent small query quick beside a run. ``given``: tables by a name of your choice.
        """
        return self._reader.query(sql, params, fresh=fresh, only=only, given=given)

    def held(self) -> AbstractContextManager[None]:
        """Return a context manager that keeps the database open for many queries of this thread, up to seconds.

        Each then costs a fraction. Writers wait until the block ends, so drain nothing in it; ``append`` is fine.
        """
        return self._engine.held()

    def steps_for(
        self, item_ids: Sequence[str], spec_fps: Sequence[str], repeat_idx: int
    ) -> list[dict[str, Any]]:
        """Return the stored good steps of these items and specs, the newest per item and step key.

        One scan answers any number of items: ask once per run or large batch.
        """
        return self._reader.steps_for(item_ids, spec_fps, repeat_idx)

    def calls_for(self, item_ids: Sequence[str]) -> list[dict[str, Any]]:
        """Return every paid call for these items with its ``response_text``: stored or journalled."""
        return self._reader.calls_for(item_ids)

    def secret(self, name: str) -> bytes:
        """Return 32 random bytes that belong to this store and name, the same for every process.

        They hide delimiters from the content being labelled; who can read the store can read them.
        """
        known = self._secrets.get(name)
        if known is not None:
            return known
        key = f"secret:{name}"
        found = self._engine.read(lambda cursor: self._first_meta(cursor, key))
        if found is None:
            self._engine.write(lambda cursor: self._add_meta(cursor, key), wait_s=WRITE_WAIT_S)
            found = self._engine.read(lambda cursor: self._first_meta(cursor, key))
        if found is None:
            raise StoreError(f"the secret {name!r} could not be kept in {self.location.shown}")
        self._secrets[name] = bytes.fromhex(found)
        return self._secrets[name]

    def _first_meta(self, cursor: Cursor, key: str) -> str | None:
        row = cursor.execute(
            f"SELECT value FROM meta WHERE key = ? ORDER BY {self._engine.commit_order} LIMIT 1",
            [key],
        ).fetchone()
        return None if row is None else str(row[0])

    def _add_meta(self, cursor: Cursor, key: str) -> None:
        # Two machines on a lake may both add one; the first commit is the one that counts.
        if self._first_meta(cursor, key) is None:
            cursor.execute("INSERT INTO meta SELECT ?, ?", [key, secrets.token_bytes(32).hex()])
