"""``labelproof model``: the model files on this machine — fetch, list, verify."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from labelproof.cli._common import EXIT_NO, console, emit_json, user_errors

if TYPE_CHECKING:
    from agents.models.weights import Known

app = typer.Typer(no_args_is_help=True, help="Fetch, list and verify local model files.")

Names = Annotated[
    list[str] | None,
    typer.Argument(help="Names from `model list`; default: all of them.", show_default=False),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]


@app.command()
def pull(names: Names = None, as_json: AsJson = False) -> None:
    """Fetch model files, once; an interrupted fetch goes on where it stopped."""
    from agents.models.download import installed
    from agents.models.weights import pull as fetch

    with user_errors(as_json=as_json):
        results = []
        for entry in _chosen(names):
            was_here = installed(entry.artifact) is not None
            path = fetch(entry.artifact, console=None if as_json else console(stderr=True))
            results.append({"name": entry.artifact.name, "path": str(path), "fetched": not was_here})
        if as_json:
            emit_json({"models": results})
            return
        for result in results:
            done = "fetched" if result["fetched"] else "already here"
            console().print(f"{result['name']}: {done}, {result['path']}")


@app.command("list")
def list_(as_json: AsJson = False) -> None:
    """Show every known model file: size, license, and whether it is here."""
    from agents.models.download import installed, models_folder

    with user_errors(as_json=as_json):
        rows = []
        for entry in _chosen(None):
            path = installed(entry.artifact)
            rows.append(
                {
                    "name": entry.artifact.name,
                    "kind": entry.kind,
                    "what": entry.what,
                    "size_bytes": entry.artifact.size,
                    "license": entry.artifact.license,
                    "sha256": entry.artifact.sha256,
                    "path": None if path is None else str(path),
                }
            )
        folder = str(models_folder())
        if as_json:
            emit_json({"folder": folder, "models": rows})
            return
        _print_table(rows, folder)


@app.command()
def verify(names: Names = None, as_json: AsJson = False) -> None:
    """Hash model files again; exit 1 when one is missing or wrong.

    Without names, files that were never fetched do not count as wrong.
    """
    from agents.models.download import models_folder
    from agents.models.download import verify as check

    with user_errors(as_json=as_json):
        results: list[dict[str, Any]] = []
        for entry in _chosen(names):
            if not names and not (models_folder() / entry.artifact.filename).exists():
                results.append({"name": entry.artifact.name, "ok": None, "reason": "not fetched"})
                continue
            reason = check(entry.artifact)
            results.append({"name": entry.artifact.name, "ok": reason is None, "reason": reason})
        failed = any(result["ok"] is False for result in results)
        if as_json:
            emit_json({"ok": not failed, "models": results})
        else:
            for result in results:
                console().print(f"{result['name']}: {result['reason'] or 'ok'}")
            if failed:
                console(stderr=True).print(
                    "delete the wrong file, then run `labelproof model pull`", style="dim"
                )
    if failed:
        raise typer.Exit(EXIT_NO)


def _chosen(names: list[str] | None) -> list[Known]:
    from agents.models.weights import catalog, known

    return [known(name) for name in names] if names else list(catalog().values())


def _print_table(rows: list[dict[str, Any]], folder: str) -> None:
    from rich.table import Column, Table

    table = Table(Column("name", no_wrap=True), "what", "size", "license", "here", box=None, pad_edge=False)
    for row in rows:
        here = "yes" if row["path"] else "no"
        size = f"{row['size_bytes'] / 1e6:,.0f} MB"
        table.add_row(row["name"], row["what"], size, row["license"], here)
    console().print(table)
    console().print(f"folder: {folder}", style="dim")
