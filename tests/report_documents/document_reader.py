"""Reads a report's page as a person does: its numbers, what comes from outside, and the rest of the words."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from html.parser import HTMLParser

from labelproof.report.documents.model import Document, Ref
from labelproof.report.documents.words import ref_text, safe_text
from labelproof.store import TraceStore

_SKIPPED = ("svg", "style", "title", "pre")
_VOID = ("meta", "br", "link", "img", "hr")


@dataclass
class Page(HTMLParser):
    """``shown``: (number, form, text) in order; ``words``: all text that is neither a number nor given from outside."""

    shown: list[tuple[str, str, str]] = field(default_factory=list)
    words: list[str] = field(default_factory=list)
    given: list[str] = field(default_factory=list)
    tags: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self._open: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag not in _VOID:
            self._open.append((tag, dict(attrs)))
            if tag == "data":
                found = dict(attrs)
                self.shown.append((str(found["data-number"]), str(found["data-form"]), ""))

    def handle_endtag(self, tag: str) -> None:
        while self._open and self._open.pop()[0] != tag:
            pass

    def handle_data(self, data: str) -> None:
        names = [tag for tag, _ in self._open]
        if any(tag in _SKIPPED for tag in names):
            return
        if "data" in names:
            name, form, text = self.shown[-1]
            self.shown[-1] = (name, form, text + data)
        elif any("data-given" in attrs for _, attrs in self._open):
            self.given.append(data)
        else:
            self.words.append(data)


def read_page(html: str) -> Page:
    page = Page()
    page.feed(html)
    page.close()
    return page


def check_page(made: Document) -> Page:
    """Every number of the page is one of the document's, written as it is; no other digit stands in our words."""
    page = read_page(made.html)
    assert page.shown
    named = {safe_text(name): number for name, number in made.numbers.items()}
    for name, form, text in page.shown:
        assert text == ref_text(Ref(name, form), named), name  # type: ignore[arg-type]
    words = re.sub("95 % interval|Macro-F1", "", " ".join(page.words))  # a level and a name
    assert not re.search(r"\d", words), re.findall(r".{0,40}\d.{0,40}", words)
    return page


def check_queries(made: Document, store: TraceStore) -> None:
    """Each number's query gives that number, and its n."""
    for name, number in made.numbers.items():
        rows = store.query(number.sql, fresh=True).to_pylist()
        assert len(rows) == 1, name
        same(name, number.value, rows[0]["value"])
        assert number.n == (None if rows[0]["n"] is None else int(rows[0]["n"])) or number.query is None, name


def same(name: str, shown: float | None, found: object) -> None:
    assert (shown is None) == (found is None), (name, shown, found)
    if shown is not None:
        assert abs(shown - float(found)) <= 1e-9 * max(1.0, abs(shown)), (name, shown, found)  # type: ignore[arg-type]
