"""What a paired comparison resamples: kinds of items with their counts, or clusters."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from evaluation._arrays import FloatArray, IntArray
from evaluation.paired import PairedAnswers
from evaluation.paired_metrics import (
    class_column,
    ratio_mean,
    right_answers,
    said_classes,
    side_sums,
)
from labelproof.spec.metrics import PER_CLASS, MetricRef

_NUMBERS_PER_CHUNK = 1_000_000
_MANY = 1000
_LARGE = 1024
_LIMIT = 20_000
_TABLE_SIZE = 4_000_000  # up to here counting in a table beats sorting


@dataclass(frozen=True, slots=True, kw_only=True)
class Units:
    """Sums (U, 2J) that one unit of each kind adds for A and for B (weights in them), and how many units there are.

    Units are exchanged and left out one by one: items of a kind are alike, clusters are all of their own kind.
    """

    a: FloatArray
    b: FloatArray
    count: FloatArray

    @property
    def n(self) -> int:
        return round(float(self.count.sum()))

    def values(self) -> tuple[float, float]:
        """The metric of A and of B; NaN where undefined."""
        return float(ratio_mean(self.count @ self.a)), float(ratio_mean(self.count @ self.b))

    def swapped(self, resamples: int, rng: np.random.Generator) -> FloatArray:
        """B minus A when every unit's A and B are exchanged with probability one half (resamples,)."""
        step, count = _alike_steps(self.a - self.b, self.count)
        total_a, total_b = self.count @ self.a, self.count @ self.b
        if len(count) > _LIMIT:
            moved = _normal_halves(step, count, resamples, rng)
            return ratio_mean(total_b + moved) - ratio_mean(total_a - moved)
        parts = []
        for size in _chunks(resamples, len(count)):
            moved = _halves(count, size, rng) @ step
            parts.append(ratio_mean(total_b + moved) - ratio_mean(total_a - moved))
        return np.concatenate(parts)

    def swapped_every_way(self) -> FloatArray:
        """B minus A for all 2^n exchanges of n units, each its own kind (n small)."""
        ways = (np.arange(2**self.n)[:, None] >> np.arange(self.n)) & 1
        moved = ways @ (self.a - self.b)
        return ratio_mean(self.b.sum(axis=0) + moved) - ratio_mean(self.a.sum(axis=0) - moved)


def kinds_of_items(answers: PairedAnswers, metric: MetricRef) -> Units:
    """Items that the metric cannot tell apart as one kind, those it speaks of; not for money and time."""
    first, count = _kinds(_digits(answers, metric))
    few = answers.only(first)
    weight = np.ones(few.n) if few.weight is None else few.weight
    return _of_some(
        a=side_sums(few, metric, of_b=False) * weight[:, None],
        b=side_sums(few, metric, of_b=True) * weight[:, None],
        count=count.astype(np.float64),
    )


def clusters_of_items(answers: PairedAnswers, metric: MetricRef) -> Units:
    """One unit per cluster with an item that the metric speaks of, in the order of their ids."""
    from scipy.sparse import csr_matrix

    assert answers.cluster is not None
    ids, place = np.unique(answers.cluster, return_inverse=True)
    weight = np.ones(answers.n) if answers.weight is None else answers.weight
    shape = (len(ids), answers.n)
    gather = csr_matrix((weight, (place, np.arange(answers.n))), shape=shape)
    return _of_some(
        a=np.asarray(gather @ side_sums(answers, metric, of_b=False)),
        b=np.asarray(gather @ side_sums(answers, metric, of_b=True)),
        count=np.ones(len(ids)),
    )


def _of_some(*, a: FloatArray, b: FloatArray, count: FloatArray) -> Units:
    spoken = (a != 0).any(axis=1) | (b != 0).any(axis=1)
    return Units(a=a[spoken], b=b[spoken], count=count[spoken])


def _digits(answers: PairedAnswers, metric: MetricRef) -> list[tuple[npt.NDArray[np.generic], int]]:
    """What the metric looks at of each item: codes from 0, and how many codes there are."""
    size = len(answers.labels)
    digits: list[tuple[npt.NDArray[np.generic], int]]
    if metric.name == "macro_f1":
        assert answers.gold is not None
        digits = [(answers.gold, size), (answers.a + 1, size + 1), (answers.b + 1, size + 1)]
    elif metric.name in PER_CLASS:
        assert answers.gold is not None
        named = answers.members[:, class_column(metric, answers.classes)]
        digits = [
            (named[answers.gold], 2),
            (said_classes(answers.a, named), 2),
            (said_classes(answers.b, named), 2),
        ]
    elif metric.needs_gold:
        assert answers.gold is not None
        digits = [(right_answers(answers.gold, side), 2) for side in (answers.a, answers.b)]
    else:
        digits = [(answers.a < 0, 2), (answers.b < 0, 2)]
    if metric.name in {"auto_accuracy", "auto_accept_rate"}:
        digits += [(answers.accepted_a, 2), (answers.accepted_b, 2)]
    if answers.weight is not None:
        values, codes = np.unique(answers.weight, return_inverse=True)
        digits.append((codes, len(values)))
    return digits


def _kinds(digits: list[tuple[npt.NDArray[np.generic], int]]) -> tuple[IntArray, IntArray]:
    """An item of each kind that occurs, and how many there are; a kind is one combination of digits."""
    key = np.zeros(len(digits[0][0]), dtype=np.int64)
    possible = 1
    for codes, size in digits:
        key = key * size + codes.astype(np.int64)
        possible *= size
    if possible > _TABLE_SIZE:
        _, first, count = np.unique(key, return_index=True, return_counts=True)
        return first.astype(np.int64), count.astype(np.int64)
    count = np.bincount(key, minlength=possible)
    some = np.empty(possible, dtype=np.int64)
    some[key] = np.arange(len(key))
    filled = np.flatnonzero(count)
    return some[filled], count[filled].astype(np.int64)


def _chunks(rows: int, columns: int) -> Iterator[int]:
    size = max(1, _NUMBERS_PER_CHUNK // max(1, columns))
    for start in range(0, rows, size):
        yield min(size, rows - start)


def _alike_steps(step: FloatArray, count: FloatArray) -> tuple[FloatArray, FloatArray]:
    """What an exchange moves (U, 2J) without the units in which nothing moves; equal steps as one kind if that is cheap."""
    moving = np.flatnonzero((step != 0).any(axis=1))
    step, count = step[moving], count[moving]
    varying = np.flatnonzero((step != 0).any(axis=0))
    if len(varying) != 1 or len(count) < _MANY:
        return step, count
    _, first, kind = np.unique(step[:, varying[0]], return_index=True, return_inverse=True)
    return step[first], np.bincount(kind, weights=count).astype(np.float64)


def _halves(count: FloatArray, rows: int, rng: np.random.Generator) -> FloatArray:
    """How many of ``count`` units (U,) are exchanged when each is with probability one half (rows, U).

    Random bits counted 64 at a time, ten times as fast as drawing binomials; above ``_LARGE`` the normal limit,
    rounded, whose distribution function is then within .00003 of the binomial's.
    """
    drawn = np.zeros((rows, len(count)))
    single = np.flatnonzero(count == 1)
    bits = np.frombuffer(rng.bytes(-(-rows * len(single) // 8)), dtype=np.uint8)
    drawn[:, single] = np.unpackbits(bits, count=rows * len(single)).reshape(rows, len(single))
    small = np.flatnonzero((count > 1) & (count <= _LARGE))
    for done in range(0, int(count[small].max(initial=0)), 64):
        chosen = small[count[small] > done]
        left = np.minimum(count[chosen] - done, 64).astype(np.uint64)
        mask = np.uint64(2**64 - 1) >> (np.uint64(64) - left)
        words = np.frombuffer(rng.bytes(8 * rows * len(chosen)), dtype=np.uint64).reshape(rows, len(chosen))
        drawn[:, chosen] += np.bitwise_count(words & mask)
    large = np.flatnonzero(count > _LARGE)
    middle = count[large] / 2
    drawn[:, large] = np.rint(middle + np.sqrt(middle / 2) * rng.standard_normal((rows, len(large))))
    return drawn


def _normal_halves(step: FloatArray, count: FloatArray, rows: int, rng: np.random.Generator) -> FloatArray:
    """What exchanges move in all (rows, 2J), from the normal limit of a sum over very many units."""
    weighted = step * count[:, None]
    values, vectors = np.linalg.eigh(step.T @ weighted / 4)
    spread = vectors * np.sqrt(np.maximum(values, 0.0))
    return np.asarray(weighted.sum(axis=0) / 2 + rng.standard_normal((rows, len(values))) @ spread.T)
