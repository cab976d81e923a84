"""The store in a DuckLake: many machines write, no file lock; a catalog in SQLite or PostgreSQL.

The extensions come from PyPI packages, so nothing is downloaded at run time.
"""

from __future__ import annotations

import os
import random
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from importlib.util import find_spec
from pathlib import Path

import duckdb

from labelproof.spec.errors import StoreError
from labelproof.store._gate import gate
from labelproof.store.engine import (
    READ_WAIT_S,
    SETTINGS,
    Cursor,
    StoreBusy,
    T,
    attempts,
    connect,
    in_transaction,
    quoted,
)
from labelproof.store.location import Location, masked

_CONFLICT_TRIES = 12
_PASSING = (
    "database is locked",
    "conflict",
    "failed to commit ducklake transaction",
    "could not serialize",
    "could not obtain lock",
    "deadlock",
    "duplicate key value",
    "unique constraint failed",
    "concurrent",
    "already exists",
    "server closed the connection",
    "connection refused",
    "starting up",
)
"""Marks, in lower case, of catalog errors that another try can mend."""


class LakeEngine:
    """A DuckLake. The attachment is kept: it holds no lock, and attaching takes tens of ms."""

    commit_order = "snapshot_id, rowid"

    def __init__(self, location: Location) -> None:
        self._location = location
        self._gate = location.outbox / "gate.lock"
        self._lock = threading.Lock()
        self._connection: Cursor | None = None

    def close(self) -> None:
        """Let go of the catalog connection."""
        with self._lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    def exists(self) -> bool:
        """Whether the catalog is there already."""
        if self._location.catalog == "sqlite":
            return Path(self._location.target.removeprefix("sqlite:")).exists()
        if self._connection is not None:
            return True
        try:
            self._connection = self._attach(create=False)
        except (duckdb.Error, StoreError) as error:
            if "does not exist" in str(error) or "not been initialized" in str(error):
                return False
            raise self._cannot_open(error) from error
        return True

    def create(self, work: Callable[[Cursor], None]) -> None:
        """Initialise the catalog; two machines may do this at once, one of them then retries."""
        data = self._location.data
        if data is not None and "://" not in data:
            Path(data).mkdir(parents=True, exist_ok=True)

        def once() -> None:
            cursor = self._cursor(create=True)
            try:
                cursor.execute(SETTINGS)
                work(cursor)
            finally:
                cursor.close()

        self._retried(once)

    def read(self, work: Callable[[Cursor], T], *, wait_s: float = READ_WAIT_S) -> T:
        """Run ``work`` on one snapshot of the lake."""
        return self._retried(lambda: in_transaction(self._open(), work, commit=False))

    def held(self) -> AbstractContextManager[None]:
        """Do nothing: the catalog stays attached anyway, and each read has its own snapshot."""
        return nullcontext()

    def write(self, work: Callable[[Cursor], T], *, wait_s: float) -> T:
        """Run ``work`` in one transaction, again from the start when the catalog has a conflict.

        The gate only keeps the processes of this machine from draining the same outbox at once.
        """
        for _ in attempts(wait_s):
            with gate(self._gate, exclusive=True) as held:
                if held:
                    return self._retried(lambda: in_transaction(self._open(), work, commit=True))
        raise StoreBusy("another process is draining this outbox")

    def _retried(self, act: Callable[[], T]) -> T:
        for attempt in range(_CONFLICT_TRIES):
            try:
                return act()
            except duckdb.Error as error:
                if not is_passing(error):
                    raise
                problem = error
                if isinstance(error, duckdb.FatalException | duckdb.ConnectionException):
                    self.close()
            time.sleep(min(2.0, 0.02 * 2**attempt) * random.uniform(0.5, 1.5))
        raise StoreBusy(
            f"{self._location.shown} refused {_CONFLICT_TRIES} attempts: {masked(str(problem))}",
            hint="waiting rows stay in the outbox; look at the catalog database",
        ) from problem

    def _open(self) -> Cursor:
        return self._attached(create=False)

    def _cursor(self, *, create: bool) -> Cursor:
        return self._attached(create=create).cursor()

    def _attached(self, *, create: bool) -> Cursor:
        with self._lock:
            if self._connection is None:
                self._connection = self._attach(create=create)
            return self._connection

    def _attach(self, *, create: bool) -> Cursor:
        location = self._location
        connection = connect({"autoinstall_known_extensions": False})
        try:
            for name in _needed(location):
                connection.execute(f"LOAD {quoted(extension_path(name))}")
            secret = s3_secret(os.environ)
            if secret and "://" in (location.data or ""):
                connection.execute(secret)
            options = [f"DATA_PATH {quoted(location.data)}"]
            if not create:
                options.append("CREATE_IF_NOT_EXISTS false")
            connection.execute(
                f"ATTACH {quoted(f'ducklake:{location.target}')} AS trace ({', '.join(options)})"
            )
        except duckdb.Error as error:
            connection.close()
            if is_passing(error):
                raise
            raise self._cannot_open(error) from error
        return connection

    def _cannot_open(self, error: Exception) -> StoreError:
        return StoreError(
            f"{self._location.shown} cannot be opened: {masked(str(error))}",
            hint="check that the catalog database is running and the data path is reachable",
        )


def is_passing(error: duckdb.Error) -> bool:
    """Return whether another try may succeed: a catalog conflict, a lock, a server restarting."""
    text = str(error).lower()
    return any(mark in text for mark in _PASSING)


def extension_path(name: str) -> Path:
    """Return the file of a DuckDB extension from its PyPI package; ``StoreError`` names what to install."""
    package = f"duckdb_extension_{name}"
    spec = find_spec(package)
    wanted = f"{package.replace('_', '-')}=={duckdb.__version__}"
    if spec is None or spec.origin is None:
        raise StoreError(f"the DuckDB extension {name!r} is not installed", hint=f"install {wanted}")
    folder = Path(spec.origin).parent / "extensions" / f"v{duckdb.__version__}"
    path = folder / f"{name}.duckdb_extension"
    if not path.exists():
        raise StoreError(
            f"the installed extension {name!r} is not built for DuckDB {duckdb.__version__}",
            hint=f"install {wanted}",
        )
    return path


def s3_secret(env: Mapping[str, str]) -> str | None:
    """Return the statement that gives httpfs the standard AWS_* variables; None without a key."""
    key, secret = env.get("AWS_ACCESS_KEY_ID"), env.get("AWS_SECRET_ACCESS_KEY")
    if not key or not secret:
        return None
    parts = ["TYPE s3", f"KEY_ID {quoted(key)}", f"SECRET {quoted(secret)}"]
    if env.get("AWS_SESSION_TOKEN"):
        parts.append(f"SESSION_TOKEN {quoted(env['AWS_SESSION_TOKEN'])}")
    region = env.get("AWS_REGION") or env.get("AWS_DEFAULT_REGION")
    if region:
        parts.append(f"REGION {quoted(region)}")
    endpoint = env.get("AWS_ENDPOINT_URL_S3") or env.get("AWS_ENDPOINT_URL")
    if endpoint:
        scheme, _, host = endpoint.rpartition("://")
        parts += [f"ENDPOINT {quoted(host)}", "URL_STYLE 'path'"]
        parts.append(f"USE_SSL {'false' if scheme == 'http' else 'true'}")
    return f"CREATE OR REPLACE SECRET labelproof_s3 ({', '.join(parts)})"


def _needed(location: Location) -> list[str]:
    names = ["sqlite_scanner" if location.catalog == "sqlite" else "postgres_scanner"]
    if "://" in (location.data or ""):
        names.append("httpfs")
    return [*names, "ducklake"]
