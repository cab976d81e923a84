"""Reports in the store: which were written, with every number and its query."""

from __future__ import annotations

import uuid
from pathlib import Path

import orjson

from labelproof.report.documents.model import Document
from labelproof.store import TraceStore


def record(store: TraceStore, made: Document, path: Path | None) -> str:
    """Store that a report was written (table `reports`) and return its id."""
    report_id = f"rep-{uuid.uuid4().hex[:16]}"
    store.append(
        "reports",
        {
            "report_id": [report_id],
            "project": [made.project],
            "kind": [made.kind],
            "period_from": [made.period_from],
            "period_to": [made.period_to],
            "headline": [made.headline],
            "report_json": [orjson.dumps(made.to_json()).decode()],
            "path": [None if path is None else str(path.resolve())],
            "ts": [made.now],
        },
    )
    return report_id
