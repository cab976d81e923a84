"""Rows of any source with the place they come from; a row that cannot be read says why.

JSONL is parsed a line at a time (not by DuckDB) and CSV by Python's ``csv`` in strict mode, since
both must name the exact line of a malformed row; Parquet and queries come from DuckDB as Arrow batches.
"""

from __future__ import annotations

import csv
import glob
import gzip
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import IO, Any, NamedTuple, cast

import duckdb
import orjson
import pyarrow as pa

from labelproof.spec.errors import ConfigError
from labelproof.store.interchange import _duck
from labelproof.store.interchange.sources import Located, local_copy, locate, reason

MAX_LINE_BYTES = 16 * 1024 * 1024
_MAX_FIELD_CHARS = 1_000_000
_DELIMITERS = (",", ";", "\t", "|")
_BOM = b"\xef\xbb\xbf"
_UTF16 = (b"\xff\xfe", b"\xfe\xff")


class RawRow(NamedTuple):
    """A row before it means anything. ``line``: 1-based line in the file where the row begins; in
    Parquet and query results, the row number. ``problem``: why ``values`` is None. ``raw``: the text of
    the row where there is one.
    """

    source: str
    line: int
    values: Mapping[str, Any] | None
    raw: bytes | str | None
    problem: str | None


def iter_rows(
    *,
    path: str | None,
    query: str | None,
    declared_format: str,
    folder: Path,
    required: Sequence[str],
) -> Iterator[RawRow]:
    """Yield every row of a source in order. ``required``: columns without which a table with a header
    is a ``ConfigError`` (a JSONL row that lacks one is that row's own error).
    """
    if query is not None:
        yield from _query_rows(query, folder, required)
        return
    if path is None:
        raise ConfigError("give a path or a query")
    for located in locate(path, declared_format, folder):
        if located.format == "parquet":
            yield from _parquet_rows(located, required)
            continue
        with local_copy(located) as local, _open(local, located.name) as stream:
            if located.format == "jsonl":
                yield from _jsonl_rows(stream, located.name)
            else:
                yield from _csv_rows(stream, located.name, required)


def _open(path: Path, name: str) -> IO[bytes]:
    try:
        raw = path.open("rb")
        start = raw.read(2)
        raw.seek(0)
    except OSError as error:
        raise ConfigError(f"cannot read {name}: {error.strerror}") from error
    if start == b"\x1f\x8b":
        raw.close()
        return cast(IO[bytes], gzip.open(path, "rb"))
    if start in _UTF16:
        raw.close()
        raise ConfigError(
            f"{name}: expected UTF-8, found UTF-16",
            hint=f"iconv -f UTF-16 -t UTF-8 {name} > NEW",
        )
    return raw


def _jsonl_rows(stream: IO[bytes], name: str) -> Iterator[RawRow]:
    number = 0
    for line in _lines(stream, name):
        number += 1
        if number == 1 and line.startswith(_BOM):
            line = line[len(_BOM) :]
        if len(line) > MAX_LINE_BYTES:
            yield RawRow(name, number, None, line, f"line is longer than {MAX_LINE_BYTES} bytes")
            continue
        if not line.strip():
            continue
        try:
            values = orjson.loads(line)
        except orjson.JSONDecodeError as error:
            yield RawRow(name, number, None, line, _json_problem(line, error))
            continue
        if isinstance(values, dict):
            yield RawRow(name, number, values, line, None)
        else:
            kind = {"list": "an array", "str": "a string"}.get(type(values).__name__, "a plain value")
            yield RawRow(name, number, None, line, f"expected a JSON object, found {kind}")


def _lines(stream: IO[bytes], name: str) -> Iterator[bytes]:
    """Yield lines; of one longer than the limit only the start, so that memory stays bounded."""
    try:
        while line := stream.readline(MAX_LINE_BYTES + 1):
            if len(line) > MAX_LINE_BYTES and not line.endswith(b"\n"):
                while (rest := stream.readline(MAX_LINE_BYTES)) and not rest.endswith(b"\n"):
                    continue
            yield line
    except (OSError, EOFError) as error:
        raise ConfigError(f"cannot read {name} to its end: {error}") from error


def _json_problem(line: bytes, error: orjson.JSONDecodeError) -> str:
    try:
        line.decode("utf-8")
    except UnicodeDecodeError as bad:
        return f"invalid UTF-8 at byte {bad.start + 1} of the line"
    return f"not valid JSON: {error.msg} (column {error.colno})"


class _Feed:
    """Lines for ``csv.reader`` that remembers those of the current record and can take them back.

    After a malformed record, reading resumes at the line below its first one: a stray quote costs its
    own line, not the rest of the file.
    """

    def __init__(self, lines: Iterable[str]) -> None:
        self._lines = iter(lines)
        self._again: list[str] = []
        self.record: list[str] = []
        self.number = 0

    def __iter__(self) -> _Feed:
        return self

    def __next__(self) -> str:
        line = self._again.pop() if self._again else next(self._lines)
        self.record.append(line)
        self.number += 1
        return line

    def resume_below_first(self) -> None:
        again = self.record[1:]
        self.number -= len(again)
        self._again.extend(reversed(again))


def _csv_rows(stream: IO[bytes], name: str, required: Sequence[str]) -> Iterator[RawRow]:
    csv.field_size_limit(max(csv.field_size_limit(), _MAX_FIELD_CHARS))
    text = io.TextIOWrapper(stream, encoding="utf-8-sig", errors="surrogateescape", newline="")
    try:
        first = text.readline()
        if not first.strip():
            raise ConfigError(f"{name}: expected a header line, found none")
        header, delimiter = _header(first, name, required)
        feed = _Feed(text)
        feed.number = 1
        reader = csv.reader(feed, delimiter=delimiter, strict=True)
        while True:
            feed.record.clear()
            start = feed.number + 1
            try:
                fields = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                feed.resume_below_first()
                yield RawRow(name, start, None, feed.record[0], f"not valid CSV: {error}")
                continue
            if not fields:
                continue
            raw = "".join(feed.record) if len(feed.record) > 1 else feed.record[0]
            if len(fields) != len(header):
                problem = f"expected {len(header)} fields as in the header, found {len(fields)}"
                yield RawRow(name, start, None, raw, problem)
            elif not _is_unicode(raw):
                yield RawRow(name, start, None, raw, "invalid UTF-8")
            else:
                yield RawRow(name, start, dict(zip(header, fields, strict=True)), raw, None)
    except (OSError, EOFError) as error:
        raise ConfigError(f"cannot read {name} to its end: {error}") from error
    finally:
        text.detach()


def _is_unicode(text: str) -> bool:
    """Whether no byte of ``text`` had to be escaped because it was not UTF-8."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _header(first: str, name: str, required: Sequence[str]) -> tuple[list[str], str]:
    """Return the columns and the delimiter: the one that yields the required columns, else the most."""
    candidates = []
    for delimiter in _DELIMITERS:
        try:
            columns = next(csv.reader([first], delimiter=delimiter, strict=True))
        except csv.Error:
            continue
        columns = [column.strip() for column in columns]
        candidates.append((all(r in columns for r in required), len(columns), columns, delimiter))
    if not candidates:
        raise ConfigError(f"{name}:1: expected a header line, found {first[:80]!r}")
    _, _, columns, delimiter = max(candidates, key=lambda candidate: candidate[:2])
    check_columns(columns, required, name)
    twice = sorted({column for column in columns if columns.count(column) > 1})
    if twice:
        raise ConfigError(f"{name}:1: column {twice[0]!r} appears twice")
    return columns, delimiter


def check_columns(found: Sequence[str], required: Sequence[str], name: str) -> None:
    """Raise ``ConfigError`` with the closest column for the first required one that is not there."""
    for column in required:
        if column not in found:
            close = get_close_matches(column, found, n=1, cutoff=0.5)
            meant = f"; did you mean {close[0]!r}?" if close else ""
            raise ConfigError(
                f"{name}: no column {column!r}{meant} Found: {', '.join(found)}",
                hint="set `columns:` of the source in project.yaml",
            )


def _parquet_rows(located: Located, required: Sequence[str]) -> Iterator[RawRow]:
    # DuckDB expands wildcards in file names by itself; this is one file whose name may hold them.
    path = located.path if located.remote else glob.escape(located.path)
    try:
        with _duck.connect_for([located.path, path]) as con:
            sql = "SELECT * FROM read_parquet(?, hive_partitioning = false)"
            yield from _table_rows(_duck.batches(con, sql, [path]), located.name, required)
    except duckdb.Error as error:
        raise ConfigError(f"cannot read {located.name}: {reason(error, located.path)}") from error


def _query_rows(query: str, folder: Path, required: Sequence[str]) -> Iterator[RawRow]:
    with _duck.connect_for_query(query, folder) as con:
        try:
            yield from _table_rows(_duck.batches(con, query), "query", required)
        except duckdb.Error as error:
            raise ConfigError(f"the query failed: {error}", key="query") from error


def _table_rows(tables: Iterable[pa.RecordBatch], name: str, required: Sequence[str]) -> Iterator[RawRow]:
    number = 0
    for batch in tables:
        check_columns(batch.schema.names, required, name)
        for values in batch.to_pylist():
            number += 1
            yield RawRow(name, number, values, None, None)
