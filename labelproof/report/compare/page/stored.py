"""Stored comparisons read back: as the report they were, and their flips with the texts of the items."""

from __future__ import annotations

import types
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from datetime import datetime
from functools import cache
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import numpy as np
import orjson

from labelproof.report.compare.model import CompareReport, Flip
from labelproof.spec.errors import StoreError
from labelproof.store import TraceStore

MOST_LISTED = 200
_EXCERPT = 160
_COMPARISONS = """
SELECT comparison_id, experiment_id, strategy_a, fp_a, strategy_b, fp_b, gold_fp, split, verdict, reason, n_items, ts
FROM comparisons WHERE project = $project
QUALIFY row_number() OVER (PARTITION BY comparison_id ORDER BY ts DESC) = 1
ORDER BY ts DESC, comparison_id LIMIT $most
"""
_REPORT = """
SELECT report_json, ts FROM comparisons WHERE project = $project AND comparison_id = $id ORDER BY ts DESC LIMIT 1
"""
_EXPERIMENTS = """
SELECT experiment_id, name, state, plan_fp, reason, planned_at, changed_at FROM current_experiments
WHERE project = $project ORDER BY planned_at DESC, experiment_id LIMIT $most
"""
_ITEMS = """
SELECT item_id, arg_max(external_id, ts) AS external_id, arg_max(text_hash, ts) AS text_hash
FROM items WHERE project = ? AND item_id IN ({marks}) GROUP BY item_id
"""
_TEXTS = "SELECT text_hash, any_value(left(text, {most})) AS text FROM texts WHERE text_hash IN ({marks}) GROUP BY text_hash"
_NO_FLIP: Mapping[str, Any] = {
    "external_id": "",
    "gold": None,
    "label_a": None,
    "label_b": None,
    "confidence_a": None,
    "confidence_b": None,
    "decision_a": None,
    "decision_b": None,
    "kind": "no_gold",
    "step": None,
    "stability": "unknown",
    "gold_doubt": None,
    "excerpt": "",
}
"""What a stored flip may lack; item texts are never stored with a comparison."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredReport:
    """A comparison as it was written; ``at``: when, which tells two writings of the same one apart."""

    report: CompareReport
    at: datetime


def comparisons_of(store: TraceStore, project: str) -> list[dict[str, Any]]:
    """Return the project's comparisons without their reports, newest first, at most 200."""
    given = {"project": project, "most": MOST_LISTED}
    found: list[dict[str, Any]] = store.query(
        _COMPARISONS, given, fresh=True, only=("comparisons",)
    ).to_pylist()
    return found


def experiments_of(store: TraceStore, project: str) -> list[dict[str, Any]]:
    """Return the project's experiments, newest first, at most 200."""
    given = {"project": project, "most": MOST_LISTED}
    found: list[dict[str, Any]] = store.query(
        _EXPERIMENTS, given, fresh=True, only=("experiments",)
    ).to_pylist()
    return found


def stored_report(store: TraceStore, project: str, comparison_id: str) -> StoredReport | None:
    """Return a comparison; None when the project has none of that id."""
    given = {"project": project, "id": comparison_id}
    rows = store.query(_REPORT, given, fresh=True, only=("comparisons",)).to_pylist()
    if not rows:
        return None
    return StoredReport(report=report_of_json(rows[0]["report_json"]), at=rows[0]["ts"])


def report_of_json(text: str | bytes) -> CompareReport:
    """Return the report that ``CompareReport.to_json`` wrote; ``StoreError`` when it is of another form."""
    try:
        raw = orjson.loads(text)
        flips = [{**_NO_FLIP, **({"item_id": one} if isinstance(one, str) else one)} for one in raw["flips"]]
        report: CompareReport = _restored(CompareReport, {**raw, "flips": flips})
    except (KeyError, TypeError, ValueError) as error:
        raise StoreError(
            f"comparison: expected a stored report of this release, found one that cannot be read ({error})",
            hint="compare again: labelproof compare A B",
        ) from error
    return report


def with_texts(store: TraceStore, project: str, flips: Sequence[Flip]) -> list[Flip]:
    """Return flips with the beginnings of their items' texts and their names, where the store has them."""
    if not flips:
        return []
    wanted = [flip.item_id for flip in flips]
    items = {
        row["item_id"]: row
        for row in store.query(
            _ITEMS.format(marks=_marks(wanted)), [project, *wanted], fresh=True, only=("items",)
        ).to_pylist()
    }
    hashes = sorted({row["text_hash"] for row in items.values() if row["text_hash"]})
    texts: dict[str, str] = {}
    if hashes:
        sql = _TEXTS.format(marks=_marks(hashes), most=4 * _EXCERPT)
        found = store.query(sql, hashes, fresh=True, only=("texts",)).to_pylist()
        texts = {row["text_hash"]: row["text"] for row in found}
    filled = []
    for flip in flips:
        row = items.get(flip.item_id, {})
        filled.append(
            replace(
                flip,
                external_id=flip.external_id or row.get("external_id") or flip.item_id,
                excerpt=texts.get(row.get("text_hash", ""), flip.excerpt),
            )
        )
    return filled


def _marks(values: Sequence[str]) -> str:
    return ", ".join("?" * len(values))


def _restored(kind: Any, value: Any) -> Any:
    """A JSON value as an instance of a type: dataclasses, sequences and unions of them; anything else as it is."""
    if value is None or kind is Any:
        return value
    origin = get_origin(kind)
    if origin in (Union, types.UnionType):
        inner = [one for one in get_args(kind) if one is not type(None)]
        return _restored(inner[0], value) if len(inner) == 1 else value
    if origin is Literal:
        if value not in get_args(kind):
            raise ValueError(f"{value!r} is none of {', '.join(map(str, get_args(kind)))}")
        return value
    if is_dataclass(kind) and isinstance(kind, type):
        hints = _hints(kind)
        known = {
            field.name: _restored(hints[field.name], value[field.name])
            for field in fields(kind)
            if field.name in value
        }
        return kind(**known)
    if kind is datetime:
        return datetime.fromisoformat(value)
    if origin is np.ndarray:
        return np.asarray(value, dtype=float)
    if isinstance(value, list):
        inner_kinds = [one for one in get_args(kind) if one is not Ellipsis]
        return tuple(_restored(inner_kinds[0] if inner_kinds else Any, one) for one in value)
    return value


@cache
def _hints(kind: type) -> dict[str, Any]:
    return get_type_hints(kind)
