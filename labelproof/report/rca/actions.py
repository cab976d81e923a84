"""What to do about each cause, with the items it is about and the clause of the guideline."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

from agents.tools import search_guideline
from labelproof.report.rca.facts import Facts
from labelproof.report.rca.model import Action, Cause, CauseRow, ErrorCase
from labelproof.report.rca.yardstick import Yardstick

MOST_ITEMS = 20
_SEARCHED = 30
_CLAUSE_CHARS = 300
CALM: frozenset[Cause] = frozenset({"guideline_ambiguity", "gold_doubt", "reviewer"})
"""Errors of these causes teach nothing: what is right is not settled."""


def with_actions(
    causes: Sequence[CauseRow],
    errors: Sequence[ErrorCase],
    *,
    project: str,
    again: str,
    guideline: str,
    facts: Facts,
    yardstick: Yardstick,
) -> tuple[CauseRow, ...]:
    """Return the causes, those that have errors or explain the change with what to do."""
    by_cause: dict[Cause, list[ErrorCase]] = {}
    for case in errors:
        by_cause.setdefault(case.cause, []).append(case)
    found = []
    for row in causes:
        mine = by_cause.get(row.cause, [])
        if not mine and row.status != "explains":
            found.append(row)
            continue
        action = _action(
            row, mine, project=project, again=again, guideline=guideline, facts=facts, yardstick=yardstick
        )
        found.append(replace(row, action=action))
    return tuple(found)


def _action(
    row: CauseRow,
    cases: Sequence[ErrorCase],
    *,
    project: str,
    again: str,
    guideline: str,
    facts: Facts,
    yardstick: Yardstick,
) -> Action:
    items = tuple(dict.fromkeys(case.item_id for case in cases))[:MOST_ITEMS]
    n = row.n_errors
    pair = _most_confused(cases)
    first = shlex.quote(cases[0].external_id) if cases else ""
    trace = f"labelproof trace {project} {first}" if cases else None
    export = f"{again} --export-items rca-items"
    if row.cause == "guideline_ambiguity":
        clause = _clause(guideline, cases)
        where = f"clarify the clause “{_head(clause)}”" if clause else "add a clause to the guideline"
        what = f"{where}: people differ on {n} of these errors{pair}; decide the example items with the policy owner"
        return Action(kind="clarify guideline", what=what, items=items, clause=clause, command=trace)
    if row.cause == "gold_doubt":
        what = f"put {n} labels before a second person: a sure machine and another signal say otherwise{pair}"
        return Action(
            kind="re-check gold", what=what, items=items, command=f"labelproof review export {project}"
        )
    if row.cause == "reviewer":
        who = ", ".join(sorted(yardstick.turned)) or "the reviewer"
        what = f"take {who} off audits, have the {n} answers judged again by somebody else, then train on the guideline"
        return Action(
            kind="change process",
            what=what,
            items=items,
            command=f"labelproof review stats {project}",
        )
    if row.cause == "no_similar_example":
        what = f"add examples like these {n} items to the gold split `examples`{pair}"
        return Action(kind="add examples", what=what, items=items, command=export)
    if row.cause == "language":
        named = _languages(cases)
        what = f"collect and label items in {named}, add examples of it, or send it to people until then ({n} errors)"
        return Action(kind="collect data", what=what, items=items, command=export)
    if row.cause == "traffic_mix":
        what = (
            f"label items of the slice that grew ({_grown(cases)}) and add them as examples: {n} errors{pair}"
        )
        return Action(kind="collect data", what=what, items=items, command=export)
    if row.cause == "low_confidence":
        what = f"fine-tune on these {n} items once labelled, or raise the threshold: the machine knew it was unsure{pair}"
        return Action(kind="fine-tune", what=what, items=items, command=export)
    return _of_the_process(row, items, pair, project, trace, facts)


def _of_the_process(
    row: CauseRow,
    items: tuple[str, ...],
    pair: str,
    project: str,
    trace: str | None,
    facts: Facts,
) -> Action:
    n = row.n_errors
    if row.cause == "manipulation":
        what = f"send instruction-like items to people (routing.review_manipulation) and test with the injection suite ({n} errors)"
        return Action(
            kind="change process", what=what, items=items, command=f"labelproof suite run {project} injection"
        )
    if row.cause == "provider_change":
        new = ", ".join(sorted(set(facts.marks_after) - set(facts.marks_before)))
        what = (
            f"stop auto-accepting under the old certificate: the provider now answers as {new or 'another model under the same name'}; "
            "pin the model's version, certify again, or roll back"
        )
        return Action(kind="change process", what=what, items=items, command=f"labelproof certify {project}")
    if row.cause == "guideline_change":
        what = (
            "compare the guideline's versions on the same gold, and take the edit back or re-label gold by it"
        )
        return Action(kind="change process", what=what, items=items, command="labelproof compare OLD NEW")
    if row.cause == "strategy_change":
        what = "compare the new version with the old one on the same items, or roll back"
        return Action(kind="change process", what=what, items=items, command=f"labelproof rollback {project}")
    if row.cause == "parse_failure":
        what = (
            f"look at the {n} failed answers: bind the answer to the schema, or raise max_retries of the step"
        )
        return Action(kind="change process", what=what, items=items, command=trace)
    if row.cause == "length":
        what = (
            f"look at what is cut off or unusually long (normalize.max_chars, max_tokens): {n} errors{pair}"
        )
        return Action(kind="change process", what=what, items=items, command=trace)
    what = f"read {min(n, MOST_ITEMS)} of the {n} errors without a mark{pair}; what they share is a missing rule or column"
    return Action(kind="look", what=what, items=items, command=trace)


def _clause(guideline: str, cases: Sequence[ErrorCase]) -> str | None:
    """Return the guideline's passage that most of the items come closest to."""
    hits: Counter[str] = Counter()
    for case in cases[:_SEARCHED]:
        labels = f"{case.label or ''} {case.right_label or ''}"
        for passage in search_guideline(guideline, f"{case.excerpt} {labels}", limit=1):
            hits[passage] += 1
    if not hits:
        return None
    return hits.most_common(1)[0][0][:_CLAUSE_CHARS]


def _head(clause: str | None) -> str:
    words = (clause or "").split()
    return " ".join(words[:12]) + (" …" if len(words) > 12 else "")


def _most_confused(cases: Sequence[ErrorCase]) -> str:
    """Return " (mostly spam that is safe: 7)", if one pair of labels stands out."""
    pairs: Counter[tuple[str, str]] = Counter(
        (case.label or "failed", case.right_label) for case in cases if case.right_label
    )
    if not pairs:
        return ""
    (said, right), n = pairs.most_common(1)[0]
    return f" (mostly {right} labelled {said}: {n})" if n > 1 and said != right else ""


def _grown(cases: Sequence[ErrorCase]) -> str:
    found = Counter(
        case.fits["traffic_mix"].rpartition(": ")[0] for case in cases if "traffic_mix" in case.fits
    )
    return "; ".join(name for name, _ in found.most_common(2)) or "see the mix"


def _languages(cases: Sequence[ErrorCase]) -> str:
    """Return the languages that the evidence names."""
    found: Counter[str] = Counter()
    for case in cases:
        words: Mapping[str, str] = case.fits
        _, _, rest = words.get("language", "").partition("language ")
        if rest:
            found[rest.partition(",")[0]] += 1
    return ", ".join(name for name, _ in found.most_common(3)) or "these languages"
