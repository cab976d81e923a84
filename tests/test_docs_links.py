"""Relative links in the documentation lead to files, and their anchors to headings."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted([ROOT / "README.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").rglob("*.md")])
_FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)|(?:src|href|srcset)=\"([^\"]+)\"")
_HEADING = re.compile(r"^#{1,6} (.+)$", re.MULTILINE)


def links(text: str) -> list[str]:
    """Return the targets of links and images outside code blocks."""
    return [one or other for one, other in _LINK.findall(_FENCE.sub("", text))]


def anchors(text: str) -> set[str]:
    """Return the anchors that a Markdown page's headings make."""
    found = set()
    for heading in _HEADING.findall(_FENCE.sub("", text)):
        plain = re.sub(r"[^\w\- ]", "", heading.replace("`", "").lower())
        found.add(plain.strip().replace(" ", "-"))
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_relative_links_lead_somewhere(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    broken = []
    for link in links(text):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or (
            anchor and target.suffix == ".md" and anchor not in anchors(target.read_text(encoding="utf-8"))
        ):
            broken.append(link)
    assert not broken


def test_every_page_of_docs_is_reachable_from_the_index() -> None:
    index = ROOT / "docs" / "README.md"
    linked = {
        (index.parent / link.partition("#")[0]).resolve() for link in links(index.read_text(encoding="utf-8"))
    }
    assert {page for page in PAGES if page.is_relative_to(index.parent)} <= linked | {index}


def test_a_broken_link_is_noticed() -> None:
    text = "# A b\n[x](no/such.md) ![p](i.svg)\n```\n[not](checked)\n```\n"
    assert links(text) == ["no/such.md", "i.svg"]
    assert anchors(text) == {"a-b"}
