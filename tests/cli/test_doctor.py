"""Doctor names what is broken and what to do, and never shows a secret."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from labelproof.cli import _checks
from labelproof.cli._checks import Check, check_environment, check_keys, check_roots, check_store
from labelproof.store import open_store


def test_keys_are_named_and_never_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-very-secret")
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    (check,) = check_keys()
    assert check.found == "OPENAI_API_KEY set, OPENAI_BASE_URL not set"
    assert "sk-very-secret" not in repr(check)


def test_shadowed_package_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert [check.state for check in check_roots()] == ["ok"]
    (check,) = check_roots(tmp_path)
    assert check.state == "fail"
    assert "agents comes from" in check.found


def test_a_package_that_differs_from_the_lock_fails(tmp_path: Path) -> None:
    lock = '[[package]]\nname = "{}"\nversion = "{}"\n'
    (tmp_path / "uv.lock").write_text(lock.format("PyTest", "0.0.1"))
    (check,) = check_environment(tmp_path)
    assert check.state == "fail"
    assert "pytest" in check.found
    assert "locked: 0.0.1" in check.found
    assert check.do == "uv sync --locked"
    (tmp_path / "uv.lock").write_text(lock.format("something-else", "1"))
    (check,) = check_environment(tmp_path)
    assert (check.state, "not in uv.lock" in check.found) == ("warn", True)


def test_store_states(tmp_path: Path) -> None:
    (check,) = check_store(str(tmp_path / "none"))
    assert (check.state, "none yet" in check.found) == ("ok", True)
    assert not (tmp_path / "none").exists()
    open_store(tmp_path / "store").close()
    (check,) = check_store(str(tmp_path / "store"))
    assert check.state == "ok"
    assert "schema " in check.found
    assert "0 segments waiting" in check.found


def test_a_check_that_breaks_is_a_finding_and_exit_1(
    run_json: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken() -> Iterator[Check]:
        raise RuntimeError("two\nlines")

    for name in ("check_environment", "check_llama", "check_prefect", "check_duckdb"):
        monkeypatch.setattr(_checks, name, broken)
    found = run_json("doctor", exits=1)
    assert found["ok"] is False
    by_name = {check["name"]: check for check in found["checks"]}
    assert by_name["duckdb"]["state"] == "fail"
    assert by_name["duckdb"]["found"] == "RuntimeError: two lines"
    assert by_name["python"]["state"] == "ok"


def test_duckdb_and_its_extensions_load_offline() -> None:
    (check,) = _checks.check_duckdb()
    assert check.state == "ok", check.found
