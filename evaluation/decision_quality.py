"""How often automatic decisions were right, from audits: the method is chosen here, and every assumption listed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from evaluation._arrays import BoolArray, FloatArray, as_bools, as_probabilities, same_length
from evaluation.audit_intervals import check_inclusion, complement, error_rate
from evaluation.audits import DEFAULT_STRATA, AuditStrata, audit_strata
from evaluation.intervals import Estimate

_AUDITS_PER_STRATUM = 20

_METHODS = {
    "none": "nothing was audited",
    "census": "every item was audited: no sampling error",
    "wilson": "simple random sample, Wilson interval",
    "clopper-pearson": "simple random sample, exact Clopper-Pearson interval",
    "hypergeometric": "simple random sample of a known population, exact hypergeometric interval",
    "korn-graubard": "audits weighted by their inclusion probability{strata}; Korn-Graubard interval",
    "fay-feuer": "audits weighted by their inclusion probability{strata}; Fay-Feuer gamma interval,"
    " made for very few errors (or very few correct items)",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditedStratum:
    """Items with confidence in [low, high), the last [low, 1]: how many there are, were audited, and were found wrong."""

    low: float
    high: float
    population_n: int
    audited_n: int
    wrong_n: int


@dataclass(frozen=True, slots=True, kw_only=True)
class QualityEstimate:
    """The rate of right decisions (``correct``) and its complement (``error``), with what they rest on.

    ``method`` in plain words, ``assumptions`` one sentence each, ``strata`` from low to high confidence.
    """

    correct: Estimate
    error: Estimate
    audited_n: int
    wrong_n: int
    population_n: int
    strata: tuple[AuditedStratum, ...]
    method: str
    assumptions: tuple[str, ...]


def decision_quality(
    wrong: npt.ArrayLike,
    inclusion_prob: npt.ArrayLike,
    confidence: npt.ArrayLike,
    *,
    population_confidence: npt.ArrayLike,
    level: float = 0.95,
) -> QualityEstimate:
    """The share of right decisions among N auto-accepted items, from n audited ones.

    ``wrong``, ``inclusion_prob``, ``confidence`` (n,) belong to audited items, ``population_confidence``
    (N,) to all auto-accepted items, the audited ones included. The estimate is post-stratified by
    confidence: five strata at quantiles of the population, one per twenty audits when there are fewer.
    That needs nothing from the confidence but its order, is never far from a plain random sample when it
    is useless, and gains about what predictions could (PPI++) when it is good; the strata need not be
    those of the audit plan, and plans may have changed meanwhile. See :func:`error_rate` for intervals.
    """
    y, pi = as_bools(wrong, "wrong"), check_inclusion(inclusion_prob)
    c = as_probabilities(confidence, "confidence")
    pool = as_probabilities(population_confidence, "population_confidence")
    n = same_length(wrong=y, inclusion_prob=pi, confidence=c)
    if pool.size == 0:
        error = error_rate(y, pi, population_n=0, confidence=level)
        strata = AuditStrata(edges=(), sizes=(0,))
    else:
        wanted = min(DEFAULT_STRATA, max(1, n // _AUDITS_PER_STRATUM))
        strata = audit_strata(pool, n_strata=wanted)
        error = _post_stratified(y, pi, c, strata, level)
    return QualityEstimate(
        correct=complement(error),
        error=error,
        audited_n=n,
        wrong_n=int(y.sum()),
        population_n=pool.size,
        strata=_rows(y, c, strata),
        method=_in_words(error.method, len(strata.sizes)),
        assumptions=_assumptions(error, pi, pool.size, len(strata.sizes)),
    )


def _post_stratified(
    y: BoolArray, pi: FloatArray, c: FloatArray, strata: AuditStrata, level: float
) -> Estimate:
    if len(strata.sizes) == 1:
        return error_rate(y, pi, population_n=strata.sizes[0], confidence=level)
    return error_rate(y, pi, stratum=strata.codes(c), stratum_sizes=strata.sizes, confidence=level)


def _rows(y: BoolArray, c: FloatArray, strata: AuditStrata) -> tuple[AuditedStratum, ...]:
    codes = strata.codes(c)
    audited = np.bincount(codes, minlength=len(strata.sizes))
    wrong = np.bincount(codes, weights=y, minlength=len(strata.sizes))
    ends = (0.0, *strata.edges, 1.0)
    return tuple(
        AuditedStratum(
            low=ends[h],
            high=ends[h + 1],
            population_n=size,
            audited_n=int(audited[h]),
            wrong_n=int(wrong[h]),
        )
        for h, size in enumerate(strata.sizes)
        if size
    )


def _in_words(method: str, n_strata: int) -> str:
    strata = f" within {n_strata} strata of confidence" if n_strata > 1 else ""
    return _METHODS[method].format(strata=strata)


def _assumptions(error: Estimate, pi: FloatArray, population_n: int, n_strata: int) -> tuple[str, ...]:
    """What has to be true for the interval to hold, for a reader who does not know the methods."""
    if error.value is None:
        return ()
    found = f"{pi.min():.3g}" if np.ptp(pi) == 0 else f"{pi.min():.3g} to {pi.max():.3g}"
    drawn = (
        "each automatic decision was drawn for audit on its own, by chance alone, with the probability stored"
        f" when it was routed ({found})"
    )
    listed = [
        drawn,
        "every drawn item was checked; if some still wait, they are wrong no more often than the checked ones",
        "what the auditor said is right, and the auditor did not see the model's label",
        f"the {population_n} confidences given are those of all automatic decisions meant, each counted once",
        "the answer is about these decisions: not about items sent to review, and not about future items",
    ]
    if n_strata > 1:
        listed.append(
            "confidence is only used to group items: it may be wrong without making the interval wrong"
        )
    if error.reason is not None:
        listed.append(error.reason)
    return tuple(listed)
