"""Is one of two streams worse than the other? Evidence that may be looked at after every observation."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from evaluation._arrays import FloatArray, as_bools
from evaluation._e_processes import exp_capped, first_alarm, log_mean_exp
from evaluation.intervals import Estimate, wilson
from labelproof.spec.errors import ConfigError

MOST_PER_BLOCK = 20
"""Observations of the old stream against one of the new at most: more add nearly nothing."""
_N_BETS = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class TwoStreams:
    """Evidence against "the new stream's rate is at most the old one's plus ``margin``".

    ``e_value``: 1 says nothing; the chance that it *ever* reaches 1/delta while the sentence is true is at most delta.
    ``alarm_at``: the block (one new observation against ``per_block`` old ones) at which it first did; an alarm stays.
    ``old`` and ``new``: the rates with Wilson intervals, for one look only; ``reason``: why there is no evidence yet.
    """

    old: Estimate
    new: Estimate
    margin: float
    per_block: int
    n_blocks: int
    e_value: float
    e_needed: float
    alarm_at: int | None
    reason: str | None = None

    @property
    def alarm(self) -> bool:
        return self.alarm_at is not None


def block_size(share_prob: float) -> int:
    """Return how many old observations stand against one new when the new stream gets ``share_prob`` of the units."""
    if not 0 < share_prob < 1:
        return 1
    return max(1, min(MOST_PER_BLOCK, round((1 - share_prob) / share_prob)))


def two_streams(
    old: npt.ArrayLike, new: npt.ArrayLike, *, margin: float, delta: float, per_block: int = 1
) -> TwoStreams:
    """Return the evidence that events are more frequent in ``new`` (n,) than in ``old`` (m,) by more than ``margin``.

    Both in the order drawn. Block k holds ``per_block`` old observations, mean a_k, and one new, b_k. While each new
    observation's rate is at most the mean of its block's old ones plus the margin, b_k - a_k - margin has mean <= 0,
    so that the product of 1 + g (b_k - a_k - margin) / (1 + margin) is a nonnegative supermartingale for every bet g
    in (0, 1), and so is the mean of 12 of them (betting on a bounded mean: Waudby-Smith & Ramdas 2024, JRSS B 86,
    section 4; Ville 1939 bounds the chance of an alarm). The rates may drift as long as both streams drift alike; what
    is left over at the end of the longer stream waits for its block. ``per_block`` must not depend on the outcomes.
    """
    a, b = as_bools(old, "old").astype(np.float64), as_bools(new, "new").astype(np.float64)
    if margin < 0 or not 0 < delta < 1 or per_block < 1:
        raise ConfigError(
            f"expected margin >= 0, 0 < delta < 1, per_block >= 1; found {margin:g}, {delta:g}, {per_block}"
        )
    n = min(len(a) // per_block, len(b))
    estimates = (wilson(int(a.sum()), len(a)), wilson(int(b.sum()), len(b)))
    empty = (
        None if n else f"it takes 1 new and {per_block} old observations, and there are {len(b)} and {len(a)}"
    )
    log_e, alarm_at = 0.0, None
    if n:
        blocks = a[: n * per_block].reshape(n, per_block).mean(axis=1)
        path = log_mean_exp(
            np.cumsum(np.log1p(np.outer(b[:n] - blocks - margin, bets()) / (1 + margin)), axis=0)
        )
        log_e = float(path[-1])
        alarm_at = first_alarm(None, path >= -math.log(delta), 0)
    return TwoStreams(
        old=estimates[0],
        new=estimates[1],
        margin=margin,
        per_block=per_block,
        n_blocks=n,
        e_value=exp_capped(log_e),
        e_needed=1 / delta,
        alarm_at=alarm_at,
        reason=empty,
    )


def bets() -> FloatArray:
    """Return the bets (12,): small ones for a long run, large ones for a gross excess."""
    return np.geomspace(0.01, 0.95, _N_BETS)
