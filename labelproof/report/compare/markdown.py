"""A comparison as Markdown for a pull request: content from outside stands in it as inert code."""

from __future__ import annotations

import html
import re
from collections.abc import Sequence

from labelproof.report.compare import numbers
from labelproof.report.compare.flips import one_line
from labelproof.report.compare.model import CompareReport, Flip
from labelproof.report.compare.words import VERDICTS, changes, flips_line, title, why_line
from labelproof.report.numbers import count

_ICONS = {"ship": "✅", "regression": "❌", "inconclusive": "⚠️"}
_PLAIN = re.compile(r"[^\w \u00a0-\uffff]|_", re.ASCII)
_ALIVE = re.compile(r"[@#`*\[\]~|\\&]|\b_|_\b|^_|_$|://|www\.|<\w|</|<!|<\?")
MOST_FLIPS = 50


def markdown(report: CompareReport, *, flips: int = MOST_FLIPS, with_text: bool = False) -> str:
    """Return the report as GitHub's Markdown; ``flips``: how many are listed, folded.

    ``with_text``: item texts too (a pull request may be public). Labels, ids and texts come from outside: they stand in
    `<code>` with every special character as an entity, where no mention, link, image or markup comes alive.
    """
    words, same = changes(report)
    what = " · ".join(words) or "nothing that decides labels"
    unchanged = f" ({', '.join(same)} same)" if same and words else ""
    lines = [
        f"### {_ICONS[report.verdict]} {VERDICTS[report.verdict]}: {prose(report.headline)}",
        "",
        f"{inert(title(report))}",
        "",
        f"**Changed:** {inert(what + unchanged)}",
        "",
        *_metrics(report),
        "",
        f"**Flips:** {prose(flips_line(report))}",
        "",
        f"**Why:** {prose(why_line(report))}",
        "",
        f"**Next:** {inert(report.next_step)}",
        "",
    ]
    if report.notes:
        lines += [*(f"- {prose(note)}" for note in report.notes), ""]
    if report.flips and flips:
        lines += [*_flips(report, flips, with_text), ""]
    if report.slices:
        lines += [*_slices(report), ""]
    said = "fixed before the first call" if report.planned else "read off at the time of looking"
    lines += [
        *_folded(f"Rule ({said})", [prose(report.rule), "", *_worn(report)]),
        *_folded("SQL behind the metrics", [f"<pre>{_entities(report.sql['metrics'])}</pre>"]),
    ]
    return "\n".join(lines).rstrip() + "\n"


def inert(text: str) -> str:
    """Return a text from outside as code that stays what it is."""
    return f"<code>{_entities(one_line(text) if len(text) <= 160 else text)}</code>" if text else numbers.NONE


def prose(text: str) -> str:
    """Return a sentence of ours that may hold names from outside: readable, and without live markup."""
    shown = " ".join(text.split())
    return "".join(_word(part) for part in re.split(r"(`[^`]*`| )", shown))


def _word(word: str) -> str:
    """Words that a renderer could turn into something are code, as is what we quote; the others are text."""
    if len(word) > 2 and word[0] == word[-1] == "`":
        return f"<code>{_entities(word[1:-1])}</code>"
    if _ALIVE.search(word) or not word.isprintable():
        return f"<code>{_entities(word)}</code>"
    return html.escape(word, quote=False)


def _entities(text: str) -> str:
    """Every character that means something to Markdown or HTML as a number."""
    return _PLAIN.sub(lambda found: f"&#{ord(found[0])};", text)


def _metrics(report: CompareReport) -> list[str]:
    level = f"{report.rows[0].difference.confidence:.0%}".replace("%", " %")
    lines = [
        f"| metric | A | B | Δ [{level} paired] | p | smallest Δ | |",
        "|---|--:|--:|--:|--:|--:|---|",
    ]
    for row in report.rows:
        difference = row.difference
        cells = [
            inert(difference.metric),
            numbers.metric_value(difference.metric, difference.value_a),
            numbers.metric_value(difference.metric, difference.value_b),
            numbers.metric_delta(difference),
            html.escape(numbers.p_value(row.p_holm)),
            numbers.smallest_seen(difference),
            prose(numbers.remark(row)),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def _flips(report: CompareReport, most: int, with_text: bool) -> list[str]:
    shown = report.flips[:most]
    n_all = len(report.flips) + report.flips_left_out
    head = ["kind", "item", "gold", "A", "B", "step", "stable?", "gold in doubt"] + ["text"] * with_text
    rows = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    rows += [f"| {' | '.join(_flip_cells(flip, with_text))} |" for flip in shown]
    return _folded(f"{len(shown)} of {count(n_all)} flips", rows)


def _flip_cells(flip: Flip, with_text: bool) -> list[str]:
    cells = [
        flip.kind.replace("_", " "),
        inert(flip.external_id),
        inert(flip.gold or ""),
        inert(flip.label_a or "failed"),
        inert(flip.label_b or "failed"),
        inert(flip.step or ""),
        {"stable": "stable", "unstable": "**unstable**", "unknown": numbers.NONE}[flip.stability],
        prose(flip.gold_doubt or numbers.NONE),
    ]
    return [*cells, inert(flip.excerpt)] if with_text else cells


def _slices(report: CompareReport) -> list[str]:
    rows = ["| slice | n | A | B | Δ | q |", "|---|--:|--:|--:|--:|--:|"]
    for row in report.slices:
        difference = row.difference
        q_value = "n &lt; 30" if row.small else html.escape(numbers.p_value(row.q_value))
        cells = [
            inert(f"{row.key}={row.value}"),
            count(difference.n),
            numbers.metric_value(difference.metric, difference.value_a),
            numbers.metric_value(difference.metric, difference.value_b),
            numbers.metric_delta(difference),
            q_value,
        ]
        rows.append(f"| {' | '.join(cells)} |")
    return _folded(f"{report.rows[0].difference.metric} by slice", rows)


def _folded(summary: str, lines: Sequence[str]) -> list[str]:
    return [f"<details><summary>{prose(summary)}</summary>", "", *lines, "", "</details>", ""]


def _worn(report: CompareReport) -> list[str]:
    if report.gold_fp is None:
        return []
    return [f"{report.n_looks} strategy versions were judged on this gold so far."]
