"""The pictures of a report as slides: 1920 x 1080 pixels with a title, a number, the chart and its source."""

from __future__ import annotations

import html
import re
import textwrap
from dataclasses import replace

from labelproof.report.documents.model import Content, Picture
from labelproof.report.documents.words import plain
from labelproof.report.plots._plot import FONT, INK, SOFT, Plot

WIDTH, HEIGHT = 1920, 1080
_MARGIN = 90
_CHART = (640, 250, 1190, 700)
"""Left, top, width and height of the room for the chart."""
_TITLE_CHARS, _NOTE_CHARS, _SOURCE_CHARS = 62, 30, 150


def slides(content: Content) -> dict[str, bytes]:
    """Return name → PNG of every picture of the report, in its order."""
    import vl_convert

    return {
        picture.name: bytes(vl_convert.svg_to_png(slide_svg(content, picture), scale=1.0))
        for picture in content.pictures()
    }


def slide_svg(content: Content, picture: Picture) -> str:
    """Return a slide as SVG; its words are escaped, its numbers those of the report."""
    numbers = content.numbers
    title = textwrap.wrap(picture.slide_title, _TITLE_CHARS)[:2]
    number = plain(picture.slide_number, numbers)
    note = textwrap.wrap(plain(picture.slide_note, numbers), _NOTE_CHARS)[:7]
    source = (
        f"{content.project} · {plain(content.subtitle, numbers)} · {content.command} · made "
        f"{content.now:%Y-%m-%d %H:%M} UTC"
    )
    size = 118 if len(number) <= 8 else 84 if len(number) <= 11 else 60
    parts = [
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}" '
            f'viewBox="0 0 {WIDTH} {HEIGHT}" font-family="{FONT}">'
        ),
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
        *(_text(line, _MARGIN, 130 + 66 * i, 54, bold=True) for i, line in enumerate(title)),
        _text(number, _MARGIN, 430, size, bold=True),
        *(_text(line, _MARGIN, 510 + 42 * i, 30, color=SOFT) for i, line in enumerate(note)),
        _placed(picture.plot),
        _text(
            textwrap.shorten(source, _SOURCE_CHARS, placeholder=" …"), _MARGIN, HEIGHT - 50, 22, color=SOFT
        ),
        "</svg>",
    ]
    return "".join(parts)


def _text(text: str, x: int, y: int, size: int, *, bold: bool = False, color: str = INK) -> str:
    weight = ' font-weight="bold"' if bold else ""
    return f'<text x="{x}" y="{y}" font-size="{size}" fill="{color}"{weight}>{html.escape(text)}</text>'


def _placed(plot: Plot) -> str:
    """The chart without its own title, as large as its room lets it be."""
    spec = {key: value for key, value in plot.spec.items() if key != "title"}
    drawn = replace(plot, spec={**spec, "padding": 4}).svg()
    found = re.search(r'<svg\b[^>]*?\bviewBox="0 0 ([\d.]+) ([\d.]+)"', drawn)
    assert found is not None
    left, top, wide, high = _CHART
    scale = min(wide / float(found[1]), high / float(found[2]))
    x, y = left + (wide - scale * float(found[1])) / 2, top + (high - scale * float(found[2])) / 2
    inner = re.sub(r"^.*?<svg\b[^>]*>", "", drawn, count=1, flags=re.DOTALL).rsplit("</svg>", 1)[0]
    return f'<g transform="translate({x:.1f} {y:.1f}) scale({scale:.4f})">{inner}</g>'
