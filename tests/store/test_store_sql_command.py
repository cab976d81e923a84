"""``labelproof sql``: what an analyst types and what a script reads."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from labelproof.cli.sql import sql
from labelproof.store import open_store
from labelproof.store.schema import TABLES, VIEWS
from tests.store.store_helpers import decisions

app = typer.Typer()
app.command()(sql)
runner = CliRunner()


@pytest.fixture
def folder(tmp_path: Path) -> str:
    with open_store(tmp_path) as store:
        store.append("decisions", decisions(["a"]))
        store.drain()
        store.append("decisions", decisions(["b"], label="\x1b[31mred\nline"))
    return str(tmp_path)


def run(*args: str, stdin: str | None = None) -> tuple[int, str, str]:
    result = runner.invoke(app, list(args), input=stdin)
    return result.exit_code, result.stdout, result.stderr


def test_json_has_the_rows_and_the_waiting_ones_unless_told(folder: str) -> None:
    query = "SELECT item_id, confidence FROM decisions ORDER BY 1"
    code, out, _ = run(query, "--store", folder, "--json")
    assert (code, json.loads(out)) == (
        0,
        [{"item_id": "a", "confidence": None}, {"item_id": "b", "confidence": None}],
    )
    _, out, _ = run(query, "--store", folder, "--json", "--drained")
    assert [row["item_id"] for row in json.loads(out)] == ["a"]


def test_csv_quotes_what_needs_it(folder: str) -> None:
    code, out, _ = run("SELECT item_id, 'x,y' AS b FROM decisions ORDER BY 1", "--store", folder, "--csv")
    assert (code, out) == (0, 'item_id,b\na,"x,y"\nb,"x,y"\n')


def test_a_table_shows_control_characters_instead_of_obeying_them(folder: str) -> None:
    code, out, _ = run("SELECT label, NULL AS n FROM decisions WHERE item_id = 'b'", "--store", folder)
    assert code == 0
    assert "\\x1b[31mred\\nline" in out
    assert "\x1b[31mred" not in out
    assert "NULL" in out
    assert "1 row\n" in out


def test_a_query_may_come_from_standard_input(folder: str) -> None:
    code, out, _ = run("--store", folder, "--json", stdin="SELECT 1 AS one")
    assert (code, json.loads(out)) == (0, [{"one": 1}])


@pytest.mark.parametrize(
    ("query", "message"),
    [("DROP TABLE steps", "read-only"), ("SELECT nothing", "nothing")],
)
def test_a_wrong_query_exits_2_with_the_reason(folder: str, query: str, message: str) -> None:
    code, out, err = run(query, "--store", folder)
    assert (code, out) == (2, "")
    assert message in err.replace("\n", " ")
    code, out, _ = run(query, "--store", folder, "--json")
    assert code == 2
    assert json.loads(out)["kind"] == "StoreError"


def test_without_a_store_it_says_so_and_makes_none(tmp_path: Path) -> None:
    code, _, err = run("SELECT 1", "--store", str(tmp_path / "none"))
    assert code == 2
    assert "no trace store" in err
    assert not (tmp_path / "none").exists()


def test_the_schema_needs_no_store() -> None:
    code, out, _ = run("--schema", "--json")
    assert code == 0
    shown = json.loads(out)
    assert [table["name"] for table in shown["tables"]] == list(TABLES)
    assert [view["name"] for view in shown["views"]] == list(VIEWS)
    _, table, _ = run("--schema")
    assert "certificate_events" in table
    _, lines, _ = run("--schema", "--csv")
    assert len(lines.splitlines()) == 1 + sum(len(table.columns) for table in TABLES.values())


def test_the_prompt_reads_statements_until_the_end_of_input(
    folder: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = iter(["", ".schema", "SELECT count(*) AS n", "FROM decisions;", "SELECT wrong;", "exit"])
    monkeypatch.setattr("builtins.input", lambda prompt: next(lines))
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    sql(None, store=folder, as_json=True)
    out = capsys.readouterr().out
    assert '"n": 2' in out
    assert "import_errors" in out
    assert "wrong" in out
    assert next(lines, None) is None
