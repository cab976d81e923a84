"""How the answer of a paired test is put together, whichever test it was."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from evaluation._arrays import FloatArray
from evaluation.paired import PairedDifference, PairedMethod
from evaluation.paired_metrics import MEANS
from labelproof.spec.metrics import MetricRef

POWER = 0.8
TIE = 1e-12
"""Differences below this are rounding."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
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


def t_result(
    values: tuple[float, float],
    error: float,
    df: int,
    ask: Ask,
    *,
    n: int,
    method: PairedMethod,
    p_value: float | None,
    only: tuple[int | None, int | None] = (None, None),
) -> PairedDifference:
    """Student's t interval, and its test where no better one is given, from a standard error with ``df``."""
    from scipy.special import stdtr, stdtrit  # scipy.stats takes a second to import

    delta = values[1] - values[0]
    most = math.inf if ask.metric.name in MEANS else 1.0
    half = float(stdtrit(df, 0.5 + ask.confidence / 2)) * error
    not_worse = None
    if ask.margin is not None:
        not_worse = float(stdtr(df, -(ask.sign * delta + ask.margin) / error))
    return PairedDifference(
        metric=ask.metric.text,
        value_a=values[0],
        value_b=values[1],
        delta=delta,
        low=max(-most, delta - half),
        high=min(most, delta + half),
        p_value=float(2 * stdtr(df, -abs(delta) / error)) if p_value is None else p_value,
        n=n,
        method=method,
        confidence=ask.confidence,
        margin=ask.margin,
        p_not_worse=not_worse,
        detectable=detectable_from(error, ask.confidence),
        n_a_only=only[0],
        n_b_only=only[1],
    )


def untested(
    values: tuple[float, float],
    ask: Ask,
    n: int,
    method: PairedMethod,
    reason: str,
    *,
    only: tuple[int | None, int | None] = (None, None),
) -> PairedDifference:
    """The values without interval and test, for the reason given; a NaN is a value that is undefined."""
    a, b = (None if math.isnan(value) else value for value in values)
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
        n_a_only=only[0],
        n_b_only=only[1],
        reason=f"{reason}: no interval",
    )


def detectable_from(error: float, confidence: float) -> float:
    """What is found with 80 % power: 2.8 standard errors at 95 % confidence."""
    normal = NormalDist()
    return (normal.inv_cdf(0.5 + confidence / 2) + normal.inv_cdf(POWER)) * error


def share_as_far(replicates: FloatArray, delta: float) -> float:
    """Two-sided p of a randomisation test, what was seen counted in (Phipson & Smyth 2010)."""
    known = replicates[~np.isnan(replicates)]
    return (1 + int(np.sum(np.abs(known) >= abs(delta) - TIE))) / (1 + known.size)
