"""Which causes explain the change: marks tested against right items and against before, most specific first.

A cause explains if errors carry its mark more often than right items do *and* errors with it are more frequent than
before, both beyond chance (corrected over all causes, Benjamini & Hochberg), if its points (what marked items bring
beyond the risk of the others, more than they did before) are above zero with their whole interval, and if all that is
still so among the items that no cause named earlier marks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from evaluation.enrichment import Enrichment, enrichment, fisher_greater
from evaluation.multiple_testing import benjamini_hochberg
from labelproof.report.rca.data import Bools, Floats
from labelproof.report.rca.evidence import Evidence, Mark
from labelproof.report.rca.model import CAUSES, NAMES, Cause, CauseRow, ErrorCase, Status
from labelproof.report.rca.same_items import ALPHA as TOLD
from labelproof.report.rca.same_items import Behaviour

ALPHA = 0.05
BY_VERSION: frozenset[Cause] = frozenset({"provider_change", "guideline_change", "strategy_change"})
"""What marks nearly every later item: one item's error is put down to it only if it explains the change."""
SYMPTOMS: frozenset[Cause] = frozenset({"gold_doubt", "length", "no_similar_example", "low_confidence"})
"""Marks that another cause often brings along."""
MOST_ERRORS = 1000
_CHARS = 160


@dataclass(frozen=True, slots=True, kw_only=True)
class Tested:
    """One mark with its test on all rows, and on those that no earlier cause marks (``left``)."""

    mark: Mark
    all: Enrichment
    left: Enrichment | None
    q_value: float | None
    status: Status
    covered_by: Cause | None = None


def weigh_causes(
    evidence: Evidence,
    marks: Mapping[Cause, Mark],
    weight: Floats,
    behaviour: Behaviour | None,
    *,
    seed: int = 0,
) -> list[Tested]:
    """Return every mark tested, in the order of ``CAUSES``."""
    measured = [mark for mark in marks.values() if mark.unmeasured is None]
    everything = np.ones(evidence.n, dtype=np.bool_)
    found = {mark.cause: _enriched(mark, evidence, weight, everything, seed) for mark in measured}
    q_values = benjamini_hochberg([found[mark.cause].p_value for mark in measured])
    q = {
        mark.cause: None if np.isnan(value) else float(value)
        for mark, value in zip(measured, q_values, strict=True)
    }
    left = np.ones(evidence.n, dtype=np.bool_)
    taken: dict[Cause, Bools] = {}
    tested: dict[Cause, Tested] = {}
    for cause in CAUSES:
        if cause not in marks:
            continue
        mark = marks[cause]
        if cause not in found:
            nothing = enrichment(mark.rows, evidence.wrong, evidence.later, weight=weight, resamples=0)
            tested[cause] = Tested(mark=mark, all=nothing, left=None, q_value=None, status="unmeasured")
            continue
        value = q[cause]
        stands_out = value is not None and value <= ALPHA and found[cause].low > 0
        if stands_out and cause in BY_VERSION and behaviour is not None and behaviour.unchanged:
            stands_out = False  # the same items are answered as before: it is not the version
        rest: Enrichment | None = None
        status: Status = "not more than elsewhere"
        covered: Cause | None = None
        if stands_out:
            if (left & evidence.later).any():
                rest = _enriched(mark, evidence, weight, left, seed)
            p = None if rest is None else rest.p_value
            if rest is not None and p is not None and p <= ALPHA and rest.low > 0:
                status = "explains"
                taken[cause] = mark.rows & evidence.wrong & evidence.later & left
                left &= ~mark.rows
            else:
                status, covered = "covered", _covering(mark, evidence, marks, taken)
        tested[cause] = Tested(
            mark=mark, all=found[cause], left=rest, q_value=value, status=status, covered_by=covered
        )
    return list(tested.values())


def _enriched(mark: Mark, evidence: Evidence, weight: Floats, among: Bools, seed: int) -> Enrichment:
    """Return the test of a mark among some rows.

    Doubt is looked for on errors only, so right items are no comparison: it explains a rise if it is a larger share of
    the errors than before.
    """
    wrong, later = evidence.wrong[among], evidence.later[among]
    found = enrichment(mark.rows[among], wrong, later, weight=weight[among], seed=seed)
    if mark.cause != "gold_doubt":
        return found
    before = int((wrong & ~later).sum())
    p = None
    if before and found.n_errors:
        marked, marked_before = found.n_errors_marked, found.n_errors_marked_before
        p = fisher_greater(marked, found.n_errors - marked, marked_before, before - marked_before)
    return replace(found, share_right=None, lift=None, p_lift=p)


def _covering(
    mark: Mark, evidence: Evidence, marks: Mapping[Cause, Mark], taken: Mapping[Cause, Bools]
) -> Cause | None:
    """Return the accepted cause that marks most of the errors that ``mark`` marks."""
    mine = mark.rows & evidence.wrong & evidence.later
    shared = {cause: int((mine & marks[cause].rows).sum()) for cause in taken}
    return max(shared, key=lambda cause: shared[cause], default=None)


def causes_of_errors(
    evidence: Evidence, tested: Sequence[Tested]
) -> dict[int, tuple[Cause, dict[Cause, str]]]:
    """Return for each later error (by row) its cause and all that fits, strongest first.

    A cause that explains the change comes first; then what speaks for itself in a single item; then marks that errors
    carry more often than right items; low confidence last. Without any: unexplained.
    """
    accepted = [one for one in tested if one.status == "explains"]
    rest = [one for one in tested if one.status not in ("explains", "unmeasured")]
    single = [
        one for one in rest if one.mark.cause not in BY_VERSION | SYMPTOMS | {"language", "traffic_mix"}
    ]
    doubted = [one for one in rest if one.mark.cause == "gold_doubt"]
    marked = [
        one
        for one in rest
        if one.mark.cause in (SYMPTOMS | {"language", "traffic_mix"}) - {"gold_doubt", "low_confidence"}
        and one.all.p_lift is not None
        and one.all.p_lift <= ALPHA
    ]
    low = [one for one in rest if one.mark.cause == "low_confidence"]
    order = [*accepted, *single, *doubted, *marked, *low]
    found: dict[int, tuple[Cause, dict[Cause, str]]] = {}
    for i in np.flatnonzero(evidence.wrong & evidence.later).tolist():
        fits = {one.mark.cause: one.mark.words(i) for one in order if one.mark.rows[i]}
        cause: Cause = next(iter(fits), "unexplained")
        found[i] = (cause, fits)
    return found


def cause_rows(
    tested: Sequence[Tested],
    errors: Mapping[int, tuple[Cause, dict[Cause, str]]],
    evidence: Evidence,
    behaviour: Behaviour | None,
) -> tuple[CauseRow, ...]:
    """Return the causes: those that explain first, the largest part first; then the others by their errors."""
    put_down: dict[Cause, list[int]] = {}
    for i, (cause, _) in errors.items():
        put_down.setdefault(cause, []).append(i)
    rows = [_cause_row(one, put_down.get(one.mark.cause, []), evidence, behaviour) for one in tested]
    left_over = put_down.get("unexplained", [])
    rows.append(_unexplained(left_over, evidence))
    explaining = [row for row in rows if row.status == "explains"]
    others = [row for row in rows if row.status != "explains" and row.cause != "unexplained"]
    # What happened comes before what it looks like: a mark that other causes bring along is named last.
    tiers = dict.fromkeys(SYMPTOMS, 2) | {"traffic_mix": 1}
    explaining.sort(key=lambda row: (tiers.get(row.cause, 0), -(row.explained or 0.0)))
    others.sort(key=lambda row: (row.status == "unmeasured", row.status != "covered", -row.n_errors))
    return (*explaining, *others, rows[-1])


def _cause_row(one: Tested, mine: Sequence[int], evidence: Evidence, behaviour: Behaviour | None) -> CauseRow:
    found = one.left if one.status == "explains" and one.left is not None else one.all
    row = CauseRow(
        cause=one.mark.cause,
        status=one.status,
        n_errors=len(mine),
        n_marked=one.all.n_errors_marked,
        share_errors=one.all.share_errors,
        share_right=one.all.share_right,
        lift=one.all.lift,
        q_value=one.q_value,
        explained=None if one.status == "unmeasured" else found.explained,
        low=None if one.status == "unmeasured" else found.low,
        high=None if one.status == "unmeasured" else found.high,
        by_timing=found.by_timing and not _confirmed(one.mark.cause, behaviour),
        covered_by=one.covered_by,
        line="",
        items=tuple(dict.fromkeys(evidence.rows[i].item_id for i in mine)),
    )
    return replace(row, line=_line(row, one, behaviour))


def _confirmed(cause: Cause, behaviour: Behaviour | None) -> bool:
    """Whether the frozen items, too, say that the model answers otherwise: then it is not known by timing alone."""
    p = None if behaviour is None else behaviour.same_version_p
    return cause == "provider_change" and p is not None and p <= TOLD


def _unexplained(mine: Sequence[int], evidence: Evidence) -> CauseRow:
    n = int((evidence.wrong & evidence.later).sum())
    return CauseRow(
        cause="unexplained",
        status="unmeasured",
        n_errors=len(mine),
        n_marked=len(mine),
        share_errors=len(mine) / n if n else None,
        share_right=None,
        lift=None,
        q_value=None,
        explained=None,
        low=None,
        high=None,
        by_timing=False,
        covered_by=None,
        line=f"{len(mine)} of {n} errors carry none of the marks that were looked for",
        items=tuple(dict.fromkeys(evidence.rows[i].item_id for i in mine)),
    )


def _line(row: CauseRow, one: Tested, behaviour: Behaviour | None) -> str:
    """Say what was found of a cause, with its numbers."""
    if one.mark.unmeasured is not None:
        return one.mark.unmeasured
    e = one.all
    if not one.mark.rows.any() and one.mark.same is not None:
        return one.mark.same
    counts = f"{e.n_errors_marked} of {e.n_errors} errors and {e.n_right_marked} of {e.n_right} right items"
    if row.cause in BY_VERSION and behaviour is not None and behaviour.unchanged and row.status != "explains":
        return f"{counts} come from it, but {behaviour.line}"
    before = f"; {e.n_errors_marked_before} such errors in {e.n_before} items before" if e.n_before else ""
    if row.status == "covered":
        by = f" are those of {NAMES[row.covered_by]}" if row.covered_by else " are those of the causes above"
        return f"{counts}{before}; the errors{by}"
    q = "" if row.q_value is None else f" (q = {row.q_value:.2g})"
    timing = "; known by timing only: whatever else changed then fits as well" if row.by_timing else ""
    if one.mark.cause == "gold_doubt":
        counts = f"{e.n_errors_marked} of {e.n_errors} errors"
    return f"{counts}{before}{q}{timing}"


def error_cases(
    evidence: Evidence, errors: Mapping[int, tuple[Cause, dict[Cause, str]]]
) -> tuple[ErrorCase, ...]:
    """Return the later errors as cases, at most ``MOST_ERRORS``, causes in turn so that each has examples."""
    places: dict[Cause, int] = {}
    order = []
    for i, (cause, _) in errors.items():
        places[cause] = places.get(cause, 0) + 1
        order.append((places[cause], CAUSES.index(cause), i))
    found = []
    for _, _, i in sorted(order)[:MOST_ERRORS]:
        row, item = evidence.rows[i], evidence.facts.item(evidence.rows[i])
        cause, fits = errors[i]
        found.append(
            ErrorCase(
                item_id=row.item_id,
                external_id=item.external_id or row.item_id,
                run_id=row.run_id,
                strategy_fp=row.strategy_fp,
                label=row.label,
                right_label=row.truth,
                confidence=row.confidence,
                cause=cause,
                fits={str(name): words for name, words in fits.items()},
                excerpt=" ".join(item.text.split())[:_CHARS],
            )
        )
    return tuple(found)
