"""`labelproof doctor`: is this installation whole, and what to do if not."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from labelproof.cli._common import EXIT_NO, console, emit_json, user_errors

_MARKS = {"ok": "[green]ok[/]  ", "warn": "[yellow]warn[/]", "fail": "[bold red]fail[/]"}


def doctor(
    *,
    store: Annotated[
        str | None,
        typer.Option("--store", envvar="LABELPROOF_STORE", help="Folder, file or URL of the trace store."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Check Python, packages, DuckDB, models, store, Prefect, keys and disk. Exit 1 if one fails."""
    from rich.markup import escape

    from labelproof.cli._checks import run_checks

    out = console()
    checks = []
    with user_errors(as_json=as_json):
        for check in run_checks(store):
            checks.append(check)
            if not as_json:
                out.print(f"{_MARKS[check.state]} [bold]{check.name:<12}[/]{escape(check.found)}")
                if check.do:
                    out.print(f"                  [dim]->[/] {escape(check.do)}")
    failed = sum(check.state == "fail" for check in checks)
    if as_json:
        emit_json({"ok": not failed, "checks": [asdict(check) for check in checks]})
    elif failed:
        out.print(f"\n{failed} to fix")
    if failed:
        raise typer.Exit(EXIT_NO)
