"""Questions to people, as rows: made by runs for audited items and by draws for gold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Literal

from labelproof.spec.hashing import digest

TaskKind = Literal["audit", "gold", "routed", "disagreement", "appeal"]
VOTES_WANTED: Mapping[TaskKind, int] = {"audit": 2, "gold": 2, "routed": 1, "disagreement": 1, "appeal": 2}
"""Independent blind votes that decide a task."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReviewTask:
    """One row of ``review_tasks``. ``label`` and ``confidence`` are the model's, hidden while ``blind``."""

    task_id: str
    project: str
    kind: TaskKind
    item_id: str
    run_id: str | None
    strategy_fp: str | None
    label: str | None
    confidence: float | None
    blind: bool
    votes_wanted: int
    reason: str
    design: str | None
    inclusion_prob: float | None
    sample_id: str | None
    ts: datetime


def audit_task_id(project: str, item_id: str) -> str:
    """Return the id of an item's audit: people say what is true of the item, whatever strategy decided it."""
    return digest(["review-task", "audit", project, item_id])


def gold_task_id(project: str, item_id: str) -> str:
    """Return the id of the question what an item's gold label is."""
    return digest(["review-task", "gold", project, item_id])


def task_columns(tasks: Sequence[ReviewTask]) -> dict[str, list[Any]]:
    """Return tasks as columns for ``TraceStore.append``."""
    rows = [asdict(task) for task in tasks]
    return {name: [row[name] for row in rows] for name in ReviewTask.__slots__}
