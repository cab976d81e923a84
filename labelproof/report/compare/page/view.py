"""A report in the words of the page: what the templates of both, the file and the review app, are filled with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC
from pathlib import Path
from typing import Any

from agents.snapshots import ABSENT, StepChange
from labelproof.report.compare.model import CompareReport, MetricRow
from labelproof.report.compare.page.flips import counted, n_flips
from labelproof.report.compare.page.pictures import primary_row, side_names
from labelproof.report.numbers import count
from labelproof.report.plots._units import (
    delta_words,
    direction,
    interval_words,
    metric_words,
    value_words,
)
from labelproof.report.visible_text import Segment, segments

TEMPLATES = Path(__file__).parent / "templates"
ASSETS = Path(__file__).parent / "assets"
VERDICTS: Mapping[str, tuple[str, str, str]] = {
    "ship": ("✓", "Ship", "The rule is met."),
    "inconclusive": ("…", "Not yet", "The rule is not met, and nothing proves a loss."),
    "regression": ("✕", "Regression", "The change is proven to make something worse."),
}
"""Verdict → sign, word, what it means."""
_HOLDS = {True: "✓ holds", False: "✕ broken", None: "… unproven"}
_STATES = {"better": "▲ better", "worse": "▼ worse", "open": "◆ could be either"}
_VALUE_CHARS = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricView:
    """A line of the table of metrics."""

    name: str
    role: str
    role_words: str
    a: str
    b: str
    delta: str
    interval: str
    state: str
    state_words: str
    p: str
    detectable: str
    holds: str
    n: str
    sql: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DiffLine:
    """A line of a unified diff; ``sign``: "+", "-", "@" or " "."""

    sign: str
    text: tuple[Segment, ...]


def page_values(report: CompareReport) -> dict[str, Any]:
    """Return what ``compare/body.html`` needs, but for the pictures and the rows of flips."""
    sign, word, meaning = VERDICTS[report.verdict]
    names = side_names(report)
    return {
        "report": report,
        "names": names,
        "verdict": {"key": report.verdict, "sign": sign, "word": word, "meaning": meaning},
        "headline": _sentence(report.headline),
        "facts": _facts(report),
        "metrics": [_metric(row) for row in report.rows],
        "changes": [_change(one) for one in report.changes if one.state != "same"],
        "unchanged": [one.name for one in report.changes if one.state == "same"],
        "filters": counted(report.flips),
        "n_flips": count(n_flips(report)),
        "n_listed": count(len(report.flips)),
        "all_listed": report.flips_left_out == 0,
        "trust": _trust(report, names),
        "queries": _queries(report),
        "at": f"{report.at.astimezone(UTC):%Y-%m-%d %H:%M} UTC",
        "n_items": count(report.n_items),
    }


def diff_lines(unified: Sequence[str]) -> list[DiffLine]:
    """Return the lines of a unified diff, sign and text apart."""
    return [
        DiffLine(sign="@", text=segments(line))
        if line.startswith("@@")
        else DiffLine(sign=line[:1] or " ", text=segments(line[1:]))
        for line in unified
    ]


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:] + ("" if text.endswith((".", "!", "?")) else ".") if text else ""


def _facts(report: CompareReport) -> list[tuple[str, str, str]]:
    """(what, number, what more there is to know of it): the few numbers that stand at the top."""
    found = []
    primary = primary_row(report)
    if primary is not None:
        one = primary.difference
        words = metric_words(one.metric)
        found.append(
            (
                words,
                delta_words(one.metric, one.delta),
                (
                    f"{value_words(one.metric, one.value_a)} → {value_words(one.metric, one.value_b)}; "
                    f"{100 * one.confidence:g} % interval {interval_words(one.metric, one)}"
                ),
            )
        )
    gold = report.n_fixed + report.n_broke > 0
    if gold:
        found.append(
            (
                "Fixed · broke",
                f"{count(report.n_fixed)} · {count(report.n_broke)}",
                f"of {count(report.n_items)} items; {count(report.n_both_wrong)} more are wrong in both, differently",
            )
        )
    floor = report.rerun.expected_on_all
    found.append(
        (
            "Labels that differ",
            count(n_flips(report)),
            f"about {count(round(floor))} would change by asking {report.a.name} again"
            if floor is not None
            else f"how many change by themselves is not measured{_because(report.rerun.reason)}",
        )
    )
    for row in report.rows:
        one = row.difference
        if one.metric == "cost_per_1k_usd":
            found.append(
                (
                    metric_words(one.metric),
                    value_words(one.metric, one.value_b),
                    f"before {value_words(one.metric, one.value_a)}"
                    if one.value_a is not None
                    else one.reason or "not known",
                )
            )
    return found


def _because(reason: str | None) -> str:
    return f": {reason}" if reason else ""


def _metric(row: MetricRow) -> MetricView:
    one = row.difference
    state = direction(one, lower_is_better=row.lower_is_better)
    measured = one.low is not None
    return MetricView(
        name=metric_words(one.metric),
        role=row.role,
        role_words=_role_words(row),
        a=value_words(one.metric, one.value_a),
        b=value_words(one.metric, one.value_b),
        delta=delta_words(one.metric, one.delta),
        interval=interval_words(one.metric, one),
        state=state if measured else "none",
        state_words=_STATES[state] if measured else "",
        p=_p(row.p_holm),
        detectable=delta_words(one.metric, one.detectable).lstrip("+"),
        holds=_HOLDS[row.holds] if row.role == "guardrail" else "",
        n=count(one.n),
        sql=row.sql,
    )


def _role_words(row: MetricRow) -> str:
    one = row.difference
    words = "" if row.role == "info" else str(row.role)
    if row.role == "guardrail" and one.margin is not None:
        words += f", at most {delta_words(one.metric, one.margin).lstrip('+')} worse"
    if row.lower_is_better:
        words += (", " if words else "") + "less is better"
    return words


def _p(value: float | None) -> str:
    if value is None:
        return "-"
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def _change(change: StepChange) -> dict[str, Any]:
    return {
        "name": change.name,
        "state": change.state,
        "keys": [
            {"path": key.path, "before": _value(key.before), "after": _value(key.after)}
            for key in change.keys
        ],
        "texts": [
            {
                "path": text.path,
                "n_added": text.n_added,
                "n_removed": text.n_removed,
                "lines": diff_lines(text.unified),
            }
            for text in change.texts
        ],
    }


def _value(value: Any) -> tuple[Segment, ...]:
    if value is ABSENT or value == ABSENT.value:
        return segments("absent")
    text = value if isinstance(value, str) else repr(value)
    return segments(text if len(text) <= _VALUE_CHARS else text[: _VALUE_CHARS - 1] + "…")


def _trust(report: CompareReport, names: tuple[str, str]) -> list[tuple[str, str, str]]:
    """(what was checked, what came out, in words)."""
    rerun, balance = report.rerun, report.balance
    if rerun.expected_on_all is None:
        floor = ("-", f"Not measured{_because(rerun.reason)}.")
    else:
        floor = (
            f"{count(rerun.n_changed)} of {count(rerun.n)}",
            (
                f"Asked again, {names[0]} changes this many labels: about {count(round(rerun.expected_on_all))} of the "
                f"{count(n_flips(report))} differences are what asking twice would show."
            ),
        )
    missing = balance.n_wanted - balance.n_both
    evidence = "not tested" if balance.e_value is None else f"e-value {balance.e_value:.3g}"
    looks = f"Strategy versions judged on this gold so far, these two included. The best of {count(report.n_looks)}"
    return [
        ("A/A floor", *floor),
        (
            "Both answered",
            f"{'✓' if balance.ok else '✕'} {count(balance.n_both)} of {count(balance.n_wanted)}",
            (
                f"{count(missing)} items are missing: {count(balance.n_only_a)} only {names[0]} answered, "
                f"{count(balance.n_only_b)} only {names[1]}"
                if missing
                else "Every item was answered by both"
            )
            + f" ({evidence}; 100 or more means that the comparison is broken).",
        ),
        (
            "Gold wear",
            count(report.n_looks),
            f"{looks} equal strategies looks better than it is."
            if report.n_looks > 1
            else "This is the first look at this gold.",
        ),
    ]


def _queries(report: CompareReport) -> dict[str, str]:
    """The queries by panel; those without a panel of their own stand under metrics."""
    found = dict(report.sql)
    rows = [f"-- {row.difference.metric}\n{row.sql}" for row in report.rows if row.sql]
    if rows and not found.get("metrics"):
        found["metrics"] = "\n\n".join(rows)
    return found
