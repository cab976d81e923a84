"""Which of several changes made a difference: Shapley values of replayed mixtures, with intervals over items.

Shapley (1953), "A value for n-person games", applied as in Lundberg & Lee (2017) with coalitions that were really run:
a coalition is the set of components taken from strategy B, the others stay as in A.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import factorial

import numpy as np

from evaluation._arrays import BoolArray, FloatArray, IntArray
from evaluation.paired_metrics import item_sums, metric_values, ratio_mean
from labelproof.spec.errors import ConfigError
from labelproof.spec.metrics import MetricRef

Coalition = frozenset[str]
_CHUNK = 4_000_000
"""Weights held at a time."""
_MOST_UNDEFINED = 0.05
"""Share of resamples in which the metric may be undefined before there is no interval."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CoalitionAnswers:
    """What one mixture answered on the n items: codes of labels (or ``NO_ANSWER``), and what would be auto-accepted."""

    answer: IntArray
    accepted: BoolArray


@dataclass(frozen=True, slots=True, kw_only=True)
class ComponentShare:
    """One component's Shapley share of the difference, in the metric's unit; None with the attribution's reason."""

    component: str
    delta: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Attribution:
    """Shares that sum to ``delta`` (B minus A); ``values``: the metric of every coalition, None where undefined."""

    metric: str
    delta: float | None
    low: float | None
    high: float | None
    shares: tuple[ComponentShare, ...]
    values: Mapping[Coalition, float | None]
    n: int
    confidence: float
    method: str
    reason: str | None = None


def shapley(values: Mapping[Coalition, FloatArray]) -> dict[str, FloatArray]:
    """Exact Shapley values of each component: ``values`` coalition -> (R,), for all 2^k coalitions -> (R,) each.

    They sum to the value of all components minus that of none, replicate by replicate, up to rounding. The weight of
    adding i to S is |S|! (k - |S| - 1)! / k!. ``ConfigError`` names a coalition that is missing.
    """
    names = sorted(frozenset().union(*values)) if values else []
    k = len(names)
    if frozenset() not in values:
        raise ConfigError("expected the value of no component taken, found none")
    stacked = np.empty((2**k, *np.shape(values[frozenset()])), dtype=np.float64)
    for mask in range(2**k):
        taken = frozenset(name for i, name in enumerate(names) if mask >> i & 1)
        if taken not in values:
            raise ConfigError(f"expected a value for all {2**k} coalitions; none for {sorted(taken)}")
        stacked[mask] = values[taken]
    masks = np.arange(2**k)
    sizes = np.array([mask.bit_count() for mask in range(2**k)])
    weight = np.array([factorial(s) * factorial(k - s - 1) / factorial(k) for s in range(k)])
    shares = {}
    for i, name in enumerate(names):
        has = (masks >> i & 1).astype(bool)
        without = stacked[~has]
        # Masks keep their order when bit i is left out, so row r of both halves differs in i alone.
        shares[name] = np.tensordot(weight[sizes[~has]], stacked[has] - without, axes=1)
    return shares


def attribute(
    coalitions: Mapping[Coalition, CoalitionAnswers],
    *,
    gold: IntArray | None,
    members: BoolArray,
    classes: Sequence[str],
    metric: MetricRef,
    weight: FloatArray | None = None,
    cluster: IntArray | None = None,
    confidence: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> Attribution:
    """Each component's share of B minus A, with central intervals of its Bayesian bootstrap over items.

    All coalitions are seen under the same resampled weights (Rubin 1981: exponential, one a cluster where ``cluster``
    (n,) is given, times ``weight`` (n,) = 1 / inclusion probability), so that what they share cancels and the shares sum
    to the difference in every replicate. Codes and ``members`` as in :class:`evaluation.paired.PairedAnswers`. Metrics:
    those of gold, auto_accept_rate and failed_rate. Undefined for some coalition (nothing accepted): None and why.
    """
    n = len(_base(coalitions))
    own = np.ones(n) if weight is None else np.asarray(weight, dtype=np.float64)
    point = {
        taken: metric_values(
            gold,
            found.answer,
            found.accepted,
            members=members,
            classes=classes,
            metric=metric,
            weights=own[None],
        )
        for taken, found in coalitions.items()
    }
    values = {taken: None if np.isnan(value[0]) else float(value[0]) for taken, value in point.items()}
    names = sorted(frozenset().union(*coalitions))
    everything = frozenset(names)
    undefined = [taken for taken, value in values.items() if value is None]
    if undefined or n == 0:
        reason = (
            "there are no items" if n == 0 else _undefined(metric, undefined[0], len(undefined), len(values))
        )
        ends = values.get(everything), values.get(frozenset())
        return Attribution(
            metric=metric.text,
            delta=None if ends[0] is None or ends[1] is None else ends[0] - ends[1],
            low=None,
            high=None,
            shares=tuple(ComponentShare(component=name, delta=None, low=None, high=None) for name in names),
            values=values,
            n=n,
            confidence=confidence,
            method="shapley",
            reason=reason,
        )
    sums = {
        taken: item_sums(gold, found.answer, found.accepted, members=members, classes=classes, metric=metric)
        for taken, found in coalitions.items()
    }
    replicates = _resampled(sums, own, cluster, resamples, seed)
    drawn = shapley(replicates)
    exact = shapley(point)
    total = _interval(replicates[everything] - replicates[frozenset()], confidence)
    shares = []
    for name in names:
        low, high = _interval(drawn[name], confidence)
        shares.append(ComponentShare(component=name, delta=float(exact[name][0]), low=low, high=high))
    unsure = any(share.low is None for share in shares)
    return Attribution(
        metric=metric.text,
        delta=float((point[everything] - point[frozenset()])[0]),
        low=total[0],
        high=total[1],
        shares=tuple(shares),
        values=values,
        n=n,
        confidence=confidence,
        method="shapley, bayesian-bootstrap over clusters"
        if cluster is not None
        else "shapley, bayesian-bootstrap",
        reason="no interval: too few items for the metric to be defined in most resamples"
        if unsure
        else None,
    )


def _base(coalitions: Mapping[Coalition, CoalitionAnswers]) -> IntArray:
    """Answers of the coalition without components (n,); ``ConfigError`` when it is missing or others are of another length."""
    base = coalitions.get(frozenset())
    if base is None:
        raise ConfigError("expected the answers of no component taken (strategy A), found none")
    for taken, found in coalitions.items():
        if not len(found.answer) == len(found.accepted) == len(base.answer):
            raise ConfigError(
                f"coalition {sorted(taken)}: expected {len(base.answer)} answers, found {len(found.answer)}"
            )
    return base.answer


def _resampled(
    sums: Mapping[Coalition, FloatArray],
    weight: FloatArray,
    cluster: IntArray | None,
    resamples: int,
    seed: int,
) -> dict[Coalition, FloatArray]:
    """The metric of every coalition under the same random weights of the items (resamples,)."""
    rng = np.random.default_rng(seed)
    unit = np.arange(len(weight)) if cluster is None else np.unique(cluster, return_inverse=True)[1]
    n_units = int(unit.max()) + 1
    size = max(1, _CHUNK // len(weight))
    parts: dict[Coalition, list[FloatArray]] = {taken: [] for taken in sums}
    for start in range(0, resamples, size):
        drawn = rng.standard_exponential((min(size, resamples - start), n_units))
        weights = drawn[:, unit] * weight
        for taken, rows in sums.items():
            parts[taken].append(ratio_mean(weights @ rows))
    return {taken: np.concatenate(found) for taken, found in parts.items()}


def _interval(values: FloatArray, confidence: float) -> tuple[float | None, float | None]:
    known = values[~np.isnan(values)]
    if len(known) < (1 - _MOST_UNDEFINED) * len(values) or not len(known):
        return None, None
    tail = (1 - confidence) / 2
    low, high = np.quantile(known, [tail, 1 - tail])
    return float(low), float(high)


def _undefined(metric: MetricRef, taken: Coalition, n: int, of: int) -> str:
    name = " + ".join(sorted(taken)) or "nothing (A)"
    more = f" and {n - 1} more of {of} mixtures" if n > 1 else ""
    return f"{metric.text} is undefined for the mixture that takes {name} from B{more}"
