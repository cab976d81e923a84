"""A comparison for the terminal: what changed, the verdict, the numbers, the flips, why, and what next."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from labelproof.report.compare import numbers
from labelproof.report.compare.flips import one_line
from labelproof.report.compare.markdown import markdown
from labelproof.report.compare.model import CompareReport, Flip, MetricRow
from labelproof.report.compare.words import VERDICTS, changes, flips_line, title, why_line
from labelproof.report.numbers import count

__all__ = ["markdown", "render"]
WIDTH = 100
_STYLE = {"ship": "bold green", "regression": "bold red", "inconclusive": "bold yellow"}
_KIND_STYLE = {"fixed": "green", "broke": "red", "both_wrong": "yellow", "no_gold": ""}


def render(report: CompareReport, *, flips: int = 0, slices: bool = False) -> RenderableType:
    """Return the report for a console of 100 columns or more; ``flips``: how many are listed.

    All text is inert: markup and control characters in names, labels and items show as what they are.
    """
    words, same = changes(report)
    what = " · ".join(words) or "nothing that decides labels"
    parts: list[RenderableType] = [
        Text(title(report), "bold"),
        _line("CHANGED", what, f"   ({', '.join(same)} same)" if same and words else ""),
        _line("VERDICT", f"{VERDICTS[report.verdict]}: {report.headline}", style=_STYLE[report.verdict]),
        _metrics(report.rows),
        _line("FLIPS", flips_line(report)),
    ]
    if flips and report.flips:
        parts.append(_flips(report.flips, flips))
    if slices:
        parts.append(_slices(report))
    parts += [_line("WHY", why_line(report)), _line("NEXT", report.next_step)]
    parts += [_line("NOTE", note, style="dim") for note in report.notes]
    if report.gold_fp is not None:
        worn = f"{report.n_looks} strategy versions were judged on this gold so far"
        parts.append(_line("RULE", f"{report.rule} {worn}.", style="dim"))
    return Group(*parts)


def _line(name: str, text: str, tail: str = "", *, style: str = "") -> RenderableType:
    """A name and a text whose further lines are indented below it."""
    table = Table.grid(padding=0)
    table.add_column(width=9, no_wrap=True)
    table.add_column(overflow="fold", max_width=WIDTH - 9)
    body = Text(one_text(text), style)
    if tail:
        body.append(one_text(tail), "dim")
    table.add_row(Text(name, "bold"), body)
    return table


def one_text(text: str) -> str:
    """Return a text of any length on one line with hidden characters written out."""
    lead = " " * (len(text) - len(text.lstrip(" ")))
    return lead + " ".join(one_line(part) if not part.isprintable() else part for part in text.split())


def _metrics(rows: Sequence[MetricRow]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    level = f"{rows[0].difference.confidence:.0%}".replace("%", " %")
    table.add_column("metric", no_wrap=True)
    for name in ("A", "B", f"Δ [{level} paired]", "p", "smallest Δ"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("", overflow="fold")
    for row in rows:
        difference = row.difference
        table.add_row(
            Text(one_text(difference.metric)),
            numbers.metric_value(difference.metric, difference.value_a),
            numbers.metric_value(difference.metric, difference.value_b),
            Text(numbers.metric_delta(difference)),
            numbers.p_value(row.p_holm),
            numbers.smallest_seen(difference),
            Text(one_text(numbers.remark(row)), _row_style(row)),
        )
    return table


def _row_style(row: MetricRow) -> str:
    if row.role == "primary":
        return "bold"
    if row.role != "guardrail":
        return "dim"
    return {True: "green", False: "bold red", None: "yellow"}[row.holds]


def _flips(found: Sequence[Flip], most: int) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 2))
    for name in ("", "item", "gold", "A", "B", "step", "", "text"):
        table.add_column(name, no_wrap=True, overflow="ellipsis", max_width=30 if name == "text" else 16)
    for flip in found[:most]:
        marks = [flip.stability if flip.stability == "unstable" else "", "gold?" if flip.gold_doubt else ""]
        table.add_row(
            Text(flip.kind.replace("_", " "), _KIND_STYLE[flip.kind]),
            Text(one_line(flip.external_id)),
            Text(one_line(flip.gold or numbers.NONE)),
            Text(_said(flip.label_a, flip.confidence_a)),
            Text(_said(flip.label_b, flip.confidence_b)),
            Text(one_line(flip.step or numbers.NONE)),
            Text(" ".join(mark for mark in marks if mark), "yellow"),
            Text(one_line(flip.excerpt), "dim"),
        )
    return table


def _said(label: str | None, confidence: float | None) -> str:
    sure = "" if confidence is None else f" {numbers.share(confidence)[:3]}"
    return f"{one_line(label) if label is not None else 'failed'}{sure}"


def _slices(report: CompareReport) -> RenderableType:
    if not report.slices:
        return _line("SLICES", "no metadata column with few values")
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 2))
    for name in ("slice", "n", "A", "B", "Δ", "q"):
        table.add_column(
            name,
            no_wrap=True,
            overflow="ellipsis",
            justify="left" if name == "slice" else "right",
            max_width=40,
        )
    for row in sorted(report.slices, key=lambda row: (row.small, row.difference.delta or 0.0)):
        difference = row.difference
        table.add_row(
            Text(one_line(f"{row.key}={row.value}")),
            count(difference.n),
            numbers.metric_value(difference.metric, difference.value_a),
            numbers.metric_value(difference.metric, difference.value_b),
            Text(numbers.metric_delta(difference)),
            "n < 30" if row.small else numbers.p_value(row.q_value),
            style="dim" if row.small else "",
        )
    return table
