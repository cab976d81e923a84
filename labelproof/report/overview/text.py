"""The overview for the terminal."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from labelproof.report.compare.text import one_text
from labelproof.report.numbers import count, percent
from labelproof.report.overview.read import Overview
from labelproof.report.overview.words import (
    cost_words,
    coverage_words,
    heat_level,
    level_words,
    promise_words,
    quality_words,
    run_words,
)

_STATE = {"breached": "bold red", "met": "green"}
_HEAT = ("dim", "", "yellow", "bold yellow", "bold red")


def overview_text(found: Overview) -> RenderableType:
    """Return projects, and causes across them; all words of others stay inert."""
    if not found.rows:
        return Text("Nothing has run in this store yet.")
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for name in (
        "project",
        "right when automatic",
        "promise",
        "automatic",
        "cost per 1 000",
        "findings",
        "alarms",
        "run",
    ):
        table.add_column(name, overflow="fold")
    for row in found.rows:
        state = row.quality.state if row.quality is not None else ""
        table.add_row(
            Text(one_text(row.project)),
            Text(one_text(quality_words(row.quality))),
            Text(one_text(promise_words(row.quality)), _STATE.get(state, "")),
            Text(coverage_words(row)),
            Text(cost_words(row)),
            Text(level_words(row.findings), "bold red" if "critical" in row.findings else ""),
            Text(level_words(row.alarms), "bold red" if row.alarms else ""),
            Text(one_text(run_words(row, found.at))),
        )
    lines: list[RenderableType] = [table]
    breached = sum(row.n_breached for row in found.rows)
    met = sum(row.n_met for row in found.rows)
    lines.append(
        Text(
            f"{sum(row.n_targets for row in found.rows)} targets: {met} met, {breached} breached; the rest is not yet provable "
            "or unknown. labelproof monitor PROJECT shows each."
        )
    )
    if found.causes:
        lines += [Text(), Text("Causes of errors, latest analysis of each project:", "bold"), _heat(found)]
    return Group(*lines)


def _heat(found: Overview) -> Table:
    rows = [row for row in found.rows if row.heat]
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("cause")
    for row in rows:
        table.add_column(Text(one_text(row.project)), justify="right")
    for cause in found.causes:
        cells = [
            Text(
                _cell(row.heat.get(cause, 0), row.n_errors),
                _HEAT[heat_level(row.heat.get(cause, 0), row.n_errors)],
            )
            for row in rows
        ]
        table.add_row(Text(one_text(cause)), *cells)
    table.add_row(Text("errors", "dim"), *(Text(count(row.n_errors), "dim") for row in rows))
    return table


def _cell(n: int, total: int) -> str:
    return f"{count(n)} ({percent(n / total, 0)})" if n else "-"
