"""`labelproof init`: a new project folder that validates and runs at once."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from labelproof.cli._common import command_name, console, emit_json, user_errors
from labelproof.spec.errors import ConfigError

if TYPE_CHECKING:
    from rich.console import Console

    from labelproof.report.playbook.start import Start
    from labelproof.scaffold import NewProject
    from labelproof.spec.labels import LabelSchema


class Kind(StrEnum):
    """How labels relate."""

    SINGLE = "single"
    MULTI = "multi"
    TAXONOMY = "taxonomy"


def init(
    name: Annotated[str, typer.Argument(help="Name of the project; its folder is projects/NAME.")],
    *,
    kind: Annotated[
        Kind | None,
        typer.Option(
            "--kind",
            help="Exactly one label, any number, or one leaf of two levels.",
            show_default="taxonomy if a label holds a /, else single",
        ),
    ] = None,
    labels: Annotated[
        str | None,
        typer.Option(
            "--labels", help="Names with commas between; taxonomy: parent/child. Default: a sample's."
        ),
    ] = None,
    items: Annotated[
        str | None,
        typer.Option("--items", help="File, wildcard or URL of your items. Default: 24 sample messages."),
    ] = None,
    text_column: Annotated[
        str, typer.Option("--text-column", help="Column of --items that holds the text.")
    ] = "text",
    id_column: Annotated[
        str | None,
        typer.Option(
            "--id-column", help="Column of --items that names each item.", show_default="id, if there"
        ),
    ] = None,
    source: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="playbook:ENTRY|PROJECT[/STRATEGY]",
            help="Start with a strategy that was measured elsewhere: its prompts and experiment rule come along.",
        ),
    ] = None,
    store: Annotated[
        str | None,
        typer.Option(
            "--store", envvar="LABELPROOF_STORE", help="Trace store whose playbook `--from playbook:` reads."
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Make projects/NAME: label schema, guideline, two strategies and data; it runs at once."""
    with user_errors(as_json=as_json):
        target = Path("projects") / name
        _check_name(name, target)
        schema, description = _schema(kind, labels)
        from labelproof.scaffold import NewProject, render

        project = NewProject(
            name=name,
            schema=schema,
            description=description,
            items_path=_items_path(items, target),
            text_column=text_column,
            id_column=id_column,
        )
        start = None if source is None else _start(source, schema, store)
        rendered = render(project)
        _write(target, rendered if start is None else start.into(rendered), project)
        steps = _next_steps(project, start)
        if as_json:
            found = sorted(str(path) for path in target.rglob("*") if path.is_file())
            told = {} if start is None else {"copied": start.copied, "to_do": start.to_do}
            emit_json({"project": name, "folder": str(target), "files": found, "next": steps, **told})
            return
        out = console()
        out.print(f"made [bold]{target}[/]")
        if start is not None:
            _tell(out, start)
        for command, why in steps.items():
            out.print(f"  [cyan]{command}[/]\n      [dim]{why}[/]")


def _start(source: str, schema: LabelSchema, store: str | None) -> Start:
    from labelproof.report.playbook.start import start_from
    from labelproof.store import default_store, open_store

    return start_from(source, schema, lambda: open_store(store or default_store(), create=False))


def _tell(out: Console, start: Start) -> None:
    """Say what was taken over and what people must write; names of others stay inert."""
    from rich.text import Text

    from labelproof.report.compare.text import one_text

    out.print("taken over:")
    for line in start.copied:
        out.print(Text(f"  {one_text(line)}"), soft_wrap=True)
    out.print("for you to write or to look at:")
    for line in start.to_do:
        out.print(Text(f"  {one_text(line)}"), soft_wrap=True)


def _check_name(name: str, target: Path) -> None:
    from labelproof.spec.strategy import NAME

    if not re.fullmatch(NAME.rstrip("$"), name):
        raise ConfigError(
            f"a project is named by a letter and then letters, digits, _ . or -, at most 64 in all; found {name!r}"
        )
    if target.exists() or target.is_symlink():
        raise ConfigError(
            "there is something already; nothing was written", path=target, hint="choose another name"
        )


def _schema(kind: Kind | None, labels: str | None) -> tuple[LabelSchema, str]:
    from pydantic import ValidationError

    from labelproof.scaffold import sample_schema, schema_of

    if labels is None:
        return sample_schema((kind or Kind.SINGLE).value)
    names = [name.strip() for name in labels.split(",") if name.strip()]
    chosen = kind or (Kind.TAXONOMY if any("/" in name for name in names) else Kind.SINGLE)
    try:
        return schema_of(names, chosen.value), "Texts to be labeled."
    except ValidationError as error:
        said = "; ".join(str(detail.get("ctx", {}).get("error", detail["msg"])) for detail in error.errors())
        raise ConfigError(said, key="--labels") from error


def _items_path(items: str | None, target: Path) -> str | None:
    """Return the path as it is written into the project file: relative to its folder, unless absolute."""
    if items is None:
        return None
    if "://" in items or Path(items).expanduser().is_absolute():
        return items
    return os.path.relpath(items, target)


def _write(target: Path, rendered: dict[str, str], project: NewProject) -> None:
    """Write all files beside ``target``, load what was written, and only then give it its name."""
    draft = None
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
        draft.chmod(0o755)
        for relative, text in rendered.items():
            path = draft / relative
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        _validate(draft, project)
        draft.rename(target)
    except OSError as error:
        raise ConfigError(f"cannot write: {error.strerror or error}", path=target) from error
    finally:
        if draft is not None:
            shutil.rmtree(draft, ignore_errors=True)


def _validate(draft: Path, project: NewProject) -> None:
    from labelproof.spec.project import find_project
    from labelproof.store.interchange import iter_items

    folder = find_project(str(draft))
    for strategy in folder.strategy_names():
        folder.strategy(strategy)
    batch = next(iter_items(folder.spec.items, folder.folder), None)
    if batch is None or not batch.items:
        why = f"; first problem: {batch.errors[0]}" if batch is not None and batch.errors else ""
        raise ConfigError(
            f"no usable item in {project.items_path}{why}",
            key="--items",
            hint="name its columns with --text-column and --id-column",
        )


def _next_steps(project: NewProject, start: Start | None) -> dict[str, str]:
    """Return command → why, in the order to type them."""
    me, name = command_name(), project.name
    steps = {
        f"{me} items check {name}": "what will be read: items, gold, malformed rows",
        f"{me} plan {name}": "items, tokens, time and cost; nothing is spent",
        f"{me} run {name}": "label everything with the embedded model",
    }
    if start is not None:
        steps[f"{me} experiment run {name} --arms baseline,champion"] = "does it help here too? (needs gold)"
    if project.has_gold:
        steps[f"{me} score {name}"] = "accuracy against the gold labels, with intervals"
    else:
        steps[f"edit projects/{name}/guideline.md and project.yaml"] = (
            "say what each label means; add gold labels to score, calibrate and certify"
        )
    return steps
