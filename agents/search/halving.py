"""Successive halving on nested items, and what the best of many looks better by than it is.

Jamieson & Talwalkar (2016), "Non-stochastic Best Arm Identification and Hyperparameter Optimization", Algorithm 1:
rounds of about equal cost, each with half of the candidates and twice the items. Here an item more is a pull; items
are nested and the same for all, so that every comparison is paired. The base takes part in every round and never
drops out. Pure functions: scores in, choices out.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy.integrate import quad
from scipy.special import ndtr

from evaluation._arrays import BoolArray, FloatArray, IntArray
from evaluation.paired_metrics import metric_values
from labelproof.spec.errors import ConfigError
from labelproof.spec.metrics import MetricRef

MIN_ITEMS = 16
"""Items of the first round at least: fewer tell nothing, and half of them fit the calibrators."""
RESAMPLES = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Rung:
    """One round: ``n_candidates`` (without the base) are judged on the first ``n_items`` of the tuning items."""

    n_candidates: int
    n_items: int


def schedule(
    n_candidates: int, n_items: int, *, rounds: int | None = None, min_items: int = MIN_ITEMS
) -> tuple[Rung, ...]:
    """Return the rounds: candidates halve (rounded up) and items double until all ``n_items`` are used.

    ``rounds`` None: until two candidates are left, as far as the first round keeps ``min_items`` items. Equal
    neighbours (nothing halves, nothing grows) are left out. ``ConfigError`` below one candidate or item.
    """
    if n_candidates < 1 or n_items < 1:
        raise ConfigError(f"expected at least one candidate and one item, found {n_candidates} and {n_items}")
    if rounds is None:
        by_candidates = max(1, math.ceil(math.log2(n_candidates)))
        by_items = max(1, int(math.log2(max(1.0, n_items / min_items))) + 1)
        rounds = min(by_candidates, by_items)
    rungs: list[Rung] = []
    for index in range(rounds):
        left = max(1, math.ceil(n_candidates / 2**index))
        size = min(n_items, max(min_items, n_items >> (rounds - 1 - index)))
        rung = Rung(n_candidates=left, n_items=size)
        if not rungs or rung != rungs[-1]:
            rungs.append(rung)
    return tuple(rungs)


def most_calls(rungs: Sequence[Rung], per_item: Sequence[float], base_per_item: float) -> int:
    """Return the model calls of a schedule at most: the dearest candidates survive, nothing is stored yet.

    ``per_item``: calls an item of each candidate. An item is asked once, in the first round that has it.
    """
    dear = sorted(per_item, reverse=True)
    total, before = 0.0, 0
    for rung in rungs:
        total += (rung.n_items - before) * (base_per_item + sum(dear[: rung.n_candidates]))
        before = rung.n_items
    return math.ceil(total)


def affordable(
    per_item: Sequence[float],
    base_per_item: float,
    n_items: int,
    max_calls: int,
    *,
    rounds: int | None = None,
    min_items: int = MIN_ITEMS,
) -> tuple[Rung, ...]:
    """Return the schedule with most items whose ``most_calls`` stay within ``max_calls``; ``ConfigError`` if none does."""

    def rungs_of(size: int) -> tuple[Rung, ...]:
        return schedule(len(per_item), size, rounds=rounds, min_items=min(min_items, size))

    low, high = min(min_items, n_items), n_items
    least = most_calls(rungs_of(low), per_item, base_per_item)
    if least > max_calls:
        raise ConfigError(
            f"--max-calls {max_calls}: {len(per_item)} candidates on {low} items take {least} calls",
            hint=f"raise it to {least}, or ask for fewer --candidates",
        )
    while low < high:
        middle = (low + high + 1) // 2
        fits = most_calls(rungs_of(middle), per_item, base_per_item) <= max_calls
        low, high = (middle, high) if fits else (low, middle - 1)
    return rungs_of(low)


def survivors(scores: Mapping[str, float], cost: Mapping[str, float | None], n: int) -> list[str]:
    """Return the ``n`` best names, best first. Ties go to the cheaper one (unknown cost last), then to the first name.

    NaN (nothing to measure) ranks below every number.
    """

    def key(name: str) -> tuple[float, float, str]:
        value, price = scores[name], cost.get(name)
        return (math.inf if math.isnan(value) else -value, math.inf if price is None else price, name)

    return sorted(scores, key=key)[:n]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scored:
    """One strategy on a round's items: the metric, and its difference to the base, with paired bootstrap intervals.

    All in the metric's own unit, 0 to 1; NaN where it is undefined on these items.
    """

    value: float
    low: float
    high: float
    delta: float
    delta_low: float
    delta_high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Board:
    """A round's strategies (rows: the base first) on its items under the same resampling weights.

    ``values`` (K,); ``draws`` (K, R) resampled with replacement, ``left_out`` (K, R) on the items that a draw left out.
    """

    names: tuple[str, ...]
    values: FloatArray
    draws: FloatArray
    left_out: FloatArray

    def scored(self, confidence: float = 0.95) -> dict[str, Scored]:
        """Return the scores by name, with percentile intervals (Efron & Tibshirani 1993, section 13.3)."""
        levels = ((1 - confidence) / 2, (1 + confidence) / 2)
        found = {}
        for row, name in enumerate(self.names):
            low, high = _quantiles(self.draws[row], levels)
            delta_low, delta_high = _quantiles(self.draws[row] - self.draws[0], levels)
            found[name] = Scored(
                value=float(self.values[row]),
                low=low,
                high=high,
                delta=float(self.values[row] - self.values[0]),
                delta_low=delta_low,
                delta_high=delta_high,
            )
        return found


def board(
    names: Sequence[str],
    gold: IntArray,
    answers: IntArray,
    *,
    members: BoolArray,
    classes: Sequence[str],
    metric: MetricRef,
    design: FloatArray,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> Board:
    """Return the scores of ``answers`` (K, n), codes as in ``PairedAnswers``, against ``gold`` (n,).

    ``design`` (n,): weight of each item, 1 / inclusion probability (all alike: ones).
    """
    n = len(gold)
    drawn = np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), size=resamples).astype(np.float64)
    weights = np.vstack([np.ones(n), drawn, drawn == 0]) * design
    accepted = np.zeros(n, dtype=np.bool_)
    found = np.vstack(
        [
            metric_values(
                gold, row, accepted, members=members, classes=classes, metric=metric, weights=weights
            )
            for row in answers
        ]
    )
    return Board(
        names=tuple(names),
        values=found[:, 0],
        draws=found[:, 1 : resamples + 1],
        left_out=found[:, resamples + 1 :],
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Optimism:
    """How much of the winner's lead is luck, in the metric's own unit; None: not measurable.

    ``lead``: winner minus base on the tuning items. ``corrected``: what such a choice gains on items that did not
    choose. ``if_equal``: the lead expected if no candidate were better or worse than the base.
    """

    lead: float
    corrected: float | None
    if_equal: float | None


def optimism(last: Board, n_tried: int) -> Optimism:
    """Return the winner's curse of the last round's board.

    ``corrected`` is BBC-CV of Tsamardinos, Greasidou & Borboudakis (2018, Machine Learning 107): in each resample the
    best strategy is chosen anew and scored on the items left out (about 37 %), minus the base's score there. It is
    slightly pessimistic, since a resample chooses on fewer distinct items, and blind to choices of earlier rounds.
    ``if_equal`` counts those: the expected maximum of ``n_tried`` candidates and the base, of normal noise of the size
    seen between the finalists and the base; an upper bound, since only finalists were judged on all items.
    """
    if len(last.names) < 2:
        return Optimism(lead=0.0, corrected=None, if_equal=None)
    lead = float(np.max(np.nan_to_num(last.values, nan=-np.inf)) - last.values[0])
    chosen = np.argmax(np.nan_to_num(last.draws, nan=-np.inf), axis=0)
    columns = np.arange(last.draws.shape[1])
    gained = last.left_out[chosen, columns] - last.left_out[0]
    known = gained[np.isfinite(gained)]
    spread = np.nanstd(last.draws[1:] - last.draws[0], axis=1)
    own = float(np.sqrt(np.mean(spread**2) / 2))  # a difference carries the noise of both
    return Optimism(
        lead=lead,
        corrected=float(known.mean()) if len(known) else None,
        if_equal=own * expected_maximum(n_tried + 1) if math.isfinite(own) else None,
    )


@lru_cache(maxsize=128)
def expected_maximum(k: int) -> float:
    """Return the expected largest of ``k`` independent standard normal values (k = 12: 1.629)."""
    if k < 2:
        return 0.0
    density = 1 / math.sqrt(2 * math.pi)
    value, _ = quad(lambda x: x * k * density * math.exp(-x * x / 2) * ndtr(x) ** (k - 1), -10, 10, limit=200)
    return float(value)


def _quantiles(draws: FloatArray, levels: tuple[float, float]) -> tuple[float, float]:
    known = draws[np.isfinite(draws)]
    if not len(known):
        return math.nan, math.nan
    low, high = np.quantile(known, levels)
    return float(low), float(high)
