"""Every request passes the gate and every response carries the headers, whatever the page forgets."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from labelproof.review.web._answers import local_path
from labelproof.review.web.security import CONTENT_POLICY, MOST_BYTES, host_name
from labelproof.review.web.serve import WebSettings
from tests.review.web_helpers import AS_BROWSER, OURS, Site, change, csrf_in, csrf_of, sign_in

PUBLIC = WebSettings(host="0.0.0.0", public_url="https://review.example.org", trusted_proxy="10.0.0.1")


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    made = Site(tmp_path)
    yield made
    made.close()


@pytest.fixture
def public(tmp_path: Path) -> Iterator[Site]:
    made = Site(tmp_path, PUBLIC)
    yield made
    made.close()


# --- headers ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    [
        "/login",
        "/setup?token=x",
        "/join?token=x",
        "/",
        "/account",
        "/nowhere",
        "/static/app.css",
        "/static/nothing.css",
        "/static/../app.py",
        "/probe/raise/review",
        "/probe/raise/bug",
        "/probe/in/none",
    ],
)
@pytest.mark.parametrize("accept", ["text/html", "application/json"])
def test_every_response_has_the_headers(site: Site, path: str, accept: str) -> None:
    site.add("ann")
    for client in (site.client(), site.signed_in("ann")):
        headers = client.get(path, headers={"Accept": accept}).headers
        assert headers["content-security-policy"] == CONTENT_POLICY
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["cross-origin-opener-policy"] == "same-origin"
        assert headers["cross-origin-resource-policy"] == "same-origin"
        assert "camera=()" in headers["permissions-policy"]
        assert "strict-transport-security" not in headers
        assert path == "/static/app.css" or headers["cache-control"] == "no-store"


def test_the_policy_admits_no_inline_code_and_no_other_origin() -> None:
    assert "unsafe" not in CONTENT_POLICY
    assert "http" not in CONTENT_POLICY
    assert "default-src 'none'" in CONTENT_POLICY
    assert "frame-ancestors 'none'" in CONTENT_POLICY
    assert "base-uri 'none'" in CONTENT_POLICY


@pytest.mark.parametrize(
    ("path", "headers"),
    [("/login", {"Host": "evil.example"}), ("/login", {"Content-Length": "99999999"})],
)
def test_refusals_have_the_headers_too(site: Site, path: str, headers: dict[str, str]) -> None:
    answer = site.client().post(path, headers=headers)
    assert answer.status_code in (400, 413)
    assert answer.headers["content-security-policy"] == CONTENT_POLICY


def test_hsts_only_behind_tls(public: Site) -> None:
    assert "max-age=" in public.client().get("/login").headers["strict-transport-security"]


def test_static_files_are_kept_for_ever_under_their_hash_only(site: Site) -> None:
    client = site.client()
    page = client.get("/login").text
    addresses = re.findall(r'(?:href|src)="(/static/[^"]+)"', page)
    assert len(addresses) >= 3
    for address in addresses:
        answer = client.get(address)
        assert answer.status_code == 200
        assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
        again = client.get(address, headers={"If-None-Match": answer.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")
        assert client.get(address.partition("?")[0]).headers["cache-control"] == "no-cache"
    assert client.get("/static/..%2Fapp.py").status_code == 404
    assert client.get("/static/htmx.LICENSE").status_code == 404


def test_no_page_loads_anything_from_elsewhere_or_has_code_in_it(site: Site) -> None:
    site.add("ann")
    for path in ("/login", "/setup?token=x", "/join?token=x", "/account", "/nowhere"):
        page = site.signed_in("ann").get(path, headers=AS_BROWSER).text or site.client().get(path).text
        assert not re.search(r"""(?:src|href|action)=["']?(?:https?:)?//""", page)
        assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\sstyle=|\son\w+=", page)


def test_nothing_tells_of_the_machinery(site: Site) -> None:
    client = site.client()
    for path in ("/docs", "/redoc", "/openapi.json"):
        assert client.get(path).status_code == 404
    assert "server" not in client.get("/login").headers


# --- hosts and TLS ---------------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:1", "127.0.0.1:8700", "[::1]:8700", "localhost."])
def test_loopback_names_are_answered(site: Site, host: str) -> None:
    assert site.client().get("/login", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "localhost.evil.example",
        "127.0.0.1.nip.io:8700",
        "localhost:8700@evil",
        "",
        "10.0.0.9",
    ],
)
def test_a_name_that_is_not_ours_is_refused(site: Site, host: str) -> None:
    """A page elsewhere may point its own name at 127.0.0.1 (DNS rebinding) and would then read as same origin."""
    answer = site.client().get("/login", headers={"Host": host})
    assert answer.status_code == 400
    assert "host name" in answer.json()["message"]


def test_host_names() -> None:
    assert host_name("Review.Example.org:443") == "review.example.org"
    assert host_name("[::1]:8700") == "::1"
    for wrong in ("a:b", "a:80:80", "[::1", "a b", "::1", "a/b", "[x]", ""):
        assert host_name(wrong) == ""


def test_the_public_name_is_answered_and_only_over_tls(public: Site) -> None:
    assert public.client().get("/login").status_code == 200
    plain = public.client().get("http://review.example.org/login")
    assert plain.status_code == 403
    assert "https://review.example.org" in plain.json()["message"]
    assert public.client().get("/login", headers={"Host": "other.example.org"}).status_code == 400


# --- size ------------------------------------------------------------------------------------------


def test_a_large_body_is_refused_before_it_is_read(site: Site) -> None:
    site.add("ann")
    client = site.signed_in("ann")
    token = csrf_of(client)
    assert change(client, token, content=b"x" * MOST_BYTES).status_code == 200
    assert change(client, token, content=b"x" * (MOST_BYTES + 1)).status_code == 413

    def chunks() -> Iterator[bytes]:
        for _ in range(MOST_BYTES // 50_000 + 1):
            yield b"x" * 50_000

    unannounced = change(client, token, content=chunks())
    assert unannounced.status_code == 413
    assert "1,000,000" in unannounced.json()["message"]


# --- CSRF ------------------------------------------------------------------------------------------


@pytest.fixture
def two(site: Site) -> tuple[Site, str, str]:
    """Return a site with two people signed in elsewhere, and their tokens."""
    site.add("ann")
    site.add("bob")
    return site, csrf_of(site.signed_in("ann")), csrf_of(site.signed_in("bob"))


def test_a_change_needs_the_token_of_its_own_session(two: tuple[Site, str, str]) -> None:
    site, other_ann, bob = two
    client = site.signed_in("ann")
    mine = csrf_of(client)
    assert change(client, mine).json() == {"changed_by": "ann"}
    for wrong in (None, "", "x", mine[:-1], mine + "x", bob, other_ann, "é"):
        headers = {b"Sec-Fetch-Site": b"same-origin"}
        if wrong is not None:
            headers[b"X-CSRF-Token"] = wrong.encode()
        answer = client.post("/probe/change", headers=headers)
        assert answer.status_code == 403, wrong
        assert "no longer valid" in answer.json()["message"]


@pytest.mark.parametrize("multipart", [False, True])
def test_the_token_may_come_in_a_form_whose_fields_the_page_still_gets(site: Site, multipart: bool) -> None:
    site.add("ann")
    client = site.signed_in("ann")
    fields = {"csrf": csrf_of(client), "everywhere": "1"}
    if multipart:
        files = {name: (None, value) for name, value in fields.items()}
        answer = client.post("/logout", files=files, headers=OURS)
    else:
        answer = client.post("/logout", data=fields, headers=OURS)
    assert answer.status_code == 303
    assert client.get("/probe/who").status_code == 401


def test_a_token_in_the_address_or_in_json_is_none(site: Site) -> None:
    site.add("ann")
    client = site.signed_in("ann")
    token = csrf_of(client)
    assert client.post(f"/probe/change?csrf={token}", headers=OURS).status_code == 403
    assert client.post("/probe/change", json={"csrf": token}, headers=OURS).status_code == 403
    assert (
        client.post(
            "/probe/change",
            content=f"csrf={token}",
            headers={**OURS, "Content-Type": "text/plain"},
        ).status_code
        == 403
    )


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "http://localhost:3000"},
        {"Origin": "https://localhost:8700"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "none"},
        {"Sec-Fetch-Site": "cross-site", "Origin": "http://localhost:8700"},
        {"Sec-Fetch-Site": "same-origin", "Origin": "https://evil.example"},
        {},
    ],
)
def test_a_change_from_another_origin_is_refused_even_with_the_token(
    site: Site, headers: dict[str, str]
) -> None:
    site.add("ann")
    client = site.signed_in("ann")
    answer = change(client, csrf_of(client), headers)
    assert answer.status_code == 403
    assert "another site" in answer.json()["message"]


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://localhost:8700"},
        {"Sec-Fetch-Site": "same-origin"},
        {"Sec-Fetch-Site": "same-origin", "Origin": "null"},
        {"Sec-Fetch-Site": "same-origin", "Origin": "http://localhost:8700"},
    ],
)
def test_a_change_from_our_own_pages_passes(site: Site, headers: dict[str, str]) -> None:
    site.add("ann")
    client = site.signed_in("ann")
    assert change(client, csrf_of(client), headers).status_code == 200


def test_behind_a_proxy_the_public_origin_is_ours(public: Site) -> None:
    public.add("ann")
    client = public.signed_in("ann")
    token = csrf_of(client)
    origin = {"Origin": "https://review.example.org"}
    assert change(client, token, origin).status_code == 200
    assert change(client, token, {**origin, "Host": "127.0.0.1:8700"}).status_code == 200
    assert change(client, token, {"Origin": "http://review.example.org"}).status_code == 403


def test_the_login_form_of_another_browser_is_refused(site: Site) -> None:
    """Login CSRF: a form with the attacker's own name, token and password, sent by the victim's browser."""
    site.add("ann")
    attacker, victim = site.client(), site.client()
    form = {"name": "ann", "password": "x", "csrf": csrf_in(attacker.get("/login"))}
    assert victim.post("/login", data=form, headers=OURS).status_code == 403
    victim.get("/login")
    assert victim.post("/login", data=form, headers=OURS).status_code == 403
    assert attacker.post("/login", data=form, headers=OURS).status_code == 401


# --- tokens ----------------------------------------------------------------------------------------


def test_a_bearer_token_needs_neither_cookie_nor_csrf(site: Site) -> None:
    site.add("ann")
    token = site.office.accounts.new_token("ann", "script", site.now)
    client = site.client(Authorization=f"Bearer {token}")
    assert client.get("/probe/who").json()["name"] == "ann"
    assert client.post("/probe/change").json() == {"changed_by": "ann"}
    assert client.get("/probe/who").json()["by_token"] is True


@pytest.mark.parametrize("token", ["", "lp_", "lp_" + "x" * 43, "é", "x" * 5000])
def test_an_unknown_token_is_refused_whatever_cookie_comes_along(site: Site, token: str) -> None:
    site.add("ann")
    client = site.signed_in("ann")
    headers = {b"Authorization": f"Bearer {token}".encode()}
    for answer in (
        client.get("/probe/who", headers=headers),
        client.get("/login", headers=headers),
        client.post("/probe/change", headers=headers),
    ):
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"] == "Bearer"


def test_a_token_may_not_change_the_account(site: Site) -> None:
    site.add("ann")
    token = site.office.accounts.new_token("ann", "script", site.now)
    client = site.client(Authorization=f"Bearer {token}")
    for path, fields in (
        ("/account/password", {"current": "x", "password": "y", "again": "y"}),
        ("/account/tokens", {"label": "more"}),
        ("/account/tokens/revoke", {"token_id": "x"}),
    ):
        assert client.post(path, data=fields).status_code == 403
    assert client.get("/account").status_code == 200


# --- errors ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "status", "message"),
    [
        ("review", 409, "You answered this already."),
        ("lease", 409, "The task has gone to a colleague."),
        ("config", 400, "labels: expected safe or hate, found 'nope'"),
    ],
)
def test_refusals_keep_their_message(site: Site, kind: str, status: int, message: str) -> None:
    client = site.client()
    answer = client.get(f"/probe/raise/{kind}")
    assert (answer.status_code, answer.json()["message"]) == (status, message)
    page = client.get(f"/probe/raise/{kind}", headers=AS_BROWSER)
    assert page.status_code == status
    assert page.headers["content-type"].startswith("text/html")
    assert message.replace("'", "&#39;") in page.text


def test_a_bug_gives_a_reference_and_nothing_else(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR):
        answer = site.client().get("/probe/raise/bug?token=secret-of-a-link")
        page = site.client().get("/probe/raise/bug", headers=AS_BROWSER)
    assert answer.status_code == page.status_code == 500
    assert len(answer.json()["reference"]) == 8
    assert f"request {answer.json()['reference']} failed" in caplog.text
    assert "RuntimeError" in caplog.text
    assert "secret-of-a-link" not in caplog.text
    for text in (answer.text, page.text):
        assert not re.search("hunter2|/srv|RuntimeError|Traceback|web_helpers", text)


def test_a_broken_error_page_still_gives_the_reference(
    site: Site, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(site.app.state, "templates", None)
    answer = site.client().get("/probe/raise/bug", headers=AS_BROWSER)
    assert answer.status_code == 500
    assert "the error page failed" in caplog.text
    assert re.search(r"[0-9a-f]{8}", answer.text)


def test_what_a_page_does_not_expect_is_not_repeated_to_it(site: Site) -> None:
    hostile = "<script>alert(1)</script>"
    page = site.client().get(f"/{hostile}", headers=AS_BROWSER)
    assert page.status_code == 404
    assert "<script>alert" not in page.text


# --- where to after the login ----------------------------------------------------------------------


@pytest.mark.parametrize(
    "address",
    [
        "https://evil.example",
        "//evil.example",
        "///evil.example",
        "/\\evil.example",
        "\\\\evil.example",
        "/\t/evil.example",
        "/\n/evil.example",
        "javascript:alert(1)",
        "evil",
        "",
        "/login?next=/login",
        "/logout",
        "/a" * 2000,
        "/\u202eevil",
    ],
)
def test_nobody_is_sent_elsewhere(site: Site, address: str) -> None:
    assert local_path(address) == "/"
    site.add("ann")
    answer = sign_in(site.client(), "ann", next=address)
    assert (answer.status_code, answer.headers["location"]) == (303, "/")


def test_a_page_that_needs_a_login_comes_back_after_it(site: Site) -> None:
    site.add("ann")
    client = site.client()
    sent = client.get("/p/alpha/items?q=a%20b&n=1", headers=AS_BROWSER)
    assert sent.status_code == 303
    assert sent.headers["location"] == "/login?next=/p/alpha/items%3Fq%3Da%2520b%26n%3D1"
    page = client.get(sent.headers["location"])
    assert 'name="next" value="/p/alpha/items?q=a%20b&amp;n=1"' in page.text


def test_scripts_are_told_to_go_to_the_login(site: Site) -> None:
    client = site.client()
    htmx = client.get(
        "/p/alpha/items?q=x",
        headers={
            "HX-Request": "true",
            "HX-Current-URL": "http://localhost:8700/p/alpha/items",
            "Accept": "text/html",
        },
    )
    assert (htmx.status_code, htmx.headers["hx-redirect"]) == (401, "/login?next=/p/alpha/items")
    elsewhere = client.get("/p/alpha", headers={"HX-Request": "true", "HX-Current-URL": "//evil.example//x"})
    assert elsewhere.headers["hx-redirect"] == "/login"
    fetched = client.get("/p/alpha/task/next", headers={"Sec-Fetch-Mode": "cors", "Accept": "text/html"})
    assert (fetched.status_code, fetched.headers["hx-redirect"]) == (401, "/login")
    voted = client.post("/p/alpha/task/vote", json={}, headers=OURS)
    assert (voted.status_code, voted.headers["hx-redirect"]) == (401, "/login")
    form = client.post("/logout", headers={**OURS, **AS_BROWSER})
    assert form.status_code == 401
    assert 'href="/login"' in form.text
