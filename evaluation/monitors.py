"""Alarms that may be looked at after every audit: an error limit (SLA), and a change for the worse (drift)."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from evaluation._arrays import FloatArray, IntArray, as_bools, as_floats, check_level, same_length
from evaluation._e_processes import (
    check_rate,
    exp_capped,
    first_alarm,
    log_bets,
    log_e_above,
    log_mean_exp,
    relative_weights,
    shiryaev_roberts,
)
from evaluation.audit_intervals import check_inclusion
from evaluation.intervals import Estimate, undefined
from labelproof.spec.errors import ConfigError

_N_WEIGHTED_BETS = 12
_DRIFT_ODDS = (1.5, 2.0, 3.0, 5.0)


def sla_log_e_values(
    errors_cumulative: npt.ArrayLike, n_cumulative: npt.ArrayLike, limit: float
) -> FloatArray:
    """Log e-value (T,) against "error rate <= limit" after each look, from running counts (T,).

    The truncated-Beta mixture of :class:`SlaMonitor`; looks at different streams may be mixed, each is
    computed from its own counts alone. No audits: 0.
    """
    check_rate(limit, "limit")
    errors = as_floats(errors_cumulative, "errors_cumulative")
    n = as_floats(n_cumulative, "n_cumulative")
    same_length(errors_cumulative=errors, n_cumulative=n)
    bad = np.flatnonzero((errors < 0) | (errors > n))
    if bad.size:
        first = int(bad[0])
        raise ConfigError(
            f"expected 0 <= errors <= n, found {errors[first]:g} errors of {n[first]:g} at index {first}"
        )
    return log_e_above(errors, n, limit)


def sla_e_values(errors_cumulative: npt.ArrayLike, n_cumulative: npt.ArrayLike, limit: float) -> FloatArray:
    """The e-values (T,) themselves, at most 8.2e307; see :func:`sla_log_e_values`."""
    log_e = sla_log_e_values(errors_cumulative, n_cumulative, limit)
    return np.exp(np.minimum(log_e, 709.0))


@dataclass(frozen=True, slots=True, kw_only=True)
class SlaMonitor:
    """Evidence against "the error rate is at most ``limit``", valid however often one looks.

    Start with ``SlaMonitor(limit=.05, delta=.05)``; :meth:`update` returns the next state. While the rate
    keeps to the limit, the probability that ``alarm`` is *ever* raised is at most ``delta`` (Ville 1939).
    Audits must come in the order drawn, or at least in an order that does not depend on what they found.

    Unequal inclusion probabilities need ``min_inclusion_prob``, the smallest one the audit plan can give: the
    e-process then bets with weights pi_min/pi (Waudby-Smith & Ramdas 2024, JRSS B 86, section 4) instead of
    the truncated-Beta mixture. ``log_e`` is the evidence now, ``alarm_at`` the audit at which it first
    reached 1/delta (an alarm stays), ``log_wealth`` (12,) the bets' states.
    """

    limit: float
    delta: float = 0.05
    min_inclusion_prob: float | None = None
    n: int = 0
    errors: int = 0
    log_e: float = 0.0
    alarm_at: int | None = None
    log_wealth: tuple[float, ...] = (0.0,) * _N_WEIGHTED_BETS

    def __post_init__(self) -> None:
        check_rate(self.limit, "limit")
        check_rate(self.delta, "delta")
        if self.min_inclusion_prob is not None:
            check_inclusion([self.min_inclusion_prob], "min_inclusion_prob")

    @property
    def e_value(self) -> float:
        """The evidence now: 1 says nothing, 1/delta raises the alarm; at most 8.2e307."""
        return exp_capped(self.log_e)

    @property
    def alarm(self) -> bool:
        """Whether the evidence has reached 1/delta at any audit so far."""
        return self.alarm_at is not None

    def update(self, wrong: npt.ArrayLike, inclusion_prob: npt.ArrayLike | None = None) -> SlaMonitor:
        """The state after more audits ``wrong`` (m,), in order; no audits leave it as it is."""
        y = as_bools(wrong, "wrong")
        weight = relative_weights(y, inclusion_prob, self.min_inclusion_prob)
        if y.size == 0:
            return self
        wealth = self.log_wealth
        if self.min_inclusion_prob is None:
            errors = self.errors + np.cumsum(y, dtype=np.float64)
            log_e = log_e_above(errors, self.n + np.arange(1, y.size + 1, dtype=np.float64), self.limit)
        else:
            steps = log_bets(y, weight, self.limit, weighted_bets())
            path = np.array(wealth) + np.cumsum(steps, axis=0)
            log_e, wealth = log_mean_exp(path), tuple(float(w) for w in path[-1])
        return replace(
            self,
            n=self.n + y.size,
            errors=self.errors + int(y.sum()),
            log_e=float(log_e[-1]),
            log_wealth=wealth,
            alarm_at=first_alarm(self.alarm_at, log_e >= -math.log(self.delta), self.n),
        )

    def anytime_interval(self, level: float = 0.95) -> Estimate:
        """The error rate with an interval that holds at all looks together (a confidence sequence).

        Every p that the Beta(1, 1/limit) mixture has not rejected at 1 - level (Robbins 1970). Wider than an interval meant for one look. Assumes one constant rate.
        """
        check_level(level)
        method = "beta-mixture confidence sequence"
        if self.min_inclusion_prob is not None:
            return undefined(method, self.n, "audits are weighted: use error_rate at a time fixed beforehand")
        if self.n == 0:
            return undefined(method, 0, "no audited items")
        low, high = _beta_mixture_ends(self.errors, self.n, 1.0, 1.0 / self.limit, level)
        return Estimate(value=self.errors / self.n, low=low, high=high, n=self.n, method=method)


def weighted_bets() -> FloatArray:
    """The bets (12,) of the weighted monitor: small ones for many audits, large ones for a gross excess."""
    return np.geomspace(0.01, 0.9, _N_WEIGHTED_BETS)


def _beta_mixture_ends(errors: int, n: int, a: float, b: float, level: float) -> tuple[float, float]:
    from scipy.optimize import brentq
    from scipy.special import betaln, xlog1py, xlogy

    bound = betaln(a + errors, b + n - errors) - betaln(a, b) + math.log(1 - level)

    def inside(p: float) -> float:
        return float(xlogy(errors, p) + xlog1py(n - errors, -p) - bound)

    rate, edge = errors / n, 1e-300
    low = 0.0 if inside(edge) >= 0 else float(brentq(inside, edge, rate, xtol=1e-14))
    top = 1.0 - 1e-16
    high = 1.0 if inside(top) >= 0 else float(brentq(inside, rate, top, xtol=1e-14))
    return low, high


def _no_path() -> FloatArray:
    return np.zeros(0)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class DriftMonitor:
    """Evidence that the error rate has risen above ``baseline`` at some unknown time: e-Shiryaev-Roberts.

    M_t = (M_{t-1} + 1) L_t, averaged over four sizes of change (odds of an error x 1.5, 2, 3, 5); alarm at M >=
    ``mean_run``. While the rate keeps to the baseline, the mean number of audits until an alarm is at
    least ``mean_run``: Shin, Ramdas & Rinaldo (2024), E-detectors, New England Journal of Statistics in
    Data Science 2 (e-SR). Unlike the SLA monitor, it alarms sooner or later even without a change.
    ``baseline`` is a known rate, or the upper end of an interval for it; too low a baseline alarms early.

    ``path`` (n,) is log M after each audit, ``alarm_at`` the first audit with M >= mean_run, ``change_at`` the
    audit (1 = the first) from which the rate most likely was higher, None while nothing speaks for a
    change. Unequal inclusion probabilities as in :class:`SlaMonitor`.
    """

    baseline: float
    mean_run: float = 1000.0
    min_inclusion_prob: float | None = None
    n: int = 0
    path: FloatArray = field(default_factory=_no_path)
    alarm_at: int | None = None
    change_at: int | None = None
    log_m: tuple[float, ...] = (-math.inf,) * len(_DRIFT_ODDS)
    log_lead: tuple[float, ...] = (0.0,) * len(_DRIFT_ODDS)
    lead_from: tuple[int, ...] = (1,) * len(_DRIFT_ODDS)

    def __post_init__(self) -> None:
        check_rate(self.baseline, "baseline")
        if not self.mean_run > 1:
            raise ConfigError(f"mean_run: expected more than 1 audit, found {self.mean_run:g}")
        if self.min_inclusion_prob is not None:
            check_inclusion([self.min_inclusion_prob], "min_inclusion_prob")

    @property
    def alarm(self) -> bool:
        """Whether M has reached ``mean_run`` at any audit so far."""
        return self.alarm_at is not None

    def update(self, wrong: npt.ArrayLike, inclusion_prob: npt.ArrayLike | None = None) -> DriftMonitor:
        """The state after more audits ``wrong`` (m,), in order; no audits leave it as it is."""
        y = as_bools(wrong, "wrong")
        weight = relative_weights(y, inclusion_prob, self.min_inclusion_prob)
        if y.size == 0:
            return self
        steps = log_bets(y, weight, self.baseline, drift_bets(self.baseline))
        log_m = shiryaev_roberts(steps, np.array(self.log_m))
        path = log_mean_exp(log_m)
        lead, since = _leads(steps, np.array(self.log_lead), np.array(self.lead_from), self.n)
        best = int(np.argmax(lead))
        return replace(
            self,
            n=self.n + y.size,
            path=np.concatenate([self.path, path]),
            alarm_at=first_alarm(self.alarm_at, path >= math.log(self.mean_run), self.n),
            change_at=int(since[best]) if lead[best] > 0 else None,
            log_m=tuple(float(m) for m in log_m[-1]),
            log_lead=tuple(float(w) for w in lead),
            lead_from=tuple(int(s) for s in since),
        )


def drift_bets(baseline: float) -> FloatArray:
    """The bets (4,) for which L is the likelihood ratio of raised odds against the baseline."""
    odds = np.array(_DRIFT_ODDS) * baseline / (1 - baseline)
    raised = odds / (1 + odds)
    return np.asarray((raised - baseline) / (1 - baseline))


def _leads(steps: FloatArray, lead: FloatArray, since: IntArray, n: int) -> tuple[FloatArray, IntArray]:
    """Per bet the largest log product of L over s..t that ends now, and its first audit s (Page's CUSUM)."""
    total = np.vstack([np.zeros((1, steps.shape[1])), np.cumsum(steps, axis=0)])
    # Starting after position j scores total[-1] - total[j]; going on from before scores lead + total[-1].
    lowest = total[:-1].argmin(axis=0)
    fresh = total[-1] - np.take_along_axis(total, lowest[None, :], axis=0)[0]
    carried = lead + total[-1]
    goes_on = carried >= fresh
    return np.where(goes_on, carried, fresh), np.where(goes_on, since, n + 1 + lowest)
