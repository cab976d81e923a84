"""`labelproof playbook`: which changes helped in which projects, and what to try in a new one; `labelproof overview`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from labelproof.cli._common import EXIT_NO, command_name, console, emit_json, user_errors
from labelproof.cli.run import JsonOption, ProjectArgument, StoreOption
from labelproof.spec.errors import ConfigError

if TYPE_CHECKING:
    from datetime import datetime

    from labelproof.report.playbook.entries import Entry
    from labelproof.report.playbook.pooled import KindEffect
    from labelproof.store import TraceStore

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    help="Reuse what worked: measured changes of all projects, pooled by kind, and advice for one.",
)
MetricOption = Annotated[
    str, typer.Option("--metric", help="Metric of the effects: accuracy, macro_f1, cost_per_1k_usd, …")
]


@app.command("list")
def list_(
    *,
    metric: MetricOption = "accuracy",
    kind: Annotated[
        str | None, typer.Option("--kind", help="Only changes of this kind, such as prompt.")
    ] = None,
    entries: Annotated[
        bool, typer.Option("--entries", help="List every measured change, pooled or not.")
    ] = False,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """List what each kind of change did: mean effect, and where the next project's effect lies. Exit 1: nothing measured."""
    with user_errors(as_json=as_json):
        from labelproof.report.playbook.pooled import pool
        from labelproof.report.playbook.text import entries_table, kinds_table, unit
        from labelproof.spec.metrics import parse_metric

        wanted = parse_metric(metric).text
        with _opened(store) as opened:
            known = _entries(opened)
        mine = [
            one for one in known if one.metric == wanted and (kind is None or kind in (one.kind, *one.kinds))
        ]
        kinds = pool(mine, wanted)
        if as_json:
            emit_json(
                {
                    "metric": wanted,
                    "kinds": [one.to_json() for one in kinds],
                    "entries": [one.to_json() for one in mine],
                }
            )
        elif not mine:
            console().print(_nothing(known, wanted), markup=False, soft_wrap=True)
        else:
            out = console()
            out.print(f"{unit(wanted)}, B minus A; all measured changes count, shipped or not", markup=False)
            out.print(entries_table(mine) if entries else kinds_table(kinds))
            left = sum(one.reason is not None for one in mine)
            if left:
                out.print(
                    f"{left} measured changes are not pooled: playbook show ENTRY says why", markup=False
                )
        if not mine:
            raise typer.Exit(EXIT_NO)


@app.command()
def show(
    ref: Annotated[str, typer.Argument(metavar="ENTRY|KIND", help="Id of an entry, or a kind of change.")],
    *,
    metric: MetricOption = "accuracy",
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show one measured change with its strategy, or a kind of change with all that was measured of it."""
    with user_errors(as_json=as_json):
        from labelproof.report.playbook.entries import find_entry
        from labelproof.report.playbook.text import entry_text, kind_text

        with _opened(store) as opened:
            known = _entries(opened)
        kinds = _kind(known, ref, metric)
        if kinds is not None:
            if as_json:
                emit_json({**kinds.to_json(), "measured": [one.to_json() for one in kinds.entries]})
            else:
                console().print(kind_text(kinds, program=command_name()))
            return
        entry = find_entry(known, ref)
        if as_json:
            emit_json(entry.to_json())
        else:
            console().print(entry_text(entry, program=command_name()))


@app.command()
def recommend(
    project: ProjectArgument,
    *,
    metric: MetricOption = "accuracy",
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say what to try in a project: kinds of change by how likely they help here. Exit 1: nothing is known."""
    with user_errors(as_json=as_json):
        from labelproof.report.playbook.pooled import recommend as advise
        from labelproof.report.playbook.text import advice_text
        from labelproof.report.playbook.traits import traits_of_folder
        from labelproof.spec.metrics import parse_metric
        from labelproof.spec.project import find_project

        folder = find_project(project)
        wanted = parse_metric(metric).text
        with _opened(store) as opened:
            traits = traits_of_folder(opened, folder)
            advice = advise(_entries(opened), traits, project=folder.name, metric=wanted)
        if as_json:
            emit_json(advice.to_json())
        else:
            console().print(advice_text(advice, program=command_name()))
        if not advice.ranked:
            raise typer.Exit(EXIT_NO)


@app.command()
def export(
    file: Annotated[Path, typer.Argument(help="File to write: playbook.json.")],
    *,
    origin: Annotated[str, typer.Option("--origin", help="Who it comes from, for its readers.")] = "",
    anonymous: Annotated[
        bool, typer.Option("--anonymous", help="Numbers in place of the names of projects and strategies.")
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing file.")] = False,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write what was measured here for other teams: effects, strategies, own prompts; no label, guideline or item text."""
    with user_errors(as_json=as_json):
        from labelproof.report.playbook.exchange import export_json

        if file.exists() and not overwrite:
            raise ConfigError("the file exists", path=file, hint="choose another name or add --overwrite")
        with _opened(store) as opened:
            known = _entries(opened)
        written = export_json(known, origin=origin, anonymous=anonymous)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(written)
        prompts = sorted(
            {name for one in known if one.reusable and one.origin == "here" for name in one.reusable.prompts}
        )
        n = sum(one.origin == "here" and one.reason is None for one in known)
        if as_json:
            emit_json({"file": str(file), "entries": n, "own_prompts": prompts})
            return
        out = console()
        out.print(f"{file}: {n} measured changes", markup=False, soft_wrap=True)
        if prompts:
            out.print(
                f"  with own prompts: {', '.join(prompts)}: read them before you send the file", markup=False
            )


@app.command("import")
def import_(
    file: Annotated[Path, typer.Argument(help="File of `labelproof playbook export`.")],
    *,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Take another team's measured changes in; what is not sound is refused, the same file twice changes nothing."""
    with user_errors(as_json=as_json):
        from labelproof.report.playbook.exchange import import_entries, read_playbook

        origin, entries, refused = read_playbook(file)
        with _opened(store, create=True) as opened:
            new, known = import_entries(opened, entries)
        if as_json:
            emit_json({"origin": origin, "new": new, "known": known, "refused": refused})
            return
        from rich.text import Text

        from labelproof.report.compare.text import one_text

        out = console()
        out.print(Text(one_text(f"{new} new entries from {origin}, {known} known already")), soft_wrap=True)
        for why in refused[:10]:
            out.print(Text(one_text(f"  refused {why}")), soft_wrap=True)


def overview(
    *,
    sql: Annotated[
        str | None,
        typer.Option("--sql", metavar="COLUMN", help="Print only the query behind one column, or `causes`."),
    ] = None,
    now: Annotated[str | None, typer.Option("--now", hidden=True)] = None,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show all projects on one page: quality against the promise, coverage, cost, findings, alarms, causes of failure.

    Exit 1: a promise is broken or an alarm is open somewhere.
    """
    with user_errors(as_json=as_json):
        from datetime import UTC, datetime

        from labelproof.report.overview.read import SQL, read_overview, statement
        from labelproof.report.overview.text import overview_text

        at = datetime.now(UTC) if now is None else _time(now)
        if sql is not None:
            if sql not in SQL:
                raise ConfigError(f"--sql: expected one of {', '.join(SQL)}; found {sql!r}")
            typer.echo(statement(sql, at))
            return
        with _opened(store) as opened:
            found = read_overview(opened, now=at)
        if as_json:
            emit_json(found.to_json())
        else:
            console().print(overview_text(found))
        if found.is_bad:
            raise typer.Exit(EXIT_NO)


def _time(text: str) -> datetime:
    from labelproof.cli._findings import time_of

    return time_of(text)


def _kind(entries: tuple[Entry, ...], ref: str, metric: str) -> KindEffect | None:
    """Return the pooled kind of that name; None when no measured change is of it."""
    from labelproof.report.playbook.pooled import pool
    from labelproof.spec.metrics import parse_metric

    return next((one for one in pool(entries, parse_metric(metric).text) if one.kind == ref), None)


def _entries(opened: TraceStore) -> tuple[Entry, ...]:
    from labelproof.report.playbook.entries import entries_of

    return entries_of(opened)


def _nothing(known: tuple[Entry, ...], metric: str) -> str:
    metrics = sorted({one.metric for one in known})
    if metrics:
        return f"no change was measured by {metric}; there are entries for {', '.join(metrics[:12])}"
    return (
        "nothing is measured yet: `labelproof compare` and `labelproof experiment run` make entries, "
        "`labelproof playbook import` reads other teams'"
    )


@contextmanager
def _opened(store: str | None, *, create: bool = False) -> Iterator[TraceStore]:
    from labelproof.store import default_store, open_store

    with open_store(store or default_store(), create=create) as opened:
        yield opened
