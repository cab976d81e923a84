"""Rows for review and quality tests: items, decisions, audit tasks, votes; one place for their shape."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from agents.review_tasks import ReviewTask, TaskKind, audit_task_id, task_columns
from labelproof.spec.hashing import digest_text
from labelproof.spec.items import item_id
from labelproof.spec.project import ProjectFolder, find_project
from labelproof.store import TraceStore

T0 = datetime(2026, 3, 2, 12, tzinfo=UTC)


def days(n: float) -> timedelta:
    return timedelta(days=n)


def project(folder: Path, *, routing: str = "mode: certified", kind: str = "single") -> ProjectFolder:
    """Write and return a project with the classes safe, hate, spam."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "project.yaml").write_text(
        f"name: mini\nlabels: {{kind: {kind}, classes: [{{name: safe}}, {{name: hate}}, {{name: spam}}]}}\n"
        f"items: {{path: items.jsonl}}\nrouting: {{{routing}}}\n"
    )
    return find_project(str(folder))


def add_items(store: TraceStore, texts: Sequence[str], metas: Sequence[Mapping[str, Any]] = ()) -> list[str]:
    """Store items of project mini and return their ids."""
    ids = [item_id(text) for text in texts]
    hashes = [digest_text(text) for text in texts]
    store.append_many(
        {
            "texts": {"text_hash": hashes, "text": list(texts)},
            "items": {
                "item_id": ids,
                "external_id": [f"m{i}" for i in range(len(ids))],
                "project": ["mini"] * len(ids),
                "text_hash": hashes,
                "meta_json": [json.dumps(meta) for meta in metas] or [None] * len(ids),
                "ts": [T0] * len(ids),
            },
        }
    )
    return ids


def add_tasks(
    store: TraceStore,
    ids: Sequence[str],
    *,
    kind: TaskKind = "audit",
    labels: Sequence[str] = (),
    at: datetime = T0,
    project: str = "mini",
) -> list[str]:
    """Store one blind task an item, wanting two votes, and return the task ids."""
    tasks = [
        ReviewTask(
            task_id=audit_task_id(project, one)
            if kind == "audit"
            else digest_text(f"{kind} {project} {one}"),
            project=project,
            kind=kind,
            item_id=one,
            run_id="r1",
            strategy_fp="b2:s1",
            label=labels[i] if labels else "spam",
            confidence=0.9731,
            blind=True,
            votes_wanted=2,
            reason="confidence 0.9731 at or above certified threshold",
            design=None,
            inclusion_prob=0.5,
            sample_id=None,
            ts=at,
        )
        for i, one in enumerate(ids)
    ]
    store.append("review_tasks", task_columns(tasks))
    return [task.task_id for task in tasks]


def add_run(store: TraceStore, run_id: str = "r1", *, strategy: str = "champion", fp: str = "b2:s1") -> None:
    """Store the start of a run of project mini."""
    columns = {
        "run_id": run_id,
        "event": "started",
        "project": "mini",
        "strategy": strategy,
        "strategy_fp": fp,
    }
    store.append("runs", {**{name: [value] for name, value in columns.items()}, "ts": [T0]})


def add_votes(
    store: TraceStore,
    tasks: Sequence[str],
    ids: Sequence[str],
    labels: Sequence[str | None],
    *,
    annotator: str,
    at: datetime,
) -> None:
    """Store one reviewer's vote a task; a label None is the answer unclear."""
    n = len(tasks)
    store.append(
        "votes",
        {
            "vote_id": [f"{annotator} {task} {at.isoformat()}" for task in tasks],
            "project": ["mini"] * n,
            "task_id": list(tasks),
            "item_id": list(ids),
            "annotator": [annotator] * n,
            "role": ["reviewer"] * n,
            "answer": ["unclear" if label is None else "label" for label in labels],
            "label": list(labels),
            "ts": [at] * n,
        },
    )
