"""`labelproof run`, `plan` and `demo`: label items, or say first what it would take."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from labelproof.cli._common import EXIT_NO, command_name, console, emit_json, user_errors
from labelproof.cli._watch import show_watch, watch, watch_json

if TYPE_CHECKING:
    from agents.run.plan import Plan
    from agents.run.session import LabelRequest, LabelSession
    from labelproof.report.monitor.run import AfterRun
    from labelproof.report.run_report import RunReport
    from labelproof.stack import ServerHandle

DEMO_PROJECT = "content_safety"
Orchestration = Literal["auto", "start", "off"]

ProjectArgument = Annotated[str, typer.Argument(help="Project name or folder.", envvar="LABELPROOF_PROJECT")]
StrategyOption = Annotated[
    str | None, typer.Option("--strategy", "-s", help="Strategy name or file; default: the project's.")
]
LimitOption = Annotated[int | None, typer.Option(min=1, help="Label only the first N items.")]
BatchOption = Annotated[int, typer.Option(min=1, max=5000, help="Items per batch (and Prefect task).")]
RepeatOption = Annotated[
    int, typer.Option(min=0, help="Ask the models anew: an A/A rerun has its own number.")
]
CostOption = Annotated[
    float | None, typer.Option("--max-cost-usd", min=0, help="Stop, resumable, before this is exceeded.")
]
StoreOption = Annotated[
    str | None,
    typer.Option(
        "--store", help="Trace store path or URL; default: .labelproof/store.", envvar="LABELPROOF_STORE"
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")]
PrefectOption = Annotated[
    Orchestration,
    typer.Option(
        "--prefect",
        help="auto: record in Prefect if a server is up; start: start one meanwhile, stop it at the end; "
        "off: never.",
    ),
]


def run(
    project: ProjectArgument,
    strategy: StrategyOption = None,
    limit: LimitOption = None,
    batch_size: BatchOption = 200,
    repeat: RepeatOption = 0,
    max_cost_usd: CostOption = None,
    store: StoreOption = None,
    plan: Annotated[bool, typer.Option("--plan", help="Only say what it would do and cost.")] = False,
    queue: Annotated[
        bool | None,
        typer.Option(
            "--queue/--no-queue",
            help="Put what the machine may not decide into the review queue.  "
            "[default: for the project's default strategy]",
        ),
    ] = None,
    rollout: Annotated[
        bool,
        typer.Option(
            "--rollout/--no-rollout",
            help="Follow a roll-out under way (shadow or canary); with --strategy none is followed.",
        ),
    ] = True,
    prefect: PrefectOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Label a project's items with a strategy, route them, and score the result on gold.

    What is stored is not paid again: a run that was killed goes on where it stopped, and a second run
    reuses every answer. Exit code 1: the run stopped early (provider down, budget reached).
    """
    with user_errors(as_json=as_json):
        request = _request(project, strategy, limit, batch_size, repeat, max_cost_usd, store, queue=queue)
        if plan:
            _show_plan(_planned(request), as_json=as_json)
            return
        report, watched = _execute(request, prefect, quiet=as_json, follow=rollout and strategy is None)
        _end(report, watched, ("--strategy", strategy), ("--store", store), as_json=as_json)


def plan(
    project: ProjectArgument,
    strategy: StrategyOption = None,
    limit: LimitOption = None,
    repeat: RepeatOption = 0,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say how many items, calls, tokens, dollars and minutes a run would take; spend nothing."""
    with user_errors(as_json=as_json):
        request = _request(project, strategy, limit, 200, repeat, None, store)
        _show_plan(_planned(request), as_json=as_json)


def demo(
    limit: LimitOption = None,
    store: StoreOption = None,
    prefect: PrefectOption = "start",
    as_json: JsonOption = False,
) -> None:
    """Run the main job on the bundled project with the embedded model: no key, no server, no GPU."""
    with user_errors(as_json=as_json):
        request = _request(DEMO_PROJECT, None, limit, 50, 0, None, store)
        planned = _planned(request)
        if not as_json:
            err = console(stderr=True)
            err.print(f"[bold]Labelproof demo[/]: {planned.n_items} items of projects/{DEMO_PROJECT}")
            if planned.n_calls:
                err.print(
                    f"The embedded model has {planned.n_calls} items to read, about "
                    f"{_duration(planned.seconds)} on two cores; the second run takes seconds."
                )
        report, watched = _execute(request, prefect if planned.n_calls else "auto", quiet=as_json)
        _end(report, watched, ("--store", store), as_json=as_json)


def _end(report: RunReport, watched: AfterRun | None, *chosen: tuple[str, str | None], as_json: bool) -> None:
    if as_json:
        emit_json({**report.to_json(), **watch_json(watched)})
    else:
        _show_report(report, *chosen)
        show_watch(watched)
    if report.summary.get("stopped"):
        raise typer.Exit(EXIT_NO)


def _request(
    project: str,
    strategy: str | None,
    limit: int | None,
    batch_size: int,
    repeat: int,
    max_cost_usd: float | None,
    store: str | None,
    *,
    queue: bool | None = None,
) -> LabelRequest:
    from agents.run.session import LabelRequest
    from labelproof.store import default_store

    return LabelRequest(
        project=project,
        strategy=strategy,
        limit=limit,
        batch_size=batch_size,
        repeat=repeat,
        max_cost_usd=max_cost_usd,
        store=store or default_store(),
        queue=queue,
    )


def _planned(request: LabelRequest) -> Plan:
    from agents.run.plan import plan_run
    from agents.run.workload import load_workload
    from labelproof.store import default_store, open_store

    work = load_workload(request.project, request.strategy, limit=request.limit)
    with open_store(request.store or default_store()) as store:
        return plan_run(request, work, store)


def _execute(
    request: LabelRequest, prefect: Orchestration, *, quiet: bool, follow: bool = False
) -> tuple[RunReport, AfterRun | None]:
    """Run under Prefect if its API answers, else at once without it, handing over if one is starting.

    ``follow``: a roll-out of the project under way.
    """
    from labelproof.stack import api_url, find_root, start_server

    root = find_root()
    url = api_url(root) if prefect != "off" else None
    if url is not None:
        return _orchestrated(request, root, url, quiet=quiet, follow=follow)
    if prefect != "start":
        if not quiet:
            why = (
                "--prefect off"
                if prefect == "off"
                else f"no Prefect server is up; `{command_name()} up` starts one"
            )
            console(stderr=True).print(f"[dim]this run is not in Prefect's history ({why})[/]")
        report = _plain(request, quiet=quiet, follow=follow)
        assert report is not None
        return report
    with start_server(root) as server:
        report = _plain(request, quiet=quiet, follow=follow, hand_over=_ready(server, quiet=quiet))
        if report is not None:
            return report
        ready = server.poll_ready()
        assert ready is not None  # that is why the run was handed over
        return _orchestrated(request, root, ready, quiet=quiet, follow=follow)


def _ready(server: ServerHandle, *, quiet: bool) -> Callable[[], bool]:
    """Return a check whether the server can take the run over; one that failed never can, and it is said once."""
    from labelproof.stack import StackError

    failed = False

    def check() -> bool:
        nonlocal failed
        if failed:
            return False
        try:
            return server.poll_ready() is not None
        except StackError as error:
            failed = True
            if not quiet:
                console(stderr=True).print(f"[yellow]no Prefect history for this run:[/] {error.message}")
            return False

    return check


def _plain(
    request: LabelRequest, *, quiet: bool, follow: bool, hand_over: Callable[[], bool] | None = None
) -> tuple[RunReport, AfterRun | None] | None:
    from functools import partial

    from agents.run.drive import drive, new_loop_run
    from labelproof.report.rollouts.production import open_production, run_production
    from labelproof.report.run_report import run_report

    production = open_production(request, follow=follow)
    with _progress(quiet=quiet) as listen:

        async def run_one(session: LabelSession) -> Mapping[str, Any] | None:
            session.listen(listen(session))
            return await drive(session)

        production.champion.listen(listen(production.champion))
        first = partial(drive, hand_over=hand_over)
        summary = new_loop_run(run_production(production, first, run_other=run_one))
    if summary is None:
        return None
    champion = production.champion
    return run_report(production.store, champion.work, summary), watch(champion)


def _orchestrated(
    request: LabelRequest, root: Path, url: str, *, quiet: bool, follow: bool
) -> tuple[RunReport, AfterRun | None]:
    """Run the Prefect flow in this process against the server at ``url``."""
    from labelproof.stack import prefect_env

    os.environ.update(prefect_env(root, url))
    os.environ.setdefault("PREFECT_LOGGING_LEVEL", "WARNING")
    from dataclasses import asdict

    from agents.run.drive import new_loop_run
    from flows import label_flow
    from flows.params import LabelParams

    values = {k: v for k, v in asdict(request).items() if v is not None}
    with _progress(quiet=quiet) as listen:
        label_flow.LISTENER = listen
        try:
            new_loop_run(label_flow.label(LabelParams(**values, rollout=follow)))
        except label_flow.RunStoppedError:
            pass  # the report below says so
        finally:
            label_flow.LISTENER = None
    report = label_flow.last_report()
    assert report is not None
    return report, label_flow.last_watch()


@contextmanager
def _progress(*, quiet: bool) -> Iterator[Callable[[LabelSession], Callable[[], None]]]:
    """Draw a bar with rate, cost and time left on stderr; yields what a session is given to report to."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    bar = Progress(
        TextColumn("[bold]labeling"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TextColumn("{task.fields[cost]}"),
        TimeRemainingColumn(elapsed_when_finished=True),
        console=console(stderr=True),
        transient=True,
        disable=quiet,
        refresh_per_second=4,
    )

    def listen(session: LabelSession) -> Callable[[], None]:
        distinct = {i.id for i in session.work.items} | {i.id for i in session.work.gold_items("calibration")}
        task = bar.add_task("labeling", total=len(distinct), rate="", cost="")

        def on_item() -> None:
            counts = session.counts
            live = bar.tasks[task]
            speed = f"{live.speed:.1f} items/s" if live.speed else ""
            cost = f"${counts.cost_usd:.4f}" if counts.cost_usd else f"{counts.model_calls} calls"
            bar.update(task, advance=1, rate=speed, cost=cost)

        return on_item

    with bar:
        yield listen


def _show_plan(planned: Plan, *, as_json: bool, only_plan: bool = True) -> None:
    from dataclasses import asdict

    if as_json:
        extra = {"n_calls": planned.n_calls, "cost_usd": planned.cost_usd, "seconds": planned.seconds}
        emit_json({**asdict(planned), **extra})
        return
    from rich.table import Table

    from labelproof.spec.hashing import short

    out = console()
    out.print(
        f"[bold]{planned.project}[/] · {planned.strategy}@{short(planned.strategy_fp)} · {planned.n_items} items"
        + (f", {planned.n_rows_skipped} malformed rows" if planned.n_rows_skipped else "")
        + f", {planned.n_calibration} gold items to calibrate on"
    )
    table = Table("step", "model", "calls", "reused", "tokens in", "tokens out", "cost", "time", box=None)
    for step in planned.steps:
        most = "≤ " if step.upper_bound and step.n_calls else ""
        table.add_row(
            step.step,
            step.model,
            f"{most}{step.n_calls:,}",
            f"{step.n_reused:,}",
            f"{step.tokens_in:,}",
            f"{step.tokens_out:,}",
            "unknown" if step.cost_usd is None else f"${step.cost_usd:.4f}",
            _duration(step.seconds),
        )
    out.print(table)
    cost = "unknown: no price for the model" if planned.cost_usd is None else f"${planned.cost_usd:.4f}"
    out.print(
        f"In all: {planned.n_calls:,} calls, {cost}, about {_duration(planned.seconds)}."
        + (" Nothing was spent." if only_plan else "")
    )


def _show_report(report: RunReport, *chosen: tuple[str, str | None]) -> None:
    """Print a report; ``chosen`` flags are repeated in the commands it suggests."""
    from rich.markup import escape
    from rich.table import Table

    from labelproof.spec.hashing import short

    out = console()
    s = report.summary
    head = f"[bold]{s['project']}[/] · {s['strategy']}@{short(s['strategy_fp'])} · run {s['run_id']}"
    out.print()
    out.print(head + (" (resumed)" if s["resumed"] else ""))
    if s.get("stopped"):
        out.print(f"[bold red]Stopped:[/] {escape(str(s['stopped']))}")
        out.print(escape(str(s.get("hint") or "run the same command to go on")) + "; what is done is stored.")
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    table.add_column(style="bold", no_wrap=True)
    table.add_column()
    for heading, text in report.lines():
        table.add_row(heading, escape(text))
    table.add_row("Trace", escape(report.store))
    out.print(table)
    name, project = command_name(), s["project"]
    asked = "".join(f" {flag} {value}" for flag, value in chosen if value)
    out.print("\n[bold]Next[/]")
    if report.example_item:
        out.print(
            f"  {name} trace {project} {report.example_item}{asked}   [dim]every step behind one label[/]"
        )
    if report.score is not None:
        out.print(f"  {name} score {project}{asked}   [dim]all metrics, per class and slice[/]")
    if not s.get("stopped"):
        out.print(f"  {name} export {project}{asked} --to labels.csv   [dim]labels with provenance[/]")
    if report.n_waiting:
        out.print(f"  {name} serve {project}   [dim]the review queue in the browser[/]")
    out.print(f"  {name} up   [dim]Prefect UI with the history of runs[/]")


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
