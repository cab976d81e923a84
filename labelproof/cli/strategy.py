"""`labelproof strategy`: what a strategy resolves to, its fingerprint, and what changed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from agents.snapshots import ABSENT, StepChange, diff_snapshots
from labelproof.cli._common import EXIT_NO, console, emit_json, user_errors

if TYPE_CHECKING:
    from rich.console import Console

app = typer.Typer(help="Show, fingerprint and compare strategies.")

_MOST_KEYS = 20
_STYLES = {"same": "dim", "changed": "yellow", "added": "green", "removed": "red", "moved": "cyan"}

ProjectArgument = Annotated[str, typer.Argument(help="Project name or folder.")]
StrategyOption = Annotated[
    str | None,
    typer.Option("--strategy", help="Name or file.", show_default="the project's default"),
]
StoreOption = Annotated[
    str | None,
    typer.Option("--store", envvar="LABELPROOF_STORE", help="Folder, file or URL of the trace store."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]


@app.command()
def show(
    project: ProjectArgument,
    *,
    strategy: StrategyOption = None,
    texts: Annotated[bool, typer.Option("--texts", help="Print prompt and guideline texts.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Show each step as it resolves: fingerprint, prompt, models, parameters, hashes of texts."""
    with user_errors(as_json=as_json):
        snapshot, fingerprint = _from_project(project, strategy)
        steps = [_described(step, texts=texts) for step in snapshot["steps"]]
        if as_json:
            emit_json({"strategy": snapshot["name"], "fingerprint": fingerprint, "steps": steps})
            return
        out = console()
        out.print(f"[bold]{snapshot['name']}[/] {fingerprint}")
        if snapshot.get("description"):
            out.print(f"[dim]{_escape(snapshot['description'])}[/]")
        for number, step in enumerate(steps, start=1):
            _print_step(out, number, step)


@app.command(name="hash")
def hash_(project: ProjectArgument, *, strategy: StrategyOption = None, as_json: JsonOption = False) -> None:
    """Print a strategy's fingerprint: the hash of all that decides how items are labeled."""
    with user_errors(as_json=as_json):
        snapshot, fingerprint = _from_project(project, strategy)
        if as_json:
            emit_json({"strategy": snapshot["name"], "fingerprint": fingerprint})
        else:
            typer.echo(fingerprint)


@app.command()
def diff(
    project: ProjectArgument,
    a: Annotated[str, typer.Argument(help="Strategy name, file, stored fingerprint or run id.")],
    b: Annotated[str, typer.Argument(help="The other one.")],
    *,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Compare two strategies step by step, key by key, line by line. Exit 1 if they differ."""
    with user_errors(as_json=as_json):
        (before, before_fp), (after, after_fp) = (_either(project, name, store) for name in (a, b))
        changes = diff_snapshots(before, after)
        same = before_fp == after_fp
        first = next((change.name for change in changes if change.state != "same"), None)
        if as_json:
            emit_json(
                {
                    "a": {"strategy": before["name"], "fingerprint": before_fp},
                    "b": {"strategy": after["name"], "fingerprint": after_fp},
                    "same": same,
                    "recomputed_from": first,
                    "steps": [_plain(asdict(change)) for change in changes],
                }
            )
        else:
            _print_diff(console(), (before["name"], before_fp), (after["name"], after_fp), changes)
    if not same:
        raise typer.Exit(EXIT_NO)


def _from_project(project: str, strategy: str | None) -> tuple[dict[str, Any], str]:
    from agents.run.workload import load_workload

    resolved = load_workload(project, strategy).resolved
    return dict(resolved.snapshot), resolved.fingerprint


def _either(project: str, name: str, store: str | None) -> tuple[dict[str, Any], str]:
    """Return snapshot and fingerprint of a strategy of the project, of a file, or of the store."""
    from labelproof.spec.errors import ConfigError
    from labelproof.spec.hashing import PREFIX
    from labelproof.spec.project import find_project

    folder = find_project(project)
    if name in folder.strategy_names() or name.endswith((".yaml", ".yml")):
        return _from_project(project, str(Path(name).absolute()) if "/" in name else name)
    stored = _stored(folder.name, name.removeprefix(PREFIX), name, store)
    if stored is not None:
        return stored
    if name.startswith(PREFIX):
        raise ConfigError(
            f"the store holds no strategy of project {folder.name!r} whose fingerprint begins with {name!r}",
            hint="labelproof sql 'SELECT DISTINCT strategy, strategy_fp FROM strategies' lists them",
        )
    folder.strategy(name)  # raises, and lists the strategies there are
    return _from_project(project, name)


def _stored(project: str, digits: str, run_id: str, store: str | None) -> tuple[dict[str, Any], str] | None:
    import orjson

    from labelproof.spec.errors import ConfigError, StoreError
    from labelproof.spec.hashing import PREFIX
    from labelproof.store import default_store, open_store

    try:
        opened = open_store(store or default_store(), create=False)
    except StoreError:
        if store is not None:
            raise
        return None
    with opened:
        rows = opened.query(
            "SELECT DISTINCT strategy_fp, spec_json FROM strategies WHERE project = $project AND ("
            " starts_with(strategy_fp, $prefix)"
            " OR strategy_fp IN (SELECT strategy_fp FROM runs WHERE run_id = $run))",
            {"project": project, "prefix": PREFIX + digits.lower(), "run": run_id},
            fresh=True,
        ).to_pylist()
    found = {row["strategy_fp"]: row["spec_json"] for row in rows}
    if len(found) > 1:
        listed = ", ".join(sorted(found)[:5])
        raise ConfigError(f"{run_id!r} begins {len(found)} stored fingerprints: {listed}")
    return next(((orjson.loads(spec), fp) for fp, spec in found.items()), None)


def _described(step: Mapping[str, Any], *, texts: bool) -> dict[str, Any]:
    """Return a step for people: hashes in place of texts unless ``texts``."""
    from labelproof.spec.hashing import digest, digest_text

    described = {key: step[key] for key in ("name", "kind", "when", "fingerprint")}
    for key, value in step["components"].items():
        if key == "kind":
            continue
        if key in ("prompt", "guideline"):
            described[key] = {**value, "text_hash": digest_text(value["text"])}
            if not texts:
                del described[key]["text"]
        elif key in ("labels", "task", "examples") and not texts:
            described[f"{key}_hash"] = digest(value)
        else:
            described[key] = value
    return described


def _print_step(out: Console, number: int, step: dict[str, Any]) -> None:
    when = f"  when {_escape(step['when'])}" if step["when"] else ""
    out.print(f"\n[bold]{number}. {step['name']}[/] [dim]{step['kind']}[/] {step['fingerprint']}{when}")
    for key, value in step.items():
        if key in ("name", "kind", "when", "fingerprint"):
            continue
        if key in ("prompt", "guideline"):
            title = value.get("reference") or value.get("use")
            out.print(f"   {key:<14}{title}  [dim]{value['text_hash']}[/]")
            if value.get("text"):
                out.print(_escape("\n".join(f"      {line}" for line in value["text"].splitlines())))
        elif key == "models":
            for model in value:
                settings = ", ".join(f"{k}={v}" for k, v in model.items() if k not in ("provider", "model"))
                out.print(
                    f"   {'model':<14}{model['provider']}:{model['model']}  [dim]{_escape(settings)}[/]"
                )
        elif isinstance(value, dict):
            settings = ", ".join(f"{k}={v}" for k, v in value.items())
            out.print(f"   {key:<14}[dim]{_escape(settings)}[/]")
        else:
            out.print(f"   {key:<14}[dim]{_escape(str(value))}[/]")


def _print_diff(
    out: Console, before: tuple[str, str], after: tuple[str, str], changes: list[StepChange]
) -> None:
    out.print(f"[red]-[/] {before[0]} {before[1]}\n[green]+[/] {after[0]} {after[1]}")
    if before[1] == after[1]:
        out.print("the same: no step, text, model or parameter differs")
        return
    for change in changes:
        style = _STYLES[change.state]
        out.print(f"\n[bold]{change.name}[/] [{style}]{change.state}[/]")
        for key in change.keys[:_MOST_KEYS]:
            out.print(
                f"   {_escape(key.path)}: [red]{_escape(repr(key.before))}[/] → [green]{_escape(repr(key.after))}[/]"
            )
        if len(change.keys) > _MOST_KEYS:
            out.print(f"   … and {len(change.keys) - _MOST_KEYS} more keys (--json lists all)")
        for text in change.texts:
            out.print(f"   {_escape(text.path)}: [green]+{text.n_added}[/]/[red]-{text.n_removed}[/] lines")
            for line in text.unified:
                style = {"+": "green", "-": "red", "@": "cyan"}.get(line[:1], "dim")
                out.print(f"     [{style}]{_escape(line)}[/]")
    first = next((change.name for change in changes if change.state != "same"), None)
    if first is not None:
        out.print(f"\nstored results are reused up to `{first}`; from there on items are computed again")


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: "(absent)" if inner is ABSENT else _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return value


def _escape(text: str) -> str:
    from rich.markup import escape

    return escape(text)
