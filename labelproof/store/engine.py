"""Short connections to the store's database: read under the shared lock, write under the exclusive one.

Two engines share one face: the DuckDB file here, the DuckLake in ``lake.py``. Work is handed in as a
function of a cursor inside one transaction; it must return plain data (Arrow tables, lists), because
the database is let go when it returns.
"""

from __future__ import annotations

import threading
import time
import weakref
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, Protocol, TypeVar

import duckdb

from labelproof.spec.errors import StoreError
from labelproof.store._gate import InProcess, gate, join, leave, spare_connection
from labelproof.store.location import Location
from labelproof.store.outbox import fsync_path, new_batch_id

Cursor = duckdb.DuckDBPyConnection
T = TypeVar("T")
READ_WAIT_S = 30.0
_POLL_S = (0.001, 0.002, 0.005)
_WRITER_POLL_S = (0.03,)  # a reader waits for its answer, a drain does not: readers come first
SETTINGS = (
    "USE trace; SET TimeZone = 'UTC'; SET python_enable_replacements = false; "
    "SET enable_progress_bar = false"  # it would be printed into the output of --json
)
SESSION = f"{SETTINGS}; BEGIN"


class StoreBusy(StoreError):
    """Another process holds the database; try again later."""


class Engine(Protocol):
    """One database behind a store."""

    commit_order: str
    """ORDER BY terms that sort a table's rows by the time of their commit."""

    def exists(self) -> bool:
        """Whether there is a database to open."""

    def create(self, work: Callable[[Cursor], None]) -> None:
        """Make the database with what ``work`` does to it, all or nothing."""

    def read(self, work: Callable[[Cursor], T], *, wait_s: float = READ_WAIT_S) -> T:
        """Run ``work`` on one consistent snapshot; waits up to ``wait_s`` for a writer."""

    def held(self) -> AbstractContextManager[None]:
        """Keep the database open for this thread's reads in the block, which must not write."""

    def write(self, work: Callable[[Cursor], T], *, wait_s: float) -> T:
        """Run ``work`` in one transaction; ``StoreBusy`` when the lock is not free in ``wait_s``."""

    def close(self) -> None:
        """Let go of native resources."""


class FileEngine:
    """A DuckDB file. Attaching costs 1 ms, so nobody holds it longer than one query or drain."""

    commit_order = "rowid"

    def __init__(self, location: Location) -> None:
        self._location = location
        self._path = Path(location.target)
        self._gate = location.outbox / "gate.lock"
        resolved = self._path.resolve()
        self._state = join(resolved)
        self._close = weakref.finalize(self, leave, resolved, self._state)
        self._inside = threading.local()

    def close(self) -> None:
        """Let go of the native connections; the last store on the file closes them."""
        self._close()

    def exists(self) -> bool:
        """Whether the database file is there."""
        return self._path.exists()

    def create(self, work: Callable[[Cursor], None]) -> None:
        """Build the file under another name and rename it: nobody ever sees half a database."""
        draft = self._path.with_name(f".tmp-{new_batch_id()}.duckdb")
        for _ in attempts(READ_WAIT_S):
            with gate(self._gate, exclusive=True) as held:
                if not held:
                    continue
                if self.exists():
                    return
                connection = _native_writer()
                connection.execute(f"ATTACH {quoted(draft)} AS trace (STORAGE_VERSION 'v1.5.0')")
                cursor = connection.cursor()
                cursor.execute(SETTINGS)
                work(cursor)
                cursor.close()
                connection.execute("DETACH trace")
                connection.close()
                fsync_path(draft)
                draft.rename(self._path)
                fsync_path(self._path.parent)
                return
        raise StoreBusy(f"another process is making {self._location.shown} and does not finish")

    def read(self, work: Callable[[Cursor], T], *, wait_s: float = READ_WAIT_S) -> T:
        """Run ``work`` under the shared lock."""
        with self.held(wait_s=wait_s):
            return in_transaction(self._state.reader, work, commit=False)

    @contextmanager
    def held(self, *, wait_s: float = READ_WAIT_S) -> Iterator[None]:
        """Hold the shared lock: many queries then cost one attaching, and find its blocks in memory.

        Writers wait meanwhile, so the block is for seconds at most.
        """
        if getattr(self._inside, "is_held", False):
            yield
            return
        self._begin_reading(wait_s)
        self._inside.is_held = True
        try:
            yield
        finally:
            self._inside.is_held = False
            with self._state.mutex:
                self._leave_reading(self._state)

    def _begin_reading(self, wait_s: float) -> None:
        """Count this thread among the readers once no writer is in the way."""
        state, problem = self._state, "a writer of this process"
        for _ in attempts(wait_s):
            with gate(self._gate, exclusive=False) as passed, state.mutex:
                if not passed or state.writing or (state.writers_waiting and state.readers):
                    continue
                problem = self._enter_reading(state)
                if not problem:
                    return
        raise StoreBusy(
            f"{self._location.shown} could not be read within {wait_s:g} s: {problem}",
            hint="wait for the other process, or end it",
        )

    def write(self, work: Callable[[Cursor], T], *, wait_s: float) -> T:
        """Run ``work`` under the exclusive lock; the gate is held while readers inside finish."""
        deadline = time.monotonic() + wait_s
        for _ in attempts(wait_s, _WRITER_POLL_S):
            with gate(self._gate, exclusive=True) as held:
                if not held:
                    continue
                connection = self._enter_writing_by(deadline)
                try:
                    return in_transaction(connection, work, commit=True)
                finally:
                    self._leave_writing()
        raise StoreBusy(f"{self._location.shown} could not be written: another process is draining")

    def _enter_reading(self, state: InProcess) -> str:
        """Attach for the first reader; returns what is in the way, or nothing."""
        if state.readers == 0:
            if state.reader is None:
                state.reader = spare_connection("reader") or connect()
            statement = f"ATTACH {quoted(self._path)} AS trace (READ_ONLY)"
            problem = self._attach(state.reader, statement)
            if problem:
                return problem
        state.readers += 1
        return ""

    def _leave_reading(self, state: InProcess) -> None:
        state.readers -= 1
        if state.readers == 0:
            state.reader.execute("DETACH trace")

    def _enter_writing_by(self, deadline: float) -> Cursor:
        state = self._state
        problem = "this process is reading it"
        with state.mutex:
            state.writers_waiting += 1
        try:
            for _ in attempts(deadline - time.monotonic()):
                with state.mutex:
                    if state.readers or state.writing:
                        continue
                    problem = self._enter_writing(state)
                    if not problem:
                        writer: Cursor = state.writer
                        return writer
        finally:
            with state.mutex:
                state.writers_waiting -= 1
        raise StoreBusy(f"{self._location.shown} could not be written: {problem}")

    def _enter_writing(self, state: InProcess) -> str:
        if state.writer is None:
            state.writer = spare_connection("writer") or _native_writer()
        statement = f"ATTACH {quoted(self._path)} AS trace (STORAGE_VERSION 'v1.5.0')"
        problem = self._attach(state.writer, statement)
        state.writing = not problem
        return problem

    def _leave_writing(self) -> None:
        state = self._state
        with state.mutex:
            state.writing = False
            try:
                # Detaching checkpoints: readers never have to replay a log (measured: 3.6 us a row).
                state.writer.execute("DETACH trace")
            except duckdb.Error as error:
                state.writer.close()
                state.writer = None
                raise StoreError(
                    f"{self._location.shown} could not be checkpointed: {error}",
                    hint="check free disk space; the rows are safe in its write-ahead log",
                ) from error

    def _attach(self, connection: Cursor, statement: str) -> str:
        """Try once; returns who is in the way, or nothing. What waiting cannot mend raises."""
        try:
            connection.execute(statement)
        except duckdb.IOException as error:
            if "Could not set lock" in str(error):
                return str(error).split(". See also")[0]
            raise StoreError(
                f"{self._location.shown} cannot be opened: {error}",
                hint="name another store with --store, or restore this file from a backup",
            ) from error
        except duckdb.Error as error:
            raise StoreError(f"{self._location.shown} cannot be opened: {error}") from error
        return ""


def in_transaction(connection: Cursor, work: Callable[[Cursor], T], *, commit: bool) -> T:
    cursor = connection.cursor()
    try:
        cursor.execute(SESSION)
        result = work(cursor)
        cursor.execute("COMMIT" if commit else "ROLLBACK")
        return result
    finally:
        cursor.close()


def connect(config: Mapping[str, Any] | None = None) -> Cursor:
    """Return a native connection that never prints.

    In an interactive Python (also `python -c`) DuckDB draws a progress bar on stdout over whatever takes two
    seconds, attaching a slow catalog included, and the setting is no option of ``duckdb.connect``.
    """
    connection = duckdb.connect(config=dict(config or {}))
    connection.execute("SET enable_progress_bar = false")
    return connection


def _native_writer() -> Cursor:
    # One thread: a drain's inserts are small, and a second thread costs a third more CPU.
    connection = connect({"threads": 1})
    connection.execute("SET wal_autocheckpoint = '256MB'")
    return connection


def quoted(value: object) -> str:
    """Return ``value`` as a SQL string literal."""
    return "'" + str(value).replace("'", "''") + "'"


def attempts(wait_s: float, pauses_s: tuple[float, ...] = _POLL_S) -> Iterator[int]:
    """Yield once at once, then after growing pauses until ``wait_s`` seconds are over."""
    deadline = time.monotonic() + wait_s
    attempt = 0
    while True:
        yield attempt
        pause = pauses_s[min(attempt // 4, len(pauses_s) - 1)]
        if time.monotonic() + pause > deadline:
            return
        time.sleep(pause)
        attempt += 1
