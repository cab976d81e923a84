"""The errors of an analysis as files: one a cause, and one to fine-tune on."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa

from evaluation.disguised import bare_form, holds_any
from evaluation.near_duplicates import near_any, normal_form
from labelproof.report.rca.actions import CALM
from labelproof.report.rca.model import ErrorCase, RootCauseReport
from labelproof.spec.errors import ConfigError
from labelproof.store import TraceStore

FINE_TUNE = "fine_tune.jsonl"
_TEXTS = """SELECT i.item_id, any_value(t.text) AS text FROM items AS i SEMI JOIN wanted AS w ON w.item_id = i.item_id
JOIN texts AS t ON t.text_hash = i.text_hash WHERE i.project = $project GROUP BY i.item_id
"""
_HELD_OUT = """SELECT g.item_id, t.text FROM (
    SELECT DISTINCT item_id FROM gold WHERE project = $project AND split <> 'examples'
) AS g LEFT JOIN (
    SELECT item_id, any_value(text_hash) AS text_hash FROM items GROUP BY item_id
) AS i USING (item_id) LEFT JOIN text_by_hash AS t ON t.text_hash = i.text_hash
"""
_NEAR = 0.8


def export_items(store: TraceStore, report: RootCauseReport, folder: Path) -> list[Path]:
    """Write `CAUSE.jsonl` for each cause and `fine_tune.jsonl`; return the files.

    To fine-tune on are errors whose right label is settled: none of an ambiguous guideline, doubted gold or a reviewer
    who turned. None is gold, near gold or gold in disguise (but the examples): strategies are judged by it.
    """
    ids = sorted({case.item_id for case in report.errors})
    given = {"wanted": pa.table({"item_id": pa.array(ids, pa.string())})}
    mine = {"project": report.project}
    rows = store.query(_TEXTS, mine, fresh=True, only=["items", "texts"], given=given).to_pylist()
    texts = {row["item_id"]: row["text"] for row in rows}
    held_out = _held_out(store, report.project, texts)
    by_cause: dict[str, list[dict[str, Any]]] = defaultdict(list)
    learn: dict[str, dict[str, Any]] = {}
    for case in report.errors:
        by_cause[case.cause].append(_row(case, texts.get(case.item_id)))
        usable = case.cause not in CALM and not CALM & case.fits.keys() and case.right_label is not None
        if usable and case.item_id not in held_out and case.item_id in texts:
            learn[case.item_id] = {
                "id": case.external_id,
                "text": texts[case.item_id],
                "label": case.right_label,
                "was": case.label,
                "cause": case.cause,
            }
    files = {f"{cause}.jsonl": found for cause, found in sorted(by_cause.items())}
    files[FINE_TUNE] = list(learn.values())
    try:
        folder.mkdir(parents=True, exist_ok=True)
        written = []
        for name, found in files.items():
            path = folder / name
            path.write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in found))
            written.append(path)
    except OSError as error:
        raise ConfigError(
            f"the items cannot be written: {error.strerror or error}", path=folder, hint="name another folder"
        ) from error
    return written


def _held_out(store: TraceStore, project: str, texts: Mapping[str, str]) -> set[str]:
    """Return the items that are gold, by their id or by what their text holds."""
    rows = store.query(
        _HELD_OUT, {"project": project}, fresh=True, only=["gold", "items", "texts"]
    ).to_pylist()
    gold = [row["text"] for row in rows if row["text"]]
    leaks = holds_any(
        [bare_form(text) for text in texts.values()], sorted({bare_form(text) for text in gold})
    ) | near_any(
        [normal_form(text) for text in texts.values()],
        sorted({normal_form(text) for text in gold}),
        threshold=_NEAR,
    )
    return {row["item_id"] for row in rows} | {
        item for item, leaked in zip(texts, leaks, strict=True) if leaked
    }


def _row(case: ErrorCase, text: str | None) -> dict[str, Any]:
    return {
        "id": case.external_id,
        "item_id": case.item_id,
        "run_id": case.run_id,
        "text": text,
        "label": case.label,
        "right_label": case.right_label,
        "confidence": case.confidence,
        "cause": case.cause,
        "evidence": dict(case.fits),
    }
