"""The overview page: for leads, of their projects only, numbers equal to the store's, hostile words as text."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.overview.overview_helpers import add_project
from tests.review.pages_helpers import Pages

HOSTILE = "</bdi><script>alert(1)</script>"


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Pages]:
    made = Pages(tmp_path, ["a first text", "a second text"])
    yield made
    made.close()


def page(site: Pages, name: str = "lea") -> str:
    answer = site.client(name).get("/overview")
    assert answer.status_code == 200, answer.text[:400]
    text: str = answer.text
    return text


def test_a_lead_sees_their_projects_with_numbers_and_statements(site: Pages) -> None:
    now = site.place.clock()
    add_project(
        site.place.store, "mini", auto=68, review=32, state="breached", alarms={"critical": 1},
        findings={"critical": 2}, causes={"language": 3, HOSTILE: 9}, now=now,
    )  # fmt: skip
    add_project(
        site.place.store, "not_theirs", auto=1, state="breached", causes={"somebody else's": 4}, now=now
    )
    shown = page(site)
    for words in (
        "96.2 % (95.1 to 97.1; n = 600)", "≥ 95 %: breached", "68.0 % of 100", "$0.40", "2 critical", "1 critical",
        "finished 3 h ago", 'class="heat-4"', "75 %", "FROM current_measurements", "TIMESTAMPTZ",
    ):  # fmt: skip
        assert words in shown
    assert "not_theirs" not in shown
    assert "somebody else" not in shown
    assert "<script>alert" not in shown
    assert "&lt;/bdi&gt;&lt;script&gt;alert(1)" in shown


def test_it_is_for_leads(site: Pages) -> None:
    assert site.client("ann").get("/overview").status_code == 403
    assert "/overview" not in site.client("ann").get("/").text
    assert 'href="/overview"' in site.client("lea").get("/").text


def test_an_empty_store_says_what_to_run(site: Pages) -> None:
    shown = page(site)
    assert "No analysis yet" in shown
    assert "labelproof run" in shown or "mini" in shown
