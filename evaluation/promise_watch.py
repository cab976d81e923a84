"""Evidence that a promised level is broken, valid however often one looks, and not hidden by good old days.

The SLA monitor (:mod:`evaluation.monitors`) bets from the first observation on: after months of good days it takes as
many bad ones to win the money back. Here half of the money is bet from the first block (day) on, and the other half in
equal parts from each later block of an epoch of ``horizon`` blocks, so that a change costs at most a factor
2 (horizon - 1), whenever it comes. While the promise holds for each observation given the past, every bet is a
nonnegative supermartingale from 1, and so is their mixture: the probability that it *ever* reaches 1/delta within the
epoch is at most delta (Ville 1939). Robbins' (1970) mixture over the sizes of a breach inside each bet, as in
Waudby-Smith & Ramdas (2024), JRSS B 86, section 4; starting bets anew is Shin, Ramdas & Rinaldo (2024), E-detectors,
with a finite budget in place of a mean run length.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from evaluation._arrays import FloatArray, as_floats, same_length
from evaluation._e_processes import check_rate, exp_capped, log_e_above, log_mean_exp
from evaluation.monitors import weighted_bets
from labelproof.spec.errors import ConfigError

HORIZON = 180
"""Blocks (days) of an epoch: after so many a new one begins, with a new budget for false alarms."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PromiseWatch:
    """Where the evidence against a promise stands. ``change_at``: the block from which on it speaks loudest (0 = first)."""

    n: int
    log_e: float
    delta: float
    change_at: int | None

    @property
    def e_value(self) -> float:
        """1 says nothing, 1/delta raises the alarm; at most 8.2e307."""
        return exp_capped(self.log_e)

    @property
    def e_needed(self) -> float:
        return 1 / self.delta

    @property
    def alarm(self) -> bool:
        """Whether the evidence of this look reaches what is needed."""
        return self.log_e >= -math.log(self.delta)


def watch_counts(
    bad: npt.ArrayLike, n: npt.ArrayLike, limit: float, *, delta: float, horizon: int = HORIZON
) -> PromiseWatch:
    """Return the evidence against "bad with probability at most ``limit``" from counts per block (T,), T <= horizon.

    All observations count alike. Truncated-Beta mixture in each bet. No observations: evidence 1.
    """
    check_rate(limit, "limit")
    check_rate(delta, "delta")
    wrong, total = as_floats(bad, "bad"), as_floats(n, "n")
    blocks = same_length(bad=wrong, n=total)
    if ((wrong < 0) | (wrong > total)).any():
        raise ConfigError("expected 0 <= bad <= n in every block")
    _check_blocks(blocks, horizon)
    if not total.sum():
        return PromiseWatch(n=0, log_e=0.0, delta=delta, change_at=None)
    since_wrong, since_total = _from_here_on(wrong), _from_here_on(total)
    return _mixed(log_e_above(since_wrong, since_total, limit), int(total.sum()), delta, horizon)


def watch_gains(
    gain: npt.ArrayLike, block: npt.ArrayLike, n_blocks: int, *, delta: float, horizon: int = HORIZON
) -> PromiseWatch:
    """Return the evidence against "the mean of ``gain`` is at most 0, given the past".

    ``gain`` (n,) >= -1 in the order observed, ``block`` (n,) codes 0..n_blocks-1, ascending. Twelve sizes of bet.
    For audits with unequal chances: v (wrong - limit) / limit with v = smallest / own inclusion probability.
    """
    check_rate(delta, "delta")
    g, at = as_floats(gain, "gain"), np.asarray(block, dtype=np.int64)
    same_length(gain=g, block=at)
    _check_blocks(n_blocks, horizon)
    if g.size == 0:
        return PromiseWatch(n=0, log_e=0.0, delta=delta, change_at=None)
    if g.min() < -1:
        raise ConfigError(f"gain: expected at least -1, found {g.min():g}")
    if (np.diff(at) < 0).any() or at[0] < 0 or at[-1] >= n_blocks:
        raise ConfigError(f"block: expected ascending codes from 0 to {n_blocks - 1}")
    steps = np.log1p(g[:, None] * weighted_bets()[None, :])
    per_block = np.zeros((n_blocks, steps.shape[1]))
    np.add.at(per_block, at, steps)
    since = np.cumsum(per_block[::-1], axis=0)[::-1]
    return _mixed(log_mean_exp(since), int(g.size), delta, horizon)


def combined(watches: Sequence[tuple[PromiseWatch, float]], *, delta: float) -> PromiseWatch:
    """Return the evidence of several streams together, each with its share of the money; what is left is not bet.

    The shares sum to at most 1 and must not depend on what was observed. ``change_at`` is that of the strongest.
    """
    rest = 1 - sum(share for _, share in watches)
    if rest < -1e-9 or any(share <= 0 for _, share in watches):
        raise ConfigError("shares: expected positive ones that sum to at most 1")
    logs = [watch.log_e + math.log(share) for watch, share in watches]
    logs += [math.log(rest)] if rest > 1e-12 else []
    best = max(watches, key=lambda pair: pair[0].log_e + math.log(pair[1]), default=None)
    return PromiseWatch(
        n=max((watch.n for watch, _ in watches), default=0),
        log_e=float(np.logaddexp.reduce(np.array(logs))) if logs else 0.0,
        delta=delta,
        change_at=None if best is None else best[0].change_at,
    )


def agreement_gains(disagreement: npt.ArrayLike, expected: npt.ArrayLike, alpha: float) -> FloatArray:
    """Gains (n,) against "Krippendorff's alpha >= ``alpha``", ``alpha`` < 1, from pairs of items.

    ``disagreement`` (n,): the pair's mean disagreement within its items, in [0, 1]; ``expected`` (n,): the mean
    disagreement between a vote on one and a vote on the other. Items being alike in law, their means are Krippendorff's
    observed and expected disagreement, and alpha = 1 - observed/expected >= a says that d - (1 - a) e has mean at most 0.
    """
    if not alpha < 1:
        raise ConfigError(f"alpha: expected less than 1, found {alpha:g}")
    d, e = as_floats(disagreement, "disagreement"), as_floats(expected, "expected")
    same_length(disagreement=d, expected=e)
    return np.asarray(d / (1 - alpha) - e)


def _from_here_on(counts: FloatArray) -> FloatArray:
    """The sums (T,) over each block and all later ones."""
    return np.asarray(np.cumsum(counts[::-1])[::-1])


def _mixed(log_e: FloatArray, n: int, delta: float, horizon: int) -> PromiseWatch:
    """The mixture of the bets that began with each block (T,); bets of blocks to come are still money."""
    later = horizon - 1
    unspent = max(later - (log_e.size - 1), 0)
    shares = np.full(log_e.size, 0.5 / max(later, 1))
    shares[0] = 0.5 if later else 1.0
    parts = log_e + np.log(shares)
    if unspent:
        parts = np.append(parts, math.log(0.5 * unspent / later))
    best = int(np.argmax(log_e))
    return PromiseWatch(
        n=n,
        log_e=float(np.logaddexp.reduce(parts)),
        delta=delta,
        change_at=best if log_e[best] > 0 else None,
    )


def _check_blocks(blocks: int, horizon: int) -> None:
    if not 1 <= blocks <= horizon:
        raise ConfigError(f"blocks: expected 1 to {horizon} (the horizon), found {blocks}")
