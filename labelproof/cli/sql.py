"""``labelproof sql``: the trace store as an analyst sees it, read-only."""

from __future__ import annotations

import sys
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from labelproof.cli._common import console, emit_json, user_errors
from labelproof.spec.errors import StoreError

if TYPE_CHECKING:
    import pyarrow as pa
    from rich.text import Text

    from labelproof.store import TraceStore

_MAX_ROWS = 200
_MAX_CELL = 120


class Form(StrEnum):
    """How a result is printed."""

    TABLE = "table"
    JSON = "json"
    CSV = "csv"


def sql(
    query: Annotated[
        str | None, typer.Argument(help="One SQL statement; without it, a prompt (or standard input).")
    ] = None,
    *,
    store: Annotated[
        str | None,
        typer.Option("--store", envvar="LABELPROOF_STORE", help="Folder, file or URL of the trace store."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print rows as JSON.")] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print rows as CSV.")] = False,
    schema: Annotated[bool, typer.Option("--schema", help="Show all tables, views and columns.")] = False,
    drained: Annotated[
        bool, typer.Option("--drained", help="Leave out rows that still wait in the outbox.")
    ] = False,
) -> None:
    """Query the trace store, read-only: every step, call, decision and score with SQL."""
    if as_json and as_csv:
        raise typer.BadParameter("choose --json or --csv")
    form = Form.JSON if as_json else Form.CSV if as_csv else Form.TABLE
    with user_errors(as_json=as_json):
        if schema:
            _print_schema(form)
            return
        from labelproof.store import default_store, open_store

        with open_store(store or default_store(), create=False) as opened:
            if query is None and sys.stdin.isatty():
                _prompt(opened, form, fresh=not drained)
            else:
                statement = query if query is not None else sys.stdin.read()
                _print(opened.query(statement, fresh=not drained), form)


def _prompt(opened: TraceStore, form: Form, *, fresh: bool) -> None:
    import readline  # noqa: F401 - gives input() its history and editing

    out = console()
    out.print(f"{opened.location.shown}, read-only. End a statement with ; and leave with Ctrl-D.")
    out.print("[dim].schema shows tables and columns[/]")
    lines: list[str] = []
    while True:
        try:
            line = input("sql> " if not lines else "...> ")
        except KeyboardInterrupt:
            lines = []
            out.print()
            continue
        except EOFError:
            out.print()
            return
        if not lines and line.strip() in {".exit", ".quit", "exit", "quit"}:
            return
        if not lines and line.strip() == ".schema":
            _print_schema(Form.TABLE)
            continue
        lines.append(line)
        statement = "\n".join(lines).strip()
        if not statement:
            lines = []
        elif statement.endswith(";"):
            lines = []
            try:
                _print(opened.query(statement, fresh=fresh), form)
            except StoreError as error:
                out.print(str(error), style="red", markup=False)


def _print(rows: pa.Table, form: Form) -> None:
    if form is Form.JSON:
        emit_json(rows.to_pylist())
    elif form is Form.CSV:
        import csv

        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerow(rows.column_names)
        writer.writerows(zip(*(column.to_pylist() for column in rows.columns), strict=True))
    else:
        _print_table(rows)


def _print_table(rows: pa.Table) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table(header_style="bold", show_lines=False)
    for field in rows.schema:
        numeric = str(field.type).startswith(("int", "uint", "double", "float", "decimal"))
        table.add_column(Text(field.name), justify="right" if numeric else "left", overflow="fold")
    first = (column.to_pylist() for column in rows.slice(0, _MAX_ROWS).columns)
    for row in zip(*first, strict=True):
        table.add_row(*map(_cell, row))
    out = console()
    out.print(table)
    shown = f", the first {_MAX_ROWS} shown" if rows.num_rows > _MAX_ROWS else ""
    out.print(f"[dim]{rows.num_rows} row{'' if rows.num_rows == 1 else 's'}{shown}[/]")


def _cell(value: object) -> Text:
    from rich.text import Text

    if value is None:
        return Text("NULL", style="dim")
    text = f"{value:.6g}" if isinstance(value, float) else str(value)
    # Stored text is hostile: control characters must not reach the terminal.
    shown = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
    return Text(shown if len(shown) <= _MAX_CELL else f"{shown[: _MAX_CELL - 1]}…")


def _print_schema(form: Form) -> None:
    from labelproof.store.schema import TABLES, VIEWS

    if form is Form.JSON:
        emit_json({"tables": list(TABLES.values()), "views": list(VIEWS.values())})
        return
    if form is Form.CSV:
        import csv

        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerow(["table", "column", "type", "description"])
        for entry in TABLES.values():
            writer.writerows([entry.name, c.name, c.type, c.description] for c in entry.columns)
        return
    from rich.table import Table

    out = console()
    for entry in TABLES.values():
        table = Table(title=f"{entry.name}: {entry.description}", title_justify="left", box=None)
        table.add_column("column", style="bold")
        table.add_column("type", style="cyan")
        table.add_column("meaning")
        for column in entry.columns:
            table.add_row(column.name, column.type, column.description)
        out.print(table)
        out.print()
    for view in VIEWS.values():
        out.print(f"[bold]{view.name}[/] (view): {view.description}")
