"""Labels out of the store into one file, whole or not at all."""

from __future__ import annotations

import csv
import os
import re
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, Literal
from uuid import uuid4

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from labelproof.spec.errors import ConfigError, StoreError

LabelFormat = Literal["jsonl", "csv", "parquet"]
FORMATS: dict[str, LabelFormat] = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".csv": "csv",
    ".parquet": "parquet",
    ".pq": "parquet",
}
_FORMULA = re.compile(r"[=+\-@\t\r]")
_BATCH_ROWS = 10_000


def format_of(path: Path, declared: str = "auto") -> LabelFormat:
    """Return the format to write: ``declared``, else the one of the file's suffix."""
    if declared != "auto":
        if declared not in FORMATS.values():
            names = ", ".join(dict.fromkeys(FORMATS.values()))
            raise ConfigError(f"unknown format {declared!r}; expected one of: {names}", key="format")
        return FORMATS[f".{declared}"]
    found = FORMATS.get(path.suffix.lower())
    if found is None:
        raise ConfigError(
            f"cannot tell the format of {path.name!r}: expected one of {', '.join(FORMATS)}",
            hint="add --format jsonl, csv or parquet",
        )
    return found


def write_labels(rows: pa.Table, path: Path, declared: str = "auto", *, guard_formulas: bool = True) -> int:
    """Write ``rows`` to ``path`` and return their number; a reader never sees half a file.

    ``declared``: jsonl, csv or parquet; auto reads it off the name.

    CSV: spreadsheets run a cell that begins with ``= + - @``, tab or carriage return as a formula, so
    such *text* cells get a leading apostrophe unless ``guard_formulas`` is off; numbers are left alone,
    lists are written as JSON, times as ISO 8601 in UTC. JSONL and Parquet hold every value unchanged.
    """
    writers: dict[LabelFormat, Callable[[Path], None]] = {
        "jsonl": lambda target: _write_jsonl(rows, target),
        "csv": lambda target: _write_csv(rows, target, guard_formulas),
        "parquet": lambda target: pq.write_table(rows, target, compression="zstd"),
    }
    write = writers[format_of(path, declared)]
    temporary = path.with_name(f".{path.name}.{uuid4().hex[:8]}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write(temporary)
        _sync(temporary)
        temporary.replace(path)
        _sync(path.parent)
    except OSError as error:
        raise StoreError(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        with suppress(FileNotFoundError, NotADirectoryError):
            temporary.unlink()
    return int(rows.num_rows)


def _write_jsonl(rows: pa.Table, target: Path) -> None:
    with target.open("wb") as stream:
        for batch in rows.to_batches(_BATCH_ROWS):
            for row in batch.to_pylist():
                stream.write(orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE | orjson.OPT_UTC_Z))


def _write_csv(rows: pa.Table, target: Path, guard: bool) -> None:
    names = [_guarded(name) if guard else name for name in rows.column_names]
    with target.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)  # RFC 4180: \r\n, and cells that hold either are quoted
        writer.writerow(names)
        for batch in rows.to_batches(_BATCH_ROWS):
            columns = [batch.column(i).to_pylist() for i in range(batch.num_columns)]
            writer.writerows([_cell(value, guard) for value in row] for row in zip(*columns, strict=True))


def _cell(value: Any, guard: bool) -> Any:
    if isinstance(value, str):
        return _guarded(value) if guard else value
    if isinstance(value, datetime):
        return (value.astimezone(UTC) if value.tzinfo else value).isoformat()
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, dict | list):
        return orjson.dumps(value).decode()
    if isinstance(value, bool):
        return "true" if value else "false"
    return value


def _guarded(text: str) -> str:
    return f"'{text}" if _FORMULA.match(text) else text


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
