"""`labelproof trace`: every step behind one item's label."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from labelproof.cli._common import console, emit_json, user_errors
from labelproof.cli.run import JsonOption, ProjectArgument, StoreOption

if TYPE_CHECKING:
    from rich.console import Console

    from labelproof.report.trace import ItemTrace, TracedCall, TracedStep

_SHOWN = 1500


def trace(
    project: ProjectArgument,
    item: Annotated[str, typer.Argument(help="External id or item id.")],
    strategy: Annotated[
        str | None, typer.Option("--strategy", "-s", help="Strategy name or fingerprint.")
    ] = None,
    against: Annotated[
        str | None, typer.Option("--against", help="A second strategy; the first divergence is marked.")
    ] = None,
    run: Annotated[
        str | None, typer.Option("--run", help="A run id; default: the item's latest run.")
    ] = None,
    full: Annotated[bool, typer.Option("--full", help="Show whole prompts and answers.")] = False,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show one item through every step of a run: inputs, prompt, raw answer, signals, decision, cost."""
    with user_errors(as_json=as_json):
        from labelproof.report.trace import first_divergence, trace_item
        from labelproof.spec.project import find_project
        from labelproof.store import default_store, open_store

        name = find_project(project).name
        with open_store(store or default_store(), create=False) as opened:
            found = [trace_item(opened, name, item, strategy=strategy, run_id=run)]
            if against is not None:
                found.append(trace_item(opened, name, item, strategy=against))
        split = first_divergence(*found) if len(found) == 2 else None
        if as_json:
            emit_json({"traces": [one.to_json() for one in found], "first_divergence": split})
            return
        out = console()
        _show_item(out, found[0])
        for one in found:
            _show_trace(out, one, split, full=full)
        if against is not None and split is None:
            out.print("\nNo step differs.")
        _show_people(out, found[0])


def _show_item(out: Console, trace: ItemTrace) -> None:
    from rich.markup import escape

    gold = f" · gold [bold]{escape(trace.gold_label)}[/] ({trace.gold_split})" if trace.gold_label else ""
    out.print(f"[bold]{escape(', '.join(trace.external_ids))}[/] [dim]{trace.item_id}[/]{gold}")
    out.print(escape(_visible(trace.text)), style="italic")
    if trace.meta:
        out.print("  " + escape(" · ".join(f"{k}={v}" for k, v in trace.meta.items())), style="dim")


def _show_trace(out: Console, trace: ItemTrace, split: int | None, *, full: bool) -> None:
    from rich.markup import escape

    from labelproof.report.trace import describe

    out.print(
        f"\n[bold]{escape(describe(trace))}[/]"
        + (f" [dim]flow run {trace.flow_run_id}[/]" if trace.flow_run_id else "")
    )
    for index, step in enumerate(trace.steps):
        if index == split:
            out.print("[bold yellow]  ↓ first divergence[/]")
        _show_step(out, step, full=full, marked=index == split)
    decision = trace.decision
    if decision is not None:
        audit = (
            f" · audit probability {decision['inclusion_prob']:g}"
            if decision["inclusion_prob"] is not None
            else ""
        )
        drawn = " [bold](drawn)[/]" if decision["audited"] else ""
        out.print(
            f"  [bold]=> {decision['decision']}[/] {escape(str(decision['label']))}: "
            f"{escape(str(decision['reason']))}{audit}{drawn}"
        )


def _show_people(out: Console, trace: ItemTrace) -> None:
    """Print what people were asked and said, and the label that stands."""
    from rich.markup import escape

    if trace.reviews:
        out.print("\n[bold]People[/]")
    for task in trace.reviews:
        stands = f": {escape(task['final_label'])}" if task["final_label"] else ""
        out.print(f"  [bold]{task['kind']}[/] {task['state']}{stands} [dim]{escape(task['reason'] or '')}[/]")
        for vote in task["votes"]:
            said = vote["label"] or vote["answer"]
            note = f" [italic]{escape(_visible(vote['note']))}[/]" if vote["note"] else ""
            role = " (adjudicator)" if vote["role"] == "adjudicator" else ""
            out.print(
                f"      {escape(vote['annotator'])}{role}: {escape(said)} [dim]{vote['ts']:%Y-%m-%d %H:%M}[/]{note}"
            )
    if trace.final is not None:
        out.print(f"\n[bold]Final label[/] {escape(trace.final['label'])} ({trace.final['source']})")


def _show_step(out: Console, step: TracedStep, *, full: bool, marked: bool) -> None:
    from rich.markup import escape

    color = {"ok": "green", "failed": "red", "skipped": "dim"}.get(step.status, "white")
    note = f" [red]{escape(step.error)}[/]" if step.error and step.status == "failed" else ""
    note = f" [dim]{escape(step.error or '')}[/]" if step.status == "skipped" else note
    used = ""
    if step.calls:
        used = (
            f" · {step.tokens_in}+{step.tokens_out} tokens · ${step.cost_usd:.6f} · {step.latency_ms:.0f} ms"
        )
    hit = " · [cyan]reused[/]" if step.cache_hit else ""
    name = step.name if step.name == step.kind else f"{step.name} ({step.kind})"
    style = "bold yellow" if marked else "bold"
    out.print(f"  [{style}]{step.seq} {name}[/] [{color}]{step.status}[/]{hit}{used}{note}")
    out.print(f"      [dim]in {step.input_hash[:14]} -> out {(step.output_hash or 'none')[:14]}[/]")
    for key, value in (step.output or {}).items():
        shown = _value(key, value)
        if shown:
            out.print(f"      {key}: {escape(shown)}")
    for call in step.calls:
        _show_call(out, call, full=full)


def _show_call(out: Console, call: TracedCall, *, full: bool) -> None:
    from rich.markup import escape

    cached = f", {call.tokens_cached} cached" if call.tokens_cached else ""
    out.print(
        f"      [blue]{escape(call.model)}[/] {call.tokens_in}{cached} -> {call.tokens_out} tokens, "
        f"{call.latency_ms or 0:.0f} ms, attempt {call.attempts}, {call.finish_reason}"
    )
    for title, text in (("system", call.system), ("user", call.user), ("answer", call.response)):
        shown = text or ""
        limit = len(shown) if full else (_SHOWN if title != "system" else 300)
        more = f" … [{len(shown) - limit} more characters, --full shows them]" if len(shown) > limit else ""
        out.print(f"        [dim]{title}[/] {escape(_visible(shown[:limit]) + more)}")
    if call.logprobs:
        top = sorted(call.logprobs[0].items(), key=lambda pair: -pair[1])[:8]
        out.print(
            "        [dim]first token[/] " + escape(", ".join(f"{t!r} {math.exp(p):.3f}" for t, p in top))
        )


def _value(key: str, value: Any) -> str:
    if value in (None, [], "", {}, False, 0) and key != "agrees":
        return ""
    if key == "log_probs" and isinstance(value, Sequence):
        return "[" + ", ".join(f"{math.exp(v):.3f}" for v in value) + "] as probabilities"
    if key == "examples":
        return " | ".join(f"{row[2]}: {_visible(str(row[1]))[:60]}" for row in value)
    text = str(dict(value)) if isinstance(value, Mapping) else str(value)
    return _visible(text)[:400]


def _visible(text: str) -> str:
    """Return ``text`` with control and hidden characters written as escapes: a terminal must not obey it."""
    return "".join(c if c == "\n" or c.isprintable() else f"\\u{ord(c):04x}" for c in text)
