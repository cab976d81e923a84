"""`labelproof optimize`: search for a better strategy on tuning gold, and confirm the best on gold nobody looked at."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from labelproof.cli._common import console, emit_json, user_errors
from labelproof.cli.run import JsonOption, ProjectArgument, StoreOption

if TYPE_CHECKING:
    from agents.run.session import LabelSession
    from labelproof.report.optimize.plan import Prepared
    from labelproof.store import TraceStore

ALL_FAMILIES = "few_shot,instructions,guideline,calibrate,consensus,cascade"


def optimize(
    project: ProjectArgument,
    budget: Annotated[
        float | None,
        typer.Option(
            "--budget",
            min=0,
            help="US dollars at most, confirmation included; needed unless models are free.",
        ),
    ] = None,
    base: Annotated[
        str | None, typer.Option("--base", help="Strategy to start from; default: the project's.")
    ] = None,
    candidates: Annotated[int, typer.Option(min=1, max=64, help="Strategies to try besides the base.")] = 12,
    rounds: Annotated[
        int | None, typer.Option(min=1, max=8, help="Rounds of halving; default: as many as gold supports.")
    ] = None,
    space: Annotated[str, typer.Option(help="What may change, separated by commas.")] = ALL_FAMILIES,
    metric: Annotated[
        str | None, typer.Option(help="What is ranked by; default: experiments.primary of the project.")
    ] = None,
    writer: Annotated[
        str | None, typer.Option(help="Model that writes instructions; default: the base's main model.")
    ] = None,
    max_calls: Annotated[
        int | None, typer.Option(min=1, help="Model calls of the search at most: fewer items are judged on.")
    ] = None,
    top: Annotated[int, typer.Option(min=1, max=5, help="Winners to write and confirm.")] = 1,
    name: Annotated[str | None, typer.Option(help="Name of the winner's file in strategies/.")] = None,
    seed: Annotated[int, typer.Option(help="Draws candidates and the order of items.")] = 0,
    confirm: Annotated[
        bool,
        typer.Option("--confirm/--no-confirm", help="Run an experiment of base and winner on gold test."),
    ] = True,
    plan: Annotated[bool, typer.Option("--plan", help="Only say what it would try and cost.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask before it starts.")] = False,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Search for a better strategy: candidates are judged on tuning gold, the best is confirmed on fresh gold.

    Candidates change examples, instructions (written by a model from gold mistakes), guideline, calibration, consensus
    or cascade; successive halving gives more items to the better half. Gold of the splits certify and test is not
    read. What is done is stored: the same command goes on where it stopped. Exit code 0: a winner (confirmed ones
    ship); 1: none, stopped, or a regression; 2: confirmed as inconclusive.
    """
    with user_errors(as_json=as_json):
        from agents.search.space import parse_families
        from labelproof.report.optimize.model import SearchRequest
        from labelproof.report.optimize.plan import is_free, prepare
        from labelproof.spec.errors import ConfigError
        from labelproof.spec.project import find_project
        from labelproof.store import default_store, open_store

        request = SearchRequest(
            base=base,
            candidates=candidates,
            rounds=rounds,
            seed=seed,
            space=parse_families(space),
            budget_usd=budget,
            max_calls=max_calls,
            metric=metric,
            writer=writer,
            name=name,
            top=top,
        )
        ready = prepare(find_project(project), request)
        with open_store(store or default_store()) as opened:
            if plan:
                _show_plan(opened, ready, as_json=as_json)
                return
            if budget is None and not is_free(ready):
                raise ConfigError(
                    "a model of this search costs money: expected a limit in US dollars",
                    hint="--budget 5, or --plan to see what it would cost",
                )
            if not yes and not as_json and sys.stdin.isatty():
                _show_plan(opened, ready, as_json=False)
                typer.confirm("Start?", abort=True, err=True)
            code = _run(opened, ready, confirmed=confirm, as_json=as_json)
        if code:
            raise typer.Exit(code)


def _run(store: TraceStore, ready: Prepared, *, confirmed: bool, as_json: bool) -> int:
    from datetime import UTC, datetime

    from labelproof.report.optimize.run import run_search
    from labelproof.report.optimize.text import render

    with _progress(quiet=as_json) as listen:
        report = run_search(store, ready, listen=listen)
        if confirmed and report.winners:
            from labelproof.report.optimize.confirm import confirm as confirm_winner

            report = confirm_winner(store, ready, report, now=datetime.now(UTC), listen=listen)
    if as_json:
        emit_json(report.to_json())
    else:
        out = console()
        for part in render(report):
            out.print(part)
    return report.exit_code


def _show_plan(store: TraceStore, ready: Prepared, *, as_json: bool) -> None:
    from labelproof.report.optimize.plan import estimate
    from labelproof.report.optimize.text import plan_lines

    cost_usd, seconds = estimate(store, ready)
    if as_json:
        extra = {"search_id": ready.plan.search_id, "cost_usd": cost_usd, "seconds": seconds}
        emit_json({**ready.plan.to_json(), **extra})
        return
    out = console()
    for part in plan_lines(ready.plan, cost_usd, seconds, budget_usd=ready.request.budget_usd):
        out.print(part)


@contextmanager
def _progress(*, quiet: bool) -> Iterator[Callable[[LabelSession], Callable[[], None]]]:
    """Draw one bar for the arm under way on stderr; yields what a session is given to report to."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    bar = Progress(
        TextColumn("[bold]{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[arms]}"),
        TimeElapsedColumn(),
        console=console(stderr=True),
        transient=True,
        disable=quiet,
        refresh_per_second=4,
    )
    task = bar.add_task("search", total=None, arms="")
    seen = 0

    def listen(session: LabelSession) -> Callable[[], None]:
        nonlocal seen
        seen += 1
        arm = session.run.arm
        items = {i.id for i in session.work.items} | {i.id for i in session.work.gold_items("calibration")}
        bar.update(
            task, description=arm.name if arm else "run", completed=0, total=len(items), arms=f"{seen} arms"
        )
        return lambda: bar.update(task, advance=1)

    with bar:
        yield listen
