"""A guideline as sections of safe HTML, and the parts of them that a search finds."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

from markdown_it import MarkdownIt
from markdown_it.common.utils import escapeHtml
from markdown_it.renderer import RendererHTML
from markdown_it.token import Token
from markdown_it.utils import OptionsDict
from markupsafe import Markup

from labelproof.spec.errors import ConfigError
from labelproof.spec.project import ProjectFolder

_WORD_LONGEST = 80
_WORDS_MOST = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """A heading and what stands below it; ``html`` comes from our Markdown renderer, which lets no HTML through.

    ``anchor``: to link to. ``n_hits``: parts of it that the search found, 0 without a search.
    """

    title: str
    level: int
    anchor: str
    html: Markup
    n_hits: int = 0


@dataclass(frozen=True, slots=True)
class _Raw:
    title: str
    level: int
    blocks: tuple[tuple[Token, ...], ...]
    """Top-level blocks; a list is one block per entry, so that a search shows only the entries it found."""


def guideline_sections(text: str, query: str = "") -> tuple[Section, ...]:
    """Return a Markdown guideline as sections, in its order.

    With a ``query``: only headings, paragraphs, list entries and tables that hold all of its words (or whose
    heading does), with each word inside ``<mark>``, whatever its case.
    """
    words = _words(query)
    found = []
    for index, raw in enumerate(_parsed(text)):
        blocks: Sequence[Sequence[Token]] = raw.blocks
        if words and not _has(words, raw.title):
            blocks = [block for block in blocks if _has(words, _text_of(block))]
            if not blocks:
                continue
        found.append(
            Section(
                title=raw.title,
                level=raw.level,
                anchor=f"section-{index}",
                html=_render(blocks, words),
                n_hits=max(1, len(blocks)) if words else 0,
            )
        )
    return tuple(found)


@dataclass(frozen=True, slots=True, kw_only=True)
class GuidelineView:
    """A project's guideline; ``problem`` says why there is none."""

    sections: tuple[Section, ...]
    problem: str | None = None


def guideline_view(folder: ProjectFolder, query: str = "") -> GuidelineView:
    """Return the guideline of a project, or what a search finds in it; read anew each time, so that edits show."""
    try:
        return GuidelineView(sections=guideline_sections(folder.guideline(), query))
    except (ConfigError, OSError, UnicodeDecodeError):
        return GuidelineView(
            sections=(), problem="The project's guideline file cannot be read. Tell whoever runs this server."
        )


def marked(text: str, query: str) -> Markup:
    """Return plain text with the words of a query inside ``<mark>``, everything else escaped."""
    return Markup(_with_marks(text, _words(query)))  # noqa: S704  # every piece is escaped in _with_marks


def _words(query: str) -> tuple[str, ...]:
    return tuple(word[:_WORD_LONGEST] for word in query.casefold().split()[:_WORDS_MOST])


def _has(words: Iterable[str], text: str) -> bool:
    folded = text.casefold()
    return all(word in folded for word in words)


@lru_cache(maxsize=16)
def _parsed(text: str) -> tuple[_Raw, ...]:
    tokens = _markdown(()).parse(text)
    found: list[_Raw] = []
    title, level, blocks = "", 1, list[tuple[Token, ...]]()
    for block in _blocks(tokens):
        if block[0].type == "heading_open":
            if title or blocks:
                found.append(_Raw(title, level, tuple(blocks)))
            title, level, blocks = _text_of(block), int(block[0].tag[1:]), []
        else:
            blocks.append(block)
    if title or blocks:
        found.append(_Raw(title, level, tuple(blocks)))
    return tuple(found)


def _blocks(tokens: Sequence[Token]) -> Iterator[tuple[Token, ...]]:
    """Yield the top-level blocks; every entry of a top-level list as a list of its own."""
    block: list[Token] = []
    for token in tokens:
        block.append(token)
        if token.level == 0 and token.nesting <= 0:
            yield from _entries(block)
            block = []


def _entries(block: list[Token]) -> Iterator[tuple[Token, ...]]:
    if block[0].type not in ("bullet_list_open", "ordered_list_open"):
        yield tuple(block)
        return
    first, last = block[0], block[-1]
    number = int(first.attrs.get("start", 1))
    entry: list[Token] = []
    for token in block[1:-1]:
        entry.append(token)
        if token.level == 1 and token.type == "list_item_close":
            opened = first.copy()
            if first.type == "ordered_list_open":
                opened.attrs = {"start": number}
                number += 1
            yield (opened, *entry, last)
            entry = []


def _text_of(tokens: Iterable[Token]) -> str:
    return " ".join(
        "".join(child.content or " " for child in token.children or ()) or token.content
        for token in tokens
        if token.content
    )


def _render(blocks: Sequence[Sequence[Token]], words: tuple[str, ...]) -> Markup:
    renderer = _markdown(words)
    joined = [token for block in blocks for token in block]
    return Markup(renderer.renderer.render(_merged(joined), renderer.options, {}))  # noqa: S704  # html=False


def _merged(tokens: Sequence[Token]) -> list[Token]:
    """Return the tokens with neighbouring bullet lists made one again; numbered entries keep their numbers."""
    found: list[Token] = []
    for token in tokens:
        if (
            found
            and token.level == 0
            and token.nesting == 1
            and found[-1].level == 0
            and (found[-1].type, token.type) == ("bullet_list_close", "bullet_list_open")
        ):
            found.pop()
            continue
        found.append(token)
    return found


class _Marking(RendererHTML):
    """Renders tokens with the words of a search marked, and links that leave the app safely."""

    words: tuple[str, ...] = ()

    def text(self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: object) -> str:
        return _with_marks(tokens[idx].content, self.words)

    def code_inline(self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: object) -> str:
        return f"<code>{_with_marks(tokens[idx].content, self.words)}</code>"

    def link_open(self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: object) -> str:
        tokens[idx].attrSet("rel", "noopener noreferrer")
        tokens[idx].attrSet("target", "_blank")
        return self.renderToken(tokens, idx, options, {})


@lru_cache(maxsize=64)
def _markdown(words: tuple[str, ...]) -> MarkdownIt:
    """Return a CommonMark parser with tables, without HTML and images."""
    made = MarkdownIt("commonmark", {"html": False}, renderer_cls=_Marking).enable("table").disable("image")
    assert isinstance(made.renderer, _Marking)
    made.renderer.words = words
    return made


def _with_marks(text: str, words: tuple[str, ...]) -> str:
    if not words:
        return escapeHtml(text)
    longest_first = sorted(words, key=len, reverse=True)
    pattern = re.compile("|".join(re.escape(word) for word in longest_first), re.IGNORECASE)
    parts: list[str] = []
    end = 0
    for hit in pattern.finditer(text):
        parts += [escapeHtml(text[end : hit.start()]), f"<mark>{escapeHtml(hit[0])}</mark>"]
        end = hit.end()
    return "".join((*parts, escapeHtml(text[end:])))
