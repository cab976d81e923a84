"""Findings in the store: opened once per source, changed by people and monitor, one writer at a time."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import orjson

from labelproof.report.findings.events import later, one_writer, read_events, record, stored_finding
from labelproof.report.findings.model import (
    DUE_DAYS,
    MONITOR,
    SOURCES,
    Finding,
    FindingEvent,
    Source,
    State,
    finding_of,
    findings_from,
    severity_rank,
)
from labelproof.report.findings.predicate import parse_check
from labelproof.spec.errors import ConfigError
from labelproof.spec.hashing import PREFIX, digest
from labelproof.spec.monitoring import LEVELS, Level
from labelproof.store import TraceStore

MAX_TITLE = 200
MAX_TEXT = 4_000
MAX_ITEMS = 500
Decide = Callable[[Finding], Sequence[FindingEvent]]


def finding_id_of(project: str, source: Source, source_id: str) -> str:
    """Return the id of what a source found: the same for the same source, whoever asks."""
    return "F-" + digest(["finding", project, source, source_id]).removeprefix(PREFIX)[:12]


def open_finding(
    store: TraceStore,
    project: str,
    *,
    title: str,
    severity: Level,
    owner: str,
    source: Source,
    source_id: str,
    evidence: Mapping[str, Any],
    cause: str | None = None,
    action: str | None = None,
    check: str | None = None,
    check_runs: int = 3,
    actor: str,
    now: datetime,
    due: datetime | None = None,
    why: str | None = None,
) -> str:
    """Record a problem and return its finding's id; the same source and id again is the same finding.

    Closed: it opens again. Open: a worse severity and new evidence are taken over, what people wrote stays. Accepted: it
    stays accepted, with a note, unless the severity is now worse. ``due``: by default :data:`DUE_DAYS` from ``now``.
    ``ConfigError``: an empty title, an unknown severity or source, a check that cannot be read.
    """
    event = FindingEvent(
        finding_id=finding_id_of(project, source, source_id),
        project=project,
        event="opened",
        title=one_line(title, "a title", MAX_TITLE),
        severity=checked_severity(severity),
        owner=" ".join(owner.split())[:MAX_TITLE],
        source=_checked_source(source),
        source_id=source_id,
        cause=cut(cause),
        action=cut(action),
        check=None if check is None else parse_check(check).text,
        check_runs=_checked_runs(check_runs),
        check_held=0,
        evidence=_plain(evidence),
        due=due or now + timedelta(days=DUE_DAYS[severity]),
        actor=actor,
        reason=cut(why),
        ts=now,
    )
    with one_writer(store, project):
        known = stored_finding(store, project, event.finding_id)
        events = [event] if known is None else _seen_again(known, event)
        record(store, events)
    return event.finding_id


def findings_of(store: TraceStore, project: str | None, state: State | None = None) -> tuple[Finding, ...]:
    """Return a project's findings (None: of all projects), open first, then worst, then oldest."""
    found = findings_from(read_events(store, project))
    return tuple(one for one in found if state is None or one.state == state)


def find_finding(store: TraceStore, project: str | None, ref: str) -> Finding:
    """Return the finding of an id or of its beginning; ``ConfigError`` when none or several fit."""
    wanted = ref.strip()
    if not wanted.upper().startswith("F-"):
        wanted = f"F-{wanted}"
    wanted = "F-" + wanted[2:].lower()
    found = findings_of(store, project)
    fits = [one for one in found if one.finding_id == wanted] or [
        one for one in found if len(wanted) > len("F-") and one.finding_id.startswith(wanted)
    ]
    if len(fits) == 1:
        return fits[0]
    of = "" if project is None else f" of project {project!r}"
    listed = ", ".join(one.finding_id for one in (fits or found)[:5])
    raise ConfigError(
        f"{'several findings begin' if fits else f'no finding{of} begins'} with {ref!r}",
        hint=f"there are: {listed}" if listed else "labelproof findings list PROJECT shows them",
    )


def edit(
    store: TraceStore,
    finding: Finding,
    *,
    actor: str,
    now: datetime,
    title: str | None = None,
    severity: Level | None = None,
    cause: str | None = None,
    action: str | None = None,
    check: str | None = None,
    check_runs: int | None = None,
    due: datetime | None = None,
    why: str | None = None,
) -> Finding:
    """Change what a finding says; None: as it is. A changed check begins to count anew; an empty one is taken away."""
    parsed = parse_check(check).text if check else check
    is_new = (parsed is not None and parsed != (finding.check or "")) or check_runs is not None

    def decide(one: Finding) -> Sequence[FindingEvent]:
        event = replace(
            _event(one, "edited", actor, now),
            title=None if title is None else one_line(title, "a title", MAX_TITLE),
            severity=None if severity is None else checked_severity(severity),
            cause=cut(cause),
            action=cut(action),
            check=parsed,
            check_runs=None if check_runs is None else _checked_runs(check_runs),
            check_held=0 if is_new else None,
            due=due,
            reason=cut(why),
        )
        return [event]

    return change(store, finding, decide)


def assign(
    store: TraceStore, finding: Finding, owner: str, *, actor: str, now: datetime, due: datetime | None = None
) -> Finding:
    """Give a finding to somebody, and a date if one is given."""
    who = one_line(owner, "an owner", MAX_TITLE)

    def decide(one: Finding) -> Sequence[FindingEvent]:
        return [replace(_event(one, "assigned", actor, now), owner=who, due=due)]

    return change(store, finding, decide)


def note(store: TraceStore, finding: Finding, text: str, *, actor: str, now: datetime) -> Finding:
    """Write a note into a finding's history."""
    said = said_text(text, "a note")
    return change(store, finding, lambda one: [replace(_event(one, "noted", actor, now), reason=said)])


def close(store: TraceStore, finding: Finding, *, why: str, actor: str, now: datetime) -> Finding:
    """Close a finding by hand; the reason is kept, and that its check had not held. ``ConfigError``: closed already."""
    said = said_text(why, "why it is closed")

    def decide(one: Finding) -> Sequence[FindingEvent]:
        _refuse(one, "closed")
        unheld = one.check is not None and one.check_held < one.check_runs
        note = f" (its check had held on {one.progress})" if unheld else ""
        return [replace(_event(one, "closed", actor, now), reason=said + note)]

    return change(store, finding, decide)


def accept(
    store: TraceStore,
    finding: Finding,
    *,
    why: str,
    actor: str,
    now: datetime,
    until: datetime | None = None,
) -> Finding:
    """Accept an open finding as a risk that is lived with, ``until`` a date; it stays in the risk register."""
    said = said_text(why, "why it is accepted")

    def decide(one: Finding) -> Sequence[FindingEvent]:
        _refuse(one, "accepted", "closed")
        if until is not None and until <= now:
            raise ConfigError(f"a risk is accepted until a day to come, found {until:%Y-%m-%d}")
        return [replace(_event(one, "accepted", actor, now), reason=said, due=until)]

    return change(store, finding, decide)


def reopen(store: TraceStore, finding: Finding, *, why: str, actor: str, now: datetime) -> Finding:
    """Open a closed or accepted finding again, due anew."""
    said = said_text(why, "why it is opened again")

    def decide(one: Finding) -> Sequence[FindingEvent]:
        _refuse(one, "open")
        return [_reopened(one, said, actor, now)]

    return change(store, finding, decide)


def change(store: TraceStore, finding: Finding, decide: Decide) -> Finding:
    """Record what ``decide`` makes of the finding as it stands now, alone among writers; return it afterwards.

    Events get times after all that is stored of the finding, in the order given.
    """
    with one_writer(store, finding.project):
        current = stored_finding(store, finding.project, finding.finding_id)
        if current is None:
            raise ConfigError(f"finding {finding.finding_id} is not stored in project {finding.project!r}")
        events = later(current, decide(current))
        record(store, events)
    return finding_of([*current.events, *events]) if events else current


def one_line(text: str, what: str, most: int) -> str:
    """Return a text on one line; ``ConfigError`` when it is empty or too long."""
    found = " ".join(text.split())
    if not found:
        raise ConfigError(f"expected {what}, found nothing")
    if len(found) > most:
        raise ConfigError(f"expected {what} of at most {most} characters, found {len(found)}")
    return found


def said_text(text: str, what: str) -> str:
    """Return what a person wrote; ``ConfigError`` when it is empty or too long."""
    found = text.strip()
    if not found:
        raise ConfigError(f"expected {what}: say it, for those who read the history later")
    if len(found) > MAX_TEXT:
        raise ConfigError(f"expected {what} in at most {MAX_TEXT} characters, found {len(found)}")
    return found


def cut(text: str | None, most: int = MAX_TEXT) -> str | None:
    """Return a machine's text, cut to what is kept."""
    return text if text is None or len(text) <= most else text[: most - 1] + "…"


def checked_severity(severity: str) -> Level:
    """Return a severity; ``ConfigError`` names those there are."""
    for level in LEVELS:
        if level == severity:
            return level
    raise ConfigError(f"severity: expected one of {', '.join(LEVELS)}, found {severity!r}")


def _checked_source(source: str) -> Source:
    for one in SOURCES:
        if one == source:
            return one
    raise ConfigError(f"source: expected one of {', '.join(SOURCES)}, found {source!r}")


def _checked_runs(runs: int) -> int:
    if not 1 <= runs <= 1000:
        raise ConfigError(f"a check holds on 1 to 1000 runs in a row, found {runs}")
    return runs


def _seen_again(known: Finding, event: FindingEvent) -> list[FindingEvent]:
    """Return what the same problem, seen once more, changes of its finding."""
    assert event.severity is not None
    worse = severity_rank(event.severity) < severity_rank(known.severity)
    seen = FindingEvent(
        finding_id=known.finding_id,
        project=known.project,
        event="edited",
        severity=event.severity if worse else None,
        evidence=event.evidence if event.evidence != known.evidence else None,
        actor=event.actor,
        reason=event.reason or event.title,
        ts=event.ts,
    )
    if known.state == "closed" or (known.state == "accepted" and worse):
        again = replace(
            seen,
            event="reopened",
            title=event.title,
            cause=event.cause,
            action=event.action,
            check=event.check if known.check is None else None,
            check_held=0,
            due=event.due,
        )
        return later(known, [again])
    if known.state == "accepted":
        return later(known, [replace(seen, event="noted", reason=f"seen again: {seen.reason}")])
    if not worse and seen.evidence is None:
        return []
    return later(known, [seen])


def _reopened(finding: Finding, why: str, actor: str, now: datetime) -> FindingEvent:
    due = now + timedelta(days=DUE_DAYS[finding.severity])
    return replace(_event(finding, "reopened", actor, now), reason=why, check_held=0, due=due)


def reopened_by_monitor(finding: Finding, why: str, now: datetime) -> FindingEvent:
    """Return the event with which a failing check opens a finding again."""
    return _reopened(finding, why, MONITOR, now)


def _event(finding: Finding, name: Any, actor: str, now: datetime) -> FindingEvent:
    return FindingEvent(
        finding_id=finding.finding_id, project=finding.project, event=name, actor=actor, ts=now
    )


def _refuse(finding: Finding, *states: State) -> None:
    if finding.state in states:
        ended = next((e for e in reversed(finding.events) if e.ts == finding.since), finding.events[0])
        raise ConfigError(
            f"finding {finding.finding_id} is {finding.state} since {finding.since:%Y-%m-%d %H:%M} (by {ended.actor})"
        )


def _plain(evidence: Mapping[str, Any]) -> dict[str, Any]:
    """Return evidence as JSON values, with at most :data:`MAX_ITEMS` items and how many there were."""
    found: dict[str, Any] = dict(evidence)
    items = found.get("items")
    if isinstance(items, list | tuple) and len(items) > MAX_ITEMS:
        found |= {"items": list(items[:MAX_ITEMS]), "n_items": len(items)}
    plain: dict[str, Any] = orjson.loads(
        orjson.dumps(found, default=str, option=orjson.OPT_NON_STR_KEYS | orjson.OPT_SERIALIZE_NUMPY)
    )
    return plain
