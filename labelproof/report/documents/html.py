"""A report as one HTML file: no network, no script; light, dark, phone and A4 paper."""

from __future__ import annotations

import hashlib
import re
from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from markupsafe import Markup, escape

from labelproof.report.compare.page.pictures import themed
from labelproof.report.documents.model import (
    Block,
    Bullets,
    Content,
    Fragment,
    Given,
    Line,
    Number,
    Paragraph,
    Picture,
    Ref,
    Section,
    Table,
    Tile,
    refs_of,
)
from labelproof.report.documents.words import plain, ref_text, safe_text

_DATE = re.compile(r"\d{4}-\d{2}-\d{2}( \d{2}:\d{2}( UTC)?)?")
_HERE = Path(__file__).parent
_SIGNS = {"good": "✓ ", "bad": "✕ ", "open": "… ", "plain": ""}


def page_html(content: Content) -> str:
    """Return the page. Every number stands in an element that names it; all else from outside is escaped."""
    from jinja2 import Environment, FileSystemLoader

    style = (_HERE / "assets" / "report.css").read_text(encoding="utf-8")
    page = _Page(content.numbers, content.queries)
    template = Environment(
        loader=FileSystemLoader(_HERE / "templates"), autoescape=True, trim_blocks=True, lstrip_blocks=True
    ).get_template("report.html")
    return template.render(
        {
            "content": content,
            "title": plain((Given(content.title),), content.numbers),
            "subtitle": page.line(content.subtitle),
            "headline": page.line(content.headline),
            "tiles": [page.tile(tile) for tile in content.tiles],
            "sections": [
                {"key": s.key, "title": s.title, "new_page": s.new_page, "body": page.section(s)}
                for s in content.sections
            ],
            "made": page.line((Given(f"{content.now:%Y-%m-%d %H:%M} UTC"),)),
            "command": page.line((Given(content.command, code=True),)),
            "style": Markup(style),  # noqa: S704 - our own file
            "style_hash": f"'sha256-{b64encode(hashlib.sha256(style.encode()).digest()).decode()}'",
        }
    )


class _Page:
    """Draws blocks as markup of our own making."""

    def __init__(self, numbers: Mapping[str, Number], queries: Mapping[str, str]) -> None:
        self._numbers = numbers
        self._queries = queries

    def line(self, line: Line) -> Markup:
        return Markup().join(self._part(part) for part in line)

    def tile(self, tile: Tile) -> Markup:
        detail = Markup("<p class=detail>{}</p>").format(self.line(tile.detail)) if tile.detail else ""
        return Markup(
            '<div class="tile {}"><p class=label>{}</p><p class=big>{}</p>{}</div>'
        ).format(tile.tone, tile.label, self.line(tile.line), detail)  # fmt: skip

    def section(self, section: Section) -> Markup:
        return Markup().join([*(self._block(block) for block in section.blocks), self._behind(section)])

    def _block(self, block: Block) -> Markup:
        if isinstance(block, Paragraph):
            kind = "strong" if block.strong else "small" if block.small else ""
            return Markup('<p class="{}">{}</p>').format(kind, self.line(block.line))
        if isinstance(block, Bullets):
            return Markup("<ul>{}</ul>").format(
                Markup().join(Markup("<li>{}</li>").format(self.line(line)) for line in block.lines)
            )
        return self._table(block) if isinstance(block, Table) else self._picture(block)

    def _table(self, table: Table) -> Markup:
        if not table.rows:
            return Markup("<p class=empty>{}</p>").format(table.empty)
        head = Markup().join(
            Markup("<th{}>{}</th>").format(_num(i in table.right), name) for i, name in enumerate(table.head)
        )
        rows = Markup().join(self._row(table, row) for row in table.rows)
        drawn = Markup(
            '<div class="table-frame"><table><thead><tr>{}</tr></thead><tbody>{}</tbody></table></div>'
        ).format(head, rows)
        if table.folded is None:
            return drawn
        return Markup("<details class=numbers><summary>{}</summary>{}</details>").format(table.folded, drawn)

    def _row(self, table: Table, row: Sequence[Line]) -> Markup:
        cells = [
            Markup('<td{} data-label="{}">{}</td>').format(_num(i in table.right), table.head[i], self.line(cell))
            for i, cell in enumerate(row)
        ]  # fmt: skip
        return Markup("<tr>{}</tr>").format(Markup().join(cells))

    def _picture(self, picture: Picture) -> Markup:
        spec = {key: value for key, value in picture.plot.spec.items() if key != "title"}
        svg = themed(replace(picture.plot, spec={**spec, "padding": 4}).svg())
        return Markup("<figure id=plot-{}>{}<figcaption>{}</figcaption>{}</figure>").format(
            picture.name,
            Markup(svg),  # noqa: S704 - drawn by us, its texts escaped
            self.line(picture.caption),
            self._table(replace(picture.table, folded=picture.table.folded or "The numbers in this picture")),
        )

    def _behind(self, section: Section) -> Markup:
        """The queries behind a section's numbers, each once, folded."""
        found: dict[str, list[str]] = {}
        for name in refs_of(section.blocks):
            number = self._numbers[name]
            sql = self._queries[number.query] if number.query else number.sql
            if sql:
                found.setdefault(sql, []).append(number.label)
        if not found:
            return Markup()
        shown = Markup().join(
            Markup("<p class=small>{}</p><pre class=sql>{}</pre>").format(_labels(labels), sql)
            for sql, labels in found.items()
        )
        return Markup(
            "<details class=behind><summary>The queries behind these numbers</summary>"
            "<p class=small>Run one with <code>labelproof sql</code>.</p>{}</details>"
        ).format(shown)

    def _part(self, part: Fragment) -> Markup:
        if isinstance(part, str):
            return escape(part)
        if isinstance(part, Ref):
            text, number = ref_text(part, self._numbers), self._numbers[part.name]
            return Markup('<data value="{}" data-number="{}" data-form="{}" title="{}">{}</data>').format(
                "" if number.value is None else repr(number.value),
                safe_text(part.name),
                part.form,
                safe_text(number.label),
                text,
            )
        if isinstance(part, Given):
            shown = safe_text(part.text)
            tag = "code" if part.code else "time" if _DATE.fullmatch(shown) else "span"
            return Markup("<{0} data-given><bdi>{1}</bdi></{0}>").format(Markup(tag), shown)  # noqa: S704 - one of three
        return Markup('<span class="state {}">{}{}</span>').format(
            part.tone, _SIGNS[part.tone] if part.sign else "", part.text
        )  # fmt: skip


def _num(right: bool) -> Markup:
    return Markup(" class=num") if right else Markup()


def _labels(labels: Sequence[str]) -> Markup:
    shown = list(dict.fromkeys(safe_text(label) for label in labels))
    more = Markup("") if len(shown) <= 4 else Markup(" and others")
    return Markup("<span data-given>{}</span>{}").format("; ".join(shown[:4]), more)
