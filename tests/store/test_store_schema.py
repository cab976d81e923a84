"""Migrations, their ledger, upgrades of released files, and the schema's documentation."""

from __future__ import annotations

import gzip
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest

from labelproof.spec.errors import StoreError
from labelproof.store import TraceStore, open_store
from labelproof.store.engine import FileEngine
from labelproof.store.location import parse_location
from labelproof.store.migrate import Migration, ensure_schema, known_migrations
from labelproof.store.schema import TABLES, VIEWS, markdown
from tests.store.store_helpers import ROOT, decisions, start_python

DATA = Path(__file__).parent / "data"
OPEN = """
import sys
from labelproof.store import open_store
with open_store(sys.argv[1]) as store:
    store.append("runs", {"run_id": [sys.argv[2]]})
    store.drain_all(30)
    print(store.secret("shared").hex(), store.query("FROM ledger_migrations").num_rows)
"""


def edit(path: Path, sql: str) -> None:
    connection = duckdb.connect(str(path))
    connection.execute(sql)
    connection.close()


def test_the_migrations_build_exactly_the_documented_schema(store: TraceStore) -> None:
    rows = store.query(
        "SELECT table_name, column_name, data_type FROM duckdb_columns() "
        "WHERE database_name = 'trace' AND table_name NOT IN "
        "(SELECT view_name FROM duckdb_views()) ORDER BY table_name, column_index"
    ).to_pylist()
    built: dict[str, list[tuple[str, str]]] = {}
    for row in rows:
        kind = row["data_type"].replace("TIMESTAMP WITH TIME ZONE", "TIMESTAMPTZ")
        built.setdefault(row["table_name"], []).append((row["column_name"], kind))
    assert built == {t.name: [(c.name, c.type) for c in t.columns] for t in TABLES.values()}
    views = store.query("SELECT view_name FROM duckdb_views() WHERE database_name = 'trace'")
    assert set(views["view_name"].to_pylist()) == set(VIEWS)


def test_every_view_can_be_queried_fresh_and_drained(store: TraceStore) -> None:
    for view in VIEWS:
        assert store.query(f"FROM {view}").num_rows == store.query(f"FROM {view}", fresh=True).num_rows


def test_the_committed_schema_page_is_up_to_date() -> None:
    assert (ROOT / "docs" / "schema.md").read_text(encoding="utf-8") == markdown()


def test_no_index_key_or_constraint_is_ever_made() -> None:
    for migration in known_migrations():
        statements = " ".join(
            line for line in migration.sql.upper().splitlines() if not line.startswith("--")
        )
        for word in ("INDEX", "PRIMARY", "UNIQUE", "CONFLICT", "ENUM", "DEFAULT", "NOT NULL"):
            assert word not in statements


def test_the_ledger_names_every_migration_once(store: TraceStore) -> None:
    ledger = store.query("SELECT version, name, checksum FROM ledger_migrations ORDER BY version")
    expected = [(m.version, m.name, m.checksum) for m in known_migrations()]
    assert [tuple(row.values()) for row in ledger.to_pylist()] == expected
    assert [version for version, _, _ in expected] == list(range(1, len(expected) + 1))


def test_the_file_can_be_read_by_the_oldest_supported_duckdb(store: TraceStore) -> None:
    tags = store.query("SELECT tags FROM duckdb_databases() WHERE database_name = 'trace'")
    assert dict(tags["tags"][0].as_py())["storage_version"].startswith("v1.5.0")


def test_a_file_of_schema_version_1_is_upgraded_with_its_rows(tmp_path: Path) -> None:
    with gzip.open(DATA / "schema_v1.duckdb.gz") as packed:
        (tmp_path / "trace.duckdb").write_bytes(packed.read())
    with open_store(tmp_path) as store:
        current = store.query("FROM current_decisions ORDER BY item_id").to_pylist()
        assert [(row["item_id"], row["label"]) for row in current] == [("a", "new"), ("b", "ham")]
        assert store.query("FROM text_by_hash").to_pylist() == [{"text_hash": "h", "text": "a\x00ü"}]
        store.append("decisions", decisions(["c"]))
        store.drain()
        assert store.query("FROM current_decisions").num_rows == 3


def test_a_file_of_schema_version_3_keeps_its_votes_and_gets_outcomes_and_final_labels(
    tmp_path: Path,
) -> None:
    with gzip.open(DATA / "schema_v3.duckdb.gz") as packed:
        (tmp_path / "trace.duckdb").write_bytes(packed.read())
    with open_store(tmp_path) as store:
        rows = store.query("SELECT task_id, state FROM task_outcomes ORDER BY 1").to_pylist()
        assert [(row["task_id"], row["state"]) for row in rows] == [("t1", "disputed"), ("t2", "escalated")]
        assert store.query("SELECT signature FROM votes").to_pylist() == [{"signature": None}] * 4
        lead = {
            "vote_id": ["v5"],
            "project": ["p"],
            "task_id": ["t1"],
            "item_id": ["b"],
            "annotator": ["lea"],
        }
        said = {"role": ["adjudicator"], "answer": ["label"], "label": ["spam"], "signature": ["hs1:x"]}
        store.append("votes", {**lead, **said, "ts": [datetime(2026, 11, 2, tzinfo=UTC)]})
        store.drain()
        final = store.query("SELECT item_id, label, source, annotators FROM final_labels").to_pylist()
        assert final == [{"item_id": "b", "label": "spam", "source": "adjudicated", "annotators": "lea"}]


def test_a_file_of_schema_version_4_keeps_its_labels_and_shows_them_as_answers(tmp_path: Path) -> None:
    with gzip.open(DATA / "schema_v4.duckdb.gz") as packed:
        (tmp_path / "trace.duckdb").write_bytes(packed.read())
    with open_store(tmp_path) as store:
        final = store.query("SELECT item_id, label, source FROM final_labels ORDER BY item_id").to_pylist()
        assert final == [
            {"item_id": "a", "label": "spam", "source": "auto_accept"},
            {"item_id": "b", "label": "spam", "source": "agreed"},
        ]
        answers = store.query(
            "SELECT strategy, item_id, label, cost_usd FROM strategy_answers ORDER BY strategy, item_id"
        ).to_pylist()
        assert [(row["strategy"], row["item_id"], row["label"]) for row in answers] == [
            ("champion", "a", "ham"),
            ("champion", "b", "ham"),
            ("rival", "a", "spam"),
        ]
        assert {row["cost_usd"] for row in answers} == {None}


def test_a_file_of_schema_version_5_gets_the_tables_of_daily_work(tmp_path: Path) -> None:
    with gzip.open(DATA / "schema_v5.duckdb.gz") as packed:
        (tmp_path / "trace.duckdb").write_bytes(packed.read())
    with open_store(tmp_path) as store:
        assert store.query("SELECT item_id, label FROM final_labels ORDER BY item_id").num_rows == 2
        told = datetime(2026, 11, 2, tzinfo=UTC)
        alarm: dict[str, list[Any]] = {
            "alarm_id": ["a1"] * 2,
            "project": ["p"] * 2,
            "subject": ["coverage", None],
        }
        store.append(
            "alarms", {**alarm, "event": ["breached", "recovered"], "ts": [told, told + timedelta(hours=1)]}
        )
        opened: dict[str, list[Any]] = {
            "finding_id": ["f1"] * 3,
            "title": ["late", None, None],
            "event": ["opened", "closed", "reopened"],
        }
        store.append("findings", {**opened, "ts": [told + timedelta(hours=hour) for hour in range(3)]})
        store.drain()
        alarms = store.query("SELECT alarm_id, subject, state, breached_at FROM current_alarms").to_pylist()
        assert alarms == [
            {"alarm_id": "a1", "subject": "coverage", "state": "recovered", "breached_at": told}
        ]
        found = store.query("SELECT title, state, n_reopened FROM current_findings").to_pylist()
        assert found == [{"title": "late", "state": "open", "n_reopened": 1}]


def test_a_changed_migration_is_refused(tmp_path: Path) -> None:
    with open_store(tmp_path):
        pass
    edit(
        tmp_path / "trace.duckdb",
        "UPDATE ledger_migrations SET checksum = 'b2:other' WHERE version = 1",
    )
    with pytest.raises(StoreError, match=r"migration 1 .* checksum b2:other"):
        open_store(tmp_path)


def test_a_newer_store_is_refused(tmp_path: Path) -> None:
    with open_store(tmp_path):
        pass
    edit(tmp_path / "trace.duckdb", "INSERT INTO ledger_migrations SELECT 99, 'later', 'x', now()")
    with pytest.raises(StoreError, match="schema version 99"):
        open_store(tmp_path)


def test_somebody_elses_database_is_refused_and_left_alone(tmp_path: Path) -> None:
    edit(tmp_path / "trace.duckdb", "CREATE TABLE customers (id INTEGER)")
    with pytest.raises(StoreError, match=r"not a trace store.*customers"):
        open_store(tmp_path)
    edit(tmp_path / "trace.duckdb", "DROP TABLE customers")


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / "trace.duckdb").write_text("hello" * 5000)
    with pytest.raises(StoreError, match="cannot be opened"):
        open_store(tmp_path)


def test_a_migration_that_fails_changes_nothing(tmp_path: Path) -> None:
    location = parse_location(tmp_path)
    location.outbox.mkdir(parents=True)
    engine = FileEngine(location)
    broken = Migration(
        version=len(known_migrations()) + 1, name="broken", sql="CREATE TABLE t (a INT); SELECT x"
    )
    ensure_schema(engine, location, create=True)
    with pytest.raises(duckdb.Error, match="x"):
        ensure_schema(engine, location, create=False, migrations=[*known_migrations(), broken])
    engine.close()
    with open_store(tmp_path) as store:
        tables = store.query("SELECT table_name FROM duckdb_tables() WHERE database_name = 'trace'")
        assert "t" not in tables["table_name"].to_pylist()


def test_a_creation_that_fails_leaves_no_half_database(tmp_path: Path) -> None:
    location = parse_location(tmp_path)
    location.outbox.mkdir(parents=True)
    engine = FileEngine(location)
    broken = Migration(version=999, name="broken", sql="SELECT x")
    with pytest.raises(duckdb.Error, match="x"):
        ensure_schema(engine, location, create=True, migrations=[*known_migrations(), broken])
    engine.close()
    assert not (tmp_path / "trace.duckdb").exists()
    with open_store(tmp_path) as store:
        assert store.query("FROM ledger_migrations").num_rows == len(known_migrations())


def test_without_a_store_nothing_is_made_unless_asked(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="no trace store"):
        open_store(tmp_path / "none", create=False)
    assert not (tmp_path / "none").exists()


def test_two_openers_at_once_make_one_store(tmp_path: Path) -> None:
    openers = [start_python(OPEN, str(tmp_path / "new"), f"r{n}") for n in range(3)]
    answers = [opener.communicate()[0].split() for opener in openers]
    assert [opener.returncode for opener in openers] == [0, 0, 0]
    assert len({secret for secret, _ in answers}) == 1
    assert {n for _, n in answers} == {str(len(known_migrations()))}
    with open_store(tmp_path / "new") as store:
        runs = store.query("SELECT run_id FROM runs ORDER BY 1")["run_id"].to_pylist()
        assert runs == ["r0", "r1", "r2"]
