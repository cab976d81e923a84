"""Items that were not seen: one that only A and one that only B gets right, so that rare changes keep a spread.

Without them, no flip in 100 items would mean that there is none: intervals of macro-F1 from the bootstrap or the plain
jackknife cover a small true difference in .43 of samples (n = 100, 1 % of items changed for the better), these in
more than .95. For a share of items the same two items are Bonett & Price's (2012, Journal of Educational and
Behavioral Statistics 37) adjustment of the paired interval.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from evaluation._arrays import FloatArray, IntArray
from evaluation._paired_units import Units
from evaluation.paired import BoolArray, PairedAnswers
from evaluation.paired_metrics import item_sums, ratio_mean
from labelproof.spec.metrics import MetricRef


def left_out_error(units: Units, extra: Units | None = None) -> float:
    """Standard error of B minus A: leaving out one unit at a time, the ``extra`` ones too; needs two units.

    NaN where the metric is undefined without any one of them.

    Efron & Tibshirani (1993), eq. 11.5. For a mean without extra units it is the usual s / sqrt(n).
    """
    a, b, count = units.a, units.b, units.count
    if extra is not None:
        a, b = np.vstack([a, extra.a]), np.vstack([b, extra.b])
        count = np.concatenate([count, extra.count])
    left = ratio_mean(count @ b - b) - ratio_mean(count @ a - a)
    known = ~np.isnan(left)
    count, left = count[known], left[known]
    n = count.sum()
    if n < 2:
        return float("nan")
    middle = count @ left / n
    return float(np.sqrt((n - 1) / n * (count @ (left - middle) ** 2)))


def pseudo_items(answers: PairedAnswers, metric: MetricRef) -> Units:
    """One item in all for each side, of average weight, spread over the ways in which the sides can differ."""
    if metric.name == "macro_f1":
        found = _of_classes(answers)
    elif metric.name in {"precision", "f1"}:
        # True and only one side says so; not true and only one side says so.
        found = _of_flags(metric, [(1, 1, 0), (1, 0, 1), (0, 1, 0), (0, 0, 1)])
    elif metric.name == "auto_accuracy":
        found = _of_acceptance()
    else:
        found = Units(
            a=np.array([[1.0, 1.0], [0.0, 1.0]]), b=np.array([[0.0, 1.0], [1.0, 1.0]]), count=np.ones(2)
        )
    weight = 1.0 if answers.weight is None else float(answers.weight.mean())
    return replace(found, a=found.a * weight, b=found.b * weight)


def _of_flags(metric: MetricRef, ways: list[tuple[int, int, int]]) -> Units:
    """Of one class: (in gold, A says it, B says it)."""
    members = np.array([[False], [True]])
    gold, a, b = np.array(ways, dtype=np.int64).T
    sides = [
        item_sums(gold, side, np.zeros(len(gold), dtype=np.bool_), members=members, classes=[str(metric.of)], metric=metric)
        for side in (a, b)
    ]  # fmt: skip
    return Units(a=sides[0], b=sides[1], count=np.full(len(gold), 2 / len(gold)))


def _of_acceptance() -> Units:
    """Accepted by both and only one right; accepted by one only, rightly or not."""
    right_one, wrong_one, none = [1.0, 1.0], [0.0, 1.0], [0.0, 0.0]
    a = np.array([right_one, wrong_one, right_one, wrong_one, none, none])
    b = np.array([wrong_one, right_one, none, none, right_one, wrong_one])
    return Units(a=a, b=b, count=np.full(6, 1 / 3))


def _of_classes(answers: PairedAnswers) -> Units:
    """Gold labels as often as seen; the wrong side says any other label that occurs, all of them evenly."""
    assert answers.gold is not None
    size = len(answers.labels)
    share = np.bincount(answers.gold, weights=answers.weight, minlength=size)
    occurs = share > 0
    for side in (answers.a, answers.b):
        occurs |= np.bincount(side[side >= 0], minlength=size) > 0
    label = np.flatnonzero(share > 0)
    truth = answers.members[label].astype(np.float64)
    wrong = _others(answers.members, occurs, label)
    right_row = np.hstack([2 * truth, 2 * truth])
    wrong_row = np.hstack([2 * truth * wrong, truth + wrong])
    count = share[label] / share.sum()
    return Units(
        a=np.vstack([right_row, wrong_row]),
        b=np.vstack([wrong_row, right_row]),
        count=np.concatenate([count, count]),
    )


def _others(members: BoolArray, occurs: BoolArray, label: IntArray) -> FloatArray:
    """Average membership of the labels that occur, each of ``label`` left out of its own row."""
    total = members[occurs].sum(axis=0, dtype=np.float64)
    return np.asarray((total - members[label]) / max(1, int(occurs.sum()) - 1))
