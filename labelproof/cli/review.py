"""`labelproof review`: questions to people as a blind sheet, and their answers back."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from labelproof.cli._common import EXIT_OK, EXIT_USER, console, emit_json, user_errors
from labelproof.cli.run import JsonOption, ProjectArgument, StoreOption

if TYPE_CHECKING:
    from labelproof.report.review_io import ReviewSheet
    from labelproof.report.review_votes import ImportReport

app = typer.Typer(help="Send questions to people as a blind sheet; read their answers back.")


@app.callback()
def _group() -> None:
    """Send questions to people as a blind sheet; read their answers back."""


@app.command()
def export(
    project: ProjectArgument,
    *,
    to: Annotated[Path, typer.Option("--to", help="File to write: .csv, .jsonl or .parquet.")],
    kind: Annotated[
        Literal["audit", "gold", "routed", "disagreement", "appeal", "disputed", "all"],
        typer.Option(
            help="Which open tasks; disputed: those whose reviewers differ, for an adjudicator.",
        ),
    ] = "all",
    limit: Annotated[int | None, typer.Option(min=1, help="At most N tasks.")] = None,
    annotator: Annotated[
        str | None,
        typer.Option(help="Who will answer: filled in, and tasks they have answered are left out."),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing file.")] = False,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write open review tasks as a sheet to fill in. It is blind: nothing in it comes from a model.

    Oldest day first, in random order within a day that is the same for every reviewer.
    """
    with user_errors(as_json=as_json):
        from labelproof.report.review_io import review_sheet, write_sheet
        from labelproof.spec.project import find_project
        from labelproof.store import default_store, open_store

        folder = find_project(project)
        with open_store(store or default_store(), create=False) as opened:
            sheet = review_sheet(opened, folder, kind=kind, limit=limit, annotator=annotator)
        if sheet.rows:
            write_sheet(sheet, to, overwrite=overwrite)
        if as_json:
            emit_json({"file": str(to) if sheet.rows else None, **sheet.to_json()})
        else:
            _show_sheet(sheet, project, to)
    raise typer.Exit(EXIT_OK)


@app.command("import")
def import_(
    project: ProjectArgument,
    file: Annotated[str, typer.Argument(help="Filled-in sheet: .csv, .jsonl or .parquet.")],
    *,
    annotator: Annotated[
        str | None, typer.Option(help="Who answered, where the column annotator is empty.")
    ] = None,
    role: Annotated[
        Literal["reviewer", "adjudicator"],
        typer.Option(help="adjudicator: whose label stands where reviewers differ."),
    ] = "reviewer",
    show: Annotated[int, typer.Option("--show", min=0, help="Rows with problems to list.")] = 10,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Store the answers of a sheet; the same file twice changes nothing. Exit 2 if no row could be used."""
    with user_errors(as_json=as_json):
        from datetime import UTC, datetime

        from labelproof.report.review_votes import import_votes
        from labelproof.spec.project import find_project
        from labelproof.store import default_store, open_store

        folder = find_project(project)
        with open_store(store or default_store(), create=False) as opened:
            report = import_votes(opened, folder, file, now=datetime.now(UTC), annotator=annotator, role=role)
        if as_json:
            emit_json(report.to_json())
        else:
            _show_import(report, project, show)
    raise typer.Exit(EXIT_OK if report.usable else EXIT_USER)


def _show_sheet(sheet: ReviewSheet, project: str, to: Path) -> None:
    from rich.markup import escape

    out = console()
    who = f" by {escape(sheet.annotator)}" if sheet.annotator else ""
    if not sheet.rows:
        kind = "" if sheet.kind == "all" else f"{sheet.kind} "
        why = f"; all {sheet.n_answered} open ones are answered{who} already" if sheet.n_answered else ""
        out.print(f"no {kind}task waits{why}. Nothing was written")
    else:
        shown = sheet.to_json()
        kinds = ", ".join(f"{n} {name}" for name, n in sorted(shown["kinds"].items()))
        out.print(
            f"{escape(str(to))}: {len(sheet.rows)} of {sheet.n_open} open tasks ({kinds}); "
            f"{sheet.votes_wanted} answers wanted for them"
        )
        if sheet.n_answered:
            out.print(f"  {sheet.n_answered} answered{who} already: left out")
        out.print(f"  labels: {escape(', '.join(sheet.labels))}")
        if sheet.multi:
            out.print("  several labels: a+b; no label applies: none")
        out.print("  or leave label empty and write skip, flag or unclear in the column answer")
        if sheet.left_out:
            names = escape(", ".join(sheet.left_out))
            out.print(f"  metadata left out because it could give an answer away: {names}")
        role = " --role adjudicator" if sheet.kind == "disputed" else ""
        out.print(f"[dim]filled in:[/] labelproof review import {escape(project)} {escape(str(to))}{role}")
    if sheet.n_textless:
        out.print(f"  {sheet.n_textless} tasks left out: their text is not in this store")


def _show_import(report: ImportReport, project: str, show: int) -> None:
    from rich.markup import escape

    out = console()
    out.print(
        f"{escape(report.source)}: {report.n_rows} rows = {report.n_stored} new answers"
        f" + {report.n_known} stored before + {report.n_unanswered} not filled in + {len(report.errors)} bad"
    )
    if report.after:
        states = ", ".join(
            f"{report.after.get(state, 0)} {state} (before: {report.before.get(state, 0)})"
            for state in ("open", "agreed", "disputed", "adjudicated")
            if report.after.get(state, 0) or report.before.get(state, 0)
        )
        out.print(f"  of the tasks answered here: {states}")
    if report.after.get("disputed"):
        name = escape(project)
        out.print(
            f"  {report.after['disputed']} need an adjudicator: "
            f"labelproof review export {name} --kind disputed --to disputed.csv"
        )
    for error in report.errors[:show]:
        out.print(f"[red]row[/] {escape(error.source)}:{error.line}: {escape(error.reason)}")
    left = len(report.errors) - show
    if left > 0:
        out.print(f"  … and {left} more (--show {len(report.errors)})")
    if not report.usable:
        out.print("no row could be used: nothing was stored")
