"""Error rates sharpened by predictions for the items nobody checked (PPI++)."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from evaluation._arrays import FloatArray, as_bools, as_probabilities, check_level, same_length
from evaluation._design_intervals import binomial_interval
from evaluation.audit_intervals import check_inclusion, error_rate
from evaluation.intervals import Estimate

LEAST_EVENTS = 10
"""PPI++ needs this many errors and correct items: its variance is learnt from them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PpiMoments:
    """The PPI++ value, its standard error, the power-tuned ``lam`` in [0, 1], and corr(wrong, predicted)."""

    value: float
    std_error: float
    lam: float
    correlation: float


def ppi_moments(y: FloatArray, f: FloatArray, f_all: FloatArray, weight: FloatArray) -> PpiMoments:
    """Angelopoulos, Duchi & Zrnic (2023), PPI++, for a mean with power tuning: lam f_all + (y - lam f).

    ``weight`` (n,) averages to 1 (Hajek). lam = cov(y, f) / ((1 + n/N) var(f)), clipped to [0, 1], var(f)
    from labelled and unlabelled predictions together; population moments (ddof 0) as in the reference code,
    except that with unequal weights residuals are centred before they are weighted.
    """
    n, size = y.size, f_all.size
    mean_y, mean_f = float(np.mean(weight * y)), float(np.mean(weight * f))
    covariance = float(np.mean(weight**2 * (y - mean_y) * (f - mean_f)))
    centre = float(f_all.mean())
    spread = float(np.var(np.concatenate([weight * (f - centre), f_all - centre]), ddof=1))
    lam = min(1.0, max(0.0, covariance / ((1 + n / size) * spread))) if spread > 0 else 0.0
    residual = y - lam * f
    centred = weight * (residual - float(np.mean(weight * residual)))
    variance = lam**2 * float(np.var(f_all)) / size + float(np.mean(centred**2)) / n
    scale = math.sqrt(float(np.mean(weight * (y - mean_y) ** 2)) * float(np.mean(weight * (f - mean_f) ** 2)))
    return PpiMoments(
        value=lam * float(f_all.mean()) + float(np.mean(weight * residual)),
        std_error=math.sqrt(variance),
        lam=lam,
        correlation=float(np.mean(weight * (y - mean_y) * (f - mean_f))) / scale if scale > 0 else 0.0,
    )


def ppi_error_rate(
    wrong_labelled: npt.ArrayLike,
    predicted_labelled: npt.ArrayLike,
    predicted_all: npt.ArrayLike,
    *,
    inclusion_prob: npt.ArrayLike | None = None,
    confidence: float = 0.95,
) -> Estimate:
    """The error rate from audits (n,) and a predicted error probability for every item (N,).

    ``predicted_labelled`` (n,) and ``predicted_all`` (N,) are in [0, 1], 1 - confidence for instance; they
    need not be right, only related to being wrong. Power tuning (lam) makes useless predictions harmless.
    Offered when corr(wrong, predicted) >= 1/sqrt(n - 2), about two thirds of a significant correlation, and
    there are ten errors and ten correct items; otherwise the plain :func:`error_rate`, and ``reason``
    says so. The interval is Korn-Graubard's at the effective sample size p(1-p)/se^2: the paper's Wald
    interval covers too rarely when errors are few.
    """
    check_level(confidence)
    y = as_bools(wrong_labelled, "wrong_labelled")
    f = as_probabilities(predicted_labelled, "predicted_labelled")
    f_all = as_probabilities(predicted_all, "predicted_all")
    pi = np.ones(y.size) if inclusion_prob is None else check_inclusion(inclusion_prob)
    n = same_length(wrong_labelled=y, predicted_labelled=f, inclusion_prob=pi)
    plain = error_rate(y, pi, confidence=confidence)
    reason = None
    if n == 0 or f_all.size == 0:
        reason = "no audited items" if n == 0 else "no predictions for the population"
    elif min(int(y.sum()), n - int(y.sum())) < LEAST_EVENTS:
        reason = f"fewer than {LEAST_EVENTS} errors or {LEAST_EVENTS} correct items"
    if reason is None:
        moments = ppi_moments(y.astype(np.float64), f, f_all, n / pi / float(np.sum(1 / pi)))
        least = 1 / math.sqrt(n - 2)
        if moments.correlation < least:
            reason = f"corr(wrong, predicted) = {moments.correlation:.2f} is below {least:.2f}"
        elif not 0 < moments.value < 1 or moments.std_error == 0:
            reason = f"the corrected value {moments.value:.3g} is no rate inside (0, 1)"
        else:
            effective = moments.value * (1 - moments.value) / moments.std_error**2
            low, high = binomial_interval(effective * moments.value, effective, confidence)
            return Estimate(value=moments.value, low=low, high=high, n=n, method="ppi++")
    if plain.value is None:
        return plain
    return replace(plain, reason=f"predictions not used: {reason}")
