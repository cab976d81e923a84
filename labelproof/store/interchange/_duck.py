"""In-memory DuckDB connections that read sources, each shut in to what its source needs.

Nothing here is downloaded: extensions come from their PyPI packages at the pinned DuckDB version. A
file source may open that file and nothing else; a query is the user's own and may read what the
user can, but it must be one SELECT.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from importlib.resources import files
from pathlib import Path

import duckdb
import pyarrow as pa

from labelproof.spec.errors import ConfigError
from labelproof.store.engine import connect

REMOTE_SCHEMES = ("http://", "https://", "s3://", "gcs://", "gs://", "r2://", "hf://")
_ROWS_PER_BATCH = 10_000
_OFFLINE: dict[str, str | bool | int | float | list[str]] = {
    "autoinstall_known_extensions": False,
    "autoload_known_extensions": False,
    "allow_community_extensions": False,
    "allow_persistent_secrets": False,
}
_QUERY_EXTENSIONS = {
    "sqlite_scan": "sqlite_scanner",
    "postgres_scan": "postgres_scanner",
    "postgres_query": "postgres_scanner",
    "://": "httpfs",
}


def is_remote(path: str) -> bool:
    return path.lower().startswith(REMOTE_SCHEMES)


def load_extension(con: duckdb.DuckDBPyConnection, name: str) -> None:
    """Load the extension ``name`` from its PyPI package; ``ConfigError`` says what to install."""
    package = f"duckdb_extension_{name}"
    try:
        import_module(package)
    except ImportError as error:
        raise ConfigError(
            f"DuckDB extension {name!r} is not installed",
            hint=f"uv sync (or: uv pip install {package.replace('_', '-')}=={duckdb.__version__})",
        ) from error
    binary = files(package) / "extensions" / f"v{duckdb.__version__}" / f"{name}.duckdb_extension"
    try:
        con.execute(f"LOAD {_literal(str(binary))}")
    except duckdb.Error as error:
        raise ConfigError(
            f"DuckDB {duckdb.__version__} cannot load extension {name!r}: {error}",
            hint="the extension package and duckdb must be of the same version: uv sync",
        ) from error


def extension_problem(name: str) -> str | None:
    """Return why the extension ``name`` cannot be used here, None if it loads."""
    con = connect(_OFFLINE)
    try:
        load_extension(con, name)
    except ConfigError as error:
        return error.message
    finally:
        con.close()
    return None


@contextmanager
def connect_for(paths: Sequence[str], *, folders: Sequence[str] = ()) -> Iterator[duckdb.DuckDBPyConnection]:
    """Yield a connection that can open ``paths`` (and what is below ``folders``), nothing else."""
    con = connect(_OFFLINE)
    try:
        if any(is_remote(path) for path in (*paths, *folders)):
            _prepare_remote(con)
        con.execute("SET allowed_paths = ?", [list(paths)])
        con.execute("SET allowed_directories = ?", [list(folders)])
        con.execute("SET enable_external_access = false")
        con.execute("SET lock_configuration = true")
        yield con
    finally:
        con.close()


@contextmanager
def connect_for_query(query: str, folder: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """Yield a connection for the user's ``query``; relative paths in it start at ``folder``.

    Raises ``ConfigError`` unless ``query`` is exactly one SELECT.
    """
    try:
        statements = duckdb.extract_statements(query)
    except duckdb.Error as error:
        raise ConfigError(f"cannot read the query: {error}", key="query") from error
    if len(statements) != 1 or statements[0].type != duckdb.StatementType.SELECT:
        kinds = ", ".join(statement.type.name for statement in statements) or "nothing"
        raise ConfigError(f"expected one SELECT, found {kinds}", key="query")
    con = connect({**_OFFLINE, "file_search_path": str(folder)})
    try:
        wanted = {name for word, name in _QUERY_EXTENSIONS.items() if word in query.lower()}
        for name in sorted(wanted):
            if name == "httpfs":
                _prepare_remote(con)
            else:
                load_extension(con, name)
        yield con
    finally:
        con.close()


def batches(
    con: duckdb.DuckDBPyConnection, sql: str, parameters: Sequence[object] = ()
) -> Iterator[pa.RecordBatch]:
    """Yield the result as Arrow batches while it is computed; memory holds a few batches."""
    reader = con.execute(sql, parameters).to_arrow_reader(_ROWS_PER_BATCH)
    yield from reader


def expand_remote(pattern: str) -> list[str]:
    """Return the URLs that a remote wildcard stands for, sorted; only object stores can list."""
    prefix = pattern[: min(pattern.index(mark) for mark in "*?[" if mark in pattern)]
    folder = prefix[: prefix.rindex("/") + 1]
    with connect_for([pattern], folders=[folder]) as con:
        rows = con.execute("SELECT file FROM glob(?) ORDER BY file", [pattern]).fetchall()
    return [str(row[0]) for row in rows]


def download(url: str, target: Path) -> None:
    """Write what ``url`` holds to ``target``. The whole file passes through memory once."""
    with connect_for([url, str(target)]) as con:
        con.execute(
            f"COPY (SELECT content FROM read_blob(?)) TO {_literal(str(target))} (FORMAT BLOB)",
            [url],
        )


def _prepare_remote(con: duckdb.DuckDBPyConnection) -> None:
    load_extension(con, "httpfs")
    con.execute("SET enable_server_cert_verification = true")
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    if endpoint:
        scheme, _, host = endpoint.rpartition("://")
        con.execute("SET s3_endpoint = ?", [host.rstrip("/")])
        con.execute("SET s3_use_ssl = ?", [scheme != "http"])
        con.execute("SET s3_url_style = 'path'")


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
