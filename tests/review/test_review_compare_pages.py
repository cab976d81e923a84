"""Pages of comparisons: for leads, as stored, texts and traces from the store, hostile content as text."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from labelproof.report.compare.page import page_html, trace_pair
from labelproof.report.trace import trace_item
from labelproof.review.web.security import CONTENT_POLICY
from labelproof.spec.errors import ConfigError
from tests.report.compare_factory import AT, flips, report, side
from tests.review.compare_rows import PROMPTS, add_arms, add_comparison, report_on
from tests.review.pages_helpers import HOME, Pages, Parsed

HOSTILE = "</pre><script>alert(1)</script><img src=x onerror=alert(2)>\u202e"
PAGE = "/compare/cmp-1"


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Pages]:
    made = Pages(tmp_path, ["a first text", HOSTILE, "a third text"])
    add_comparison(made.place.store, report_on(made.place.ids))
    for item in made.place.ids[:2]:
        add_arms(made.place.store, item)
    yield made
    made.close()


def test_the_pages_are_for_leads(site: Pages) -> None:
    item = site.place.ids[0]
    for path in ("/compare", PAGE, f"{PAGE}/item/{item}", f"{PAGE}/plot/forest"):
        assert site.status("ann", path) == 403
        assert site.status("lea", path) == 200
    assert f'href="{HOME}/compare"' in site.get("lea", "/items")
    assert f'href="{HOME}/compare"' not in site.get("ann", "/items")


def test_what_is_not_there_is_not_found(site: Pages) -> None:
    for path in (
        "/compare/other",
        f"{PAGE}/item/nothing",
        "/compare/other/item/x",
        "/compare/other/plot/forest",
    ):
        assert site.status("lea", path) == 404
    assert site.status("lea", f"{PAGE}/plot/nothing") == 422
    assert site.status("lea", f"{PAGE}?show=nothing") == 422
    assert site.status("lea", f"{PAGE}?from=-1") == 422


def test_the_list_names_comparisons_and_experiments(site: Pages) -> None:
    site.place.store.append(
        "experiments",
        {
            "experiment_id": ["exp-1"],
            "project": ["mini"],
            "event": ["planned"],
            "name": ["prompt with two labels"],
            "plan_fp": ["b2:feed01"],
            "ts": [AT],
        },
    )
    add_comparison(site.place.store, report(comparison_id="cmp-2", project="other"))
    page = site.get("lea", "/compare")
    assert "champion@a91f3c against candidate@c07d52" in page
    assert "… Not yet" in page
    assert "prompt with two labels" in page
    assert "cmp-2" not in page, "another project's"


def test_an_empty_list_says_what_to_run(tmp_path: Path) -> None:
    site = Pages(tmp_path)
    page = site.get("lea", "/compare")
    assert "labelproof compare champion candidate --project mini" in page
    assert "labelproof experiment run mini" in page
    site.close()


def test_a_comparison_is_shown_as_it_was_stored(site: Pages) -> None:
    page = site.get("lea", PAGE)
    for words in ("Not yet", "+1.9 pp", "What changed", "weigh them by the rules", "3 of 100", "SQL behind"):
        assert words in page
    assert page.count("hx-get=") == 5, "the drawings come after the words"
    assert "<svg" not in page


def test_texts_of_the_items_come_from_the_store_and_stay_blurred(site: Pages) -> None:
    page = site.get("lea", PAGE)
    assert "a first text" in page
    assert "m0" in page
    boxes = [given for _, given in Parsed.of(page).tags if "excerpt" in (given.get("class") or "").split()]
    assert len(boxes) == 3, "of the other items nothing is stored"
    assert all("blurred" in (box["class"] or "") for box in boxes)


def test_two_hundred_rows_at_a_time_under_a_filter(tmp_path: Path) -> None:
    site = Pages(tmp_path)
    found = report(flips=flips(700))
    add_comparison(site.place.store, found)
    first = site.get("lea", PAGE)
    assert first.count("<tr data-under=") == 200
    assert "1 to 200 of 700" in first
    assert f'href="{HOME}{PAGE}?show=all&amp;from=200#flips"' in first
    last = site.get("lea", f"{PAGE}?show=all&from=600")
    assert last.count("<tr data-under=") == 100
    assert "Next 200" not in last
    broke = [flip.item_id for flip in found.flips if flip.kind == "broke"]
    page = site.get("lea", f"{PAGE}?show=broke")
    shown = re.findall(r"/item/(b2%3A[0-9a-f]+)\?show=broke", page)
    assert [one.replace("%3A", ":") for one in shown] == broke[:200]
    site.close()


@pytest.mark.parametrize("name", ["forest", "waterfall", "slices", "reliability", "risk"])
def test_each_drawing_comes_alone_or_into_the_page(site: Pages, name: str) -> None:
    part = site.get("lea", f"{PAGE}/plot/{name}", **{"HX-Request": "true"})
    assert part.lstrip().startswith("<figure")
    assert "<svg" in part
    assert "style=" not in part, "the policy would stop it"
    alone = site.get("lea", f"{PAGE}/plot/{name}")
    assert "<h1>" in alone
    assert "<svg" in alone


def test_both_ways_of_an_item_part_at_the_step_that_differs(site: Pages) -> None:
    page = site.get("lea", f"{PAGE}/item/{site.place.ids[0]}")
    assert "The first step is the same" in page
    assert "They part at <strong>label</strong>" in page
    for line in ("If you are unsure, answer safe.", "If you are unsure, weigh two labels."):
        assert line in page
    assert re.search(r'class="line removed"><span class="sign">-</span>If you are unsure, answer safe', page)
    assert re.search(r'class="line added"><span class="sign">\+</span>If you are unsure, weigh two', page)
    assert "below the threshold" in page, "what an arm would have decided"
    assert "Next item" in page


def test_hostile_content_is_text(site: Pages) -> None:
    found = report_on(site.place.ids, comparison_id="cmp-x", headline=HOSTILE, notes=(HOSTILE,), rule=HOSTILE)
    add_comparison(site.place.store, found)
    for path in ("/compare", "/compare/cmp-x", f"/compare/cmp-x/item/{site.place.ids[1]}"):
        answer = site.client("lea").get(HOME + path)
        tags = Parsed.of(answer.text).tags
        assert not [tag for tag, _ in tags if tag == "img"]
        assert all(given.get("src", "").startswith("/static/") for tag, given in tags if tag == "script")  # type: ignore[union-attr]
        assert not [
            given for _, given in tags if any(key.startswith("on") or key == "style" for key in given)
        ]
        assert answer.headers["content-security-policy"] == CONTENT_POLICY
    item = site.get("lea", f"/compare/cmp-x/item/{site.place.ids[1]}")
    assert any("<script>alert(1)</script>" in box for box in Parsed.of(item).boxes)


def test_a_report_that_cannot_be_read_is_told_without_its_insides(site: Pages) -> None:
    site.place.store.append(
        "comparisons",
        {"comparison_id": ["old"], "project": ["mini"], "report_json": ["{}"], "ts": [AT]},
    )
    assert site.status("lea", "/compare/old") == 503


# --- traces ----------------------------------------------------------------------------------------


def test_an_arm_is_traced_though_it_decided_nothing(site: Pages) -> None:
    found = trace_item(site.place.store, "mini", site.place.ids[0], run_id="run-champion")
    assert found.decision is not None
    assert (found.decision["label"], found.decision["decision"]) == ("safe", "review")
    assert found.decision["audited"] is False
    assert found.decision["inclusion_prob"] is None


def test_a_pair_of_traces_holds_the_prompts_difference(site: Pages) -> None:
    a, b = side("champion", report().a.fp), side("candidate", report().b.fp)
    pair = trace_pair(site.place.store, "mini", site.place.ids[0], a, b)
    assert (pair.n_same, pair.at, pair.missing) == (1, "label", [])
    assert [one.title for one in pair.diffs] == ["System prompt", "Answer", "Output"]
    signs = [
        (line.sign, "".join(s.text for s in line.text)) for line in pair.diffs[0].lines if line.sign in "+-"
    ]
    assert signs == [("-", PROMPTS["champion"].split("\n")[1]), ("+", PROMPTS["candidate"].split("\n")[1])]
    assert [one["label"] for one in pair.answers] == ["safe", "hate"]


def test_a_strategy_without_steps_is_said_to_have_none(site: Pages) -> None:
    a, b = side("champion", report().a.fp), side("gone", "b2:gone")
    pair = trace_pair(site.place.store, "mini", site.place.ids[0], a, b)
    assert pair.missing == ["No steps of gone@gone are stored for this item."]
    assert pair.at is None
    with pytest.raises(ConfigError, match="neither"):
        trace_pair(site.place.store, "mini", site.place.ids[2], b, b)


def test_a_file_made_with_the_store_holds_the_traces(site: Pages) -> None:
    page = page_html(report_on(site.place.ids), store=site.place.store)
    assert page.count('<details class="card trace"') == 2
    assert 'href="#item-0"' in page
    assert "If you are unsure, weigh two labels." in page
    assert "Traces are not in this file" not in page
