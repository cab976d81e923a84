"""The same store in a DuckLake: catalog in SQLite, and in PostgreSQL where installed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest

from labelproof.spec.errors import StoreError
from labelproof.store import open_store
from labelproof.store.engine import quoted
from labelproof.store.lake import extension_path, is_passing, s3_secret
from labelproof.store.location import parse_location
from tests.store.store_helpers import call, decisions, start_python
from tests.store.store_postgres import postgres_server

WRITER = """
import sys
from labelproof.store import open_store
with open_store(sys.argv[1]) as store:
    for batch in range(4):
        ids = [f"{sys.argv[2]}-{batch}-{row}" for row in range(50)]
        store.append("decisions", {"item_id": ids})
        store.drain()
    assert store.drain_all(60).left == 0
    print(store.secret("shared").hex())
"""


@pytest.fixture(scope="module")
def postgres() -> Iterator[str]:
    with postgres_server() as catalog:
        yield catalog


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"ducklake:sqlite:{tmp_path / 'catalog.sqlite'}?data={tmp_path / 'data'}"
    catalog: str = request.getfixturevalue("postgres")
    connection = duckdb.connect()
    connection.execute(f"LOAD {quoted(extension_path('postgres_scanner'))}")
    connection.execute(f"ATTACH {quoted(catalog)} AS pg (TYPE postgres)")
    for statement in ("DROP SCHEMA public CASCADE", "CREATE SCHEMA public"):
        connection.execute(f"CALL postgres_execute('pg', {quoted(statement)})")
    connection.close()
    return f"ducklake:postgres:{catalog}?data={tmp_path / 'data'}&outbox={tmp_path / 'local'}"


@pytest.mark.slow
def test_a_lake_does_what_a_file_does(url: str) -> None:
    with open_store(url) as store:
        store.append("decisions", decisions(["a", "b"], second=1, label="old"))
        assert store.drain().drained == 1
        store.append("decisions", decisions(["b"], second=2, label="new"))
        store.append("texts", {"text_hash": ["h"], "text": ["x\x00\u200by"]})
        fresh = store.query("FROM current_decisions ORDER BY item_id", fresh=True)
        assert fresh["label"].to_pylist() == ["old", "new"]
        assert store.query("FROM current_decisions").num_rows == 2
        store.journal("r1").write(call("k0"))
        assert [row["response_text"] for row in store.calls_for(["i1"])] == ["answer k0"]
        secret = store.secret("spotlight")
    with open_store(url, create=False) as store:
        assert store.secret("spotlight") == secret
        assert store.drain_all(30).left == 0
        assert store.query("SELECT call_key FROM calls").to_pylist() == [{"call_key": "k0"}]
        assert store.query("FROM decisions").num_rows == 3
        assert store.query("SELECT text FROM texts WHERE text_hash = 'h'")["text"].to_pylist() == [
            "x\x00\u200by"
        ]


@pytest.mark.slow
def test_writers_with_their_own_outboxes_share_a_lake(url: str, tmp_path: Path) -> None:
    """As several machines would: no common lock file, conflicts are settled by the catalog."""
    base = url.split("&outbox=", maxsplit=1)[0]
    urls = [f"{base}&outbox={tmp_path / f'machine{n}'}" for n in range(2)]
    writers = [start_python(WRITER, address, f"w{n}") for n, address in enumerate(urls)]
    answers = {writer.communicate()[0] for writer in writers}
    assert [writer.returncode for writer in writers] == [0, 0]
    assert len(answers) == 1
    with open_store(urls[0], create=False) as store:
        (row,) = store.query(
            "SELECT count(*) AS n, count(DISTINCT item_id) AS ids FROM decisions"
        ).to_pylist()
        assert row == {"n": 400, "ids": 400}


def test_a_missing_lake_is_named(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="no trace store"):
        open_store(f"ducklake:sqlite:{tmp_path / 'none.sqlite'}?data={tmp_path}", create=False)


def test_a_dead_catalog_server_is_an_error_without_the_password(tmp_path: Path) -> None:
    catalog = "dbname=x host=127.0.0.1 port=1 password=hunter2 connect_timeout=1"
    with pytest.raises(StoreError) as caught:
        open_store(f"ducklake:postgres:{catalog}?data={tmp_path}&outbox={tmp_path / 'o'}")
    assert "hunter2" not in str(caught.value)


def test_conflicts_pass_and_mistakes_do_not() -> None:
    assert is_passing(duckdb.TransactionException("Failed to commit DuckLake transaction"))
    assert is_passing(duckdb.IOException("database is locked"))
    assert not is_passing(duckdb.BinderException("Referenced column not found"))


def test_a_missing_extension_package_is_named() -> None:
    with pytest.raises(StoreError, match="duckdb-extension-nowhere=="):
        extension_path("nowhere")


def test_object_store_keys_come_from_the_standard_variables() -> None:
    assert s3_secret({}) is None
    statement = s3_secret(
        {
            "AWS_ACCESS_KEY_ID": "k'ey",
            "AWS_SECRET_ACCESS_KEY": "s",
            "AWS_REGION": "eu-1",
            "AWS_ENDPOINT_URL": "http://localhost:9000",
        }
    )
    connection = duckdb.connect(config={"autoinstall_known_extensions": False})
    connection.execute(f"LOAD {quoted(extension_path('httpfs'))}")
    connection.execute(statement or "")
    rows = connection.execute("SELECT secret_string FROM duckdb_secrets()").fetchall()
    connection.close()
    (text,) = rows[0]
    assert "endpoint=localhost:9000" in text
    assert "use_ssl=false" in text


@pytest.mark.parametrize(
    ("url", "target", "outbox"),
    [
        ("/s", "/s/trace.duckdb", "/s/outbox"),
        ("duckdb:///s", "/s/trace.duckdb", "/s/outbox"),
        ("/s/trace.duckdb", "/s/trace.duckdb", "/s/outbox"),
        ("/s/other.duckdb", "/s/other.duckdb", "/s/other.outbox"),
        ("ducklake:sqlite:/s/c.sqlite?data=/d", "sqlite:/s/c.sqlite", "/s/outbox"),
        ("ducklake:postgres:dbname=x?data=s3://b/p&outbox=/o", "postgres:dbname=x", "/o/outbox"),
    ],
)
def test_addresses_are_read(url: str, target: str, outbox: str) -> None:
    location = parse_location(url)
    assert (location.target, str(location.outbox)) == (target, outbox)


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("", "empty"),
        ("mysql://host/db", "not a kind of store"),
        ("ducklake:mysql:x", "catalog 'mysql'"),
        ("ducklake:sqlite:/c?data=/d&speed=1", "speed"),
        ("ducklake:postgres:dbname=x", "data files"),
    ],
)
def test_wrong_addresses_list_the_right_ones(url: str, message: str) -> None:
    with pytest.raises(StoreError, match=message):
        parse_location(url)


def test_passwords_are_masked() -> None:
    for secret in ("postgres:dbname=x password=hunter2", "postgres:postgresql://me:hunter2@db/x"):
        location = parse_location(f"ducklake:{secret}?data=s3://b")
        assert "hunter2" not in location.shown
