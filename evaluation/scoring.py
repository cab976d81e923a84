"""How right labels are against gold, each number with its interval.

A prediction that is missing (``None`` or :data:`FAILED`: the strategy broke; :data:`ABSTAINED`: it
declined) counts as wrong in every metric and is reported apart, so a strategy cannot gain by
failing on hard items.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from evaluation._arrays import IntArray, check_classes, check_level, class_codes, same_length
from evaluation._set_scoring import score_sets
from evaluation.intervals import Estimate, bootstrap_counts, undefined, wilson
from evaluation.label_counts import f1_interval, kappa_statistic, macro_f1_statistic
from evaluation.scorecard import ALL, ConfusionMatrix, LabelKind, Metric, ScoreCard
from labelproof.spec.errors import ConfigError

FAILED: Final = "__failed__"
ABSTAINED: Final = "__abstained__"


def score(
    gold: Sequence[str],
    predicted: Sequence[str | None],
    *,
    classes: Sequence[str],
    kind: LabelKind = "single",
    seed: int = 0,
    confidence: float = 0.95,
    resamples: int = 1000,
) -> ScoreCard:
    """The score card of predicted labels against gold labels of the same items, in the same order.

    ``classes`` are the schema's leaves (multi-label: its classes); labels are canonical strings
    (multi-label ``a+b`` or ``none``, taxonomy ``parent/child``). An unknown label, gold or
    predicted, raises ConfigError. No items: every metric is undefined, with the reason.
    """
    check_level(confidence)
    n = same_length(gold=gold, predicted=predicted)
    names = check_classes(classes, at_least=1 if kind == "multi" else 2)
    answers = [FAILED if label is None else label for label in predicted]
    n_failed = sum(label == FAILED for label in answers)
    n_abstained = sum(label == ABSTAINED for label in answers)
    metrics: list[Metric] = []

    def add(metric: str, estimate: Estimate, slice_name: str = ALL) -> None:
        metrics.append(Metric(metric=metric, slice=slice_name, estimate=estimate))

    if kind == "multi":
        answered = [label not in (FAILED, ABSTAINED) for label in answers]
        entries, confusion = score_sets(
            gold,
            answers,
            answered=answered,
            unanswered=(FAILED, ABSTAINED),
            classes=names,
            seed=seed,
            confidence=confidence,
            resamples=resamples,
        )
        metrics.extend(entries)
    else:
        counts = _confusion_counts(gold, answers, names)
        confusion = (
            ConfusionMatrix(slice=ALL, rows=names, columns=(*names, FAILED, ABSTAINED), counts=counts),
        )
        if kind == "taxonomy":
            add("leaf_accuracy", wilson(int(np.trace(counts)), n, confidence=confidence))
            right = _parent_hits(gold, answers)
            add("parent_accuracy", wilson(right, n, confidence=confidence))
        else:
            add("accuracy", wilson(int(np.trace(counts)), n, confidence=confidence))
        n_answered = n - n_failed - n_abstained
        answered_right = wilson(int(np.trace(counts)), n_answered, confidence=confidence)
        add("accuracy_of_answered", answered_right)
        metrics.extend(_from_confusion(counts, names, seed, confidence, resamples))
    add("failed_rate", wilson(n_failed, n, confidence=confidence))
    add("abstained_rate", wilson(n_abstained, n, confidence=confidence))
    return ScoreCard(
        kind=kind,
        classes=names,
        n=n,
        n_failed=n_failed,
        n_abstained=n_abstained,
        metrics=tuple(metrics),
        confusion=confusion,
    )


def _confusion_counts(gold: Sequence[str], answers: Sequence[str], names: tuple[str, ...]) -> IntArray:
    """Counts (K, K + 2): gold class by answered class, failed, abstained."""
    for label in (FAILED, ABSTAINED):
        if label in names:
            raise ConfigError(f"classes: {label!r} is reserved for missing predictions")
    columns = (*names, FAILED, ABSTAINED)
    rows = class_codes(gold, names, "gold")
    answered = class_codes(answers, columns, "predicted")
    flat = np.bincount(rows * len(columns) + answered, minlength=len(names) * len(columns))
    return flat.reshape(len(names), len(columns)).astype(np.int64)


def _parent_hits(gold: Sequence[str], answers: Sequence[str]) -> int:
    """How many answers share the gold label's parent (a leaf without parent is its own)."""
    return sum(g.rsplit("/", 1)[0] == a.rsplit("/", 1)[0] for g, a in zip(gold, answers, strict=True))


def _from_confusion(
    counts: IntArray, names: tuple[str, ...], seed: int, confidence: float, resamples: int
) -> list[Metric]:
    """Macro-F1 and kappa over all items, then precision, recall, F1 per class."""
    n, k = int(counts.sum()), len(names)
    found: list[Metric] = []
    for metric, statistic in (
        ("macro_f1", macro_f1_statistic(k)),
        ("cohen_kappa", kappa_statistic(k)),
    ):
        estimate = bootstrap_counts(
            counts.ravel(),
            statistic,
            seed=seed,
            resamples=resamples,
            confidence=confidence,
        )
        if metric == "cohen_kappa" and n and estimate.value is None:
            estimate = undefined(
                estimate.method,
                n,
                "gold and predictions hold one class only: chance agreement is 1",
            )
        found.append(Metric(metric=metric, slice=ALL, estimate=estimate))
    for c, name in enumerate(names):
        right = int(counts[c, c])
        support, answered = int(counts[c].sum()), int(counts[:, c].sum())
        precision = wilson(right, answered, confidence=confidence)
        recall = wilson(right, support, confidence=confidence)
        if answered == 0:
            precision = undefined("wilson", 0, "never predicted")
        if support == 0:
            recall = undefined("wilson", 0, "no gold item of this class")
        f1 = f1_interval(
            right,
            answered - right,
            support - right,
            n,
            seed=seed,
            confidence=confidence,
            resamples=resamples,
        )
        for metric, estimate in (("precision", precision), ("recall", recall), ("f1", f1)):
            found.append(Metric(metric=metric, slice=f"class={name}", estimate=estimate))
    return found
