"""A small project with review tasks, an office, and a desk whose clock the test turns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from agents.review_tasks import (
    ReviewTask,
    TaskKind,
    audit_task_id,
    gold_task_id,
    routed_task_id,
    task_columns,
)
from labelproof.review.desk import Desk
from labelproof.review.model import Answer, Assignment, Ballot, NothingToDo, Receipt, Reviewer, VoteRole
from labelproof.review.office import Office, open_office
from labelproof.spec.hashing import digest
from labelproof.spec.project import ProjectFolder, find_project
from labelproof.store import TraceStore, open_store
from tests.report.review_rows import add_items
from tests.review.office_helpers import CHEAP

T0 = datetime(2026, 3, 2, 12, tzinfo=UTC)
PROJECT = """
name: mini
labels:
  kind: single
  classes:
    - {name: safe, severity: low}
    - {name: hate, severity: high}
    - {name: spam, severity: medium}
    - {name: threat, severity: critical}
items: {path: items.jsonl}
"""
NO_CHECKS = "checks: {first: 0, rate_prob: 0}"
ANN, BOB, CYD = (Reviewer(name=name) for name in ("ann", "bob", "cyd"))
LEA = Reviewer(name="lea", role="lead")


@dataclass
class Clock:
    """A clock that stands still until it is moved."""

    now: datetime = T0

    def __call__(self) -> datetime:
        return self.now

    def forward(self, **by: float) -> None:
        self.now += timedelta(**by)


@dataclass
class Place:
    """Everything on disk, and one desk."""

    folder: ProjectFolder
    store: TraceStore
    office: Office
    desk: Desk
    clock: Clock
    ids: list[str] = field(default_factory=list)

    def reopen(self) -> Desk:
        """Return another desk over the same store and office, as another process would have."""
        return Desk.open(self.store, self.office, {"mini": self.folder}, clock=self.clock, seed=1)

    def close(self) -> None:
        self.desk.close()
        self.office.close()
        self.store.close()


def make_folder(tmp_path: Path, *, review: str = NO_CHECKS) -> ProjectFolder:
    folder = tmp_path / "mini"
    folder.mkdir()
    (folder / "guideline.md").write_text("# Guideline\n\n## H-1 Hate\n\nAttacks on groups are hate.\n")
    (folder / "project.yaml").write_text(f"{PROJECT}review: {{{review}}}\n")
    return find_project(str(folder))


def make_place(
    tmp_path: Path,
    texts: Sequence[str] = ("one", "two", "three"),
    *,
    kind: TaskKind = "routed",
    review: str = NO_CHECKS,
    labels: Sequence[str] = (),
    confidences: Sequence[float] = (),
    metas: Sequence[dict[str, Any]] = (),
) -> Place:
    """Return a place with one task of ``kind`` per text."""
    folder = make_folder(tmp_path, review=review)
    store = open_store(tmp_path / "store")
    ids = add_items(store, texts, metas)
    add_tasks(store, folder, ids, kind=kind, labels=labels, confidences=confidences)
    clock = Clock()
    office = open_office(tmp_path / "office.db", clock=clock, hasher=CHEAP)
    desk = Desk.open(store, office, {"mini": folder}, clock=clock, seed=1)
    return Place(folder=folder, store=store, office=office, desk=desk, clock=clock, ids=ids)


def add_tasks(
    store: TraceStore,
    folder: ProjectFolder,
    ids: Sequence[str],
    *,
    kind: TaskKind = "routed",
    labels: Sequence[str] = (),
    confidences: Sequence[float] = (),
    at: datetime = T0 - timedelta(hours=1),
) -> list[str]:
    """Store one task per item and return their ids."""
    name = {"audit": audit_task_id, "gold": gold_task_id}.get(kind, routed_task_id)
    policy = folder.spec.review
    tasks = [
        ReviewTask(
            task_id=name("mini", item),
            project="mini",
            kind=kind,
            item_id=item,
            run_id=None,
            strategy_fp=None,
            label=labels[i] if labels else "spam",
            confidence=confidences[i] if confidences else 0.6,
            blind=policy.is_blind(kind),
            votes_wanted=policy.votes(kind),
            reason="confidence 0.600 below threshold",
            design=None,
            inclusion_prob=None,
            sample_id=None,
            ts=at,
        )
        for i, item in enumerate(ids)
    ]
    store.append("review_tasks", task_columns(tasks))
    return [task.task_id for task in tasks]


def take(desk: Desk, who: Reviewer, *, role: VoteRole = "reviewer", after: Sequence[str] = ()) -> Assignment:
    """Return the next task; a test that expects one fails with the reason."""
    found = desk.next(who, "mini", role=role, after=after)
    assert isinstance(found, Assignment), found
    return found


def nothing(desk: Desk, who: Reviewer, *, role: VoteRole = "reviewer") -> NothingToDo:
    found = desk.next(who, "mini", role=role)
    assert isinstance(found, NothingToDo), found
    return found


def vote(
    desk: Desk,
    who: Reviewer,
    given: Assignment,
    label: str | None = "safe",
    *,
    answer: Answer = "label",
    role: VoteRole = "reviewer",
    key: str | None = None,
    seconds: float | None = 5.0,
    note: str | None = None,
) -> Receipt:
    """Answer a task."""
    ballot = Ballot(
        task_id=given.task.task_id,
        token=given.lease.token,
        key=key or digest([given.task.task_id, who.name, role, label, answer]),
        answer=answer,
        label=label if answer == "label" else None,
        note=note,
        seconds=seconds,
    )
    return desk.cast(who, "mini", ballot, role=role)
