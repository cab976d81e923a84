"""Where errors gather: the worst slices over metadata and text clusters, honest about how many were looked at.

Score and search of SliceLine (Sagadeeva & Boehm, SIGMOD 2021): a slice is a conjunction of at most three conditions
`column = value`, its score weighs the error against the size (their eq. 1)

    score = alpha (error_S / error - 1) - (1 - alpha)(n / |S| - 1),

positive only for slices worse than all. All slices of enough support are scored, as matrix products; slices are cut
off by size alone, never by error, so that what is tested does not depend on the errors.

Many slices are looked at, so each gets a corrected p-value: errors are dealt out at random over the items, and
`p_value` is the share of deals in which *any* slice stands out as much (the maximum statistic of Westfall & Young
1993). If errors have nothing to do with any column, a slice with p <= 0.05 is shown in at most 5 % of analyses.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import numpy.typing as npt

from evaluation._arrays import BoolArray, FloatArray, as_bools, as_floats, same_length
from evaluation._threads import one_blas_thread
from evaluation.intervals import Estimate, wilson
from evaluation.slices import OTHER
from labelproof.spec.errors import ConfigError

METHOD = "SliceLine scores; permutation maximum statistic over all slices of enough support"
MOST_SLICES = 3000
"""So many are scored, the largest first."""
MOST_VALUES = 20
_SAME_ROWS = 0.5
"""Of two slices that share this part of the smaller one, only the better is told."""
_CELLS = 20_000_000

Condition = tuple[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundSlice:
    """Items that meet all ``conditions``; ``share`` of the weight, ``error`` with its interval, ``excess`` errors.

    ``error`` is unweighted counts with Wilson's interval; ``weighted_error`` counts items by 1 / inclusion probability.
    ``excess``: errors above what the overall rate would give. ``p_value`` is corrected for everything looked at.
    """

    conditions: tuple[Condition, ...]
    n: int
    n_errors: int
    share: float
    error: Estimate
    weighted_error: float
    lift: float
    excess: float
    score: float
    p_value: float
    rows: tuple[int, ...]
    """Positions of its items."""

    @property
    def name(self) -> str:
        return " & ".join(f"{key} = {value}" for key, value in self.conditions)


@dataclass(frozen=True, slots=True, kw_only=True)
class SliceSearch:
    """The worst slices, best score first; ``reason`` says why there are none to be had."""

    slices: tuple[FoundSlice, ...]
    n: int
    n_errors: int
    n_looked_at: int
    min_support: int
    permutations: int
    method: str = METHOD
    reason: str | None = None


@one_blas_thread
def find_slices(
    columns: Mapping[str, Sequence[str]],
    error: npt.ArrayLike,
    *,
    weight: npt.ArrayLike | None = None,
    alpha: float = 0.95,
    max_level: int = 3,
    min_support: int | None = None,
    top: int = 5,
    permutations: int = 500,
    seed: int = 0,
) -> SliceSearch:
    """Return the ``top`` slices with the largest score above 0; of two that share half of the smaller one the better.

    ``columns``: name -> value of each of the n items, rarer values beyond 20 are one; ``error`` (n,) of bool;
    ``weight`` (n,) > 0. ``min_support``: items a slice needs (default: the larger of 20 and n / 100). Without an error,
    or without a slice of enough support, there is nothing to find, and ``reason`` says so.
    """
    wrong = as_bools(error, "error")
    n = same_length(error=wrong, **columns)
    w = np.ones(n) if weight is None else as_floats(weight, "weight")
    same_length(error=wrong, weight=w)
    if (w <= 0).any() or not 0 < alpha <= 1 or not 1 <= max_level <= 3:
        raise ConfigError("slices: expected weights above 0, alpha in (0, 1] and 1 to 3 levels")
    support = max(20, n // 100) if min_support is None else min_support
    n_errors = int(wrong.sum())

    def nothing(reason: str, looked: int = 0) -> SliceSearch:
        return SliceSearch(
            slices=(),
            n=n,
            n_errors=n_errors,
            n_looked_at=looked,
            min_support=support,
            permutations=0,
            reason=reason,
        )

    if not 0 < n_errors < n:
        return nothing("there are no errors" if n_errors == 0 else "every item is wrong")
    names, members = _members(columns, n, support, max_level)
    if not names:
        return nothing(f"no column divides the {n} items into slices of {support} or more")
    w = w / w.mean()
    mean = float((w * wrong).mean())
    z = _standing_out(members, (w * (wrong - mean))[:, None])[:, 0]
    rng = np.random.default_rng(seed)
    most = _most_by_chance(members, w * (wrong - mean), permutations, rng)
    sizes = members @ w
    errors = members @ (w * wrong)
    score = alpha * (errors / sizes / mean - 1) - (1 - alpha) * (n / sizes - 1)
    kept: list[int] = []
    for i in np.argsort(-score, kind="stable").tolist():
        if score[i] <= 0 or len(kept) == top:
            break
        if all(_overlap(members[i], members[j]) < _SAME_ROWS for j in kept):
            kept.append(i)
    found = []
    for i in kept:
        rows = np.flatnonzero(members[i] > 0)
        k = int(wrong[rows].sum())
        found.append(
            FoundSlice(
                conditions=names[i],
                n=len(rows),
                n_errors=k,
                share=float(sizes[i] / n),
                error=wilson(k, len(rows)),
                weighted_error=float(errors[i] / sizes[i]),
                lift=float(errors[i] / sizes[i] / mean),
                excess=float(errors[i] - mean * sizes[i]),
                score=float(score[i]),
                p_value=float((1 + (most >= z[i] - 1e-9).sum()) / (1 + permutations)),
                rows=tuple(int(row) for row in rows),
            )
        )
    return SliceSearch(
        slices=tuple(found),
        n=n,
        n_errors=n_errors,
        n_looked_at=len(names),
        min_support=support,
        permutations=permutations,
        reason=None if found else "no slice is worse than the others",
    )


def _members(
    columns: Mapping[str, Sequence[str]], n: int, support: int, max_level: int
) -> tuple[list[tuple[Condition, ...]], FloatArray]:
    """Return all slices of enough support, larger ones first, and which items they hold (K, n)."""
    basic: list[tuple[Condition, BoolArray]] = []
    for key, values in columns.items():
        for value, mask in _values(values).items():
            if support <= mask.sum() <= n - support:
                basic.append(((key, value), mask))
    if not basic:
        return [], np.zeros((0, n))
    found: list[tuple[tuple[Condition, ...], BoolArray]] = [((one,), mask) for one, mask in basic]
    level: list[tuple[tuple[int, ...], BoolArray]] = [((i,), mask) for i, (_, mask) in enumerate(basic)]
    masks = np.stack([mask for _, mask in basic]).astype(np.float32)
    for _ in range(1, max_level):
        following: list[tuple[tuple[int, ...], BoolArray]] = []
        for at, mask in level:
            sizes = masks[at[-1] + 1 :] @ mask.astype(np.float32)
            for j in (np.flatnonzero(sizes >= support) + at[-1] + 1).tolist():
                if basic[j][0][0] in {basic[i][0][0] for i in at}:
                    continue
                both = mask & basic[j][1]
                if _adds_nothing(both, (*at, j), basic):
                    continue
                following.append(((*at, j), both))
        following.sort(key=lambda one: (-int(one[1].sum()), one[0]))
        level = following[: max(0, MOST_SLICES - len(found))]
        found += [(tuple(basic[i][0] for i in at), mask) for at, mask in level]
    return [conditions for conditions, _ in found], np.stack([mask for _, mask in found]).astype(np.float64)


def _adds_nothing(mask: BoolArray, at: tuple[int, ...], basic: Sequence[tuple[Condition, BoolArray]]) -> bool:
    """Whether the same items are met by fewer conditions."""
    size = mask.sum()
    for fewer in combinations(at, len(at) - 1):
        parent = np.logical_and.reduce([basic[i][1] for i in fewer])
        if parent.sum() == size:
            return True
    return False


def _values(values: Sequence[str]) -> dict[str, BoolArray]:
    """Return which items carry each value; the rarer ones beyond the most frequent are one."""
    given = np.array([str(value) for value in values], dtype=object)
    kinds, codes, counts = np.unique(given.astype(str), return_inverse=True, return_counts=True)
    order = np.argsort(-counts, kind="stable")
    kept = order[: MOST_VALUES - 1] if len(kinds) > MOST_VALUES else order
    found = {str(kinds[i]): np.asarray(codes == i) for i in kept.tolist()}
    if len(kinds) > MOST_VALUES:
        found[OTHER] = ~np.isin(codes, kept)
    return found


def _standing_out(members: FloatArray, excess: FloatArray) -> FloatArray:
    """Return how many standard deviations each slice's sum of ``excess`` (n, P) lies above chance (K, P).

    The variance is that of a sum of |S| values drawn from the n without replacement: exact under permutation.
    """
    n = members.shape[1]
    size = members.sum(axis=1)
    spread = excess[:, :1].std(ddof=1)
    scale = spread * np.sqrt(size * (1 - size / n))
    return np.asarray((members @ excess) / np.maximum(scale, 1e-300)[:, None])


def _most_by_chance(
    members: FloatArray, excess: FloatArray, permutations: int, rng: np.random.Generator
) -> FloatArray:
    """Return the largest value of any slice in each random deal of the errors (P,)."""
    n = len(excess)
    size = max(1, min(permutations, _CELLS // max(n, len(members))))
    parts = []
    for start in range(0, permutations, size):
        many = min(size, permutations - start)
        dealt = rng.permuted(np.broadcast_to(excess, (many, n)), axis=1).T
        parts.append(_standing_out(members, dealt).max(axis=0))
    return np.concatenate(parts) if parts else np.zeros(0)


def _overlap(one: FloatArray, other: FloatArray) -> float:
    """Return the share of the smaller slice's items that are in both."""
    return float((one * other).sum() / min(one.sum(), other.sum()))
