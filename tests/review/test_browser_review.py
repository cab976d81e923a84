"""In a real browser: clearing a queue by keyboard, together, with undo, with leases that end and servers that go."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from labelproof.review.model import AccountRole
from tests.review.browser_helpers import (
    MakeSite,
    answer_by_key,
    did_nothing_odd,
    next_task,
    problem,
    shown_text,
    status,
    task_of,
    until,
)

if TYPE_CHECKING:
    from playwright.sync_api import Page, Route

pytestmark = pytest.mark.browser
LABELS = ("safe", "hate", "spam", "threat")
ANN_BOB: dict[str, AccountRole] = {"ann": "reviewer", "bob": "reviewer"}


def test_thirty_tasks_by_keyboard_are_thirty_votes_as_pressed(make_site: MakeSite) -> None:
    site = make_site(30)
    page, watched = site.person("ann")
    site.work(page)
    pressed: dict[str, tuple[str, str | None]] = {}
    for i in range(30):
        other = {9: ("s", "skip"), 19: ("f", "flag"), 29: ("x", "unclear")}.get(i)
        key = other[0] if other else str(i % 4 + 1)
        task = answer_by_key(page, key)
        assert task not in pressed
        pressed[task] = (other[1], None) if other else ("label", LABELS[i % 4])
    page.wait_for_selector("[data-reason=voted]")  # the skipped one waits for somebody else
    until(lambda: len(site.votes()) == 30)
    votes = site.votes()
    assert {one["task_id"]: (one["answer"], one["label"]) for one in votes} == pressed
    assert {(one["annotator"], one["source"], one["role"]) for one in votes} == {("ann", "web", "reviewer")}
    assert all(one["signature"] and one["seconds"] is not None for one in votes)
    assert "30 answered today" in page.inner_text("#progress")
    assert did_nothing_odd(watched)


def test_a_key_chooses_and_only_enter_sends(make_site: MakeSite) -> None:
    site = make_site(3)
    page, _ = site.person("ann")
    site.work(page)
    first = task_of(page)
    page.keyboard.press("Enter")
    status(page, "Choose an answer first")
    page.keyboard.press("1")
    page.keyboard.press("2")
    status(page, "hate chosen")
    assert page.locator("input[data-answer]:checked").evaluate_all("all => all.map(one => one.value)") == [
        "hate"
    ]
    page.keyboard.press("n")
    page.keyboard.type("1 f u: a note may hold any key")
    page.keyboard.press("Escape")
    assert task_of(page) == first
    assert site.votes() == []
    answer_by_key(page)
    until(lambda: len(site.votes()) == 1)
    assert (site.votes()[0]["label"], site.votes()[0]["note"]) == ("hate", "1 f u: a note may hold any key")
    heading = page.evaluate("document.activeElement.tagName")
    assert heading == "H1"


def test_two_reviewers_at_once_never_see_the_same_task(make_site: MakeSite) -> None:
    site = make_site(20, people=ANN_BOB)
    pages: dict[str, Page] = {name: site.person(name)[0] for name in ANN_BOB}
    seen: dict[str, set[str]] = {"ann": set(), "bob": set()}
    for page in pages.values():
        site.work(page)
    while any(task_of(page) for page in pages.values()):
        working = {name: task for name, page in pages.items() if (task := task_of(page))}
        assert len(set(working.values())) == len(working)
        for name, task in working.items():  # both press before either sees what comes next
            seen[name].add(task)
            pages[name].keyboard.press("1" if name == "ann" else "3")
            pages[name].keyboard.press("Enter")
        for name, task in working.items():
            next_task(pages[name], task)
    until(lambda: len(site.votes()) == 20)
    assert seen["ann"].isdisjoint(seen["bob"])
    assert len(seen["ann"] | seen["bob"]) == 20
    assert all(one["label"] == {"ann": "safe", "bob": "spam"}[one["annotator"]] for one in site.votes())
    assert {
        name: {one["task_id"] for one in site.votes() if one["annotator"] == name} for name in seen
    } == seen


def test_a_closed_window_gives_its_tasks_back(make_site: MakeSite) -> None:
    site = make_site(1, people=ANN_BOB)
    ann, _ = site.person("ann")
    bob, _ = site.person("bob")
    site.work(ann)
    task = task_of(ann)
    site.work(bob)
    bob.wait_for_selector("[data-reason=held]")
    ann.close(run_before_unload=True)
    until(lambda: site.place.office.leases.holder(task, site.place.clock.now) is None)
    site.work(bob)
    assert task_of(bob) == task


def test_an_expired_lease_goes_to_somebody_else_and_the_late_answer_is_told(make_site: MakeSite) -> None:
    site = make_site(1, people=ANN_BOB)
    ann, _ = site.person("ann")
    bob, _ = site.person("bob")
    with ann.expect_response("**/leases"):
        site.work(ann)
    task = task_of(ann)
    site.place.clock.forward(minutes=11)
    site.work(bob)
    assert task_of(bob) == task
    ann.keyboard.press("1")
    ann.keyboard.press("Enter")
    problem(ann, "has gone to a colleague; your answer was not stored")
    answer_by_key(bob, "2")
    until(lambda: len(site.votes()) == 1)
    assert [(one["annotator"], one["label"]) for one in site.votes()] == [("bob", "hate")]


def test_an_expired_lease_that_nobody_took_still_counts(make_site: MakeSite) -> None:
    site = make_site(2)
    page, _ = site.person("ann")
    site.work(page)
    task = task_of(page)
    site.place.clock.forward(minutes=45)
    answer_by_key(page, "1")
    status(page, "Saved.")
    assert [one["task_id"] for one in site.votes()] == [task]


def test_undo_brings_the_task_back_and_the_second_answer_counts(make_site: MakeSite) -> None:
    site = make_site(3)
    page, watched = site.person("ann")
    site.work(page)
    text = shown_text(page)
    task = answer_by_key(page, "1")
    following = task_of(page)
    page.keyboard.press("u")
    status(page, "taken back")
    assert (task_of(page), shown_text(page)) == (task, text)
    assert page.locator("input[value=safe]").is_checked()
    assert answer_by_key(page, "2") == task
    assert task_of(page) == following
    until(lambda: [one["label"] for one in site.votes()] == ["hate"])
    rows = site.store.query("SELECT answer, label FROM votes ORDER BY ts, vote_id", fresh=True).to_pylist()
    assert [tuple(row.values()) for row in rows] == [
        ("label", "safe"),
        ("withdrawn", None),
        ("label", "hate"),
    ]
    assert did_nothing_odd(watched)


def test_with_nothing_to_undo_the_page_says_so(make_site: MakeSite) -> None:
    site = make_site(1)
    page, _ = site.person("ann")
    site.work(page)
    page.keyboard.press("u")
    status(page, "There is no answer of yours to take back.")


def test_a_server_that_is_away_costs_nothing(make_site: MakeSite) -> None:
    site = make_site(3)
    page, _ = site.person("ann")
    site.work(page)
    page.wait_for_load_state("networkidle")  # the next task is here
    site.stop()
    first = answer_by_key(page, "1")
    status(page, "Not saved yet")
    assert site.votes() == []
    site.start()
    status(page, "Saved.")
    answer_by_key(page, "2")
    until(lambda: len(site.votes()) == 2)
    assert {one["task_id"]: one["label"] for one in site.votes()}[first] == "safe"


def test_after_too_many_tries_the_answer_waits_for_the_reviewer(make_site: MakeSite) -> None:
    site = make_site(2)
    page, _ = site.person("ann")
    page.clock.install()
    site.work(page)
    page.route("**/task/vote", lambda route: route.abort())
    first = answer_by_key(page, "1")
    for _ in range(4):
        status(page, "")
        page.clock.run_for(5_000)
    problem(page, "your answer is not saved. The server cannot be reached.")
    page.unroute("**/task/vote")
    page.get_by_role("button", name="Try again").click()
    until(lambda: len(site.votes()) == 1)
    assert (site.votes()[0]["task_id"], site.votes()[0]["label"]) == (first, "safe")


def test_an_answer_whose_receipt_was_lost_is_stored_once(make_site: MakeSite) -> None:
    site = make_site(2)
    page, _ = site.person("ann")
    site.work(page)
    lost: list[str] = []

    def lose_the_first(route: Route) -> None:
        if lost:
            route.continue_()
            return
        lost.append(route.fetch().text())
        route.abort()

    page.route("**/task/vote", lose_the_first)
    answer_by_key(page, "4")
    status(page, "Saved.")
    assert '"saved":true' in lost[0]
    rows = site.store.query("SELECT answer, label FROM votes", fresh=True).to_pylist()
    assert rows == [{"answer": "label", "label": "threat"}]
