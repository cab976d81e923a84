"""Sessions end when they should, and failed logins make the next one wait."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine, event

from labelproof.review.model import NotAllowed
from labelproof.review.office import Office
from labelproof.review.office.attempts import network_of
from labelproof.spec.errors import ConfigError
from tests.review.office_helpers import PASSWORD, T0, at, cheap_office

HOUR = 3600


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    with cheap_office(tmp_path) as office:
        office.accounts.add("Ann", password=PASSWORD)
        yield office


def is_alive(office: Office, session: str, seconds: float) -> bool:
    return office.sessions.find(session, at(seconds)) is not None


def test_a_session_knows_its_person_as_they_are_now(office: Office) -> None:
    session = office.sessions.start("ann", now=T0)
    found = office.sessions.find(session, at(1))
    assert found is not None
    assert found[0] == office.accounts.get("ann")
    office.accounts.edit("ann", role="lead")
    found = office.sessions.find(session, at(2))
    assert found is not None
    assert found[0].role == "lead"


def test_a_csrf_token_belongs_to_one_session(office: Office) -> None:
    first, second = office.sessions.start("ann"), office.sessions.start("ann")
    assert first != second
    tokens = []
    for session in (first, second, first):
        found = office.sessions.find(session)
        assert found is not None
        tokens.append(found[1])
    assert tokens[0] == tokens[2] != tokens[1]
    assert first not in tokens[0]


def test_a_session_ends_with_the_day_however_busy(office: Office) -> None:
    session = office.sessions.start("ann", now=T0, hours=12, idle_minutes=120)
    assert all(is_alive(office, session, hour * HOUR) for hour in range(12))
    assert is_alive(office, session, 12 * HOUR - 0.001)
    assert not is_alive(office, session, 12 * HOUR)


def test_an_idle_session_ends_and_does_not_come_back(office: Office) -> None:
    session = office.sessions.start("ann", now=T0, idle_minutes=120)
    assert is_alive(office, session, 2 * HOUR - 1)
    assert is_alive(office, session, 4 * HOUR - 2)
    assert not is_alive(office, session, 6 * HOUR - 2)
    assert not is_alive(office, session, 6 * HOUR - 1)


def test_looking_up_a_session_writes_once_a_minute(office: Office) -> None:
    session = office.sessions.start("ann", now=T0)
    written: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_rest: object) -> None:
        if statement.startswith("UPDATE"):
            written.append(statement)

    engine: Engine = office._db._engine
    event.listen(engine, "before_cursor_execute", note)
    for seconds in range(0, 300, 5):
        assert is_alive(office, session, seconds)
    assert len(written) == 4


def test_sessions_end_one_by_one_and_all_at_once(office: Office) -> None:
    office.accounts.add("bob")
    one, two, three = (office.sessions.start("ann", now=T0) for _ in range(3))
    bobs = office.sessions.start("bob", now=T0)
    office.sessions.end(one)
    office.sessions.end("made up")
    assert [is_alive(office, session, 1) for session in (one, two, three, bobs)] == [False, True, True, True]
    assert office.sessions.end_all("ANN", keep=three) == 1
    assert [is_alive(office, session, 1) for session in (two, three, bobs)] == [False, True, True]
    assert office.sessions.end_all("ann") == 1
    assert office.sessions.end_all("not a name") == 0
    assert [is_alive(office, session, 1) for session in (three, bobs)] == [False, True]


def test_sessions_are_for_known_and_active_people(office: Office) -> None:
    with pytest.raises(ConfigError, match="there is no account 'bob'"):
        office.sessions.start("bob")
    office.accounts.disable("ann")
    with pytest.raises(NotAllowed, match="disabled"):
        office.sessions.start("ann")
    for session in ("", "made up", "\ud800", "\x00"):
        assert office.sessions.find(session) is None


def test_ended_sessions_leave_the_office(office: Office) -> None:
    for _ in range(3):
        office.sessions.start("ann", now=T0, hours=1)
    office.sessions.start("ann", now=at(HOUR))
    with office._db.read() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM office_sessions").scalar_one() == 1


def fail(office: Office, n: int, *, name: str = "ann", address: str = "192.0.2.1", when: float = 0) -> None:
    for _ in range(n):
        office.attempts.failed(name, address, at(when))


@pytest.mark.parametrize("name", ["ann", "nobody", "<any thing>", ""])
def test_five_failures_make_a_name_wait_whether_or_not_it_exists(office: Office, name: str) -> None:
    for _ in range(5):
        assert office.attempts.wait_s(name, "192.0.2.1", T0) == 0
        office.attempts.failed(name, "192.0.2.1", T0)
    assert office.attempts.wait_s(name, "192.0.2.1", T0) == 30
    assert office.attempts.wait_s(name.upper(), "198.51.100.9", at(10)) == 20
    assert office.attempts.wait_s(name, "192.0.2.1", at(30)) == 0
    assert office.attempts.wait_s("somebody else", "192.0.2.1", T0) == 0


def test_every_further_failure_doubles_the_wait_up_to_a_quarter_of_an_hour(office: Office) -> None:
    fail(office, 4)
    now, waits = 0.0, []
    for _ in range(8):
        fail(office, 1, when=now)
        waits.append(office.attempts.wait_s("ann", "192.0.2.1", at(now)))
        now += waits[-1]
        assert office.attempts.wait_s("ann", "192.0.2.1", at(now)) == 0
    assert waits == [30, 60, 120, 240, 480, 900, 900, 900]


def test_a_quiet_quarter_of_an_hour_after_a_wait_begins_anew(office: Office) -> None:
    fail(office, 5)
    fail(office, 1, when=30 + 899)
    assert office.attempts.wait_s("ann", "192.0.2.1", at(30 + 899)) == 60
    quiet = 30 + 899 + 60 + 900
    fail(office, 4, when=quiet)
    assert office.attempts.wait_s("ann", "192.0.2.1", at(quiet)) == 0
    fail(office, 1, when=quiet)
    assert office.attempts.wait_s("ann", "192.0.2.1", at(quiet)) == 30


def test_failures_that_lie_further_apart_do_not_add_up(office: Office) -> None:
    for n in range(12):
        fail(office, 1, when=n * 226)
        assert office.attempts.wait_s("ann", "192.0.2.1", at(n * 226)) == 0
    fail(office, 1, when=11 * 226 + 200)
    assert office.attempts.wait_s("ann", "192.0.2.1", at(11 * 226 + 200)) == 30


def test_an_address_may_fail_twenty_times_with_all_names(office: Office) -> None:
    for n in range(20):
        assert office.attempts.wait_s("ann", "192.0.2.1", T0) == 0
        fail(office, 1, name=f"name{n}")
    assert office.attempts.wait_s("ann", "192.0.2.1", T0) == 30
    assert office.attempts.wait_s("ann", "192.0.2.2", T0) == 0


def test_a_success_clears_the_name_but_not_the_address(office: Office) -> None:
    fail(office, 5)
    office.attempts.succeeded("ANN", "192.0.2.1")
    assert office.attempts.wait_s("ann", "192.0.2.1", T0) == 0
    for n in range(15):
        fail(office, 1, name=f"name{n}")
    assert office.attempts.wait_s("ann", "192.0.2.1", T0) == 30


def test_what_failed_yesterday_leaves_the_office(office: Office) -> None:
    for n in range(10):
        fail(office, 1, name=f"name{n}", address=f"192.0.2.{n}")
    fail(office, 1, when=25 * HOUR)
    with office._db.read() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM office_attempts").scalar_one() == 2


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("2001:db8::1", "2001:db8:0:0:ffff::2", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("::ffff:192.0.2.1", "192.0.2.1", True),
        ("192.0.2.1", "192.0.2.2", False),
        ("unix:", "unix:", True),
        ("", "192.0.2.1", False),
    ],
)
def test_an_ipv6_network_counts_as_one_address(one: str, other: str, same: bool) -> None:
    assert (network_of(one) == network_of(other)) is same
