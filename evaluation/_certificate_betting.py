"""Evidence from gold that was drawn with unequal probabilities: betting e-values.

Setting. A design draws item i of the pool with probability q_i per draw, and pi_i = n q_i is its inclusion probability.
With w_i = 1/(N q_i) = n/(N pi_i) and X = w (alpha - err) 1[accepted], one draw has
E[X] = (alpha * accepted - errors)/N over the pool: negative exactly when the error rate among accepted items exceeds alpha.
As -w_max (1 - alpha) <= X, the factor 1 + g X/(w_max (1 - alpha)) is nonnegative for 0 <= g < 1 and has mean <= 1
then; the product over the gold is an e-value, and by Markov it reaches 1/delta with probability <= delta
(Waudby-Smith & Ramdas 2024, JRSS-B 86, "Estimating means of bounded random variables by betting"; averaging over fixed bets
is their diversified Kelly bettor). Candes, Ilyas & Zrnic (2025), "Probably approximately correct labels", use the same
bound on importance-weighted errors with ub = 1/(smallest pi of the whole design).

Valid for draws with replacement, and for Poisson sampling (each item drawn independently with pi_i): there
E[product] = prod_i(1 + lambda pi_i x_i) <= exp(lambda sum_i pi_i x_i) <= 1. Equal-probability draws without replacement are
covered by Hoeffding (1963), theorem 4; unequal ones of fixed size are close to Poisson, not covered by proof.

Only w_i/w_max enters, and w_max must bound the design: the largest weight *seen* does not, because items that were
hardly ever drawn are the ones whose errors the gold has not shown.
"""

from __future__ import annotations

import math

import numpy as np

from evaluation._arrays import BoolArray, FloatArray, IntArray

BETS: FloatArray = np.linspace(0.05, 0.95, 19)
_BISECTIONS = 24  # upper bounds to 2^-24


def log_e_values(
    ratio: FloatArray, wrong: BoolArray, n_accepted: IntArray, scale: FloatArray, alpha: FloatArray
) -> FloatArray:
    """Natural-log e-values (L,) against "the error rate at threshold j exceeds alpha_j".

    ``ratio`` (n,) and ``wrong`` (n,) of the gold, most confident first; threshold j accepts the first
    ``n_accepted[j]``. ``ratio * scale[j]`` is w/w_max in (0, 1] for the items accepted there.
    """
    logs = np.empty(len(n_accepted))
    if len(logs) and np.ptp(scale) == 0.0 and np.ptp(alpha) == 0.0:
        growth = np.cumsum(_growth(ratio * scale[0], wrong, float(alpha[0])), axis=1)
        padded = np.concatenate([np.zeros((len(BETS), 1)), growth], axis=1)
        return _log_mean(padded[:, n_accepted])
    for j, n in enumerate(n_accepted):
        growth = _growth(ratio[:n] * scale[j], wrong[:n], float(alpha[j])).sum(axis=1)
        logs[j] = _log_mean(growth[:, None])[0]
    return logs


def _growth(relative: FloatArray, wrong: BoolArray, alpha: float) -> FloatArray:
    """log(1 + g X/(w_max (1 - alpha))) of each bet and accepted item, shape (bets, items)."""
    return np.log1p(BETS[:, None] * np.where(wrong, -relative, relative * (alpha / (1.0 - alpha))))


def _log_mean(growth: FloatArray) -> FloatArray:
    """Log of the mean over bets (axis 0) of exp(growth), without overflow."""
    top = growth.max(axis=0)
    return np.asarray(top + np.log(np.exp(growth - top).mean(axis=0)))


def weighted_upper_bounds(
    ratio: FloatArray, wrong: BoolArray, n_accepted: IntArray, scale: FloatArray, delta: float
) -> FloatArray:
    """Upper 1 - delta bounds on the error rate at each threshold: the smallest alpha the e-value certifies.

    NaN where nothing was accepted. The e-value grows with alpha, so bisection finds it (from above: never too low).
    """
    low = np.zeros(len(n_accepted))
    high = np.ones(len(n_accepted))
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        certified = log_e_values(ratio, wrong, n_accepted, scale, middle) >= -math.log(delta)
        high = np.where(certified, middle, high)
        low = np.where(certified, low, middle)
    return np.where(n_accepted > 0, high, np.nan)


def fewest_accepted_betting(alpha: float, delta: float) -> int:
    """Accepted gold of the largest weight, none of it wrong, with which the mean over bets reaches 1/delta."""
    none_wrong = np.log1p(BETS * (alpha / (1.0 - alpha)))[:, None]

    def enough(n: int) -> bool:
        return bool(_log_mean(n * none_wrong)[0] >= -math.log(delta))

    low, high = 1, 2
    while not enough(high):
        low, high = high, 2 * high
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle + 1, high)
    return high
