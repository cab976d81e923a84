"""In a real browser: a finding driven by keyboard, on a phone and in the dark, with hostile words in it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from labelproof.report.findings.book import find_finding, open_finding
from tests.review.browser_helpers import MakeSite, did_nothing_odd

if TYPE_CHECKING:
    from tests.review.browser_helpers import ReviewSite

pytestmark = pytest.mark.browser
HOSTILE = "</bdi></td><script>alert(1)</script><img src=x onerror=alert(2)> " + "x" * 90
FITS = "() => document.documentElement.scrollWidth <= document.documentElement.clientWidth"


def add(site: ReviewSite, source_id: str = "s1") -> str:
    store, now = site.store, site.place.clock()
    evidence = {"sql": "SELECT 42 AS n\n" + "-- long " * 40, "items": [site.place.ids[0]], "why": HOSTILE}
    return open_finding(
        store,
        "mini",
        title=HOSTILE,
        severity="critical",
        owner="olga",
        source="monitor",
        source_id=source_id,
        evidence=evidence,
        check="auto_accuracy >= 0.95",
        actor="monitor",
        now=now,
    )


def test_a_finding_is_driven_by_keyboard(make_site: MakeSite) -> None:
    site = make_site(["a first text", "a second text"], people={"lea": "lead"})
    found = add(site)
    page, watched = site.person("lea")
    page.goto(site.url + "/findings")
    page.get_by_role("link", name=found).focus()
    page.keyboard.press("Enter")
    page.wait_for_url(f"**/findings/{found}")
    page.get_by_label("What should others know?").focus()
    page.keyboard.type("asked the vendor")
    page.keyboard.press("Tab")
    assert page.evaluate("() => document.activeElement.textContent") == "Note"
    page.keyboard.press("Enter")
    page.wait_for_url("**?done=note")
    assert page.get_by_text("asked the vendor").is_visible()
    page.get_by_label("Why is it done?").fill("fixed")
    page.keyboard.press("Enter")
    page.wait_for_url("**?done=close")
    one = find_finding(site.store, "mini", found)
    assert [(event.event, event.actor) for event in one.events[1:]] == [("noted", "lea"), ("closed", "lea")]
    assert did_nothing_odd(watched)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_pages_fit_a_phone(make_site: MakeSite, scheme: str) -> None:
    site = make_site(["a first text"], people={"lea": "lead"})
    found = add(site)
    page, watched = site.person("lea", viewport={"width": 360, "height": 740}, color_scheme=scheme)
    for path in ("/findings", f"/findings/{found}", "/risks"):
        page.goto(site.url + path)
        assert page.evaluate(FITS), path
    assert did_nothing_odd(watched)
