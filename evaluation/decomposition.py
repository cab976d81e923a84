"""Why a rate changed between two periods: mix, behaviour, reviewers, and what is left; the parts sum to the change.

Each part is computed from rows whose truth is known (audits, gold), weighted by 1 / inclusion probability:

* **mix**: other kinds of items came. Kitagawa (1955), JASA 50, eq. 4: the difference of the slices' shares times the
  mean of their two rates (symmetric, so that neither period is "the" reference). Identified if the slices hold all
  that matters; what shifts *inside* a slice is not seen here. A slice with rows in one period only has no change of
  its own: all of it is mix.
* **reviewers**: the yardstick changed. The change within slices, less the same change without rows whose truth
  rests on reviewers that turned, and with one gold for both periods. Identified if audits are handed to reviewers
  at random within a slice; a slice that only suspects judged stays as it is measured.
* **behaviour**: the model answers the same items otherwise. As much of the rest as paired answers to the same items
  confirm (sentinel set, or two strategy versions on the same gold), never more than there is to explain. Flips
  without gold bound its size and leave the direction open. Without such items, what rows of a new version show
  beside old ones in the same slice; if every later row is of the new version, that is timing and no proof.
* **unexplained**: the rest. It can be anything that was not measured, a mix shift inside the slices included.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from evaluation._arrays import BoolArray, FloatArray, IntArray, as_bools, as_floats, check_level, same_length
from evaluation._decomposition_types import (
    BehaviourFrom,
    Decomposition,
    Flips,
    Part,
    PartName,
    SameItems,
    SliceChange,
)
from labelproof.spec.errors import ConfigError

__all__ = ["Decomposition", "Flips", "Part", "SameItems", "SliceChange", "decompose", "slice_codes"]

_HALF = 0.5
_CELLS = 2_000_000
"""Weights held at a time."""
Sums: TypeAlias = FloatArray
"""(B, 3, 2, 2, G): of all rows, of kept rows, of kept rows of known versions; by period; weight and right weight."""


def decompose(
    period: npt.ArrayLike,
    slice_code: npt.ArrayLike,
    right: npt.ArrayLike,
    *,
    weight: npt.ArrayLike | None = None,
    suspect: npt.ArrayLike | None = None,
    right_one_gold: npt.ArrayLike | None = None,
    new_version: npt.ArrayLike | None = None,
    same_items: SameItems | Flips | None = None,
    yardstick_measured: bool = True,
    confidence: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> Decomposition:
    """Return the change of the rate of ``right`` from period 0 to period 1, in parts that sum to it.

    All arrays (n,): ``period`` 0 or 1; ``slice_code`` >= 0; ``weight`` > 0, 1 / inclusion probability (default: 1);
    ``suspect``: the row's truth rests on a reviewer that turned; ``right_one_gold``: right by one and the same gold in
    both periods (default: ``right``); ``new_version``: answered by a version that the earlier period did not have.
    ``same_items``: paired answers, of which gold is better evidence than flips. ``yardstick_measured``: False when
    nothing could tell whether reviewers changed. ``ConfigError`` when a period has no rows.
    """
    rows = _Rows.of(period, slice_code, right, weight, suspect, right_one_gold, new_version)
    check_level(confidence)
    exact = _parts(rows.sums(np.ones((1, rows.n))), same_items, rows, None)
    drawn = _replicates(rows, same_items, resamples, seed)
    source = _source(same_items, rows)
    tail = (1 - confidence) / 2

    def interval(name: str) -> tuple[float, float]:
        low, high = np.quantile(drawn[name], [tail, 1 - tail])
        value = float(exact[name][0])
        return min(float(low), value), max(float(high), value)

    measured = {
        "mix": rows.n_slices > 1,
        "reviewers": yardstick_measured,
        "behaviour": source != "nothing",
        "unexplained": True,
    }
    names: tuple[PartName, ...] = ("mix", "behaviour", "reviewers", "unexplained")
    parts = []
    for name in names:
        low, high = interval(name) if measured[name] else (None, None)
        parts.append(
            Part(name=name, value=float(exact[name][0]), low=low, high=high, measured=measured[name])
        )
    low, high = interval("change")
    return Decomposition(
        before=float(exact["before"][0]),
        after=float(exact["after"][0]),
        before_interval=interval("before"),
        after_interval=interval("after"),
        change=float(exact["change"][0]),
        low=low,
        high=high,
        parts=tuple(parts),
        slices=_slices(rows),
        behaviour_from=source,
        n_before=int((rows.period == 0).sum()),
        n_after=int((rows.period == 1).sum()),
        confidence=confidence,
    )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Rows:
    period: IntArray
    code: IntArray
    right: FloatArray
    fixed: FloatArray
    weight: FloatArray
    kept: BoolArray
    known: BoolArray
    kinds: IntArray
    """Slice codes as given, by position."""

    @property
    def n(self) -> int:
        return len(self.period)

    @property
    def n_slices(self) -> int:
        return len(self.kinds)

    @classmethod
    def of(
        cls,
        period: npt.ArrayLike,
        code: npt.ArrayLike,
        right: npt.ArrayLike,
        weight: npt.ArrayLike | None,
        suspect: npt.ArrayLike | None,
        fixed: npt.ArrayLike | None,
        new: npt.ArrayLike | None,
    ) -> _Rows:
        t, g = np.asarray(period, dtype=np.int64), np.asarray(code, dtype=np.int64)
        y = as_bools(right, "right")
        n = same_length(period=t, slice_code=g, right=y)
        w = np.ones(n) if weight is None else as_floats(weight, "weight")
        bad = np.zeros(n, dtype=np.bool_) if suspect is None else as_bools(suspect, "suspect")
        one = y if fixed is None else as_bools(fixed, "right_one_gold")
        newer = np.zeros(n, dtype=np.bool_) if new is None else as_bools(new, "new_version")
        same_length(right=y, weight=w, suspect=bad, right_one_gold=one, new_version=newer)
        if not np.isin(t, (0, 1)).all() or (g < 0).any() or (w <= 0).any():
            raise ConfigError("rows: expected period 0 or 1, slice codes >= 0 and weights above 0")
        if not (t == 0).any() or not (t == 1).any():
            raise ConfigError("expected rows in both periods", hint="widen the period that has none")
        kinds, dense = np.unique(g, return_inverse=True)
        return cls(
            period=t,
            code=dense.astype(np.int64),
            right=y.astype(np.float64),
            fixed=one.astype(np.float64),
            weight=w / w.mean(),
            kept=~bad,
            known=~bad & ~((t == 1) & newer),
            kinds=kinds,
        )

    def sums(self, draws: FloatArray) -> Sums:
        """Return the weights by slice under each of ``draws`` (B, n)."""
        return np.asarray((draws @ self.design()).reshape(len(draws), 3, 2, 2, self.n_slices))

    def design(self) -> FloatArray:
        """(n, 3 * 2 * 2 * G): where each row counts."""
        cells = np.zeros((self.n, 3, 2, 2, self.n_slices))
        at = np.arange(self.n)
        for kind, mask in enumerate((np.ones(self.n, dtype=np.bool_), self.kept, self.known)):
            rows = at[mask]
            y = self.right if kind == 0 else self.fixed
            cells[rows, kind, self.period[rows], 0, self.code[rows]] = self.weight[rows]
            cells[rows, kind, self.period[rows], 1, self.code[rows]] = self.weight[rows] * y[rows]
        return cells.reshape(self.n, -1)


def _replicates(
    rows: _Rows, same_items: SameItems | Flips | None, resamples: int, seed: int
) -> dict[str, FloatArray]:
    rng = np.random.default_rng(seed)
    design = rows.design()
    found: list[dict[str, FloatArray]] = []
    size = max(1, _CELLS // rows.n)
    for start in range(0, resamples, size):
        many = min(size, resamples - start)
        draws = rng.standard_exponential((many, rows.n))
        sums = (draws @ design).reshape(many, 3, 2, 2, rows.n_slices)
        _add_pseudo_rows(sums, rows, rng)
        found.append(_parts(sums, same_items, rows, rng))
    return {name: np.concatenate([part[name] for part in found]) for name in found[0]}


def _add_pseudo_rows(sums: Sums, rows: _Rows, rng: np.random.Generator) -> None:
    """Add half a right and half a wrong row to each period at the place of a row drawn at random.

    A period without an error would otherwise have no sampling error (see ``evaluation._jeffreys_bootstrap``).
    """
    many = len(sums)
    b = np.arange(many)
    for t in (0, 1):
        place = np.flatnonzero(rows.period == t)
        for y in (0.0, 1.0):
            at = place[rng.integers(0, len(place), many)]
            extra = rng.standard_gamma(_HALF, many) * rows.weight[place].mean()
            for kind, mask in enumerate((None, rows.kept, rows.known)):
                counts = extra if mask is None else extra * mask[at]
                sums[b, kind, t, 0, rows.code[at]] += counts
                sums[b, kind, t, 1, rows.code[at]] += counts * y


def _rates(
    sums: Sums, kind: int, fallback: tuple[FloatArray, FloatArray] | None
) -> tuple[FloatArray, FloatArray]:
    """Return both periods' rates (B, G); where a slice has no rows: ``fallback``, or the other period's rate."""
    weight, right = sums[:, kind, :, 0], sums[:, kind, :, 1]
    with np.errstate(invalid="ignore", divide="ignore"):
        rate = np.where(weight > 0, right / weight, np.nan)
    before, after = rate[:, 0], rate[:, 1]
    if fallback is not None:
        return np.where(np.isnan(before), fallback[0], before), np.where(np.isnan(after), fallback[1], after)
    return np.where(np.isnan(before), after, before), np.where(np.isnan(after), before, after)


def _parts(
    sums: Sums, same_items: SameItems | Flips | None, rows: _Rows, rng: np.random.Generator | None
) -> dict[str, FloatArray]:
    """Return each part (B,); without ``rng`` the exact one."""
    weight = sums[:, 0, :, 0]
    share = weight / weight.sum(axis=2, keepdims=True)
    mean_share = share.mean(axis=1)
    before, after = _rates(sums, 0, None)
    total = (share[:, 0] * before).sum(axis=1), (share[:, 1] * after).sum(axis=1)
    mix = ((share[:, 1] - share[:, 0]) * (before + after) / 2).sum(axis=1)
    change = total[1] - total[0]
    within = change - mix
    kept = _rates(sums, 1, (before, after))
    trusted = ((kept[1] - kept[0]) * mean_share).sum(axis=1)
    # A slice in one period only has no change of its own, whoever is left out.
    reviewers = within - trusted
    behaviour = _behaviour(sums, trusted, mean_share, kept, same_items, rows, rng)
    return {
        "before": total[0],
        "after": total[1],
        "change": change,
        "mix": mix,
        "reviewers": reviewers,
        "behaviour": behaviour,
        "unexplained": change - mix - reviewers - behaviour,
    }


def _behaviour(
    sums: Sums,
    rest: FloatArray,
    mean_share: FloatArray,
    kept: tuple[FloatArray, FloatArray],
    same_items: SameItems | Flips | None,
    rows: _Rows,
    rng: np.random.Generator | None,
) -> FloatArray:
    many = len(sums)
    if isinstance(same_items, SameItems):
        found = np.full(many, same_items.difference)
        if rng is not None:
            n, lost, gained = same_items.n, same_items.lost, same_items.gained
            drawn = rng.dirichlet([lost + _HALF, gained + _HALF, n - lost - gained + _HALF], many)
            found = drawn[:, 1] - drawn[:, 0]
        return np.where(found * rest > 0, np.sign(rest) * np.minimum(np.abs(found), np.abs(rest)), 0.0)
    if isinstance(same_items, Flips):
        size = np.full(many, same_items.excess)
        if rng is not None:
            changed = rng.beta(same_items.changed + _HALF, same_items.n - same_items.changed + _HALF, many)
            size = np.maximum(0.0, changed - same_items.floor_prob)
        return np.asarray(np.sign(rest) * np.minimum(size, np.abs(rest)))
    if rows.known.all() or (rows.known == rows.kept).all():
        return np.zeros(many)
    # Where only new versions answered, nothing later is left to compare with: as before.
    known = _rates(sums, 2, (kept[0], kept[0]))
    return np.asarray(((kept[1] - known[1]) * mean_share).sum(axis=1))


def _source(same_items: SameItems | Flips | None, rows: _Rows) -> BehaviourFrom:
    if isinstance(same_items, SameItems):
        return "same items"
    if isinstance(same_items, Flips):
        return "flips"
    if (rows.known == rows.kept).all():
        return "nothing"
    beside = (rows.period == 1) & rows.known
    return "new version" if beside.any() else "new version, timing only"


def _slices(rows: _Rows) -> tuple[SliceChange, ...]:
    sums = rows.sums(np.ones((1, rows.n)))
    weight = sums[0, 0, :, 0]
    share = weight / weight.sum(axis=1, keepdims=True)
    before, after = (rate[0] for rate in _rates(sums, 0, None))
    counts = np.stack([np.bincount(rows.code[rows.period == t], minlength=rows.n_slices) for t in (0, 1)])
    mean = (before + after) / 2
    overall = float((share * np.stack([before, after])).sum() / 2)

    def one(g: int) -> SliceChange:
        return SliceChange(
            code=int(rows.kinds[g]),
            n_before=int(counts[0, g]),
            n_after=int(counts[1, g]),
            share_before=float(share[0, g]),
            share_after=float(share[1, g]),
            rate_before=float(before[g]) if counts[0, g] else None,
            rate_after=float(after[g]) if counts[1, g] else None,
            # Against the overall rate: more of a slice that is as good as the others changes nothing. Shares sum to
            # one in both periods, so the sum over slices is the same.
            mix=float((share[1, g] - share[0, g]) * (mean[g] - overall)),
            within=float((after[g] - before[g]) * share[:, g].mean()),
        )

    return tuple(one(g) for g in range(rows.n_slices))


def slice_codes(values: Sequence[str]) -> tuple[IntArray, tuple[str, ...]]:
    """Return the code of each value and the values by code, in sorted order."""
    names, codes = np.unique(np.array(list(values), dtype=object).astype(str), return_inverse=True)
    return codes.astype(np.int64), tuple(str(name) for name in names)
