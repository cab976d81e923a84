"""Whether a reviewer's accuracy on hidden gold has fallen: a test that may be looked at after every check.

The test bets against "the accuracy is at least the level". Every tenth check a new bet starts, the k-th with
1/(k(k+1)) of the money, so that good old answers do not hide bad new ones. While each check is wrong with
probability at most the limit, the money M is a nonnegative supermartingale from 1, so that P(M ever reaches
1/delta) <= delta (Ville 1939), however often one looks. Each bet is the likelihood ratio of raised odds of an
error (x 1.5, 2, 3, 5, averaged), as in ``evaluation.monitors.DriftMonitor`` (Shin, Ramdas & Rinaldo 2024,
E-detectors); that one bounds the mean time between false alarms, this one the probability that there ever is
one, since an alarm here speaks about a person.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal

import numpy as np
import numpy.typing as npt

from evaluation.intervals import clopper_pearson
from evaluation.monitors import drift_bets
from labelproof.spec.errors import ConfigError

Against = Literal["bar", "own level"]
DELTA = 0.05
"""Bound on the probability that a reviewer who keeps the level is ever alarmed about."""
OWN_LEVEL_CHECKS = (30, 100)
"""So many first checks tell a reviewer's own level, the sooner and the better way."""
_BLOCK = 10
"""A new bet starts every so many checks."""
METHOD = "e-process over change points (bets from every 10th check, odds of an error x 1.5, 2, 3, 5)"


@dataclass(frozen=True, slots=True, kw_only=True)
class FallTest:
    """Evidence that the accuracy on checks is below ``level``, in the order in which checks were answered.

    ``e_value``: the evidence now; the alarm is raised when it reaches ``e_needed`` and stays. ``false_alarm_prob``: at
    most this is the probability that an alarm is *ever* raised about somebody who keeps the level. ``alarm_at``,
    ``change_at``: check (1 = this reviewer's first) of the alarm, and from which errors most likely rose, with their times.
    ``n``: checks tested. Without ``e_value``, ``reason`` says why.
    """

    against: Against
    level: float | None
    n: int
    e_value: float | None
    e_needed: float | None
    false_alarm_prob: float
    alarm_at: int | None = None
    change_at: int | None = None
    alarm_time: datetime | None = None
    change_time: datetime | None = None
    reason: str | None = None
    method: str = METHOD

    @property
    def alarm(self) -> bool:
        """Whether the evidence has ever reached what is needed."""
        return self.alarm_at is not None

    def timed(self, times: npt.NDArray[np.object_] | list[datetime]) -> FallTest:
        """Return the same with the times of its checks; ``times``: one per check of the reviewer, in order."""
        return replace(
            self,
            alarm_time=None if self.alarm_at is None else times[self.alarm_at - 1],
            change_time=None if self.change_at is None else times[self.change_at - 1],
        )


def below_bar(right: npt.ArrayLike, bar: float | None, *, delta: float = DELTA) -> FallTest:
    """Test whether answers ``right`` (n,) of bool, oldest first, come from an accuracy below ``bar`` in (0, 1)."""
    y = np.asarray(right, dtype=np.bool_)
    if bar is None:
        why = "the project sets no bar: add {metric: reviewer_accuracy, at_least: 0.9} to `targets` in project.yaml"
        return _untested("bar", None, y.size, delta, why)
    if not 0 < bar < 1:
        raise ConfigError(
            f"reviewer_accuracy: expected a bar above 0 and below 1, found {bar:g}",
            hint="nobody is right every time: a bar of 0.9 or 0.95 can be tested",
        )
    if y.size == 0:
        return _untested("bar", bar, 0, delta, "no checks answered")
    return _tested("bar", y, bar, first=0, e_needed=1 / delta, delta=delta)


def below_own_level(right: npt.ArrayLike, *, delta: float = DELTA) -> FallTest:
    """Test whether later answers are worse than the first ones of ``right`` (n,) of bool, oldest first.

    Two tests at delta/2 each, after the first 30 and after the first 100 checks: few tell a level soon, many tell it well.
    Each takes the lower end of the exact (Clopper-Pearson) interval of its first ones, which lies above the true level
    with probability delta/4 at most, and tests later ones against it at delta/4. Returned is the one with more evidence.
    """
    y = np.asarray(right, dtype=np.bool_)
    shortest = OWN_LEVEL_CHECKS[0]
    if y.size <= shortest:
        why = f"{y.size} of the {shortest + 1} checks that it takes: {shortest} tell the earlier level"
        return _untested("own level", None, 0, delta, why)
    tested = []
    for first in OWN_LEVEL_CHECKS:
        if y.size <= first:
            continue
        level = clopper_pearson(int(y[:first].sum()), first, confidence=1 - delta / 2).low
        if level is not None and level > 0:
            tested.append(_tested("own level", y, level, first=first, e_needed=4 / delta, delta=delta))
    if not tested:
        why = f"all of the first {shortest} checks were wrong: nothing to fall from"
        return _untested("own level", None, y.size - shortest, delta, why)
    return min(tested, key=lambda test: (test.alarm_at or math.inf, -(test.e_value or 0.0)))


def log_evidence(wrong: npt.NDArray[np.bool_], limit: float) -> npt.NDArray[np.float64]:
    """Return log M (n,) against "wrong with probability at most ``limit``" after each of ``wrong`` (n,), n >= 1."""
    total = _running(wrong, limit)
    block = np.arange(wrong.size) // _BLOCK
    starts = np.arange(block[-1] + 1)
    stake = -np.log((starts + 1.0) * (starts + 2.0))
    begun = np.logaddexp.accumulate(stake[:, None] - total[starts * _BLOCK], axis=0)
    unspent = -np.log(block + 2.0)
    money = np.logaddexp(total[1:] + begun[block], unspent[:, None])
    return np.asarray(np.logaddexp.reduce(money, axis=1) - np.log(money.shape[1]))


def _running(wrong: npt.NDArray[np.bool_], limit: float) -> npt.NDArray[np.float64]:
    """Return the running sums (n + 1, K) of the bets' log likelihood ratios, 0 first."""
    gain = (wrong.astype(np.float64) - limit) / limit
    steps = np.log1p(gain[:, None] * drift_bets(limit)[None, :])
    return np.vstack([np.zeros((1, steps.shape[1])), np.cumsum(steps, axis=0)])


def _tested(
    against: Against, right: npt.NDArray[np.bool_], level: float, *, first: int, e_needed: float, delta: float
) -> FallTest:
    wrong = ~right[first:]
    path = log_evidence(wrong, 1 - level)
    reached = np.flatnonzero(path >= np.log(e_needed))
    alarm = int(reached[0]) if reached.size else None
    change = None
    if alarm is not None:
        total = _running(wrong[: alarm + 1], 1 - level)
        starts = np.arange(0, alarm + 1, _BLOCK)
        change = int(starts[(total[-1] - total[starts]).max(axis=1).argmax()])
    return FallTest(
        against=against,
        level=level,
        n=int(wrong.size),
        e_value=float(np.exp(min(path[-1], 709.0))),
        e_needed=e_needed,
        false_alarm_prob=delta,
        alarm_at=None if alarm is None else first + alarm + 1,
        change_at=None if change is None else first + change + 1,
    )


def _untested(against: Against, level: float | None, n: int, delta: float, reason: str) -> FallTest:
    return FallTest(
        against=against,
        level=level,
        n=n,
        e_value=None,
        e_needed=None,
        false_alarm_prob=delta,
        reason=reason,
    )
