"""A report as Markdown: what comes from outside stands in it as inert code."""

from __future__ import annotations

from collections.abc import Mapping

from labelproof.report.compare.markdown import inert
from labelproof.report.documents.model import (
    Block,
    Bullets,
    Content,
    Fragment,
    Given,
    Line,
    Number,
    Paragraph,
    Ref,
    Table,
    refs_of,
)
from labelproof.report.documents.words import ref_text, safe_text

_ENTITIES = str.maketrans({"<": "&lt;", ">": "&gt;", "&": "&amp;", "|": "&#124;", "`": "&#96;"})
_SIGNS = {"good": "✓ ", "bad": "✕ ", "open": "… ", "plain": ""}


def page_markdown(content: Content) -> str:
    """Return the report's words, tables and queries; pictures appear as the tables of their numbers."""
    show = _Marked(content.numbers)
    parts = [
        f"# {inert(safe_text(content.title))}",
        show.line(content.subtitle),
        f"**{show.line(content.headline)}**",
    ]
    tiles = [
        f"- {tile.label}: **{show.line(tile.line)}** {show.line(tile.detail)}".rstrip()
        for tile in content.tiles
    ]
    parts.append("\n".join(tiles))
    for section in content.sections:
        parts.append(f"## {section.title}")
        parts += [show.block(block) for block in section.blocks]
    parts.append(f"Made {content.now:%Y-%m-%d %H:%M} UTC by {inert(content.command)}.")
    parts.append(_queries(content))
    return "\n\n".join(part for part in parts if part) + "\n"


class _Marked:
    """Writes blocks as GitHub's Markdown."""

    def __init__(self, numbers: Mapping[str, Number]) -> None:
        self._numbers = numbers

    def line(self, line: Line) -> str:
        return "".join(self._part(part) for part in line)

    def block(self, block: Block) -> str:
        if isinstance(block, Paragraph):
            text = self.line(block.line)
            return f"**{text}**" if block.strong else text
        if isinstance(block, Bullets):
            return "\n".join(f"- {self.line(line)}" for line in block.lines)
        if isinstance(block, Table):
            return self._table(block)
        return f"{self.line(block.caption)}\n\n{self._table(block.table)}"

    def _table(self, table: Table) -> str:
        if not table.rows:
            return table.empty
        rule = [("---:" if i in table.right else "---") for i in range(len(table.head))]
        lines = [f"| {' | '.join(table.head)} |", f"| {' | '.join(rule)} |"]
        lines += [f"| {' | '.join(self.line(cell) for cell in row)} |" for row in table.rows]
        return "\n".join(lines)

    def _part(self, part: Fragment) -> str:
        if isinstance(part, str):
            return part.translate(_ENTITIES)
        if isinstance(part, Ref):
            return ref_text(part, self._numbers).translate(_ENTITIES)
        if isinstance(part, Given):
            return inert(safe_text(part.text)) if part.code or not _is_plain(part.text) else part.text
        return f"{_SIGNS[part.tone] if part.sign else ''}{part.text}".translate(_ENTITIES)


def _is_plain(text: str) -> bool:
    """Whether a name or date can stand as text: letters, digits and a few marks that mean nothing in Markdown."""
    return (
        bool(text) and all(mark.isalnum() or mark in " .,:;%+=()/≥≤–-$" for mark in text) and "//" not in text
    )


def _queries(content: Content) -> str:
    """The queries behind all numbers that are shown, folded."""
    found: dict[str, str] = {}
    for section in content.sections:
        for name in refs_of(section.blocks):
            number = content.numbers[name]
            sql = content.queries[number.query] if number.query else number.sql
            if sql:
                found.setdefault(sql, number.label)
    blocks = [
        f"{inert(safe_text(label))}\n\n<pre>{sql.translate(_ENTITIES)}</pre>" for sql, label in found.items()
    ]
    if not blocks:
        return ""
    return "<details><summary>Queries</summary>\n\n" + "\n\n".join(blocks) + "\n\n</details>"
