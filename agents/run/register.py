"""What a run rests on, as rows: items, gold, rejected input rows; each content stored once."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

import orjson

from labelproof.spec.hashing import digest_text
from labelproof.spec.items import Item
from labelproof.store import TraceStore

if TYPE_CHECKING:
    from agents.run.workload import Workload

Tables = dict[str, dict[str, Sequence[Any]]]


def item_rows(
    store: TraceStore, project: str, work: Workload, now: datetime, *, only: Sequence[Item] | None = None
) -> Tables:
    """Return rows for items the store does not know yet in this project, with their texts.

    ``only``: these items instead of everything the workload rests on.
    """
    known = {
        (row["item_id"], row["external_id"])
        for row in store.query(
            "SELECT item_id, external_id FROM items WHERE project = ?", [project], fresh=True
        ).to_pylist()
    }
    source = work.folder.spec.items.path or "query"
    ids: dict[str, list[Any]] = {name: [] for name in _ITEM_COLUMNS}
    texts: dict[str, str] = {}
    everything = [*work.items, *(work.gold.items if work.gold else ()), *work.gold_only_items]
    if only is not None:
        everything = list(only)
    by_id = {item.id: item for item in everything}
    named = [(item.id, item.external_id) for item in everything]
    named += [(dup.item_id, dup.external_id) for dup in work.read.duplicates]
    for item_id, external_id in dict.fromkeys(named):
        item = by_id.get(item_id)
        if (item_id, external_id) in known or item is None:
            continue
        text_hash = digest_text(item.text)
        texts[text_hash] = item.text
        row = (item_id, external_id, project, text_hash, orjson.dumps(dict(item.meta)).decode(), source, now)
        for name, value in zip(_ITEM_COLUMNS, row, strict=True):
            ids[name].append(value)
    if not ids["item_id"]:
        return {}
    return {"items": dict(ids), "texts": {"text_hash": list(texts), "text": list(texts.values())}}


def gold_rows(store: TraceStore, project: str, work: Workload, now: datetime) -> Tables:
    """Return the gold set's rows unless this very version is stored already."""
    from agents.run.workload import MixedGold

    gold = work.gold
    if gold is None or not gold.rows or isinstance(gold, MixedGold):
        return {}
    seen = store.query(
        "SELECT count(*) AS n FROM gold WHERE project = ? AND gold_fp = ?",
        [project, gold.fingerprint],
        fresh=True,
    ).to_pylist()[0]["n"]
    if seen:
        return {}
    n = len(gold.rows)
    return {
        "gold": {
            "gold_set": [gold.name] * n,
            "gold_fp": [gold.fingerprint] * n,
            "project": [project] * n,
            "item_id": [row.item_id for row in gold.rows],
            "label": [row.label for row in gold.rows],
            "split": [row.split for row in gold.rows],
            "design": [row.design for row in gold.rows],
            "inclusion_prob": [row.inclusion_prob for row in gold.rows],
            "ts": [now] * n,
        }
    }


def read_error_rows(work: Workload, now: datetime) -> Tables:
    """Return the rows of the sources that could not be used."""
    errors = [*work.read.errors, *(work.gold.errors if work.gold else ())]
    if not errors:
        return {}
    return {
        "import_errors": {
            "source": [error.source for error in errors],
            "line": [error.line for error in errors],
            "reason": [error.reason for error in errors],
            "raw_hash": [error.raw_hash for error in errors],
            "ts": [now] * len(errors),
        }
    }


_ITEM_COLUMNS = ("item_id", "external_id", "project", "text_hash", "meta_json", "source", "ts")
