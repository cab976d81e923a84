"""An analysis as one HTML file: no network, no script, light and dark; item texts are left out."""

from __future__ import annotations

from base64 import b64encode
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

from jinja2 import Environment, FileSystemLoader
from markupsafe import Markup

from labelproof.report.compare.page.pictures import themed
from labelproof.report.compare.page.view import ASSETS, TEMPLATES
from labelproof.report.numbers import percent
from labelproof.report.plots import Plot
from labelproof.report.rca.metrics import parse_words
from labelproof.report.rca.model import NAMES, ErrorCase, RootCauseReport
from labelproof.report.rca.plots import change_plot, slices_plot
from labelproof.report.rca.text import p_words, status_words
from labelproof.report.rca.words import interval, points
from labelproof.report.visible_text import segments

OWN = Path(__file__).parent / "templates"
MOST_EXAMPLES = 40


def page_html(report: RootCauseReport) -> str:
    """Return the page as one self-contained file."""
    sheets = (ASSETS / "file.css", ASSETS / "compare.css", OWN / "rca" / "rca.css")
    style = "\n".join(path.read_text(encoding="utf-8") for path in sheets)
    answered = report.why_not is None
    return (
        Environment(
            loader=FileSystemLoader([OWN, TEMPLATES]), autoescape=True, trim_blocks=True, lstrip_blocks=True
        )
        .get_template("rca/page.html")
        .render(
            {
                "report": report,
                "metric_words": parse_words(report.metric),
                "change": _picture(change_plot(report)) if answered else "",
                "slices": _picture(slices_plot(report)) if answered else "",
                "causes": [
                    row for row in report.causes if row.n_errors or row.status in ("explains", "covered")
                ],
                "n_errors": max(1, report.n_errors),
                "said": [
                    ("Ruled out", report.ruled_out),
                    ("Not measured", report.unmeasured),
                    ("Notes", report.notes),
                ],
                "examples": _examples(report),
                "names": {case.item_id: case.external_id for case in report.errors},
                "cause_names": NAMES,
                "percent": percent,
                "points": points,
                "interval": interval,
                "p_words": p_words,
                "status_words": status_words,
                "segments": segments,
                "style": Markup(style),  # noqa: S704 - our own file
                "style_hash": f"'sha256-{b64encode(sha256(style.encode()).digest()).decode()}'",
            }
        )
    )


def _examples(report: RootCauseReport) -> tuple[ErrorCase, ...]:
    return report.errors[:MOST_EXAMPLES]


def _picture(plot: Plot | str) -> object:
    """Return a drawing as ``compare/_parts.html`` shows it, or the reason why there is none."""
    if isinstance(plot, str):
        return plot
    head = plot.spec["title"]
    bare = {key: value for key, value in plot.spec.items() if key != "title"}
    columns = list(plot.rows[0]) if plot.rows else []
    return {
        "title": plot.title,
        "subtitle": " ".join(head.get("subtitle", ())),
        "svg": themed(replace(plot, spec={**bare, "padding": 4}).svg()),
        "columns": columns,
        "rows": [[row[column] for column in columns] for row in plot.rows],
    }
