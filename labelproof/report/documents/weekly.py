"""The weekly report: what leadership needs to know, in the order in which it matters."""

from __future__ import annotations

from datetime import datetime

from labelproof.report.documents import _weekly_problems as problem_part
from labelproof.report.documents import _weekly_quality as quality_part
from labelproof.report.documents import _weekly_state as state_part
from labelproof.report.documents import _weekly_work as work_part
from labelproof.report.documents._week import TABLES, Week, given_of
from labelproof.report.documents._weekly_say import decisions, risk, unknowns
from labelproof.report.documents.audited import harmless_of
from labelproof.report.documents.book import Book
from labelproof.report.documents.lines import state, text
from labelproof.report.documents.model import (
    Block,
    Bullets,
    Content,
    Given,
    Line,
    Paragraph,
    Ref,
    Section,
    Tile,
    Tone,
)
from labelproof.report.quality import promise_text
from labelproof.report.rca.periods import Period
from labelproof.spec.project import ProjectFolder
from labelproof.store import TraceStore


def weekly(
    store: TraceStore,
    folder: ProjectFolder,
    period: Period,
    *,
    now: datetime,
    strategy: str | None = None,
    names: bool = False,
) -> Content:
    """Return the report of a period. ``strategy``: only its decisions; ``names``: reviewers by name.

    Decisions of the period, audits as they are known now, everything else as of the period's end. No item text.
    """
    week = Week(
        store=store,
        folder=folder,
        period=period,
        now=now,
        strategy=strategy,
        names=names,
        book=Book(store, given_of(folder.name, period, now, strategy), only=TABLES),
        harmless=harmless_of(folder.spec.labels),
    )
    quality = quality_part.measure(week)
    work_part.measure(week)
    states = state_part.read(week)
    line, tone = quality_part.headline(quality)
    not_met = [one.target.metric for one in states.targets if one.state == "not met"]
    if quality.verdict == "not met" and "auto_accuracy" not in not_met:
        not_met.insert(0, "auto_accuracy")
    sections = [
        _first(week, quality, states),
        work_part.work_section(week),
        quality_part.quality_section(week, quality),
        quality_part.harm_section(week),
        state_part.targets_section(week, states),
        state_part.changes_section(week, states),
        problem_part.findings_section(week, states),
        problem_part.alarms_section(week, states),
        problem_part.causes_section(week, states),
        work_part.cost_section(week),
        work_part.reviewers_section(week),
        Section(
            key="unknown",
            title="What we do not know",
            blocks=[Bullets(lines=unknowns(week, quality, states))],
        ),
    ]
    asked = f" --strategy {strategy}" if strategy else ""
    return Content(
        kind="weekly",
        project=folder.name,
        title=f"{folder.name}: {'week' if week.is_week else 'period'} {period.name}",
        subtitle=text(
            Given(period.dates), ", days in UTC", *((", strategy ", Given(strategy)) if strategy else ())
        ),
        headline=line,
        tone=tone,
        tiles=_tiles(week, quality),
        sections=sections,
        numbers=week.book.numbers,
        queries=week.book.queries,
        command=f"labelproof report weekly {folder.name} {_option(period)}{asked}",
        now=now,
        period_from=period.start,
        period_to=period.end,
        ref=strategy,
        stem=f"weekly-{_file_name(period.name)}",
        exit_code=1 if not_met else 0,
        not_met=tuple(not_met),
    )


def _first(week: Week, quality: quality_part.Quality, states: state_part.States) -> Section:
    """The one risk and the decision needed."""
    asked = decisions(week, quality, states)
    blocks: list[Block] = [
        Paragraph(line=text("The one risk: ", *risk(quality, states)), strong=True),
        Paragraph(line=text("The decision needed: ", *asked[0]), strong=True),
    ]
    if len(asked) > 1:
        blocks += [Paragraph(line=text("Also to decide:")), Bullets(lines=asked[1:])]
    return Section(key="first", title="What needs attention", blocks=blocks)


def _tiles(week: Week, quality: quality_part.Quality) -> list[Tile]:
    book = week.book
    tone: Tone = quality_part.TONES.get(quality.verdict or "", "plain")
    promised: Line = ()
    if quality.promised is not None and quality.verdict is not None:
        promised = (
            " Promised ",
            Given(f"≥ {promise_text(quality.promised)} %"),
            ": ",
            state(quality.verdict),
            ".",
        )
    found = [
        Tile(
            label="Right auto-decisions",
            line=text(Ref(quality_part.RIGHT)),
            detail=(*_detail(book, quality_part.RIGHT), *promised),
            tone=tone,
        ),
        Tile(
            label="Decided by the machine alone",
            line=text(Ref("work.coverage")),
            detail=text(Ref("work.auto"), " of ", Ref("work.decisions"), " decisions."),
        ),
        Tile(label="Harm missed", line=text(Ref("harm.missed")), detail=_detail(book, "harm.missed")),
        Tile(label="Wrong removals", line=text(Ref("harm.removed")), detail=_detail(book, "harm.removed")),
        Tile(label="Human hours saved", line=text(Ref("hours.saved")), detail=_detail(book, "hours.saved")),
        Tile(
            label="Cost per correct decision",
            line=text(Ref("cost.per_correct")),
            detail=_detail(book, "cost.per_correct"),
        ),
    ]
    return [tile for tile in found if not _is_empty(tile, book)] or found[:2]


def _detail(book: Book, name: str) -> Line:
    number = book[name]
    if number.value is None:
        return text(Given(number.reason), ".")
    return text(Ref(name, "interval"), ".") if number.low is not None else ()


def _is_empty(tile: Tile, book: Book) -> bool:
    first = tile.line[0]
    return isinstance(first, Ref) and book[first.name].value is None


def _option(period: Period) -> str:
    if "W" in period.name:
        return f"--week {period.name}"
    return f"--period {period.start:%Y-%m-%d}..{_last_day(period)}"


def _last_day(period: Period) -> str:
    from datetime import timedelta

    return f"{period.end - timedelta(microseconds=1):%Y-%m-%d}"


def _file_name(name: str) -> str:
    kept = "".join(mark if mark.isalnum() or mark == "-" else "-" for mark in name.replace("..", "-to-"))
    return "-".join(part for part in kept.split("-") if part)
