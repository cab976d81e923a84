"""The weekly report's targets, changes, findings, alarms and causes: what is stored of them, as of the period's end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import orjson

from agents.snapshots import diff_snapshots
from labelproof.report.documents import _weekly_sql as sql
from labelproof.report.documents._week import Week
from labelproof.report.documents.book import Row
from labelproof.report.documents.lines import day, given, sentence, state, text, version
from labelproof.report.documents.model import (
    Block,
    Bullets,
    Given,
    Line,
    Number,
    Paragraph,
    Ref,
    Section,
    Table,
    Unit,
)
from labelproof.spec.monitoring import LEVELS, Target

_UNITS: Mapping[str, Unit] = {
    "agreement": "number",
    "review_age_hours": "hours",
    "cost_per_1000": "usd",
    "throughput_per_hour": "number",
}
_NAMES = {
    "auto_accuracy": "Right auto-decisions",
    "recall": "found",
    "coverage": "Decided by the machine",
    "failed_rate": "Failed",
    "agreement": "Agreement of reviewers",
    "review_age_hours": "Waiting for review",
    "cost_per_1000": "Cost per thousand",
    "throughput_per_hour": "Items an hour",
    "reviewer_accuracy": "Reviewers right on hidden gold",
}
_SAID = {"breached": "not met", "unknown": "not measured"}
SOON_DAYS = 14


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetRow:
    """A promise beside its latest measurement; ``number`` None: it was not measured in this period."""

    target: Target
    number: Number | None
    state: str
    reason: str

    @property
    def words(self) -> str:
        name = _NAMES[self.target.name]
        return f"{self.target.of} {name}" if self.target.of else name

    @property
    def closeness(self) -> float | None:
        """How far inside its promise the value lies, in half widths of its interval or shares of the bound."""
        number = self.number
        if number is None or number.value is None:
            return None
        inside = number.value - self.target.bound
        if self.target.at_least is None:
            inside = -inside
        width = (number.high - number.low) / 2 if number.low is not None and number.high is not None else 0.0
        return inside / (width or abs(self.target.bound) or 1.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class States:
    """What is stored about the period besides decisions and audits."""

    targets: Sequence[TargetRow]
    findings: Sequence[Row]
    """Open at the period's end, worst first."""
    closed: Sequence[Row]
    """Closed or accepted in the period."""
    alarms: Sequence[Row]
    rollouts: Sequence[Row]
    """All events until the period's end."""
    versions: Sequence[Row]
    certificates: Sequence[Row]
    causes: Sequence[Row]
    watched: Sequence[Row]


def read(week: Week) -> States:
    """Read everything once; the numbers that are shown are kept in the book."""
    book = week.book
    findings = book.panel("findings", sql.FINDINGS)
    causes = book.panel("causes", sql.CAUSES)
    for row in causes:
        book.cell(
            f"cause:{row['cause']}",
            f"Errors by cause: {row['cause']}",
            "causes",
            row,
            "errors",
            n="total",
            key=("cause",),
        )
    since = week.period.start
    return States(
        targets=_targets(week),
        findings=sorted((row for row in findings if row["state"] == "open"), key=_worst_first),
        closed=[row for row in findings if row["state"] != "open" and row["closed_at"] and row["closed_at"] >= since],
        alarms=book.panel("alarms", sql.ALARMS),
        rollouts=book.panel("rollouts", sql.ROLLOUTS),
        versions=book.panel("versions", sql.VERSIONS),
        certificates=book.panel("certificates", sql.CERTIFICATES),
        causes=causes,
        watched=book.panel("watched", sql.WATCHED),
    )  # fmt: skip


def _worst_first(row: Row) -> tuple[int, datetime]:
    rank = LEVELS.index(row["severity"]) if row["severity"] in LEVELS else len(LEVELS)
    return rank, row["opened_at"]


def _targets(week: Week) -> list[TargetRow]:
    rows = {row["subject"]: row for row in week.book.panel("targets", sql.TARGETS)}
    found = []
    for target in week.folder.spec.targets:
        row = rows.get(target.metric)
        if row is None:
            found.append(
                TargetRow(
                    target=target, number=None, state="not measured", reason="not measured in this period"
                )
            )
            continue
        unit: Unit = _UNITS.get(target.name, "share")
        number = week.book.cell(
            f"target:{target.metric}", f"Target {target.metric}", "targets", row, "value", unit=unit, n="n",
            key=("subject",), reason=row["reason"] or "no data",
        )  # fmt: skip
        number = replace(number, low=row["low"], high=row["high"], method=row["method"] or "")
        week.book.numbers[number.name] = number
        said = _SAID.get(row["state"], row["state"] or "not measured")
        found.append(TargetRow(target=target, number=number, state=said, reason=row["reason"] or ""))
    return found


def targets_section(week: Week, states: States) -> Section:
    """Return the table of promises."""
    rows = [
        (
            text(Given(one.words)),
            ("–",) if one.number is None else text(Ref(one.number.name)),
            ("–",) if one.number is None or one.number.value is None else text(Ref(one.number.name, "ends")),
            ("–",) if one.number is None else text(Ref(one.number.name, "n")),
            text(Given(promise(one.target))),
            text(state(one.state)),
            given(one.target.owner or _first_contact(week)),
        )
        for one in states.targets
    ]
    table = Table(
        head=("target", "value", "95 % interval", "n", "promise", "state", "owner"),
        rows=rows,
        right=frozenset({1, 3}),
        empty="No targets are promised in project.yaml.",
    )
    blocks: list[Block] = [table]
    if any(one.number is None for one in states.targets):
        blocks.append(Paragraph(line=text("Targets are measured by ", Given(f"labelproof monitor {week.project}", code=True), "."), small=True))  # fmt: skip
    return Section(key="targets", title="Targets", blocks=blocks)


def promise(target: Target) -> str:
    """Return the promise in the unit of its value: "≥ 95 %", "≤ 72 h"."""
    unit: Unit = _UNITS.get(target.name, "share")
    sign = "≥" if target.at_least is not None else "≤"
    shown = {
        "share": f"{100 * target.bound:.4g} %",
        "usd": f"${target.bound:g}",
        "hours": f"{target.bound:g} h",
    }
    return f"{sign} {shown.get(unit, f'{target.bound:g}')}"


def changes_section(week: Week, states: States) -> Section:
    """Return what changed in the period, and who approved it."""
    since, lines = week.period.start, list[tuple[datetime, Line]]()
    approved = {
        row["fp_to"]: row
        for row in states.rollouts
        if row["event"] in ("promoted", "approved") and row["fp_to"]
    }
    for row in states.rollouts:
        if row["ts"] >= since:
            lines.append((row["ts"], _rollout_line(row)))
    for place, row in enumerate(states.versions):
        if row["first_used"] >= since:
            earlier = [one for one in states.versions[:place] if one["strategy"] == row["strategy"]]
            lines.append((row["first_used"], _version_line(row, earlier, approved)))
    for row in states.certificates:
        name = version(_strategy_of(row), row["strategy_fp"])
        if row["issued_at"] >= since:
            lines.append(
                (
                    row["issued_at"],
                    text("Certificate ", Given(row["certificate_id"], code=True), " issued for ", name, "."),
                )
            )
        if row["voided_at"] is not None and since <= row["voided_at"] < week.until:
            lines.append(
                (row["voided_at"], text("Certificate ", Given(row["certificate_id"], code=True), " of ", name, " voided: ",
                                        sentence(row["why"] or "no reason given"), "."))
            )  # fmt: skip
    for row in states.closed:
        word = "Finding closed: " if row["state"] == "closed" else "Risk accepted: "
        lines.append((row["closed_at"], text(word, Given(row["title"] or row["finding_id"]), ".")))
    lines.sort(key=lambda one: one[0])
    if not lines:
        return Section(key="changes", title="What changed, and who approved it",
                       blocks=[Paragraph(line=text(f"Nothing changed in this {week.noun}."))])  # fmt: skip
    shown: list[Line] = [(*day(moment), " ", *line) for moment, line in lines]
    return Section(key="changes", title="What changed, and who approved it", blocks=[Bullets(lines=shown)])


def _rollout_line(row: Row) -> Line:
    words = {
        "proposed": "was proposed", "approved": "was approved", "rejected": "was rejected", "shadow": "runs in the shadow",
        "canary": "decides a part of the traffic", "promoted": "was promoted", "alarm": "raised an alarm on its traffic",
        "rolled_back": "was taken back", "stopped": "was stopped",
    }  # fmt: skip
    why = ("; why: ", sentence(row["reason"])) if row["reason"] else ()
    by = ("by ", Given(row["actor"])) if row["actor"] else ("by nobody on record",)
    return text(
        version(row["strategy"], row["fp_to"]), f" {words.get(row['event'], row['event'])} ", *by, *why, "."
    )


def _version_line(row: Row, earlier: Sequence[Row], approved: Mapping[str, Row]) -> Line:
    said = approved.get(row["strategy_fp"])
    by: Line = (
        ("no approval is on record",)
        if said is None
        else ("approved by ", Given(said["actor"] or "somebody unnamed"))
    )
    if not earlier:
        return text("First use of ", version(row["strategy"], row["strategy_fp"]), "; ", *by, ".")
    changed = changed_parts(
        orjson.loads(earlier[-1]["spec_json"] or "{}"), orjson.loads(row["spec_json"] or "{}")
    )
    what: Line = (
        ("changed: ", Given(", ".join(changed))) if changed else ("nothing that decides labels changed",)
    )
    return text("First use of ", version(row["strategy"], row["strategy_fp"]), "; ", *what, "; ", *by, ".")


def changed_parts(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """Return the parts that differ between two snapshots, such as `label: guideline, prompt`."""
    if "steps" not in before or "steps" not in after:
        return []
    found = []
    for change in diff_snapshots(before, after):
        if change.state == "same":
            continue
        if change.state != "changed":
            found.append(f"{change.name} {change.state}")
            continue
        paths = [*(one.path for one in change.texts), *(one.path for one in change.keys)]
        parts = list(dict.fromkeys(path.split(".")[0].split("[")[0] for path in paths))
        found.append(f"{change.name}: {', '.join(parts)}")
    return found


def expiring(states: States, now: datetime) -> list[tuple[Row, datetime]]:
    """Return certificates that count and end within two weeks, with their end."""
    found = []
    for row in states.certificates:
        ends = orjson.loads(row["spec_json"] or "{}").get("expires_at")
        if row["voided_at"] is None and ends:
            moment = datetime.fromisoformat(ends)
            if now <= moment <= now + timedelta(days=SOON_DAYS):
                found.append((row, moment))
    return found


def _strategy_of(row: Row) -> str | None:
    found = orjson.loads(row["spec_json"] or "{}").get("strategy")
    return None if found is None else str(found)


def _first_contact(week: Week) -> str:
    contacts = week.folder.spec.contacts
    return contacts[0].role if contacts else ""
