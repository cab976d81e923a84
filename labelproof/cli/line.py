"""`labelproof line`: send everything to people at once, and let the machine decide again."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from labelproof.cli._common import EXIT_NO, command_name, console, emit_json, user_errors
from labelproof.cli.promote import ByOption, WhyOption, _person
from labelproof.cli.run import JsonOption, ProjectArgument, StoreOption

if TYPE_CHECKING:
    from agents.line import StoppedLine

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    help="Stop the line: every item of a project goes to a person until the line is started again.",
)


@app.command()
def stop(
    project: ProjectArgument,
    why: WhyOption,
    by: ByOption = None,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Send every item to a person from the next batch on, in runs that are under way too. Nothing stops running.

    Holds for the project, whatever the strategy, its certificate or a roll-out say. Decisions made before stay as they
    are: run the project again to send their items to people too. It is an alarm: the next pass of the monitor tells the
    contacts, and escalates it when it is forgotten. Asking twice changes nothing.
    """
    with user_errors(as_json=as_json):
        from datetime import UTC, datetime

        from agents.line import stop_line
        from labelproof.spec.project import find_project
        from labelproof.store import default_store, open_store

        now = datetime.now(UTC)
        with open_store(store or default_store()) as opened:
            line = stop_line(opened, find_project(project), why=why, by=_person(by), now=now)
        if as_json:
            emit_json({**line.to_json(), "stopped": True})
            return
        _say(line)
        console().print(
            f"[dim]{command_name()} line start {project} --why ... lets the machine decide again[/]",
            soft_wrap=True,
        )


@app.command()
def start(
    project: ProjectArgument,
    why: WhyOption,
    by: ByOption = None,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Let the machine decide again, by its strategy and certificate, from the next batch on."""
    with user_errors(as_json=as_json):
        from datetime import UTC, datetime

        from agents.line import start_line
        from labelproof.spec.project import find_project
        from labelproof.store import default_store, open_store

        now = datetime.now(UTC)
        with open_store(store or default_store()) as opened:
            line = start_line(opened, find_project(project), why=why, by=_person(by), now=now)
        if as_json:
            emit_json({"stopped": False, "was_stopped": line is not None})
        elif line is None:
            console().print("the line was not stopped")
        else:
            console().print(f"{line.project}: the machine decides again from the next batch on", markup=False)


@app.command()
def status(project: ProjectArgument, store: StoreOption = None, as_json: JsonOption = False) -> None:
    """Say whether the line is stopped, since when, by whom and why. Exit 0: it runs; 1: it is stopped."""
    with user_errors(as_json=as_json):
        from agents.line import stopped_line
        from labelproof.spec.project import find_project
        from labelproof.store import default_store, open_store

        with open_store(store or default_store(), create=False) as opened:
            line = stopped_line(opened, find_project(project).name)
        if as_json:
            emit_json({"stopped": line is not None, **({} if line is None else line.to_json())})
        elif line is None:
            console().print("the line runs: the machine decides what it may")
        else:
            _say(line)
    if line is not None:
        raise typer.Exit(EXIT_NO)


def _say(line: StoppedLine) -> None:
    console().print(
        f"{line.project}: the line is stopped since {line.since:%Y-%m-%d %H:%M}, by {line.by}: {line.why}",
        markup=False,
        soft_wrap=True,
    )
