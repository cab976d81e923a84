"""What B costs beside A in money and time: paired t of the means, and the ratio of the costs."""

from __future__ import annotations

import math

import numpy as np

from evaluation._arrays import check_level
from evaluation._paired_results import TIE, Ask, t_result, untested
from evaluation.paired import PairedAnswers, PairedDifference
from evaluation.paired_metrics import amounts_of, known_amounts
from labelproof.spec.metrics import MetricRef


def difference_of_means(answers: PairedAnswers, ask: Ask) -> PairedDifference:
    """Paired t of money or time; under unequal weights of the weighted mean, linearised."""
    a, b = known_amounts(answers, ask.metric)
    weight = np.ones(answers.n) if answers.weight is None else answers.weight
    share = weight / weight.sum()
    values = float(share @ a), float(share @ b)
    n = answers.n
    if n < 2:
        return untested(values, ask, n, "paired-t", "one item shows no spread")
    step = b - a
    if np.ptp(step) <= TIE * max(1.0, float(np.abs(step).max())):
        return _of_equal_steps(values, ask, n)
    influence = share * (step - (values[1] - values[0]))
    error = math.sqrt(n / (n - 1) * float(influence @ influence))
    return t_result(values, error, n - 1, ask, n=n, method="paired-t", p_value=None)


def _of_equal_steps(values: tuple[float, float], ask: Ask, n: int) -> PairedDifference:
    """Every item differs by the same amount: a fact about a price, so the interval is the point.

    The tests are then the sign-flip test's: of 2^n ways to exchange A and B, one (two) lie as far out.
    """
    delta, halves = values[1] - values[0], min(n, 1000)
    not_worse = None
    if ask.margin is not None:
        not_worse = 2.0**-halves if ask.sign * delta > -ask.margin else 1.0
    return PairedDifference(
        metric=ask.metric.text,
        value_a=values[0],
        value_b=values[1],
        delta=delta,
        low=delta,
        high=delta,
        p_value=1.0 if delta == 0 else 2.0 ** (1 - halves),
        n=n,
        method="paired-t",
        confidence=ask.confidence,
        margin=ask.margin,
        p_not_worse=not_worse,
    )


def amount_name(metric: MetricRef) -> str:
    return "cost" if metric.name == "cost_per_1k_usd" else "latency"


def with_known_amounts(answers: PairedAnswers, metric: MetricRef) -> PairedAnswers:
    """The items whose cost or latency both sides know."""
    amounts = amounts_of(answers, metric)
    assert amounts is not None
    known = np.isfinite(amounts[0]) & np.isfinite(amounts[1])
    return answers if known.all() else answers.only(known)


def cost_ratio(
    answers: PairedAnswers, confidence: float = 0.95
) -> tuple[float | None, float, float | None] | None:
    """B's cost as a multiple of A's: (low, value, high); None when a side's cost is not known or only A costs nothing.

    The interval is a t interval of the log ratio, linearised over items, or over clusters where there are some
    (None, value, None) for a single one. Items whose cost is not known on both sides are left out. When both cost
    nothing, or B does, that is a fact about prices: the interval is the point (1, or 0).
    """
    from scipy.special import stdtrit

    check_level(confidence)
    metric = MetricRef(name="cost_per_1k_usd")
    if answers.n == 0 or amounts_of(answers, metric) is None:
        return None
    known = with_known_amounts(answers, metric)
    if known.n == 0:
        return None
    a, b = known_amounts(known, metric)
    if known.weight is not None:
        a, b = a * known.weight, b * known.weight
    if known.cluster is not None:
        place = np.unique(known.cluster, return_inverse=True)[1]
        a, b = (np.bincount(place, weights=side).astype(np.float64) for side in (a, b))
    total_a, total_b = float(a.sum()), float(b.sum())
    if total_b <= 0:
        value = 0.0 if total_a > 0 else 1.0
        return value, value, value
    if total_a <= 0:
        return None
    value, n = total_b / total_a, len(a)
    if n < 2:
        return None, value, None
    influence = b / total_b - a / total_a
    error = math.sqrt(n / (n - 1) * float(influence @ influence))
    factor = math.exp(float(stdtrit(n - 1, 0.5 + confidence / 2)) * error)
    return value / factor, value, value * factor
