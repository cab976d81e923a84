"""`labelproof up`, `down`, `status`: the local Prefect server and its worker."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from labelproof.cli._common import (
    EXIT_NO,
    EXIT_OK,
    command_name,
    console,
    emit_json,
    user_errors,
)

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
        options = Options(
            port=port, worker=worker, schedules=schedules, worker_limit=worker_limit, review=review
        )
        if foreground:
            with _progress(quiet=as_json) as report:
                run_foreground(folder, options, report=report)
            return
        with _progress(quiet=as_json) as report:
            started = start(folder, options, report=report)
        answer = status(folder)
        if as_json:
            emit_json({**answer, "was_running": started.was_running})
        else:
            word = "already running" if started.was_running else "up"
            _print_status(answer, headline=f"[bold green]{word}[/]")
            if not any(one["active"] for one in answer["schedules"]) and answer["schedules"]:
                console().print(
                    "  Schedules are off, so nothing is labeled or paid for by itself. "
                    f"To switch them on: [bold]{command_name()} up --schedules[/]"
                )
    raise typer.Exit(EXIT_OK if answer["running"] else EXIT_NO)


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
    """Show what runs, its health, the schedules and the last scheduled run. Exit 0 up, 1 down."""
    with user_errors(as_json=as_json):
        from labelproof.stack.control import find_root
        from labelproof.stack.control import status as look

        answer = look(root.resolve() if root is not None else find_root())
        if as_json:
            emit_json(answer)
        else:
            good = "[bold green]up[/]" if answer["running"] else f"[bold yellow]{answer['phase']}[/]"
            _print_status(answer, headline=good)
            if answer["phase"] in ("stopped", "failed"):
                console().print(f"  To start it: [bold]{command_name()} up[/]")
    raise typer.Exit(EXIT_OK if answer["running"] else EXIT_NO)


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
    for one in answer["schedules"]:
        state = "[green]on[/]" if one["active"] else "off"
        out.print(f"  schedule {one['deployment']}, {one['slug']}: {one['cron']} {one['timezone']}, {state}")
    for key, title in (
        ("last_scheduled_run", "last run"),
        ("next_scheduled_run", "next run"),
    ):
        if run := answer[key]:
            when = run["started_at"] or run["expected_start"]
            out.print(f"  {title}: {run['deployment']}, {run['state']}, {when[:19]}Z")
    if answer["active_runs"]:
        count = answer["active_runs"]
        out.print(f"  {count} run{'s' if count != 1 else ''} at work")
    if answer["phase"] != "stopped":
        out.print(f"  logs: {escape(answer['logs'])}")


def _ago(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 7_200:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3_600:.1f} h"
