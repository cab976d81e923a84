"""Items of a source, and an account of every row that did not become one.

Nothing is lost in silence: rows = items + duplicates + errors, checked in every batch.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime, time
from decimal import Decimal
from functools import cached_property
from pathlib import Path
from typing import Any

import orjson

from labelproof.spec.errors import BugError, ConfigError
from labelproof.spec.hashing import digest_text
from labelproof.spec.items import Item, MetaValue, item_id
from labelproof.spec.project import Columns, SourceSpec
from labelproof.store.interchange.rows import RawRow, iter_rows

MAX_TEXT_CHARS = 200_000
EXCERPT_CHARS = 200
_FIRST_ERRORS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class RowError:
    """A row that could not be used. ``line``: 1-based line where it begins, or row number in Parquet
    and query results; ``raw``: at most 200 characters of it; ``raw_hash``: content hash of all of it.
    """

    source: str
    line: int
    reason: str
    raw: str
    raw_hash: str

    def __str__(self) -> str:
        return f"{self.source}:{self.line}: {self.reason}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Duplicate:
    """A further row with the content of an item already read: the same item under another (or the
    same) external id.
    """

    source: str
    line: int
    external_id: str
    item_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemBatch:
    """Some rows of a source, in order."""

    items: tuple[Item, ...]
    duplicates: tuple[Duplicate, ...]
    errors: tuple[RowError, ...]
    n_rows: int

    def __post_init__(self) -> None:
        if self.n_rows != len(self.items) + len(self.duplicates) + len(self.errors):
            raise BugError(
                f"{self.n_rows} rows became {len(self.items)} items + {len(self.duplicates)} "
                f"duplicates + {len(self.errors)} errors"
            )


@dataclass(frozen=True, kw_only=True)
class ReadReport(ItemBatch):
    """All rows of a source."""

    @cached_property
    def item_ids(self) -> dict[str, str]:
        """Return external id -> item id, duplicates included."""
        ids = {item.external_id: item.id for item in self.items}
        ids.update((duplicate.external_id, duplicate.item_id) for duplicate in self.duplicates)
        return ids


def read_items(source: SourceSpec, folder: Path) -> ReadReport:
    """Return all items of ``source`` in memory, with duplicates and errors.

    Relative paths start at ``folder``. With ``on_error: fail`` any malformed row raises ``ConfigError``
    that lists the first five.
    """
    batches = list(_batches(source, folder, 10_000))
    report = ReadReport(
        items=tuple(item for batch in batches for item in batch.items),
        duplicates=tuple(duplicate for batch in batches for duplicate in batch.duplicates),
        errors=tuple(error for batch in batches for error in batch.errors),
        n_rows=sum(batch.n_rows for batch in batches),
    )
    _refuse(source, report.errors)
    return report


def iter_items(source: SourceSpec, folder: Path, *, batch_size: int = 10_000) -> Iterator[ItemBatch]:
    """Yield batches of at most ``batch_size`` rows; between them only the ids seen stay in memory
    (0.2 to 0.3 kB a row). With ``on_error: fail`` the first batch with an error raises.
    """
    for batch in _batches(source, folder, batch_size):
        _refuse(source, batch.errors)
        yield batch


def _refuse(source: SourceSpec, errors: tuple[RowError, ...]) -> None:
    if source.on_error == "fail" and errors:
        listed = "".join(f"\n  {error}" for error in errors[:_FIRST_ERRORS])
        more = f"\n  and {len(errors) - _FIRST_ERRORS} more" if len(errors) > _FIRST_ERRORS else ""
        raise ConfigError(
            f"{len(errors)} malformed row(s) and `on_error: fail`:{listed}{more}",
            hint="fix the rows, or set `on_error: skip` to leave them out and have them listed",
        )


def _batches(source: SourceSpec, folder: Path, batch_size: int) -> Iterator[ItemBatch]:
    columns = source.columns
    required = [columns.text]
    if _id_is_explicit(columns) and columns.id is not None:
        required.append(columns.id)
    if columns.meta != "*":
        required.extend(columns.meta)
    rows = iter_rows(
        path=source.path,
        query=source.query,
        declared_format=source.format,
        folder=folder,
        required=required,
    )
    seen: set[str] = set()
    ids: dict[str, str] = {}
    items: list[Item] = []
    duplicates: list[Duplicate] = []
    errors: list[RowError] = []
    n_rows = 0
    for row in rows:
        n_rows += 1
        made = _item(row, columns)
        if isinstance(made, str):
            errors.append(row_error(row, made))
        elif ids.get(made.external_id, made.id) != made.id:
            reason = f"id {made.external_id[:80]!r} appears twice with different texts; the first is kept"
            errors.append(row_error(row, reason))
        else:
            if made.external_id != made.id:
                ids[made.external_id] = made.id
            if made.id in seen:
                duplicates.append(
                    Duplicate(
                        source=row.source,
                        line=row.line,
                        external_id=made.external_id,
                        item_id=made.id,
                    )
                )
            else:
                seen.add(made.id)
                items.append(made)
        if n_rows == batch_size:
            yield _batch(items, duplicates, errors, n_rows)
            items, duplicates, errors, n_rows = [], [], [], 0
    if n_rows:
        yield _batch(items, duplicates, errors, n_rows)


def _batch(items: list[Item], duplicates: list[Duplicate], errors: list[RowError], n_rows: int) -> ItemBatch:
    return ItemBatch(
        items=tuple(items),
        duplicates=tuple(duplicates),
        errors=tuple(errors),
        n_rows=n_rows,
    )


def _item(row: RawRow, columns: Columns) -> Item | str:
    """Return the item of a row, or why there is none."""
    values = row.values
    if values is None:
        return row.problem or "unreadable row"
    text: Any = values.get(columns.text)
    problem = text_problem(text, columns.text, values)
    if problem is not None:
        return problem
    identity = item_id(text)
    external: str = identity
    if columns.id is not None:
        given = values.get(columns.id)
        if given is None or given == "":
            if _id_is_explicit(columns):
                return f"no id in {columns.id!r}"
        elif isinstance(given, bool) or not isinstance(given, str | int):
            return f"id in {columns.id!r} must be a string or an integer, found {_kind(given)}"
        elif "\x00" in str(given):
            return f"id in {columns.id!r} holds a NUL character"
        else:
            external = str(given)
    meta: dict[str, MetaValue] = {}
    names = (
        [n for n in values if n not in (columns.id, columns.text)] if columns.meta == "*" else columns.meta
    )
    for name in names:
        try:
            meta[name] = _plain(values.get(name))
        except TypeError:
            if columns.meta != "*":
                return f"metadata {name!r} must be a plain value, found {_kind(values[name])}"
    return Item(id=identity, external_id=external, text=text, meta=meta)


def text_problem(text: Any, column: str, values: Mapping[str, Any]) -> str | None:
    """Return why ``text`` cannot be labeled, or None."""
    if text is None:
        if column in values:
            return f"{column!r} is null"
        return f"no {column!r}; found {', '.join(map(str, values)) or 'no keys'}"[:EXCERPT_CHARS]
    if not isinstance(text, str):
        return f"{column!r} must be a string, found {_kind(text)}"
    if not text or text.isspace():
        return f"{column!r} is empty"
    if len(text) > MAX_TEXT_CHARS:
        return f"{column!r} has {len(text)} characters; at most {MAX_TEXT_CHARS} are admitted"
    if "\x00" in text:
        return f"{column!r} holds a NUL character"
    return None


def row_error(row: RawRow, reason: str) -> RowError:
    """Return the error of ``row`` with an excerpt that is safe to show and store."""
    raw = row.raw
    if raw is None:
        raw = orjson.dumps(row.values, default=str, option=orjson.OPT_NON_STR_KEYS)
    text = raw.decode("utf-8", "surrogateescape") if isinstance(raw, bytes) else raw
    text = text.rstrip("\r\n")
    excerpt = text[:EXCERPT_CHARS].encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    return RowError(
        source=row.source,
        line=row.line,
        reason=reason,
        raw=excerpt.replace("\x00", "\\x00")[:EXCERPT_CHARS],
        raw_hash=digest_text(text),
    )


def _id_is_explicit(columns: Columns) -> bool:
    """Whether the user named the id column; the default `id` is used where it exists."""
    return "id" in columns.model_fields_set


def _plain(value: Any) -> MetaValue:
    """Return ``value`` as metadata; ``TypeError`` if it is nested."""
    if isinstance(value, str):
        return value.replace("\x00", "") or None
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, Decimal):
        return float(value)
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    raise TypeError(type(value).__name__)


def _kind(value: Any) -> str:
    kinds = {
        "dict": "an object",
        "list": "a list",
        "bool": "a boolean",
        "int": "a number",
        "float": "a number",
    }
    return kinds.get(type(value).__name__, f"a {type(value).__name__}")
