"""What a pass found, in words: rows of a table, lines for a run's end, Markdown for the Prefect UI."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from labelproof.report.monitor.alarms import Alarm, owner_of
from labelproof.report.monitor.model import AlarmEvent, Measurement
from labelproof.report.monitor.run import MonitorReport
from labelproof.report.monitor.values import (
    change_interval_text,
    change_text,
    count_text,
    interval_text,
    value_text,
)
from labelproof.spec.project import ProjectFolder

BAR_CELLS = 8
WORDS: Mapping[str, str] = {
    "breached": "raised an alarm",
    "escalated": "escalated",
    "acknowledged": "was taken on",
    "recovered": "recovered",
}
_MARKDOWN = str.maketrans({mark: f"\\{mark}" for mark in r"\`*_{}[]()#+!|<>"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One measurement as it is shown. ``share``: how far the evidence is on its way to an alarm, 0 to 1."""

    kind: str
    subject: str
    value: str
    interval: str
    n: str
    promise: str
    state: str
    share: float | None
    owner: str
    since: str
    level: str
    reason: str
    method: str
    sql: str


def rows_of(
    folder: ProjectFolder, measured: Sequence[Measurement], alarms: Sequence[Alarm]
) -> tuple[Row, ...]:
    """Return the measurements as rows, in their order."""
    since = {(str(alarm.kind), alarm.subject): alarm.breached_at for alarm in alarms if alarm.is_open}
    return tuple(
        Row(
            kind=one.kind,
            subject=one.subject,
            value=value_text(one.subject, one.value)
            if one.kind in ("target", "volume")
            else change_text(one.kind, one.subject, one.value),
            interval=interval_text(one.subject, one.low, one.high)
            if one.kind in ("target", "volume")
            else change_interval_text(one.kind, one.subject, one.low, one.high),
            n=count_text(one.n),
            promise=promise_text(one),
            state=one.state,
            share=evidence_share(one.evidence, one.evidence_needed),
            owner=owner_of(folder, one.kind, one.subject) or "" if one.kind != "volume" else "",
            since=stamp(since.get((one.kind, one.subject))),
            level=one.level if one.kind != "volume" else "",
            reason=one.reason,
            method=one.method,
            sql=one.sql,
        )
        for one in measured
    )


def promise_text(one: Measurement) -> str:
    """Return "≥ 95 %"; "" without a promise."""
    if one.bound is None or one.side is None:
        return ""
    return f"{'≥' if one.side == 'at_least' else '≤'} {value_text(one.subject, one.bound)}"


def evidence_share(evidence: float | None, needed: float | None) -> float | None:
    """Return how far evidence is on its way to an alarm, on the scale of its logarithm: 0 (none) to 1 (alarm)."""
    if evidence is None or needed is None or needed <= 1:
        return None
    return min(1.0, max(0.0, math.log(max(evidence, 1.0)) / math.log(needed)))


def evidence_bar(share: float | None) -> str:
    """Return the share as a bar of blocks, full only at 1; "" where there is no evidence to weigh."""
    if share is None:
        return ""
    full = BAR_CELLS if share >= 1 else min(round(BAR_CELLS * share), BAR_CELLS - 1)
    return "█" * full + "░" * (BAR_CELLS - full)


def event_line(event: AlarmEvent) -> str:
    """Return what happened to an alarm in one line."""
    what = f"{event.kind} {event.subject}" if event.kind != "target" else event.subject
    told = " ".join(part for part in (event.role, event.contact) if part)
    to = f" to {told}" if event.event == "escalated" and told else ""
    tells = f" ({told} is told)" if event.event == "breached" and told else ""
    return f"{event.level}: {what} {WORDS[event.event]}{to}{tells}: {event.reason} [{event.alarm_id}]"


def lines_of(report: MonitorReport) -> tuple[str, ...]:
    """Return what a reader of a run's end must know: events, voided certificates, what became of findings."""
    voided = (f"certificate {key} is VOIDED: {why}" for key, why in report.voided.items())
    opened = (f"finding {one} is open" for one in report.findings)
    return (*map(event_line, report.events), *voided, *opened, *report.checked, *report.notes)


def summary(report: MonitorReport) -> str:
    """Return the pass in one sentence."""
    targets = [one for one in report.measurements if one.kind == "target"]
    bad = [one.subject for one in report.measurements if one.is_bad]
    if bad:
        return broken(
            [one.subject for one in report.measurements if one.is_bad and one.kind == "target"],
            [
                f"{one.kind} {one.subject}"
                for one in report.measurements
                if one.is_bad and one.kind != "target"
            ],
        )
    if not targets:
        return "No target is promised; nothing else raises an alarm."
    met = sum(one.state == "met" for one in targets)
    rest = len(targets) - met
    return f"{met} of {len(targets)} targets {'is' if met == 1 else 'are'} met" + (
        f", {rest} cannot be proven yet." if rest else "."
    )


def broken(targets: Sequence[str], others: Sequence[str]) -> str:
    """Return "Broken: coverage. Alarm: drift text." of the targets and of what else alarms."""
    said = [f"Broken: {', '.join(targets)}."] if targets else []
    return " ".join([*said, *([f"Alarm: {', '.join(others)}."] if others else [])])


def markdown(folder: ProjectFolder, report: MonitorReport) -> str:
    """Return the pass as Markdown, with the query behind each number."""
    rows = rows_of(folder, report.measurements, report.alarms)
    parts = [
        f"# Monitor: {escaped(report.project)}",
        f"**{escaped(summary(report))}** {stamp(report.at)} UTC",
    ]
    table = [
        "| metric | value | 95 % interval | promise | state | owner | since |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for row in rows:
        cells = (
            row.subject if row.kind == "target" else f"{row.kind} {row.subject}",
            row.value,
            row.interval or "-",
            row.promise or "-",
            row.state,
            row.owner or "-",
            row.since or "-",
        )
        table.append("| " + " | ".join(escaped(cell) for cell in cells) + " |")
    parts.append("\n".join(table))
    parts.append("\n".join(f"- {escaped(line)}" for line in lines_of(report)))
    parts += [
        f"{escaped(row.subject)}: {escaped(row.reason)}\n\n```sql\n{row.sql}\n```" for row in rows if row.sql
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def alarm_history(alarm: Alarm) -> tuple[tuple[str, str], ...]:
    """Return (time, what happened) of an alarm, oldest first."""
    found = []
    for event in alarm.events:
        told = " ".join(part for part in (event.role, event.contact) if part)
        words: str = event.event
        if event.event == "acknowledged":
            words = f"taken on by {event.actor}: {event.reason}"
        elif event.event == "recovered":
            words = f"recovered: {event.reason}"
        elif told:
            words = f"{event.event}, {told} told"
        found.append((stamp(event.ts), words))
    return tuple(found)


def stamp(when: datetime | None) -> str:
    """Return a time to the minute; "" for None."""
    return "" if when is None else f"{when:%Y-%m-%d %H:%M}"


def escaped(text: str) -> str:
    """Return text that Markdown shows as it is, on one line."""
    return " ".join(text.split()).translate(_MARKDOWN)
