"""E-processes over audits: checked weights, and the arithmetic in log space (no overflow, however many)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from evaluation._arrays import BoolArray, FloatArray, same_length
from evaluation.audit_intervals import check_inclusion
from labelproof.spec.errors import ConfigError

_LARGEST_LOG = 709.0  # exp of more is infinite in float64
_SMALLEST_TAIL = 1e-250


def exp_capped(log_value: float) -> float:
    """exp, at most 8.2e307 instead of infinity."""
    return float(np.exp(min(log_value, _LARGEST_LOG)))


def log_e_above(errors: FloatArray, n: FloatArray, limit: float) -> FloatArray:
    """Log of the truncated-Beta mixture of likelihood ratios p against ``limit``, for p in (limit, 1).

    Waudby-Smith & Ramdas (2024), JRSS B 86, section 4; the mixture is Robbins' (1970). Prior Beta(1, 1/limit)
    cut off below the limit: about limit + an exponential excess of mean ``limit``. Each ratio has mean
    <= 1 for any true rate <= limit, also when that rate changes from item to item, so the mixture does.
    """
    a, b = 1.0, 1.0 / limit
    top = log_beta_above(a + errors, b + n - errors, limit)
    prior = log_beta_above(np.array([a]), np.array([b]), limit)[0]
    return np.asarray(top - prior - errors * np.log(limit) - (n - errors) * np.log1p(-limit))


def log_beta_above(a: FloatArray, b: FloatArray, x: float) -> FloatArray:
    """Log of the integral of p^(a-1) (1-p)^(b-1) over p in (x, 1), exact far into the tail."""
    from scipy.special import betaincc, betaln

    tail = betaincc(a, b, x)
    with np.errstate(divide="ignore"):
        result = betaln(a, b) + np.log(tail)
    deep = tail < _SMALLEST_TAIL
    if deep.any():
        result[deep] = _log_tail_by_fraction(a[deep], b[deep], x)
    return np.asarray(result)


def _log_tail_by_fraction(a: FloatArray, b: FloatArray, x: float) -> FloatArray:
    """The same by the continued fraction of the incomplete beta function (DLMF 8.17.22), modified Lentz.

    Used where x is far above a/(a+b): there it converges within a few dozen terms.
    """
    y = 1.0 - x
    tiny = 1e-300
    value, c, d = np.ones_like(a), np.ones_like(a), np.zeros_like(a)
    for step in range(1, 2000):
        m = step // 2
        if step % 2:
            term = -(b + m) * (a + b + m) * y / ((b + 2 * m) * (b + 2 * m + 1))
        else:
            term = m * (a - m) * y / ((b + 2 * m - 1) * (b + 2 * m))
        d = 1 + term * d
        d = 1 / np.where(np.abs(d) < tiny, tiny, d)
        c = 1 + term / c
        c = np.where(np.abs(c) < tiny, tiny, c)
        value *= c * d
        if np.all(np.abs(c * d - 1) < 1e-14):
            break
    return np.asarray(a * np.log(x) + b * np.log1p(-x) - np.log(b) - np.log(value))


def log_bets(wrong: BoolArray, relative_weight: FloatArray, limit: float, bets: FloatArray) -> FloatArray:
    """log(1 + g v (wrong - limit) / limit), (n, K), for bets g in (0, 1) and weights v in (0, 1].

    Waudby-Smith & Ramdas (2024), section 4, for audits drawn with probability pi: v = pi_min / pi makes the
    bet fair under "rate <= limit" in the population. With v = 1 it is the likelihood ratio of
    p = limit + g (1 - limit) against the limit.
    """
    gain = (wrong.astype(np.float64) - limit) / limit
    return np.log1p((relative_weight * gain)[:, None] * bets[None, :])


def log_mean_exp(values: FloatArray) -> FloatArray:
    """Log of the mean over the last axis of exp(values); -inf entries count as 0."""
    most = values.max(axis=-1, keepdims=True)
    base = np.where(np.isfinite(most), most, 0.0)
    with np.errstate(divide="ignore"):
        return np.asarray(np.log(np.mean(np.exp(values - base), axis=-1)) + base[..., 0])


def shiryaev_roberts(log_ratio: FloatArray, log_start: FloatArray) -> FloatArray:
    """Log M_t (n, K) of M_t = (M_{t-1} + 1) L_t from log L (n, K) and log M_0 (K,), in closed form.

    M_t = exp(C_t) (M_0 + sum of exp(-C_{s-1}) for s <= t), C the running sum of log L.
    """
    total = np.cumsum(log_ratio, axis=0)
    before = np.vstack([np.zeros((1, log_ratio.shape[1])), total[:-1]])
    grown = np.logaddexp.accumulate(-before, axis=0)
    return np.asarray(total + np.logaddexp(grown, log_start[None, :]))


def relative_weights(
    y: BoolArray, inclusion_prob: npt.ArrayLike | None, min_inclusion_prob: float | None
) -> FloatArray:
    """pi_min / pi per audit (m,); ones for equal probabilities, which need no bound."""
    if inclusion_prob is None:
        if min_inclusion_prob is not None and y.size:
            raise ConfigError(
                "inclusion_prob: expected one per audit, the monitor being weighted, found none",
                hint="pass the probabilities stored at routing",
            )
        return np.ones(y.size)
    pi = check_inclusion(inclusion_prob)
    same_length(wrong=y, inclusion_prob=pi)
    if min_inclusion_prob is None:
        if pi.size and np.ptp(pi) > 0:
            raise ConfigError(
                f"inclusion_prob: expected equal probabilities, found {pi.min():g} to {pi.max():g}",
                hint="start the monitor with min_inclusion_prob, the smallest the audit plan can give",
            )
        return np.ones(y.size)
    if pi.size and pi.min() < min_inclusion_prob:
        raise ConfigError(
            f"inclusion_prob: expected at least min_inclusion_prob {min_inclusion_prob:g}, found {pi.min():g}"
            f" at index {int(pi.argmin())}",
            hint="a new audit plan with smaller probabilities needs a new monitor",
        )
    return np.asarray(min_inclusion_prob / pi)


def first_alarm(known: int | None, reached: BoolArray, n: int) -> int | None:
    """The audit (counted from 1) at which an alarm was first reached, kept once known."""
    if known is not None or not reached.any():
        return known
    return n + 1 + int(np.argmax(reached))


def check_rate(value: float, name: str) -> None:
    if not 0 < value < 1:
        raise ConfigError(f"{name}: expected a rate in (0, 1), found {value:g}")
