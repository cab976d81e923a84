"""Slices, curves, the A/A floor and the balance of a comparison."""

from __future__ import annotations

import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np

from evaluation._arrays import FloatArray, IntArray
from evaluation.curves import RiskCoverage, reliability_curve, risk_coverage_curve
from evaluation.multiple_testing import benjamini_hochberg
from evaluation.paired import NO_ANSWER, PairedAnswers, PairedDifference
from evaluation.paired_tests import paired_difference
from evaluation.sequential import srm_e_value
from labelproof.report.compare.data import Repeats, SideAnswers
from labelproof.report.compare.metadata import Column
from labelproof.report.compare.model import Balance, Rerun, SideCurves, SliceRow
from labelproof.report.compare.pairs import Pairs
from labelproof.spec.hashing import short
from labelproof.spec.metrics import MetricRef

SMALL_N = 30
BROKEN_E = 100.0
MOST_POINTS = 400
"""Points kept of a risk-coverage curve: more than a plot can show."""


def slice_rows(
    pairs: Pairs, columns: Sequence[Column], metric: MetricRef, *, alpha: float, seed: int = 0
) -> tuple[SliceRow, ...]:
    """Return the metric's difference per value of each column, in the order of columns and values.

    q-values by Benjamini & Hochberg (1995) over all slices of at least ``SMALL_N`` items.
    """
    answers = _lean(pairs.of(metric), metric)
    found: list[tuple[str, str, PairedDifference]] = []
    for column in columns:
        codes = column.codes[pairs.index] if len(pairs.index) < len(column.codes) else column.codes
        order = np.argsort(codes.astype(np.int16), kind="stable")  # radix sort: codes are few
        ends = np.cumsum(np.bincount(codes, minlength=len(column.values)))
        for code, value in enumerate(column.values):
            members = order[0 if code == 0 else ends[code - 1] : ends[code]]
            if len(members):
                part = answers.only(members)
                difference = paired_difference(part, metric, confidence=1 - alpha, seed=seed)
                found.append((column.key, value, difference))
    small = [difference.n < SMALL_N for _, _, difference in found]
    tested = [
        None if is_small else difference.p_value
        for is_small, (_, _, difference) in zip(small, found, strict=True)
    ]
    q_values = benjamini_hochberg(tested) if found else np.zeros(0)
    return tuple(
        SliceRow(
            key=key,
            value=value,
            difference=difference,
            q_value=None if math.isnan(q) else float(q),
            small=is_small,
        )
        for (key, value, difference), q, is_small in zip(found, q_values, small, strict=True)
    )


def _lean(answers: PairedAnswers, metric: MetricRef) -> PairedAnswers:
    """Without the arrays that the metric does not read: they need not be cut for every slice."""
    if metric.name != "cost_per_1k_usd":
        answers = replace(answers, cost_a=None, cost_b=None)
    if metric.name != "latency_ms":
        answers = replace(answers, latency_a=None, latency_b=None)
    return answers


def side_curves(pairs: Pairs) -> tuple[SideCurves, SideCurves] | tuple[None, None]:
    """Return both sides' reliability and risk-coverage; (None, None) without gold. Items count alike."""
    gold = pairs.answers.gold
    if gold is None:
        return None, None
    sides = (
        (pairs.confidence_a, pairs.answers.a == gold),
        (pairs.confidence_b, pairs.answers.b == gold),
    )
    with ThreadPoolExecutor(2) as pool:
        a, b = pool.map(lambda side: _curves(*side), sides)
    return a, b


def _curves(confidence: FloatArray, right: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> SideCurves:
    known = ~np.isnan(confidence)
    if not known.any():
        return SideCurves(reliability=(), risk_coverage=None)
    order = np.argsort(confidence[known])  # sorted once: what is sorted again below is nearly free
    c, y = np.clip(confidence[known][order], 0.0, 1.0), right[known][order]
    return SideCurves(reliability=reliability_curve(c, y), risk_coverage=_thinned(risk_coverage_curve(c, y)))


def _thinned(curve: RiskCoverage) -> RiskCoverage:
    n = len(curve.threshold)
    if n <= MOST_POINTS:
        return curve
    kept = np.unique(np.linspace(0, n - 1, MOST_POINTS).round().astype(np.int64))
    return RiskCoverage(threshold=curve.threshold[kept], coverage=curve.coverage[kept], risk=curve.risk[kept])


def rerun_of(pairs: Pairs, a: SideAnswers, repeats: Repeats, *, name: str, fp: str, project: str) -> Rerun:
    """Return how many of A's labels changed when A was asked again (the first repeat of each compared item)."""
    place = np.full(len(pairs.item_ids), -1, dtype=np.int64)
    place[pairs.index] = np.arange(len(pairs.index))
    kept = np.flatnonzero(place[repeats.item] >= 0) if len(repeats.item) else np.zeros(0, dtype=np.int64)
    kept = kept[np.lexsort((repeats.repeat[kept], repeats.item[kept]))]
    items, first = np.unique(repeats.item[kept], return_index=True)
    kept = kept[first]
    if not len(items):
        return Rerun(
            n=0,
            n_changed=0,
            expected_on_all=None,
            reason=f"{name}@{short(fp)} was not asked again: labelproof run {project} --strategy {name} --repeat 1",
        )
    before = [a.labels[code] if code != NO_ANSWER else None for code in a.label[items].tolist()]
    after = [repeats.labels[code] if code != NO_ANSWER else None for code in repeats.label[kept].tolist()]
    changed = sum(one != other for one, other in zip(before, after, strict=True))
    return Rerun(n=len(items), n_changed=changed, expected_on_all=changed / len(items) * len(pairs.index))


def balance_of(pairs: Pairs, *, asked_again: bool = False) -> Balance:
    """Return whether answers are missing on one side more than on the other.

    A version that is ``asked_again`` gets a part of the items on purpose: that one side lacks the others is no sign of
    anything then.

    Items that both lack say nothing of a difference; of those that one side lacks, each side should lack half
    (Lindon & Malek 2022, as for a split of traffic).
    """
    n = len(pairs.index)
    missing: IntArray = np.array([pairs.n_only_a, pairs.n_only_b])
    e_value = srm_e_value([pairs.n_only_a, pairs.n_only_b], [0.5, 0.5]) if missing.sum() else 1.0
    return Balance(
        n_both=n,
        n_wanted=pairs.n_wanted,
        n_only_a=pairs.n_only_a,
        n_only_b=pairs.n_only_b,
        e_value=None if asked_again else e_value,
        ok=asked_again or e_value < BROKEN_E,
    )
