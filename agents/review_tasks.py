"""Questions to people, as rows: made by runs for audited items and by draws for gold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from labelproof.spec.hashing import digest
from labelproof.spec.review import VOTES_WANTED, TaskKind


@dataclass(frozen=True, slots=True, kw_only=True)
class ReviewTask:
    """One row of ``review_tasks``. ``label`` and ``confidence`` are the model's, hidden while ``blind``."""

    task_id: str
    project: str
    kind: TaskKind
    item_id: str
    run_id: str | None = None
    strategy_fp: str | None = None
    label: str | None = None
    confidence: float | None = None
    blind: bool = True
    votes_wanted: int
    reason: str
    design: str | None = None
    inclusion_prob: float | None = None
    sample_id: str | None = None
    ts: datetime


def audit_task_id(project: str, item_id: str) -> str:
    """Return the id of an item's audit: people say what is true of the item, whatever strategy decided it."""
    return digest(["review-task", "audit", project, item_id])


def gold_task_id(project: str, item_id: str) -> str:
    """Return the id of the question what an item's gold label is."""
    return digest(["review-task", "gold", project, item_id])


def routed_task_id(project: str, item_id: str) -> str:
    """Return the id of the question what to decide on an item that the machine may not decide."""
    return digest(["review-task", "routed", project, item_id])


def disagreement_task_id(project: str, item_id: str, strategies: Sequence[str]) -> str:
    """Return the id of the question which of several strategy versions is right on an item."""
    return digest(["review-task", "disagreement", project, item_id, sorted(strategies)])


def appeal_task_id(project: str, item_id: str, contested: str) -> str:
    """Return the id of an appeal; ``contested`` is the vote, task or decision that it is against."""
    return digest(["review-task", "appeal", project, item_id, contested])


def check_task_id(project: str, item_id: str, reviewer: str) -> str:
    """Return the id of a hidden gold item put before one reviewer."""
    return digest(["review-task", "check", project, item_id, reviewer])


def task_columns(tasks: Sequence[ReviewTask]) -> dict[str, list[Any]]:
    """Return tasks as columns for ``TraceStore.append``."""
    rows = [asdict(task) for task in tasks]
    return {name: [row[name] for row in rows] for name in ReviewTask.__slots__}


__all__ = [
    "VOTES_WANTED",
    "ReviewTask",
    "TaskKind",
    "appeal_task_id",
    "audit_task_id",
    "check_task_id",
    "disagreement_task_id",
    "gold_task_id",
    "routed_task_id",
    "task_columns",
]
