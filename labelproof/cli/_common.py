"""What commands share: consoles, JSON output, and errors a person can act on."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from labelproof.spec.errors import BugError, ConfigError, LabelproofError

if TYPE_CHECKING:
    from rich.console import Console

FILE_WIDTH = 120
"""Columns of output that goes to a file or a pipe."""
EXIT_OK = 0
EXIT_NO = 1
"""The answer to the question asked is "no"."""
EXIT_USER = 2
"""The user must fix something."""


def console(*, stderr: bool = False) -> Console:
    """Return a Rich console; results go to stdout, progress and errors to stderr; texts cannot steer the terminal."""
    from labelproof.cli._console import SafeConsole

    shown_to_person = (sys.stderr if stderr else sys.stdout).isatty()
    return SafeConsole(stderr=stderr, highlight=False, width=None if shown_to_person else FILE_WIDTH)


def emit_json(value: Any) -> None:
    """Print ``value`` as indented JSON on stdout."""
    import orjson

    options = orjson.OPT_INDENT_2 | orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_NON_STR_KEYS
    sys.stdout.write(orjson.dumps(value, option=options, default=_plain).decode() + "\n")


def _plain(value: Any) -> Any:
    from dataclasses import asdict, is_dataclass

    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    if isinstance(value, set | frozenset):
        return sorted(value)
    return str(value)


@contextmanager
def user_errors(*, as_json: bool = False) -> Iterator[None]:
    """Turn a user's error into one line and exit 2, a file that cannot be read or written too; a bug keeps its traceback."""
    try:
        yield
    except BugError:
        raise
    except LabelproofError as error:
        _tell_error(error, as_json=as_json)
        raise typer.Exit(EXIT_USER) from error
    except OSError as error:
        if error.filename is None:
            raise
        found = ConfigError(error.strerror or str(error), path=str(error.filename))
        _tell_error(found, as_json=as_json)
        raise typer.Exit(EXIT_USER) from error


def _tell_error(error: LabelproofError, *, as_json: bool) -> None:
    if as_json:
        emit_json({"error": error.message, "kind": type(error).__name__, "hint": error.hint})
        return
    from rich.markup import escape

    line = f"[bold red]error[/] {escape(error.message)}"
    if error.hint:
        line += f"\n  [dim]->[/] {escape(error.hint)}"
    console(stderr=True).print(line, soft_wrap=True)


def write_page(path: Path, html: str) -> None:
    """Write a report's page, and the folders it is to stand in; a user's error where that is not possible."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(html, encoding="utf-8")
    except OSError as error:
        raise ConfigError(
            f"the page cannot be written to {path}: {error.strerror or error}",
            hint="name another file with --html",
        ) from error


def command_name() -> str:
    """Return how the user can type this program: its name if on PATH, else the path that was used."""
    import shutil

    if shutil.which("labelproof"):
        return "labelproof"
    used = Path(sys.argv[0])
    if used.name == "__main__.py":
        return "python -m labelproof"
    try:
        return str(used.resolve().relative_to(Path.cwd()))
    except ValueError:
        return str(used)
