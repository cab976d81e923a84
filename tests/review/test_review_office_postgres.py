"""The office on PostgreSQL: the same promises, with the server's row locks instead of one file's write lock.

With psycopg2 installed the office is opened as users open it. Without it the same code runs over asyncpg, which
the orchestrator brings along: SQLAlchemy lets blocking code wait on it inside a greenlet.
"""

from __future__ import annotations

import asyncio
import importlib.util
import random
import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from labelproof.review.model import ReviewError
from labelproof.review.office import Office, open_office
from labelproof.review.office._db import Database
from labelproof.spec.errors import ConfigError
from tests.review.office_helpers import CHEAP, PASSWORD, T0, TEN_MINUTES, at, claim, must_claim, signed
from tests.store.store_postgres import postgres_server

Act = Callable[[Office], object]


@pytest.fixture(scope="module")
def host() -> Iterator[str]:
    with postgres_server() as catalog:
        found = re.search(r"host=(\S+)", catalog)
        assert found is not None
        yield found[1]


@pytest.fixture
def server(host: str) -> str:
    """Return the socket folder of a server whose database is empty."""

    def empty(office: Office) -> None:
        with office._db.write() as connection:
            connection.exec_driver_sql("DROP SCHEMA public CASCADE")
            connection.exec_driver_sql("CREATE SCHEMA public")

    run(host, empty)
    return host


def run(host: str, *acts: Act) -> list[object]:
    """Run the acts at once, each with an office (a connection pool) over the same database."""
    if importlib.util.find_spec("psycopg2") is not None:
        url = f"postgresql+psycopg2://lake@/postgres?host={host}"

        def one(act: Act) -> object:
            with open_office(url, clock=lambda: T0, hasher=CHEAP) as office:
                return act(office)

        with ThreadPoolExecutor(len(acts)) as pool:
            return list(pool.map(one, acts))
    pytest.importorskip("asyncpg", reason="neither psycopg2 nor asyncpg is installed")
    return asyncio.run(_over_asyncpg(f"postgresql+asyncpg://lake@/postgres?host={host}", acts))


async def _over_asyncpg(url: str, acts: tuple[Act, ...]) -> list[object]:
    from sqlalchemy.ext.asyncio import create_async_engine
    from sqlalchemy.util import greenlet_spawn

    async def one(act: Act) -> object:
        engine = create_async_engine(url, hide_parameters=True)

        def whole() -> object:
            return act(Office(Database(engine.sync_engine, shown="test"), clock=lambda: T0, hasher=CHEAP))

        try:
            return await greenlet_spawn(whole)
        finally:
            await engine.dispose()

    return list(await asyncio.gather(*(one(act) for act in acts)))


def exercise_leases(office: Office) -> None:
    lease = must_claim(office, "t", "ann")
    assert must_claim(office, "t", "ann", at(5)).token == lease.token
    assert claim(office, "t", "bob") is None
    renewed = office.leases.renew("ann", {"t": lease.token, "x": "y"}, until=at(900), now=at(700))
    assert renewed == {"t": True, "x": False}
    assert [one.task_id for one in office.leases.held("p", at(899))] == ["t"]
    office.leases.finish("t", "ann", decided=False, now=at(701))
    office.leases.finish("t", "ann", decided=False, now=at(702))
    assert claim(office, "t", "ann") is None
    must_claim(office, "t", "bob")
    office.leases.finish("t", "bob", decided=True, now=at(703))
    assert claim(office, "t", "cem") is None
    assert claim(office, "t", "lea", role="adjudicator") is not None
    office.leases.finish("t", "lea", decided=True, now=at(704))
    office.leases.unfinish("t", "lea")
    office.leases.reopen("t")
    assert claim(office, "t", "bob") is None
    left = must_claim(office, "t", "cem")
    assert office.leases.release("t", left.token)
    assert office.leases.holder("t", T0) is None
    assert office.leases.prune(at(10_000)) == 2


def exercise_accounts(office: Office) -> None:
    account = office.accounts.add("Ann", role="admin", password=PASSWORD, languages=["es"])
    with pytest.raises(ConfigError, match="already"):
        office.accounts.add("ANN")
    assert office.accounts.list() == (account,)
    assert office.accounts.verify_password("ann", PASSWORD) == account
    assert office.accounts.verify_password("ann", "wrong") is None
    token = office.accounts.new_token("ann", "laptop")
    assert office.accounts.verify_token(token) == account
    link = office.accounts.new_link("reset", "ann", "admin")
    assert office.accounts.use_link(link) is not None
    assert office.accounts.use_link(link) is None
    session = office.sessions.start("ann")
    found = office.sessions.find(session, at(61))
    assert found is not None
    assert found[0] == account
    for _ in range(6):
        office.attempts.failed("ann", "192.0.2.1")
    assert office.attempts.wait_s("ann", "192.0.2.1") == 60
    office.attempts.succeeded("ann", "192.0.2.1")
    assert office.attempts.wait_s("ann", "192.0.2.1") == 0
    with pytest.raises(ReviewError, match="only active admin"):
        office.accounts.disable("ann")
    assert office.signer.is_valid(signed(office.signer))


@pytest.mark.slow
def test_four_processes_open_a_new_office_at_once_and_share_one_key(server: str) -> None:
    keys = run(server, *[lambda office: office.signer.cookie_key()] * 4)
    assert len(set(keys)) == 1
    assert run(server, lambda office: office.signer.cookie_key()) == keys[:1]


@pytest.mark.slow
def test_leases_and_accounts_do_on_a_server_what_they_do_in_a_file(server: str) -> None:
    run(server, exercise_leases)
    run(server, exercise_accounts)


@pytest.mark.slow
def test_four_pools_over_one_server_never_hold_one_task(server: str, tmp_path: Path) -> None:
    def reviewer(who: str) -> Act:
        def work(office: Office) -> list[str]:
            luck = random.Random(who)
            todo, done = [f"race{n}" for n in range(50)], []
            luck.shuffle(todo)
            while todo:
                task = todo.pop()
                lease = office.leases.claim(task, "race", who, now=T0, until=T0 + TEN_MINUTES)
                if lease is None:
                    if office.leases.holder(task, T0) is not None:
                        todo.insert(0, task)
                    continue
                witness = tmp_path / task
                witness.mkdir()  # fails when another one holds the task
                held = office.leases.holder(task, T0)
                assert held is not None
                assert held.reviewer == who
                witness.rmdir()
                if luck.random() < 0.3:
                    assert office.leases.release(task, lease.token)
                    todo.insert(0, task)
                    continue
                done.append(task)
                office.leases.finish(task, who, decided=True, now=T0)
            return done

        return work

    served = run(server, *[reviewer(f"w{n}") for n in range(4)])
    assert sorted(task for done in served for task in _texts(done)) == sorted(f"race{n}" for n in range(50))


@pytest.mark.slow
def test_an_expired_lease_goes_to_one_of_those_who_reach_for_it_at_once(server: str) -> None:
    tasks = [f"late{n}" for n in range(40)]

    def hold(office: Office) -> None:
        for task in tasks:
            must_claim(office, task, "gone")

    def reaching(who: str) -> Act:
        def act(office: Office) -> list[str]:
            return [task for task in tasks if claim(office, task, who, at(700)) is not None]

        return act

    run(server, hold)
    won = run(server, *[reaching(f"w{n}") for n in range(4)])
    assert sorted(task for tasks_won in won for task in _texts(tasks_won)) == sorted(tasks)


@pytest.mark.slow
def test_two_admins_on_two_machines_cannot_remove_each_other(server: str) -> None:
    def prepare(office: Office) -> None:
        for name in ("left", "right"):
            if office.accounts.get(name) is None:
                office.accounts.add(name, role="admin")
            office.accounts.edit(name, active=True)

    def removing(name: str) -> Act:
        def act(office: Office) -> bool:
            try:
                office.accounts.disable(name)
            except ReviewError:
                return False
            return True

        return act

    for _ in range(8):
        run(server, prepare)
        assert sorted(run(server, removing("left"), removing("right")), key=str) == [False, True]


def _texts(value: object) -> list[str]:
    assert isinstance(value, list)
    return value
