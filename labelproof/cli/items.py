"""`labelproof items`: what a project reads, before anything is labeled."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from labelproof.cli._common import EXIT_NO, EXIT_OK, console, emit_json, user_errors

if TYPE_CHECKING:
    from labelproof.spec.project import ProjectFolder
    from labelproof.store.interchange import GoldSet, ReadReport, RowError

app = typer.Typer(help="Check what a project reads: items, gold, malformed rows.")


@app.callback()
def _group() -> None:
    """Check what a project reads: items, gold, malformed rows."""


@app.command()
def check(
    project: Annotated[str, typer.Argument(help="Project name or folder.")],
    *,
    show: Annotated[int, typer.Option("--show", min=0, help="Malformed rows to list.")] = 10,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Read a project's items and gold; report counts and malformed rows. Exit 1 if there are any."""
    with user_errors(as_json=as_json):
        from labelproof.spec.project import find_project
        from labelproof.store.interchange import read_items

        folder = find_project(project)
        items = read_items(folder.spec.items.model_copy(update={"on_error": "skip"}), folder.folder)
        gold = _gold(folder, items)
        result = _summary(items, gold, show)
        if as_json:
            emit_json(result)
        else:
            _print(folder.name, result)
    bad = bool(items.errors) or not items.items or bool(gold and gold.errors)
    raise typer.Exit(EXIT_NO if bad else EXIT_OK)


def _gold(folder: ProjectFolder, items: ReadReport) -> GoldSet | None:
    if folder.spec.gold is None:
        return None
    from evaluation.splits import assign_split
    from labelproof.store.interchange import read_gold

    return read_gold(folder.spec.gold, folder.folder, items.item_ids, folder.spec.labels, assign=assign_split)


def _summary(items: ReadReport, gold: GoldSet | None, show: int) -> dict[str, Any]:
    lengths = sorted(len(item.text) for item in items.items)
    result: dict[str, Any] = {
        "items": {
            "rows": items.n_rows,
            "items": len(items.items),
            "duplicates": len(items.duplicates),
            "malformed": len(items.errors),
            "median_chars": lengths[len(lengths) // 2] if lengths else None,
            "longest_chars": lengths[-1] if lengths else None,
            "errors": _errors(items.errors, show),
        },
        "gold": None,
    }
    if gold is not None:
        splits: dict[str, dict[str, int]] = {}
        for row in gold.rows:
            labels = splits.setdefault(row.split, {})
            labels[row.label] = labels.get(row.label, 0) + 1
        result["gold"] = {
            "name": gold.name,
            "fingerprint": gold.fingerprint,
            "rows": gold.n_rows,
            "usable": len(gold.rows),
            "duplicates": gold.n_duplicates,
            "malformed": len(gold.errors),
            "splits": splits,
            "errors": _errors(gold.errors, show),
        }
    return result


def _errors(errors: tuple[RowError, ...], show: int) -> list[dict[str, Any]]:
    return [{"source": e.source, "line": e.line, "reason": e.reason, "raw": e.raw} for e in errors[:show]]


def _print(name: str, result: dict[str, Any]) -> None:
    from rich.markup import escape
    from rich.table import Table

    out = console()
    items = result["items"]
    out.print(
        f"[bold]{escape(name)}[/]: {items['rows']} rows = {items['items']} items"
        f" + {items['duplicates']} duplicates + {items['malformed']} malformed"
    )
    if items["items"]:
        out.print(f"  median length {items['median_chars']} characters, longest {items['longest_chars']}")
    gold = result["gold"]
    if gold is None:
        out.print("  no gold set: nothing can be scored, calibrated or certified")
    else:
        out.print(
            f"[bold]gold[/] {escape(gold['name'])} ({gold['fingerprint']}): {gold['rows']} rows ="
            f" {gold['usable']} labels + {gold['duplicates']} duplicates + {gold['malformed']} malformed"
        )
        table = Table(box=None, pad_edge=True)
        labels = sorted({label for counts in gold["splits"].values() for label in counts})
        table.add_column("label")
        for split in gold["splits"]:
            table.add_column(split, justify="right")
        for label in labels:
            table.add_row(escape(label), *(str(counts.get(label, 0)) for counts in gold["splits"].values()))
        out.print(table)
    for title, part in (("items", items), ("gold", gold or {"errors": [], "malformed": 0})):
        for error in part["errors"]:
            out.print(f"[red]{title}[/] {escape(error['source'])}:{error['line']}: {escape(error['reason'])}")
        left = part["malformed"] - len(part["errors"])
        if left > 0:
            out.print(f"  … and {left} more malformed {title} rows (--show {part['malformed']})")
