"""One database for all app processes: SQLite in a private file, or a server.

A writing transaction takes SQLite's write lock when it begins (BEGIN IMMEDIATE): one that begins as a reader and
writes later fails at once when another process wrote in between, and no waiting helps it. Inside a process writers
queue at a lock of their own, since SQLite's waiting sleeps in steps and is not fair.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, Table, Update, bindparam, create_engine, event, update
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, IntegrityError, NoSuchModuleError, SQLAlchemyError

from labelproof.spec.errors import ConfigError, StoreError
from labelproof.store.location import masked

BUSY_S = 15.0
"""How long a writer waits for other processes."""
_WRITES = "office_write"
_POSTGRES_HINT = "install psycopg2 (pip install psycopg2-binary), or another driver and name it in the URL"
_FORMS = "expected a file, or a URL like postgresql+psycopg2://user:password@host/database"


class Database:
    """Transactions on one engine; thread-safe. ``shown``: the address without passwords, for messages."""

    def __init__(self, engine: Engine, *, shown: str) -> None:
        self.shown = shown
        self._engine = engine
        self._writing = engine.execution_options(**{_WRITES: True})
        local = engine.dialect.name == "sqlite"
        self._turn: contextlib.AbstractContextManager[object] = (
            threading.Lock() if local else contextlib.nullcontext()
        )

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Give a connection for reading; what goes wrong in the database raises ``StoreError``."""
        with self._errors(), self._engine.begin() as connection:
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """Give a connection in a writing transaction: all of it happens, or, after an exception, nothing."""
        with self._errors(), self._turn, self._writing.begin() as connection:
            yield connection

    def close(self) -> None:
        """Close idle connections; those in use close when their transaction ends."""
        self._engine.dispose()

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except SQLAlchemyError as error:
            # The first line alone: what follows may show the row.
            said = masked(str(getattr(error, "orig", None) or error)).partition("\n")[0]
            hint = "see that the file and its folder can be written, or that the database server is reachable"
            if "locked" in said:
                hint = f"another process held it for {BUSY_S:.0f} s: see what runs on this file"
            raise StoreError(f"the office {self.shown} could not be used: {said}", hint=hint) from error


def insert_if_absent(connection: Connection, table: Table, row: Mapping[str, Any]) -> bool:
    """Return whether the row is new; False when its key is there, also when somebody just wrote it."""
    # SQLite takes back a refused statement alone; PostgreSQL gives the transaction up without a savepoint.
    local = connection.dialect.name == "sqlite"
    try:
        with contextlib.nullcontext() if local else connection.begin_nested():
            connection.execute(table.insert(), row)
    except IntegrityError:
        return False
    return True


def upsert(connection: Connection, table: Table, row: Mapping[str, Any]) -> None:
    """Write the row; one with the same key gets its values."""
    values = {f"new_{name}": value for name, value in row.items()}
    if connection.execute(_overwrite(table), values).rowcount == 0 and not insert_if_absent(
        connection, table, row
    ):
        connection.execute(_overwrite(table), values)


@cache
def _overwrite(table: Table) -> Update:
    # SQLAlchemy does not cache the compiled form of ON CONFLICT statements, which costs more than a second one.
    same = [column == bindparam(f"new_{column.name}") for column in table.primary_key]
    news: dict[str, Any] = {
        column.name: bindparam(f"new_{column.name}") for column in table.c if not column.primary_key
    }
    return update(table).where(*same).values(news)


def open_database(url: str | Path) -> Database:
    """Return the database at a path or SQLAlchemy URL; a URL or driver that will not do raises ``ConfigError``."""
    given = os.fspath(url)
    if not given.strip():
        raise ConfigError(f"the office has an empty address; {_FORMS}", key="LABELPROOF_OFFICE")
    try:
        parsed = make_url(given) if "://" in given else _file_url(Path(given))
        if parsed.get_backend_name() == "sqlite":
            return _sqlite(parsed)
        engine = create_engine(parsed, pool_pre_ping=True, hide_parameters=True, pool_recycle=1800)
    except (ArgumentError, NoSuchModuleError) as error:
        said = str(error).splitlines()[0].removesuffix(f" from given URL string: {given!r}")
        raise ConfigError(f"{masked(given)!r} is no database: {masked(said)}; {_FORMS}") from None
    except ModuleNotFoundError as error:
        hint = _POSTGRES_HINT if given.startswith("postgres") else f"install {error.name}"
        raise ConfigError(
            f"the office {masked(given)} needs the Python package {error.name}, which is not installed",
            hint=hint,
        ) from error
    return Database(engine, shown=masked(parsed.render_as_string()))


def _file_url(path: Path) -> URL:
    return URL.create("sqlite", database=str(path.expanduser().absolute()))


def _sqlite(url: URL) -> Database:
    if url.database in (None, "", ":memory:") or (url.database or "").startswith("file:"):
        raise ConfigError("an office in memory is of no use to other processes; name a file")
    path = Path(str(url.database)).expanduser().absolute()
    _private_file(path)
    engine = create_engine(
        url.set(database=str(path)),
        connect_args={"timeout": BUSY_S},
        pool_size=8,
        max_overflow=64,
        hide_parameters=True,
    )
    event.listen(engine, "connect", _on_connect)
    event.listen(engine, "begin", _on_begin)
    return Database(engine, shown=str(path))


def _private_file(path: Path) -> None:
    """Make the file readable by its owner alone before SQLite writes; its -wal and -shm files follow its mode."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
        if path.stat().st_mode & 0o077:
            path.chmod(0o600)
        _write_ahead(path)
    except (OSError, sqlite3.Error) as error:
        raise ConfigError(
            f"the office file cannot be used: {error}",
            path=path,
            hint="name a file that you may write with LABELPROOF_OFFICE, on a local disk",
        ) from error


def _write_ahead(path: Path) -> None:
    """Set the file's journal mode, which stays with it.

    Changing it needs the file for itself, and SQLite does not always wait for that: two processes that open a
    new office at once would meet here.
    """
    deadline = time.monotonic() + BUSY_S
    while True:
        try:
            with contextlib.closing(sqlite3.connect(path, timeout=BUSY_S)) as connection:
                connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(0.02)
        else:
            return


def _on_connect(connection: Any, _record: object) -> None:
    # SQLAlchemy begins transactions below; sqlite3's own beginning is late and never IMMEDIATE.
    connection.isolation_level = None
    connection.execute("PRAGMA synchronous = NORMAL")


def _on_begin(connection: Connection) -> None:
    writes = connection.get_execution_options().get(_WRITES, False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
