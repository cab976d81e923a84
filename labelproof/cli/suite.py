"""`labelproof suite`: behavioural tests of a strategy, and what they found."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from labelproof.cli._common import (
    EXIT_NO,
    EXIT_USER,
    command_name,
    console,
    emit_json,
    user_errors,
    write_page,
)
from labelproof.cli.run import CostOption, JsonOption, ProjectArgument, StoreOption

if TYPE_CHECKING:
    from agents.run.plan import Plan
    from labelproof.report.suites.latest import SuiteGuardrail
    from labelproof.report.suites.run import SuiteResult

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    help="Test how a strategy behaves: changes that must not matter, attacks, groups, cases with a known label.",
)


@app.command()
def run(
    project: ProjectArgument,
    suite: Annotated[
        str, typer.Argument(help="robustness, bias, injection, functional, a file of cases (.csv), or all.")
    ] = "all",
    *,
    strategy: Annotated[
        str | None,
        typer.Option("--strategy", "-s", help="Name, NAME@VERSION or @VERSION; default: the project's."),
    ] = None,
    n: Annotated[
        int, typer.Option(min=1, help="Base items (or sets of templates) at most, per suite.")
    ] = 100,
    seed: Annotated[int, typer.Option(help="Another number draws other items and other changes.")] = 0,
    target: Annotated[
        str | None,
        typer.Option(
            help="The label attackers want; default: the one named safe, none, benign, …, else the first."
        ),
    ] = None,
    plan: Annotated[bool, typer.Option("--plan", help="Only say what it would do and cost.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask before model calls.")] = False,
    html: Annotated[Path | None, typer.Option("--html", help="Write the result as one HTML page.")] = None,
    max_cost_usd: CostOption = None,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Run suites of behavioural tests against one strategy version and store the result.

    Cases are labelled like items, but are none: nothing is decided and nobody is asked. An unchanged strategy runs
    again for free. Exit 0: no guardrail on a suite (`experiments.guardrails`) is broken; 1: one is broken, the strategy is
    proven worse than the one in use by more than the margin; 2: something must be fixed.
    """
    with user_errors(as_json=as_json):
        from datetime import UTC, datetime

        from agents.rehydrate import workload_of
        from labelproof.cli.run import _progress
        from labelproof.report.suites.after import guardrails_of, open_findings
        from labelproof.report.suites.cases import build_suite, chosen_sources
        from labelproof.report.suites.run import plan_suites, run_suites
        from labelproof.spec.project import find_project
        from labelproof.store import default_store, open_store

        folder = find_project(project)
        with open_store(store or default_store()) as opened:
            work = workload_of(opened, project, strategy or folder.spec.default_strategy)
            sources = chosen_sources(folder, suite)
            suites = [build_suite(source, work, n=n, seed=seed, target=target) for source in sources]
            planned = plan_suites(opened, work, suites)
            if plan:
                _show_plan(planned, {one.name: len(one.cases) for one in suites}, as_json=as_json)
                return
            _agree(planned, {one.name: len(one.cases) for one in suites}, yes=yes, quiet=as_json)
            with _progress(quiet=as_json) as listen:
                results = run_suites(
                    opened,
                    work,
                    suites,
                    now=datetime.now(UTC),
                    seed=seed,
                    target=target,
                    max_cost_usd=max_cost_usd,
                    listen=listen,
                )
            guardrails = guardrails_of(opened, work, [one.name for one in suites])
            findings = open_findings(opened, work, results, guardrails, now=datetime.now(UTC))
        _show(results, guardrails, html, as_json=as_json)
        if findings and not as_json:
            for one in findings:
                console().print(
                    f"finding: {command_name()} findings show {one}", markup=False, soft_wrap=True
                )
        if any(found.state == "broken" for found in guardrails):
            raise typer.Exit(EXIT_NO)


@app.command("list")
def list_suites(project: ProjectArgument, store: StoreOption = None, as_json: JsonOption = False) -> None:
    """List a project's suites and the newest result of each strategy version."""
    with user_errors(as_json=as_json):
        from labelproof.report.suites.cases import suite_sources
        from labelproof.report.suites.stored import stored_runs
        from labelproof.report.suites.text import suite_list
        from labelproof.spec.project import find_project
        from labelproof.store import default_store, open_store

        folder = find_project(project)
        sources = suite_sources(folder)
        with open_store(store or default_store()) as opened:
            runs = stored_runs(opened, folder.name)
        if as_json:
            emit_json(
                {
                    "suites": [{"suite": one.name, "about": one.about} for one in sources],
                    "runs": [one.to_json() for one in runs],
                }
            )
            return
        known = {source.name for source in sources}
        extra = dict.fromkeys(one.suite for one in runs if one.suite not in known)
        rows = [(source.name, source.about) for source in sources] + [
            (name, "a file of cases") for name in extra
        ]
        newest = {one.suite: one.headline for one in reversed(runs)}
        out = console()
        out.print(suite_list([(name, about, newest.get(name)) for name, about in rows]))
        for one in runs:
            out.print(f"[dim]{one.suite_run_id}  {one.at:%Y-%m-%d %H:%M}[/]  ", end="")
            out.print(f"{one.suite}: {one.headline}", markup=False)


@app.command()
def show(
    run: Annotated[str, typer.Argument(help="Id of a suite run, or its beginning; `suite list` shows them.")],
    *,
    failed: Annotated[bool, typer.Option("--failed", help="All failed cases with their text.")] = False,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show a stored suite run: failure rates by functionality, or every failed case."""
    with user_errors(as_json=as_json):
        from labelproof.report.suites.stored import load_run, render_cases, render_run, stored_cases
        from labelproof.store import default_store, open_store

        with open_store(store or default_store(), create=False) as opened:
            found = load_run(opened, run)
            cases = stored_cases(opened, found.suite_run_id, failed=True) if failed else []
        if as_json:
            emit_json({**found.summary, **({"failed": cases} if failed else {})})
            return
        out = console()
        for part in render_run(found):
            out.print(part)
        if failed:
            for line in render_cases(cases):
                out.print(line, soft_wrap=True)
        elif found.n_failed:
            out.print(
                f"\n[dim]{command_name()} suite show {found.suite_run_id} --failed[/] lists the failed cases"
            )


def _show_plan(planned: Plan, cases: dict[str, int], *, as_json: bool, only_plan: bool = True) -> None:
    from labelproof.cli.run import _show_plan as show_calls

    if not as_json:
        listed = ", ".join(f"{name} {n:,}" for name, n in cases.items())
        console().print(
            f"[bold]{sum(cases.values()):,}[/] cases: {listed}; with their bases each text is read once",
            highlight=False,
        )
        show_calls(planned, as_json=False, only_plan=only_plan)
        return
    from dataclasses import asdict

    extra = {"n_calls": planned.n_calls, "cost_usd": planned.cost_usd, "seconds": planned.seconds}
    emit_json({"cases": cases, **asdict(planned), **extra})


def _agree(planned: Plan, cases: dict[str, int], *, yes: bool, quiet: bool) -> None:
    """Show what it takes; on a terminal ask before model calls, elsewhere demand --yes for what may cost money."""
    import sys

    from labelproof.spec.errors import ConfigError

    if not quiet and planned.n_calls:
        _show_plan(planned, cases, as_json=False, only_plan=False)
    if yes or planned.n_calls == 0:
        return
    if not quiet and sys.stdin.isatty():
        if not typer.confirm(f"Make up to {planned.n_calls:,} model calls?", err=True):
            raise typer.Exit(EXIT_USER)
        return
    if planned.cost_usd != 0:
        cost = "an unknown sum" if planned.cost_usd is None else f"${planned.cost_usd:.2f}"
        raise ConfigError(
            f"{planned.n_calls:,} model calls for about {cost} need a yes",
            hint="add --yes, or --plan to see the plan, or a smaller --n",
        )


def _show(
    results: Sequence[SuiteResult],
    guardrails: Sequence[SuiteGuardrail],
    page: Path | None,
    *,
    as_json: bool,
) -> None:
    from dataclasses import asdict

    from labelproof.report.suites.text import guardrail_line, render

    if page is not None:
        from labelproof.report.suites.page import page_html

        write_page(page, page_html(results, guardrails))
    if as_json:
        found: dict[str, Any] = {
            "results": [result.to_json() for result in results],
            "guardrails": [asdict(guardrail) for guardrail in guardrails],
            "html": None if page is None else str(page),
        }
        emit_json(found)
        return
    out = console()
    for result in results:
        for part in render(result):
            out.print(part)
    colours = {"broken": "bold red", "holds": "green", "unproven": "yellow", "not measured": "yellow"}
    for guardrail in guardrails:
        out.print(guardrail_line(guardrail), style=colours[guardrail.state], markup=False, soft_wrap=True)
    name = command_name()
    for result in results:
        if result.score.total.n_failed:
            out.print(f"[dim]{name} suite show {result.suite_run_id} --failed[/]   every failed case")
    if page is not None:
        out.print(f"page: {page}", markup=False, soft_wrap=True)
