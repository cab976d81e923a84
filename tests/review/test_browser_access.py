"""In a real browser: signing in and out, roles, sessions that end at work, and forged requests from other sites."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from labelproof.review.model import AccountRole
from tests.review.browser_helpers import (
    MakeSite,
    answer_by_key,
    did_nothing_odd,
    fill_login,
    problem,
    status,
    task_of,
    until,
)

if TYPE_CHECKING:
    from playwright.sync_api import Page, Route

pytestmark = pytest.mark.browser
PEOPLE: dict[str, AccountRole] = {"ann": "reviewer", "lea": "lead"}


def links(page: Page) -> list[str]:
    return page.locator(".site-nav a").all_inner_texts()


def test_signing_in_takes_the_reviewer_where_they_wanted_to_go_and_out_again(make_site: MakeSite) -> None:
    site = make_site(1)
    site.give_password("ann")
    page, watched = site.window()
    page.goto(f"{site.url}/p/mini/task")
    assert page.url == f"{site.url}/login?next=/p/mini/task"
    fill_login(page, "ann", "not the password")
    assert "do not belong together" in page.inner_text("[role=alert]")
    assert page.input_value("#name") == "ann"
    fill_login(page, "ann")
    page.wait_for_url("**/p/mini/task")
    assert task_of(page)
    page.get_by_role("button", name="Sign out").click()
    page.wait_for_url("**/login")
    page.go_back()
    page.wait_for_url(lambda url: "/login" in url)
    assert page.locator("[data-task]").count() == 0
    assert page.context.cookies() == [] or "ann" not in page.content()
    refused = [line for line in watched.console if "401" in line]  # browsers note it when they get to it
    assert len(refused) <= 1
    watched.console[:] = [line for line in watched.console if line not in refused]
    assert did_nothing_odd(watched)


def test_the_first_admin_comes_by_a_link(make_site: MakeSite) -> None:
    site = make_site(1, people={})
    token = site.place.office.accounts.new_link("setup", None, "admin", site.place.clock.now)
    page, watched = site.window()
    page.goto(f"{site.url}/setup?token={token}")
    page.fill("#name", "root")
    page.fill("#password", "a few long words")
    page.fill("#again", "a few long words")
    page.keyboard.press("Enter")
    page.wait_for_url(site.url + "/")
    assert "root" in page.inner_text(".site-user")
    assert did_nothing_odd(watched)


def test_reviewers_do_not_see_what_is_for_leads(make_site: MakeSite) -> None:
    site = make_site(1, people=PEOPLE)
    ann, _ = site.person("ann")
    lea, watched = site.person("lea")
    for page in (ann, lea):
        page.goto(f"{site.url}/p/mini")
    assert links(ann) == ["Projects", "My queue", "Items", "Guideline"]
    assert links(lea) == [
        "Projects",
        "Overview",
        "Findings",
        "My queue",
        "Adjudication",
        "Reviewers",
        "Dashboard",
        "Monitor",
        "Compare",
        "Items",
        "Guideline",
    ]
    for path in ("lead", "reviewers", "dashboard", "monitor"):
        ann.goto(f"{site.url}/p/mini/{path}")
        assert ann.inner_text("h1") == "Not allowed"
        lea.goto(f"{site.url}/p/mini/{path}")
        assert lea.inner_text("h1") != "Not allowed"
    assert did_nothing_odd(watched)


def test_a_session_that_ends_at_work_loses_no_answer(make_site: MakeSite) -> None:
    site = make_site(3)
    site.give_password("ann")
    page, _ = site.person("ann")
    site.work(page)
    page.wait_for_load_state("networkidle")
    site.place.office.sessions.end_all("ann")
    task = answer_by_key(page, "2")
    problem(page, "You were signed out")
    assert site.votes() == []
    with page.context.expect_page() as opened:
        page.get_by_role("button", name="Sign in").click()
    fill_login(opened.value, "ann")
    opened.value.wait_for_url(site.url + "/")
    page.get_by_role("button", name="Try again").click()
    status(page, "Saved.")
    assert [(one["task_id"], one["label"]) for one in site.votes()] == [(task, "hate")]


FORGED = """<form method="post" action="{url}/logout"><input name="everywhere" value="1"></form>
<form id="vote" method="post" action="{url}/p/mini/task/vote"><input name="answer" value="skip"></form>
<iframe src="{url}/login"></iframe><script>
fetch("{url}/p/mini/leases", {{method: "POST", credentials: "include", mode: "no-cors", body: "x"}});
fetch("{url}/p/mini", {{credentials: "include"}}).then(() => document.title = "read", () => document.title = "not read");
</script>"""


@pytest.mark.parametrize("elsewhere", ["http://evil.example", "http://localhost:1"], ids=["site", "port"])
def test_another_site_changes_and_reads_nothing(make_site: MakeSite, elsewhere: str) -> None:
    """Another port of this machine counts as the same site: there the browser does send the cookie along."""
    site = make_site(1)
    page, _ = site.person("ann")
    page.goto(f"{site.url}/p/mini")

    def forge(route: Route) -> None:
        route.fulfill(body=FORGED.format(url=site.url), content_type="text/html")

    page.route(f"{elsewhere}/*", forge)
    page.goto(f"{elsewhere}/forged")
    page.wait_for_function("() => document.title === 'not read'")
    framed = page.frames[1]
    assert "Password" not in (framed.content() if framed.url.startswith("http") else "")
    for form in ("form", "#vote"):
        with page.expect_navigation() as sent:
            page.evaluate("form => document.querySelector(form).submit()", form)
        assert sent.value is not None
        assert sent.value.status == 403
        assert "another site" in page.inner_text("main")
        page.goto(f"{elsewhere}/forged")
    page.goto(f"{site.url}/p/mini")
    assert "ann" in page.inner_text(".site-user")
    assert site.votes() == []


def test_a_page_without_its_token_is_told_how_to_go_on(make_site: MakeSite) -> None:
    site = make_site(1)
    page, _ = site.person("ann")
    page.goto(f"{site.url}/account")
    page.evaluate("document.querySelector('form[action=\"/logout\"] [name=csrf]').value = 'stale'")
    page.get_by_role("button", name="Sign out", exact=True).click()
    page.wait_for_function("() => document.querySelector('h1').textContent === 'Not allowed'")
    assert "reload the page" in page.inner_text("main")
    page.goto(f"{site.url}/account")
    assert "ann" in page.inner_text(".site-user")


def test_a_personal_token_is_shown_once(make_site: MakeSite) -> None:
    site = make_site(1)
    page, watched = site.person("ann")
    page.goto(f"{site.url}/account")
    page.fill("#label", "export script")
    page.get_by_role("button", name="Make a token").click()
    token = page.inner_text("#new-token").strip()
    script, _ = site.window()
    headers = {"Authorization": f"Bearer {token}"}
    assert script.request.get(f"{site.url}/p/mini", headers=headers).status == 200
    page.goto(f"{site.url}/account")
    assert token not in page.content()
    page.get_by_role("button", name="Revoke export script").click()
    page.wait_for_function("() => document.body.textContent.includes('The token is revoked.')")
    until(lambda: script.request.get(f"{site.url}/p/mini", headers=headers).status == 401)
    assert did_nothing_odd(watched)
