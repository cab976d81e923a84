"""Asking people on purpose: routed items of earlier runs, strategies that differ, answers that are contested."""

from __future__ import annotations

from datetime import datetime

import orjson

from agents.review_tasks import (
    ReviewTask,
    appeal_task_id,
    disagreement_task_id,
    routed_task_id,
    task_columns,
)
from labelproof.spec.errors import ConfigError
from labelproof.spec.hashing import short
from labelproof.spec.project import ProjectFolder
from labelproof.store import TraceStore

# Of every item: the latest decision of one strategy, by its name or the fingerprint of a version.
_LATEST = """
SELECT d.*, r.strategy FROM decisions AS d
JOIN (SELECT run_id, any_value(project) AS project, any_value(strategy) AS strategy FROM runs GROUP BY run_id) AS r
    USING (run_id)
WHERE r.project = $project AND (r.strategy = ${name} OR starts_with(d.strategy_fp, ${name}))
QUALIFY row_number() OVER (PARTITION BY d.item_id ORDER BY d.ts DESC NULLS LAST, d.run_id DESC) = 1
"""
_FILL = f"""
WITH latest AS ({_LATEST.format(name="strategy")})
SELECT l.* FROM latest AS l
WHERE l.decision IN ('review', 'failed') AND l.item_id NOT IN (
    SELECT item_id FROM review_tasks WHERE project = $project AND kind = 'routed'
)
ORDER BY l.ts, l.item_id
"""
_BETWEEN = f"""
WITH a AS ({_LATEST.format(name="a")}), b AS ({_LATEST.format(name="b")})
SELECT a.item_id, a.run_id, a.strategy_fp AS fp_a, b.strategy_fp AS fp_b, a.label AS label_a, b.label AS label_b
FROM a JOIN b USING (item_id)
WHERE a.label <> b.label
ORDER BY md5(a.item_id)
"""


def fill_routed(store: TraceStore, folder: ProjectFolder, strategy: str | None, now: datetime) -> int:
    """Queue what the latest decisions of a strategy send to people and no run has queued; returns how many.

    ``strategy``: name or fingerprint, default the project's. ``ConfigError`` when it has decided nothing here.
    """
    name = strategy or folder.spec.default_strategy
    rows = store.query(_FILL, {"project": folder.name, "strategy": name}, fresh=True).to_pylist()
    if not rows:
        _check_decided(store, folder, name)
    policy = folder.spec.review
    tasks = [
        ReviewTask(
            task_id=routed_task_id(folder.name, row["item_id"]),
            project=folder.name,
            kind="routed",
            item_id=row["item_id"],
            run_id=row["run_id"],
            strategy_fp=row["strategy_fp"],
            label=row["label"],
            confidence=row["confidence"],
            blind=policy.is_blind("routed"),
            votes_wanted=policy.votes("routed"),
            reason=row["reason"] or "routed to review",
            ts=now,
        )
        for row in rows
    ]
    if tasks:
        store.append("review_tasks", task_columns(tasks))
    return len(tasks)


def ask_disagreements(
    store: TraceStore, folder: ProjectFolder, a: str, b: str, now: datetime, *, limit: int | None = None
) -> int:
    """Ask people about items that two strategies label differently; returns how many are new.

    ``a``, ``b``: names or fingerprints; the latest decision of each counts. With ``limit``, a random part (by a hash of
    the item). People see neither label. ``ConfigError`` when one of them has decided nothing here.
    """
    rows = store.query(_BETWEEN, {"project": folder.name, "a": a, "b": b}, fresh=True).to_pylist()
    if not rows:
        _check_decided(store, folder, a)
        _check_decided(store, folder, b)
    known = _known_tasks(store, folder.name)
    policy = folder.spec.review
    tasks = []
    for row in rows:
        task_id = disagreement_task_id(folder.name, row["item_id"], (row["fp_a"], row["fp_b"]))
        if task_id in known:
            continue
        tasks.append(
            ReviewTask(
                task_id=task_id,
                project=folder.name,
                kind="disagreement",
                item_id=row["item_id"],
                run_id=row["run_id"],
                strategy_fp=row["fp_a"],
                label=row["label_a"],
                blind=policy.is_blind("disagreement"),
                votes_wanted=policy.votes("disagreement"),
                reason=f"{a}@{short(row['fp_a'])}: {row['label_a']}, {b}@{short(row['fp_b'])}: {row['label_b']}",
                ts=now,
            )
        )
    tasks = tasks[:limit]
    if tasks:
        store.append("review_tasks", task_columns(tasks))
    return len(tasks)


def appeal_task(
    store: TraceStore, folder: ProjectFolder, item: str, *, reason: str, by: str, now: datetime
) -> ReviewTask:
    """Return the review task of an appeal against an item's final label; the caller stores it.

    ``item``: its id or external id. The same person's appeal against the same label is the same task. ``ConfigError``
    when the item is unknown, has no label yet, or the reason is empty.
    """
    if not reason.strip():
        raise ConfigError("an appeal needs a reason: say what is wrong with the label")
    found = store.query(
        "SELECT i.item_id, f.label, f.source, f.task_id, f.run_id, f.strategy_fp FROM ("
        " SELECT item_id FROM items WHERE project = $project AND (external_id = $item OR item_id = $item)"
        " ORDER BY ts DESC LIMIT 1) AS i"
        " LEFT JOIN final_labels AS f ON f.item_id = i.item_id AND f.project = $project",
        {"project": folder.name, "item": item},
        fresh=True,
    ).to_pylist()
    if not found:
        raise ConfigError(f"the store knows no item {item!r} of project {folder.name!r}")
    row = found[0]
    if row["label"] is None:
        raise ConfigError(
            f"item {item!r} has no final label yet: there is nothing to appeal against",
            hint=f"labelproof trace {folder.name} {item}",
        )
    policy = folder.spec.review
    contested = str(orjson.dumps([row["source"], row["task_id"], row["run_id"], row["label"], by]))
    return ReviewTask(
        task_id=appeal_task_id(folder.name, row["item_id"], contested),
        project=folder.name,
        kind="appeal",
        item_id=row["item_id"],
        run_id=row["run_id"],
        strategy_fp=row["strategy_fp"],
        label=row["label"],
        blind=policy.is_blind("appeal"),
        votes_wanted=policy.votes("appeal"),
        reason=f"{by}: {reason.strip()}",
        ts=now,
    )


def _known_tasks(store: TraceStore, project: str) -> set[str]:
    rows = store.query("SELECT task_id FROM review_tasks WHERE project = ?", [project], fresh=True)
    return set(rows["task_id"].to_pylist())


def _check_decided(store: TraceStore, folder: ProjectFolder, strategy: str) -> None:
    """Raise ``ConfigError`` when a strategy has decided nothing in this project."""
    found = store.query(
        f"SELECT count(*) AS n FROM ({_LATEST.format(name='strategy')})",
        {"project": folder.name, "strategy": strategy},
        fresh=True,
    )
    if not found["n"][0].as_py():
        raise ConfigError(
            f"strategy {strategy!r} has decided nothing in this store",
            hint=f"labelproof run {folder.name} --strategy {strategy}",
        )
