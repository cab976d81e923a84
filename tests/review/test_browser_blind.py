"""In a real browser: what a blind reviewer's page holds, double votes, adjudication, blur, images not asked for."""

from __future__ import annotations

import re
import struct
import zlib
from pathlib import Path

import pytest

from labelproof.review.model import AccountRole
from tests.review.browser_helpers import (
    MakeSite,
    answer_by_key,
    did_nothing_odd,
    status,
    task_of,
    until,
)
from tests.review.desk_helpers import NO_CHECKS

pytestmark = pytest.mark.browser
PEOPLE: dict[str, AccountRole] = {"ann": "reviewer", "bob": "reviewer", "lea": "lead"}
CONFIDENCE = 0.98123


def without_names(html: str) -> str:
    """Return a task's page without ids, tokens and its number: what is left must be the same for any label."""
    html = re.sub(r'data-(task-id|token|progress)="[^"]*"', "", html)
    html = re.sub(r'<span class="id">[^<]*</span>', "", html)
    return re.sub(r"text number \d", "TEXT", html)


def test_a_blind_page_is_the_same_whatever_the_machine_said(make_site: MakeSite) -> None:
    labels = ("safe", "hate", "spam", "threat")
    site = make_site(4, people=PEOPLE, labels=labels, confidences=(CONFIDENCE, 0.5, 0.2, CONFIDENCE))
    page, watched = site.person("ann")
    site.work(page)
    pages = []
    for i in range(4):
        html = page.locator("[data-stage] [data-task]").evaluate("task => task.outerHTML")
        assert "0.98" not in html
        assert "confidence" not in html.lower()
        assert "threshold" not in html
        pages.append(without_names(html))
        if i < 3:
            answer_by_key(page, "s")
    assert set(pages) == {pages[0]}
    assert did_nothing_odd(watched)


def test_blind_votes_disagree_and_a_lead_decides(make_site: MakeSite) -> None:
    site = make_site(1, people=PEOPLE, kind="audit", labels=["spam"], confidences=[CONFIDENCE])
    windows = {name: site.person(name) for name in PEOPLE}
    ann, bob, lea = (windows[name][0] for name in PEOPLE)
    site.work(ann)
    task = answer_by_key(ann, "1")
    status(ann, "Saved.")
    assert "0.98" not in ann.content()
    site.work(bob)
    assert task_of(bob) == task
    seen = bob.content()
    assert "ann" not in re.findall(r"\w+", re.sub(r"<script.*?</script>", "", seen))
    assert "0.98" not in seen
    answer_by_key(bob, "2")
    status(bob, "Saved.")
    lea.goto(f"{site.url}/p/mini/lead")
    assert "different labels" in lea.inner_text("main")
    lea.locator("table a").click()
    lea.wait_for_selector("[data-task-id]")
    votes = lea.inner_text(".votes")
    assert "safe" in votes
    assert "hate" in votes
    assert "ann" not in votes
    assert "bob" not in votes
    assert "0.98" not in lea.content()  # an audit measures the machine: its answer stays out of the decision
    lea.keyboard.press("2")
    lea.keyboard.press("n")
    lea.keyboard.type("an attack on a group: H-1")
    lea.keyboard.press("Control+Enter")
    lea.wait_for_url("**/p/mini/lead")
    assert "Nothing waits for a lead." in lea.inner_text("main")
    decided = site.votes("adjudicator")
    assert [(one["annotator"], one["label"], one["note"]) for one in decided] == [
        ("lea", "hate", "an attack on a group: H-1")
    ]
    sql = "SELECT state, final_label FROM task_outcomes"
    assert site.store.query(sql, fresh=True).to_pylist() == [{"state": "adjudicated", "final_label": "hate"}]
    for _, watched in windows.values():
        assert did_nothing_odd(watched)


def test_a_lead_who_reviewed_a_task_does_not_decide_it(make_site: MakeSite) -> None:
    site = make_site(1, people=PEOPLE, kind="audit")
    for name, key in (("lea", "1"), ("bob", "2")):
        page, _ = site.person(name)
        site.work(page)
        task = answer_by_key(page, key)
        status(page, "Saved.")
    lea, _ = site.person("lea")
    lea.goto(f"{site.url}/p/mini/lead/{task}")
    assert lea.locator("form.answer").count() == 0
    assert lea.locator("[data-task-id]").count() == 0
    lea.keyboard.press("1")
    lea.keyboard.press("Enter")
    assert site.votes("adjudicator") == []


def test_blurred_text_takes_no_answer_until_it_is_shown(make_site: MakeSite) -> None:
    site = make_site(3, review=NO_CHECKS)
    page, watched = site.person("ann")
    site.work(page)
    first = task_of(page)
    box = page.locator("pre.content")
    assert "blur" in box.evaluate("box => getComputedStyle(box).filter")
    for key in ("1", "f", "x"):
        page.keyboard.press(key)
        status(page, "The text is blurred: r shows it.")
        assert page.locator("input[data-answer]:checked").count() == 0
    page.keyboard.press("Enter")
    page.locator("label.choice", has_text="hate").click()
    assert page.locator("input[data-answer]:checked").count() == 0
    assert task_of(page) == first
    assert box.get_attribute("aria-hidden") == "true"
    page.keyboard.press("r")
    status(page, "The text is shown.")
    assert box.evaluate("box => getComputedStyle(box).filter") == "none"
    assert box.get_attribute("aria-hidden") is None
    answer_by_key(page, "3")
    assert "blur" in page.locator("pre.content").evaluate("box => getComputedStyle(box).filter")
    answer_by_key(page, "s")
    until(lambda: len(site.votes()) == 2)
    assert sorted((one["answer"], one["label"] or "") for one in site.votes()) == [
        ("label", "spam"),
        ("skip", ""),
    ]
    assert did_nothing_odd(watched)


def png(path: Path) -> None:
    """Write a red picture of one pixel."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 2, 0, 0, 0))
    rows = chunk(b"IDAT", zlib.compress(b"\0\xff\0\0"))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + head + rows + chunk(b"IEND", b""))


def test_an_image_is_not_fetched_before_it_is_asked_for_and_grey_first(
    make_site: MakeSite, tmp_path: Path
) -> None:
    care = "care: {blur: never, image_column: picture}"
    metas = [{"picture": "red.png"}, {"picture": "../../etc/passwd"}]
    site = make_site(2, review=f"{NO_CHECKS}, {care}", metas=metas)
    png(site.place.folder.folder / "red.png")
    page, watched = site.person("ann")
    with page.expect_response("**/task/next*"):
        site.work(page)
    while "text number 0" not in page.inner_text("[data-stage]"):
        answer_by_key(page, "s")
    assert not [url for url in watched.asked if "/image/" in url]
    with page.expect_response("**/image/**") as got:
        page.keyboard.press("i")
    assert got.value.status == 200
    assert got.value.headers["content-type"] == "image/png"
    picture = page.locator("[data-image] img")
    assert "grayscale(1)" in picture.evaluate("image => getComputedStyle(image).filter")
    page.keyboard.press("i")
    assert picture.evaluate("image => getComputedStyle(image).filter") == "none"
    assert len([url for url in watched.asked if "/image/" in url]) == 1
    outside = page.request.get(f"{site.url}/p/mini/image/{site.place.ids[1]}")
    assert outside.status == 404
    assert did_nothing_odd(watched)
