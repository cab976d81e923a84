"""Pages of findings: for leads of their projects, changes with their name on them, hostile words as text."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from labelproof.report.findings.book import accept, close, find_finding, open_finding
from labelproof.report.findings.model import Finding
from labelproof.review.web.security import CONTENT_POLICY
from tests.review.pages_helpers import BASE, Pages, Parsed, Response
from tests.review.web_helpers import PASSWORD, sign_in

HOSTILE = "</bdi></td><script>alert(1)</script><img src=x onerror=alert(2)>\u202e"


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Pages]:
    made = Pages(tmp_path, ["a first text", "a second text"])
    yield made
    made.close()


def add(site: Pages, source_id: str = "s1", project: str = "mini", **more: Any) -> Finding:
    store = site.place.store
    given: dict[str, Any] = {
        "title": "Praise is labelled as hate",
        "severity": "major",
        "owner": "olga",
        "source": "monitor",
        "evidence": {"sql": "SELECT 42", "items": [site.place.ids[0]], "value": 0.91},
        "check": "auto_accuracy >= 0.95",
        "actor": "monitor",
        "now": site.place.clock(),
        **more,
    }
    return find_finding(store, project, open_finding(store, project, source_id=source_id, **given))


def ask(site: Pages, path: str, name: str = "lea") -> str:
    answer = site.client(name).get(path)
    assert answer.status_code == 200, answer.text[:500]
    return str(answer.text)


def do(site: Pages, one: Finding, act: str, name: str = "lea", **body: str) -> Response:
    return site.client(name).post(f"/findings/{one.finding_id}/{act}", data=body)


def now_is(site: Pages, one: Finding) -> Finding:
    return find_finding(site.place.store, one.project, one.finding_id)


def test_the_pages_are_for_leads(site: Pages) -> None:
    one = add(site)
    for path in ("/findings", f"/findings/{one.finding_id}", "/risks"):
        assert site.client("ann").get(path).status_code == 403
        assert site.client("lea").get(path).status_code == 200
    for act in ("note", "assign", "close", "accept", "reopen"):
        assert do(site, one, act, "ann", reason="x").status_code == 403
    assert len(now_is(site, one).events) == 1
    assert 'href="/findings"' in ask(site, "/")
    assert 'href="/findings"' not in ask(site, "/", "ann")


def test_findings_of_other_projects_do_not_exist(site: Pages) -> None:
    other = add(site, project="secret")
    assert other.finding_id not in ask(site, "/findings?state=all")
    assert other.finding_id not in ask(site, "/risks")
    assert site.client("lea").get(f"/findings/{other.finding_id}").status_code == 404
    assert do(site, other, "note", reason="x").status_code == 404
    assert site.client("lea").get("/findings/F-nothing").status_code == 404


def test_the_list_is_filtered(site: Pages) -> None:
    store, now = site.place.store, site.place.clock()
    first = add(site, "s1", owner="olga", severity="critical", due=now - timedelta(days=1))
    second = add(site, "s2", owner="bob", title="Another one")
    close(store, add(site, "s3"), why="done", actor="lea", now=now)
    accept(store, add(site, "s4"), why="fine", actor="lea", now=now)
    page = ask(site, "/findings")
    assert page.index(first.finding_id) < page.index(second.finding_id)
    assert len(re.findall(r'<th scope="row">', page)) == 2
    assert "0 of 3 runs" in page
    assert "overdue" in page
    for query, n in (
        ("state=all", 4),
        ("state=closed", 1),
        ("state=accepted", 1),
        ("severity=critical", 1),
        ("owner=bob", 1),
        ("state=all&project=mini&owner=olga", 3),
        ("project=other", 0),
    ):
        assert len(re.findall(r'<th scope="row">', ask(site, f"/findings?{query}"))) == n, query
    assert "No finding under this filter" in ask(site, "/findings?project=other")
    for wrong in ("state=nothing", "severity=huge", f"owner={'x' * 201}"):
        assert site.client("lea").get(f"/findings?{wrong}").status_code == 422
    assert len(re.findall(r'<th scope="row">', ask(site, "/risks"))) == 3


def test_an_empty_store_says_how_to_begin(site: Pages) -> None:
    assert "labelproof findings open" in ask(site, "/findings")
    assert "No finding is open or accepted" in ask(site, "/risks")


def test_a_finding_shows_its_check_evidence_and_history(site: Pages) -> None:
    one = add(site, cause="a new prompt", action="roll it back")
    page = ask(site, f"/findings/{one.finding_id}")
    for words in (
        "Praise is labelled as hate",
        "auto_accuracy &gt;= 0.95",
        "held on 0 of 3 runs",
        'max="3" value="0"',
        "a new prompt",
        "roll it back",
        "SELECT 42",
        f"findings show {one.finding_id} --sql | labelproof sql",
        f'href="/p/mini/item/{site.place.ids[0].replace(":", "%3A")}"',
        "Opened",
    ):
        assert words in page, words
    assert site.client("lea").get(f"/p/mini/item/{site.place.ids[0]}").status_code == 200
    assert "somebody must close it" in ask(site, f"/findings/{add(site, 's2', check=None).finding_id}")


def test_what_a_lead_does_carries_their_name(site: Pages) -> None:
    one = add(site)
    for act, body in (
        ("note", {"reason": "asked the vendor"}),
        ("assign", {"owner": "bob"}),
        ("close", {"reason": "fixed"}),
        ("reopen", {"reason": "it is back"}),
        ("accept", {"reason": "rare"}),
    ):
        answer = do(site, one, act, **body)
        assert (answer.status_code, answer.headers["location"]) == (
            303,
            f"/findings/{one.finding_id}?done={act}",
        )
    after = now_is(site, one)
    assert [event.event for event in after.events[1:]] == [
        *("noted", "assigned", "closed", "reopened", "accepted")
    ]
    assert {event.actor for event in after.events[1:]} == {"lea"}
    assert after.owner == "bob"
    assert "Accepted." in ask(site, f"/findings/{one.finding_id}?done=accept")


def test_what_cannot_be_done_is_said(site: Pages) -> None:
    one = add(site)
    assert do(site, one, "close", reason="fixed").status_code == 303
    late = do(site, one, "close", reason="me too")
    assert (late.status_code, "is closed since" in late.text) == (409, True)
    for act, body in (("note", {"reason": " "}), ("note", {}), ("assign", {"owner": "x" * 201})):
        assert do(site, one, act, **body).status_code == 422
    assert do(site, one, "note", reason="x", more="y").status_code == 422
    assert [event.event for event in now_is(site, one).events] == ["opened", "closed"]


def test_a_change_needs_the_forms_token(site: Pages) -> None:
    """A session's cookie alone changes nothing; with the form's token it does."""
    one = add(site)
    accounts = site.place.office.accounts
    accounts.add("lou", role="lead", password=PASSWORD, now=site.place.clock())
    client = TestClient(site.app, base_url=BASE, follow_redirects=False)
    assert sign_in(client, "lou").status_code == 303
    path = f"/findings/{one.finding_id}/note"
    ours = {"Sec-Fetch-Site": "same-origin"}
    assert client.post(path, data={"reason": "x"}, headers=ours).status_code == 403
    page = client.get(f"/findings/{one.finding_id}").text
    token = re.search(r'name="csrf" value="([^"]+)"', page)
    assert token is not None
    sent = client.post(path, data={"reason": "x", "csrf": token[1]}, headers=ours)
    assert sent.status_code == 303, sent.text[:300]
    assert now_is(site, one).events[-1].actor == "lou"


def test_hostile_words_stay_words(site: Pages) -> None:
    one = add(
        site,
        title=HOSTILE,
        owner=HOSTILE,
        cause=HOSTILE,
        action=HOSTILE,
        evidence={"sql": HOSTILE, "items": [HOSTILE], HOSTILE: HOSTILE},
    )
    assert do(site, one, "note", reason=HOSTILE).status_code == 303
    for path in ("/findings", f"/findings/{one.finding_id}", "/risks", f"/findings?owner={HOSTILE}"):
        answer = site.client("lea").get(path)
        assert answer.status_code == 200
        page = Parsed.of(answer.text)
        names = [name for name, _ in page.tags]
        assert names.count("script") == 2  # htmx and ours
        assert "img" not in names
        assert not [
            attributes for _, attributes in page.tags if any(key.startswith("on") for key in attributes)
        ]
        assert answer.headers["content-security-policy"] == CONTENT_POLICY
