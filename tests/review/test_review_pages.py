"""Reviewers' pages over a real desk: what they hold, what they take, and what they never tell."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from labelproof.review.web.context import TEMPLATES
from tests.review.desk_helpers import T0, add_tasks
from tests.review.pages_helpers import HOME, Pages, Parsed, Task, ballot, stripped

Make = Callable[..., Pages]
VOTES = "SELECT annotator, role, answer, label, note, seconds FROM votes ORDER BY ts, vote_id"
NO_BLUR = "checks: {first: 0, rate_prob: 0}, care: {blur: never}"


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    """Return a maker of sites, each in a folder of its own."""
    made: list[Pages] = []

    def build(*args: Any, **how: Any) -> Pages:
        folder = tmp_path / str(len(made))
        folder.mkdir()
        made.append(Pages(folder, *args, **how))
        return made[-1]

    yield build
    for site in made:
        site.close()


def votes(site: Pages) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = site.place.store.query(VOTES, fresh=True).to_pylist()
    return rows


# --- every page ------------------------------------------------------------------------------------


def test_every_page_of_a_reviewer_opens(make: Make) -> None:
    site = make()
    item = site.place.ids[0]
    for path in (
        "",
        "/task",
        "/task/next",
        "/guideline",
        "/guideline?q=hate",
        "/items",
        "/items?q=one",
        f"/item/{item}",
    ):
        assert site.get("ann", path)
    assert "mini" in site.client("ann").get("/").text


def test_the_leads_pages_are_for_leads(make: Make) -> None:
    site = make()
    for path in ("/lead", "/lead/none", "/reviewers", "/dashboard"):
        assert site.status("ann", path) == 403
    for path in ("/lead", "/lead?only=unclear", "/reviewers?days=7", "/dashboard?people=2&hours=4"):
        assert site.get("lea", path)
    assert site.status("lea", "/lead/none") == 404
    for path in ("close", "reopen", "vote"):
        assert site.post("ann", f"/lead/x/{path}", {"reason": "because"}).status_code == 403


def test_unknown_projects_and_items_are_not_there(make: Make) -> None:
    site = make()
    client = site.client("lea")
    assert client.get("/p/other/task").status_code == 404
    assert site.status("ann", "/item/nothing") == 404
    assert site.status("ann", "/image/nothing") == 404


def test_the_queue_tells_the_day_without_hidden_gold(make: Make) -> None:
    site = make()
    page = site.get("ann", "")
    assert "Start reviewing" in page
    assert "0 answered today · 3 open for you" in page
    assert "sent to people" in page
    assert "hidden gold" not in page
    assert re.search(r"critical</th><td class=\"num\">0</td><td class=\"num\">200", page)


def test_templates_hold_no_inline_script_or_style_and_trust_no_content() -> None:
    for path in sorted(TEMPLATES.glob("*.html")):
        source = path.read_text()
        assert not re.search(r"\sstyle\s*=|<style|\son\w+=.|hx-on|javascript:", source), path.name
        assert not re.search(r"<script(?![^>]*\ssrc=)", source), path.name
        assert not re.search(r"\|\s*safe\b|autoescape\s+false|https?://", source), path.name


# --- blind -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "blur"), [("routed", "always"), ("routed", "severe"), ("audit", "always"), ("gold", "severe")]
)
def test_a_blind_task_is_the_same_page_whatever_the_machine_said(make: Make, kind: str, blur: str) -> None:
    review = f"checks: {{first: 0, rate_prob: 0}}, care: {{blur: {blur}}}"
    pages = []
    for label, confidence in (("spam", 0.31), ("threat", 0.997)):
        site = make(["buy now"], kind=kind, labels=[label], confidences=[confidence], review=review)
        page, task = site.get("ann", "/task"), site.take("ann")
        assert str(confidence) not in page
        pages.append(stripped(page, of=[task.handle]))
        pages.append(stripped(site.get("ann", "/task"), of=[task.handle]))
    assert len(set(pages)) == 1


def test_a_task_that_shows_the_machine_says_so(make: Make) -> None:
    site = make(
        ["buy now"], review="checks: {first: 0, rate_prob: 0}, show_model: [routed]", confidences=[0.62]
    )
    page = site.get("ann", "/task")
    assert "The machine says <strong>spam</strong>, confidence 0.62" in page


def test_hidden_gold_is_the_same_page_as_any_task(make: Make) -> None:
    asked = make(["buy now"])
    checked = make(["buy now", "other"], review="checks: {first: 1, rate_prob: 0, splits: [test]}")
    store, ids = checked.place.store, checked.place.ids
    store.append(
        "gold",
        {
            "gold_set": ["g"],
            "gold_fp": ["b2:g"],
            "project": ["mini"],
            "item_id": [ids[0]],
            "label": ["threat"],
            "split": ["test"],
            "ts": [T0],
        },
    )
    checked.place.desk = checked.place.reopen()
    checked.app.state.desk = checked.place.desk
    pages = []
    for site in (asked, checked):
        page, task = site.get("ann", "/task/next"), site.take("ann")
        pages.append(re.sub(r'data-progress="[^"]+"', "", stripped(page, of=[task.handle])))
    assert checked.place.desk.task("mini", checked.take("ann").task_id).kind == "check"
    assert pages[0] == pages[1]


def test_metadata_that_gives_an_answer_away_is_left_out(make: Make) -> None:
    metas = [{"language": "en", "predicted": "x", "verdict": "hate", "score": 0.97, "source": "<i>web</i>"}]
    page = make(["one"], metas=metas).get("ann", "/task")
    assert "&lt;i&gt;web&lt;/i&gt;" in page
    for word in ("predicted", "verdict", "score", "0.97"):
        assert word not in page


def test_an_undone_answer_comes_back_ticked_and_still_blind(make: Make) -> None:
    site = make(["one"], labels=["threat"], confidences=[0.123])
    assert site.answer("ann", site.take("ann"), "hate", note="a slur").status_code == 200
    page = site.post("ann", "/task/undo").text
    assert re.findall(r'value="(\w+)"[^>]* checked', page) == ["hate"]
    assert "a slur</textarea>" in page
    assert "0.123" not in page
    assert site.post("ann", "/task/undo").status_code == 409


# --- hostile content -------------------------------------------------------------------------------

HOSTILE = [
    "<script>alert(1)</script><img src=x onerror=alert(2)><svg onload=alert(3)>",
    "</pre></article></main><style>body{display:none}</style><form action='https://evil.example'>",
    "\" onmouseover=alert(1) data-x=\"' autofocus onfocus=alert(2) x='",
    "{{7*7}} {% raw %} ${7*7} <%= 1 %> {{ config }}",
    "pay \u202egnp.exe\u202c \u200bfr\u200bee \u2066x\u2069 \x00\x1b[31m \ue000",
    "Z" + "\u0337\u0321\u031b\u0347\u0348" * 300,
    "A" * 20_000,
    "\n\nleading lines &amp; &lt;b&gt; &#x3c;script&#x3e;",
    "javascript:alert(1) data:text/html,<script>1</script>",
]


def live_parts(page: str) -> list[str]:
    """Return the tags of a page but those that hold or group content."""
    passive = ("span", "div", "dl", "dt", "dd", "bdi", "p")
    return [tag for tag, _ in Parsed.of(page).tags if tag not in passive]


@pytest.mark.parametrize("where", ["task", "fragment", "item"])
def test_content_is_inert_and_shown_as_stored(make: Make, where: str) -> None:
    metas = [{"origin": text[:200], "<b>key</b>": "x"} for text in HOSTILE]
    plain, hostile = make(["plain"], review=NO_BLUR), make(HOSTILE, metas=metas, review=NO_BLUR)
    asked = {"task": "/task", "fragment": "/task/next", "item": f"/item/{plain.place.ids[0]}"}
    usual = live_parts(plain.get("lea", asked[where]))
    shown = []
    for item in hostile.place.ids:
        page = hostile.get("lea", f"/item/{item}" if where == "item" else asked[where])
        assert live_parts(page) == usual
        parsed = Parsed.of(page)
        for tag, attributes in parsed.tags:
            assert not [name for name in attributes if name.startswith("on") or name == "style"], tag
            assert "evil.example" not in str([attributes.get("action"), attributes.get("href")])
        shown.append(parsed.boxes[0].removeprefix("\n"))
        if where != "item":
            hostile.answer("lea", hostile.task_in("lea", page), key=f"key-{len(shown):06}")
    assert sorted(shown) == sorted(text.replace("\0", "") for text in HOSTILE)


def test_a_search_result_is_inert(make: Make) -> None:
    site = make(HOSTILE, review=NO_BLUR)
    tags = [tag for tag, _ in Parsed.of(site.get("ann", "/items?q=", **{"HX-Request": "true"})).tags]
    assert set(tags) == {"ul", "li", "a", "bdi", "span"}
    assert tags.count("li") == len(HOSTILE)
    hostile_search = site.get("ann", "/items?q=%22%3E%3Cscript%3Ealert(1)%3C/script%3E")
    assert "<script>alert" not in hostile_search


def test_hidden_characters_are_marked_and_listed(make: Make) -> None:
    page = make(["free\u200b \u202egnp.exe"], review=NO_BLUR).get("ann", "/task")
    assert 'data-code="200B" title="U+200B ZERO WIDTH SPACE" aria-label="U+200B ZERO WIDTH SPACE"' in page
    assert "Hidden characters: U+200B ZERO WIDTH SPACE; U+202E RIGHT-TO-LEFT OVERRIDE" in page


def test_blurred_text_is_out_of_reach_until_asked_for(make: Make) -> None:
    page = make(["one"]).get("ann", "/task")
    assert re.search(r'<pre class="content blurred\s*" dir="auto" inert aria-hidden="true">', page)
    assert "data-reveal" in page
    shown = make(["one"], review=NO_BLUR).get("ann", "/task")
    assert "data-reveal" not in shown
    assert re.search(r'<pre class="content\s*" dir="auto" tabindex="0">', shown)


# --- images ----------------------------------------------------------------------------------------


def test_an_image_is_not_in_the_page_and_comes_when_asked_for(make: Make) -> None:
    review = "checks: {first: 0, rate_prob: 0}, care: {image_column: picture}"
    metas = [{"picture": "pictures/a.png"}, {"picture": "../../secret.png"}, {"picture": 7}]
    site = make(["one", "two", "three"], metas=metas, review=review)
    folder = site.place.folder.folder
    (folder / "pictures").mkdir()
    png = b"\x89PNG\r\n\x1a\n" + b"\0" * 30
    (folder / "pictures" / "a.png").write_bytes(png)
    (folder.parent.parent / "secret.png").write_bytes(png)
    first, second, third = site.place.ids
    answer = site.client("ann").get(f"{HOME}/image/{first}")
    assert (answer.content, answer.headers["content-type"]) == (png, "image/png")
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert [site.status("ann", f"/image/{one}") for one in (second, third)] == [404, 404]
    page = site.get("ann", "/task")
    assert "<img" not in page
    assert re.search(rf'data-image="{HOME}/image/b2%3A\w+"|data-image="{HOME}/image/b2:\w+"', page)
    assert "pictures/a.png" not in page


# --- answers ---------------------------------------------------------------------------------------


def test_an_answer_is_stored_once_however_often_it_is_sent(make: Make) -> None:
    site = make()
    task = site.take("ann")
    for _ in range(2):
        answer = site.answer("ann", task, "hate", note="  a slur ")
        assert answer.json() == {
            "saved": True,
            "progress": "1 answered today · 2 open for you",
            "nudge": None,
        }
    (stored,) = votes(site)
    assert (stored["annotator"], stored["role"], stored["label"]) == ("ann", "reviewer", "hate")
    assert (stored["note"], stored["seconds"]) == ("a slur", 3.5)


@pytest.mark.parametrize("answer", ["skip", "flag", "unclear"])
def test_other_answers_carry_no_label(make: Make, answer: str) -> None:
    site = make()
    assert site.answer("ann", site.take("ann"), "hate", answer=answer).status_code == 200
    assert [(one["answer"], one["label"]) for one in votes(site)] == [(answer, None)]


def test_a_form_works_too_and_goes_on_to_the_next_task(make: Make) -> None:
    site = make()
    task = site.take("ann")
    data = {key: value for key, value in ballot(task, "safe").items() if value is not None}
    answer = site.post("ann", "/task/vote", data={**data, "csrf": "x"}, headers={"Accept": "text/html"})
    assert (answer.status_code, answer.headers["location"]) == (303, f"{HOME}/task")
    assert [one["label"] for one in votes(site)] == ["safe"]


def test_what_the_desk_refuses_is_said_and_nothing_is_stored(make: Make) -> None:
    site = make(["one"])
    task = site.take("ann")
    wrong = site.answer("ann", task, "nonsense")
    assert wrong.status_code == 409
    assert "nonsense" in wrong.json()["message"]
    assert site.answer("bob", Task(task.task_id, "stolen", task.handle)).status_code == 409
    assert site.answer("ann", Task("no-such-task", "x")).status_code == 409
    assert votes(site) == []


def test_an_answer_of_another_shape_is_refused_before_the_desk(make: Make) -> None:
    site = make()
    task = site.take("ann")
    for change in (
        {"answer": "withdrawn"},
        {"key": "short"},
        {"key": "spaces are not keys"},
        {"seconds": -1},
        {"note": "x" * 4_001},
        {"label": {"name": "safe"}},
        {"task_id": ""},
        {"role": "adjudicator"},
    ):
        assert site.post("ann", "/task/vote", {**ballot(task), **change}).status_code == 422, change
    for body in (b"", b"{", b"[]", b"null", b'"x"', b"\xff"):
        for path in ("/task/vote", "/leases", "/task/release"):
            answer = site.post("ann", path, content=body, headers={"Content-Type": "application/json"})
            assert answer.status_code == 422, (path, body, answer.text)
    assert votes(site) == []


def test_the_next_task_is_another_one(make: Make) -> None:
    site = make()
    first = site.take("ann")
    second = site.task_in("ann", site.get("ann", f"/task/next?after={first.handle}"))
    third = site.task_in("ann", site.get("ann", f"/task/next?after={first.handle}&after={second.handle}"))
    assert len({first.task_id, second.task_id, third.task_id}) == 3
    held = f"/task/next?after={first.handle}&after={second.handle}&after={third.handle}"
    page = site.get("ann", held)
    assert "data-task-id" not in page
    assert "data-reason=" in page


def test_nothing_left_says_why(make: Make) -> None:
    site = make(["one"])
    site.take("ann")
    assert "Colleagues have what is left" in site.get("bob", "/task")
    site.answer("ann", site.take("ann"))
    assert "Nothing is left to review" in site.get("bob", "/task")


def test_a_page_keeps_its_tasks_while_it_lives_and_lets_them_go(make: Make) -> None:
    site = make(["one"])
    task = site.take("ann")
    leases = {task.handle: task.token, "other": "x"}
    assert site.post("ann", "/leases", leases).json() == {task.handle: True, "other": False}
    assert site.post("bob", "/leases", {task.handle: task.token}).json() == {task.handle: False}
    form = {"csrf": "x", "task_id": task.handle, "token": task.token}
    assert site.post("ann", "/task/release", data=form).status_code == 204
    assert site.take("bob").task_id == task.task_id


def test_a_lost_lease_is_told(make: Make) -> None:
    site = make(["one"])
    task = site.take("ann")
    site.place.clock.forward(minutes=11)
    assert site.take("bob").task_id == task.task_id
    answer = site.answer("ann", task)
    assert answer.status_code == 409
    assert "colleague" in answer.json()["message"]


def test_several_labels_are_a_set(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "tests.review.desk_helpers.PROJECT",
        "name: mini\nlabels: {kind: multi, classes: [{name: hate}, {name: spam}]}\nitems: {path: i.jsonl}\n",
    )
    site = make(["one", "two"])
    page = site.get("ann", "/task")
    assert re.findall(r'type="(\w+)" name="choice" value="(\w+)"', page) == [
        ("checkbox", "hate"),
        ("checkbox", "spam"),
        ("checkbox", "none"),
    ]
    site.answer("ann", site.take("ann"), ["spam", "hate"])
    site.answer("ann", site.take("ann"), [], key="fedcba9876543210")
    assert [one["label"] for one in votes(site)] == ["hate+spam", "none"]


def test_many_labels_are_found_by_their_words(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    classes = ", ".join(f"{{name: c{i}, description: About {i}}}" for i in range(12))
    monkeypatch.setattr(
        "tests.review.desk_helpers.PROJECT",
        f"name: mini\nlabels: {{classes: [{classes}]}}\nitems: {{path: i.jsonl}}\n",
    )
    page = make(["one"]).get("ann", "/task")
    assert "data-filter" in page
    assert 'data-find="c11 about 11"' in page
    assert 'data-digit="9"' in page
    assert 'data-digit="10"' not in page


def test_guideline_fragments_are_for_the_panel(make: Make) -> None:
    site = make()
    fragment = site.get("ann", "/guideline?q=GROUPS", **{"HX-Request": "true"})
    assert "<mark>groups</mark>" in fragment
    assert "<html" not in fragment
    assert "Nothing in the guideline has these words." in site.get("ann", "/guideline?q=zebra")
    site.place.folder.folder.joinpath("guideline.md").unlink()
    assert "cannot be read" in site.get("ann", "/task")


def test_a_task_that_came_while_the_app_runs_is_shown(make: Make) -> None:
    site = make(["one", "two"])
    for _ in range(2):
        site.answer("ann", site.take("ann"), key=f"0123456789{_}")
    add_tasks(
        site.place.store, site.place.folder, site.place.ids[:1], kind="audit", at=T0 + timedelta(seconds=1)
    )
    site.place.desk.sync()
    assert site.take("ann").task_id
