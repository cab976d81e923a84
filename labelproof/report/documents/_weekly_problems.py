"""The weekly report's findings, alarms and causes of errors."""

from __future__ import annotations

from labelproof.report.documents._week import Week
from labelproof.report.documents._weekly_state import States
from labelproof.report.documents.lines import day, day_time, given, severity, text
from labelproof.report.documents.model import (
    Block,
    Given,
    Line,
    Paragraph,
    Picture,
    Ref,
    Section,
    Table,
)
from labelproof.report.documents.words import safe_text
from labelproof.report.plots import bars_plot

MOST_ROWS = 12


def findings_section(week: Week, states: States) -> Section:
    """Return the findings that are open, worst first."""
    rows = []
    for row in states.findings[:MOST_ROWS]:
        key, name = ("finding_id",), f"finding:{row['finding_id']}"
        week.book.cell(f"{name}.age", "Age of a finding", "findings", row, "age_days", unit="days", key=key)
        check: Line = ("–",)
        if row["check_text"]:
            week.book.cell(
                f"{name}.held",
                "Runs on which a check held",
                "findings",
                row,
                "check_held",
                key=key,
                reason="0",
            )
            held = week.book[f"{name}.held"]
            done: Line = (Ref(held.name),) if held.value is not None else ("none",)
            check = (*done, " of ", Given(str(row["check_runs"] or 1)), " runs")
        rows.append(
            (
                text(severity(row["severity"])),
                text(Given(row["title"] or row["finding_id"])),
                given(row["owner"] or "nobody"),
                text(Ref(f"{name}.age")),
                day(row["due"]),
                check,
            )
        )
    blocks: list[Block] = [
        Table(
            head=("severity", "finding", "owner", "age", "due", "check held"), rows=rows, right=frozenset({3}),
            empty="No finding is open.",
        )
    ]  # fmt: skip
    if len(states.findings) > MOST_ROWS:
        blocks.append(Paragraph(line=text("Only the worst are shown; all: ", Given(f"labelproof findings list {week.project}", code=True), "."), small=True))  # fmt: skip
    return Section(key="findings", title="Open findings", blocks=blocks)


def alarms_section(week: Week, states: States) -> Section:
    """Return the alarms that were open in the period."""
    rows = []
    for row in states.alarms[:MOST_ROWS]:
        key, name = ("alarm_id",), f"alarm:{row['alarm_id']}"
        week.book.cell(
            f"{name}.hours", "How long an alarm was open", "alarms", row, "open_hours", unit="hours", key=key
        )
        week.book.cell(
            f"{name}.escalated", "How often an alarm was escalated", "alarms", row, "escalated", key=key
        )
        over = row["recovered"] is not None and row["recovered"] < week.until
        stands = "recovered" if over else "acknowledged" if row["acknowledged"] else "open"
        rows.append(
            (
                text(severity(row["level"])),
                text(Given(f"{row['kind']} {row['subject']}")),
                text(Given(row["reason"] or "")),
                day_time(row["began"]),
                text(Ref(f"{name}.hours")),
                text(Ref(f"{name}.escalated")),
                given(row["contact"] or row["role"]),
                text(stands),
            )
        )
    table = Table(
        head=("level", "what", "found", "began", "open for", "escalated", "told", "stands"),
        rows=rows, right=frozenset({4, 5}), empty=f"No alarm was open in this {week.noun}.",
    )  # fmt: skip
    return Section(key="alarms", title="Alarms", blocks=[table])


def causes_section(week: Week, states: States) -> Section:
    """Return what the errors of the newest analysis come from."""
    title = "What the errors come from"
    if not states.causes:
        line = text(
            "No analysis covers this period: ",
            Given(f"labelproof rca {week.project}", code=True),
            " makes one.",
        )
        return Section(key="causes", title=title, blocks=[Paragraph(line=line)])
    shown = states.causes[:8]
    counts = {safe_text(str(row["cause"])).replace("_", " "): float(row["errors"]) for row in shown}
    rows = [
        (text(Given(str(row["cause"]).replace("_", " "))), text(Ref(f"cause:{row['cause']}")))
        for row in shown
    ]
    top = f"cause:{shown[0]['cause']}"
    picture = Picture(
        name="causes",
        plot=bars_plot(counts, title="Errors by cause", axis="Errors"),
        caption=text(
            "Errors found by audits and gold, each under the cause that its evidence speaks for most."
        ),
        table=Table(head=("cause", "errors"), rows=rows, right=frozenset({1})),
        slide_title="What the errors come from",
        slide_number=text(Ref(top)),
        slide_note=text("of ", Ref(top, "n"), " errors: ", Given(str(shown[0]["cause"]).replace("_", " "))),
    )
    return Section(key="causes", title=title, blocks=[picture])
