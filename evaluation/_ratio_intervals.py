"""A ratio of two population totals from Poisson-sampled items, helped by a model's guess for all items."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from evaluation._arrays import BoolArray, FloatArray


@dataclass(frozen=True, slots=True, kw_only=True)
class RatioSample:
    """Per audited item (n,): numerator, denominator, the model's guess of both, weight 1/pi, chance 1-pi.

    ``hit_possible`` / ``miss_possible`` (n,): where one more event would enter the numerator / the denominator
    alone. ``model_numerator_total`` and ``model_denominator_total`` are the guesses summed over the population.
    """

    numerator: FloatArray
    denominator: FloatArray
    model_numerator: FloatArray
    model_denominator: FloatArray
    model_numerator_total: float
    model_denominator_total: float
    weight: FloatArray
    chance: FloatArray
    hit_possible: BoolArray
    miss_possible: BoolArray

    def ratio(self, lam: float) -> float | None:
        """(lam guess + correction) of the numerator by the same of the denominator; None outside (0, 1)."""
        top = lam * self.model_numerator_total + float(
            self.weight @ (self.numerator - lam * self.model_numerator)
        )
        bottom = self.bottom(lam)
        return top / bottom if 0 < top < bottom else None

    def bottom(self, lam: float) -> float:
        """The denominator's estimated population total."""
        return lam * self.model_denominator_total + float(
            self.weight @ (self.denominator - lam * self.model_denominator)
        )


def aipw_ratio(sample: RatioSample, level: float) -> tuple[float, float, float]:
    """(value, low, high) of a ratio whose plain estimate lies inside (0, 1).

    Augmented inverse-probability weighting, Robins, Rotnitzky & Zhao (1994), as active inference uses it:
    Zrnic & Candès (2024), Active statistical inference, with power tuning (lam in [0, 1], 0 = inverse-probability weighting
    alone). Variance by linearisation of Poisson sampling: sum of w^2 (1 - pi) e^2, e = a - R d less the guess.
    Interval: logit(R) +- t se / (R(1-R)), the variance raised by one hit and one miss more, each placed at an
    audited item taken at random from those where it could be; t with Satterthwaite's degrees of freedom, raised
    variance^2 / sum of squared terms, so that a result resting on a few heavy items says so. With z and without
    the two, coverage was .81 to .90 in pools whose misses sit at high confidence: when no heavy miss has been
    drawn, the sample does not show that there are any.
    """
    from scipy.special import expit, logit, stdtrit

    first = sample.ratio(0.0)
    assert first is not None, "the caller handles ratios of 0 and 1"
    factor = sample.chance * sample.weight**2
    lam = _power(sample, first, factor)
    value = sample.ratio(lam)
    if value is None:
        lam, value = 0.0, first
    plain = sample.numerator - value * sample.denominator
    guess = sample.model_numerator - value * sample.model_denominator
    terms = factor * (plain - lam * guess) ** 2
    total = float(terms.sum())
    if total == 0:
        return value, value, value
    more = (1 - value) ** 2 * _mean(factor[sample.hit_possible])
    more += value**2 * _mean(factor[sample.miss_possible])
    degrees = (total + more) ** 2 / float(np.sum(terms**2))
    half = float(stdtrit(degrees, (1 + level) / 2)) * math.sqrt(total + more) / abs(sample.bottom(lam))
    half /= value * (1 - value)
    centre = float(logit(value))
    return value, float(expit(centre - half)), float(expit(centre + half))


def _mean(values: FloatArray) -> float:
    return float(values.mean()) if values.size else 0.0


def _power(sample: RatioSample, ratio: float, factor: FloatArray) -> float:
    """The share of the model's guess that makes the linearised variance least."""
    plain = sample.numerator - ratio * sample.denominator
    guess = sample.model_numerator - ratio * sample.model_denominator
    spread = float(factor @ guess**2)
    return min(1.0, max(0.0, float(factor @ (plain * guess)) / spread)) if spread > 0 else 0.0
