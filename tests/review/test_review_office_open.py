"""Opening an office: where it is, who may read it, what a restart keeps, and what is refused."""

from __future__ import annotations

import contextlib
import logging
import os
import sqlite3
import threading
import traceback
from pathlib import Path

import pytest

from labelproof.review.office import office_url, open_office
from labelproof.spec.errors import ConfigError, StoreError
from labelproof.store.location import parse_location
from tests.review.office_helpers import PASSWORD, T0, at, cheap_office, claim, must_claim, signed


def mode(path: Path) -> str:
    return oct(path.stat().st_mode & 0o777)


def test_the_file_and_its_folder_are_made_and_only_the_owner_reads_it(tmp_path: Path) -> None:
    path = tmp_path / "new" / "deep" / "office.db"
    before = os.umask(0)
    try:
        with open_office(path) as office:
            must_claim(office, "t", "ann")
            assert {one.name for one in path.parent.iterdir()} >= {"office.db", "office.db-wal"}
            assert {mode(one) for one in path.parent.iterdir()} == {"0o600"}
    finally:
        os.umask(before)


def test_a_file_that_others_could_read_is_closed_to_them(tmp_path: Path) -> None:
    open_office(tmp_path / "office.db").close()
    (tmp_path / "office.db").chmod(0o644)
    open_office(tmp_path / "office.db").close()
    assert mode(tmp_path / "office.db") == "0o600"


def test_sqlite_is_set_up_for_several_writers(tmp_path: Path) -> None:
    with open_office(tmp_path / "office.db") as office, office._db.read() as connection:
        found = {
            name: connection.exec_driver_sql(f"PRAGMA {name}").scalar_one()
            for name in ("journal_mode", "synchronous", "busy_timeout")
        }
    assert found == {"journal_mode": "wal", "synchronous": 1, "busy_timeout": 15_000}


def test_a_restart_keeps_everything(tmp_path: Path) -> None:
    with cheap_office(tmp_path) as office:
        account = office.accounts.add("ann", role="lead", password=PASSWORD, languages=["es"])
        token = office.accounts.new_token("ann", "laptop")
        link = office.accounts.new_link("reset", "ann", "lead")
        session = office.sessions.start("ann")
        csrf = office.sessions.find(session)
        lease = must_claim(office, "held", "ann")
        office.leases.finish("done", "ann", decided=True, now=T0)
        for _ in range(5):
            office.attempts.failed("ann", "192.0.2.1")
        vote, cookie_key = signed(office.signer), office.signer.cookie_key()
    with cheap_office(tmp_path) as office:
        assert office.accounts.list() == (account,)
        assert office.accounts.verify_token(token) == account
        assert office.accounts.verify_password("ann", PASSWORD) == account
        assert office.sessions.find(session) == csrf
        assert office.leases.held("p", T0) == [lease]
        assert claim(office, "done", "bob") is None
        assert office.attempts.wait_s("ann", "192.0.2.1") == 30
        assert office.accounts.use_link(link) is not None
        assert office.signer.is_valid(vote)
        assert office.signer.cookie_key() == cookie_key


def test_offices_of_two_stores_do_not_know_each_others_keys(tmp_path: Path) -> None:
    with cheap_office(tmp_path / "a") as one, cheap_office(tmp_path / "b") as other:
        assert other.signer.verdict(signed(one.signer)) == "other key"
        assert one.signer.cookie_key() != other.signer.cookie_key()


def test_threads_of_one_office_and_a_second_office_agree(tmp_path: Path) -> None:
    winners: list[str] = []
    problems: list[BaseException] = []
    with cheap_office(tmp_path) as first, cheap_office(tmp_path) as second:

        def work(who: str) -> None:
            office = first if who < "w4" else second
            try:
                winners.extend(f"t{n}" for n in range(25) if claim(office, f"t{n}", who) is not None)
            except BaseException as problem:
                problems.append(problem)

        threads = [threading.Thread(target=work, args=(f"w{n}",)) for n in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert problems == []
        assert sorted(winners) == sorted(f"t{n}" for n in range(25))
        assert len(second.leases.held("p", at(1))) == 25


def test_what_fails_half_way_did_not_happen(tmp_path: Path) -> None:
    with cheap_office(tmp_path) as office:
        must_claim(office, "t", "ann")

        class Stop(Exception):
            pass

        with pytest.raises(Stop), office._db.write() as connection:
            connection.exec_driver_sql("DELETE FROM office_leases")
            raise Stop
        assert office.leases.holder("t", T0) is not None


@pytest.mark.parametrize("version", ["2", "17", "banana"])
def test_a_schema_of_a_later_program_is_refused_and_left_alone(tmp_path: Path, version: str) -> None:
    path = tmp_path / "office.db"
    open_office(path).close()
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("UPDATE office_settings SET value = ? WHERE name = 'schema_version'", (version,))
        connection.execute("DROP TABLE office_links")
    with pytest.raises(ConfigError, match=f"schema version {version}, and this program knows 1") as refused:
        open_office(path)
    assert "upgrade labelproof" in str(refused.value)
    with contextlib.closing(sqlite3.connect(path)) as connection:
        tables = {
            name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        }
    assert "office_links" not in tables


def test_the_office_of_a_store_is_beside_its_outbox(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LABELPROOF_OFFICE", raising=False)
    assert office_url(parse_location(tmp_path)) == str(tmp_path / "office.db")
    assert office_url(parse_location(tmp_path / "trace.duckdb")) == str(tmp_path / "office.db")
    assert office_url(parse_location(tmp_path / "a.duckdb")) == str(tmp_path / "a.office.db")
    lake = parse_location(f"ducklake:sqlite:{tmp_path}/catalog.sqlite?outbox={tmp_path}/local")
    assert office_url(lake) == str(tmp_path / "local" / "office.db")
    monkeypatch.setenv("LABELPROOF_OFFICE", "postgresql+psycopg2://db/team")
    assert office_url(parse_location(tmp_path)) == "postgresql+psycopg2://db/team"


def test_a_sqlite_url_is_a_private_file_too(tmp_path: Path) -> None:
    path = tmp_path / "sub" / "team.db"
    with open_office(f"sqlite:///{path}") as office:
        assert repr(office) == f"Office({str(path)!r})"
    assert mode(path) == "0o600"


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("", "empty address"),
        ("sqlite://", "in memory"),
        ("sqlite:///:memory:", "in memory"),
        ("sqlite:///file:x?mode=memory&uri=true", "in memory"),
        ("nosuch://ann:hunter2secret@host/db", "is no database"),
        ("://ann:hunter2secret@host", "is no database"),
        ("postgresql+nosuch://ann:hunter2secret@host/db", "is no database"),
        ("oracle+cx_oracle://ann:hunter2secret@host/db", "needs the Python package cx_Oracle"),
    ],
)
def test_a_wrong_address_is_refused_without_its_password(url: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said) as refused:
        open_office(url)
    assert "hunter2secret" not in str(refused.value)


def test_a_missing_driver_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "psycopg2", None)
    with pytest.raises(ConfigError, match="psycopg2") as refused:
        open_office("postgresql+psycopg2://ann:hunter2secret@host/db?password=hunter2secret")
    assert "pip install psycopg2-binary" in str(refused.value)
    assert "hunter2secret" not in str(refused.value)


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "office.db"
    path.write_text("these are notes, not a database " * 100)
    with pytest.raises(ConfigError, match="not a database"):
        open_office(path)
    assert path.read_text().startswith("these are notes")


def test_a_folder_in_the_files_place_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="office file cannot be used"):
        open_office(tmp_path)


def test_a_failing_database_says_so_and_shows_no_values(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with cheap_office(tmp_path) as office, caplog.at_level(logging.DEBUG):
        office.accounts.add("ann", password=PASSWORD)
        with office._db.write() as connection:
            connection.exec_driver_sql("DROP TABLE office_tokens")
            connection.exec_driver_sql("DROP TABLE office_accounts")
        with pytest.raises(StoreError, match="could not be used") as failed:
            office.accounts.add("unlucky-name", password=PASSWORD)
        with pytest.raises(StoreError, match="could not be used"):
            office.accounts.verify_token("lp_guess")
    whole = "".join(traceback.format_exception(failed.value)) + caplog.text
    assert "argon2id" not in whole
    assert PASSWORD not in whole
