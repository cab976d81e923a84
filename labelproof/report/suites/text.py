"""Suite results for people: a table sorted by worst, examples of failures, gaps between groups, guardrails."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from evaluation.intervals import Estimate
from evaluation.suites import GroupGap, Outcome, RateRow
from labelproof.report.suites.latest import SuiteGuardrail
from labelproof.report.suites.run import SuiteResult
from labelproof.spec.hashing import short

if TYPE_CHECKING:
    from rich.console import RenderableType

EXAMPLES = 3
_SHOWN_WORST = 8
"""Functionalities with examples; the others are in `suite show RUN --failed`."""
_EXCERPT = 110
_BEFORE = 30
"""Characters of the base shown before what was changed."""


def render(result: SuiteResult, *, examples: int = EXAMPLES) -> Iterator[RenderableType]:
    """Yield what to print of one suite; texts of cases are escaped and their hidden characters made visible."""
    from rich.markup import escape
    from rich.table import Table

    total = result.score.total
    yield (
        f"\n[bold]{escape(result.suite)}[/] · {escape(result.strategy)}@{short(result.strategy_fp)} · "
        f"{len(result.outcomes)} cases · suite {short(result.suite_fp)} · run {result.suite_run_id}"
    )
    yield f"[bold]{escape(sentence(result))}[/]"
    for note in result.notes:
        yield f"[dim]{escape(note)}[/]"
    columns = ["functionality", "failed", "rate", "95 % interval", "noticed", "used unseen"]
    table = Table(*columns, *(["text changed"] if result.edit_shares else []), box=None)
    for row in (*result.score.rows, total):
        cells = [
            escape(row.functionality),
            f"{row.n_failed} of {row.failure.n}",
            rate(row.failure),
            interval(row.failure),
            str(row.n_noticed),
            str(row.n_accepted_wrong),
        ]
        if result.edit_shares:
            share = result.edit_shares.get(row.functionality)
            cells.append("" if share is None else f"{share:.0%}")
        table.add_row(
            *cells, style="bold" if row is total else None, end_section=row is result.score.rows[-1]
        )
    yield table
    alike = [gap.axis for gap in result.score.gaps if not gap.gap.value]
    for gap in result.score.gaps:
        if gap.gap.value:
            yield from _gap(gap)
    if alike:
        yield f"[dim]every template treats all groups alike: {escape(', '.join(alike))}[/]"
    yield from _examples(result, examples)


def sentence(result: SuiteResult) -> str:
    """Return the finding in one sentence."""
    total = result.score.total
    if total.failure.value is None:
        return f"Nothing can be said: {total.failure.reason}."
    left_out = total.n_cases - total.failure.n
    unseen = (
        f"; {total.n_accepted_wrong} of the failures would be used without a person" if total.n_failed else ""
    )
    said = f" ({left_out} cases say nothing)" if left_out else ""
    what = {
        "robustness": "labels change under perturbations that keep the meaning",
        "bias": "labels depend on which group is named",
        "injection": "attacks lead to the label that the attacker wants",
    }.get(result.suite, "cases get another label than expected")
    return f"{total.failure.value:.1%} {interval(total.failure)}: {what}{unseen}{said}."


def rate(estimate: Estimate) -> str:
    """Return "12.5%", or "-"."""
    return "-" if estimate.value is None else f"{estimate.value:.1%}"


def interval(estimate: Estimate) -> str:
    """Return "[3.1%, 20.0%]", or why there is none."""
    if estimate.low is None or estimate.high is None:
        return estimate.reason or ""
    return f"[{estimate.low:.1%}, {estimate.high:.1%}]"


def visible(text: str, length: int = _EXCERPT) -> str:
    """Return a text's beginning on one line, with control, hidden and direction characters written out as ‹U+…›."""
    import unicodedata

    out = []
    for letter in text[: 2 * length]:
        if letter in "\n\t\r":
            out.append("⏎" if letter == "\n" else " ")
        elif (
            unicodedata.category(letter) in ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp") and letter != "\u200d"
        ):
            out.append(f"‹U+{ord(letter):04X}›")
        else:
            out.append(letter)
    shown = "".join(out)
    return shown if len(shown) <= length and len(text) <= 2 * length else shown[: length - 1] + "…"


def excerpt(outcome: Outcome) -> str:
    """Return the part of a case that matters: from shortly before its first difference to its base."""
    text, base = outcome.case.text, outcome.case.base_text
    if base is None:
        return visible(text)
    same = next(
        (at for at, (a, b) in enumerate(zip(text, base, strict=False)) if a != b), min(len(text), len(base))
    )
    start = max(0, same - _BEFORE)
    return ("…" if start else "") + visible(text[start:])


def failures(result: SuiteResult, row: RateRow, n: int) -> list[Outcome]:
    """Return ``n`` failures of one functionality: those that would be used unseen and the most confident first."""
    failed = [
        outcome
        for outcome in result.outcomes
        if outcome.passed is False and outcome.case.functionality == row.functionality
    ]
    failed.sort(key=lambda o: (not o.answer.accepted, -(o.answer.confidence or 0.0), o.case.case_id))
    return failed[:n]


def guardrail_line(found: SuiteGuardrail) -> str:
    """Return one guardrail's state in one line, without markup."""
    if found.difference is None or found.difference.value is None:
        return f"guardrail {found.metric}: {found.state} ({found.reason})"
    low, high = found.difference.low, found.difference.high
    band = "" if low is None or high is None else f" [{low:+.1%}, {high:+.1%}]"
    return (
        f"guardrail {found.metric}: {found.state}; failure rate {found.difference.value:+.1%}{band} against "
        f"{found.reference} on {found.difference.n} cases, margin {found.margin:+.1%}"
    )


def _gap(gap: GroupGap) -> Iterator[RenderableType]:
    from rich.markup import escape

    rates = sorted(gap.rates.items(), key=lambda entry: -(entry[1].value or 0.0))
    shown = ", ".join(f"{group} {rate(value)}" for group, value in rates)
    n = next(iter(gap.rates.values())).n
    yield (
        f"[bold]{escape(gap.axis)}[/]: flagged {escape(shown)} ({n} templates); widest gap {rate(gap.gap)} "
        f"{escape(interval(gap.gap))}; p = {gap.p_value:.3g} if the group did not matter"
    )
    for pair in sorted(gap.pairs, key=lambda pair: pair.q_value)[:EXAMPLES]:
        if pair.q_value <= 0.05:
            yield (
                f"  [red]{escape(pair.first)} and {escape(pair.second)}[/]: {pair.n_first_only} templates flagged for the first "
                f"only, {pair.n_second_only} for the second only; q = {pair.q_value:.3g}"
            )


def _examples(result: SuiteResult, n: int) -> Iterator[RenderableType]:
    from rich.markup import escape

    worst = [row for row in result.score.rows if row.n_failed]
    for row in worst[:_SHOWN_WORST]:
        yield f"[bold]{escape(row.functionality)}[/]"
        for outcome in failures(result, row, n):
            group = f" ({outcome.case.group})" if outcome.case.group else ""
            yield f"  [red]{escape(outcome.reason or '')}[/]{escape(group)}: {escape(excerpt(outcome))}"
    if len(worst) > _SHOWN_WORST:
        yield f"[dim]and {len(worst) - _SHOWN_WORST} more functionalities with failures[/]"


def suite_list(rows: Sequence[tuple[str, str, str | None]]) -> RenderableType:
    """Return the table of a project's suites: name, what it is, newest result."""
    from rich.markup import escape
    from rich.table import Table

    table = Table("suite", "what it tests", "newest result", box=None)
    for name, about, newest in rows:
        table.add_row(escape(name), escape(about), escape(newest or "not run yet"))
    return table
