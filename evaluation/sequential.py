"""Tests that may be looked at after every item: early stop of a paired comparison, sample-ratio check of a split.

An e-value is a bet that cannot win on average while the null holds; it exceeds 1/alpha ever, at any look, with
probability at most alpha (Ville 1939). So peeking costs nothing.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from evaluation._arrays import FloatArray
from evaluation._e_processes import exp_capped, log_mean_exp
from labelproof.spec.errors import ConfigError

CONCENTRATIONS = (2.0, 20.0, 200.0, 2000.0)
"""Pseudo-counts of the Dirichlet priors of the sample-ratio check, mixed evenly: small for gross, large for fine deviations."""
_LEAST_SHARE_SUM = 1e-9


def discordant_e_value(wins: int, losses: int) -> float:
    """Evidence against "B wins a discordant pair as often as it loses one", in (0, 8.2e307]; 1 before the first pair.

    E = B(2 + w, 2 + l) / B(2, 2) 2^(w + l): the Beta(2, 2) mixture of likelihood ratios against one half (Robbins 1970),
    either direction. Does not depend on the order of pairs.
    """
    return exp_capped(_log_discordant(wins, losses))


def _log_discordant(wins: int, losses: int) -> float:
    if wins < 0 or losses < 0:
        raise ConfigError(f"discordant pairs: expected counts >= 0, found {wins} and {losses}")

    def log_beta(x: float, y: float) -> float:
        return math.lgamma(x) + math.lgamma(y) - math.lgamma(x + y)

    return log_beta(2 + wins, 2 + losses) - log_beta(2, 2) + (wins + losses) * math.log(2)


@dataclass(frozen=True, slots=True, kw_only=True)
class EarlyStop:
    """The state of a comparison that is looked at after every discordant pair.

    ``stopped_at``: the pair (counted from 1) at which the e-value first reached 1 / ``alpha``; further pairs are counted
    and change nothing of that. ``log_max``: log of the largest e-value so far.
    """

    alpha: float = 0.05
    wins: int = 0
    losses: int = 0
    log_max: float = 0.0
    stopped_at: int | None = None

    def __post_init__(self) -> None:
        if not 0 < self.alpha < 1:
            raise ConfigError(f"alpha: expected a level in (0, 1), found {self.alpha:g}")

    def update(self, b_won: Iterable[bool]) -> EarlyStop:
        """Return the state after further discordant pairs, in the order in which they became known."""
        state = self
        for won in b_won:
            wins, losses = state.wins + bool(won), state.losses + (not won)
            log_e = _log_discordant(wins, losses)
            stop = state.stopped_at
            if stop is None and log_e >= -math.log(self.alpha):
                stop = wins + losses
            state = replace(
                state, wins=wins, losses=losses, log_max=max(state.log_max, log_e), stopped_at=stop
            )
        return state

    @property
    def e_value(self) -> float:
        """The evidence now; :attr:`p_value` keeps the best."""
        return discordant_e_value(self.wins, self.losses)

    @property
    def p_value(self) -> float:
        """The anytime-valid p-value, 1 / (largest e-value so far): at most alpha ever with probability <= alpha."""
        return math.exp(-self.log_max)

    @property
    def stop(self) -> bool:
        return self.stopped_at is not None

    @property
    def direction(self) -> Literal["a", "b"] | None:
        """Which side won more pairs; None when both won as many."""
        return "b" if self.wins > self.losses else "a" if self.wins < self.losses else None


def srm_e_value(counts: Sequence[int], shares: Sequence[float]) -> float:
    """Evidence against "units were assigned with these ``shares``", in (0, 8.2e307]; 1 without a unit.

    Lindon & Malek (2022), Anytime-valid inference for multinomial count data, eq. 6: Dirichlet-multinomial against
    multinomial, here the even mixture over priors ``c * shares`` for c in ``CONCENTRATIONS``. 100 or more: the split
    is broken (false alarm <= 1 % over all looks together).
    """
    return exp_capped(float(srm_log_e_values(np.asarray(counts, dtype=np.float64), shares)))


def srm_log_e_values(counts: FloatArray, shares: Sequence[float]) -> FloatArray:
    """Log of :func:`srm_e_value` of many tables: ``counts`` (..., K) -> (...)."""
    from scipy.special import gammaln

    share = _checked_shares(shares)
    if counts.ndim < 1 or counts.shape[-1] != share.size or (counts < 0).any():
        raise ConfigError(
            f"counts: expected {share.size} counts >= 0, one per share, found shape {counts.shape}"
        )
    n = counts.sum(axis=-1)
    each = []
    for concentration in CONCENTRATIONS:
        prior = concentration * share
        gained = (gammaln(prior + counts) - gammaln(prior)).sum(axis=-1)
        each.append(gained + gammaln(concentration) - gammaln(concentration + n))
    return np.asarray(log_mean_exp(np.stack(each, axis=-1)) - counts @ np.log(share))


def _checked_shares(shares: Sequence[float]) -> FloatArray:
    values = np.asarray(shares, dtype=np.float64)
    if values.ndim != 1 or values.size < 2 or not (values > 0).all():
        raise ConfigError(f"shares: expected at least two numbers > 0, found {list(shares)}")
    if abs(values.sum() - 1) > _LEAST_SHARE_SUM:
        raise ConfigError(f"shares: expected a sum of 1, found {values.sum():g}")
    return np.asarray(values / values.sum())


@dataclass(frozen=True, slots=True, kw_only=True)
class SrmMonitor:
    """The state of a sample-ratio check that is looked at as units arrive.

    ``alarm_at``: how many units there were when the e-value first reached 1 / ``alpha`` at a look. It stays.
    """

    shares: tuple[float, ...]
    alpha: float = 0.01
    counts: tuple[int, ...] = ()
    log_max: float = 0.0
    alarm_at: int | None = None

    def __post_init__(self) -> None:
        _checked_shares(self.shares)
        if not 0 < self.alpha < 1:
            raise ConfigError(f"alpha: expected a level in (0, 1), found {self.alpha:g}")
        if not self.counts:
            object.__setattr__(self, "counts", (0,) * len(self.shares))

    def update(self, counts: Sequence[int]) -> SrmMonitor:
        """Return the state after ``counts`` further units, one number per share, and one look."""
        if len(counts) != len(self.shares) or min(counts) < 0:
            raise ConfigError(
                f"counts: expected {len(self.shares)} counts >= 0, one per share, found {list(counts)}"
            )
        total = tuple(old + int(new) for old, new in zip(self.counts, counts, strict=True))
        log_e = float(srm_log_e_values(np.asarray(total, dtype=np.float64), self.shares))
        alarm = self.alarm_at
        if alarm is None and log_e >= -math.log(self.alpha):
            alarm = sum(total)
        return replace(self, counts=total, log_max=max(self.log_max, log_e), alarm_at=alarm)

    @property
    def e_value(self) -> float:
        """The evidence now."""
        return srm_e_value(self.counts, self.shares)

    @property
    def p_value(self) -> float:
        """The anytime-valid p-value over all looks so far."""
        return math.exp(-self.log_max)
