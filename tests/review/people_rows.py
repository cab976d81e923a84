"""Planted reviewers in a real store: tasks with known truth, votes with known habits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path

import numpy as np

from labelproof.spec.project import ProjectFolder, find_project
from labelproof.spec.review import TaskKind
from labelproof.store import TraceStore

NOW = datetime(2026, 3, 31, 12, tzinfo=UTC)
LABELS = ("safe", "hate", "threat")
_SERIAL = count()


def people_project(folder: Path, *, more: str = "", kind: str = "single") -> ProjectFolder:
    """Write and return a project with the classes safe (low), hate (high), threat (critical)."""
    folder.mkdir(parents=True, exist_ok=True)
    classes = (
        "[{name: safe, severity: low}, {name: hate, severity: high}, {name: threat, severity: critical}]"
    )
    (folder / "project.yaml").write_text(
        f"name: mini\nlabels: {{kind: {kind}, classes: {classes}}}\nitems: {{path: items.jsonl}}\n{more}"
    )
    (folder / "items.jsonl").write_text('{"id": "m0", "text": "a text"}\n')
    (folder / "guideline.md").write_text("# Guideline\n")
    (folder / "strategies").mkdir(exist_ok=True)
    return find_project(str(folder))


def put_tasks(
    store: TraceStore,
    labels: Sequence[str | None],
    *,
    kind: TaskKind = "routed",
    at: datetime | Sequence[datetime] = NOW - timedelta(days=20),
    wanted: int = 1,
    blind: bool = True,
    project: str = "mini",
) -> list[str]:
    """Store tasks whose rows hold ``labels`` (the machine's; gold for checks) and return their ids."""
    n = len(labels)
    ids = [f"{kind}-{next(_SERIAL):06d}" for _ in range(n)]
    store.append(
        "review_tasks",
        {
            "task_id": ids,
            "project": [project] * n,
            "kind": [kind] * n,
            "item_id": [f"item of {one}" for one in ids],
            "label": list(labels),
            "confidence": [0.8] * n,
            "blind": [blind] * n,
            "votes_wanted": [wanted] * n,
            "reason": ["planted"] * n,
            "ts": [at] * n if isinstance(at, datetime) else list(at),
        },
    )
    return ids


def put_votes(
    store: TraceStore,
    annotator: str,
    answers: Mapping[str, str],
    *,
    at: datetime | Sequence[datetime] = NOW - timedelta(days=10),
    role: str = "reviewer",
    seconds: float | Sequence[float | None] | None = None,
    project: str = "mini",
) -> None:
    """Store one vote a task; an answer that is no label (skip, flag, unclear, withdrawn) is stored as itself."""
    n = len(answers)
    said = list(answers.values())
    other = {"skip", "flag", "unclear", "withdrawn"}
    store.append(
        "votes",
        {
            "vote_id": [f"vote-{next(_SERIAL):07d}" for _ in range(n)],
            "project": [project] * n,
            "task_id": list(answers),
            "item_id": [f"item of {task}" for task in answers],
            "annotator": [annotator] * n,
            "role": [role] * n,
            "answer": [one if one in other else "label" for one in said],
            "label": [None if one in other else one for one in said],
            "seconds": list(seconds) if isinstance(seconds, Sequence) else [seconds] * n,
            "source": ["web"] * n,
            "ts": [at] * n if isinstance(at, datetime) else list(at),
        },
    )


def mostly_right(
    truth: Sequence[str], accuracy: float | Sequence[float], rng: np.random.Generator
) -> list[str]:
    """Return labels that are right with probability ``accuracy`` and else any other label."""
    right = rng.random(len(truth)) < accuracy
    wrong = [str(rng.choice([x for x in LABELS if x != label])) for label in truth]
    return [label if ok else bad for label, ok, bad in zip(truth, right, wrong, strict=True)]


def minutes_from(start: datetime, n: int, *, step: float = 1.0) -> list[datetime]:
    return [start + timedelta(minutes=step * i) for i in range(n)]
