"""Metrics as sums over items: each is a mean of ratios, so that reweighing items is one matrix product.

Every metric here is the mean over its parts j of N_j / S_j, where N_j and S_j are sums over items (F1 of a class:
2 tp and gold + answered; macro-F1: one part a class). A part whose S_j is 0 is left out, as scikit-learn leaves
out a class that is neither in gold nor predicted.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from evaluation._arrays import BoolArray, FloatArray, IntArray
from evaluation.label_counts import mean_of_defined
from evaluation.paired import NO_ANSWER, PairedAnswers
from labelproof.spec.errors import ConfigError
from labelproof.spec.metrics import PER_CLASS, MetricRef

SHARES = frozenset({"accuracy", "recall", "failed_rate", "auto_accept_rate"})
"""Metrics that are shares of a set of items which does not depend on the answers."""
MEANS = frozenset({"cost_per_1k_usd", "latency_ms"})


def metric_values(
    gold: IntArray | None,
    answer: IntArray,
    accepted: BoolArray,
    *,
    members: BoolArray,
    classes: Sequence[str],
    metric: MetricRef,
    weights: FloatArray,
) -> FloatArray:
    """The metric of one strategy's answers under R weightings of the n items: ``weights`` (R, n) -> (R,).

    Codes and ``members`` (L, K) as in :class:`evaluation.paired.PairedAnswers`. NaN where the metric is
    undefined (no weight on an item it speaks of). For metrics of gold, auto_accept_rate and failed_rate; others
    raise ``ConfigError``, as does a metric of gold without gold or a class that is not in ``classes``.
    """
    rows = item_sums(gold, answer, accepted, members=members, classes=classes, metric=metric)
    return ratio_mean(np.asarray(weights, dtype=np.float64) @ rows)


def ratio_mean(sums: FloatArray) -> FloatArray:
    """The metric of sums (R, 2J): numerators first, then sizes -> (R,), NaN where every size is 0."""
    half = sums.shape[-1] // 2
    top, size = sums[..., :half], sums[..., half:]
    # Sums of float weights that cancel leave dust, not items.
    ratio = np.divide(top, size, out=np.full(top.shape, np.nan), where=size > 1e-9)
    return mean_of_defined(ratio)


def item_sums(
    gold: IntArray | None,
    answer: IntArray,
    accepted: BoolArray,
    *,
    members: BoolArray,
    classes: Sequence[str],
    metric: MetricRef,
) -> FloatArray:
    """What each item adds to the metric's sums (n, 2J): numerators first, then sizes."""
    if metric.name == "failed_rate":
        return _columns(answer == NO_ANSWER, np.ones(len(answer)))
    if metric.name == "auto_accept_rate":
        return _columns(accepted, np.ones(len(answer)))
    if not metric.needs_gold:
        raise ConfigError(f"metric {metric.text}: expected one of labels, found one of money or time")
    if gold is None:
        raise ConfigError(f"metric {metric.text}: expected gold labels, found none")
    right = right_answers(gold, answer)
    if metric.name == "accuracy":
        return _columns(right, np.ones(len(answer)))
    if metric.name == "auto_accuracy":
        return _columns(right & accepted, accepted)
    if metric.name == "macro_f1":
        truth, said = members[gold], said_classes(answer, members)
        return np.hstack([2.0 * (truth & said), truth.astype(np.float64) + said])
    column = class_column(metric, classes)
    true, claimed = members[gold, column], said_classes(answer, members[:, column])
    hit = true & claimed
    if metric.name == "recall":
        return _columns(hit, true)
    if metric.name == "precision":
        return _columns(hit, claimed)
    return _columns(2.0 * hit, true.astype(np.float64) + claimed)


def right_answers(gold: IntArray, answer: IntArray) -> BoolArray:
    """Which answers are exactly gold's label; a missing answer never is."""
    return np.asarray((answer == gold) & (answer != NO_ANSWER))


def said_classes(answer: IntArray, members: BoolArray) -> BoolArray:
    """The rows (or entries) of ``members`` that answers name; a missing answer names no class."""
    known = answer != NO_ANSWER
    said = members[np.where(known, answer, 0)]
    return np.asarray(said & (known[:, None] if said.ndim == 2 else known))


def class_column(metric: MetricRef, classes: Sequence[str]) -> int:
    """Position of the metric's class; ``ConfigError`` lists the classes when there is none of that name."""
    assert metric.name in PER_CLASS
    if metric.of is None or metric.of not in classes:
        raise ConfigError(
            f"metric {metric.text}: expected one of the labels {', '.join(classes)}, found {metric.of!r}",
            hint="name a label of the project's schema",
        )
    return list(classes).index(metric.of)


def side_sums(answers: PairedAnswers, metric: MetricRef, *, of_b: bool) -> FloatArray:
    """:func:`item_sums` of one side, money and time included (n, 2J); unknown amounts are not allowed."""
    if metric.name in MEANS:
        return _columns(known_amounts(answers, metric)[of_b], np.ones(answers.n))
    return item_sums(
        answers.gold,
        answers.b if of_b else answers.a,
        answers.accepted_b if of_b else answers.accepted_a,
        members=answers.members,
        classes=answers.classes,
        metric=metric,
    )


def amounts_of(answers: PairedAnswers, metric: MetricRef) -> tuple[FloatArray, FloatArray] | None:
    """What A and B took of each item, in the metric's unit; None when one side is not known."""
    if metric.name == "cost_per_1k_usd":
        if answers.cost_a is None or answers.cost_b is None:
            return None
        return answers.cost_a * 1000.0, answers.cost_b * 1000.0
    if answers.latency_a is None or answers.latency_b is None:
        return None
    return answers.latency_a, answers.latency_b


def known_amounts(answers: PairedAnswers, metric: MetricRef) -> tuple[FloatArray, FloatArray]:
    """:func:`amounts_of` where both sides are known."""
    amounts = amounts_of(answers, metric)
    assert amounts is not None
    return amounts


def _columns(top: BoolArray | FloatArray, size: BoolArray | FloatArray) -> FloatArray:
    return np.column_stack([top, size]).astype(np.float64)
