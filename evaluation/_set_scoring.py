"""Multi-label scoring: sets of classes against sets of classes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from evaluation._arrays import BoolArray, FloatArray, IntArray
from evaluation.intervals import bootstrap_counts, undefined, wilson
from evaluation.label_counts import f1_from_counts, f1_interval, mean_of_defined
from evaluation.scorecard import ALL, ConfusionMatrix, Metric
from labelproof.spec.errors import ConfigError

EMPTY_SET = "none"


def membership(labels: Sequence[str], classes: tuple[str, ...], name: str) -> BoolArray:
    """Which classes (columns, n × K) each canonical label ``a+b`` or ``none`` holds."""
    lookup = {label: code for code, label in enumerate(classes)}
    found = np.zeros((len(labels), len(classes)), dtype=np.bool_)
    for i, label in enumerate(labels):
        for member in () if label == EMPTY_SET else label.split("+"):
            code = lookup.get(member)
            if code is None:
                raise ConfigError(
                    f"{name}: expected classes among {', '.join(classes)} joined by '+', or"
                    f" {EMPTY_SET!r}; found {label!r} at index {i}",
                    hint="add the label to the project's schema or correct the labels",
                )
            found[i, code] = True
    return found


def score_sets(
    gold: Sequence[str],
    answers: Sequence[str],
    *,
    answered: Sequence[bool],
    unanswered: tuple[str, str],
    classes: tuple[str, ...],
    seed: int,
    confidence: float,
    resamples: int,
) -> tuple[list[Metric], tuple[ConfusionMatrix, ...]]:
    """Metrics and one confusion matrix per class.

    An unanswered item is wrong in exact match and in every class's accuracy, has Jaccard 0 and
    misses its gold classes (recall, F1); like in single-label scoring it asserts no class, so
    precision does not see it.
    """
    n = len(gold)
    has = np.asarray(answered, dtype=np.bool_)
    truth = membership(gold, classes, "gold")
    said = membership(
        [a if ok else EMPTY_SET for a, ok in zip(answers, answered, strict=True)],
        classes,
        "predicted",
    )
    exact = has & (truth == said).all(axis=1)
    metrics = [
        Metric(
            metric="exact_match",
            slice=ALL,
            estimate=wilson(int(exact.sum()), n, confidence=confidence),
        ),
        Metric(
            metric="exact_match_of_answered",
            slice=ALL,
            estimate=wilson(int(exact.sum()), int(has.sum()), confidence=confidence),
        ),
    ]
    metrics += _over_sets(truth, said, has, seed, confidence, resamples)
    failed = np.array([a == unanswered[0] for a in answers], dtype=np.bool_)
    matrices = []
    for c, name in enumerate(classes):
        t, p = truth[:, c], said[:, c]
        tp, fp, fn = int((t & p).sum()), int((~t & p).sum()), int((t & ~p).sum())
        right = int((has & (t == p)).sum())
        precision = wilson(tp, tp + fp, confidence=confidence)
        recall = wilson(tp, tp + fn, confidence=confidence)
        if tp + fp == 0:
            precision = undefined("wilson", 0, "never predicted")
        if tp + fn == 0:
            recall = undefined("wilson", 0, "no gold item of this class")
        f1 = f1_interval(tp, fp, fn, n, seed=seed, confidence=confidence, resamples=resamples)
        for metric, estimate in (
            ("accuracy", wilson(right, n, confidence=confidence)),
            ("precision", precision),
            ("recall", recall),
            ("f1", f1),
        ):
            metrics.append(Metric(metric=metric, slice=f"class={name}", estimate=estimate))
        column = np.where(has, p.astype(np.int64), np.where(failed, 2, 3))
        counts = np.bincount(t.astype(np.int64) * 4 + column, minlength=8).reshape(2, 4)
        matrices.append(
            ConfusionMatrix(
                slice=f"class={name}",
                rows=("no", "yes"),
                columns=("no", "yes", *unanswered),
                counts=counts.astype(np.int64),
            )
        )
    return metrics, tuple(matrices)


def _over_sets(
    truth: BoolArray,
    said: BoolArray,
    has: BoolArray,
    seed: int,
    confidence: float,
    resamples: int,
) -> list[Metric]:
    """Micro-F1, macro-F1 and mean Jaccard, resampling whole items (their classes are dependent)."""
    k = truth.shape[1]
    pairs = np.hstack([truth, said, has[:, None]]).astype(np.int64)
    kinds, inverse = np.unique(pairs, axis=0, return_inverse=True)
    tally: IntArray = np.bincount(inverse.ravel(), minlength=len(kinds)).astype(np.int64)
    t, p = kinds[:, :k].astype(np.float64), kinds[:, k : 2 * k].astype(np.float64)
    tp, fp, fn = t * p, (1 - t) * p, t * (1 - p)
    union = (tp + fp + fn).sum(axis=1)
    # Two empty sets agree fully: Jaccard 1 (scikit-learn warns and says 0).
    jaccard = np.divide(tp.sum(axis=1), union, out=np.ones_like(union), where=union > 0)
    jaccard *= kinds[:, 2 * k]

    def micro(counts: FloatArray) -> FloatArray:
        return f1_from_counts(counts @ tp.sum(axis=1), counts @ fp.sum(axis=1), counts @ fn.sum(axis=1))

    def macro(counts: FloatArray) -> FloatArray:
        return mean_of_defined(f1_from_counts(counts @ tp, counts @ fp, counts @ fn))

    def mean_jaccard(counts: FloatArray) -> FloatArray:
        return np.asarray((counts @ jaccard) / counts.sum(axis=1), dtype=np.float64)

    found = []
    for metric, statistic in (("micro_f1", micro), ("macro_f1", macro), ("jaccard", mean_jaccard)):
        estimate = bootstrap_counts(tally, statistic, seed=seed, resamples=resamples, confidence=confidence)
        if tally.sum() and estimate.value is None:
            reason = "no class is in gold or predicted"
            estimate = undefined(estimate.method, int(tally.sum()), reason)
        found.append(Metric(metric=metric, slice=ALL, estimate=estimate))
    return found
