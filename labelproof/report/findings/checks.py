"""The monitor's part: look at every finding's check on new work, close what has held, open again what fails."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Literal

from labelproof.report.findings.book import change, findings_of, reopened_by_monitor
from labelproof.report.findings.judge import (
    ClauseResult,
    Outcome,
    has_no_sampling_error,
    judge_clause,
    together,
)
from labelproof.report.findings.model import MONITOR, Finding, FindingEvent
from labelproof.report.findings.predicate import Check, parse_check
from labelproof.report.findings.readings import Measure, monitored_metric, read_clause
from labelproof.report.monitor.queries import OPEN_ALARMS
from labelproof.spec.errors import ConfigError
from labelproof.spec.project import ProjectFolder
from labelproof.store import TraceStore

APART = timedelta(hours=1)
"""Looks at a quantity that is there whether work was done or not (the age of tasks) lie so far apart."""
Verdict = Literal["held", "failed", "waits", "closed", "reopened"]


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckResult:
    """One look at a finding's check, on the work of ``since`` < time <= ``until``, and what came of it."""

    finding_id: str
    project: str
    title: str
    check: str
    verdict: Verdict
    held: int
    runs: int
    words: str
    clauses: tuple[ClauseResult, ...]
    since: datetime
    until: datetime

    def to_json(self) -> dict[str, Any]:
        return {
            "finding_id": self.finding_id,
            "project": self.project,
            "title": self.title,
            "check": self.check,
            "verdict": self.verdict,
            "held": self.held,
            "runs": self.runs,
            "words": self.words,
            "clauses": [clause.to_json() for clause in self.clauses],
            "since": self.since.isoformat(),
            "until": self.until.isoformat(),
        }


def run_checks(
    store: TraceStore,
    folder: ProjectFolder,
    *,
    now: datetime,
    run_id: str | None = None,
    measure: Measure | None = None,
    only: Sequence[str] | None = None,
) -> tuple[CheckResult, ...]:
    """Look at the checks of open findings, and of closed ones that are still watched; record what came of it.

    A look reads the work since the look before that counted, so no item counts twice. Open: it held -> one more of
    ``check_runs``, and the last one closes, once the alarm that opened the finding is over; it failed -> counted from 0. Closed: a failure that is proven at the level of
    an alarm (:mod:`judge`) opens it again. Too little data decides nothing; why is stored once, and the next look reads
    that work too. ``measure``: by default ``monitor.targets.measure_metric``. ``only``: ids; default: all. ``run_id``:
    the run that ended just now, named in the history.
    """
    found = [one for one in findings_of(store, folder.name) if only is None or one.finding_id in only]
    checked = [one for one in found if is_checked(one, now)]
    if not checked:
        return ()
    measure = measure or monitored_metric(store, folder)
    rows = store.query(OPEN_ALARMS, {"project": folder.name}, fresh=True, only=("alarms",)).to_pylist()
    alarms = frozenset(f"{row['kind']}:{row['subject']}" for row in rows)
    looks = (_look(store, folder, one, measure, alarms, now=now, run_id=run_id) for one in checked)
    return tuple(look for look in looks if look is not None)


def is_checked(finding: Finding, now: datetime) -> bool:
    """Whether a finding's check is looked at: it is open, or was closed not too long ago."""
    if finding.check is None or finding.state == "accepted":
        return False
    until = finding.watched_until()
    return until is None or now <= until


def window_start(finding: Finding) -> datetime:
    """Return after when work is new to a finding's check."""
    counted = (event.ts for event in finding.events if event.check_held is not None)
    return max([finding.since, *counted])


def _look(
    store: TraceStore,
    folder: ProjectFolder,
    finding: Finding,
    measure: Measure,
    alarms: frozenset[str],
    *,
    now: datetime,
    run_id: str | None,
) -> CheckResult | None:
    since = window_start(finding)
    check = _readable(finding)
    if check is None or since >= now or _too_soon(finding, check, now):
        return None
    with store.held():
        clauses = _judged(store, folder, finding, check, measure, since=since, until=now)
    outcome = together(clauses)
    alarmed = finding.source == "monitor" and finding.source_id in alarms
    events = _events(finding, clauses, outcome, now, run_id, alarmed=alarmed)

    def decide(one: Finding) -> Sequence[FindingEvent]:
        # Another monitor, or a person, was quicker: its look counts.
        same = window_start(one) == since and one.state == finding.state and one.check == finding.check
        return events if same else ()

    after = change(store, finding, decide) if events else finding
    return CheckResult(
        finding_id=finding.finding_id,
        project=finding.project,
        title=finding.title,
        check=check.text,
        verdict=_verdict(finding, after, outcome),
        held=after.check_held,
        runs=after.check_runs,
        words=_words(clauses, None),
        clauses=clauses,
        since=since,
        until=now,
    )


def _readable(finding: Finding) -> Check | None:
    """Return the check; None for one that another release or hand wrote and that cannot be read."""
    try:
        return parse_check(finding.check or "")
    except ConfigError:
        return None


def _too_soon(finding: Finding, check: Check, now: datetime) -> bool:
    if not any(has_no_sampling_error(clause) and clause.kind == "metric" for clause in check.clauses):
        return False
    last = finding.last_note
    return last is not None and now - last.ts < APART


def _judged(
    store: TraceStore,
    folder: ProjectFolder,
    finding: Finding,
    check: Check,
    measure: Measure,
    *,
    since: datetime,
    until: datetime,
) -> tuple[ClauseResult, ...]:
    watching = finding.state == "closed"
    looks = [e for e in finding.events if e.event == "checked" and e.ts >= finding.since]
    last = looks[-1] if looks else None
    failed_before = watching and last is not None and last.check_held is None and last.value is not None
    delta = folder.spec.monitoring.delta / len(check.clauses)
    return tuple(
        judge_clause(
            clause,
            read_clause(store, folder, finding, clause, since=since, until=until, measure=measure),
            watching=watching,
            look=1 + sum(look.value is not None for look in looks),
            delta=delta,
            failed_before=failed_before,
        )
        for clause in check.clauses
    )


def _events(
    finding: Finding,
    clauses: Sequence[ClauseResult],
    outcome: Outcome,
    now: datetime,
    run_id: str | None,
    *,
    alarmed: bool,
) -> list[FindingEvent]:
    """Return what a look writes into the history; nothing when it says what the one before said."""
    telling = next((one for one in clauses if one.outcome == outcome), clauses[0])
    words = _words(clauses, run_id if outcome != "waits" else None)
    look = FindingEvent(
        finding_id=finding.finding_id,
        project=finding.project,
        event="checked",
        value=telling.reading.value,
        actor=MONITOR,
        reason=words,
        ts=now,
    )
    if outcome == "waits":
        return _waiting(finding, clauses, look)
    if finding.state == "closed":
        return _watched(finding, clauses, outcome, look)
    held = finding.check_held + 1 if outcome == "holds" else 0
    look = replace(look, check_held=held)
    if held < finding.check_runs:
        return [look]
    if alarmed:
        waits = f"{words}; it closes when its alarm is over"
        return [replace(look, check_held=finding.check_runs, reason=waits)]
    held = min(held, finding.check_runs)
    runs = "run" if held == 1 else "runs in a row"
    closed = replace(
        look, event="closed", check_held=None, value=None, reason=f"its check held on {held} {runs}; {words}"
    )
    return [look, closed]


def _waiting(finding: Finding, clauses: Sequence[ClauseResult], look: FindingEvent) -> list[FindingEvent]:
    """Return why nothing was decided, without numbers that change at every look, unless that was said already."""
    why = "; ".join(f"{one.clause.text}: {one.why}" for one in clauses if one.outcome == "waits")
    last = finding.last_note
    if last is not None and last.reason == why:
        return []
    return [replace(look, value=None, reason=why)]


def _watched(
    finding: Finding, clauses: Sequence[ClauseResult], outcome: Outcome, look: FindingEvent
) -> list[FindingEvent]:
    if outcome == "holds":
        return [replace(look, check_held=finding.check_runs)]
    if any(one.proven for one in clauses):
        again = reopened_by_monitor(finding, f"its check fails again; {look.reason}", look.ts)
        return [replace(look, check_held=0), again]
    last = finding.last_note
    unproven = f"{look.reason}: not yet proven"
    if last is not None and last.reason == unproven:
        return []
    return [replace(look, reason=unproven)]


def _verdict(before: Finding, after: Finding, outcome: Outcome) -> Verdict:
    if after.state != before.state:
        return "closed" if after.state == "closed" else "reopened"
    if outcome == "holds":
        return "held"
    return "failed" if outcome == "fails" else "waits"


def _words(clauses: Sequence[ClauseResult], run_id: str | None) -> str:
    text = "; ".join(clause.words for clause in clauses)
    return text if run_id is None else f"{text} (after run {run_id})"
