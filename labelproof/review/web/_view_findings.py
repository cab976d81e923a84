"""What the pages of findings show: rows, one finding with its history, the register; words escaped by the templates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import quote

from labelproof.report.findings.model import Finding, FindingEvent
from labelproof.report.findings.register import Risk
from labelproof.report.findings.text import age_text, event_words, evidence_numbers, folded, look_word
from labelproof.report.visible_text import Segment, segments
from labelproof.review.web._view_lead import short_id
from labelproof.review.web._view_words import at_time

MOST_ITEMS = 50
_EVENTS = {
    "opened": "Opened",
    "edited": "Edited",
    "assigned": "Assigned",
    "noted": "Note",
    "closed": "Closed",
    "reopened": "Opened again",
    "accepted": "Accepted",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class FindingRow:
    """A finding in the list."""

    finding_id: str
    project: str
    title: tuple[Segment, ...]
    severity: str
    owner: str
    state: str
    age: str
    due: str
    overdue: bool
    progress: str


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryRow:
    """One entry of a history; several looks of a check in a row are one entry (``n`` of them)."""

    at: str
    what: str
    by: tuple[Segment, ...]
    words: tuple[Segment, ...]
    n: int = 1


def finding_row(one: Finding, now: datetime) -> FindingRow:
    return FindingRow(
        finding_id=one.finding_id,
        project=one.project,
        title=segments(one.title),
        severity=one.severity,
        owner=one.owner,
        state=one.state,
        age=age_text(one.age_days(now)),
        due="" if one.due is None or one.state == "closed" else f"{one.due:%Y-%m-%d}",
        overdue=one.is_overdue(now),
        progress=one.progress,
    )


def finding_view(one: Finding, now: datetime) -> dict[str, Any]:
    """Return all that the page of one finding shows."""
    items = one.items()
    n_items = one.evidence.get("n_items")
    sql = one.evidence.get("sql")
    watched = one.watched_until()
    last = one.last_note
    held = one.check_runs if one.state == "closed" else min(one.check_held, one.check_runs)
    return {
        "row": finding_row(one, now),
        "since": at_time(one.since),
        "opened": at_time(one.opened_at),
        "seen": one.n_seen,
        "source": segments(f"{one.source} {one.source_id}"),
        "cause": segments(one.cause) if one.cause else None,
        "action": segments(one.action) if one.action else None,
        "check": one.check,
        "held": held,
        "runs": one.check_runs,
        "unheld": one.state == "open" and one.check is not None and one.check_held < one.check_runs,
        "last_look": None if last is None else (at_time(last.ts), segments(last.reason or "")),
        "watched": None if watched is None else at_time(watched),
        "numbers": [(key, segments(value)) for key, value in evidence_numbers(one)],
        "sql": segments(sql) if isinstance(sql, str) and sql.strip() else None,
        "items": [
            (f"/p/{quote(one.project)}/item/{quote(item_id, safe='')}", short_id(item_id), right)
            for item_id, right in items[:MOST_ITEMS]
        ],
        "n_items": n_items if isinstance(n_items, int) else len(items),
        "history": history(one.events),
    }


def history(events: Sequence[FindingEvent]) -> list[HistoryRow]:
    """Return the history, newest first; many looks in a row that said the same stand as one, the newest."""
    return [
        HistoryRow(
            at=at_time(event.ts),
            what=f"Check {look_word(event)}" if event.event == "checked" else _EVENTS[event.event],
            by=segments(event.actor),
            words=segments(event_words(event)),
            n=n,
        )
        for event, n in reversed(folded(events))
    ]


def risk_rows(risks: Sequence[Risk]) -> list[dict[str, Any]]:
    return [
        {
            "finding_id": one.finding_id,
            "project": one.project,
            "risk": segments(one.risk),
            "severity": one.severity,
            "likelihood": one.likelihood,
            "n_seen": one.n_seen,
            "score": one.score,
            "state": one.state,
            "owner": one.owner,
            "due": "" if one.due is None else f"{one.due:%Y-%m-%d}",
            "overdue": one.overdue,
            "action": segments(one.action) if one.action else None,
        }
        for one in risks
    ]
