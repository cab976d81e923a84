"""In a real browser: the compare page in the app and as a file, by mouse and by keyboard, on a phone, in print."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from labelproof.report.compare.page import page_html, picture_of
from tests.report.compare_factory import flips, million, report
from tests.review.browser_helpers import WAIT_MS, MakeSite, did_nothing_odd
from tests.review.compare_rows import add_arms, add_comparison, report_on

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.browser
HOSTILE = "</pre><script>alert(1)</script><img src=x onerror=alert(2)>"
DRAWN = "() => document.querySelectorAll('.plot-frame svg').length === 5"
FITS = "() => document.documentElement.scrollWidth <= document.documentElement.clientWidth"


@pytest.fixture(scope="module", autouse=True)
def warm() -> None:
    """Load what draws: on a busy machine that alone can take longer than a test waits."""
    picture_of(report(), "forest")


@pytest.fixture
def opened(browser: Browser, tmp_path: Path) -> Iterator[Any]:
    """Give a function that opens a page's text as a file."""
    contexts = []

    def open_file(text: str, **options: Any) -> tuple[Page, list[str]]:
        path = tmp_path / "page.html"
        path.write_text(text, encoding="utf-8")
        context = browser.new_context(**options)
        context.set_default_timeout(WAIT_MS)
        contexts.append(context)
        page = context.new_page()
        said: list[str] = []
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("dialog", lambda dialog: said.append(dialog.message))
        page.goto(path.as_uri())
        return page, said

    yield open_file
    for context in contexts:
        context.close()


def shown_rows(page: Page) -> int:
    return page.locator("#flip-table tbody tr:visible").count()


def test_the_app_shows_a_comparison_and_both_ways_of_an_item(make_site: MakeSite) -> None:
    site = make_site(
        ["a first text", HOSTILE], people={"lea": "lead"}, review="checks: {first: 0, rate_prob: 0}"
    )
    add_comparison(site.store, report_on(site.place.ids, flips=flips(450)))
    for item in site.place.ids:
        add_arms(site.store, item)
    page, watched = site.person("lea", viewport={"width": 1280, "height": 900})
    page.goto(f"{site.url}/p/mini")
    page.get_by_role("link", name="Compare").click()
    page.get_by_role("link", name="champion@a91f3c against candidate@c07d52").click()
    page.wait_for_function(DRAWN)
    assert page.get_by_role("heading", name="Not yet").is_visible()
    excerpt = page.locator("#flip-table .excerpt").first
    assert "blurred" in (excerpt.get_attribute("class") or "")
    page.get_by_role("button", name="Show texts").click()
    assert "blurred" not in (excerpt.get_attribute("class") or "")
    assert excerpt.inner_text() == "a first text"
    page.get_by_role("link", name="Next 200").click()
    page.wait_for_url("**from=200**")
    page.go_back()
    page.locator("#flip-table tbody a").nth(1).click()
    assert page.locator(".sides.first .step[open]").count() == 2
    page.get_by_role("button", name="Show the text").click()
    assert HOSTILE in page.locator("#item-text").inner_text()
    assert did_nothing_odd(watched)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_a_phone(make_site: MakeSite, scheme: Any) -> None:
    site = make_site(["a first text"], people={"lea": "lead"})
    add_comparison(site.store, report_on(site.place.ids))
    add_arms(site.store, site.place.ids[0])
    page, watched = site.person("lea", viewport={"width": 360, "height": 740}, color_scheme=scheme)
    for path in ("compare", "compare/cmp-1", f"compare/cmp-1/item/{site.place.ids[0]}"):
        page.goto(f"{site.url}/p/mini/{path}")
        if path == "compare/cmp-1":
            page.wait_for_function(DRAWN)
        assert page.evaluate(FITS), path
    assert did_nothing_odd(watched)


def test_a_file_filters_without_a_server_and_by_keyboard(opened: Any) -> None:
    listed = flips(260)
    page, said = opened(page_html(report(flips=listed)))
    assert shown_rows(page) == 50
    broke = sum(flip.kind == "broke" for flip in listed)
    chosen = page.get_by_role("button", name="Broke")
    chosen.focus()
    page.keyboard.press("Enter")
    assert chosen.get_attribute("aria-pressed") == "true"
    assert shown_rows(page) == min(50, broke)
    assert page.locator("#flip-count").inner_text() == f"50 of {broke} shown"
    page.get_by_role("button", name="Show 50 more").click()
    assert shown_rows(page) == min(100, broke)
    page.get_by_role("button", name="Gold disputed").click()
    assert shown_rows(page) == sum(flip.gold_doubt is not None for flip in listed)
    assert page.evaluate(FITS)
    assert said == []


def test_a_files_drawings_follow_dark_mode(opened: Any) -> None:
    grounds = {}
    for scheme in ("light", "dark"):
        page, said = opened(page_html(report(flips=flips(5))), color_scheme=scheme)
        grounds[scheme] = page.locator(".plot-frame svg > rect").first.evaluate(
            "r => getComputedStyle(r).fill"
        )
        assert said == []
    assert grounds["light"] == "rgb(255, 255, 255)"
    assert grounds["dark"] == "rgb(29, 33, 37)"


def test_a_file_of_a_million_items_is_small_enough_to_work_with(opened: Any) -> None:
    page, said = opened(page_html(million()))
    assert shown_rows(page) == 50
    page.get_by_role("button", name="Both wrong").click()
    assert shown_rows(page) == 50
    assert said == []
