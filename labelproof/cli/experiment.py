"""`labelproof experiment`: strategies over the same items by a rule that is written first, and people where they differ."""

from __future__ import annotations

import getpass
import os
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from labelproof.cli._common import EXIT_USER, command_name, console, emit_json, user_errors
from labelproof.cli._experiment_text import show_labels, show_plan, show_result, show_standing
from labelproof.cli.run import (
    BatchOption,
    JsonOption,
    Orchestration,
    PrefectOption,
    ProjectArgument,
    StoreOption,
)
from labelproof.report.numbers import count

if TYPE_CHECKING:
    from labelproof.report.experiments.opening import Opened
    from labelproof.report.experiments.run import ArmCost, ExperimentResult
    from labelproof.store import TraceStore

app = typer.Typer(
    no_args_is_help=True,
    help="Compare strategies on the same items by a rule written before the first call; ask people where they differ.",
)
ExperimentArgument = Annotated[
    str, typer.Argument(help="Id of the experiment, or the beginning of it.", metavar="ID")
]
FolderOption = Annotated[
    str | None, typer.Option("--project", "-p", help="Project folder; default: the one of the plan's name.")
]
BudgetOption = Annotated[
    float | None,
    typer.Option(
        "--budget", min=0, help="US dollars for all arms together; it stops, resumable, before that."
    ),
]
YesOption = Annotated[bool, typer.Option("--yes", "-y", help="Spend what the plan says without asking.")]


@app.command("run")
def run_(
    project: ProjectArgument,
    *,
    arms: Annotated[
        str,
        typer.Option(
            help="Strategies, comma-separated; the first is what the others are compared with. NAME@FP: as stored."
        ),
    ],
    gold: Annotated[str, typer.Option(help="Gold split to compare on.")] = "test",
    items: Annotated[
        str | None,
        typer.Option(
            help="In place of gold: N items without gold, drawn at random, or all.", metavar="N|all"
        ),
    ] = None,
    budget: BudgetOption = None,
    name: Annotated[str | None, typer.Option(help="What to call it.")] = None,
    primary: Annotated[
        str | None, typer.Option(help="What must get better; default: experiments.primary of the project.")
    ] = None,
    goal: Annotated[
        Literal["better", "not_worse"] | None,
        typer.Option(help="not_worse: enough if proven not worse by the margin; default: experiments.goal."),
    ] = None,
    plan: Annotated[
        bool, typer.Option("--plan", help="Write and show the plan with its cost; spend nothing.")
    ] = False,
    again: Annotated[
        bool, typer.Option("--again", help="A new experiment, even if the same one exists.")
    ] = False,
    yes: YesOption = False,
    batch_size: BatchOption = 200,
    prefect: PrefectOption = "auto",
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Plan an experiment, run every arm over the same items, and compare each candidate with the first arm.

    The plan (metrics, margins, rule, items, versions) is hashed and stored before the first call. The same command
    goes on with an unfinished experiment and shows a finished one. Exit code 0: a candidate ships; 1: all are
    regressions; 2: inconclusive, unfinished, or an error.
    """
    with user_errors(as_json=as_json):
        from labelproof.report.experiments.opening import ExperimentRequest, open_experiment, parse_items
        from labelproof.store import default_store, open_store

        request = ExperimentRequest(
            project=project,
            arms=tuple(arm.strip() for arm in arms.split(",") if arm.strip()),
            split=gold,
            items=parse_items(items),
            budget_usd=budget,
            name=name,
            primary=primary,
            goal=goal,
            again=again,
        )
        with open_store(store or default_store()) as opened_store:
            opened = open_experiment(opened_store, request, now=datetime.now(UTC), actor=_who())
            costs = _announce(opened_store, opened, only_plan=plan, as_json=as_json)
            if plan:
                return
            _agree(opened, costs, yes=yes)
        result = _execute(opened, prefect, batch_size, store, quiet=as_json)
        _tell(result, store, as_json=as_json)
    raise typer.Exit(result.exit_code)


@app.command("resume")
def resume(
    experiment: ExperimentArgument,
    *,
    project: FolderOption = None,
    budget: BudgetOption = None,
    yes: YesOption = False,
    batch_size: BatchOption = 200,
    prefect: PrefectOption = "auto",
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Go on with an experiment, a stopped one too; what is stored is not paid again. Exit codes as of `run`."""
    with user_errors(as_json=as_json):
        from labelproof.report.experiments.opening import reopen_experiment
        from labelproof.store import default_store, open_store

        with open_store(store or default_store(), create=False) as opened_store:
            opened = reopen_experiment(opened_store, experiment, project=project, budget_usd=budget)
            _agree(opened, _announce(opened_store, opened, only_plan=False, as_json=as_json), yes=yes)
        result = _execute(opened, prefect, batch_size, store, quiet=as_json)
        _tell(result, store, as_json=as_json)
    raise typer.Exit(result.exit_code)


@app.command("list")
def list_(
    project: Annotated[str | None, typer.Argument(help="Only this project's.")] = None,
    *,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """List experiments with their state, oldest first."""
    with user_errors(as_json=as_json):
        from rich.markup import escape
        from rich.table import Table

        from labelproof.report.experiments.state import standings
        from labelproof.store import default_store, open_store

        with open_store(store or default_store(), create=False) as opened:
            found = [one.headline() for one in standings(opened, project=project and Path(project).name)]
        if as_json:
            emit_json(found)
            return
        if not found:
            console().print(f"no experiment here yet: {command_name()} experiment run PROJECT --arms A,B")
            return
        table = Table("experiment", "project", "arms", "items", "planned", "state", box=None)
        for one in found:
            arms = " · ".join(one["arms"])
            told = one["state"] + (f": {one['reason']}" if one["reason"] else "")
            cells = (one["experiment_id"], one["project"], arms, f"{one['n_items']} ({one['source']})")
            table.add_row(*map(escape, (*cells, one["planned_at"][:16].replace("T", " "), told)))
        console().print(table)


@app.command("show")
def show(experiment: ExperimentArgument, *, store: StoreOption = None, as_json: JsonOption = False) -> None:
    """Show an experiment's plan, how far its arms are, and the result once it has ended (no peeking before)."""
    with user_errors(as_json=as_json):
        from labelproof.report.experiments.plan import load_plan
        from labelproof.report.experiments.run import result
        from labelproof.report.experiments.state import arm_states
        from labelproof.report.experiments.text import result_json
        from labelproof.store import default_store, open_store

        with open_store(store or default_store(), create=False) as opened:
            plan = load_plan(opened, experiment)
            found, states = result(opened, plan), arm_states(opened, plan)
        if as_json:
            emit_json(result_json(found, states))
        else:
            show_standing(console(), found, states)


@app.command("stop")
def stop(
    experiment: ExperimentArgument,
    *,
    why: Annotated[str, typer.Option(help="Why; kept with the experiment.")],
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Stop an experiment without a result: a running one leaves off after its batch; only `resume` goes on with it."""
    with user_errors(as_json=as_json):
        from rich.markup import escape

        from labelproof.report.experiments.run import withdraw
        from labelproof.store import default_store, open_store

        with open_store(store or default_store(), create=False) as opened:
            found = withdraw(opened, experiment, actor=_who(), why=why, now=datetime.now(UTC))
        if as_json:
            emit_json(found.headline())
        else:
            console().print(f"{found.plan.experiment_id} is stopped: {escape(why)}. Its answers stay stored.")


@app.command("label")
def label(
    experiment: ExperimentArgument,
    *,
    limit: Annotated[int | None, typer.Option(min=1, help="Ask about at most N more items.")] = None,
    alpha: Annotated[
        float | None,
        typer.Option(help="Stop at an e-value of 1 / alpha; default: the plan's.", min=0.0001, max=0.5),
    ] = None,
    status: Annotated[bool, typer.Option("--status", help="Only look: ask nothing, close nothing.")] = False,
    stop_: Annotated[bool, typer.Option("--stop", help="Close what still waits, and ask no more.")] = False,
    project: FolderOption = None,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Send the items where two arms differ to people, and stop as soon as it is known which arm is better.

    For an experiment over items without gold (--items). People see neither label. Run it again any time, from cron
    too: it counts what came in, closes what is not needed any more, and looking often costs no certainty.
    """
    with user_errors(as_json=as_json):
        from labelproof.report.experiments.labels import label_disagreements
        from labelproof.report.experiments.plan import load_plan
        from labelproof.spec.project import find_project
        from labelproof.store import default_store, open_store

        with open_store(store or default_store(), create=False) as opened:
            plan = load_plan(opened, experiment)
            found = label_disagreements(
                opened,
                find_project(project or plan.project),
                plan,
                now=datetime.now(UTC),
                alpha=alpha,
                limit=limit,
                ask=not status,
                stop=f"experiment {plan.experiment_id}: stopped by {_who()}" if stop_ else None,
            )
        if as_json:
            emit_json(found.to_json())
        else:
            show_labels(console(), found)


def _announce(store: TraceStore, opened: Opened, *, only_plan: bool, as_json: bool) -> list[ArmCost]:
    """Show the plan with what it will cost; returns what is still to do."""
    from labelproof.report.experiments.run import costs as costs_of

    costs = [] if opened.found == "finished" else costs_of(store, opened)
    if as_json:
        if only_plan:
            from dataclasses import asdict

            from labelproof.report.experiments.text import total_cost

            runs = [{**asdict(one.plan), "arm": one.todo.arm, "repeat": one.todo.repeat} for one in costs]
            emit_json(
                {
                    "plan": opened.plan.to_json(),
                    "plan_fp": opened.plan.fp,
                    "found": opened.found,
                    "runs": runs,
                    "n_calls": sum(one.plan.n_calls for one in costs),
                    "cost_usd": total_cost(costs),
                }
            )
    else:
        show_plan(console(), opened, costs, only_plan=only_plan)
    return costs


def _agree(opened: Opened, costs: list[ArmCost], *, yes: bool) -> None:
    """Have a person agree to what costs money; a user's error where nobody can be asked."""
    from labelproof.report.experiments.text import total_cost
    from labelproof.spec.errors import ConfigError

    cost, calls = total_cost(costs), sum(one.plan.n_calls for one in costs)
    if yes or not calls or cost == 0.0:
        return
    money = "an unknown price" if cost is None else f"${cost:.4f}"
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise ConfigError(
            f"the experiment would make up to {count(calls)} calls for {money}, and nobody is here to agree; its plan "
            f"{opened.plan.experiment_id} is stored",
            hint="add --yes (and --budget DOLLARS to bound it)",
        )
    if not typer.confirm(f"Make up to {count(calls)} calls for {money}?", err=True):
        console(stderr=True).print(f"nothing was spent; the plan {opened.plan.experiment_id} stays stored")
        raise typer.Exit(EXIT_USER)


def _execute(
    opened: Opened, prefect: Orchestration, batch_size: int, store: str | None, *, quiet: bool
) -> ExperimentResult:
    """Run what is left under Prefect if its API answers (or is started for it), else without it."""
    from labelproof.stack import api_url, find_root, start_server

    root = find_root()
    url = api_url(root) if prefect != "off" and opened.found != "finished" else None
    if url is not None:
        return _orchestrated(opened, root, url, batch_size, store, quiet=quiet)
    if prefect == "start" and opened.found != "finished":
        with start_server(root) as server:
            ready = server.wait_ready(180)
            if ready is not None:
                return _orchestrated(opened, root, ready, batch_size, store, quiet=quiet)
            console(stderr=True).print("[yellow]no Prefect server came up: this is not in its history[/]")
    from labelproof.cli.run import _progress
    from labelproof.report.experiments.run import run_experiment
    from labelproof.store import default_store, open_store

    with open_store(store or default_store()) as opened_store, _progress(quiet=quiet) as listen:
        return run_experiment(opened_store, opened, listen=listen, batch_size=batch_size)


def _orchestrated(
    opened: Opened, root: Path, url: str, batch_size: int, store: str | None, *, quiet: bool
) -> ExperimentResult:
    """Run the Prefect flow in this process against the server at ``url``."""
    from labelproof.stack import prefect_env

    os.environ.update(prefect_env(root, url))
    os.environ.setdefault("PREFECT_LOGGING_LEVEL", "WARNING")
    from agents.run.drive import new_loop_run
    from flows import experiment_flow, label_flow
    from flows.params import ExperimentParams
    from labelproof.cli.run import _progress
    from labelproof.store import default_store

    params = ExperimentParams(
        project=str(opened.folder.folder),
        arms=[arm.ref for arm in opened.plan.arms],
        experiment=opened.plan.experiment_id,
        budget_usd=opened.budget_usd,
        batch_size=batch_size,
        store=store or default_store(),
    )
    with _progress(quiet=quiet) as listen:
        label_flow.LISTENER = listen
        try:
            new_loop_run(experiment_flow.experiment(params))
        except experiment_flow.ExperimentStoppedError:
            pass  # the result below says so
        finally:
            label_flow.LISTENER = None
    found = experiment_flow.last_result()
    assert found is not None
    return found


def _tell(result: ExperimentResult, store: str | None, *, as_json: bool) -> None:
    from labelproof.report.experiments.state import arm_states
    from labelproof.report.experiments.text import result_json
    from labelproof.store import default_store, open_store

    with open_store(store or default_store()) as opened:
        states = arm_states(opened, result.plan)
    if as_json:
        emit_json(result_json(result, states))
    else:
        show_result(console(), result, states)


def _who() -> str:
    """Return the account that runs this command, for the record."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a container's user may have no name
        return f"uid {os.getuid()}"
