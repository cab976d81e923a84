"""A finding as a fold of its events: a problem from the day it was seen until it is proven gone. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Literal, get_args

from labelproof.spec.errors import ConfigError
from labelproof.spec.monitoring import LEVELS, Level

EventName = Literal["opened", "edited", "assigned", "noted", "checked", "closed", "reopened", "accepted"]
State = Literal["open", "accepted", "closed"]
STATES: tuple[State, ...] = get_args(State)
Source = Literal["monitor", "rca", "suite", "experiment", "person"]
SOURCES: tuple[Source, ...] = get_args(Source)
MONITOR = "monitor"
"""The actor of what the machine does by itself."""
WATCH_DAYS = 90.0
"""Days after closing in which a failing check opens a finding again, unless its evidence says `watch_days`."""
DUE_DAYS: Mapping[Level, float] = {"critical": 3.0, "major": 14.0, "minor": 30.0}
"""Days from opening until a finding is due, unless somebody says otherwise."""
_ORDER: tuple[EventName, ...] = (
    "opened",
    "edited",
    "assigned",
    "noted",
    "checked",
    "closed",
    "accepted",
    "reopened",
)
_TURNS: Mapping[EventName, State] = {
    "opened": "open",
    "reopened": "open",
    "closed": "closed",
    "accepted": "accepted",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class FindingEvent:
    """One row of `findings`. None: says nothing about that; the value given before still counts.

    ``value`` and ``check_held`` belong to `checked`: ``check_held`` above 0 says it held, 0 that it failed, None that
    the look decided nothing (``value`` None: too little data; else it failed, but not provably).
    """

    finding_id: str
    project: str
    event: EventName
    title: str | None = None
    severity: Level | None = None
    owner: str | None = None
    source: Source | None = None
    source_id: str | None = None
    cause: str | None = None
    action: str | None = None
    check: str | None = None
    check_runs: int | None = None
    check_held: int | None = None
    value: float | None = None
    evidence: Mapping[str, Any] | None = None
    due: datetime | None = None
    actor: str
    reason: str | None = None
    ts: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Where a finding stands, and its history (``events``, oldest first).

    ``evidence``: `sql` (a query to run), `items` (ids, or objects with `item_id` and the `right` label) and numbers.
    ``since``: when its state began. ``due``: of an accepted one, until when it is accepted. ``check_held`` of ``check_runs`` looks in a row have held so far.
    """

    finding_id: str
    project: str
    state: State
    title: str
    severity: Level
    owner: str
    source: Source
    source_id: str
    cause: str | None
    action: str | None
    check: str | None
    check_runs: int
    check_held: int
    value: float | None
    evidence: Mapping[str, Any]
    due: datetime | None
    opened_at: datetime
    since: datetime
    changed_at: datetime
    n_reopened: int
    events: tuple[FindingEvent, ...] = field(repr=False)

    @property
    def closed_at(self) -> datetime | None:
        """When it was closed; None while it is open or accepted."""
        return self.since if self.state == "closed" else None

    @property
    def n_seen(self) -> int:
        """How often the problem appeared: once when opened, and every time it came back."""
        return 1 + self.n_reopened

    @property
    def progress(self) -> str:
        """`2 of 3 runs`; how far the check is, or that there is none."""
        if self.check is None:
            return "no check"
        if self.state == "closed":
            return "watched"
        return f"{min(self.check_held, self.check_runs)} of {self.check_runs} runs"

    @property
    def watch_days(self) -> float:
        """Days after closing in which its check is still looked at."""
        given = self.evidence.get("watch_days")
        return float(given) if isinstance(given, int | float) and given >= 0 else WATCH_DAYS

    def watched_until(self) -> datetime | None:
        """Until when a closed finding opens again by itself; None: it does not."""
        if self.state != "closed" or self.check is None:
            return None
        return self.since + timedelta(days=self.watch_days)

    def age_days(self, now: datetime) -> float:
        """Days it has been open, or was open until it was closed the last time; at least 0."""
        start = max((e.ts for e in self.events if e.event in ("opened", "reopened")), default=self.opened_at)
        end = self.since if self.state == "closed" else now
        return max(0.0, (end - start) / timedelta(days=1))

    def is_overdue(self, now: datetime) -> bool:
        """Whether its time has run out: open past its date, or an acceptance that has ended."""
        return self.state != "closed" and self.due is not None and self.due < now

    @property
    def last_note(self) -> FindingEvent | None:
        """The look at its check that was stored last in this state."""
        looks = [e for e in self.events if e.event == "checked" and e.ts >= self.since]
        return looks[-1] if looks else None

    def item_ids(self) -> list[str]:
        """Return the ids of the items in its evidence."""
        return [item_id for item_id, _ in self.items()]

    def items(self) -> list[tuple[str, str | None]]:
        """Return (item id, right label where the evidence says it) of its items."""
        found = []
        for item in _listed(self.evidence.get("items")):
            if isinstance(item, Mapping) and isinstance(item.get("item_id"), str):
                right = item.get("right") or item.get("right_label")
                found.append((str(item["item_id"]), right if isinstance(right, str) else None))
            elif isinstance(item, str):
                found.append((item, None))
        return found

    def to_json(self, now: datetime, *, history: bool = False) -> dict[str, Any]:
        """Return it as JSON values; ``history``: with its events."""
        watched = self.watched_until()
        found: dict[str, Any] = {
            "finding_id": self.finding_id,
            "project": self.project,
            "state": self.state,
            "title": self.title,
            "severity": self.severity,
            "owner": self.owner,
            "source": self.source,
            "source_id": self.source_id,
            "cause": self.cause,
            "action": self.action,
            "check": self.check,
            "check_runs": self.check_runs,
            "check_held": self.check_held,
            "progress": self.progress,
            "value": self.value,
            "evidence": dict(self.evidence),
            "due": None if self.due is None else self.due.isoformat(),
            "overdue": self.is_overdue(now),
            "opened_at": self.opened_at.isoformat(),
            "since": self.since.isoformat(),
            "changed_at": self.changed_at.isoformat(),
            "watched_until": None if watched is None else watched.isoformat(),
            "age_days": round(self.age_days(now), 3),
            "n_seen": self.n_seen,
        }
        if history:
            found["history"] = [_event_json(event) for event in self.events]
        return found


def finding_of(events: Iterable[FindingEvent]) -> Finding:
    """Return where one finding stands after its events, in whatever order they are given.

    Of each thing the value said last counts, as in the view `current_findings`. A second `closed` of a closed finding
    changes nothing: who wrote first has closed it. ``ConfigError``: no event, several findings, or none that opens.
    """
    ordered = in_order(events)
    if len({event.finding_id for event in ordered}) != 1 or not any(e.event == "opened" for e in ordered):
        raise ConfigError("expected the events of one finding, one of them `opened`")
    opened = next(event for event in ordered if event.event == "opened")
    state: State = "open"
    turn = opened
    for event in ordered:
        turned = _TURNS.get(event.event)
        if turned is not None and turned != state:
            state, turn = turned, event

    def last(name: str) -> Any:
        return next((v for e in reversed(ordered) if (v := getattr(e, name)) is not None), None)

    checked = [event.value for event in ordered if event.event == "checked" and event.value is not None]
    return Finding(
        finding_id=opened.finding_id,
        project=opened.project,
        state=state,
        title=last("title") or opened.finding_id,
        severity=last("severity") or "major",
        owner=last("owner") or "",
        source=opened.source or "person",
        source_id=opened.source_id or "",
        cause=last("cause") or None,
        action=last("action") or None,
        check=last("check") or None,
        check_runs=last("check_runs") or 1,
        check_held=last("check_held") or 0,
        value=checked[-1] if checked else None,
        evidence=last("evidence") or {},
        due=turn.due if state == "accepted" else last("due"),
        opened_at=opened.ts,
        since=turn.ts,
        changed_at=ordered[-1].ts,
        n_reopened=sum(event.event == "reopened" for event in ordered),
        events=tuple(ordered),
    )


def findings_from(events: Iterable[FindingEvent]) -> tuple[Finding, ...]:
    """Return all findings among ``events``: open first, then worst severity, then the oldest."""
    by_id: dict[str, list[FindingEvent]] = {}
    for event in events:
        by_id.setdefault(event.finding_id, []).append(event)
    whole = [rows for rows in by_id.values() if any(event.event == "opened" for event in rows)]
    return tuple(sorted((finding_of(rows) for rows in whole), key=_place))


def in_order(events: Iterable[FindingEvent]) -> list[FindingEvent]:
    """Return events by time; of those at the same moment, in the order in which a finding passes them."""
    return sorted(events, key=lambda one: (one.ts, _ORDER.index(one.event), one.actor, one.reason or ""))


def severity_rank(severity: Level) -> int:
    """Return 0 for the worst."""
    return LEVELS.index(severity)


def _place(finding: Finding) -> tuple[int, int, datetime, str]:
    rank = severity_rank(finding.severity)
    return (STATES.index(finding.state), rank, finding.opened_at, finding.finding_id)


def _listed(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else []


def _event_json(event: FindingEvent) -> dict[str, Any]:
    names = (
        *("title", "severity", "owner", "cause", "action", "check", "check_runs", "check_held", "value"),
        *("reason",),
    )
    said = {name: value for name in names if (value := getattr(event, name)) is not None}
    if event.due is not None:
        said["due"] = event.due.isoformat()
    return {"event": event.event, "ts": event.ts.isoformat(), "by": event.actor, **said}
