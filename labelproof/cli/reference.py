"""``docs/reference/cli.md``, written from the commands themselves: ``python -m labelproof.cli.reference``."""

from __future__ import annotations

import re
from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin

from labelproof.cli.main import COMMANDS, PANELS, load, overview

if TYPE_CHECKING:
    from typer.core import TyperCommand, TyperGroup

REFERENCE = Path(__file__).resolve().parents[2] / "docs" / "reference" / "cli.md"


def reference() -> str:
    """Return the page: the overview, then every command with its arguments and options."""
    lines = [
        "# Command line",
        "",
        "Written by `python -m labelproof.cli.reference`; do not edit.",
        "",
        'Exit codes: 0 ok; 1 the answer is "no"; 2 you must fix something (the message says what); 70 a bug of',
        "ours; 130 interrupted. Results go to standard output, progress and errors to standard error; `--json`",
        "prints one JSON document.",
        "",
        "```",
        overview(color=False).rstrip(),
        "```",
    ]
    for panel in PANELS:
        for row in COMMANDS:
            if row.panel == panel:
                lines += _command(load(row), f"labelproof {row.name}", level=2)
    return "\n".join(lines) + "\n"


def _command(command: TyperCommand | TyperGroup, path: str, *, level: int) -> Iterator[str]:
    import typer
    from typer.core import TyperGroup

    context = typer.Context(command, info_name=path)
    yield from ("", f"{'#' * level} {path}", "", _plain(command.help or ""), "")
    if isinstance(command, TyperGroup):
        for name, inner in command.commands.items():
            yield from _command(inner, f"{path} {name}", level=level + 1)  # type: ignore[arg-type]
        return
    pieces = (
        re.sub(r"[{<](\w+)[}>]", lambda m: m[1].upper(), p) for p in command.collect_usage_pieces(context)
    )
    usage = " ".join(pieces)
    yield from (f"`{path} {usage}`", "")
    rows = [_parameter(parameter) for parameter in command.params]
    if rows:
        yield from ("| | |", "| --- | --- |")
        yield from (f"| {name} | {text} |" for name, text in rows)


def _parameter(parameter: Any) -> tuple[str, str]:
    """Return how a parameter is written and what it does, for a Markdown table."""
    is_argument = parameter.param_type_name == "argument"
    names = [parameter.name.upper()] if is_argument else [*parameter.opts, *parameter.secondary_opts]
    text = _plain(parameter.help or "")
    choices = _choices(parameter.type_descriptor.annotation)
    if choices:
        text += f" One of {', '.join(f'`{choice}`' for choice in choices)}."
    shown = parameter.show_default if isinstance(parameter.show_default, str) else _default(parameter)
    if shown:
        text += f" Default: {shown}."
    if parameter.envvar:
        text += f" Environment: `{parameter.envvar}`."
    if parameter.required and not is_argument:
        text += " Required."
    return " ".join(f"`{name}`" for name in names), text.strip().replace("|", "\\|")


def _default(parameter: Any) -> str:
    default = parameter.default
    if default in (None, "", ()) or isinstance(default, bool) or callable(default):
        return ""
    return f"`{_value(default)}`"


def _choices(annotation: Any) -> list[str]:
    """Return the values of an enum or Literal, also inside ``| None``; else nothing."""
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        return [_value(member) for member in annotation]
    if get_origin(annotation) is Literal:
        return [str(value) for value in get_args(annotation)]
    return [choice for inner in get_args(annotation) for choice in _choices(inner)]


def _value(choice: Any) -> str:
    return str(choice.value if isinstance(choice, Enum) else choice)


def _plain(text: str) -> str:
    """Return help text on one line a paragraph."""
    paragraphs = re.split(r"\n\s*\n", text.strip())
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)


if __name__ == "__main__":
    REFERENCE.parent.mkdir(parents=True, exist_ok=True)
    REFERENCE.write_text(reference(), encoding="utf-8")
