"""`labelproof monitor`: every promise of a project as it stands now, alarms and who was told, time series."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from labelproof.cli._common import EXIT_NO, command_name, console, emit_json, user_errors
from labelproof.cli.run import JsonOption, ProjectArgument, StoreOption
from labelproof.spec.errors import ConfigError

if TYPE_CHECKING:
    from rich.console import Console

    from labelproof.report.monitor.history import Series
    from labelproof.report.monitor.run import MonitorReport
    from labelproof.spec.project import ProjectFolder
    from labelproof.store import TraceStore

MOST_SHOWN = 30
_STYLES = {"met": "green", "quiet": "green", "breached": "bold red", "alarm": "bold red"}


def monitor(
    project: ProjectArgument,
    *,
    ack: Annotated[
        str | None,
        typer.Option("--ack", help="Take an open alarm on (its id): it stops escalating.", metavar="ALARM"),
    ] = None,
    why: Annotated[str | None, typer.Option("--why", help="With --ack: what is being done.")] = None,
    by: Annotated[
        str | None, typer.Option("--by", help="With --ack: who; default: the user name here.")
    ] = None,
    history: Annotated[
        str | None,
        typer.Option("--history", help="Show a metric's time series instead of measuring.", metavar="METRIC"),
    ] = None,
    plot: Annotated[
        Path | None,
        typer.Option("--plot", help="With --history: write the picture (.svg, .png, .html).", metavar="FILE"),
    ] = None,
    now: Annotated[
        str | None, typer.Option("--now", hidden=True, help="Replay: measure as of this time.")
    ] = None,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Measure every target, look for drift, raise, escalate and end alarms; store it all as a time series.

    Exit 0: all is met or not ruled out; 1: something is breached; 2: the user must fix something.
    """
    code = 0
    with user_errors(as_json=as_json):
        from labelproof.spec.project import find_project
        from labelproof.store import default_store, open_store

        if (ack is None) != (why is None):
            raise ConfigError("--ack and --why belong together", hint="--ack A-1f2e --why 'asked the vendor'")
        if plot is not None and history is None:
            raise ConfigError(
                "--plot draws a metric's time series", hint="--history auto_accuracy --plot out.svg"
            )
        folder = find_project(project)
        with open_store(store or default_store(), create=False) as opened:
            if ack is not None and why is not None:
                _acknowledge(opened, folder, ack, why, by, _time(now), as_json=as_json)
            elif history is not None:
                _history(opened, folder, history, plot, as_json=as_json)
            else:
                code = _measure(opened, folder, _time(now), as_json=as_json)
    raise typer.Exit(code)


def _measure(store: TraceStore, folder: ProjectFolder, now: datetime, *, as_json: bool) -> int:
    from labelproof.report.monitor.run import monitor as run_monitor

    err = console(stderr=True)
    if as_json:
        report = run_monitor(store, folder, now=now)
        emit_json(report.to_json())
    else:
        with err.status("measuring"):
            report = run_monitor(store, folder, now=now)
        _show(console(), folder, report)
    return EXIT_NO if report.is_breached else 0


def _acknowledge(
    store: TraceStore,
    folder: ProjectFolder,
    alarm_id: str,
    why: str,
    by: str | None,
    now: datetime,
    *,
    as_json: bool,
) -> None:
    from dataclasses import asdict

    from rich.markup import escape

    from labelproof.report.monitor.alarms import acknowledge, user_name

    event = acknowledge(store, folder.name, alarm_id, actor=by or user_name(), why=why, now=now)
    if as_json:
        emit_json(asdict(event))
        return
    console().print(
        f"{event.alarm_id} ({escape(event.subject)}) is taken on by {escape(event.actor)}: it escalates no further; "
        "it ends when its promise holds again."
    )


def _history(
    store: TraceStore, folder: ProjectFolder, metric: str, plot: Path | None, *, as_json: bool
) -> None:
    from labelproof.report.monitor.history import known_metrics, series_of, series_plot

    series = series_of(store, folder.name, metric)
    if not series.points:
        known = ", ".join(known_metrics(store, folder.name)) or "nothing yet"
        raise ConfigError(
            f"{metric!r} has not been measured in project {folder.name!r}; measured: {known}",
            hint=f"labelproof monitor {folder.name}",
        )
    written = None if plot is None else series_plot(series, subject=folder.name).save(plot)
    if as_json:
        emit_json({**series.to_json(), "plot": None if written is None else str(written)})
        return
    _show_series(console(), series)
    if written is not None:
        console().print(f"plot: {written}", soft_wrap=True, markup=False)


def _show(out: Console, folder: ProjectFolder, report: MonitorReport) -> None:
    from rich.markup import escape
    from rich.table import Table

    from labelproof.report.monitor.text import evidence_bar, lines_of, rows_of, summary

    style = "bold red" if report.is_breached else "bold"
    out.print(f"[{style}]{escape(summary(report))}[/]")
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for name in ("metric", "value", "95 % interval", "promise", "state", "evidence", "owner", "since"):
        table.add_column(name, no_wrap=name in ("metric", "state", "evidence", "since"), overflow="fold")
    listed = rows_of(folder, report.measurements, report.alarms)
    for row in listed:
        state = f"[{_STYLES[row.state]}]{row.state}[/]" if row.state in _STYLES else row.state
        name = row.subject if row.kind == "target" else f"{row.kind} {row.subject}"
        cells = (name, row.value, row.interval, row.promise)
        table.add_row(*map(escape, cells), state, evidence_bar(row.share), escape(row.owner), row.since[:10])
    out.print(table)
    for row in listed:
        if row.state not in ("met", "quiet"):
            out.print(f"  [dim]{escape(row.subject)}: {escape(row.reason)}[/]", soft_wrap=True)
    _show_alarms(out, report)
    for line in lines_of(report):
        out.print(f"[bold]now:[/] {escape(line)}", soft_wrap=True)
    _show_next(out, folder, report)
    if not folder.spec.targets:
        out.print(
            "[dim]targets: in project.yaml say what is promised; see docs/how-to/watch-production.md[/]"
        )


def _show_next(out: Console, folder: ProjectFolder, report: MonitorReport) -> None:
    """Print what to type about alarms that nobody has taken on; nothing while there is none."""
    from rich.text import Text

    waiting = [alarm for alarm in report.alarms if alarm.state == "breached"]
    if not waiting:
        return
    program, name = command_name(), folder.name
    out.print("\n[bold]Next[/]")
    for command, why in (
        (f"{program} rca {name}", "why it changed, what was ruled out"),
        (f"{program} findings list {name}", "the findings that the alarms opened"),
        (f'{program} monitor {name} --ack {waiting[0].alarm_id} --why "…"', "take an alarm on"),
    ):
        out.print(Text.assemble("  ", command, ("   " + why, "dim")), soft_wrap=True)


def _show_alarms(out: Console, report: MonitorReport) -> None:
    from rich.markup import escape

    from labelproof.report.monitor.text import alarm_history

    for alarm in report.alarms:
        what = f"{alarm.kind} {alarm.subject}"
        begun = f", most likely since {alarm.change_from:%Y-%m-%d}" if alarm.change_from is not None else ""
        out.print(
            f"\n[bold red]{alarm.alarm_id}[/] {escape(what)}, {alarm.level}, {alarm.state}{begun}",
            soft_wrap=True,
        )
        for at, words in alarm_history(alarm):
            out.print(f"  {at}  {escape(words)}", soft_wrap=True)


def _show_series(out: Console, series: Series) -> None:
    from rich.markup import escape
    from rich.table import Table

    from labelproof.report.monitor.history import sparkline
    from labelproof.report.monitor.text import stamp
    from labelproof.report.monitor.values import interval_text, value_text

    out.print(f"[bold]{escape(series.metric)}[/]  {sparkline([one.value for one in series.points])}")
    table = Table("measured", "value", "95 % interval", "n", "promise", "state", box=None)
    for one in series.points[-MOST_SHOWN:]:
        sign = "≥" if one.side == "at_least" else "≤"
        cells: list[Any] = [
            stamp(one.at),
            value_text(series.metric, one.value),
            interval_text(series.metric, one.low, one.high),
            str(one.n),
            "" if one.bound is None else f"{sign} {value_text(series.metric, one.bound)}",
        ]
        style = _STYLES.get(one.state, "")
        table.add_row(*map(escape, cells), f"[{style}]{one.state}[/]" if style else one.state)
    out.print(table)
    if len(series.points) > MOST_SHOWN:
        out.print(f"[dim]{len(series.points) - MOST_SHOWN} earlier ones: --json[/]")


def _time(text: str | None) -> datetime:
    if text is None:
        return datetime.now(UTC)
    try:
        found = datetime.fromisoformat(text.strip())
    except ValueError as error:
        raise ConfigError(f"expected a time, found {text!r}", key="--now", hint="2026-03-01T12:00") from error
    return found if found.tzinfo else found.replace(tzinfo=UTC)
