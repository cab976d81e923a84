"""What the terminal is told: no control character of a text reaches it, and a bad path is one line."""

from __future__ import annotations

import errno

import pytest
import typer
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from labelproof.cli._common import console, user_errors

HOSTILE = "\x1b[31mred\x1b]0;title\x07\x9b2J\x08\r\x7f"


def test_control_characters_are_shown_and_not_obeyed(capsys: pytest.CaptureFixture[str]) -> None:
    table = Table()
    table.add_column(escape(HOSTILE))
    table.add_row(Text(HOSTILE))
    console().print(escape(HOSTILE))
    console().print(table)
    console().print(f"two\nlines\t[bold]{escape(HOSTILE)}[/]")
    said = capsys.readouterr().out
    assert "two\nlines" in said
    assert "\u241b[31mred\u241b]0;title" in said
    assert not [char for char in said if char != "\n" and (ord(char) < 32 or 127 <= ord(char) < 160)]


def test_a_file_that_cannot_be_written_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(typer.Exit) as ended, user_errors():
        raise PermissionError(errno.EACCES, "Permission denied", "/somewhere/x.html")
    assert ended.value.exit_code == 2
    assert capsys.readouterr().err.splitlines() == ["error /somewhere/x.html: Permission denied"]
    with pytest.raises(OSError, match="broken"), user_errors():  # a socket's error is none of a path
        raise OSError("broken")
