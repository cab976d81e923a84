"""A comparison in words that the terminal and Markdown share."""

from __future__ import annotations

from typing import Any

from agents.snapshots import Absent, StepChange
from labelproof.report.compare.flips import one_line
from labelproof.report.compare.model import CompareReport
from labelproof.report.compare.numbers import MINUS, floor, share
from labelproof.report.numbers import count

VERDICTS = {"ship": "SHIP", "regression": "REGRESSION", "inconclusive": "NOT YET"}
_MOST_CHANGES = 6
_CHARS = 24


def changes(report: CompareReport) -> tuple[list[str], list[str]]:
    """Return what changed, in a few words each, and the steps that are the same."""
    words: list[str] = []
    for change in report.changes:
        words += _words(change)
    same = [change.name for change in report.changes if change.state == "same"]
    if len(words) > _MOST_CHANGES:
        words = [*words[:_MOST_CHANGES], f"{len(words) - _MOST_CHANGES} more"]
    return words, same


def flips_line(report: CompareReport) -> str:
    """Return the counts of flips beside what changes by itself, the balance, and the items."""
    parts = []
    if report.gold_fp is None:
        n = sum(flip.kind == "no_gold" for flip in report.flips) + report.flips_left_out
        parts.append(f"{count(n)} labels differ")
    else:
        parts += [f"fixed {count(report.n_fixed)}", f"broke {count(report.n_broke)}"]
        if report.n_both_wrong:
            parts.append(f"both wrong {count(report.n_both_wrong)}")
    balance = report.balance
    parts += [floor(report.rerun), "SRM ok" if balance.ok else f"SRM BROKEN (e-value {balance.e_value:.3g})"]
    parts.append(f"{count(balance.n_both)}/{count(balance.n_wanted)} items")
    return " · ".join(parts)


def why_line(report: CompareReport) -> str:
    """Return the shares of the difference, or what tells them."""
    if not report.why.shares:
        return report.why.reason or "not known"
    shares = " · ".join(f"{one.component} {share(one.delta, signed=True)}" for one in report.why.shares)
    how = "the only change" if len(report.why.shares) == 1 else "replayed hybrids; sums to Δ"
    return f"{shares} ({how})"


def title(report: CompareReport) -> str:
    """Return the versions and the gold: `compare champion@a91f3c candidate@c07d11 --gold test@b2c3d4`."""
    gold = "none" if report.gold_fp is None else report.gold_name
    return f"compare {report.a.ref} {report.b.ref} --gold {gold}"


def _words(change: StepChange) -> list[str]:
    if change.state in ("added", "removed", "moved"):
        return [f"{change.name} {change.state}"]
    found = [
        f"{change.name}.{text.path.removesuffix('.text')} +{text.n_added}/{MINUS}{text.n_removed}"
        for text in change.texts
    ]
    for key in change.keys:
        path = key.path.removeprefix("params.").removeprefix("routing.").replace("models[0]", "model")
        found.append(f"{change.name}.{path} {_short(key.before)}→{_short(key.after)}")
    return found


def _short(value: Any) -> str:
    if isinstance(value, Absent):
        return "none"
    text = one_line(f"{value:g}" if isinstance(value, float) else str(value))
    return text if len(text) <= _CHARS else text[: _CHARS - 1] + "…"
