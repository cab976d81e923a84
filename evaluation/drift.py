"""A drift alarm that may be looked at every day, with a bounded rate of false alarms: e-Shiryaev-Roberts over days.

A batch is a day of work (or several, if one is too small). Days differ without a fault: what counts is how far a day
is from the usual spread of days, not from what item sampling alone would give.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from evaluation._arrays import BoolArray, FloatArray, IntArray
from evaluation._drift_evidence import DayScores, Scorer, split_log_evidence
from evaluation._drift_scores import CategoryScorer, OrderedScorer, as_counts
from evaluation._e_processes import log_mean_exp
from evaluation.change_point import ChangePoint, locate_change
from evaluation.intervals import Estimate, undefined
from labelproof.spec.errors import ConfigError

__all__ = [
    "CategoryScorer",
    "DayScores",
    "DriftAlarm",
    "DriftDetector",
    "OrderedScorer",
    "Scorer",
    "as_counts",
    "replay",
    "total_variation",
]

MIN_BATCHES = 7
"""Batches that must be known before the first comparison: a week has seven kinds of days."""
RETURN_BATCHES = (3, 5, 7)
"""After so many batches that look like those before the change, what came has gone again."""
Phase = Literal["learning", "watching", "alarmed"]
How = Literal["returned", "new normal"]


@dataclass(frozen=True, slots=True, kw_only=True)
class DriftAlarm:
    """An alarm from batch ``at`` on; scores moved from batch ``change.at`` on. Positions of batches, from 0.

    ``ended_at``: the batch that ended it (None: it lasts) because scores ``returned`` to what they were before, or
    because what came after the change is the ``new normal``. ``before``: batches that were compared with.
    """

    at: int
    change: ChangePoint
    log_evidence: float
    before: tuple[int, ...]
    ended_at: int | None = None
    how: How | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DriftDetector:
    """The state after some batches; :meth:`update` returns the next.

    Sum over the days s since watching began of the e-value "scores moved on day s": M_t, the e-SR detector of Shin,
    Ramdas & Rinaldo (2024), New England Journal of Statistics in Data Science 2. M_t - t is a supermartingale while days
    are exchangeable and normal on their scale, whatever their mean and spread, so that the alarm M >= ``threshold``
    comes falsely at most once in ``threshold`` batches on average. Several detectors with threshold K x A
    each have one false alarm in A batches together, however dependent they are.

    First ``min_batches`` are only learned. Watching begins anew every ``reference_days`` with the batches of the last
    ``reference_days`` as reference, unless evidence is building up. After an alarm see :class:`DriftAlarm`: a
    second detector learns what came after the change; quiet for ``window_days``, it takes over.
    """

    threshold: float
    reference_days: float = 28.0
    window_days: float = 7.0
    min_batches: int = MIN_BATCHES
    weekends: bool = True
    """Whether weekends may have a level of their own; not when a batch is several days."""
    days: tuple[int, ...] = ()
    reference: tuple[int, ...] = ()
    watched: tuple[int, ...] = ()
    watching_since: int | None = None
    """Day number at which watching began."""
    log_evidence: float | None = None
    """log M now; None while learning."""
    alarms: tuple[DriftAlarm, ...] = ()
    successor: DriftDetector | None = None
    """What learns the time after the change while an alarm lasts."""

    def __post_init__(self) -> None:
        if not self.threshold > 1:
            raise ConfigError(f"threshold: expected more than 1 batch, found {self.threshold:g}")
        if self.min_batches < 3:
            raise ConfigError(f"min_batches: expected at least 3, found {self.min_batches}")

    @property
    def alarm(self) -> DriftAlarm | None:
        """The alarm that lasts, else None."""
        last = self.alarms[-1] if self.alarms else None
        return last if last is not None and last.ended_at is None else None

    @property
    def phase(self) -> Phase:
        if self.alarm is not None:
            return "alarmed"
        return "learning" if self.watching_since is None else "watching"

    @property
    def missing_batches(self) -> int:
        """How many more batches must be learned before anything can be said."""
        return max(0, self.min_batches - len(self.reference)) if self.phase == "learning" else 0

    def update(self, day: int, scorer: Scorer) -> DriftDetector:
        """The state after one more batch, that of ``day`` (days since 1970-01-01), which ``scorer`` knows."""
        if self.days and day <= self.days[-1]:
            raise ConfigError(
                f"day: expected batches in the order of time, found {day} after {self.days[-1]}"
            )
        known = replace(self, days=(*self.days, day))
        batch = len(self.days)
        return known._watch(batch, scorer) if self.alarm is None else known._under_alarm(batch, scorer)

    def _watch(self, batch: int, scorer: Scorer) -> DriftDetector:
        day = self.days[batch]
        if self.watching_since is None:
            reference = (*self.reference, batch)
            ready = len(reference) >= self.min_batches
            return replace(self, reference=reference, watching_since=day if ready else None)
        state = self._renewed(day)
        state = replace(state, watched=(*state.watched, batch))
        rows = np.array([*state.reference, *state.watched], dtype=np.int64)
        scores = scorer(rows[: len(state.reference)])
        log_gain = log_mean_exp(split_log_evidence(scores, rows, self._weekend(), len(state.reference)))
        log_m = float(np.logaddexp.reduce(log_gain))
        state = replace(state, log_evidence=log_m)
        if log_m < math.log(self.threshold):
            return state
        change = locate_change(log_gain)
        by_batch = ChangePoint(
            at=state.watched[change.at],
            low=state.watched[change.low],
            high=state.watched[change.high],
            level=change.level,
            log_gain=change.log_gain,
        )
        before = (*state.reference, *(b for b in state.watched if b < by_batch.at))
        found = DriftAlarm(at=batch, change=by_batch, log_evidence=log_m, before=before)
        after = tuple(b for b in state.watched if b >= by_batch.at)
        return replace(state, alarms=(*self.alarms, found), successor=self._fresh(after))

    def _under_alarm(self, batch: int, scorer: Scorer) -> DriftDetector:
        assert self.successor is not None
        assert self.alarm is not None
        back = self._returned(batch, scorer)
        if back:
            rest = self._recent((*self.alarm.before, *back), self.days[batch])
            return self._ended(batch, "returned", reference=rest, watched=(), watching_since=self.days[batch])
        after = replace(self.successor, days=self.days)._watch(batch, scorer)
        if after.alarm is not None:  # it moved once more: learn from there
            assert after.successor is not None
            after = after.successor
        since = after.watching_since
        if since is not None and self.days[batch] - since >= self.window_days:
            return self._ended(
                batch,
                "new normal",
                reference=after.reference,
                watched=after.watched,
                watching_since=since,
                log_evidence=after.log_evidence,
            )
        return replace(self, successor=after)

    def _returned(self, batch: int, scorer: Scorer) -> tuple[int, ...]:
        """The latest batches if they look like those before the change and not like those after it; else none."""
        alarm = self.alarm
        assert alarm is not None
        for n in RETURN_BATCHES:
            last = tuple(range(batch - n + 1, batch + 1))
            changed = tuple(range(alarm.change.at, last[0]))
            if last[0] <= alarm.at or not changed:
                continue
            scores = scorer(np.array(alarm.before, dtype=np.int64))
            from_before = self._moved(scores, alarm.before, last)
            if from_before.max() <= math.log(3) and log_mean_exp(from_before) <= 0:
                from_changed = self._moved(replace(scores, upward=False), changed, last)
                if log_mean_exp(from_changed) >= math.log(10):
                    return last
        return ()

    def _moved(self, scores: DayScores, before: tuple[int, ...], after: tuple[int, ...]) -> FloatArray:
        """Log evidence (K,) that ``after`` differs from ``before``."""
        rows = np.array([*before, *after], dtype=np.int64)
        return np.asarray(split_log_evidence(scores, rows, self._weekend(), len(before))[0])

    def _fresh(self, reference: tuple[int, ...]) -> DriftDetector:
        """A detector that knows ``reference`` alone, from now on."""
        ready = len(reference) >= self.min_batches
        return replace(
            self,
            reference=reference,
            watched=(),
            watching_since=self.days[-1] if ready else None,
            log_evidence=None,
            alarms=(),
            successor=None,
        )

    def _ended(
        self,
        batch: int,
        how: How,
        *,
        reference: tuple[int, ...],
        watched: tuple[int, ...],
        watching_since: int,
        log_evidence: float | None = None,
    ) -> DriftDetector:
        done = replace(self.alarms[-1], ended_at=batch, how=how)
        return replace(
            self,
            alarms=(*self.alarms[:-1], done),
            reference=reference,
            watched=watched,
            watching_since=watching_since,
            log_evidence=log_evidence,
            successor=None,
        )

    def _renewed(self, day: int) -> DriftDetector:
        """The state with a newer reference, when it is time and nothing speaks for a change."""
        assert self.watching_since is not None
        calm = self.log_evidence is None or self.log_evidence < 0.5 * math.log(self.threshold)
        if day - self.watching_since < self.reference_days or not calm:
            return self
        reference = self._recent((*self.reference, *self.watched), day)
        return replace(self, reference=reference, watched=(), watching_since=day)

    def _recent(self, batches: tuple[int, ...], day: int) -> tuple[int, ...]:
        """The batches of the last ``reference_days``, at least ``min_batches``."""
        recent = tuple(b for b in batches if self.days[b] >= day - self.reference_days)
        return recent if len(recent) >= self.min_batches else batches[-self.min_batches :]

    def _weekend(self) -> BoolArray:
        days = np.array(self.days, dtype=np.int64)
        # 1970-01-01 was a Thursday.
        return np.asarray(((days + 3) % 7 >= 5) & self.weekends)


def replay(detector: DriftDetector, days: IntArray, scorer: Scorer) -> DriftDetector:
    """The state after all batches of ``days`` (D,)."""
    remembered: dict[bytes, DayScores] = {}

    def once(reference: IntArray) -> DayScores:
        key = reference.tobytes()
        if key not in remembered:
            remembered[key] = scorer(reference)
        return remembered[key]

    for day in days:
        detector = detector.update(int(day), once)
    return detector


def total_variation(
    before: FloatArray, after: FloatArray, *, seed: int, resamples: int = 500, confidence: float = 0.95
) -> Estimate:
    """How much of the work moved: half the sum of absolute differences of shares, with an interval over days.

    ``before`` (D, M), ``after`` (E, M) counts a day and category. Differences that days show by themselves are taken
    off (bootstrap bias correction over days, at least 0), so that no change gives about 0; basic bootstrap interval.
    """
    method = "total variation, basic bootstrap over days"
    n = int(before.sum() + after.sum())
    if not before.sum() or not after.sum():
        return undefined(method, n, "no items on one of the two sides")
    rng = np.random.default_rng(seed)
    found = float(_distance(before.sum(axis=0), after.sum(axis=0)))
    picked = _picked(before, after, rng, resamples)
    drawn = _distance(_redrawn(before, picked[0]), _redrawn(after, picked[1]))
    tail = 50 * (1 - confidence)
    high, low = 2 * found - np.percentile(drawn, [tail, 100 - tail])
    value = min(1.0, max(0.0, 2 * found - float(drawn.mean())))
    return Estimate(
        value=value,
        low=max(0.0, min(value, float(low))),
        high=min(1.0, max(value, float(high))),
        n=n,
        method=method,
    )


def _picked(
    before: FloatArray, after: FloatArray, rng: np.random.Generator, resamples: int
) -> tuple[IntArray, IntArray]:
    """As many days (R, D) of each side, drawn with replacement; of a single day its items are drawn: counts (R, M)."""
    n = len(before), len(after)
    if min(n) > 1:
        both = rng.integers(np.tile(np.repeat(n, n), (resamples, 1)))
        return both[:, : n[0]], both[:, n[0] :]

    def once(counts: FloatArray) -> IntArray:
        if len(counts) > 1:
            return rng.integers(len(counts), size=len(counts))
        return np.asarray(rng.multinomial(int(counts.sum()), counts[0] / counts[0].sum()), dtype=np.int64)

    drawn = [(once(before), once(after)) for _ in range(resamples)]
    return np.array([one for one, _ in drawn]), np.array([other for _, other in drawn])


def _redrawn(counts: FloatArray, picked: IntArray) -> FloatArray:
    """Counts (R, M) of what was picked each time; all days' counts where only days without items were."""
    days = len(counts)
    if days == 1:
        return picked.astype(np.float64)
    times = np.bincount((picked + days * np.arange(len(picked))[:, None]).ravel(), minlength=picked.size)
    sums = times.reshape(len(picked), days).astype(np.float64) @ counts
    return np.where(sums.sum(axis=1, keepdims=True) > 0, sums, counts.sum(axis=0))


def _distance(a: FloatArray, b: FloatArray) -> FloatArray:
    """Half the sum of absolute differences of shares over the last axis."""
    shares = [one / one.sum(axis=-1, keepdims=True) for one in (a, b)]
    return np.asarray(0.5 * np.abs(shares[0] - shares[1]).sum(axis=-1))
