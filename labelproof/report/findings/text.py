"""Findings for the terminal: a list, one with its history and evidence, registers. All text stays inert."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from shlex import quote
from typing import TYPE_CHECKING, Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from labelproof.report.compare.text import one_text
from labelproof.report.findings.model import Finding, FindingEvent
from labelproof.report.findings.register import Change, Risk

if TYPE_CHECKING:
    from labelproof.report.findings.checks import CheckResult
    from labelproof.spec.monitoring import Level

MOST_ITEMS = 10
MOST_WORDS = 500
_STYLE: dict[str, str] = {"critical": "bold red", "major": "yellow", "minor": ""}
_SAID: dict[str, str] = {
    "opened": "opened",
    "edited": "edited",
    "assigned": "assigned",
    "noted": "note",
    "closed": "closed",
    "reopened": "opened again",
    "accepted": "accepted",
}


def age_text(days: float) -> str:
    """Return days in few characters: 3 h, 2 d, 5 w."""
    if days < 1:
        return f"{24 * days:.0f} h"
    return f"{days:.0f} d" if days < 60 else f"{days / 7:.0f} w"


def severity_text(severity: Level) -> Text:
    return Text(severity, _STYLE[severity])


def list_table(findings: Sequence[Finding], now: datetime, *, with_project: bool) -> Table:
    """Return findings as a table: what hurts most stands first."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for name in (
        "finding",
        *(["project"] if with_project else []),
        "severity",
        "age",
        "owner",
        "state",
        "check",
    ):
        table.add_column(name, no_wrap=True, overflow="ellipsis", max_width=24)
    table.add_column("what", overflow="fold", min_width=24)
    for one in findings:
        state = Text("overdue", "bold red") if one.is_overdue(now) else Text(one.state)
        table.add_row(
            one.finding_id,
            *([Text(one_text(one.project))] if with_project else []),
            severity_text(one.severity),
            age_text(one.age_days(now)),
            Text(one_text(one.owner) or "nobody", "" if one.owner else "red"),
            state,
            one.progress,
            Text(one_text(one.title)),
        )
    return table


def show(finding: Finding, now: datetime, *, program: str) -> RenderableType:
    """Return everything of a finding: state, evidence with how to look at it, history."""
    due = "no date" if finding.due is None else f"due {finding.due:%Y-%m-%d}"
    if finding.is_overdue(now):
        due += ", overdue"
    watched = finding.watched_until()
    state = (
        f"{finding.state} since {finding.since:%Y-%m-%d %H:%M} · {due if finding.state != 'closed' else ''}"
    )
    if watched is not None:
        state += f"watched until {watched:%Y-%m-%d}"
    lines: list[tuple[str, str]] = [
        ("State", state.rstrip(" ·")),
        ("Severity", f"{finding.severity}; seen {finding.n_seen} time{'s' if finding.n_seen > 1 else ''}"),
        ("Owner", finding.owner or "nobody"),
        ("From", f"{finding.source} {finding.source_id}"),
        ("Cause", finding.cause or "not known"),
        ("Action", finding.action or "none yet"),
        (
            "Check",
            f"{finding.check}: {finding.progress}" if finding.check else "none: somebody must close it",
        ),
    ]
    last = finding.last_note
    if last is not None and last.reason:
        lines.append(("Last look", f"{last.ts:%Y-%m-%d %H:%M} {last.reason}"))
    numbers = evidence_numbers(finding)
    if numbers:
        lines.append(("Numbers", ", ".join(f"{key} {value}" for key, value in numbers)))
    parts: list[RenderableType] = [
        Text(f"{finding.finding_id}  {one_text(finding.title)}", "bold"),
        _pairs(lines),
        *_evidence(finding, program),
        Text("\nHistory", "bold"),
        _history(finding.events),
    ]
    return Group(*parts)


def risk_table(risks: Sequence[Risk]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for name in ("finding", "severity", "seen", "score", "state", "owner", "due"):
        table.add_column(name, no_wrap=True, overflow="ellipsis", max_width=20)
    table.add_column("risk", overflow="fold", min_width=24)
    for risk in risks:
        due = "" if risk.due is None else f"{risk.due:%Y-%m-%d}"
        table.add_row(
            risk.finding_id,
            severity_text(risk.severity),
            f"{risk.likelihood} ({risk.n_seen})",
            str(risk.score),
            risk.state,
            Text(one_text(risk.owner) or "nobody"),
            Text(due, "bold red" if risk.overdue else ""),
            Text(one_text(risk.risk)),
        )
    return table


def change_table(changes: Sequence[Change]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for name in ("when", "kind", "by"):
        table.add_column(name, no_wrap=True, overflow="ellipsis", max_width=20)
    table.add_column("what", overflow="fold", min_width=30)
    for one in changes:
        what = Text(one_text(one.what))
        if one.why:
            what.append(f"\n{one_text(one.why)}", "dim")
        table.add_row(f"{one.at:%Y-%m-%d %H:%M}", one.kind, Text(one_text(one.by)), what)
    return table


def check_line(result: CheckResult) -> Text:
    """Return what one look at a check said, in one line."""
    style = {"failed": "yellow", "reopened": "bold red", "closed": "bold green"}.get(result.verdict, "")
    held = f" ({result.held} of {result.runs} runs)" if result.verdict in ("held", "failed") else ""
    return Text.assemble(
        f"{result.finding_id} ",
        (result.verdict, style),
        f"{held}: {one_text(result.title)}: {one_text(result.words)}",
    )


def _evidence(finding: Finding, program: str) -> list[RenderableType]:
    parts: list[RenderableType] = []
    items = finding.items()
    if items:
        known = finding.evidence.get("n_items")
        n = known if isinstance(known, int) else len(items)
        parts.append(Text(f"\n{n} items", "bold"))
        for item_id, right in items[:MOST_ITEMS]:
            line = f"  {program} trace {quote(one_text(finding.project))} {quote(one_text(item_id))}"
            parts.append(Text(line + (f"   right: {one_text(right)}" if right else "")))
        if n > MOST_ITEMS:
            parts.append(Text(f"  and {n - MOST_ITEMS} more: --json lists them", "dim"))
    sql = finding.evidence.get("sql")
    if isinstance(sql, str) and sql.strip():
        run = f"{program} findings show {finding.finding_id} --sql | {program} sql"
        parts.append(Text.assemble(("\nEvidence", "bold"), f"  run it: {run}"))
        parts.append(Text("\n".join(one_text(line) for line in sql.strip().splitlines())))
    return parts


def evidence_numbers(finding: Finding) -> list[tuple[str, str]]:
    """Return (name, value) of the evidence's single numbers, words and short lists, for people."""
    found = []
    for key, value in finding.evidence.items():
        if key in ("sql", "items", "n_items", "strategy_fp", "contact") or value in (None, "", [], {}):
            continue
        if not isinstance(value, Mapping):
            found.append((key.replace("_", " "), number_text(value)))
    return found


def number_text(value: Any) -> str:
    """Return a value of the evidence in few characters."""
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list):
        return ", ".join(number_text(one) for one in value[:12]) + (" …" if len(value) > 12 else "")
    return str(value)[:MOST_WORDS]


def folded(events: Sequence[FindingEvent]) -> list[tuple[FindingEvent, int]]:
    """Return a history in its order; of more than two looks in a row that said the same, the last one and how many."""
    found: list[tuple[FindingEvent, int]] = []
    for event in events:
        if found and len(found) > 1 and _alike(found[-1][0], event) and _alike(found[-2][0], event):
            found[-1] = (event, found[-1][1] + 1)
        else:
            found.append((event, 1))
    return found


def _alike(one: FindingEvent, other: FindingEvent) -> bool:
    if one.event != "checked" or other.event != "checked":
        return False
    return look_word(one) == look_word(other)


def look_word(event: FindingEvent) -> str:
    """Return what a look at a check said: held, failed, or not decided."""
    return "not decided" if event.check_held is None else "held" if event.check_held else "failed"


def _history(events: Sequence[FindingEvent]) -> Table:
    table = Table(box=None, pad_edge=False, show_header=False, padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True, overflow="ellipsis", max_width=20)
    table.add_column(overflow="fold")
    for event, n in folded(events):
        said = f"check {look_word(event)}" if event.event == "checked" else _SAID[event.event]
        table.add_row(
            f"{event.ts:%Y-%m-%d %H:%M}",
            said,
            Text(one_text(event.actor)),
            Text((f"({n} looks, the last:) " if n > 1 else "") + event_words(event)),
        )
    return table


def event_words(event: FindingEvent) -> str:
    """Return what an event changed and why, on one line."""
    said = []
    if event.event in ("edited", "assigned", "reopened"):
        said += [
            f"{name}: {value}"
            for name in ("title", "severity", "owner", "cause", "action", "check", "check_runs")
            if (value := getattr(event, name)) is not None
        ]
    if event.due is not None and event.event != "opened":
        said.append(f"due {event.due:%Y-%m-%d}")
    if event.reason:
        said.append(event.reason)
    return one_text("; ".join(said))


def _pairs(lines: Sequence[tuple[str, str]]) -> Table:
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for heading, text in lines:
        table.add_row(heading, Text(one_text(text)))
    return table
