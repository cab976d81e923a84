"""A search as people read it in a terminal: candidates by round, what won, what luck there is in it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

from rich.console import RenderableType
from rich.markup import escape
from rich.table import Table

from labelproof.report.optimize.model import (
    CandidateResult,
    Confirmed,
    SearchPlan,
    SearchReport,
)
from labelproof.spec.hashing import short

_STYLES = {"winner": "bold green", "finalist": "cyan", "dropped": "dim", "failed": "red", "waiting": "dim"}
_MOST_CHANGES = 4


def plan_lines(
    plan: SearchPlan, cost_usd: float | None, seconds: float, *, budget_usd: float | None = None
) -> Iterator[RenderableType]:
    """Yield what a search would try and take, and whether the budget may not suffice; nothing was asked yet."""
    yield (
        f"search [bold]{plan.search_id}[/] {escape(plan.project)} from {escape(plan.base)}@{short(plan.base_fp)}: "
        f"{len(plan.candidates)} candidates, ranked by {escape(plan.metric)}"
    )
    rounds = " → ".join(f"{rung.n_candidates} on {rung.n_items}" for rung in plan.rungs)
    yield f"rounds  {rounds} items of gold `calibration`; examples from {plan.n_learn} items of `examples`"
    if plan.n_variants:
        yield (
            f"writer  {escape(str(plan.writer))} writes {plan.n_variants} instruction variants from the mistakes on "
            f"{plan.n_study} items of `examples`"
        )
    table = Table("id", "candidate", "what it changes", box=None)
    for one in plan.candidates:
        table.add_row(one.id, escape(one.name), escape(one.says))
    yield table
    yield from _skipped(plan)
    cost = "no price is known for a model" if cost_usd is None else f"${cost_usd:.4f}"
    yield f"at most {plan.n_calls_most} model calls; about {cost} and {_duration(seconds)} for what is not stored yet"
    if budget_usd is not None and cost_usd is not None and cost_usd > budget_usd:
        yield (
            f"[yellow]That is more than the budget of ${budget_usd:g}:[/] it may stop before the end, and goes on with a larger one."
        )
    yield "[dim]Gold of the splits certify and test is not read.[/]"


def render(report: SearchReport) -> Iterator[RenderableType]:
    """Yield the report: table of rounds, the winner and its file, the luck in its lead, the confirmation."""
    plan = report.plan
    yield (
        f"search [bold]{plan.search_id}[/] {escape(plan.project)} · {escape(plan.metric)} on tuning gold · "
        f"{report.n_calls} model calls, ${report.spent_usd:.4f}"
    )
    yield _rounds(report)
    yield from _skipped(plan)
    for one in report.candidates:
        if one.reason:
            yield f"[red]{one.id}[/] {escape(one.name)}: {escape(one.reason)}"
    if report.stopped:
        yield f"\n[bold yellow]STOPPED[/] {escape(report.stopped)}"
        yield f"  [dim]->[/] {escape(report.hint or 'run the same command to go on; what is done is stored')}"
        return
    yield from _winners(report)
    yield from (f"- {escape(note)}" for note in report.notes)
    yield f"[dim]SQL  {escape(report.sql)}[/]"


def _rounds(report: SearchReport) -> Table:
    table = Table("id", "candidate", box=None)
    for number, rung in enumerate(report.plan.rungs, start=1):
        table.add_column(f"round {number}: {rung.n_items} items")
    table.add_column("Δ to base (95 %)")
    table.add_column("cost/1k", justify="right")
    table.add_column("failed", justify="right")
    table.add_column("")
    for one in _ordered(report.candidates):
        cells = [""] * len(report.plan.rungs)
        for result in one.rounds:
            score = result.score
            cells[result.round - 1] = f"{_number(score.value)} [dim]{_interval(score.low, score.high)}[/]"
        last = one.rounds[-1] if one.rounds else None
        delta = ""
        if last is not None and one.state != "base":
            delta = f"{_signed(last.score.delta)} [dim]{_interval(last.score.delta_low, last.score.delta_high, signed=True)}[/]"
        cost = "" if last is None else _dollars(last.cost_per_1k_usd)
        failed = "" if last is None or not last.n_failed else str(last.n_failed)
        style = _STYLES.get(one.state, "")
        state = f"[{style}]{one.state}[/]" if style else one.state
        table.add_row(one.id, escape(one.name), *cells, delta, cost, failed, state)
    return table


def _ordered(candidates: Sequence[CandidateResult]) -> list[CandidateResult]:
    """Return the base first, then who came furthest, best score first."""

    def key(one: CandidateResult) -> tuple[bool, int, float, str]:
        score = one.rounds[-1].score.value if one.rounds else math.nan
        return one.state != "base", -len(one.rounds), math.inf if math.isnan(score) else -score, one.id

    return sorted(candidates, key=key)


def _winners(report: SearchReport) -> Iterator[RenderableType]:
    if not report.winners:
        yield f"\n[bold]No candidate beats {escape(report.plan.base)} on tuning gold[/]: there is nothing to confirm."
        return
    for name in report.winners:
        one = report.by_id(name)
        yield f"\n[bold green]WINNER[/] {escape(one.name)}: {escape(one.says)}  [dim]{escape(one.file or '')}[/]"
        yield from _changes(one)
        if one.instruction:
            yield "  [dim]the instruction, written by a model from gold mistakes; read it before you use it:[/]"
            yield "\n".join(f"  │ {escape(line)}" for line in one.instruction.splitlines())
    yield from _luck(report)
    for confirmed in report.confirmed:
        yield from _confirmation(report, confirmed)
    if not report.confirmed:
        why = f" ({escape(report.unconfirmed)})" if report.unconfirmed else ""
        yield f"[bold]NEXT[/] the tuning score proves nothing{why}: {escape(report.confirm_command or '')}"


def _changes(one: CandidateResult) -> Iterator[str]:
    for change in one.changes:
        keys = [f"{key['path']} {key['before']!r} → {key['after']!r}" for key in change["keys"]]
        more = f" and {len(keys) - _MOST_CHANGES} more" if len(keys) > _MOST_CHANGES else ""
        texts = [f"{text['path']} +{text['added']}/−{text['removed']}" for text in change["texts"]]
        told = ", ".join([*keys[:_MOST_CHANGES], *texts]) + more
        yield f"  [bold]{escape(change['step'])}[/] {change['state']}  {escape(told)}"


def _luck(report: SearchReport) -> Iterator[str]:
    luck = report.optimism
    if luck is None:
        return
    parts = [f"leads by {_signed(luck.lead)} on the gold that chose it"]
    if luck.corrected is not None:
        parts.append(f"{_signed(luck.corrected)} after correction for the choice (BBC-CV)")
    if luck.if_equal is not None:
        n = len(report.plan.candidates)
        parts.append(f"the best of {n} equal candidates would lead by {_signed(luck.if_equal)} or less")
    yield f"[bold]LUCK[/] {'; '.join(parts)}"


def _confirmation(report: SearchReport, confirmed: Confirmed) -> Iterator[str]:
    tuned = report.by_id(confirmed.candidate).rounds[-1].score
    colour = {"ship": "green", "regression": "red"}.get(confirmed.verdict or "", "yellow")
    yield (
        f"[bold]CONFIRMED on {confirmed.n_items} items of gold {confirmed.split}[/] "
        f"[bold {colour}]{escape(confirmed.verdict or 'none')}[/]: {escape(confirmed.headline)}"
    )
    yield (
        f"  Δ {_signed(tuned.delta)} on tuning gold, {_signed(confirmed.delta)} "
        f"{_interval(confirmed.low, confirmed.high, signed=True)} on fresh gold  [dim]{escape(confirmed.experiment_id)}[/]"
    )


def _skipped(plan: SearchPlan) -> Iterator[str]:
    for family, why in plan.skipped.items():
        yield f"[dim]not tried: {escape(family)} ({escape(why)})[/]"


def _number(value: float | None) -> str:
    return "-" if value is None or math.isnan(value) else f"{value:.3f}"


def _signed(value: float | None) -> str:
    return "-" if value is None or math.isnan(value) else f"{value:+.3f}".replace("-", "−")


def _interval(low: float | None, high: float | None, *, signed: bool = False) -> str:
    show: Any = _signed if signed else _number
    return escape(f"[{show(low)}, {show(high)}]")


def _dollars(value: float | None) -> str:
    return "-" if value is None else f"${value:.3g}"


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
