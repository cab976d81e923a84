"""`labelproof review start`, `ask`, `fill`, `close` and `reopen`: work on the queue, and change what it asks."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from labelproof.cli._common import console, emit_json, user_errors
from labelproof.cli._people import AsOption, find_task, opened_desk, who_acts
from labelproof.cli.run import JsonOption, ProjectArgument, StoreOption, StrategyOption
from labelproof.spec.errors import ConfigError

if TYPE_CHECKING:
    from labelproof.review.model import Outcome

TaskArgument = Annotated[str, typer.Argument(help="Id of the task, or enough of its beginning.")]
WhyOption = Annotated[str, typer.Option("--why", help="The reason; it is kept with the task.")]


def start(
    project: ProjectArgument, name: AsOption, *, store: StoreOption = None, as_json: JsonOption = False
) -> None:
    """Review in this terminal, with the keys of the web app: ? lists them, q stops."""
    with user_errors(as_json=as_json):
        if not is_terminal():
            raise ConfigError(
                "reviewing needs a terminal", hint="labelproof serve, or labelproof review export for a sheet"
            )
        from labelproof.review.terminal import run_terminal
        from labelproof.spec.project import find_project

        folder = find_project(project)
        with opened_desk(store, {folder.name: folder}) as desk:
            reviewer = who_acts(desk.office, name, folder.name)
            desk.start()
            n = run_terminal(desk, reviewer, folder.name)
        if as_json:
            emit_json({"project": folder.name, "reviewer": reviewer.name, "answers": n})
        else:
            console().print(f"{n} answer{'' if n == 1 else 's'} stored")


def is_terminal() -> bool:
    """Return whether a person sits at both ends."""
    return sys.stdin.isatty() and sys.stdout.isatty()


def ask(
    project: ProjectArgument,
    *,
    item: Annotated[
        str | None, typer.Option("--item", metavar="ID", help="Appeal against this item's label.")
    ] = None,
    why: Annotated[
        str | None, typer.Option("--why", help="With --item: what is wrong with its label.")
    ] = None,
    name: Annotated[
        str | None,
        typer.Option("--as", help="With --item: your account.", envvar="LABELPROOF_REVIEWER", metavar="NAME"),
    ] = None,
    between: Annotated[
        tuple[str, str] | None,
        typer.Option(
            "--between", metavar="A B", help="Ask about items that these two strategies label differently."
        ),
    ] = None,
    limit: Annotated[
        int | None, typer.Option("--limit", min=1, help="With --between: at most N new tasks, a random part.")
    ] = None,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Ask people about a contested item, or about the items on which two strategies differ."""
    with user_errors(as_json=as_json):
        if (item is None) == (between is None):
            raise ConfigError("expected --item ID or --between A B", hint="labelproof review ask --help")
        if between is not None:
            _ask_between(project, between, limit, store, as_json=as_json)
            return
        if not why or not name:
            raise ConfigError("an appeal needs --why TEXT and --as NAME: it is kept with who made it")
        assert item is not None
        _appeal(project, item, why, name, store, as_json=as_json)


def fill(
    project: ProjectArgument,
    *,
    strategy: StrategyOption = None,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Queue what a strategy's latest decisions send to people and no run has queued, such as an older run's."""
    with user_errors(as_json=as_json):
        from labelproof.report.review_asks import fill_routed
        from labelproof.spec.project import find_project
        from labelproof.store import default_store, open_store

        folder = find_project(project)
        with open_store(store or default_store(), create=False) as opened:
            n = fill_routed(opened, folder, strategy, datetime.now(UTC))
        if as_json:
            emit_json({"project": folder.name, "tasks": n})
        else:
            console().print(f"{n} new tasks" if n else "nothing to add: all of it is queued")


def close(
    project: ProjectArgument,
    task: TaskArgument,
    why: WhyOption,
    name: AsOption,
    *,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Stop asking about a task. Leads only."""
    _event("close", project, task, why, name, store, as_json=as_json)


def reopen(
    project: ProjectArgument,
    task: TaskArgument,
    why: WhyOption,
    name: AsOption,
    *,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Ask again about a closed or escalated task. Leads only."""
    _event("reopen", project, task, why, name, store, as_json=as_json)


def _event(
    what: Literal["close", "reopen"],
    project: str,
    task: str,
    why: str,
    name: str,
    store: str | None,
    *,
    as_json: bool,
) -> None:
    with user_errors(as_json=as_json):
        from labelproof.spec.project import find_project

        folder = find_project(project)
        with opened_desk(store, {folder.name: folder}) as desk:
            reviewer = who_acts(desk.office, name, folder.name)
            task_id = find_task(desk.store, folder.name, task)
            act = desk.close_task if what == "close" else desk.reopen_task
            outcome: Outcome = act(reviewer, folder.name, task_id, why)
        if as_json:
            emit_json({"task_id": task_id, "state": outcome.state, "label": outcome.final_label})
        else:
            from rich.markup import escape

            console().print(f"{escape(task_id)} is {outcome.state} now")


def _ask_between(
    project: str, between: tuple[str, str], limit: int | None, store: str | None, *, as_json: bool
) -> None:
    from labelproof.report.review_asks import ask_disagreements
    from labelproof.spec.project import find_project
    from labelproof.store import default_store, open_store

    folder = find_project(project)
    with open_store(store or default_store(), create=False) as opened:
        n = ask_disagreements(opened, folder, *between, datetime.now(UTC), limit=limit)
    if as_json:
        emit_json({"project": folder.name, "between": list(between), "tasks": n})
    else:
        console().print(f"{n} new tasks" if n else "nothing to ask: no difference that was not asked about")


def _appeal(project: str, item: str, why: str, name: str, store: str | None, *, as_json: bool) -> None:
    from labelproof.spec.project import find_project

    folder = find_project(project)
    with opened_desk(store, {folder.name: folder}) as desk:
        reviewer = who_acts(desk.office, name, folder.name)
        task = desk.appeal(reviewer, folder.name, item, why)
    if as_json:
        emit_json({"project": folder.name, "task_id": task.task_id, "votes_wanted": task.votes_wanted})
    else:
        console().print(f"{task.votes_wanted} people will be asked: task {task.task_id}")
