"""`labelproof review`: questions to people, in the terminal or as a file for their own tool, and their answers back."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from labelproof.cli import _review_asks, _review_numbers
from labelproof.cli._common import EXIT_OK, EXIT_USER, console, emit_json, user_errors
from labelproof.cli.run import JsonOption, ProjectArgument, StoreOption
from labelproof.spec.errors import ConfigError

if TYPE_CHECKING:
    from labelproof.report.review_io import ReviewSheet
    from labelproof.report.review_votes import ImportReport
    from labelproof.spec.labels import LabelSchema

app = typer.Typer(
    no_args_is_help=True,
    help="Answer review tasks in the terminal, or send them to people's own tool and read the answers back.",
)
app.command("start")(_review_asks.start)
app.command("plan")(_review_numbers.plan)
app.command("stats")(_review_numbers.stats)
app.command("verify")(_review_numbers.verify)
app.command("ask")(_review_asks.ask)
app.command("fill")(_review_asks.fill)
app.command("close")(_review_asks.close)
app.command("reopen")(_review_asks.reopen)


@app.command()
def export(
    project: ProjectArgument,
    *,
    to: Annotated[Path, typer.Option("--to", help="File to write: .csv, .jsonl, .parquet, or .json.")],
    kind: Annotated[
        Literal["audit", "gold", "routed", "disagreement", "appeal", "disputed", "all"],
        typer.Option(
            help="Which open tasks; disputed: those whose reviewers differ, for an adjudicator.",
        ),
    ] = "all",
    form: Annotated[
        Literal["auto", "csv", "jsonl", "parquet", "label-studio"],
        typer.Option("--format", help="auto: by the name of the file, .json is label-studio."),
    ] = "auto",
    config: Annotated[
        Path | None,
        typer.Option("--config", help="Label Studio: also write the labeling interface (XML) to this file."),
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="At most N tasks.")] = None,
    annotator: Annotated[
        str | None,
        typer.Option(help="Who will answer: filled in, and tasks they have answered are left out."),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing file.")] = False,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write open review tasks as a sheet to fill in, or for Label Studio. Blind: nothing in it comes from a model.

    Oldest day first, in random order within a day that is the same for every reviewer.
    """
    with user_errors(as_json=as_json):
        from labelproof.report.review_io import review_sheet
        from labelproof.spec.project import find_project
        from labelproof.store import default_store, open_store

        folder = find_project(project)
        with open_store(store or default_store(), create=False) as opened:
            sheet = review_sheet(opened, folder, kind=kind, limit=limit, annotator=annotator)
        if sheet.rows:
            _write(sheet, folder.spec.labels, to, form, config, overwrite=overwrite)
        if as_json:
            emit_json({"file": str(to) if sheet.rows else None, **sheet.to_json()})
        else:
            _show_sheet(sheet, project, to, label_studio=_is_label_studio(to, form))
    raise typer.Exit(EXIT_OK)


@app.command("import")
def import_(
    project: ProjectArgument,
    file: Annotated[
        str,
        typer.Argument(
            help="Filled-in sheet (.csv, .jsonl, .parquet), or Label Studio's export (JSON or JSON-MIN)."
        ),
    ],
    *,
    annotator: Annotated[
        str | None, typer.Option(help="Who answered, where the column annotator is empty.")
    ] = None,
    annotators: Annotated[
        Path | None,
        typer.Option(help="Label Studio: YAML or JSON file that maps its user ids or e-mails to names here."),
    ] = None,
    role: Annotated[
        Literal["reviewer", "adjudicator"],
        typer.Option(help="adjudicator: whose label stands where reviewers differ."),
    ] = "reviewer",
    show: Annotated[int, typer.Option("--show", min=0, help="Rows with problems to list.")] = 10,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Store the answers of a sheet or an export; the same file twice changes nothing.

    Exit 2 if no row could be used.
    """
    with user_errors(as_json=as_json):
        from datetime import UTC, datetime

        from labelproof.report.review_votes import import_votes
        from labelproof.review.labelstudio import import_label_studio, is_label_studio, read_annotators
        from labelproof.spec.project import find_project
        from labelproof.store import default_store, open_store

        folder = find_project(project)
        with open_store(store or default_store(), create=False) as opened:
            now = datetime.now(UTC)
            if is_label_studio(file):
                people = read_annotators(annotators) if annotators is not None else None
                report = import_label_studio(
                    opened, folder, file, now=now, annotator=annotator, annotators=people, role=role
                )
            elif annotators is not None:
                raise ConfigError(
                    f"--annotators is for Label Studio's exports, and {file} is none",
                    hint="fill in the column annotator, or give --annotator NAME",
                )
            else:
                report = import_votes(opened, folder, file, now=now, annotator=annotator, role=role)
        if as_json:
            emit_json(report.to_json())
        else:
            _show_import(report, project, show)
    raise typer.Exit(EXIT_OK if report.usable else EXIT_USER)


def _is_label_studio(to: Path, form: str) -> bool:
    return form == "label-studio" or (form == "auto" and to.suffix.casefold() == ".json")


def _write(
    sheet: ReviewSheet, labels: LabelSchema, to: Path, form: str, config: Path | None, *, overwrite: bool
) -> None:
    if _is_label_studio(to, form):
        from labelproof.review.labelstudio import write_label_studio

        write_label_studio(sheet, labels, to, config, overwrite=overwrite)
        return
    if config is not None:
        raise ConfigError("--config is for Label Studio", hint="add --format label-studio")
    from labelproof.report.review_io import write_sheet

    write_sheet(sheet, to, form, overwrite=overwrite)


def _show_sheet(sheet: ReviewSheet, project: str, to: Path, *, label_studio: bool) -> None:
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
        if not label_studio:
            if sheet.multi:
                out.print("  several labels: a+b; no label applies: none")
            out.print("  or leave label empty and write skip, flag or unclear in the column answer")
        if sheet.left_out:
            names = escape(", ".join(sheet.left_out))
            out.print(f"  metadata left out because it could give an answer away: {names}")
        role = " --role adjudicator" if sheet.kind == "disputed" else ""
        back = "its export, JSON or JSON-MIN:" if label_studio else "filled in:"
        file = "EXPORT.json" if label_studio else escape(str(to))
        out.print(f"[dim]{back}[/] labelproof review import {escape(project)} {file}{role}")
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
            for state in ("open", "agreed", "disputed", "escalated", "adjudicated", "closed")
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
