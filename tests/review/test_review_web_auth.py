"""Signing in and out, sessions that end, roles, invitations, the account page, and the limit on tries."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from itsdangerous import Signer

from labelproof.review.web.serve import WebSettings
from tests.review.web_helpers import (
    AS_BROWSER,
    OURS,
    PASSWORD,
    Site,
    change,
    csrf_in,
    csrf_of,
    routes_of,
    sign_in,
)

OTHER = "another sentence of words"


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    made = Site(tmp_path)
    yield made
    made.close()


# --- in and out ------------------------------------------------------------------------------------


def test_a_right_password_begins_a_session(site: Site) -> None:
    site.add("ann")
    client = site.client()
    answer = sign_in(client, "ann", next="/p/alpha?x=1")
    assert (answer.status_code, answer.headers["location"]) == (303, "/p/alpha?x=1")
    assert client.get("/probe/who").json()["name"] == "ann"
    assert client.get("/login?next=/p/beta").headers["location"] == "/p/beta"


def test_names_are_found_whatever_their_case(site: Site) -> None:
    site.add("Ann")
    client = site.client()
    assert sign_in(client, " aNN ").status_code == 303
    assert client.get("/probe/who").json()["name"] == "Ann"


@pytest.mark.parametrize(
    ("name", "password"),
    [
        ("ann", "wrong password"),
        ("ann", ""),
        ("ann", PASSWORD + " "),
        ("ann", "x" * 5_000),
        ("nobody", PASSWORD),
        ("", PASSWORD),
        ("gone", PASSWORD),
        ("invited", PASSWORD),
        ("invited", ""),
        ("ann\x00", PASSWORD),
        ("' OR 1=1 --", PASSWORD),
    ],
)
def test_a_wrong_login_says_the_same_whatever_was_wrong(site: Site, name: str, password: str) -> None:
    site.add("ann")
    site.add("gone")
    site.office.accounts.disable("gone")
    site.add("invited", password=None)
    client = site.client()
    answer = sign_in(client, name, password)
    assert answer.status_code == 401
    assert "Name and password do not belong together." in answer.text
    assert site.session_cookie() not in client.cookies
    assert password not in answer.text or not password


def test_the_form_is_made_for_password_managers(site: Site) -> None:
    page = site.client().get("/login").text
    assert re.search(r'name="name"[^>]*autocomplete="username"', page)
    assert re.search(r'name="password"[^>]*type="password"[^>]*autocomplete="current-password"', page)
    joined = site.client().get("/join?token=x").text
    assert len(re.findall(r'autocomplete="new-password"', joined)) == 2


def test_signing_out_ends_the_session_on_the_server(site: Site) -> None:
    site.add("ann")
    client = site.signed_in("ann")
    kept = dict(client.cookies)
    answer = client.post("/logout", data={"csrf": csrf_of(client)}, headers=OURS)
    assert answer.headers["location"] == "/login"
    assert site.session_cookie() not in client.cookies
    thief = site.client()
    thief.cookies.update(kept)
    assert thief.get("/probe/who").status_code == 401
    page = thief.get("/login")
    assert "Your session has ended" in page.text


def test_signing_out_needs_a_post_with_the_token(site: Site) -> None:
    site.add("ann")
    client = site.signed_in("ann")
    assert client.get("/logout").status_code == 405
    assert client.post("/logout", headers=OURS).status_code == 403
    assert client.get("/probe/who").status_code == 200


def test_signing_out_everywhere_ends_every_session_of_this_person_only(site: Site) -> None:
    site.add("ann")
    site.add("bob")
    here, there, bob = site.signed_in("ann"), site.signed_in("ann"), site.signed_in("bob")
    here.post("/logout", data={"csrf": csrf_of(here), "everywhere": "1"}, headers=OURS)
    assert there.get("/probe/who").status_code == 401
    assert bob.get("/probe/who").status_code == 200


# --- sessions --------------------------------------------------------------------------------------


def test_a_session_ends_after_its_hours_however_busy(site: Site) -> None:
    site.add("ann")
    client = site.signed_in("ann")
    for _ in range(23):
        site.later(minutes=30)
        assert client.get("/probe/who").status_code == 200
    site.later(minutes=31)
    assert client.get("/probe/who").status_code == 401


def test_an_idle_session_ends(tmp_path: Path) -> None:
    site = Site(tmp_path, WebSettings(idle_minutes=30))
    site.add("ann")
    client = site.signed_in("ann")
    site.later(minutes=29)
    assert client.get("/probe/who").status_code == 200
    site.later(minutes=29)
    assert client.get("/probe/who").status_code == 200
    site.later(minutes=31)
    sent = client.get("/p/alpha", headers=AS_BROWSER)
    assert (sent.status_code, sent.headers["location"]) == (303, "/login?next=/p/alpha")
    site.close()


def test_a_login_always_makes_a_new_session(site: Site) -> None:
    """Fixation: a session that somebody planted in the browser before the login is not the one after it."""
    site.add("ann")
    site.add("mallory")
    mallory = site.signed_in("mallory")
    name = site.session_cookie()
    planted = mallory.cookies[name]
    victim = site.client()
    victim.cookies.set(name, planted, domain="localhost.local", path="/")
    page = victim.get("/account")
    answer = victim.post(
        "/login",
        data={"name": "ann", "password": PASSWORD, "csrf": csrf_in(page)},
        headers=OURS,
    )
    assert answer.status_code == 303
    fresh = answer.cookies[name]
    assert fresh != planted
    assert mallory.get("/probe/who").status_code == 401


@pytest.mark.parametrize("forged", ["", "x", "x.y", "é", "a" * 5_000])
def test_a_forged_cookie_is_nobody(site: Site, forged: str) -> None:
    site.add("ann")
    headers = {b"Cookie": f"{site.session_cookie()}={forged}".encode()}
    answer = site.client().get("/probe/who", headers=headers)
    assert answer.status_code == 401


def test_a_cookie_signed_with_another_key_is_nobody(site: Site) -> None:
    site.add("ann")
    client = site.signed_in("ann")
    session = client.cookies[site.session_cookie()].rpartition(".")[0]
    for other in (session, Signer(b"k" * 32, salt=b"labelproof session").sign(session).decode()):
        answer = site.client().get("/probe/who", headers={"Cookie": f"{site.session_cookie()}={other}"})
        assert answer.status_code == 401


def test_disabling_an_account_ends_its_sessions_and_tokens(site: Site) -> None:
    site.add("ann")
    client = site.signed_in("ann")
    token = site.office.accounts.new_token("ann", "script", site.now)
    site.office.accounts.disable("ann")
    assert client.get("/probe/who").status_code == 401
    assert site.client(Authorization=f"Bearer {token}").get("/probe/who").status_code == 401


def test_cookies_are_for_this_app_alone(site: Site, tmp_path: Path) -> None:
    site.add("ann")
    plain = sign_in(site.client(), "ann").headers.get_list("set-cookie")
    assert any(site.session_cookie() in line for line in plain)
    for line in plain:
        assert "httponly" in line.lower()
        assert "samesite=lax" in line.lower()
        assert "path=/" in line.lower()
        assert "domain" not in line.lower()
        assert "secure" not in line.lower()


def test_cookies_behind_tls_are_secure_and_bound_to_the_host(tmp_path: Path) -> None:
    settings = WebSettings(public_url="https://review.example.org", trusted_proxy="127.0.0.1")
    site = Site(tmp_path, settings)
    site.add("ann")
    client = site.client()
    lines = [
        *client.get("/login").headers.get_list("set-cookie"),
        *sign_in(client, "ann").headers.get_list("set-cookie"),
    ]
    assert len(lines) >= 2
    for line in lines:
        assert line.startswith("__Host-")
        assert "; secure" in line.lower()
    assert client.get("/probe/who").json()["name"] == "ann"
    site.close()


# --- roles and projects ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("role", "lead", "admin"), [("reviewer", 403, 403), ("lead", 200, 403), ("admin", 200, 200)]
)
def test_roles(site: Site, role: str, lead: int, admin: int) -> None:
    site.add("root", role="admin")
    site.add("ann", role=role)  # type: ignore[arg-type]
    client = site.signed_in("ann")
    assert client.get("/probe/lead").status_code == lead
    assert client.get("/probe/admin").status_code == admin
    page = client.get("/account").text
    assert "ann" in page


@pytest.mark.parametrize(
    "path", ["/p/alpha/lead", "/p/alpha/lead/t1", "/p/alpha/reviewers", "/p/alpha/dashboard"]
)
def test_pages_about_other_people_are_for_leads(site: Site, path: str) -> None:
    site.add("ann")
    answer = site.signed_in("ann").get(path, headers=AS_BROWSER)
    assert answer.status_code == 403
    assert "Not allowed" in answer.text


def test_a_person_sees_only_their_projects(site: Site) -> None:
    site.add("ann", projects=["beta", "gamma"])
    client = site.signed_in("ann")
    assert client.get("/probe/who").json()["projects"] == ["beta"]
    assert client.get("/probe/in/beta").status_code == 200
    hidden, missing = client.get("/probe/in/alpha"), client.get("/probe/in/nothing")
    assert hidden.status_code == missing.status_code == 404
    assert hidden.json() == missing.json()
    for path in ("/p/alpha", "/p/alpha/task", "/p/alpha/items", "/p/alpha/guideline", "/p/alpha/item/x"):
        assert client.get(path).status_code == 404


def test_every_page_but_the_open_ones_needs_a_login(site: Site) -> None:
    """A route that forgets to ask who is there would be found here."""
    opened = {"/login", "/logout", "/setup", "/join", "/static/{name}", "/probe/raise/{kind}"}
    closed = [(method, path) for method, path in routes_of(site.app) if path not in opened]
    assert len(closed) >= 20
    client = site.client()
    for method, path in closed:
        answer = client.request(method, re.sub(r"\{[^}]+\}", "alpha", path), headers=OURS)
        assert answer.status_code == 401, (method, path)


def test_every_change_needs_the_token(site: Site) -> None:
    site.add("ann", role="admin")
    client = site.signed_in("ann")
    changing = [one for one in routes_of(site.app) if one[0] not in ("GET", "HEAD", "OPTIONS")]
    assert len(changing) >= 10
    for method, path in changing:
        answer = client.request(method, re.sub(r"\{[^}]+\}", "alpha", path), headers=OURS)
        assert answer.status_code == 403, (method, path)


# --- links -----------------------------------------------------------------------------------------


def send(site: Site, path: str, token: str, **fields: str) -> tuple[int, str]:
    client = site.client()
    page = client.get(f"{path}?token={token}")
    values = {"token": token, "csrf": csrf_in(page), "password": OTHER, "again": OTHER, **fields}
    answer = client.post(path, data=values, headers=OURS)
    who = client.get("/probe/who").json().get("name", "")
    return answer.status_code, who or answer.text


def test_the_first_admin_is_made_by_a_link_that_works_once(site: Site) -> None:
    token = site.office.accounts.new_link("setup", None, "admin", site.now)
    assert send(site, "/setup", token, name="root") == (303, "root")
    made = site.office.accounts.get("root")
    assert made is not None
    assert made.role == "admin"
    status, text = send(site, "/setup", token, name="second")
    assert status == 410
    assert "used before" in text
    assert site.office.accounts.get("second") is None


def test_a_setup_link_is_worth_nothing_once_there_is_an_admin(site: Site) -> None:
    token = site.office.accounts.new_link("setup", None, "admin", site.now)
    site.add("root", role="admin")
    assert send(site, "/setup", token, name="second")[0] == 403
    assert site.office.accounts.get("second") is None


def test_opening_a_link_does_not_use_it_up_and_neither_does_a_bad_password(site: Site) -> None:
    token = site.office.accounts.new_link("setup", None, "admin", site.now)
    client = site.client()
    page = client.get(f"/setup?token={token}")
    fields = {"token": token, "csrf": csrf_in(page), "name": "root"}
    differ = client.post("/setup", data={**fields, "password": OTHER, "again": PASSWORD}, headers=OURS)
    assert (differ.status_code, "differ" in differ.text) == (400, True)
    short = client.post("/setup", data={**fields, "password": "short", "again": "short"}, headers=OURS)
    assert short.status_code == 400
    assert 'role="alert"' in short.text
    again = re.search(r'name="token" value="([^"]+)"', short.text)
    assert again is not None
    fields["token"] = again[1]
    bad = client.post(
        "/setup", data={**fields, "name": "<b>", "password": OTHER, "again": OTHER}, headers=OURS
    )
    assert bad.status_code == 400
    assert "<b>" not in bad.text
    again = re.search(r'name="token" value="([^"]+)"', bad.text)
    assert again is not None
    fields["token"] = again[1]
    done = client.post("/setup", data={**fields, "password": OTHER, "again": OTHER}, headers=OURS)
    assert done.status_code == 303
    assert client.get("/probe/who").json()["name"] == "root"


def test_an_invited_reviewer_chooses_a_password(site: Site) -> None:
    site.add("ann", password=None)
    token = site.office.accounts.new_link("join", "ann", "reviewer", site.now)
    assert send(site, "/join", token) == (303, "ann")
    assert sign_in(site.client(), "ann", OTHER).status_code == 303
    assert send(site, "/join", token)[0] == 410


def test_a_reset_link_ends_the_sessions_of_who_knew_the_old_password(site: Site) -> None:
    site.add("ann")
    before = site.signed_in("ann")
    token = site.office.accounts.new_link("reset", "ann", "reviewer", site.now)
    assert send(site, "/join", token) == (303, "ann")
    assert before.get("/probe/who").status_code == 401
    assert sign_in(site.client(), "ann").status_code == 401


def test_a_link_is_of_no_use_late_elsewhere_or_for_a_disabled_account(site: Site) -> None:
    site.add("root", role="admin")
    site.add("ann")
    late = site.office.accounts.new_link("reset", "ann", "reviewer", site.now, minutes=60)
    join = site.office.accounts.new_link("join", "ann", "reviewer", site.now, minutes=600)
    site.later(minutes=61)
    assert send(site, "/join", late)[0] == 410
    assert send(site, "/setup", join, name="eve")[0] == 410
    assert send(site, "/join", "")[0] == 410
    assert send(site, "/join", "x" * 3_000)[0] == 410
    site.add("bob", password=None)
    to_bob = site.office.accounts.new_link("join", "bob", "reviewer", site.now)
    site.office.accounts.disable("bob")
    assert send(site, "/join", to_bob)[0] in (403, 410)
    assert site.office.accounts.get("eve") is None


# --- one's account ---------------------------------------------------------------------------------


def test_a_new_password_ends_the_other_sessions(site: Site) -> None:
    site.add("ann")
    here, there = site.signed_in("ann"), site.signed_in("ann")
    old = here.cookies[site.session_cookie()]
    fields = {"csrf": csrf_of(here), "current": PASSWORD, "password": OTHER, "again": OTHER}
    answer = here.post("/account/password", data=fields, headers=OURS)
    assert answer.status_code == 303
    assert "Your password is changed" in here.get(answer.headers["location"]).text
    assert here.cookies[site.session_cookie()] != old
    assert there.get("/probe/who").status_code == 401
    assert sign_in(site.client(), "ann").status_code == 401
    assert sign_in(site.client(), "ann", OTHER).status_code == 303


@pytest.mark.parametrize(
    ("fields", "status", "words"),
    [
        ({"current": "wrong"}, 403, "not right"),
        ({"again": PASSWORD}, 400, "differ"),
        ({"password": "short", "again": "short"}, 400, "10"),
    ],
)
def test_a_password_is_not_changed_by_mistake(
    site: Site, fields: dict[str, str], status: int, words: str
) -> None:
    site.add("ann")
    client = site.signed_in("ann")
    sent = {"csrf": csrf_of(client), "current": PASSWORD, "password": OTHER, "again": OTHER, **fields}
    answer = client.post("/account/password", data=sent, headers=OURS)
    assert answer.status_code == status
    assert words in answer.text
    assert sign_in(site.client(), "ann").status_code == 303


def test_the_current_password_cannot_be_guessed_in_a_stolen_session(site: Site) -> None:
    site.add("ann")
    client = site.signed_in("ann")
    fields = {"csrf": csrf_of(client), "current": "wrong", "password": OTHER, "again": OTHER}
    statuses = [client.post("/account/password", data=fields, headers=OURS).status_code for _ in range(7)]
    assert statuses[:5] == [403] * 5
    assert statuses[-1] == 429


def test_personal_tokens_are_shown_once_and_revoked(site: Site) -> None:
    site.add("ann")
    site.add("bob")
    client, bob = site.signed_in("ann"), site.signed_in("bob")
    csrf = csrf_of(client)
    page = client.post("/account/tokens", data={"csrf": csrf, "label": "<i>my script</i>"}, headers=OURS)
    found = re.search(r"lp_[A-Za-z0-9_-]{43}", page.text)
    assert found is not None
    assert "<i>my" not in page.text
    with_token = site.client(Authorization=f"Bearer {found[0]}")
    assert with_token.get("/probe/who").json()["name"] == "ann"
    listed = client.get("/account").text
    assert found[0] not in listed
    assert "&lt;i&gt;my script" in listed
    token_id = re.search(r'name="token_id" value="([^"]+)"', listed)
    assert token_id is not None
    theirs = {"csrf": csrf_of(bob), "token_id": token_id[1]}
    assert bob.post("/account/tokens/revoke", data=theirs, headers=OURS).status_code == 404
    assert with_token.get("/probe/who").status_code == 200
    mine = {"csrf": csrf, "token_id": token_id[1]}
    assert client.post("/account/tokens/revoke", data=mine, headers=OURS).status_code == 303
    assert with_token.get("/probe/who").status_code == 401


@pytest.mark.parametrize("label", ["", "   ", "x" * 101])
def test_a_token_has_a_name(site: Site, label: str) -> None:
    site.add("ann")
    client = site.signed_in("ann")
    answer = client.post("/account/tokens", data={"csrf": csrf_of(client), "label": label}, headers=OURS)
    assert answer.status_code == 400
    assert "lp_" not in answer.text.replace("lp_…", "")


# --- tries -----------------------------------------------------------------------------------------


def test_after_five_wrong_passwords_a_name_waits_and_the_right_one_too(site: Site) -> None:
    site.add("ann")
    client = site.client()
    assert [sign_in(client, "ann", "wrong").status_code for _ in range(5)] == [401] * 5
    answer = sign_in(client, "ann")
    assert answer.status_code == 429
    assert 0 < int(answer.headers["retry-after"]) <= 30
    assert "Too many tries" in answer.text
    elsewhere = sign_in(site.client(address="198.51.100.1"), "ann")
    assert elsewhere.status_code == 429
    site.later(seconds=31)
    assert sign_in(client, "ann").status_code == 303


def test_a_name_that_nobody_has_waits_just_the_same(site: Site) -> None:
    client = site.client()
    statuses = [sign_in(client, "nobody", "wrong").status_code for _ in range(6)]
    assert statuses == [401] * 5 + [429]


def test_an_address_that_tries_many_names_waits(site: Site) -> None:
    site.add("ann")
    client = site.client()
    statuses = [sign_in(client, f"name{i}", "wrong").status_code for i in range(21)]
    assert statuses == [401] * 20 + [429]
    assert sign_in(client, "ann").status_code == 429
    assert sign_in(site.client(address="198.51.100.1"), "ann").status_code == 303


def test_a_change_through_a_session_is_answered_with_who(site: Site) -> None:
    site.add("ann")
    client = site.signed_in("ann")
    assert change(client, csrf_of(client)).json() == {"changed_by": "ann"}
