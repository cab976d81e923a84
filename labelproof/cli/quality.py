"""`labelproof quality`: how often automatic decisions were right, from audits, and whether promises hold."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from labelproof.cli._common import console, emit_json, user_errors
from labelproof.cli.run import JsonOption, ProjectArgument, StoreOption
from labelproof.spec.errors import ConfigError

if TYPE_CHECKING:
    from evaluation.intervals import Estimate
    from labelproof.report.quality import QualityReport


def quality(
    project: ProjectArgument,
    *,
    strategy: Annotated[
        str | None, typer.Option("--strategy", "-s", help="Name or fingerprint; default: all strategies.")
    ] = None,
    since: Annotated[
        str | None, typer.Option(help="Decisions from this day or time on (UTC): 2026-03-01.")
    ] = None,
    until: Annotated[
        str | None, typer.Option(help="Decisions up to and with this day, or before this time (UTC).")
    ] = None,
    plots: Annotated[
        Path | None, typer.Option("--plots", help="Folder for the charts (SVG) and their data.")
    ] = None,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say how often automatic decisions were right, with an interval, from blind audits of random ones.

    Exit 0: the promise is kept or not yet ruled out, or nothing was promised; 1: a promise is broken; 2: no
    answer yet, and what to do. A certificate under which a monitor alarms is voided.
    """
    with user_errors(as_json=as_json):
        from labelproof.report.quality import quality_report
        from labelproof.store import default_store, open_store

        first, last = _time(since, "--since"), _time(until, "--until", is_end=True)
        if first is not None and last is not None and first >= last:
            raise ConfigError(f"--since {since} is not before --until {until}", key="--since")
        with open_store(store or default_store(), create=False) as opened:
            report = quality_report(opened, project, strategy=strategy, since=first, until=last)
        files = []
        if plots is not None:
            from labelproof.report.quality_plots import write_plots

            files = write_plots(report, plots)
        if as_json:
            emit_json({**report.to_json(), "plots": [str(file) for file in files]})
        else:
            _show(report, files)
    raise typer.Exit(report.exit_code)


def _time(text: str | None, option: str, *, is_end: bool = False) -> datetime | None:
    """Return a day's start (its end for an end), or the very time that was given; UTC unless it says otherwise."""
    if text is None:
        return None
    try:
        found = datetime.fromisoformat(text.strip())
    except ValueError as error:
        raise ConfigError(
            f"expected a day or a time, found {text!r}", key=option, hint="2026-03-01 or 2026-03-01T12:00"
        ) from error
    found = found if found.tzinfo else found.replace(tzinfo=UTC)
    is_day = len(text.strip()) <= len("2026-03-01")
    return found + timedelta(days=1) if is_end and is_day else found


def _show(report: QualityReport, files: list[Path]) -> None:
    from rich.markup import escape
    from rich.table import Table

    out = console()
    out.print(f"[bold]{escape(report.sentence)}[/]")
    out.print(escape(report.promise_sentence))
    if report.next_step:
        out.print(f"[dim]next:[/] {escape(report.next_step)}", soft_wrap=True)
    for heading, text in report.lines():
        style = "bold red" if "ALARM" in text or heading == "VOIDED" else "bold"
        label = f"[{style}]{heading}:[/] " if heading else "  "
        out.print(f"{label}{escape(text)}", soft_wrap=True)
    if report.classes:
        table = Table(
            "label", "auto-decisions", "audited", "precision", "recall among auto-decisions", box=None
        )
        for row in report.classes:
            cells = (_cell(row.precision), _cell(row.recall))
            table.add_row(escape(row.label), str(row.n_decisions), str(row.n_audited), *map(escape, cells))
        out.print()
        out.print(table)
    if report.quality is not None:
        out.print()
        out.print(f"[dim]Method:[/] {escape(report.quality.method)}")
        out.print("[dim]Assumed:[/]")
        for line in report.assumptions:
            out.print(f"  - {escape(line)}")
    for file in files:
        out.print(f"[dim]plot:[/] {escape(str(file))}", soft_wrap=True)


def _cell(estimate: Estimate) -> str:
    from labelproof.report.quality import interval_text, percent

    if estimate.value is None:
        return f"cannot be told: {estimate.reason}"
    return f"{percent(estimate.value)} % ({interval_text(estimate).removeprefix('95 % interval ')})"
