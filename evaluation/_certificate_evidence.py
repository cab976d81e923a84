"""Evidence that an error rate is at most alpha: exact p-values and the upper bounds they invert."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from evaluation._arrays import FloatArray, IntArray
from labelproof.spec.errors import ConfigError

_ROUNDING = 1e-9  # alpha * M is meant as a decimal: 0.29 * 100 is 29, not 28.999...


def check_rates(alpha: float, delta: float) -> None:
    """ConfigError unless both lie strictly between 0 and 1."""
    for name, value in (("alpha", alpha), ("delta", delta)):
        if not 0.0 < value < 1.0:
            raise ConfigError(
                f"{name}: expected a rate in (0, 1), found {value}",
                hint="alpha is the error rate tolerated among accepted items, delta the chance of a wrong certificate",
            )


def fewest_bad_errors(alpha: float, pool_accepted: npt.ArrayLike) -> IntArray:
    """The smallest number of errors among ``pool_accepted`` items that exceeds the share alpha."""
    accepted = np.asarray(pool_accepted, dtype=np.float64)
    return np.asarray(np.floor(alpha * accepted + _ROUNDING) + 1, dtype=np.int64)


def p_values(
    errors: npt.ArrayLike, accepted: npt.ArrayLike, alpha: float, pool_accepted: npt.ArrayLike | None = None
) -> FloatArray:
    """P(at most this many errors) if the error rate were just above alpha; 1 where nothing was accepted.

    Without ``pool_accepted``: exact binomial, P(Bin(accepted, alpha) <= errors); Angelopoulos et al. (2021), Learn then
    Test, section 2.2 for binary losses. With it: exact hypergeometric for ``accepted`` draws without replacement from
    ``pool_accepted`` items of which the fewest that exceed the share alpha are wrong.
    """
    k = np.atleast_1d(np.asarray(errors, dtype=np.int64))
    n = np.atleast_1d(np.asarray(accepted, dtype=np.int64))
    p = np.ones(n.shape)
    some = n > 0
    if pool_accepted is None:
        from scipy.special import bdtr

        p[some] = bdtr(k[some].astype(np.float64), n[some], alpha)
    elif some.any():
        from scipy.stats import hypergeom

        m = np.atleast_1d(np.asarray(pool_accepted, dtype=np.int64))[some]
        p[some] = hypergeom.cdf(k[some], m, fewest_bad_errors(alpha, m), n[some])
    return np.clip(p, 0.0, 1.0)


def upper_bounds(
    errors: npt.ArrayLike, accepted: npt.ArrayLike, delta: float, pool_accepted: npt.ArrayLike | None = None
) -> FloatArray:
    """One-sided 1 - delta upper bounds on error rates, NaN where nothing was accepted.

    Clopper & Pearson (1934), or with ``pool_accepted`` its hypergeometric counterpart: the largest share of errors that
    a test at level delta would not reject. At most alpha exactly when the p-value is at most delta.
    """
    k = np.atleast_1d(np.asarray(errors, dtype=np.int64))
    n = np.atleast_1d(np.asarray(accepted, dtype=np.int64))
    upper = np.full(n.shape, np.nan)
    some = n > 0
    if pool_accepted is None:
        from scipy.special import betaincinv

        open_ended = some & (k < n)
        upper[some] = 1.0
        upper[open_ended] = betaincinv(k[open_ended] + 1.0, (n - k)[open_ended], 1.0 - delta)
    elif some.any():
        m = np.atleast_1d(np.asarray(pool_accepted, dtype=np.int64))[some]
        upper[some] = _largest_not_rejected(k[some], n[some], m, delta) / m
    return upper


def _largest_not_rejected(k: IntArray, n: IntArray, m: IntArray, delta: float) -> IntArray:
    """The largest number of errors E in pools of m with P(Hypergeometric(m, E, n) <= k) > delta, by bisection."""
    from scipy.stats import hypergeom

    low = k.copy()  # E = k leaves P = 1
    high = m - (n - k)  # more errors than this cannot have left n - k right ones
    while (low < high).any():
        middle = (low + high + 1) // 2
        possible = hypergeom.cdf(k, m, middle, n) > delta
        low = np.where(possible, middle, low)
        high = np.where(possible, high, middle - 1)
    return low


def certificate_p_value(
    n_errors: int, n_accepted: int, alpha: float, *, pool_accepted: int | None = None
) -> float:
    """The p-value behind a stored certificate, recomputed from its numbers.

    ``pool_accepted``: how many items of the finite pool the threshold accepts, for hypergeometric certificates. A
    certificate is genuine when the result is at most its delta. 1 when nothing was accepted.
    """
    check_rates(alpha, 0.5)
    if not 0 <= n_errors <= n_accepted:
        raise ConfigError(f"expected 0 <= n_errors <= n_accepted, found {n_errors} errors of {n_accepted}")
    if pool_accepted is not None and pool_accepted < n_accepted:
        raise ConfigError(
            f"pool_accepted: expected at least the {n_accepted} gold items accepted, found {pool_accepted}",
            hint="count the whole pool above the threshold, gold included",
        )
    return float(p_values(n_errors, n_accepted, alpha, pool_accepted)[0])
