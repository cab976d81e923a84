"""Is B better than A on the same items? One metric at a time, by the test that fits the metric and the sample.

* shares of items (accuracy, recall of a class, failed_rate, auto_accept_rate): mid-p McNemar and Tango's interval;
* macro-F1, F1, precision, auto_accuracy, and everything under unequal weights: paired bootstrap of the interval, and
  a randomisation test that exchanges A's and B's answer of an item;
* cost and latency: paired t;
* items in clusters (author, thread): A and B are exchanged in whole clusters, the interval is a t interval from leaving
  out one cluster at a time.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from statistics import NormalDist

import numpy as np

from evaluation._arrays import FloatArray, check_level
from evaluation._paired_units import Units, clusters_of_items, kinds_of_items
from evaluation.mcnemar import mcnemar_mid_p, tango_interval, tango_z
from evaluation.paired import NO_ANSWER, BoolArray, PairedAnswers, PairedDifference, PairedMethod
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

MOST_ENUMERATED_CLUSTERS = 12
_POWER = 0.8
_TIE = 1e-12


@dataclass(frozen=True, slots=True, kw_only=True)
class _Ask:
    """What is asked about one metric. ``sign``: +1 when more is better, -1 when less is."""

    metric: MetricRef
    confidence: float
    margin: float | None
    seed: int
    resamples: int

    @property
    def sign(self) -> float:
        return -1.0 if self.metric.lower_is_better else 1.0

    def unmeasured(self, n: int, reason: str) -> PairedDifference:
        return PairedDifference(
            metric=self.metric.text, value_a=None, value_b=None, delta=None, low=None, high=None, p_value=None, n=n,
            method="not-measurable", confidence=self.confidence, margin=self.margin, reason=reason,
        )  # fmt: skip


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
    ``resamples``: of the bootstrap, the randomisation and the sign flips, reproducible by ``seed``. What cannot be measured
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
    ask = _Ask(metric=metric, confidence=confidence, margin=margin, seed=seed, resamples=resamples)
    if metric.name in PER_CLASS:
        class_column(metric, answers.classes)
    reason = _why_not(answers, metric)
    if reason is not None:
        return ask.unmeasured(0, reason)
    if answers.weight is not None and np.ptp(answers.weight) == 0:
        answers = _unweighted(answers)
    if metric.name in MEANS:
        answers = _with_amounts(answers, metric)
        if answers.n == 0:
            return ask.unmeasured(0, f"no item with a known {_amount_name(metric)} on both sides")
    spoken = _speaks_of(answers, metric)
    if not spoken.any():
        return ask.unmeasured(0, _nothing_to_speak_of(metric))
    if answers.cluster is not None:
        return _of_clusters(answers, ask, int(spoken.sum()))
    if metric.name in MEANS:
        return _of_means(kinds_of_items(answers, metric), ask)
    if metric.name in SHARES and answers.weight is None:
        return _of_shares(answers, ask, spoken)
    return _of_kinds(answers, ask, int(spoken.sum()))


def _why_not(answers: PairedAnswers, metric: MetricRef) -> str | None:
    if answers.n == 0:
        return "no items"
    if metric.needs_gold and answers.gold is None:
        return "no gold: which labels are right is unknown"
    if metric.name in MEANS and amounts_of(answers, metric) is None:
        return f"the {_amount_name(metric)} of at least one side is not known"
    return None


def _amount_name(metric: MetricRef) -> str:
    return "cost" if metric.name == "cost_per_1k_usd" else "latency"


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


def _with_amounts(answers: PairedAnswers, metric: MetricRef) -> PairedAnswers:
    """The items whose cost or latency both sides know."""
    amounts = amounts_of(answers, metric)
    assert amounts is not None
    known = np.isfinite(amounts[0]) & np.isfinite(amounts[1])
    return answers if known.all() else answers.only(known)


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


def _of_shares(answers: PairedAnswers, ask: _Ask, spoken: BoolArray) -> PairedDifference:
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
        detectable=detectable_effect(n=n, discordance=discordance, alpha=1 - ask.confidence, power=_POWER),
        n_a_only=right_a,
        n_b_only=right_b,
    )


def _of_kinds(answers: PairedAnswers, ask: _Ask, n: int) -> PairedDifference:
    """Bootstrap interval and randomisation p-value over kinds of items."""
    units = kinds_of_items(answers, ask.metric)
    rng = np.random.default_rng(ask.seed)
    if units.n < 2:
        return _partly(units, ask, n, "paired-bootstrap", "one item shows no spread")
    drawn = units.resampled(ask.resamples, rng)
    drawn = drawn[~np.isnan(drawn)]
    value_a, value_b = units.values()
    if math.isnan(value_a) or math.isnan(value_b):
        return _partly(units, ask, n, "paired-bootstrap", _side_undefined(ask.metric, value_a))
    if drawn.size < 0.9 * ask.resamples:
        return _partly(units, ask, n, "paired-bootstrap", "undefined in more than a tenth of the resamples")
    if np.ptp(drawn) < _TIE:
        return _partly(units, ask, n, "paired-bootstrap", "A and B are equal in every resample")
    low, high = np.quantile(drawn, [(1 - ask.confidence) / 2, (1 + ask.confidence) / 2])
    delta = value_b - value_a
    not_worse = None
    if ask.margin is not None:
        worse = ask.sign * drawn <= -ask.margin
        not_worse = (1 + int(worse.sum())) / (1 + drawn.size)
    a_only, b_only = _only_counts(answers, ask.metric)
    return PairedDifference(
        metric=ask.metric.text,
        value_a=value_a,
        value_b=value_b,
        delta=delta,
        low=min(float(low), delta),
        high=max(float(high), delta),
        p_value=_share_as_far(units.swapped(ask.resamples, rng), delta),
        n=n,
        method="paired-bootstrap",
        confidence=ask.confidence,
        margin=ask.margin,
        p_not_worse=not_worse,
        detectable=_detectable(float(drawn.std(ddof=1)), ask.confidence),
        n_a_only=a_only,
        n_b_only=b_only,
    )


def _of_clusters(answers: PairedAnswers, ask: _Ask, n: int) -> PairedDifference:
    """Sign flips of whole clusters, and the t interval of the cluster jackknife."""
    units = clusters_of_items(answers, ask.metric)
    value_a, value_b = units.values()
    if math.isnan(value_a) or math.isnan(value_b):
        return _partly(units, ask, n, "cluster-sign-flip", _side_undefined(ask.metric, value_a))
    if units.n < 2:
        return _partly(units, ask, n, "cluster-sign-flip", "one cluster shows no spread between clusters")
    delta = value_b - value_a
    if units.n <= MOST_ENUMERATED_CLUSTERS:
        flipped = units.swapped_every_way()
        flipped = flipped[~np.isnan(flipped)]
        p_value = float(np.mean(np.abs(flipped) >= abs(delta) - _TIE))
    else:
        p_value = _share_as_far(units.swapped(ask.resamples, np.random.default_rng(ask.seed)), delta)
    a_only, b_only = _only_counts(answers, ask.metric)
    return _with_t(
        units, ask, n=n, method="cluster-sign-flip", p_value=p_value, n_a_only=a_only, n_b_only=b_only
    )


def _of_means(units: Units, ask: _Ask) -> PairedDifference:
    if units.n < 2:
        return _partly(units, ask, units.n, "paired-t", "one item shows no spread")
    steps = (units.b - units.a)[:, 0] / units.a[:, 1]
    if np.ptp(steps) <= _TIE * max(1.0, float(np.abs(steps).max())):
        return _of_equal_steps(units, ask)
    return _with_t(units, ask, n=units.n, method="paired-t", p_value=None)


def _of_equal_steps(units: Units, ask: _Ask) -> PairedDifference:
    """Every item differs by the same amount: a fact about a price, so the interval is the point.

    The tests are then the sign-flip test's: of 2^n ways to exchange A and B, one (two) lie as far out.
    """
    value_a, value_b = units.values()
    delta, halves = value_b - value_a, min(units.n, 1000)
    not_worse = None
    if ask.margin is not None:
        not_worse = 2.0**-halves if ask.sign * delta > -ask.margin else 1.0
    return PairedDifference(
        metric=ask.metric.text,
        value_a=value_a,
        value_b=value_b,
        delta=delta,
        low=delta,
        high=delta,
        p_value=1.0 if delta == 0 else 2.0 ** (1 - halves),
        n=units.n,
        method="paired-t",
        confidence=ask.confidence,
        margin=ask.margin,
        p_not_worse=not_worse,
    )


def _with_t(
    units: Units,
    ask: _Ask,
    *,
    n: int,
    method: PairedMethod,
    p_value: float | None,
    n_a_only: int | None = None,
    n_b_only: int | None = None,
) -> PairedDifference:
    """Student's t interval and test from the jackknife over units, units - 1 degrees of freedom."""
    from scipy.stats import t

    value_a, value_b = units.values()
    delta, error, df = value_b - value_a, units.jackknife_error(), units.n - 1
    if not error > _TIE * max(1.0, abs(value_a), abs(value_b)):
        reason = f"{'clusters' if method == 'cluster-sign-flip' else 'items'} all show the same difference"
        return _partly(units, ask, n, method, reason, n_a_only=n_a_only, n_b_only=n_b_only)
    half = float(t.ppf(0.5 + ask.confidence / 2, df)) * error
    not_worse = None
    if ask.margin is not None:
        not_worse = float(t.sf((ask.sign * delta + ask.margin) / error, df))
    return PairedDifference(
        metric=ask.metric.text,
        value_a=value_a,
        value_b=value_b,
        delta=delta,
        low=delta - half,
        high=delta + half,
        p_value=float(2 * t.sf(abs(delta) / error, df)) if p_value is None else p_value,
        n=n,
        method=method,
        confidence=ask.confidence,
        margin=ask.margin,
        p_not_worse=not_worse,
        detectable=_detectable(error, ask.confidence),
        n_a_only=n_a_only,
        n_b_only=n_b_only,
    )


def _partly(
    units: Units,
    ask: _Ask,
    n: int,
    method: PairedMethod,
    reason: str,
    *,
    n_a_only: int | None = None,
    n_b_only: int | None = None,
) -> PairedDifference:
    """The values without interval and test, for the reason given."""
    a, b = (None if math.isnan(value) else value for value in units.values())
    return PairedDifference(
        metric=ask.metric.text,
        value_a=a,
        value_b=b,
        delta=None if a is None or b is None else b - a,
        low=None,
        high=None,
        p_value=None,
        n=n,
        method=method,
        confidence=ask.confidence,
        margin=ask.margin,
        n_a_only=n_a_only,
        n_b_only=n_b_only,
        reason=f"{reason}: no interval",
    )


def _side_undefined(metric: MetricRef, value_a: float) -> str:
    side = "A" if math.isnan(value_a) else "B"
    return {
        "precision": f"{side} never answered {metric.of}",
        "auto_accuracy": f"{side} would auto-accept nothing",
    }.get(metric.name, f"undefined for {side}")


def _share_as_far(replicates: FloatArray, delta: float) -> float:
    """Two-sided p of a randomisation test, what was seen counted in (Phipson & Smyth 2010)."""
    known = replicates[~np.isnan(replicates)]
    return (1 + int(np.sum(np.abs(known) >= abs(delta) - _TIE))) / (1 + known.size)


def _detectable(error: float, confidence: float) -> float:
    """What is found with 80 % power: 2.8 standard errors at 95 % confidence."""
    normal = NormalDist()
    return (normal.inv_cdf(0.5 + confidence / 2) + normal.inv_cdf(_POWER)) * error


def cost_ratio(
    answers: PairedAnswers, confidence: float = 0.95
) -> tuple[float | None, float, float | None] | None:
    """B's cost as a multiple of A's: (low, value, high); None when a side's cost is not known or only A costs nothing.

    The interval is a t interval of the log ratio, linearised over items, or over clusters where there are some
    (None, value, None) for a single one. Items whose cost is not known on both sides are left out. When both cost
    nothing, or B does, that is a fact about prices: the interval is the point (1, or 0).
    """
    from scipy.stats import t

    check_level(confidence)
    metric = MetricRef(name="cost_per_1k_usd")
    if _why_not(answers, metric) is not None:
        return None
    known = _with_amounts(answers, metric)
    if known.n == 0:
        return None
    units = kinds_of_items(known, metric) if known.cluster is None else clusters_of_items(known, metric)
    a, b = units.a[:, 0], units.b[:, 0]
    total_a, total_b = float(a.sum()), float(b.sum())
    if total_b <= 0:
        value = 0.0 if total_a > 0 else 1.0
        return value, value, value
    if total_a <= 0:
        return None
    value = total_b / total_a
    if units.n < 2:
        return None, value, None
    influence = b / total_b - a / total_a
    error = math.sqrt(units.n / (units.n - 1) * float(influence @ influence))
    factor = math.exp(float(t.ppf(0.5 + confidence / 2, units.n - 1)) * error)
    return value / factor, value, value * factor
