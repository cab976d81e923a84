"""The entry point: instant overview, lazy commands, exit codes, and a reference that is up to date."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from typer.core import TyperGroup

from labelproof import __version__
from labelproof.cli import main as cli
from labelproof.cli.main import COMMANDS, PANELS, Row, dispatch, load
from labelproof.cli.reference import REFERENCE, reference
from labelproof.spec.errors import BugError, ConfigError

ROOT = Path(cli.__file__).parents[2]


@pytest.mark.parametrize("row", COMMANDS, ids=lambda row: row.name)
def test_every_row_imports_and_has_help_in_the_reference(row: Row) -> None:
    command = load(row)
    assert command.name == row.name
    assert command.help
    assert row.panel in PANELS
    assert not row.help.endswith(".")
    text = REFERENCE.read_text(encoding="utf-8")
    assert f"## labelproof {row.name}\n" in text
    if isinstance(command, TyperGroup):
        for name, inner in command.commands.items():
            assert inner.help, f"{row.name} {name} has no help"
            assert f"### labelproof {row.name} {name}\n" in text


def test_reference_is_up_to_date() -> None:
    assert REFERENCE.read_text(encoding="utf-8") == reference(), "run: python -m labelproof.cli.reference"


def test_overview_lists_every_command_once(capsys: pytest.CaptureFixture[str]) -> None:
    assert dispatch(["--help"]) == 0
    lines = capsys.readouterr().out.splitlines()
    for row in COMMANDS:
        assert sum(line.startswith(f"  {row.name} ") for line in lines) == 1
    assert max(map(len, lines)) <= 100


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], [], ["statsu"]])
def test_overview_version_and_typos_import_nothing_heavy(arguments: list[str]) -> None:
    script = (
        "import sys\nfrom labelproof.cli.main import dispatch\n"
        f"code = dispatch({arguments!r})\n"
        "heavy = {'typer', 'rich', 'duckdb', 'prefect', 'langchain', 'pydantic', 'numpy', 'yaml'}\n"
        "print(code, sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == ("2 []" if arguments == ["statsu"] else "0 []")


def test_module_can_be_run() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "labelproof", "--version"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == f"labelproof {__version__}\n"


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("statsu", "no such command: statsu; did you mean `status`?"),
        ("xyzzy", "no such command: xyzzy\n"),
        ("--verison", "no such option: --verison"),
    ],
)
def test_unknown_commands_are_the_users_error(
    capsys: pytest.CaptureFixture[str], typed: str, said: str
) -> None:
    assert dispatch([typed]) == 2
    assert said in capsys.readouterr().err


def test_unknown_option_of_a_command_exits_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert dispatch(["doctor", "--jsno"]) == 2
    assert "--jsno" in capsys.readouterr().err


def test_short_help_works_for_commands(capsys: pytest.CaptureFixture[str]) -> None:
    assert dispatch(["init", "-h"]) == 0
    assert "labelproof init" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("raised", "code", "said"),
    [
        (KeyboardInterrupt(), 130, "\ninterrupted\n"),
        (ConfigError("wrong", path="p.yaml", line=3, hint="do this"), 2, "p.yaml:3: wrong\n  -> do this"),
        (BugError("ours"), 70, "this is a bug"),
        (ZeroDivisionError("oops"), 70, "Traceback"),
        (SystemExit("text"), 1, ""),
    ],
)
def test_what_escapes_a_command_becomes_an_exit_code(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    raised: BaseException,
    code: int,
    said: str,
) -> None:
    def break_down(row: Row) -> None:
        raise raised

    monkeypatch.setattr(cli, "load", break_down)
    assert dispatch(["doctor"]) == code
    assert said in capsys.readouterr().err


def test_ctrl_c_inside_a_command_is_one_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("labelproof.cli._checks.run_checks", interrupted)
    assert dispatch(["doctor"]) == 130
    assert capsys.readouterr().err.strip() == "interrupted"


def test_shells_complete_commands_from_the_table(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("_LABELPROOF_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", "labelproof st")
    monkeypatch.setenv("COMP_CWORD", "1")
    assert dispatch([]) == 0
    assert capsys.readouterr().out.split() == ["strategy", "status"]
