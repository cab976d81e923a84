"""One item: what is known of it, and how much of that a person may see before they have answered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from labelproof.report.trace import ItemTrace, trace_item
from labelproof.report.visible_text import Segment, excerpt
from labelproof.review._desk_show import plants_gold
from labelproof.review.model import DECIDED, Outcome, Reviewer, Task
from labelproof.review.web._view_lead import ONE_OF_KIND, VoteView, short_id, vote_views, why
from labelproof.review.web._view_words import STATE_WORDS, ago, at_time
from labelproof.spec.errors import ConfigError
from labelproof.spec.review import ReviewPolicy
from labelproof.store import TraceStore

MOST_FOUND = 50
_NAME_MOST = 200
_FOUND = """
SELECT i.item_id, i.external_id, x.text
FROM current_items AS i JOIN text_by_hash AS x USING (text_hash)
WHERE i.project = $project AND (
    $q = '' OR starts_with(i.item_id, $q) OR starts_with(i.external_id, $q) OR contains(lower(x.text), lower($q))
)
ORDER BY i.item_id = $q OR i.external_id = $q DESC, i.external_id, i.item_id LIMIT $most
"""
_NAMED = """
SELECT item_id, list(DISTINCT external_id ORDER BY external_id) AS names FROM items
WHERE project = $project AND (item_id = $item OR external_id = $item)
GROUP BY item_id ORDER BY item_id = $item DESC, max(ts) DESC LIMIT 1
"""
_DECISIONS = """
SELECT r.strategy, d.strategy_fp, d.label, d.confidence, d.decision, d.reason, d.certificate_id, d.ts
FROM current_decisions AS d
JOIN (SELECT DISTINCT run_id, project, strategy FROM runs) AS r USING (run_id)
WHERE r.project = $project AND d.item_id = $item ORDER BY d.ts DESC, r.strategy
"""
_FINAL = "SELECT label, source, annotators, decided_at FROM final_labels WHERE project = $project AND item_id = $item"
_GOLD = "SELECT label, split FROM gold WHERE project = $project AND item_id = $item ORDER BY ts DESC LIMIT 1"
_SOURCES: Mapping[str, str] = {
    "agreed": "reviewers agreed",
    "adjudicated": "a lead decided",
    "auto_accept": "decided by the machine",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundItem:
    """A line of the item search."""

    item_id: str
    short_id: str
    external_id: str
    text: tuple[Segment, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskLine:
    """A task about the item, with its votes as far as this person may see them."""

    task_id: str
    kind: str
    state: str
    why: str
    asked: str
    final_label: str | None
    votes: tuple[VoteView, ...]


def find_items(store: TraceStore, project: str, query: str) -> list[FoundItem]:
    """Return the first items whose id begins with the query or whose text holds it; one more than is shown."""
    rows = store.query(
        _FOUND,
        {"project": project, "q": query.strip(), "most": MOST_FOUND + 1},
        fresh=True,
        only=("items", "texts"),
    ).to_pylist()
    return [
        FoundItem(
            item_id=row["item_id"],
            short_id=short_id(row["item_id"]),
            external_id=(row["external_id"] or "")[:_NAME_MOST],
            text=excerpt(row["text"]),
        )
        for row in rows
    ]


def named_item(store: TraceStore, project: str, item: str) -> tuple[str, list[str]] | None:
    """Return (item id, external ids) of an item named by either; None when the store does not know it."""
    rows = store.query(_NAMED, {"project": project, "item": item}, fresh=True, only=("items",)).to_pylist()
    return (rows[0]["item_id"], [name[:_NAME_MOST] for name in rows[0]["names"] if name]) if rows else None


def gold_of(store: TraceStore, project: str, item_id: str) -> Mapping[str, Any] | None:
    """Return the item's newest gold label and split, None when it has none."""
    rows = store.query(_GOLD, {"project": project, "item": item_id}, fresh=True, only=("gold",)).to_pylist()
    return rows[0] if rows else None


def sees_machine(
    user: Reviewer,
    pairs: Sequence[tuple[Task, Outcome]],
    *,
    is_gold: bool,
    policy: ReviewPolicy,
    now: datetime,
) -> bool:
    """Return whether a person may see the machine's part and other people's answers.

    Leads may. A reviewer may not where hidden gold is planted: what became of an item they answered would tell what it
    was. Elsewhere they may not while a blind task on the item could still be theirs to answer, while they can take their
    own answer back, nor, before they have answered about it, when the item has gold.
    """
    if user.leads:
        return True
    if plants_gold(policy):
        return False
    own = [vote.at for _, outcome in pairs for vote in outcome.votes if vote.annotator == user.name]
    if any(now - at <= timedelta(minutes=policy.undo_minutes) for at in own):
        return False
    return not _is_waiting(user, pairs) and (bool(own) or not is_gold)


def may_appeal(user: Reviewer, pairs: Sequence[tuple[Task, Outcome]], *, sees: bool) -> bool:
    """Return whether a person may ask people again: who sees the label, and who has answered about the item."""
    return sees or (bool(own_answers(pairs, user)) and not _is_waiting(user, pairs))


def _is_waiting(user: Reviewer, pairs: Sequence[tuple[Task, Outcome]]) -> bool:
    """Return whether a blind task on the item could still be this person's to answer."""
    return any(
        task.blind
        and outcome.state not in (*DECIDED, "closed")
        and not any(vote.annotator == user.name for vote in outcome.votes)
        for task, outcome in pairs
    )


def task_lines(pairs: Sequence[tuple[Task, Outcome]], user: Reviewer, now: datetime) -> tuple[TaskLine, ...]:
    """Return the tasks; reviewers see others' votes once a task is decided, and no hidden gold."""
    return tuple(
        TaskLine(
            task_id=task.task_id,
            kind=ONE_OF_KIND[task.kind],
            state=STATE_WORDS[outcome.state],
            why=why(outcome) if user.leads else STATE_WORDS[outcome.state],
            asked=ago(task.made_at, now),
            final_label=outcome.final_label,
            votes=vote_views(outcome, named=user.leads) if user.leads or outcome.state in DECIDED else (),
        )
        for task, outcome in pairs
        if user.leads or task.kind != "check"
    )


def own_answers(pairs: Sequence[tuple[Task, Outcome]], user: Reviewer) -> list[tuple[str, str]]:
    """Return (answer, time) of this person's own votes on the item."""
    return [
        (vote.label or vote.answer, at_time(vote.at))
        for _, outcome in pairs
        for vote in outcome.votes
        if vote.annotator == user.name
    ]


def decisions_of(store: TraceStore, project: str, item_id: str) -> list[dict[str, Any]]:
    """Return the machine's latest decision per strategy version, newest first."""
    given = {"project": project, "item": item_id}
    rows = store.query(_DECISIONS, given, fresh=True, only=("decisions", "runs")).to_pylist()
    return [{**row, "at": at_time(row["ts"])} for row in rows]


def final_of(store: TraceStore, project: str, item_id: str) -> dict[str, Any] | None:
    """Return the item's final label with where it comes from; None while there is none."""
    rows = store.query(_FINAL, {"project": project, "item": item_id}, fresh=True).to_pylist()
    if not rows:
        return None
    return {**rows[0], "source": _SOURCES[rows[0]["source"]], "at": at_time(rows[0]["decided_at"])}


def trace_of(store: TraceStore, project: str, item_id: str) -> ItemTrace | None:
    """Return the item's way through its latest run; None when no run has labelled it."""
    try:
        return trace_item(store, project, item_id)
    except ConfigError:
        return None
