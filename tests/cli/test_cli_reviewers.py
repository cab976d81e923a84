"""`labelproof reviewers`: accounts are made, listed, changed and locked; secrets are shown once or never."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from labelproof.review.office import Office, office_url, open_office
from labelproof.store.location import parse_location
from tests.cli.conftest import Run

PASSWORD = "a long sentence of words"
RunJson = Callable[..., Any]


@pytest.fixture
def say(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Put text on standard input."""
    return lambda text: monkeypatch.setattr(sys, "stdin", io.StringIO(text))


def office(work: Path) -> Office:
    return open_office(office_url(parse_location(work / "store")))


def test_an_invited_reviewer_gets_a_link_that_works_once(run: Run, work: Path) -> None:
    code, out, err = run("reviewers", "add", "Ann", "--url", "https://review.example.org/", "--hours", "2")
    assert (code, err) == (0, "")
    assert "added Ann, reviewer" in out
    url = urlsplit(out.split()[-1])
    assert (url.netloc, url.path) == ("review.example.org", "/join")
    (token,) = parse_qs(url.query)["token"]
    with office(work) as opened:
        account = opened.accounts.get("ann")
        assert account is not None
        assert not account.has_password
        link = opened.accounts.use_link(token)
        assert link is not None
        assert (link.purpose, link.name) == ("join", "Ann")
        assert opened.accounts.use_link(token) is None


def test_what_an_account_may_do(run_json: RunJson) -> None:
    made = run_json(
        *("reviewers", "add", "lea", "--role", "lead", "--language", "es", "--language", "en"),
        *("--skill", "legal", "--project", "mini"),
    )
    assert {name: made[name] for name in ("role", "languages", "skills", "projects", "active")} == {
        "role": "lead",
        "languages": ["en", "es"],
        "skills": ["legal"],
        "projects": ["mini"],
        "active": True,
    }
    assert "/join?token=" in made["link"]
    assert [one["name"] for one in run_json("reviewers", "list")] == ["lea"]
    changed = run_json(
        "reviewers", "edit", "LEA", "--role", "reviewer", "--all-languages", "--skill", "medical"
    )
    assert (changed["role"], changed["languages"], changed["skills"]) == ("reviewer", [], ["medical"])
    assert changed["projects"] == ["mini"]
    assert "link" not in changed


def test_a_password_from_standard_input(run: Run, work: Path, say: Callable[[str], None]) -> None:
    say(f"{PASSWORD}\n")
    code, out, _ = run("reviewers", "add", "ann", "--password-stdin")
    assert code == 0
    assert "token=" not in out
    assert PASSWORD not in out
    say("another long sentence\r\n")
    assert run("reviewers", "password", "ann", "--password-stdin")[0] == 0
    with office(work) as opened:
        assert opened.accounts.verify_password("ann", PASSWORD) is None
        assert opened.accounts.verify_password("ann", "another long sentence") is not None


def test_a_forgotten_password_is_reset_by_link(run_json: RunJson, work: Path) -> None:
    run_json("reviewers", "add", "ann")
    found = run_json("reviewers", "password", "ann")
    with office(work) as opened:
        link = opened.accounts.use_link(found["link"].partition("token=")[2])
    assert link is not None
    assert (link.purpose, link.name) == ("reset", "ann")


def test_a_disabled_account_is_locked_and_kept(run: Run, run_json: RunJson) -> None:
    run("reviewers", "add", "ann")
    assert run_json("reviewers", "disable", "ann")["active"] is False
    assert "no: disabled" in run("reviewers", "list")[1]
    code, _, err = run("reviewers", "token", "ann", "--label", "ci")
    assert code == 2
    assert "disabled" in err
    assert run_json("reviewers", "edit", "ann", "--active")["active"] is True


def test_a_token_is_printed_once_and_can_be_revoked(run: Run, run_json: RunJson, work: Path) -> None:
    run("reviewers", "add", "ann")
    code, out, err = run("reviewers", "token", "ann", "--label", "ci")
    assert code == 0
    token = out.strip()
    assert "this once" in err
    with office(work) as opened:
        assert opened.accounts.verify_token(token) is not None
    (listed,) = run_json("reviewers", "token", "ann", "--list")
    assert listed["label"] == "ci"
    assert token not in run("reviewers", "token", "ann", "--list")[1]
    assert run_json("reviewers", "token", "ann", "--revoke", listed["id"]) == {"revoked": listed["id"]}
    with office(work) as opened:
        assert opened.accounts.verify_token(token) is None
    assert run("reviewers", "token", "ann", "--list")[1] == "no token\n"


def test_nobody_is_there_yet(run: Run) -> None:
    assert "labelproof reviewers add NAME" in run("reviewers", "list")[1]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("add", "ann"), "there is an account 'ann' already"),
        (("add", "b b"), "'b b'"),
        (("add", "bob", "--role", "boss"), "expected a role of reviewer, lead, admin; found 'boss'"),
        (("add", "bob", "--link", "--password-stdin"), "found both"),
        (("add", "bob", "--password-stdin"), "no password on standard input"),
        (("edit", "ann"), "nothing to change"),
        (("edit", "ann", "--skill", "x", "--no-skills"), "expected --skill or --no-skills, found both"),
        (("edit", "nobody", "--active"), "there is no account 'nobody'"),
        (("disable", "nobody"), "there is no account 'nobody'"),
        (("password", "nobody"), "there is no account 'nobody'"),
        (("token", "ann"), "expected one of --label WHERE, --list and --revoke ID"),
        (("token", "ann", "--revoke", "zzz"), "'ann' has no token 'zzz'"),
    ],
)
def test_what_the_user_must_fix_exits_2(
    run: Run, say: Callable[[str], None], arguments: tuple[str, ...], says: str
) -> None:
    run("reviewers", "add", "ann")
    say("")
    code, out, err = run("reviewers", *arguments)
    assert (code, out) == (2, "")
    assert says in err


def test_a_short_password_is_refused_and_not_repeated(run: Run, say: Callable[[str], None]) -> None:
    say("hunter2\n")
    code, out, err = run("reviewers", "add", "ann", "--password-stdin")
    assert (code, out) == (2, "")
    assert "10" in err
    assert "hunter2" not in err


def test_the_last_admin_stays(run: Run) -> None:
    run("reviewers", "add", "root", "--role", "admin")
    code, _, err = run("reviewers", "disable", "root")
    assert code == 2
    assert "only active admin" in err
