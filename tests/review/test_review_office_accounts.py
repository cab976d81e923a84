"""Accounts: names, passwords, roles, personal tokens and one-time links; secrets stay out of sight."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest
from argon2 import PasswordHasher
from hypothesis import given, settings
from hypothesis import strategies as st

from labelproof.review.model import NotAllowed, Reviewer, ReviewError
from labelproof.review.office import Account, Link, Office, open_office
from labelproof.review.office._passwords import Passwords, name_key
from labelproof.spec.errors import BugError, ConfigError
from tests.review.office_helpers import PASSWORD, T0, at, cheap_office


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    with cheap_office(tmp_path) as office:
        yield office


def test_an_account_is_what_was_added(office: Office) -> None:
    added = office.accounts.add(
        "Ann", role="lead", languages=["es", "en", "es"], skills=["medical"], projects=["alpha"], now=at(5)
    )
    assert added == Account(
        name="Ann",
        role="lead",
        languages=frozenset({"es", "en"}),
        skills=frozenset({"medical"}),
        projects=frozenset({"alpha"}),
        active=True,
        has_password=False,
        created_at=at(5),
    )
    assert office.accounts.get("aNN") == added
    assert added.reviewer == Reviewer(
        name="Ann",
        role="lead",
        languages=frozenset({"es", "en"}),
        skills=frozenset({"medical"}),
        projects=frozenset({"alpha"}),
    )
    assert office.accounts.get("bob") is None


def test_accounts_are_listed_by_name_disabled_ones_too(office: Office) -> None:
    for name in ("zoe", "Bob", "ann"):
        office.accounts.add(name)
    office.accounts.disable("bob")
    assert [(one.name, one.active) for one in office.accounts.list()] == [
        ("ann", True),
        ("Bob", False),
        ("zoe", True),
    ]


@pytest.mark.parametrize("name", ["a", "José", "Ирина", "李明", "x" * 64, "a.b_c@d-e", "7of9"])
def test_letters_and_digits_of_every_script_are_names(office: Office, name: str) -> None:
    assert office.accounts.add(name).name == name


@pytest.mark.parametrize(
    "name", ["", " ", "x" * 65, "a b", "-x", "@x", "=x", ".x", "a/b", "a\n", "a\x00", "<b>", "a\u200bb", "½"]
)
def test_anything_else_is_no_name(office: Office, name: str) -> None:
    with pytest.raises(ConfigError, match="is no name for an account"):
        office.accounts.add(name)
    assert office.accounts.get(name) is None
    assert office.accounts.verify_password(name, PASSWORD) is None


@pytest.mark.parametrize(("first", "second"), [("Ann", "aNN"), ("José", "Jose\u0301"), ("straße", "STRASSE")])
def test_one_name_in_two_spellings_is_one_account(office: Office, first: str, second: str) -> None:
    office.accounts.add(first)
    with pytest.raises(ConfigError, match="already"):
        office.accounts.add(second)


@settings(max_examples=200)
@given(st.text(max_size=70))
def test_a_names_key_does_not_change_any_more(name: str) -> None:
    key = name_key(name)
    if key is not None and len(key) <= 64:
        assert name_key(key) == key == name_key(name.casefold())


@pytest.mark.parametrize(
    ("password", "said"),
    [
        ("", "too short"),
        ("123456789", "too short"),
        ("x" * 1001, "too long"),
        ("ANNABELLE.SMITH ", "is the name"),
    ],
)
def test_a_poor_password_is_refused_and_not_repeated(office: Office, password: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said) as refused:
        office.accounts.add("annabelle.smith", password=password)
    assert office.accounts.get("annabelle.smith") is None
    office.accounts.add("annabelle.smith")
    for act in (office.accounts.set_password, office.accounts.check_password):
        with pytest.raises(ConfigError, match=said):
            act("annabelle.smith", password)
    assert not password or password not in str(refused.value)


def test_only_the_right_password_opens_an_active_account(office: Office) -> None:
    office.accounts.add("ann", password=PASSWORD)
    office.accounts.add("none yet".replace(" ", "-"))
    account = office.accounts.verify_password("ANN", PASSWORD)
    assert account is not None
    assert account.name == "ann"
    assert account.has_password
    for name, password in [
        ("ann", PASSWORD + "x"),
        ("ann", ""),
        ("ann", PASSWORD + "x" * 2000),
        ("bob", PASSWORD),
        ("none-yet", PASSWORD),
        ("none-yet", ""),
    ]:
        assert office.accounts.verify_password(name, password) is None
    office.accounts.disable("ann")
    assert office.accounts.verify_password("ann", PASSWORD) is None


def test_a_password_may_be_long_and_in_any_script(office: Office) -> None:
    for n, password in enumerate(
        ["x" * 1000, "пароль из слов", "e\u0301" * 10, "\ud800 broken half of a pair"]
    ):
        office.accounts.add(f"p{n}", password=password)
        assert office.accounts.verify_password(f"p{n}", password) is not None
    assert office.accounts.verify_password("p2", "é" * 10) is not None, "the same word from another keyboard"


def test_an_unknown_name_costs_one_hash_like_a_wrong_password() -> None:
    """Counted, not timed: the library is asked once in every case, with the same parameters."""
    asked: list[str] = []

    class Counting(PasswordHasher):
        def verify(self, hash: str | bytes, password: str | bytes) -> Any:  # noqa: A002 - the library's name
            asked.append(str(hash))
            return super().verify(hash, password)

    passwords = Passwords(Counting(time_cost=1, memory_cost=8, parallelism=1))
    stored = passwords.hash(PASSWORD)
    assert passwords.is_right(stored, PASSWORD)
    assert not passwords.is_right(stored, "something else")
    assert not passwords.is_right(None, PASSWORD)
    assert not passwords.is_right(stored, PASSWORD * 1000)
    shapes = {(one.rsplit("$", 2)[0], len(one)) for one in asked}
    assert len(asked) == 4
    assert len(shapes) == 1


def test_a_hash_with_old_parameters_is_renewed_at_the_next_login(tmp_path: Path) -> None:
    with cheap_office(tmp_path) as office:
        office.accounts.add("ann", password=PASSWORD)
    dearer = PasswordHasher(time_cost=2, memory_cost=16, parallelism=1)
    with open_office(tmp_path / "office.db", hasher=dearer) as office:
        before = stored_hash(office, "ann")
        assert office.accounts.verify_password("ann", "not the password") is None
        assert stored_hash(office, "ann") == before
        assert office.accounts.verify_password("ann", PASSWORD) is not None
        after = stored_hash(office, "ann")
        assert "m=8,t=1" in before
        assert "m=16,t=2" in after
        assert office.accounts.verify_password("ann", PASSWORD) is not None
        assert stored_hash(office, "ann") == after


def test_the_library_chooses_the_cost_of_real_passwords(tmp_path: Path) -> None:
    default = PasswordHasher()
    with open_office(tmp_path / "office.db") as office:
        office.accounts.add("ann", password=PASSWORD)
        hashed = stored_hash(office, "ann")
        assert hashed.startswith(f"$argon2id$v=19$m={default.memory_cost},t={default.time_cost},")
        assert office.accounts.verify_password("ann", PASSWORD) is not None


def test_an_unreadable_hash_lets_nobody_in_and_is_not_logged(
    office: Office, caplog: pytest.LogCaptureFixture
) -> None:
    office.accounts.add("ann", password=PASSWORD)
    with office._db.write() as connection:
        connection.exec_driver_sql("UPDATE office_accounts SET password_hash = 'broken-hash'")
    with caplog.at_level(logging.ERROR):
        assert office.accounts.verify_password("ann", PASSWORD) is None
    assert "unreadable" in caplog.text
    assert "broken-hash" not in caplog.text


def test_no_repr_or_error_shows_a_secret(office: Office) -> None:
    account = office.accounts.add("ann", role="admin", password=PASSWORD)
    token = office.accounts.new_token("ann", "laptop")
    link = office.accounts.new_link("reset", "ann", "admin")
    session = office.sessions.start("ann")
    secrets = [PASSWORD, stored_hash(office, "ann"), token, link, session, stored_key(office)]
    shown = [repr(one) for one in (account, office, office.accounts, office.signer, office.sessions)]
    shown += [repr(office.accounts.tokens("ann")), repr(office.accounts.use_link(link))]
    with pytest.raises(ReviewError) as last:
        office.accounts.disable("ann")
    with pytest.raises(ConfigError) as taken:
        office.accounts.add("ann", password=PASSWORD)
    shown += [repr(last.value), str(taken.value), repr(taken.value)]
    assert [one for one in secrets if any(one in text for text in shown)] == []


def test_secrets_are_stored_as_hashes(office: Office, tmp_path: Path) -> None:
    office.accounts.add("ann", password=PASSWORD)
    secrets = [
        PASSWORD,
        office.accounts.new_token("ann", "laptop"),
        office.accounts.new_link("join", "ann", "reviewer"),
        office.sessions.start("ann"),
    ]
    office.attempts.failed("my password in the name field", "192.0.2.1")
    stored = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert b"laptop" in stored
    for secret in [*secrets, "in the name field", "192.0.2.1"]:
        assert secret.encode() not in stored


def test_an_edit_changes_what_is_given_and_nothing_else(office: Office) -> None:
    before = office.accounts.add(
        "ann", languages=["es"], skills=["law"], projects=["alpha"], password=PASSWORD
    )
    assert office.accounts.edit("ANN") == before
    after = office.accounts.edit("ann", role="lead", languages=[], projects=["beta"])
    assert (after.role, after.languages, after.skills, after.projects) == (
        "lead",
        frozenset(),
        frozenset({"law"}),
        frozenset({"beta"}),
    )
    assert office.accounts.get("ann") == after
    assert office.accounts.verify_password("ann", PASSWORD) == after


def test_wrong_roles_words_and_names_are_refused(office: Office) -> None:
    office.accounts.add("ann")
    with pytest.raises(ConfigError, match="'boss' is no role: expected one of reviewer, lead, admin"):
        office.accounts.add("bob", role=cast(Any, "boss"))
    with pytest.raises(ConfigError, match="expected a list, found the text 'es'"):
        office.accounts.edit("ann", languages="es")
    with pytest.raises(ConfigError, match="skills: expected words"):
        office.accounts.edit("ann", skills=[" "])
    with pytest.raises(ConfigError, match="there is no account 'bob'"):
        office.accounts.edit("bob", role="lead")
    with pytest.raises(ConfigError, match="there is no account 'bob'"):
        office.accounts.set_password("bob", PASSWORD)


def test_the_last_active_admin_stays(office: Office) -> None:
    office.accounts.add("root", role="admin")
    office.accounts.add("ann")
    office.accounts.disable("ann")
    with pytest.raises(ReviewError, match="only active admin"):
        office.accounts.disable("ROOT")
    with pytest.raises(ReviewError, match="only active admin"):
        office.accounts.edit("root", role="lead")
    office.accounts.edit("root", role="admin", skills=["law"])
    office.accounts.add("second", role="admin")
    assert not office.accounts.disable("root").active
    with pytest.raises(ReviewError, match="only active admin"):
        office.accounts.disable("second")
    office.accounts.edit("root", active=True)
    assert office.accounts.edit("second", role="reviewer").role == "reviewer"


def test_two_admins_who_remove_each_other_leave_one(office: Office) -> None:
    office.accounts.add("left", role="admin")
    office.accounts.add("right", role="admin")
    outcomes = in_threads(
        [lambda: refused(office.accounts.disable, "left"), lambda: refused(office.accounts.disable, "right")]
    )
    assert sorted(outcomes) == [False, True]
    assert sum(one.active for one in office.accounts.list()) == 1


def test_a_disabled_person_is_out_at_once_and_comes_back_without_old_keys(office: Office) -> None:
    office.accounts.add("ann", password=PASSWORD)
    token = office.accounts.new_token("ann", "laptop")
    session = office.sessions.start("ann")
    link = office.accounts.new_link("reset", "ann", "reviewer")
    office.accounts.disable("ann")
    with pytest.raises(NotAllowed, match="disabled"):
        office.accounts.new_token("ann", "x")
    with pytest.raises(NotAllowed, match="disabled"):
        office.sessions.start("ann")
    with pytest.raises(NotAllowed, match="disabled"):
        office.accounts.need("ann")
    office.accounts.edit("ann", active=True)
    assert office.accounts.need("ann").active
    assert office.accounts.verify_token(token) is None
    assert office.sessions.find(session) is None
    assert office.accounts.use_link(link) is None
    assert office.accounts.verify_password("ann", PASSWORD) is not None


def test_a_new_password_ends_sessions_and_links_but_not_tokens(office: Office) -> None:
    office.accounts.add("ann", password=PASSWORD)
    token = office.accounts.new_token("ann", "laptop")
    here, there = office.sessions.start("ann"), office.sessions.start("ann")
    link = office.accounts.new_link("reset", "ann", "reviewer")
    office.accounts.set_password("ann", "another long sentence", keep_session=here)
    assert office.accounts.verify_password("ann", PASSWORD) is None
    assert office.accounts.verify_password("ann", "another long sentence") is not None
    assert office.sessions.find(here) is not None
    assert office.sessions.find(there) is None
    assert office.accounts.use_link(link) is None
    assert office.accounts.verify_token(token) is not None
    office.accounts.set_password("ann", PASSWORD)
    assert office.sessions.find(here) is None


def test_a_token_is_its_owners_until_revoked(office: Office) -> None:
    office.accounts.add("Ann", role="lead")
    office.accounts.add("bob")
    token = office.accounts.new_token("ann", " laptop ", at(1))
    other = office.accounts.new_token("ann", "server", at(2))
    assert token.startswith("lp_")
    assert len(token) == 46
    account = office.accounts.verify_token(token)
    assert account is not None
    assert (account.name, account.role) == ("Ann", "lead")
    listed = office.accounts.tokens("ANN")
    assert [(one.name, one.label, one.created_at) for one in listed] == [
        ("Ann", "laptop", at(1)),
        ("Ann", "server", at(2)),
    ]
    assert not office.accounts.revoke_token("bob", listed[0].id)
    assert not office.accounts.revoke_token("nobody", listed[0].id)
    assert office.accounts.revoke_token("ann", listed[0].id)
    assert not office.accounts.revoke_token("ann", listed[0].id)
    assert office.accounts.verify_token(token) is None
    assert office.accounts.verify_token(other) is not None
    assert office.accounts.tokens("nobody") == ()


@pytest.mark.parametrize("token", ["", "lp_", "lp_guess", "nonsense", "lp_\ud800", "lp_" + "x" * 100_000])
def test_a_made_up_token_is_nobodys(office: Office, token: str) -> None:
    office.accounts.add("ann")
    office.accounts.new_token("ann", "laptop")
    assert office.accounts.verify_token(token) is None


@pytest.mark.parametrize("label", ["", "  ", "x" * 101, "a\nb"])
def test_a_token_says_where_it_is_used(office: Office, label: str) -> None:
    office.accounts.add("ann")
    with pytest.raises(ConfigError, match="needs a label"):
        office.accounts.new_token("ann", label)


def test_a_link_works_once_and_in_time(office: Office) -> None:
    office.accounts.add("Ann")
    setup = office.accounts.new_link("setup", None, "admin", T0, minutes=30)
    join = office.accounts.new_link("join", "ann", "reviewer", T0)
    assert office.accounts.use_link(setup, at(1799)) == Link(
        purpose="setup", name=None, role="admin", expires_at=at(1800)
    )
    assert office.accounts.use_link(setup, at(1799)) is None
    assert office.accounts.use_link("made up", T0) is None
    used = office.accounts.use_link(join, T0)
    assert used is not None
    assert (used.purpose, used.name, used.expires_at) == ("join", "Ann", at(3600))
    late = office.accounts.new_link("join", "ann", "reviewer", T0)
    assert office.accounts.use_link(late, at(3600)) is None


def test_a_newer_link_for_a_person_ends_the_older_one_of_its_kind(office: Office) -> None:
    office.accounts.add("ann")
    office.accounts.add("bob")
    old = office.accounts.new_link("join", "ann", "reviewer", T0)
    kept = [
        office.accounts.new_link("join", "bob", "reviewer", T0),
        office.accounts.new_link("setup", None, "admin", T0),
    ]
    new = office.accounts.new_link("join", "ann", "reviewer", T0)
    assert office.accounts.use_link(old, T0) is None
    assert all(office.accounts.use_link(link, T0) is not None for link in [*kept, new])


def test_of_many_who_open_one_link_one_gets_in(office: Office) -> None:
    office.accounts.add("ann")
    link = office.accounts.new_link("join", "ann", "reviewer", T0)
    outcomes = in_threads([lambda: office.accounts.use_link(link, T0) is not None] * 8)
    assert sum(outcomes) == 1


def test_a_link_needs_a_purpose_somebody_and_some_time(office: Office) -> None:
    with pytest.raises(BugError, match="a link for 'party'"):
        office.accounts.new_link(cast(Any, "party"), None, "admin")
    with pytest.raises(BugError, match="a join link needs an account"):
        office.accounts.new_link("join", None, "reviewer")
    with pytest.raises(ConfigError, match="there is no account 'ann'"):
        office.accounts.new_link("join", "ann", "reviewer")
    with pytest.raises(ConfigError, match="minutes above 0"):
        office.accounts.new_link("setup", None, "admin", minutes=0)


def stored_hash(office: Office, name: str) -> str:
    with office._db.read() as connection:
        query = "SELECT password_hash FROM office_accounts WHERE key = ?"
        return str(connection.exec_driver_sql(query, (name,)).scalar_one())


def stored_key(office: Office) -> str:
    with office._db.read() as connection:
        return str(
            connection.exec_driver_sql("SELECT value FROM office_settings WHERE name = 'key'").scalar_one()
        )


def refused(act: Any, *args: Any) -> bool:
    try:
        act(*args)
    except ReviewError:
        return True
    return False


def in_threads(acts: list[Any]) -> list[bool]:
    """Run all at once; a thread that fails leaves its place out, and the caller's count wrong."""
    outcomes: list[bool] = []
    gate = threading.Barrier(len(acts))

    def run(act: Any) -> None:
        gate.wait(10)
        outcomes.append(act())

    threads = [threading.Thread(target=run, args=(act,)) for act in acts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    return outcomes
