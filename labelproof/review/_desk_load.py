"""Reading a project's queue from the trace store: all of it once, then what is new."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import orjson
import pyarrow as pa

from labelproof.review.model import Task, TaskEvent, Vote
from labelproof.review.queue import build_task
from labelproof.spec.project import ProjectFolder
from labelproof.store import TraceStore

HISTORY = timedelta(days=45)
"""Decided tasks are kept in memory this long after their last answer, for undo and for people's numbers."""
OVERLAP = timedelta(seconds=15)
"""Rows are looked at again for this long: segments may arrive a little later than their times say."""
TABLES = ("review_tasks", "votes", "review_events", "items", "texts")
_TASK = """
WITH asked AS ({tasks}),
here AS (
    SELECT i.item_id, i.meta_json, i.text_hash FROM items AS i SEMI JOIN asked AS a ON a.item_id = i.item_id
    WHERE i.project = $project
    QUALIFY row_number() OVER (PARTITION BY i.item_id ORDER BY i.ts DESC NULLS LAST) = 1
)
SELECT a.*, h.meta_json, h.text_hash FROM asked AS a LEFT JOIN here AS h ON h.item_id = a.item_id
"""
_FIRST = "SELECT * FROM review_tasks WHERE {where} QUALIFY row_number() OVER (PARTITION BY task_id ORDER BY ts NULLS LAST) = 1"
_LIVE = """
SELECT task_id FROM task_outcomes WHERE project = $project AND (
    state NOT IN ('agreed', 'adjudicated', 'closed') OR ts > $horizon OR answered_at > $horizon
)
"""
_LATE = """
SELECT DISTINCT task_id FROM votes SEMI JOIN live USING (task_id) ANTI JOIN known_votes USING (vote_id)
WHERE project = $project
"""
_CHECKS = """
SELECT g.item_id, any_value(g.label) AS label, any_value(i.text_hash) AS text_hash, any_value(i.meta_json) AS meta_json
FROM current_gold AS g
JOIN current_items AS i ON i.item_id = g.item_id AND i.project = g.project
WHERE g.project = $project AND g.split IN (SELECT unnest($splits))
  AND g.gold_fp = (SELECT arg_max(gold_fp, ts) FROM gold WHERE project = $project)
GROUP BY g.item_id ORDER BY g.item_id
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """A row of ``review_events``."""

    event_id: str
    task_id: str
    event: TaskEvent
    at: datetime


@dataclass(slots=True)
class News:
    """Rows of one look at the store; ``texts``: item id -> (text hash, metadata)."""

    tasks: list[Task] = field(default_factory=list)
    votes: list[Vote] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    items: dict[str, tuple[str | None, Mapping[str, Any]]] = field(default_factory=dict)
    newest: datetime | None = None


def load_all(store: TraceStore, folder: ProjectFolder, now: datetime) -> News:
    """Return every task that is not decided, or was lately, with its votes and events."""
    given = {"project": folder.name, "horizon": now - HISTORY}
    live = store.query(_LIVE, given, fresh=True, only=TABLES)
    return _of_tasks(store, folder, live.select(["task_id"]))


def load_since(
    store: TraceStore, folder: ProjectFolder, since: datetime, known: Container[str], recent: Iterable[str]
) -> News:
    """Return what was stored after ``since``, and the whole of each task that it mentions and ``known`` lacks.

    ``recent``: tasks already taken in that lie in the overlap with the last look; they are not read again.
    """
    news = News()
    wanted = {"project": folder.name, "since": since - OVERLAP}
    where = "project = $project AND ts > $since AND task_id NOT IN (SELECT task_id FROM seen)"
    _add_tasks(news, store, folder, _FIRST.format(where=where), wanted, {"seen": _ids(recent)})
    _add_votes(news, store, "project = $project AND ts > $since", wanted)
    _add_events(news, store, "project = $project AND ts > $since", wanted)
    have = {task.task_id for task in news.tasks}
    named = {vote.task_id for vote in news.votes} | {event.task_id for event in news.events}
    named -= have
    missing = [task_id for task_id in named if task_id not in known]
    if missing:
        older = _of_tasks(store, folder, _ids(missing))
        news.tasks += older.tasks
        news.votes += older.votes
        news.events += older.events
        news.items |= older.items
    return news


def load_missing(
    store: TraceStore, folder: ProjectFolder, known: Container[str], votes: Sequence[str], now: datetime
) -> News:
    """Return the live tasks that ``known`` lacks, or of which there is a vote outside ``votes`` (ids).

    Such rows came late with an old time: imported, from a machine whose clock differs, or from a segment that was held up.
    """
    given = {"project": folder.name, "horizon": now - HISTORY}
    live = store.query(_LIVE, given, fresh=True, only=TABLES).select(["task_id"])
    tables = {"live": live, "known_votes": pa.table({"vote_id": pa.array(votes, pa.string())})}
    late = store.query(_LATE, {"project": folder.name}, fresh=True, only=("votes",), given=tables)
    missing = {task_id for task_id in live["task_id"].to_pylist() if task_id not in known}
    missing.update(late["task_id"].to_pylist())
    return _of_tasks(store, folder, _ids(missing)) if missing else News()


def load_task(store: TraceStore, folder: ProjectFolder, task_id: str) -> News:
    """Return one task with its votes and events, however old; empty when the store does not know it."""
    return _of_tasks(store, folder, _ids([task_id]))


def load_checks(
    store: TraceStore, folder: ProjectFolder
) -> list[tuple[str, str, str | None, Mapping[str, Any]]]:
    """Return (item id, gold label, text hash, metadata) of the gold that may measure reviewers."""
    splits = list(folder.spec.review.checks.splits)
    rows = store.query(
        _CHECKS, {"project": folder.name, "splits": splits}, fresh=True, only=(*TABLES, "gold")
    ).to_pylist()
    return [(row["item_id"], row["label"], row["text_hash"], _meta(row["meta_json"])) for row in rows]


def load_texts(store: TraceStore, hashes: Sequence[str]) -> dict[str, str]:
    """Return the texts of these hashes; unknown ones are left out."""
    if not hashes:
        return {}
    given = {"wanted": pa.table({"text_hash": pa.array(sorted(set(hashes)), pa.string())})}
    table = store.query(
        "SELECT text_hash, any_value(text) AS text FROM texts SEMI JOIN wanted USING (text_hash) GROUP BY text_hash",
        fresh=True,
        only=("texts",),
        given=given,
    )
    return dict(zip(table["text_hash"].to_pylist(), table["text"].to_pylist(), strict=True))


def item_of(store: TraceStore, project: str, item_id: str) -> tuple[str | None, Mapping[str, Any]] | None:
    """Return an item's text hash and metadata; None when the store does not know it."""
    rows = store.query(
        "SELECT text_hash, meta_json FROM items WHERE project = ? AND item_id = ? ORDER BY ts DESC LIMIT 1",
        [project, item_id],
        fresh=True,
        only=("items",),
    ).to_pylist()
    return (rows[0]["text_hash"], _meta(rows[0]["meta_json"])) if rows else None


def _ids(task_ids: Iterable[str]) -> pa.Table:
    return pa.table({"task_id": pa.array(sorted(task_ids), pa.string())})


def _of_tasks(store: TraceStore, folder: ProjectFolder, ids: pa.Table) -> News:
    news = News()
    given = {"wanted": ids}
    wanted = {"project": folder.name}
    where = "project = $project AND task_id IN (SELECT task_id FROM wanted)"
    _add_tasks(news, store, folder, _FIRST.format(where=where), wanted, given)
    _add_votes(news, store, where, wanted, given)
    _add_events(news, store, where, wanted, given)
    return news


def _add_tasks(
    news: News,
    store: TraceStore,
    folder: ProjectFolder,
    tasks: str,
    wanted: Mapping[str, Any],
    given: Mapping[str, pa.Table] | None = None,
) -> None:
    rows = store.query(_TASK.format(tasks=tasks), wanted, fresh=True, only=TABLES, given=given).to_pylist()
    for row in rows:
        meta = _meta(row["meta_json"])
        news.items[row["item_id"]] = (row["text_hash"], meta)
        news.tasks.append(build_task(row, folder.spec.review, folder.spec.labels, meta))
        _see(news, row["ts"])


def _add_votes(
    news: News,
    store: TraceStore,
    where: str,
    wanted: Mapping[str, Any],
    given: Mapping[str, pa.Table] | None = None,
) -> None:
    query = f"SELECT * FROM votes WHERE {where} AND task_id <> ''"
    for row in store.query(query, wanted, fresh=True, only=("votes",), given=given).to_pylist():
        news.votes.append(vote_of(row))
        _see(news, row["ts"])


def vote_of(row: Mapping[str, Any]) -> Vote:
    """Return a row of ``votes`` as a vote."""
    return Vote(
        vote_id=row["vote_id"],
        project=row["project"],
        task_id=row["task_id"],
        item_id=row["item_id"],
        annotator=row["annotator"],
        role=row["role"],
        answer=row["answer"],
        label=row["label"],
        note=row["note"],
        source=row["source"] or "",
        seconds=row["seconds"],
        at=row["ts"],
        signature=row["signature"],
    )


def _add_events(
    news: News,
    store: TraceStore,
    where: str,
    wanted: Mapping[str, Any],
    given: Mapping[str, pa.Table] | None = None,
) -> None:
    query = f"SELECT event_id, task_id, event, ts FROM review_events WHERE {where}"
    for row in store.query(query, wanted, fresh=True, only=("review_events",), given=given).to_pylist():
        event = Event(event_id=row["event_id"], task_id=row["task_id"], event=row["event"], at=row["ts"])
        news.events.append(event)
        _see(news, row["ts"])


def _see(news: News, at: datetime) -> None:
    if news.newest is None or at > news.newest:
        news.newest = at


def _meta(raw: str | None) -> Mapping[str, Any]:
    found = orjson.loads(raw) if raw else {}
    return found if isinstance(found, dict) else {}
