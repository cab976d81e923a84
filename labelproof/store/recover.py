"""Taking over what killed processes paid for: orphaned journals become rows of ``calls``."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from labelproof.spec.errors import StoreError
from labelproof.spec.hashing import digest_text
from labelproof.store._columns import Columns, build_table, columns_of
from labelproof.store.journal import (
    TEXT_FIELDS,
    Identity,
    claimed_orphan,
    identity,
    journal_paths,
    read_journal,
)
from labelproof.store.schema import TABLES

_log = logging.getLogger(__name__)


def fold_orphans(
    folder: Path,
    append: Callable[[Mapping[str, Columns]], str],
    stored: Callable[[Sequence[str]], set[Identity]],
) -> int:
    """Append the calls of orphaned journals that are not stored yet, then delete those journals.

    The owner is dead, so every segment it acknowledged is already durable: looking in database and
    outbox once, while the journal is locked, is enough to add no call twice. A crash before the
    deletion repeats the look and finds everything stored. Returns how many calls were added.
    """
    added = 0
    for path in journal_paths(folder):
        with claimed_orphan(path) as claimed:
            if not claimed:
                continue
            rows = {identity(row): row for row in read_journal(path)}
            known = stored([row["item_id"] for row in rows.values() if row.get("item_id")])
            new = [row for key, row in rows.items() if key not in known]
            if new:
                tables = journal_tables(new)
                if not _usable(path, tables):
                    continue
                append(tables)
            path.unlink(missing_ok=True)
            added += len(new)
    return added


def journal_tables(rows: Sequence[Mapping[str, Any]]) -> dict[str, Columns]:
    """Return journal rows as ``calls`` and ``texts`` columns; whole texts become hashes."""
    texts: dict[str, str] = {}
    calls: list[dict[str, Any]] = []
    for row in rows:
        call = dict(row)
        for text_field, hash_field in TEXT_FIELDS.items():
            text = call.pop(text_field, None)
            if text is not None:
                text_hash = call.get(hash_field) or digest_text(text)
                call[hash_field] = text_hash
                texts[text_hash] = text
        calls.append(call)
    return {
        "texts": {"text_hash": list(texts), "text": list(texts.values())},
        "calls": columns_of(calls, TABLES["calls"].column_names),
    }


def _usable(path: Path, tables: Mapping[str, Columns]) -> bool:
    """Return whether the rows fit the tables; a journal that never will is set aside, not retried."""
    try:
        for name, columns in tables.items():
            build_table(name, columns)
    except StoreError as error:
        target = path.with_suffix(".damaged")
        path.replace(target)
        _log.error("a call journal is unusable and was set aside as %s: %s", target, error)
        return False
    return True
