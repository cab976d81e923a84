"""The compare page as one HTML file: no network, no framework, nothing run but its own few lines of script."""

from __future__ import annotations

import hashlib
from base64 import b64encode
from dataclasses import replace
from typing import TYPE_CHECKING

from jinja2 import Environment, FileSystemLoader
from markupsafe import Markup

from labelproof.report.compare.model import CompareReport, Flip
from labelproof.report.compare.page.flips import flip_views, n_flips, spread
from labelproof.report.compare.page.pictures import NAMES, picture_of
from labelproof.report.compare.page.traces import TracePair, trace_pair
from labelproof.report.compare.page.view import ASSETS, TEMPLATES, page_values
from labelproof.report.numbers import count
from labelproof.spec.errors import ConfigError

if TYPE_CHECKING:
    from labelproof.store import TraceStore

MOST_ROWS = 2_000
"""Rows of flips in a file."""
MOST_TRACES = 40
"""Items of a file with both traces in it: prompts are long, and a file is mailed."""


def page_html(report: CompareReport, *, store: TraceStore | None = None) -> str:
    """Return the page as one self-contained file; with a ``store`` the first flips hold both traces side by side.

    At most ``MOST_ROWS`` flips are listed and ``MOST_TRACES`` of them have traces; the page says what it leaves out.
    """
    listed = spread(report.flips, MOST_ROWS)
    traces = {} if store is None else _traces(store, report, listed)
    style = "\n".join((ASSETS / name).read_text(encoding="utf-8") for name in ("file.css", "compare.css"))
    script = (ASSETS / "compare.js").read_text(encoding="utf-8")
    pictures = {name: picture_of(report, name) for name in NAMES}

    def href(flip: Flip) -> str | None:
        return f"#item-{list(traces).index(flip.item_id)}" if flip.item_id in traces else None

    values = page_values(report)
    return (
        environment()
        .get_template("compare/file.html")
        .render(
            {
                **values,
                "live": False,
                "blurred": True,
                "pictures": pictures,
                "flips": flip_views(listed, href),
                "n_shown": count(len(listed)),
                "cut": len(listed) < n_flips(report),
                "traces": list(traces.values()),
                "with_store": store is not None,
                "style": Markup(style),  # noqa: S704 - our own file
                "script": Markup(script),  # noqa: S704 - our own file
                "style_hash": _hash(style),
                "script_hash": _hash(script),
            }
        )
    )


def environment() -> Environment:
    """Return the templates of the page; autoescape is on for every file."""
    return Environment(
        loader=FileSystemLoader(TEMPLATES), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )


def _traces(store: TraceStore, report: CompareReport, flips: list[Flip]) -> dict[str, TracePair]:
    """Both traces of the first flips, as many of each kind."""
    found: dict[str, TracePair] = {}
    for flip in spread(flips, MOST_TRACES):
        try:
            pair = trace_pair(store, report.project, flip.item_id, report.a, report.b)
        except ConfigError:  # steps that are not stored any more: the row stands without its traces
            continue
        found[flip.item_id] = replace(pair, gold=flip.gold)  # as compared, whatever gold says by now
    return found


def _hash(text: str) -> str:
    """A source of the Content-Security-Policy: what is in the page runs, anything that got into it does not."""
    return f"'sha256-{b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
