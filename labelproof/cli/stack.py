"""`labelproof up`, `down`, `status`: the local Prefect server and its worker."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from labelproof.cli._common import (
    EXIT_NO,
    EXIT_OK,
    command_name,
    console,
    emit_json,
    user_errors,
)

if TYPE_CHECKING:
    from rich.console import Console

app = typer.Typer(help="Run and look after the local Prefect server and its worker.")

RootOption = Annotated[
    Path | None,
    typer.Option(
        "--root",
        help="Folder with prefect.yaml.  [default: here or the nearest parent]",
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]


@contextmanager
def _progress(*, quiet: bool) -> Iterator[Callable[[str], None]]:
    """Show what goes on: a spinner with the seconds on a terminal, lines elsewhere, nothing if quiet."""
    if quiet:
        yield lambda _: None
        return
    out = console(stderr=True)
    if not out.is_terminal:
        yield lambda step: out.print(f"[dim]{step}[/]")
        return
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=out, transient=True) as bar:
        task = bar.add_task("looking around", total=None)
        yield lambda step: bar.update(task, description=step)


@app.command()
def up(
    *,
    root: RootOption = None,
    port: Annotated[
        int | None,
        typer.Option(
            "--port",
            min=1,
            max=65_535,
            help="Port of the server on 127.0.0.1.  [default: as last time, 4200, or the next free]",
        ),
    ] = None,
    schedules: Annotated[
        bool | None,
        typer.Option(
            "--schedules/--no-schedules",
            help="Switch the cron schedules on or off.  [default: as they were; off the first time]",
        ),
    ] = None,
    worker: Annotated[
        bool,
        typer.Option("--worker/--no-worker", help="Also start a worker that executes runs."),
    ] = True,
    worker_limit: Annotated[
        int, typer.Option("--worker-limit", min=1, help="Runs that this worker executes at once.")
    ] = 4,
    review: Annotated[
        bool,
        typer.Option("--review/--no-review", help="Also serve the review app, where there are projects."),
    ] = True,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume/--no-resume", help="Start runs again whose process died, three times at most."
        ),
    ] = True,
    webhook: Annotated[
        str | None,
        typer.Option(
            "--webhook",
            envvar="LABELPROOF_WEBHOOK_URL",
            show_envvar=True,
            help="Address that alarms and failed runs are sent to, a secret: better by the variable, or - to be asked; off "
            "removes it.  [default: as it was]",
        ),
    ] = None,
    test_webhook: Annotated[
        bool, typer.Option("--test-webhook", help="Send a test message; exit 1 if it did not arrive.")
    ] = False,
    foreground: Annotated[
        bool, typer.Option("--foreground", help="Stay in this terminal until Ctrl-C.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Start the Prefect server, a worker and the review app, and deploy prefect.yaml. Safe to repeat."""
    with user_errors(as_json=as_json):
        from labelproof.stack.control import find_root, run_foreground, status
        from labelproof.stack.control import up as start
        from labelproof.stack.plan import Options

        folder = root.resolve() if root is not None else find_root()
        _take_webhook(webhook)
        options = Options(
            port=port,
            worker=worker,
            schedules=schedules,
            worker_limit=worker_limit,
            review=review,
            resume=resume,
        )
        if foreground:
            with _progress(quiet=as_json) as report:
                run_foreground(folder, options, report=report)
            return
        with _progress(quiet=as_json) as report:
            started = start(folder, options, report=report)
        answer = status(folder)
        arrived, told = _send_test(answer["api_url"]) if test_webhook else (True, "")
        if as_json:
            tested = {"webhook_test": {"arrived": arrived, "told": told}} if test_webhook else {}
            emit_json({**answer, "was_running": started.was_running, **tested})
        else:
            word = "already running" if started.was_running else "up"
            _print_status(answer, headline=f"[bold green]{word}[/]")
            if not any(one["active"] for one in answer["schedules"]) and answer["schedules"]:
                console().print(
                    "  Schedules are off, so nothing is labeled or paid for by itself. "
                    f"To switch them on: [bold]{command_name()} up --schedules[/]"
                )
            if test_webhook:
                word = "[green]arrived[/]" if arrived else "[red]did not arrive[/]"
                console().print(f"  test message {word}: ", end="")
                console().print(told, markup=False, soft_wrap=True)
    raise typer.Exit(EXIT_OK if answer["running"] and arrived else EXIT_NO)


def _take_webhook(given: str | None) -> None:
    """Check the address and hand it on by the environment: command lines can be read by every user of the machine."""
    import getpass
    import os
    import sys

    from labelproof.stack.webhook import VARIABLE, checked_url

    if given == "-":
        given = getpass.getpass("Webhook address: ") if sys.stdin.isatty() else sys.stdin.readline()
    if given:
        os.environ[VARIABLE] = checked_url(given)


def _send_test(url: str) -> tuple[bool, str]:
    from labelproof.stack import PrefectApi
    from labelproof.stack.webhook import send_test

    with PrefectApi(url) as api:
        return send_test(api)


@app.command()
def down(*, root: RootOption = None, as_json: JsonOption = False) -> None:
    """Stop worker and server. History stays, and an interrupted run can be resumed."""
    with user_errors(as_json=as_json):
        from labelproof.stack.control import down as stop
        from labelproof.stack.control import find_root

        folder = root.resolve() if root is not None else find_root()
        with _progress(quiet=as_json) as report:
            ran = stop(folder, report=report)
        if as_json:
            emit_json({"stopped": ran, "root": str(folder)})
        else:
            console().print("stopped" if ran else "nothing was running")


@app.command()
def status(*, root: RootOption = None, as_json: JsonOption = False) -> None:
    """Show what runs, what ran and runs next, what waits, and what is wrong. Exit 0: all is well; 1: it is not, or down."""
    with user_errors(as_json=as_json):
        from labelproof.stack.control import find_root
        from labelproof.stack.control import status as look

        answer = look(root.resolve() if root is not None else find_root())
        if as_json:
            emit_json(answer)
        else:
            good = "[bold green]up[/]" if answer["healthy"] else "[bold yellow]up, with problems[/]"
            good = good if answer["running"] else f"[bold yellow]{answer['phase']}[/]"
            _print_status(answer, headline=good)
            if answer["phase"] in ("stopped", "failed"):
                console().print(f"  To start it: [bold]{command_name()} up[/]")
    raise typer.Exit(EXIT_OK if answer["healthy"] else EXIT_NO)


def _print_status(answer: dict[str, Any], *, headline: str) -> None:
    from rich.markup import escape

    out = console()
    place = f"  {answer['ui_url']}" if answer["ui_url"] else ""
    out.print(f"{headline}{place}")
    if answer["error"]:
        out.print(f"  [red]{escape(answer['error'])}[/]")
    if answer["temporary_server"]:
        out.print(f"  a running `labelproof run` has its own server: {answer['temporary_server']}")
    for one in answer["services"]:
        if one["alive"]:
            health = "ready" if one["ready"] else "starting"
            again = f", restarted {one['restarts']} times" if one["restarts"] else ""
            place = f", {one['url']}" if one["name"] == "review" else ""
            out.print(
                f"  {one['name']:<8} {health}, pid {one['pid']}, {_ago(one['uptime_s'])} up{again}{place}"
            )
        elif answer["phase"] != "stopped":
            out.print(f"  {one['name']:<8} [red]not running[/], log: {escape(one['log'])}")
    _print_deployments(out, answer)
    if answer["active_runs"]:
        count = answer["active_runs"]
        out.print(f"  {count} run{'s' if count != 1 else ''} at work")
    _print_store(out, answer)
    if answer["phase"] != "stopped":
        out.print(f"  logs: {escape(answer['logs'])}")
    for line in answer["notes"]:
        out.print(f"  note: {escape(line)}", soft_wrap=True)
    for line in answer["problems"]:
        out.print(f"  [bold red]problem[/]: {escape(line)}", soft_wrap=True)


def _print_deployments(out: Console, answer: dict[str, Any]) -> None:
    """Print a line for each deployment: when by the clock, what came last, what comes next."""
    from rich.markup import escape
    from rich.table import Table

    if not answer["deployments"]:
        return
    times: dict[str, list[str]] = {}
    for one in answer["schedules"]:
        state = "[green]on[/]" if one["active"] else "off"
        times.setdefault(one["deployment"], []).append(f"{one['cron']} {one['timezone']}, {state}")
    table = Table("deployment", "schedule", "last run", "next run", box=None, padding=(0, 2), pad_edge=True)
    for one in answer["deployments"]:
        last = one["last"]
        schedule = "paused" if one["paused"] else ", ".join(times.get(one["deployment"], ["by hand"]))
        table.add_row(
            escape(one["deployment"]),
            schedule,
            "" if last is None else f"{escape(last['state'])}, {_when(last['at'])}",
            _when(one["next"]),
        )
    out.print(table)


def _print_store(out: Console, answer: dict[str, Any]) -> None:
    from rich.markup import escape

    store, disk = answer["store"], answer["disk"]
    if store["exists"]:
        waiting = f"{store['waiting']} segment{'s' if store['waiting'] != 1 else ''} waiting"
        drained = f", last drained {_when(store['last_drain'])}" if store["last_drain"] else ""
        out.print(f"  store    {escape(str(store['where']))}: {waiting}{drained}", soft_wrap=True)
    sizes = [
        f"{title} {size / 1e6:,.1f} MB"
        for title, size in (
            ("store", disk["store_bytes"]),
            ("Prefect", disk["prefect_bytes"]),
            ("logs", disk["logs_bytes"]),
        )
        if size
    ]
    out.print(f"  disk     {disk['free_bytes'] / 1e9:.1f} GB free{'; ' if sizes else ''}{', '.join(sizes)}")
    if answer["webhook"] is not None:
        out.print(f"  webhook  {'set' if answer['webhook'] else 'not set'}")


def _when(text: str | None) -> str:
    """Return a time of the API as 2026-03-02 12:00Z; nothing for none."""
    return "" if text is None else f"{text[:10]} {text[11:16]}Z"


def _ago(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 7_200:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3_600:.1f} h"
