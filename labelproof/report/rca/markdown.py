"""An analysis as Markdown: for a comment, an artifact, a mail. Contents are escaped; item texts are left out."""

from __future__ import annotations

import re

from labelproof.report.numbers import percent
from labelproof.report.numbers import plain_count as count
from labelproof.report.rca.model import RootCauseReport
from labelproof.report.rca.text import one_line_of, p_words, status_words
from labelproof.report.rca.words import interval, points, rate_words

_SPECIAL = re.compile(r"([\\`*_{}\[\]<>()#+!|~&$@-])")


def markdown(report: RootCauseReport) -> str:
    """Return the whole analysis but for its items' texts."""
    lines = [
        f"# Root causes: {cell(report.project)}, {cell(report.metric)}",
        "",
        f"**{cell(report.headline)}**",
        "",
    ]
    if report.why_not is not None:
        return "\n".join(lines)
    for name, period, rate in (
        ("Earlier", report.earlier, report.before),
        ("Later", report.later, report.after),
    ):
        if period is not None:
            lines.append(f"- {name}: {cell(period.name)} ({period.dates}): {cell(rate_words(rate))}")
    if report.parts:
        lines += [
            "",
            "## What the change is made of",
            "",
            "| part | points | 95 % interval | by |",
            "|---|---:|---|---|",
        ]
        for part in report.parts:
            value = points(part.value) if part.measured else "not measured"
            lines.append(f"| {part.name} | {value} | {interval(part.low, part.high)} | {cell(part.line)} |")
        lines.append(f"| **sum** | **{points(report.change)}** | {interval(report.low, report.high)} | |")
    if report.mixed:
        lines += ["", f"Slices by {cell(report.mixed_by or '')}:", ""]
        lines += [
            "| slice | share before | share after | rate before | rate after | mix | within |",
            "|---|---:|---:|---:|---:|---:|---:|",
        ]
        lines += [
            f"| {cell(one.name)} | {percent(one.share_before)} | {percent(one.share_after)} | {percent(one.rate_before)} | "
            f"{percent(one.rate_after)} | {points(one.mix)} | {points(one.within)} |"
            for one in report.mixed
        ]
    if report.slices is not None and report.slices.slices:
        lines += [
            "",
            "## Worst slices",
            "",
            "| slice | items | wrong | lift | before | p (corrected) |",
            "|---|---:|---:|---:|---:|---:|",
        ]
        for found in report.slices.slices:
            wrong, n = report.slice_before.get(found.name, (0, 0))
            before = f"{percent(wrong / n)} of {n}" if n else "-"
            lines.append(
                f"| {cell(found.name)} | {count(found.n)} | {percent(found.error.value)} | {found.lift:.1f} | {before} | "
                f"{p_words(found.p_value)} |"
            )
    lines += [
        "",
        "## Causes",
        "",
        "| cause | errors | of right items | lift | explains | q | |",
        "|---|---:|---:|---:|---:|---:|---|",
    ]
    for row in report.causes:
        if row.n_errors or row.status in ("explains", "covered"):
            lift = "-" if row.lift is None else f"{row.lift:.1f}"
            size = points(row.explained) if row.status == "explains" else ""
            lines.append(
                f"| {row.name} | {count(row.n_errors)} | {percent(row.share_right)} | {lift} | {size} | {p_words(row.q_value)} | "
                f"{status_words(row)}: {cell(row.line)} |"
            )
    for title, said in (
        ("Ruled out", report.ruled_out),
        ("Not measured", report.unmeasured),
        ("Notes", report.notes),
    ):
        if said:
            lines += ["", f"## {title}", "", *(f"- {cell(line)}" for line in said)]
    if report.actions:
        lines += ["", "## Next", ""]
        for i, action in enumerate(report.actions):
            items = ", ".join(f"`{item}`" for item in action.items[:5])
            lines.append(f"{i + 1}. {cell(action.what)}." + (f" Items: {items}." if items else ""))
    return "\n".join(lines) + "\n"


def cell(text: str) -> str:
    """Return a text that Markdown shows as it is, on one line."""
    return _SPECIAL.sub(r"\\\1", one_line_of(text))
