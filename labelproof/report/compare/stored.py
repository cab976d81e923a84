"""Comparisons in the store: written without the texts of items, read back as they were."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import orjson

from labelproof.report.compare.model import CompareReport
from labelproof.store import TraceStore

MOST_STORED = 500
"""Flips kept of each kind; they can be read again from the answers."""


def record(store: TraceStore, report: CompareReport) -> None:
    """Store a comparison (table `comparisons`) with all its numbers; flips by item id, labels and kind only."""
    split_fp, plan_fp = _fingerprints(store, report)
    store.append(
        "comparisons",
        {
            "comparison_id": [report.comparison_id],
            "project": [report.project],
            "experiment_id": [report.experiment_id],
            "plan_fp": [plan_fp],
            "strategy_a": [report.a.name],
            "fp_a": [report.a.fp],
            "strategy_b": [report.b.name],
            "fp_b": [report.b.fp],
            "gold_fp": [report.gold_fp],
            "split": [report.split],
            "split_fp": [split_fp],
            "verdict": [report.verdict],
            "reason": [report.headline],
            "n_items": [report.n_items],
            "report_json": [stored_json(report).decode()],
            "ts": [report.at],
        },
    )


def stored_json(report: CompareReport) -> bytes:
    """Return the report as it is stored: no text of an item, no name that its source gave it."""
    kept: list[dict[str, Any]] = []
    n_kind: dict[str, int] = {}
    for flip in report.flips:
        n_kind[flip.kind] = n_kind.get(flip.kind, 0) + 1
        if n_kind[flip.kind] <= MOST_STORED:
            row = {name.name: getattr(flip, name.name) for name in fields(flip)}
            kept.append({**row, "external_id": "", "excerpt": ""})
    values = report.to_json() | {
        "flips": kept,
        "flips_left_out": report.flips_left_out + len(report.flips) - len(kept),
    }
    return orjson.dumps(values, option=orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_NON_STR_KEYS, default=_plain)


def _plain(value: object) -> str:
    """Keys that one snapshot lacks are written as that."""
    return f"({value!r})"


def _fingerprints(store: TraceStore, report: CompareReport) -> tuple[str | None, str | None]:
    """Return the split's fingerprint, stored with the look at it, and the plan's."""
    looks = store.query(
        "SELECT split_fp FROM gold_looks WHERE project = ? AND gold_fp = ? AND split = ? LIMIT 1",
        [report.project, report.gold_fp, report.split],
        fresh=True,
        only=["gold_looks"],
    ).to_pylist()
    plans: list[Mapping[str, Any]] = []
    if report.experiment_id is not None:
        plans = store.query(
            "SELECT plan_fp FROM experiments WHERE experiment_id = ? LIMIT 1",
            [report.experiment_id],
            fresh=True,
            only=["experiments"],
        ).to_pylist()
    return looks[0]["split_fp"] if looks else None, plans[0]["plan_fp"] if plans else None
