"""Recall and precision of a rare class from actively drawn audits."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from evaluation._arrays import (
    BoolArray,
    FloatArray,
    as_bools,
    as_floats,
    as_probabilities,
    check_level,
    same_length,
)
from evaluation._design_intervals import fay_feuer_interval
from evaluation._ratio_intervals import RatioSample, aipw_ratio
from evaluation.audit_intervals import check_inclusion
from evaluation.audits import fill_to_total
from evaluation.intervals import Estimate, undefined
from labelproof.spec.errors import ConfigError

METHOD = "active aipw ratio"


def active_probabilities(score: npt.ArrayLike, *, n: float, uniform: float = 0.2) -> FloatArray:
    """Inclusion probabilities (N,) in (0, 1] that sum to ``n``: proportional to ``score``, mixed with uniform.

    ``score`` (N,) >= 0, for recall and precision best sqrt(p(1-p)) with p the model's probability of the
    class. Every item keeps at least ``uniform`` x n/N, in (0, 1], which bounds the weight of a positive that
    the model was sure is none (Zrnic & Candès 2024, Active statistical inference). All scores 0: uniform.
    """
    s = as_floats(score, "score")
    if (s < 0).any():
        first = int(np.flatnonzero(s < 0)[0])
        raise ConfigError(f"score: expected values >= 0, found {s[first]:g} at index {first}")
    if not 0 < n <= s.size:
        raise ConfigError(f"n: expected more than 0 and at most {s.size} audits, found {n:g}")
    if not 0 < uniform <= 1:
        raise ConfigError(f"uniform: expected a share in (0, 1], found {uniform:g}")
    total = float(s.sum())
    part = s / total if total > 0 else np.full(s.size, 1 / s.size)
    wanted = (1 - uniform) * part + uniform / s.size
    return fill_to_total(wanted, float(n), np.zeros(s.size), np.ones(s.size))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Audit:
    """Checked arrays: audited items (n,) and the population (N,); ``guess`` is 0 without probabilities."""

    truth: BoolArray
    predicted: BoolArray
    pi: FloatArray
    guess: FloatArray
    predicted_all: BoolArray
    guess_all: FloatArray


def class_recall(
    is_class: npt.ArrayLike,
    predicted: npt.ArrayLike,
    inclusion_prob: npt.ArrayLike,
    *,
    predicted_all: npt.ArrayLike,
    probability: npt.ArrayLike | None = None,
    probability_all: npt.ArrayLike | None = None,
    never_sampled_n: int = 0,
    confidence: float = 0.95,
) -> Estimate:
    """Of the items that are of the class, the share that the model gave this label.

    ``is_class`` (n,) what the audit found, ``predicted`` (n,) whether the model gave the class's label,
    ``inclusion_prob`` (n,); ``predicted_all`` (N,) for the whole population. ``probability`` (n,) and
    ``probability_all`` (N,), the model's probability of the class, sharpen the estimate and need not be
    calibrated. Reviewed items belong in with inclusion probability 1.

    No value, with the reason: when ``never_sampled_n`` items had no chance of being audited (their share of
    the class is unknown), when no positive was found, when no item with another label was audited. With only
    hits or only misses among the positives the open end is a Poisson bound at the largest weight.
    """
    audit = _checked(is_class, predicted, inclusion_prob, predicted_all, probability, probability_all)
    check_level(confidence)
    n = audit.truth.size
    refusal = _refusal(n, never_sampled_n)
    if refusal is None and not audit.truth.any():
        refusal = f"no item of the class among {n} audited: recall cannot be told"
    elif refusal is None and not audit.predicted_all.all() and audit.predicted.all():
        refusal = "no item with another label was audited: missed items cannot be seen"
    if refusal is not None:
        return undefined(METHOD, n, refusal)
    hit = audit.truth & audit.predicted
    if hit.sum() in {0, audit.truth.sum()}:
        return _one_sided(audit, hit, confidence)
    sample = RatioSample(
        numerator=hit.astype(np.float64),
        denominator=audit.truth.astype(np.float64),
        model_numerator=audit.guess * audit.predicted,
        model_denominator=audit.guess,
        model_numerator_total=float(audit.guess_all[audit.predicted_all].sum()),
        model_denominator_total=float(audit.guess_all.sum()),
        weight=1 / audit.pi,
        chance=1 - audit.pi,
        hit_possible=audit.predicted,
        miss_possible=~audit.predicted,
    )
    value, low, high = aipw_ratio(sample, confidence)
    return Estimate(value=value, low=low, high=high, n=n, method=METHOD)


def class_precision(
    is_class: npt.ArrayLike,
    predicted: npt.ArrayLike,
    inclusion_prob: npt.ArrayLike,
    *,
    predicted_all: npt.ArrayLike,
    probability: npt.ArrayLike | None = None,
    probability_all: npt.ArrayLike | None = None,
    never_sampled_n: int = 0,
    confidence: float = 0.95,
) -> Estimate:
    """Of the items that the model gave the class's label, the share that is of the class.

    Arrays as in :func:`class_recall`; ``n`` counts the audited items with that label. ``never_sampled_n``
    counts items with that label which had no chance of being audited. With fewer than one right or one
    wrong item among them the interval is Fay-Feuer's.
    """
    audit = _checked(is_class, predicted, inclusion_prob, predicted_all, probability, probability_all)
    check_level(confidence)
    mine = audit.predicted
    n = int(mine.sum())
    refusal = _refusal(audit.truth.size, never_sampled_n)
    if refusal is None and n == 0:
        refusal = "no item with the class's label was audited: precision cannot be told"
    if refusal is not None:
        return undefined(METHOD, n, refusal)
    right, pi = audit.truth[mine], audit.pi[mine]
    if right.all() or not right.any():
        value = float(right[0])
        if (pi == 1).all() and n == int(audit.predicted_all.sum()):
            return Estimate(value=value, low=value, high=value, n=n, method="census")
        weight = (1 / pi) / float(np.sum(1 / pi))
        low, high = fay_feuer_interval(right, weight, np.ones(n, dtype=np.bool_), confidence)
        return Estimate(value=value, low=max(0.0, low), high=min(1.0, high), n=n, method="fay-feuer")
    sample = RatioSample(
        numerator=right.astype(np.float64),
        denominator=np.ones(n),
        model_numerator=audit.guess[mine],
        model_denominator=np.ones(n),
        model_numerator_total=float(audit.guess_all[audit.predicted_all].sum()),
        model_denominator_total=float(audit.predicted_all.sum()),
        weight=1 / pi,
        chance=1 - pi,
        hit_possible=np.ones(n, dtype=np.bool_),
        miss_possible=np.ones(n, dtype=np.bool_),
    )
    value, low, high = aipw_ratio(sample, confidence)
    return Estimate(value=value, low=low, high=high, n=n, method=METHOD)


def _checked(
    is_class: npt.ArrayLike,
    predicted: npt.ArrayLike,
    inclusion_prob: npt.ArrayLike,
    predicted_all: npt.ArrayLike,
    probability: npt.ArrayLike | None,
    probability_all: npt.ArrayLike | None,
) -> _Audit:
    truth, label = as_bools(is_class, "is_class"), as_bools(predicted, "predicted")
    everyone, pi = as_bools(predicted_all, "predicted_all"), check_inclusion(inclusion_prob)
    if (probability is None) != (probability_all is None):
        raise ConfigError("expected probability and probability_all together, found one of them")
    guess, guess_all = np.zeros(truth.size), np.zeros(everyone.size)
    if probability is not None and probability_all is not None:
        guess = as_probabilities(probability, "probability")
        guess_all = as_probabilities(probability_all, "probability_all")
    same_length(is_class=truth, predicted=label, inclusion_prob=pi, probability=guess)
    same_length(predicted_all=everyone, probability_all=guess_all)
    for name, audited, population in (
        ("with the class's label", int(label.sum()), int(everyone.sum())),
        ("with another label", int((~label).sum()), int((~everyone).sum())),
    ):
        if audited > population:
            raise ConfigError(
                f"expected at most the population's {population} items {name} audited, found {audited}",
                hint="pass the label of every item of the population, and each audited item once",
            )
    return _Audit(
        truth=truth, predicted=label, pi=pi, guess=guess, predicted_all=everyone, guess_all=guess_all
    )


def _refusal(audited_n: int, never_sampled_n: int) -> str | None:
    if audited_n == 0:
        return "no audited items"
    if never_sampled_n > 0:
        return (
            f"{never_sampled_n} items had no chance of being audited (sent to review and not answered, or"
            " rejected): how many of them are of the class is unknown"
        )
    return None


def _one_sided(audit: _Audit, hit: BoolArray, level: float) -> Estimate:
    """Recall when all positives found are hits, or all are misses: how many of the other kind escaped."""
    found = float(np.sum(audit.truth / audit.pi))
    all_hits = bool(hit.any())
    other = ~audit.predicted if all_hits else audit.predicted
    by_chance = audit.pi[other & (audit.pi < 1)]
    population = int((~audit.predicted_all).sum() if all_hits else audit.predicted_all.sum())
    largest = 1 / float(by_chance.min()) if by_chance.size else 1 / float(audit.pi.min())
    escaped = min(float(population - int(other.sum())), -math.log((1 - level) / 2) * largest)
    share = escaped / (found + escaped)
    value, low, high = (1.0, 1 - share, 1.0) if all_hits else (0.0, 0.0, share)
    return Estimate(value=value, low=low, high=high, n=audit.truth.size, method="poisson bound")
