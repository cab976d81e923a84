"""Whether errors carry a mark more often than right items do, and whether that made the rate of errors rise."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from evaluation._arrays import BoolArray, FloatArray, as_bools, as_floats, same_length
from labelproof.spec.errors import ConfigError

MOST_MARKED = 0.9
"""Where more of the later rows carry a mark, nearly none is left beside them: it is tested against the earlier ones."""
_HALF = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Enrichment:
    """One mark among errors and right items of the later period, and what it adds to the change of the error rate.

    ``lift``: risk of an error with the mark over the risk without (None: no row without it, or no risk to divide by).
    ``p_lift``: one-sided exact p of "errors carry it no more often"; ``p_change``: of "errors with the mark are no more
    frequent than before" (None without an earlier period). ``explained``: points of the error rate that marked rows
    bring beyond the risk of the others, later less earlier, with its interval. ``by_timing``: compared with the
    earlier period, because nearly every later row carries the mark; whatever else changed then fits as well.
    """

    n_errors: int
    n_right: int
    n_errors_marked: int
    n_right_marked: int
    n_errors_marked_before: int
    n_before: int
    share_errors: float | None
    share_right: float | None
    lift: float | None
    p_lift: float | None
    p_change: float | None
    explained: float
    low: float
    high: float
    by_timing: bool

    @property
    def p_value(self) -> float | None:
        """The p of "it does not explain the change": both must be refuted (intersection-union, Berger 1982)."""
        if self.p_lift is None:
            return None
        return self.p_lift if self.p_change is None else max(self.p_lift, self.p_change)


def enrichment(
    marked: npt.ArrayLike,
    wrong: npt.ArrayLike,
    later: npt.ArrayLike,
    *,
    weight: npt.ArrayLike | None = None,
    resamples: int = 400,
    confidence: float = 0.95,
    seed: int = 0,
) -> Enrichment:
    """Return the enrichment of a mark; all arrays (n,): bools, and weights above 0 (1 / inclusion probability).

    Tests count rows (Fisher's exact test), shares and points are weighted. Without earlier rows ``explained`` is about
    the later period alone: the points of its error rate that the mark brings.
    """
    m, e, t = as_bools(marked, "marked"), as_bools(wrong, "wrong"), as_bools(later, "later")
    w = np.ones(len(m)) if weight is None else as_floats(weight, "weight")
    same_length(marked=m, wrong=e, later=t, weight=w)
    if (w <= 0).any():
        raise ConfigError("enrichment: expected weights above 0")
    has_before = bool((~t).any())
    by_timing = bool(has_before and t.any() and m[t].mean() > MOST_MARKED and not m[~t].mean() > MOST_MARKED)
    scope = np.ones(len(m), dtype=np.bool_) if by_timing else t
    a, b, c, d = (int((scope & x & y).sum()) for x in (m, ~m) for y in (e, ~e))
    p_lift = fisher_greater(a, b, c, d) if a + b and c + d else None
    p_change = None
    if has_before and t.any():
        hits, seen = int((t & m & e).sum()), int(t.sum())
        before, n_before = int((~t & m & e).sum()), int((~t).sum())
        p_change = fisher_greater(hits, seen - hits, before, n_before - before)
    point = _explained(np.ones((1, len(m))), m, e, t, w)
    rng = np.random.default_rng(seed)
    drawn = _explained(rng.standard_exponential((resamples, len(m))), m, e, t, w)
    tail = (1 - confidence) / 2
    low, high = np.quantile(drawn, [tail, 1 - tail]) if resamples else (point[0], point[0])
    return Enrichment(
        n_errors=int((t & e).sum()),
        n_right=int((t & ~e).sum()),
        n_errors_marked=int((t & e & m).sum()),
        n_right_marked=int((t & ~e & m).sum()),
        n_errors_marked_before=int((~t & e & m).sum()),
        n_before=int((~t).sum()),
        share_errors=_share(w, m, t & e),
        share_right=_share(w, m, t & ~e),
        lift=_lift(w, m, e, scope),
        p_lift=p_lift,
        p_change=p_change,
        explained=float(point[0]),
        low=min(float(low), float(point[0])),
        high=max(float(high), float(point[0])),
        by_timing=by_timing,
    )


def fisher_greater(a: int, b: int, c: int, d: int) -> float:
    """Return Fisher's exact one-sided p: P(at least ``a``) in the first cell of [[a, b], [c, d]], margins fixed."""
    from scipy.special import gammaln  # scipy.stats takes a second to import

    row, column, n = a + b, a + c, a + b + c + d
    top = min(row, column)
    x = np.arange(a, top + 1, dtype=np.float64)

    def log_choose(of: FloatArray | float, chosen: FloatArray | float) -> FloatArray:
        return np.asarray(gammaln(of + 1.0) - gammaln(chosen + 1.0) - gammaln(of - chosen + 1.0))

    logs = (
        log_choose(float(column), x)
        + log_choose(float(n - column), row - x)
        - log_choose(float(n), float(row))
    )
    return float(min(1.0, np.exp(logs).sum()))


def _explained(draws: FloatArray, m: BoolArray, e: BoolArray, t: BoolArray, w: FloatArray) -> FloatArray:
    """Return the points that marked rows bring beyond the others' risk, later less earlier (B,)."""
    weight = draws * w
    plain = weight[:, ~m]
    base = (
        (plain @ e[~m]) / np.maximum(plain.sum(axis=1), 1e-300) if plain.shape[1] else np.zeros(len(weight))
    )
    found = np.zeros(len(weight))
    for side, sign in ((t, 1.0), (~t, -1.0)):
        total = weight[:, side].sum(axis=1)
        if not side.any():
            continue
        both = side & m
        found += sign * (weight[:, both] @ e[both] - base * weight[:, both].sum(axis=1)) / total
    return found


def _share(w: FloatArray, m: BoolArray, among: BoolArray) -> float | None:
    return float(w[among & m].sum() / w[among].sum()) if among.any() else None


def _lift(w: FloatArray, m: BoolArray, e: BoolArray, scope: BoolArray) -> float | None:
    with_mark, without = scope & m, scope & ~m
    if not with_mark.any() or not without.any():
        return None
    risk = float(w[with_mark & e].sum() / w[with_mark].sum())
    # Half an error keeps a lift finite where the others have none.
    base = float(max(w[without & e].sum(), _HALF * w[without].mean()) / w[without].sum())
    return risk / base
