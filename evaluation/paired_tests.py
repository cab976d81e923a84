"""Is B better than A on the same items? One metric at a time, by the test that fits the metric and the sample.

* shares of items (accuracy, recall of a class, failed_rate, auto_accept_rate): mid-p McNemar and Tango's interval;
* macro-F1, F1, precision, auto_accuracy, and everything under unequal weights: a randomisation test that exchanges A's
  and B's answer of an item, and a t interval from leaving out one item at a time (with one item more on which only A,
  and one on which only B is right: see evaluation/_pseudo_items.py);
* cost and latency: paired t;
* items in clusters (author, thread): A and B are exchanged in whole clusters, the interval is a t interval from leaving
  out one cluster at a time; where nothing changed in any cluster, what so many clusters without a change rule out.
"""

from __future__ import annotations

import math
from dataclasses import replace
from statistics import NormalDist

import numpy as np

from evaluation._arrays import check_level
from evaluation._paired_results import POWER, TIE, Ask, share_as_far, t_result, untested
from evaluation._paired_units import Units, clusters_of_items, kinds_of_items
from evaluation._pseudo_items import left_out_error, pseudo_items
from evaluation.mcnemar import mcnemar_mid_p, tango_interval, tango_z
from evaluation.paired import NO_ANSWER, BoolArray, PairedAnswers, PairedDifference
from evaluation.paired_costs import amount_name, cost_ratio, difference_of_means, with_known_amounts
from evaluation.paired_metrics import (
    MEANS,
    SHARES,
    amounts_of,
    class_column,
    right_answers,
    said_classes,
)
from evaluation.sample_size import detectable_effect
from labelproof.spec.errors import ConfigError
from labelproof.spec.metrics import PER_CLASS, MetricRef

__all__ = ["MOST_ENUMERATED_CLUSTERS", "cost_ratio", "paired_difference"]

MOST_ENUMERATED_CLUSTERS = 12


def paired_difference(
    answers: PairedAnswers,
    metric: MetricRef,
    *,
    confidence: float = 0.95,
    margin: float | None = None,
    seed: int = 0,
    resamples: int = 2000,
) -> PairedDifference:
    """One metric of B minus the same of A with interval, p-value and, given a margin, the test of "not worse".

    Any metric but a suite's, which has its own cases. ``margin`` >= 0 in the metric's unit (below 1 for a share).
    ``resamples``: exchanges drawn by the randomisation tests, reproducible by ``seed``. What cannot be measured
    is None with the reason; a metric of gold without gold is not measurable, an unknown class or a bad margin
    raises ``ConfigError``. The time does not grow with n beyond counting the items, unless weights are many or
    items are in clusters.
    """
    check_level(confidence)
    if metric.name == "suite":
        raise ConfigError(f"metric {metric.text}: expected a metric of items, found one of a suite's cases")
    if margin is not None and not (margin >= 0 and (margin < 1 or metric.name in MEANS)):
        raise ConfigError(
            f"margin of {metric.text}: expected at least 0 and, for a share, below 1; found {margin}"
        )
    ask = Ask(metric=metric, confidence=confidence, margin=margin, seed=seed, resamples=resamples)
    if metric.name in PER_CLASS:
        class_column(metric, answers.classes)
    reason = _why_not(answers, metric)
    if reason is not None:
        return ask.unmeasured(0, reason)
    if answers.weight is not None and np.ptp(answers.weight) == 0:
        answers = _unweighted(answers)
    if metric.name in MEANS:
        answers = with_known_amounts(answers, metric)
        if answers.n == 0:
            return ask.unmeasured(0, f"no item with a known {amount_name(metric)} on both sides")
    spoken = _speaks_of(answers, metric)
    if not spoken.any():
        return ask.unmeasured(0, _nothing_to_speak_of(metric))
    if answers.cluster is not None:
        return _of_clusters(answers, ask, int(spoken.sum()))
    if metric.name in MEANS:
        return difference_of_means(answers, ask)
    if metric.name in SHARES and answers.weight is None:
        return _of_shares(answers, ask, spoken)
    return _of_kinds(answers, ask, int(spoken.sum()))


def _why_not(answers: PairedAnswers, metric: MetricRef) -> str | None:
    if answers.n == 0:
        return "no items"
    if metric.needs_gold and answers.gold is None:
        return "no gold: which labels are right is unknown"
    if metric.name in MEANS and amounts_of(answers, metric) is None:
        return f"the {amount_name(metric)} of at least one side is not known"
    return None


def _nothing_to_speak_of(metric: MetricRef) -> str:
    return {
        "recall": f"no gold item of class {metric.of}",
        "precision": f"neither side answered {metric.of}",
        "f1": f"class {metric.of} is neither in gold nor answered",
        "macro_f1": "no class is in gold or answered",
        "auto_accuracy": "neither side would auto-accept an item",
    }.get(metric.name, "no items")


def _unweighted(answers: PairedAnswers) -> PairedAnswers:
    return replace(answers, weight=None)


def _speaks_of(answers: PairedAnswers, metric: MetricRef) -> BoolArray:
    """The items on which the metric of A or of B rests (n,)."""
    if metric.name == "auto_accuracy":
        return np.asarray(answers.accepted_a | answers.accepted_b)
    if metric.name not in PER_CLASS or answers.gold is None:
        return np.ones(answers.n, dtype=np.bool_)
    named = answers.members[:, class_column(metric, answers.classes)]
    true = named[answers.gold]
    said = said_classes(answers.a, named) | said_classes(answers.b, named)
    return np.asarray({"recall": true, "precision": said, "f1": true | said}[metric.name])


def _hits(answers: PairedAnswers, metric: MetricRef) -> tuple[BoolArray, BoolArray] | None:
    """Of shares: which items count for A and for B; None for the others."""
    if metric.name == "failed_rate":
        return answers.a == NO_ANSWER, answers.b == NO_ANSWER
    if metric.name == "auto_accept_rate":
        return answers.accepted_a, answers.accepted_b
    if answers.gold is None or metric.name not in SHARES:
        return None
    if metric.name == "accuracy":
        return right_answers(answers.gold, answers.a), right_answers(answers.gold, answers.b)
    named = answers.members[:, class_column(metric, answers.classes)]
    true = named[answers.gold]
    return true & said_classes(answers.a, named), true & said_classes(answers.b, named)


def _only_counts(answers: PairedAnswers, metric: MetricRef) -> tuple[int | None, int | None]:
    """Items that only A, and only B, got right (failed_rate: answered); (None, None) for what is no share."""
    hits = _hits(answers, metric)
    if hits is None:
        return None, None
    a, b = hits
    if metric.lower_is_better:
        a, b = ~a, ~b
    return int((a & ~b).sum()), int((b & ~a).sum())


def _of_shares(answers: PairedAnswers, ask: Ask, spoken: BoolArray) -> PairedDifference:
    hits = _hits(answers, ask.metric)
    assert hits is not None
    a, b = hits
    n, a_only, b_only = int(spoken.sum()), int((a & ~b).sum()), int((b & ~a).sum())
    low, high = tango_interval(b_only, a_only, n, confidence=ask.confidence)
    not_worse = None
    if ask.margin is not None:
        z = ask.sign * float(tango_z(b_only, a_only, n, -ask.sign * ask.margin))
        not_worse = NormalDist().cdf(-z)
    value_a, value_b = int(a.sum()) / n, int(b.sum()) / n
    right_a, right_b = (b_only, a_only) if ask.metric.lower_is_better else (a_only, b_only)
    # Half a discordant item more: none seen in n is not a promise of none.
    discordance = (a_only + b_only + 0.5) / (n + 1)
    return PairedDifference(
        metric=ask.metric.text,
        value_a=value_a,
        value_b=value_b,
        delta=(b_only - a_only) / n,
        low=float(low),
        high=float(high),
        p_value=float(mcnemar_mid_p(b_only, a_only)),
        n=n,
        method="mcnemar-tango",
        confidence=ask.confidence,
        margin=ask.margin,
        p_not_worse=not_worse,
        detectable=detectable_effect(n=n, discordance=discordance, alpha=1 - ask.confidence, power=POWER),
        n_a_only=right_a,
        n_b_only=right_b,
    )


def _of_kinds(answers: PairedAnswers, ask: Ask, n: int) -> PairedDifference:
    """Randomisation over items, and the t interval from leaving out one item at a time."""
    units = kinds_of_items(answers, ask.metric)
    values, only = units.values(), _only_counts(answers, ask.metric)
    reason = _no_test(values, units.n, "item", ask.metric)
    if reason is not None:
        return untested(values, ask, n, "paired-jackknife", reason, only=only)
    error = left_out_error(units, pseudo_items(answers, ask.metric))
    swapped = units.swapped(ask.resamples, np.random.default_rng(ask.seed))
    p_value = share_as_far(swapped, values[1] - values[0])
    return t_result(
        values, error, units.n - 1, ask, n=n, method="paired-jackknife", p_value=p_value, only=only
    )


def _of_clusters(answers: PairedAnswers, ask: Ask, n: int) -> PairedDifference:
    """Randomisation over whole clusters, and the t interval from leaving out one cluster at a time."""
    units = clusters_of_items(answers, ask.metric)
    values, only = units.values(), _only_counts(answers, ask.metric)
    reason = _no_test(values, units.n, "cluster", ask.metric)
    error = math.nan if reason is not None else left_out_error(units)
    if reason is None and not error > TIE * max(1.0, *map(abs, values)):
        if ask.metric.name in SHARES and abs(values[1] - values[0]) <= TIE:
            return _of_still_clusters(values, units, ask, n, only)
        reason = "all clusters show the same difference"
    if reason is not None:
        return untested(values, ask, n, "cluster-sign-flip", reason, only=only)
    delta = values[1] - values[0]
    if units.n <= MOST_ENUMERATED_CLUSTERS:
        flipped = units.swapped_every_way()
        flipped = flipped[~np.isnan(flipped)]
        p_value = float(np.mean(np.abs(flipped) >= abs(delta) - TIE))
    else:
        p_value = share_as_far(units.swapped(ask.resamples, np.random.default_rng(ask.seed)), delta)
    return t_result(
        values, error, units.n - 1, ask, n=n, method="cluster-sign-flip", p_value=p_value, only=only
    )


def _of_still_clusters(
    values: tuple[float, float],
    units: Units,
    ask: Ask,
    n: int,
    only: tuple[int | None, int | None],
) -> PairedDifference:
    """What clusters prove in none of which anything changed: the exact bound of zero events in so many clusters.

    A mean difference of d takes a share of at least d of clusters in which something changed, and m clusters without
    one have the chance (1 - d)^m. Of clusters of unequal size m is Kish's effective number, (sum s)^2 / sum s^2.
    """
    sizes = units.a[:, 1]
    m = float(sizes.sum() ** 2 / (sizes @ sizes))
    half = 1 - ((1 - ask.confidence) / 2) ** (1 / m)
    return PairedDifference(
        metric=ask.metric.text,
        value_a=values[0],
        value_b=values[1],
        delta=0.0,
        low=-half,
        high=half,
        p_value=1.0,
        n=n,
        method="cluster-sign-flip",
        confidence=ask.confidence,
        margin=ask.margin,
        p_not_worse=None if ask.margin is None else (1 - ask.margin) ** m,
        n_a_only=only[0],
        n_b_only=only[1],
    )


def _no_test(values: tuple[float, float], n_units: int, unit: str, metric: MetricRef) -> str | None:
    """Why there is neither interval nor test; None when there is."""
    if any(math.isnan(value) for value in values):
        side = "A" if math.isnan(values[0]) else "B"
        return {
            "precision": f"{side} never answered {metric.of}",
            "auto_accuracy": f"{side} would auto-accept nothing",
        }.get(metric.name, f"undefined for {side}")
    return f"one {unit} shows no spread" if n_units < 2 else None
