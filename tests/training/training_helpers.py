"""A project with decided labels of every source."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from labelproof.report.training.model import LabelRow
from labelproof.spec.hashing import digest_text
from labelproof.spec.items import item_id
from labelproof.spec.project import ProjectFolder, find_project
from labelproof.store import TraceStore
from tests.conftest import MakeProject

NOW = datetime(2027, 3, 1, tzinfo=UTC)
URL = "http://127.0.0.1:9/v1"
FP = "b2:" + "1" * 40


@dataclass(frozen=True, slots=True, kw_only=True)
class Auto:
    """An auto-accepted label."""

    text: str
    label: str = "safe"
    confidence: float = 0.97
    certificate: str | None = "c1"
    author: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Decided:
    """A label of people: votes of reviewers, and an adjudicator's where they differ. ``machine``: what it had said."""

    text: str
    votes: Sequence[str]
    final: str | None = None
    machine: str = "safe"
    kind: str = "audit"
    author: str | None = None


def decided_project(
    make_project: MakeProject,
    store: TraceStore,
    rows: Sequence[Auto | Decided],
    *,
    gold: Mapping[str, str] | None = None,
    **more: Any,
) -> ProjectFolder:
    """Return project mini with these labels stored; ``gold``: text -> split, with the texts in the gold file."""
    folder = make_project(URL, **more)
    if gold is not None:
        lines = [
            json.dumps({"id": f"g{i}", "text": t, "label": "safe", "split": s})
            for i, (t, s) in enumerate(gold.items())
        ]
        (folder / "gold.jsonl").write_text("\n".join(lines) + "\n")
        with (folder / "project.yaml").open("a") as file:
            file.write("gold: {path: gold.jsonl, text_column: text, split_column: split}\n")
    store_rows(store, rows)
    return find_project(str(folder))


def store_rows(store: TraceStore, rows: Sequence[Auto | Decided]) -> None:
    """Store items, decisions, tasks and votes."""
    n = len(rows)
    ids, hashes = [item_id(row.text) for row in rows], [digest_text(row.text) for row in rows]
    auto = [(one, row) for one, row in zip(ids, rows, strict=True) if isinstance(row, Auto)]
    people = [(one, row) for one, row in zip(ids, rows, strict=True) if isinstance(row, Decided)]
    votes = [
        (one, f"alice-{k}", "reviewer", label) for one, row in people for k, label in enumerate(row.votes)
    ] + [(one, "carol-lead", "adjudicator", row.final) for one, row in people if row.final is not None]
    store.append_many(
        {
            "texts": {"text_hash": hashes, "text": [row.text for row in rows]},
            "items": {
                "item_id": ids,
                "external_id": [f"x{i}" for i in range(n)],
                "project": ["mini"] * n,
                "text_hash": hashes,
                "meta_json": [json.dumps({"author": row.author} if row.author else {}) for row in rows],
                "ts": [NOW] * n,
            },
            "runs": {
                "run_id": ["r1"],
                "event": ["finished"],
                "project": ["mini"],
                "strategy": ["champion"],
                "strategy_fp": [FP],
                "ts": [NOW],
            },
            "certificates": {
                "certificate_id": ["c1", "c2"],
                "project": ["mini"] * 2,
                "strategy_fp": [FP] * 2,
                "ts": [NOW] * 2,
            },
            "certificate_events": {
                "certificate_id": ["c1", "c2", "c2"],
                "event": ["issued", "issued", "voided"],
                "ts": [NOW, NOW, NOW.replace(hour=5)],
            },
            "decisions": {
                "run_id": ["r1"] * len(auto),
                "item_id": [one for one, _ in auto],
                "strategy_fp": [FP] * len(auto),
                "label": [row.label for _, row in auto],
                "confidence": [row.confidence for _, row in auto],
                "decision": ["auto_accept"] * len(auto),
                "certificate_id": [row.certificate for _, row in auto],
                "ts": [NOW] * len(auto),
            },
            "review_tasks": {
                "task_id": [f"t-{one}" for one, _ in people],
                "project": ["mini"] * len(people),
                "kind": [row.kind for _, row in people],
                "item_id": [one for one, _ in people],
                "run_id": ["r1"] * len(people),
                "strategy_fp": [FP] * len(people),
                "label": [row.machine for _, row in people],
                "confidence": [0.6] * len(people),
                "votes_wanted": [len(row.votes) for _, row in people],
                "ts": [NOW] * len(people),
            },
            "votes": {
                "vote_id": [f"{one}-{who}" for one, who, _, _ in votes],
                "project": ["mini"] * len(votes),
                "task_id": [f"t-{one}" for one, _, _, _ in votes],
                "item_id": [one for one, _, _, _ in votes],
                "annotator": [who for _, who, _, _ in votes],
                "role": [role for _, _, role, _ in votes],
                "answer": ["label"] * len(votes),
                "label": [label for _, _, _, label in votes],
                "ts": [NOW] * len(votes),
            },
        }
    )


def judged_row(item_id: str, text: str, label: str = "safe") -> LabelRow:
    """Return a row that two people agreed on."""
    return LabelRow(
        item_id=item_id,
        text=text,
        label=label,
        source="agreed",
        task_kind="audit",
        n_annotators=2,
        confidence=0.9,
        model_label=label,
        run_id="r1",
        strategy="champion",
        strategy_fp=FP,
        certificate_id=None,
        certificate_state=None,
        decided_at=None,
        cluster=None,
    )


def lines_of(path: Path) -> list[Any]:
    """Return the JSON lines of a file."""
    return [json.loads(line) for line in path.read_text().splitlines()]
