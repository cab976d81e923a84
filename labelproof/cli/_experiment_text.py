"""How the commands of `labelproof experiment` look in the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from labelproof.cli._common import command_name

if TYPE_CHECKING:
    from rich.console import Console

    from labelproof.report.experiments.labels import LabelStatus
    from labelproof.report.experiments.opening import Opened
    from labelproof.report.experiments.run import ArmCost, ExperimentResult
    from labelproof.report.experiments.state import ArmState

COLOURS = {"SHIP": "green", "REGRESSION": "red", "INCONCLUSIVE": "yellow"}


def show_plan(out: Console, opened: Opened, costs: Sequence[ArmCost], *, only_plan: bool) -> None:
    """Print the plan and what is still to be spent."""
    from labelproof.report.experiments.text import COST_COLUMNS, cost_rows, cost_sentence, plan_lines

    plan = opened.plan
    told = {
        "new": "planned",
        "unfinished": "found unfinished: it goes on",
        "finished": "has ended: nothing is run again",
    }
    _head(out, plan.experiment_id, plan.project, plan.name, told[opened.found])
    if opened.found == "finished":
        return
    _lines(out, plan_lines(plan, budget_usd=opened.budget_usd))
    if costs:
        _table(out, COST_COLUMNS, cost_rows(costs))
    out.print(cost_sentence(costs, opened.budget_usd))
    if only_plan:
        out.print("The plan is stored; nothing was spent. The same command without --plan runs it.")


def show_result(out: Console, result: ExperimentResult, states: Sequence[ArmState]) -> None:
    """Print what an experiment came to, every comparison in full, and what to do now."""
    from rich.markup import escape

    plan = result.plan
    if result.stopped:
        out.print(f"\n[bold red]Stopped:[/] {escape(result.stopped)}")
        if result.hint:
            out.print(f"  {escape(result.hint)}")
        out.print("What is done is stored; nothing was compared yet.")
        _progress(out, states)
    for report in result.reports:
        from labelproof.report.compare.text import render

        out.print()
        out.print(render(report))
    if result.outcomes and (len(result.outcomes) > 1 or not result.reports):
        _outcomes(out, result)
    out.print(f"\nExperiment {plan.experiment_id}: ${result.spent_usd:.4f} spent")
    _next(out, result, states)


def show_standing(out: Console, result: ExperimentResult, states: Sequence[ArmState]) -> None:
    """Print the plan, the arms' progress and, once it has ended, the result."""
    from rich.markup import escape

    from labelproof.report.experiments.text import plan_lines

    plan, standing = result.plan, result.standing
    _head(out, plan.experiment_id, plan.project, plan.name, standing.state)
    if standing.reason:
        out.print(escape(standing.reason))
    _lines(out, plan_lines(plan))
    _progress(out, states)
    if result.outcomes:
        _outcomes(out, result)
    else:
        out.print("No result yet: arms are compared once, when all have answered.")
    out.print(f"\n${result.spent_usd:.4f} spent")
    _next(out, result, states)


def show_labels(out: Console, status: LabelStatus) -> None:
    """Print how far people have decided between two arms."""
    from labelproof.report.experiments.text import label_lines

    _head(out, status.experiment_id, status.project, f"{status.arm_b} vs {status.arm_a}", "labels of people")
    if status.n_new:
        out.print(f"{status.n_new} new tasks in the review queue")
    if status.n_closed_now:
        out.print(f"{status.n_closed_now} tasks closed: nobody has to answer them any more")
    _lines(out, label_lines(status))
    name = command_name()
    out.print("\n[bold]Next[/]")
    if status.n_open:
        out.print(f"  {name} serve {status.project}   [dim]people answer[/]")
    if not status.stopped:
        out.print(f"  {name} experiment label {status.experiment_id}   [dim]look again, any time[/]")
    else:
        out.print(f"  {name} experiment show {status.experiment_id}   [dim]the plan and its arms[/]")


def _head(out: Console, experiment_id: str, project: str, name: str, told: str) -> None:
    from rich.markup import escape

    out.print(f"[bold]{escape(project)}[/] · {escape(name)} · {experiment_id} · {escape(told)}")


def _lines(out: Console, lines: Sequence[tuple[str, str]]) -> None:
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    table.add_column(style="bold", no_wrap=True)
    table.add_column()
    for heading, text in lines:
        table.add_row(escape(heading), escape(text))
    out.print(table)


def _table(out: Console, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    from rich.markup import escape
    from rich.table import Table

    table = Table(*columns, box=None)
    for row in rows:
        table.add_row(*(f"[{COLOURS[cell]}]{cell}[/]" if cell in COLOURS else escape(cell) for cell in row))
    out.print(table)


def _outcomes(out: Console, result: ExperimentResult) -> None:
    from labelproof.report.experiments.text import OUTCOME_COLUMNS, outcome_rows

    out.print()
    _table(out, OUTCOME_COLUMNS, outcome_rows(result.outcomes))


def _progress(out: Console, states: Sequence[ArmState]) -> None:
    from labelproof.report.experiments.text import arm_lines

    _lines(out, arm_lines(states))


def _next(out: Console, result: ExperimentResult, states: Sequence[ArmState]) -> None:
    from rich.markup import escape

    from labelproof.report.experiments.text import next_commands

    out.print("[bold]Next[/]")
    for command, why in next_commands(result, states, command_name()):
        out.print(f"  {escape(command)}   [dim]{escape(why)}[/]", soft_wrap=True)
