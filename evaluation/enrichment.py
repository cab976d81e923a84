"""Whether errors carry a mark more often than right items do, and whether that made the rate of errors rise."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from evaluation._arrays import BoolArray, FloatArray, as_bools, as_floats, same_length
from labelproof.spec.errors import ConfigError

MOST_MARKED = 0.9
"""Where more of the later rows carry a mark, nearly none is left beside them: it is tested against the earlier ones."""
LEAST_BESIDE = 10
"""Rows without the mark that a period needs to say what the risk is without it."""
_HALF = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Enrichment:
    """One mark among errors and right items of the later period, and what it adds to the change of the error rate.

    ``lift``: risk of an error with the mark over the risk without (None: no row without it, or no risk to divide by).
    ``p_lift``: one-sided exact p of "errors carry it no more often"; ``p_change``: of "errors with the mark are no more
    frequent than before" (None without an earlier period). ``explained``: points of the error rate that marked rows
    bring beyond the risk of the others in the same period, later less earlier, with its interval: where everything
    got worse alike, a mark that errors always carried explains nothing of it. ``by_timing``: compared with the
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

    Shares and points are weighted. Tests are Fisher's exact test on as many rows as the weighted ones are worth (Korn
    & Graubard 1998), which with equal weights is the rows themselves: unweighted, rows routed to people, all judged,
    would outvote automatic ones, of which few are. Without earlier rows ``explained`` is about the later period alone:
    the points of its error rate that the mark brings.
    """
    m, e, t = as_bools(marked, "marked"), as_bools(wrong, "wrong"), as_bools(later, "later")
    w = np.ones(len(m)) if weight is None else as_floats(weight, "weight")
    same_length(marked=m, wrong=e, later=t, weight=w)
    if (w <= 0).any():
        raise ConfigError("enrichment: expected weights above 0")
    has_before = bool((~t).any())
    by_timing = bool(has_before and t.any() and m[t].mean() > MOST_MARKED and not m[~t].mean() > MOST_MARKED)
    scope = np.ones(len(m), dtype=np.bool_) if by_timing else t
    p_lift = _p_more(e, w, scope & m, scope & ~m)
    p_change = _p_more(m & e, w, t, ~t)
    pooled = by_timing or any(int((side & ~m).sum()) < LEAST_BESIDE for side in (t, ~t) if (side & m).any())
    point = _explained(np.ones((1, len(m))), m, e, t, w, pooled=pooled)
    rng = np.random.default_rng(seed)
    drawn = _explained(rng.standard_exponential((resamples, len(m))), m, e, t, w, pooled=pooled)
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


def _p_more(hit: BoolArray, w: FloatArray, here: BoolArray, there: BoolArray) -> float | None:
    """Return the one-sided p of "no more hits here than there"; None where one of them has no rows."""
    if not here.any() or not there.any():
        return None
    return fisher_greater(*_worth(hit[here], w[here]), *_worth(hit[there], w[there]))


def _worth(hit: BoolArray, w: FloatArray) -> tuple[int, int]:
    """Return hits and misses of as many unweighted rows as tell as much (Korn & Graubard 1998), at most all."""
    p = float(np.average(hit, weights=w))
    variance = float((w**2 * (hit - p) ** 2).sum() / w.sum() ** 2)
    kish = float(w.sum() ** 2 / (w**2).sum())  # nothing varies: Kish (1965)
    worth = max(1, round(min(len(hit), p * (1 - p) / variance if variance > 0 else kish)))
    hits = round(p * worth)
    return hits, worth - hits


def _explained(
    draws: FloatArray, m: BoolArray, e: BoolArray, t: BoolArray, w: FloatArray, *, pooled: bool
) -> FloatArray:
    """Return the points that marked rows bring beyond the others' risk, later less earlier (B,).

    The others are those of the same period, or with ``pooled`` of both.
    """
    weight = draws * w
    found = np.zeros(len(weight))
    for side, sign in ((t, 1.0), (~t, -1.0)):
        both, plain = side & m, ~m if pooled else side & ~m
        if not both.any():
            continue
        base = np.zeros(len(weight))
        if plain.any():
            base = (weight[:, plain] @ e[plain]) / np.maximum(weight[:, plain].sum(axis=1), 1e-300)
        total = weight[:, side].sum(axis=1)
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
