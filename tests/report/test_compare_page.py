"""The compare page as a file: one glance, every number, nothing loaded, nothing run that content brought."""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import orjson
import pytest

import labelproof.review.web
from labelproof.report.compare.model import MetricRow, Rerun, SideCurves, Why
from labelproof.report.compare.page import ASSETS, MOST_ROWS, page_html, picture_of
from labelproof.report.compare.page.flips import counted, filters_of, spread, under
from labelproof.report.compare.page.pictures import themed
from labelproof.report.compare.page.stored import report_of_json
from labelproof.spec.errors import StoreError
from tests.report.compare_factory import flips, million, report
from tests.review.test_review_contrast import colours, contrast

HOSTILE = "</td></table><script>alert(1)</script><img src=x onerror=alert(2)>\u202e{{7*7}}"


class Tags(HTMLParser):
    """Tags with attributes, and what of them would run or load."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def count(self, name: str) -> int:
        return sum(tag == name for tag, _ in self.tags)

    def loads(self) -> list[tuple[str, str | None]]:
        return [
            (tag, given.get("src") or given.get("href"))
            for tag, given in self.tags
            if "src" in given or (given.get("href") or "#")[0] != "#"
        ]


@pytest.fixture(scope="module")
def page() -> str:
    return page_html(report())


def test_the_verdict_its_rule_and_what_to_do_stand_first(page: str) -> None:
    start = page.index("<main")
    order = [
        page.index(words, start) for words in ("Not yet", "Accuracy up", "<strong>Next:", "Rule, written")
    ]
    assert order == sorted(order)
    assert order[-1] < page.index("What changed")


@pytest.mark.parametrize(
    ("verdict", "words"), [("ship", "Ship"), ("inconclusive", "Not yet"), ("regression", "Regression")]
)
def test_each_verdict_has_its_word_and_its_sign(verdict: str, words: str) -> None:
    found = page_html(report(verdict=verdict, flips=[], slices=[], curves_a=None, rows=[]))
    assert re.search(rf'<h2 id="verdict-title">{words}</h2>', found)
    assert re.search(r'<span class="verdict-sign" aria-hidden="true">[✓…✕]</span>', found)


def test_a_rule_that_was_not_written_before_says_so() -> None:
    found = page_html(report(planned=False, flips=[], slices=[], curves_a=None))
    assert "nobody hashed it before the first call" in found


def test_every_number_of_the_table_is_the_reports(page: str) -> None:
    for words in ("84.2 %", "86.1 %", "+1.9 pp", "+0.6 to +3.2", "0.012", "−1.5 pp", "guardrail … unproven"):
        assert words in page
    assert "guardrail ✓ holds" in page
    assert "3 of 100" in page
    assert "about 59" in page


def test_the_file_loads_nothing_and_runs_only_its_own(page: str) -> None:
    tags = Tags(page)
    assert tags.loads() == []
    assert tags.count("script") == 1
    assert tags.count("style") == 1
    assert not [
        given for _, given in tags.tags if any(name.startswith("on") or name == "style" for name in given)
    ]
    policy = next(given["content"] for tag, given in tags.tags if given.get("http-equiv"))
    for name in ("style", "script"):
        found = re.search(rf"<{name}>(.*?)</{name}>", page, re.DOTALL)
        assert found is not None
        digest = base64.b64encode(hashlib.sha256(found[1].encode()).digest()).decode()
        assert f"{name}-src 'sha256-{digest}'" in (policy or "")
    assert (policy or "").startswith("default-src 'none'")


def test_hostile_content_is_text_everywhere() -> None:
    plain, attacked = report(), report(
        headline=HOSTILE,
        rule=HOSTILE,
        next_step=HOSTILE,
        notes=(HOSTILE,),
        gold_name=HOSTILE,
        project=HOSTILE,
        sql=dict.fromkeys(("metrics", "flips", "slices", "curves", "cost", "rerun"), HOSTILE),
        flips=[
            replace(
                flip, excerpt=HOSTILE, external_id=HOSTILE, gold=HOSTILE, label_a=HOSTILE, label_b=HOSTILE,
                step=HOSTILE, gold_doubt=HOSTILE if flip.gold_doubt else None,
            )
            for flip in flips()
        ],
        a=replace(report().a, name=HOSTILE),
        changes=[replace(one, name=HOSTILE) for one in report().changes],
        slices=[replace(one, key=HOSTILE, value=HOSTILE) for one in report().slices],
    )  # fmt: skip
    page = page_html(attacked)
    tags, expected = Tags(page), Tags(page_html(plain))
    assert tags.count("script") == 1
    assert tags.count("img") == 0
    assert tags.count("table") == expected.count("table")
    assert tags.loads() == []
    assert "{{7*7}}" in page
    assert "U+202E" in page


def test_texts_are_blurred_and_out_of_reach_until_asked_for(page: str) -> None:
    boxes = [given for _, given in Tags(page).tags if "excerpt" in (given.get("class") or "")]
    assert len(boxes) == 114
    assert all("blurred" in (box["class"] or "") and "inert" in box for box in boxes)


def test_a_file_of_a_million_items_lists_some_of_each_kind_and_says_so() -> None:
    found = million()
    page = page_html(found)
    rows = [given for tag, given in Tags(page).tags if tag == "tr" and given.get("data-under")]
    assert len(rows) == MOST_ROWS
    kinds = {given["class"] for given in rows}
    assert kinds == {"fixed", "broke", "both_wrong"}
    words = " ".join(re.sub(r"<[^>]+>", "", page).split()).replace("\u202f", " ")
    assert "123 362 of 1 000 000 items" in words
    assert "The report lists 6 000 of them" in words
    assert "This file shows 2 000" in words
    assert len(page) < 5_000_000


def test_filters_hold_what_they_say() -> None:
    listed = flips()
    for name, _, n in counted(listed):
        assert int(n) == len(under(listed, name))
    assert {flip.kind for flip in under(listed, "broke")} == {"broke"}
    assert all(flip.gold_doubt for flip in under(listed, "disputed"))
    assert all(flip.stability == "unstable" for flip in under(listed, "unstable"))
    assert all("all" in filters_of(flip) for flip in listed)


def test_few_of_many_are_spread_over_the_kinds_in_their_order() -> None:
    listed = flips(900)
    kept = spread(listed, 60)
    assert len(kept) == 60
    assert [one for one in listed if one in kept] == kept
    counts = {kind: sum(one.kind == kind for one in kept) for kind in ("fixed", "broke", "both_wrong")}
    assert set(counts.values()) == {20}
    assert spread(listed, 900) == listed


def test_what_is_not_measured_says_why() -> None:
    found = page_html(
        report(
            rerun=Rerun(n=0, n_changed=0, expected_on_all=None, reason="nobody asked champion again"),
            why=Why(metric="accuracy", shares=(), n_new_calls=240, reason="run labelproof explain A B"),
            slices=(),
            curves_a=None,
        )
    )
    assert "nobody asked champion again" in found
    assert "run labelproof explain A B" in found
    assert "Curves need gold labels" in found
    assert "240" in found


def test_shares_of_another_difference_are_not_drawn() -> None:
    other = report(why=Why(metric="accuracy", shares=report().why.shares[:1], n_new_calls=0))
    assert "expected a sum of 0.019" in str(picture_of(other, "waterfall"))


def test_colours_of_drawings_follow_the_page() -> None:
    found = picture_of(report(), "slices")
    assert not isinstance(found, str)
    assert 'fill="var(--plot-worse-proven, #b34700)"' in found.svg
    css = (ASSETS / "compare.css").read_text(encoding="utf-8")
    named = set(re.findall(r"var\((--plot-[\w-]+),", "".join(_all_drawings())))
    assert all(css.count(f"{name}: #") == 2 for name in named), "a colour for light and one for dark"
    assert themed('<a fill="#123456"/>') == '<a fill="#123456"/>'


def _all_drawings() -> list[str]:
    found = [picture_of(report(), name) for name in ("forest", "waterfall", "slices", "reliability", "risk")]
    return [one.svg for one in found if not isinstance(one, str)]


def test_the_file_looks_like_the_app() -> None:
    app = (Path(labelproof.review.web.__file__).parent / "static" / "app.css").read_text(encoding="utf-8")
    own = (ASSETS / "file.css").read_text(encoding="utf-8")
    colours = re.compile(r"--([\w-]+): (#[0-9a-f]{6});")
    assert colours.findall(own) == colours.findall(app)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_words_and_marks_stand_out_in_both_themes(scheme: str) -> None:
    css = (ASSETS / "compare.css").read_text(encoding="utf-8")
    blocks = re.findall(r"\.compare, \.plot-alone \{(.*?)\}", css, re.DOTALL)
    assert len(blocks) == 2
    own = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6});", blocks[scheme == "dark"]))
    app = colours(scheme)
    pale = ("better-unproven", "no-difference", "worse-unproven", "too-few-items", "not-measurable", "ground")
    words = [("plot-ink", f"plot-{tone}") for tone in pale]
    words += [("plot-on-dark", f"plot-{tone}") for tone in ("green", "worse-proven")]
    low = {pair for pair in words if contrast(own[pair[0]], own[pair[1]]) < 4.5}
    low |= {
        (name, ground)
        for name in ("text", "muted")
        for ground in ("added", "removed")
        if contrast(app[name], own[ground]) < 4.5
    }
    low |= {(mark, "ground") for mark in ("plot-blue", "plot-orange", "plot-green", "plot-soft")
            if contrast(own[mark], own["plot-ground"]) < 3}  # fmt: skip
    low |= {(a, b) for a, b in (("ok", "added"), ("error", "removed")) if contrast(app[a], own[b]) < 4.5}
    assert low == set()


def test_a_stored_report_is_read_back_whole() -> None:
    found = report()
    stored = orjson.dumps(found.to_json(), option=orjson.OPT_SERIALIZE_NUMPY)
    again = report_of_json(stored)
    assert orjson.dumps(again.to_json(), option=orjson.OPT_SERIALIZE_NUMPY) == stored
    assert isinstance(again.rows[0], MetricRow)
    assert isinstance(again.curves_a, SideCurves)


def test_flips_that_are_stored_by_id_alone_are_read() -> None:
    raw = orjson.loads(orjson.dumps(report().to_json(), option=orjson.OPT_SERIALIZE_NUMPY))
    raw["flips"] = ["b2:1", {"item_id": "b2:2", "kind": "fixed"}]
    found = report_of_json(orjson.dumps(raw)).flips
    assert [(flip.item_id, flip.kind, flip.excerpt) for flip in found] == [
        ("b2:1", "no_gold", ""),
        ("b2:2", "fixed", ""),
    ]


@pytest.mark.parametrize("text", ["{}", "[]", "not json", '{"flips": [], "verdict": "perhaps"}'])
def test_a_report_of_another_form_is_refused(text: str) -> None:
    with pytest.raises(StoreError, match="cannot be read"):
        report_of_json(text)
