"""What every plot returns and looks like: one theme, one set of file formats, one table of its numbers."""

from __future__ import annotations

import hashlib
import html
import re
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from labelproof.spec.errors import ConfigError

if TYPE_CHECKING:
    import altair as alt

WIDTH, HEIGHT = 680, 360
"""Pixels of the plotting area: about 800 with axes and margins."""
FONT = "Liberation Sans, Arial, Helvetica, sans-serif"
INK, SOFT, GRID = "#1a1a1a", "#595959", "#e2e2e2"
# Okabe & Ito (2008): told apart with every common colour blindness, and in grey by line style as well.
BLUE, ORANGE, GREEN, SKY = "#0072b2", "#d55e00", "#007a5a", "#56b4e9"
_TITLE_CHARS, _SUBTITLE_CHARS = 78, 112
_NOT_XML = re.compile("[^\\t\\n\\r\\x20-\\ud7ff\\ue000-\\ufffd\\U00010000-\\U0010ffff]")
SUFFIXES = (".svg", ".png", ".html", ".json")


@dataclass(frozen=True, slots=True, kw_only=True)
class Plot:
    """A finished plot. ``title`` is the finding as a sentence, ``alt`` says in words what the picture shows.

    ``spec`` is Vega-Lite with its data inside; ``rows`` are the plotted numbers, strings ready for a table.
    """

    title: str
    alt: str
    spec: Mapping[str, Any]
    rows: Sequence[Mapping[str, str]]

    def vega(self) -> dict[str, Any]:
        """Return the Vega-Lite specification, for notebooks and pages that draw it themselves."""
        return dict(self.spec)

    def svg(self) -> str:
        """Return the picture as SVG text with a title and description for screen readers."""
        import vl_convert

        drawn = vl_convert.vegalite_to_svg(dict(self.spec), vl_version=_version(), allowed_base_urls=[])
        return _described(_own_ids(str(drawn)), self.title, self.alt)

    def png(self, scale: float = 2.0) -> bytes:
        """Return the picture as PNG bytes, ``scale`` pixels for each pixel of the SVG."""
        import vl_convert

        return bytes(
            vl_convert.vegalite_to_png(
                dict(self.spec), vl_version=_version(), scale=scale, allowed_base_urls=[]
            )
        )

    def html(self, *, interactive: bool = False) -> str:
        """Return one HTML page that loads nothing: the picture and its numbers as a table.

        ``interactive``: the Vega program (about a megabyte) travels inside and shows values under the mouse.
        """
        if not interactive:
            return _page(self)
        import vl_convert

        spec = {**self.spec, "usermeta": {"embedOptions": {"actions": False}}}
        return str(vl_convert.vegalite_to_html(spec, vl_version=_version(), bundle=True))

    def save(self, path: str | Path, *, scale: float = 2.0) -> Path:
        """Write the file that the suffix names (.svg, .png, .html, .json) and return its path."""
        target = Path(path)
        suffix = target.suffix.lower()
        if suffix not in SUFFIXES:
            raise ConfigError(
                f"plot file: expected a name ending in {', '.join(SUFFIXES)}, found {target.name!r}",
                path=target,
            )
        target.parent.mkdir(parents=True, exist_ok=True)
        if suffix == ".png":
            target.write_bytes(self.png(scale))
        elif suffix == ".json":
            import orjson

            target.write_bytes(orjson.dumps(self.vega(), option=orjson.OPT_INDENT_2))
        else:
            target.write_text(self.svg() if suffix == ".svg" else self.html(), encoding="utf-8")
        return target


def finished(
    chart: alt.LayerChart | alt.Chart | alt.VConcatChart | alt.FacetChart,
    *,
    title: str,
    subtitle: str,
    alt_text: str,
    rows: Sequence[Mapping[str, str]],
) -> Plot:
    """Return the chart in the common theme, under its title."""
    import altair as alt

    head = alt.TitleParams(
        textwrap.wrap(title, _TITLE_CHARS),
        subtitle=textwrap.wrap(subtitle, _SUBTITLE_CHARS) or alt.Undefined,
        anchor="start",
        frame="group",
        fontSize=17,
        fontWeight="bold",
        color=INK,
        subtitleColor=SOFT,
        subtitleFontSize=13,
        subtitlePadding=6,
        offset=14,
        lineHeight=21,
        subtitleLineHeight=17,
    )
    # Altair checks every part against its schema, which takes longer than drawing: a test does it once.
    spec = chart.properties(title=head, description=alt_text).to_dict(validate=False)
    spec["background"] = "white"
    spec["padding"] = 16
    spec["config"] = _CONFIG
    return Plot(
        title=_drawable(title), alt=_drawable(alt_text), spec=_drawable(spec), rows=_drawable(tuple(rows))
    )


def _drawable(value: Any) -> Any:
    """Return a value whose texts XML can hold: the renderer ends the whole process at any other character."""
    if isinstance(value, str):
        return _NOT_XML.sub("\ufffd", value)
    if isinstance(value, Mapping):
        return {_drawable(key): _drawable(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_drawable(one) for one in value)
    return value


def inline(rows: Sequence[Mapping[str, Any]]) -> alt.InlineData:
    """Return rows as data inside the specification; no row is an empty plot, not an error."""
    import altair as alt

    return alt.InlineData(values=[dict(row) for row in rows])


def haloed(chart: alt.Chart, color: str, **mark: Any) -> list[alt.Chart]:
    """Return the text of a chart twice: a white outline below, so that lines do not run through the words."""
    return [
        chart.mark_text(color="white", stroke="white", strokeWidth=5, strokeJoin="round", **mark),
        chart.mark_text(color=color, **mark),
    ]


def percent(value: float | None, digits: int = 1) -> str:
    """Return "4.2 %", without a decimal that is zero; "-" for None."""
    if value is None:
        return "-"
    text = f"{100 * value:.{digits}f}"
    return f"{text.rstrip('0').rstrip('.') if '.' in text else text} %"


def _version() -> str:
    """The Vega-Lite version that Altair writes, as vl-convert names it."""
    import altair as alt

    return ".".join(alt.SCHEMA_VERSION.lstrip("v").split(".")[:2])


def _own_ids(svg: str) -> str:
    """The drawing with ids of its own: the same for the same plot, and no other's on a page of several."""
    ids = list(dict.fromkeys(re.findall(r'\bid="([^"]+)"', svg)))
    plain = re.sub("|".join(re.escape(i) for i in ids) or "$^", "", svg)
    prefix = "p" + hashlib.blake2b(plain.encode(), digest_size=5).hexdigest()
    for at, name in enumerate(ids):
        svg = re.sub(rf'(id="|url\(#|href="#){re.escape(name)}(?=["\)])', rf"\g<1>{prefix}-{at}", svg)
    return svg


def _described(svg: str, title: str, alt_text: str) -> str:
    words = f"<title>{html.escape(title)}</title><desc>{html.escape(alt_text)}</desc>"
    return re.sub(
        r"<svg\b([^>]*)>",
        lambda found: f'<svg{found.group(1)} role="img" aria-label="{html.escape(alt_text)}">{words}',
        svg,
        count=1,
    )


def _page(plot: Plot) -> str:
    columns = list(plot.rows[0]) if plot.rows else []
    head = "".join(f"<th>{html.escape(name)}</th>" for name in columns)
    body = "".join(
        "<tr>" + "".join(f"<td>{html.escape(row[name])}</td>" for name in columns) + "</tr>"
        for row in plot.rows
    )
    table = (
        f"<details><summary>The numbers</summary><table><thead><tr>{head}</tr></thead>"
        f"<tbody>{body}</tbody></table></details>"
        if columns
        else ""
    )
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{html.escape(plot.title)}</title><style>{_STYLE}</style></head><body><main>"
        f"{plot.svg()}<p>{html.escape(plot.alt)}</p>{table}</main></body></html>\n"
    )


_STYLE = (
    "body{margin:0;background:#fff;color:#1a1a1a;font:16px/1.5 system-ui,sans-serif}"
    "main{max-width:820px;margin:1.5rem auto;padding:0 1rem}svg{width:100%;height:auto}"
    "table{border-collapse:collapse;font-variant-numeric:tabular-nums;font-size:14px}"
    "th,td{text-align:right;padding:.2rem .7rem;border-bottom:1px solid #e2e2e2}"
    "th:first-child,td:first-child{text-align:left}"
)
_AXIS = {
    "labelFont": FONT,
    "titleFont": FONT,
    "labelFontSize": 13,
    "titleFontSize": 13,
    "titleFontWeight": "normal",
    "labelColor": INK,
    "titleColor": INK,
    "gridColor": GRID,
    "domainColor": SOFT,
    "tickColor": SOFT,
    "titlePadding": 10,
    "labelFlush": False,
}
_CONFIG: dict[str, Any] = {
    "font": FONT,
    "axis": _AXIS,
    "view": {"stroke": None},
    "legend": {
        "labelFontSize": 13,
        "titleFontSize": 13,
        "labelColor": INK,
        "titleColor": INK,
        "labelLimit": 400,
    },
    "text": {"font": FONT, "fontSize": 13},
}
