"""A working folder of its own for every command test."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest

from labelproof.cli.main import dispatch

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LABELPROOF_STORE", str(tmp_path / "store"))
    monkeypatch.setenv("COLUMNS", "200")
    return tmp_path


@pytest.fixture
def run(work: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a command; returns exit code, standard output, standard error."""

    def run_command(*arguments: str) -> tuple[int, str, str]:
        capsys.readouterr()
        code = dispatch(arguments)
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run_command


@pytest.fixture
def run_json(run: Run) -> Callable[..., Any]:
    """Run a command with --json; returns its document and checks the exit code."""

    def run_command(*arguments: str, exits: int = 0) -> Any:
        code, out, err = run(*arguments, "--json")
        assert code == exits, out + err
        return orjson.loads(out)

    return run_command
