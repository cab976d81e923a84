"""`labelproof explain`: which change between two strategies made the difference, and how much of it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from labelproof.cli._common import console, emit_json, user_errors
from labelproof.cli._projects import ProjectOption, project_of
from labelproof.cli.run import CostOption, JsonOption, StoreOption

if TYPE_CHECKING:
    from rich.console import Console

    from agents.run.session import LabelSession
    from labelproof.report.explain import Explanation
    from labelproof.report.replay import ReplayPlan

_BAR = 24
REF_HELP = "NAME, NAME@FINGERPRINT, @FINGERPRINT or FINGERPRINT (4 digits or more)."


def explain(
    a: Annotated[str, typer.Argument(help=f"Strategy to start from: {REF_HELP}")],
    b: Annotated[str, typer.Argument(help="Strategy it became.", metavar="B")],
    project: ProjectOption = None,
    metric: Annotated[
        str | None,
        typer.Option(
            "--metric", "-m", help="What is divided, e.g. macro_f1; default: the project's primary."
        ),
    ] = None,
    gold: Annotated[str, typer.Option("--gold", help="Gold split to explain on.")] = "test",
    plan: Annotated[bool, typer.Option("--plan", help="Only say what it would ask and cost.")] = False,
    yes: Annotated[
        bool, typer.Option("--yes", "-y", help="Make the new model calls without asking.")
    ] = False,
    hybrids: Annotated[bool, typer.Option("--hybrids", help="Show the value of every mixture.")] = False,
    max_cost_usd: CostOption = None,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Divide the difference between two strategies among what changed: prompt, model, examples, calibration, routing.

    Every mixture of A's and B's components is replayed on the same gold items; stored steps cost nothing, and what is
    still to ask is said first. The shares (Shapley values) sum to the difference, with 95 % intervals over items.
    """
    with user_errors(as_json=as_json):
        from datetime import UTC, datetime

        from agents.rehydrate import workload_of
        from labelproof.report.explain import evidence_of, plan_explanation, plan_json, record_looks
        from labelproof.report.explain import explain as explain_difference
        from labelproof.spec.hashing import short
        from labelproof.spec.metrics import parse_metric
        from labelproof.store import default_store, open_store

        folder = project_of(project, (a, b), store=store)
        policy = folder.spec.experiments
        now = datetime.now(UTC)
        wanted = parse_metric(metric or policy.primary)
        place = str(folder.folder)
        with open_store(store or default_store()) as opened:
            work_a, work_b = (workload_of(opened, place, ref) for ref in (a, b))
            evidence = evidence_of(work_a, work_b, gold, cluster=policy.cluster)
            planned = plan_explanation(opened, work_a, work_b, evidence.items)
            if not as_json:
                names = [
                    f"{work.strategy.name}@{short(work.resolved.fingerprint)}" for work in (work_a, work_b)
                ]
                _show_plan(console(), planned, names, gold)
            if plan:
                if as_json:
                    emit_json(plan_json(planned))
                return
            _agree(planned, yes=yes, as_json=as_json)
            with _progress(quiet=as_json) as (listen, begin):
                found = explain_difference(
                    opened,
                    work_a,
                    work_b,
                    evidence.items,
                    evidence.labels,
                    metric=wanted,
                    now=now,
                    split=gold,
                    gold_fp=evidence.gold_fp,
                    weight=evidence.weight,
                    cluster=evidence.cluster,
                    notes=evidence.notes,
                    plan=planned,
                    max_cost_usd=max_cost_usd,
                    listen=listen,
                    begin=begin,
                )
            record_looks(opened, (work_a, work_b), evidence, now)
        if as_json:
            emit_json(found.to_json())
        else:
            _show(console(), found, hybrids=hybrids)


def _agree(planned: ReplayPlan, *, yes: bool, as_json: bool) -> None:
    """Ask before new calls are made; ``ConfigError`` where nobody can be asked."""
    from labelproof.spec.errors import ConfigError

    if yes or not planned.n_new_calls:
        return
    if as_json or not sys.stdin.isatty():
        raise ConfigError(
            f"explaining this needs {_calls(planned)} ({_money(planned.cost_usd)})",
            hint="add --yes to make them, --max-cost-usd to bound them, or --plan to see them",
        )
    typer.confirm("Make these calls?", abort=True, err=True)


def _show_plan(out: Console, planned: ReplayPlan, names: list[str], gold: str) -> None:
    from rich.markup import escape

    out.print(
        f"[bold]explain[/] {escape(names[0])} → {escape(names[1])} · {planned.n_items} items of {escape(gold)}"
    )
    changed = " · ".join(component.words for component in planned.components)
    out.print(f"[bold]CHANGED[/]  {escape(changed) or 'nothing: both are the same version'}", soft_wrap=True)
    if planned.components:
        what = f"{len(planned.hybrids)} mixtures, {_calls(planned)}"
        if planned.n_new_calls:
            what += f", {_money(planned.cost_usd)}, about {_duration(planned.seconds)}"
        out.print(f"[bold]PLAN[/]     {what}")


def _calls(planned: ReplayPlan) -> str:
    if not planned.n_new_calls:
        return "no new model calls"
    most = "at most " if planned.upper_bound else ""
    return f"{most}{planned.n_new_calls:,} new model calls"


def _money(cost_usd: float | None) -> str:
    return "cost unknown: no price for a model" if cost_usd is None else f"${cost_usd:.4f}"


def _duration(seconds: float) -> str:
    from labelproof.cli.run import _duration as in_words

    return in_words(seconds)


def _show(out: Console, found: Explanation, *, hybrids: bool) -> None:
    from rich.markup import escape

    out.print()
    if found.shares:
        out.print(_waterfall(found))
        out.print(
            f"[bold]Difference[/] {escape(found.metric)} {_signed(found.delta)} {_interval(found.low, found.high)}; "
            "the shares sum to it."
        )
    elif found.value_a is not None and found.value_b is not None:
        out.print(f"{escape(found.metric)}: A {_value(found.value_a)}, B {_value(found.value_b)}")
    if found.reason:
        out.print(f"[yellow]{escape(found.reason)}[/]")
    for note in found.notes:
        out.print(f"[dim]{escape(note)}[/]")
    if found.n_calls:
        out.print(f"[dim]{found.n_calls:,} model calls were made ({_money(found.cost_usd)}).[/]")
    if hybrids:
        out.print(_mixtures(found))
    elif found.shares:
        out.print("[dim]--hybrids shows the value of every mixture, --json where its answers are stored.[/]")


def _waterfall(found: Explanation) -> object:
    from rich.markup import escape
    from rich.table import Table

    assert found.value_a is not None
    assert found.value_b is not None
    steps = [found.value_a]
    for share in found.shares:
        steps.append(steps[-1] + share.delta)
    low, high = min(steps), max(steps)
    table = Table(
        escape(found.metric),
        "share",
        f"{found.confidence:.0%} [paired]".replace("[", r"\["),
        "value",
        "",
        box=None,
    )
    for column in table.columns[1:4]:
        column.justify = "right"
    table.add_row(f"A {escape(found.a)}", "", "", _value(found.value_a), "")
    for share, before, after in zip(found.shares, steps, steps[1:], strict=False):
        shown = round(share.delta, 4)
        style = "green" if shown > 0 else "red" if shown < 0 else "dim"
        table.add_row(
            escape(share.component),
            f"[{style}]{_signed(share.delta)}[/]",
            _interval(share.low, share.high),
            _value(after),
            f"[{style}]{_bar(before, after, low, high) if shown else ''}[/]",
        )
    table.add_row(f"B {escape(found.b)}", "", "", _value(found.value_b), "")
    return table


def _mixtures(found: Explanation) -> object:
    from rich.markup import escape
    from rich.table import Table

    table = Table("from B", escape(found.metric), "auto-accepted", "failed", "run", box=None)
    for column in table.columns[1:4]:
        column.justify = "right"
    for one in found.hybrids:
        table.add_row(
            escape(" + ".join(one.taken)) or "nothing (A)",
            "undefined" if one.value is None else _value(one.value),
            str(one.n_accepted),
            str(one.n_failed),
            one.run_id,
        )
    return table


def _bar(before: float, after: float, low: float, high: float) -> str:
    if high <= low:
        return ""
    start, end = sorted(round(_BAR * (value - low) / (high - low)) for value in (before, after))
    return " " * start + "█" * max(end - start, 1)


def _value(value: float) -> str:
    return f"{value:.4f}"


def _signed(value: float | None) -> str:
    return "–" if value is None else f"{round(value, 4) + 0.0:+.4f}".replace("-", "−")  # no minus zero


def _interval(low: float | None, high: float | None) -> str:
    return "no interval" if low is None or high is None else rf"\[{_signed(low)}, {_signed(high)}]"


@contextmanager
def _progress(
    *, quiet: bool
) -> Iterator[tuple[Callable[[LabelSession], Callable[[], None]], Callable[[int, int], None]]]:
    """Draw one bar on stderr for all mixtures; yields what sessions and the replay report to."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    bar = Progress(
        TextColumn("[bold]{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[cost]}"),
        TimeRemainingColumn(),
        console=console(stderr=True),
        transient=True,
        disable=quiet,
        refresh_per_second=4,
    )
    task = bar.add_task("replaying", total=None, cost="")

    def begin(done: int, of: int) -> None:
        bar.reset(task, description=f"mixture {min(done + 1, of)} of {of}", total=None)

    def listen(session: LabelSession) -> Callable[[], None]:
        distinct = {i.id for i in session.work.items} | {i.id for i in session.work.gold_items("calibration")}
        bar.update(task, total=len(distinct), completed=0)

        def on_item() -> None:
            counts = session.counts
            cost = f"${counts.cost_usd:.4f}" if counts.cost_usd else f"{counts.model_calls} calls"
            bar.update(task, advance=1, cost=cost)

        return on_item

    with bar:
        yield listen, begin
