"""An analysis for the terminal, at most 100 columns: the change, its parts, worst slices, causes, what next."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from labelproof.report.compare.flips import one_line
from labelproof.report.numbers import percent
from labelproof.report.numbers import plain_count as count
from labelproof.report.rca.model import CauseRow, RootCauseReport
from labelproof.report.rca.words import interval, points, rate_words

WIDTH = 100
_HEAD = 9
_CERTAIN = 0.05
_MOST_RULED, _MOST_SLICES, _MOST_NEXT, _MOST_ITEMS = 8, 4, 5, 3


def render(report: RootCauseReport) -> RenderableType:
    """Return the analysis for a console; names, labels and items are inert text."""
    style = "bold red" if report.worse else "bold green" if report.better else "bold"
    parts: list[RenderableType] = [Text(one_line_of(report.headline), style, overflow="fold")]
    if report.why_not is not None:
        return Group(*parts)
    parts.append(_line("PERIODS", _periods(report)))
    if report.parts:
        parts.append(_parts(report))
    parts.append(_slices(report))
    parts.append(_causes(report))
    parts += _listed("RULED OUT", report.ruled_out, _MOST_RULED)
    parts += _listed("UNKNOWN", report.unmeasured, _MOST_RULED)
    parts += _next(report)
    parts += [_line("NOTE", note, style="dim") for note in report.notes]
    return Group(*parts)


def one_line_of(text: str) -> str:
    """Return a text of any length on one line, hidden characters written out."""
    return " ".join(one_line(part) if not part.isprintable() else part for part in text.split())


def _line(name: str, text: str, *, style: str = "") -> RenderableType:
    table = Table.grid(padding=0)
    table.add_column(width=_HEAD, no_wrap=True)
    table.add_column(overflow="fold", max_width=WIDTH - _HEAD)
    table.add_row(Text(name, "bold"), Text(one_line_of(text), style))
    return table


def _periods(report: RootCauseReport) -> str:
    later = f"{report.later.name} ({report.later.dates}): {rate_words(report.after)}"
    if report.earlier is None:
        return later
    return f"{report.earlier.name} ({report.earlier.dates}): {rate_words(report.before)}; {later}"


def _table(*columns: tuple[str, str]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for name, kind in columns:
        if kind == "words":
            table.add_column(name, overflow="fold", ratio=1)
        elif kind == "name":
            table.add_column(name, overflow="fold", max_width=44)
        else:
            table.add_column(name, justify="right", no_wrap=True)
    return table


def _parts(report: RootCauseReport) -> RenderableType:
    table = _table(("CHANGE", "name"), ("points", "number"), ("95 %", "number"), ("", "words"))
    for part in report.parts:
        value = points(part.value, unit=False) if part.measured else "-"
        table.add_row(
            part.name,
            value,
            interval(part.low, part.high),
            Text(one_line_of(part.line), "dim"),
        )
    table.add_row(
        Text("sum", "bold"),
        Text(points(report.change, unit=False), "bold"),
        interval(report.low, report.high),
        "",
    )
    table.width = WIDTH
    return table


def _slices(report: RootCauseReport) -> RenderableType:
    found = report.slices
    if found is None or not found.slices:
        return _line("SLICES", "none is worse than the others" if found is None else found.reason or "none")
    table = _table(
        ("WORST SLICES", "name"), ("items", "number"), ("wrong", "number"), ("lift", "number"),
        ("before", "number"), ("p", "number"),
    )  # fmt: skip
    for one in found.slices[:_MOST_SLICES]:
        wrong, n = report.slice_before.get(one.name, (0, 0))
        table.add_row(
            Text(one_line_of(one.name)),
            count(one.n),
            percent(one.error.value, 0),
            f"{one.lift:.1f}",
            f"{percent(wrong / n, 0)} of {n}" if n else "-",
            p_words(one.p_value),
            style="" if one.p_value <= _CERTAIN else "dim",
        )
    table.caption = f"p: corrected for all {count(found.n_looked_at)} slices looked at"
    table.caption_justify = "left"
    return table


def p_words(p: float | None) -> str:
    """Return "< 0.01" or "0.04"."""
    if p is None:
        return "-"
    return "< 0.001" if p < 0.001 else "< 0.01" if p < 0.01 else f"{p:.2f}"


def _causes(report: RootCauseReport) -> RenderableType:
    shown = [row for row in report.causes if row.n_errors or row.status in ("explains", "covered")]
    if not shown:
        return _line("CAUSES", "there are no errors to explain")
    table = _table(
        ("CAUSES", "name"), ("errors", "number"), ("share", "number"), ("right", "number"), ("lift", "number"),
        ("explains", "number"), ("q", "number"), ("", "words"),
    )  # fmt: skip
    total = max(1, report.n_errors)
    for row in shown:
        table.add_row(
            Text(row.name, _style(row)),
            count(row.n_errors),
            percent(row.n_errors / total, 0),
            percent(row.share_right, 0),
            "-" if row.lift is None else f"{row.lift:.1f}",
            points(row.explained, unit=False) if row.status == "explains" else "",
            p_words(row.q_value),
            Text(status_words(row), "dim"),
        )
    table.width = WIDTH
    return table


def _style(row: CauseRow) -> str:
    return "bold red" if row.status == "explains" else "dim" if row.cause == "unexplained" else ""


def status_words(row: CauseRow) -> str:
    """Return what a cause's state means, in few words."""
    from labelproof.report.rca.model import NAMES

    if row.status == "explains":
        return "explains" + (", by timing only" if row.by_timing else "")
    if row.status == "covered":
        return f"part of {NAMES[row.covered_by]}" if row.covered_by else "part of the above"
    if row.cause == "unexplained":
        return "no mark"
    return "not more than elsewhere" if row.status == "not more than elsewhere" else "not measured"


def _listed(name: str, lines: Sequence[str], most: int) -> list[RenderableType]:
    found: list[RenderableType] = [
        _bullet(name if i == 0 else "", line) for i, line in enumerate(lines[:most])
    ]
    if len(lines) > most:
        found.append(_bullet("", f"and {len(lines) - most} more (--json)"))
    return found


def _bullet(name: str, text: str) -> RenderableType:
    table = Table.grid(padding=0)
    table.add_column(width=11, no_wrap=True)
    table.add_column(overflow="fold", max_width=WIDTH - 11)
    table.add_row(Text(name, "bold"), Text(one_line_of(text)))
    return table


def _next(report: RootCauseReport) -> list[RenderableType]:
    found: list[RenderableType] = []
    names = {case.item_id: case.external_id for case in report.errors}
    for i, action in enumerate(report.actions[:_MOST_NEXT]):
        items = ", ".join(names.get(item, item) for item in action.items[:_MOST_ITEMS])
        shown = f" Items: {items}{' …' if len(action.items) > _MOST_ITEMS else ''}." if items else ""
        run = f" Run: {action.command}" if action.command else ""
        found.append(_bullet("NEXT" if i == 0 else "", f"{i + 1}. {action.what}.{shown}{run}"))
    return found
