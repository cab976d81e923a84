"""Several questions at once: p-values corrected for how many were asked."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from evaluation._arrays import BoolArray, FloatArray
from labelproof.spec.errors import ConfigError

PValues = Sequence[float | None] | npt.NDArray[np.float64]


def holm(p_values: PValues) -> FloatArray:
    """Holm's corrected p-values, same order: rejecting those <= alpha errs anywhere with probability <= alpha.

    Holm (1979), Scandinavian Journal of Statistics 6; valid however the tests depend on each other. None and NaN
    (not tested) come back as NaN and count for nothing.
    """
    return _corrected(p_values, lambda p: np.maximum.accumulate(p * np.arange(p.size, 0, -1)))


def benjamini_hochberg(p_values: PValues) -> FloatArray:
    """Benjamini-Hochberg's q-values, same order: of those <= q, on average at most a share q are false.

    Benjamini & Hochberg (1995), JRSS B 57; valid for independent and positively dependent tests. None and NaN
    (not tested) come back as NaN and count for nothing.
    """
    return _corrected(
        p_values, lambda p: np.minimum.accumulate((p * p.size / np.arange(1, p.size + 1))[::-1])[::-1]
    )


def _corrected(p_values: PValues, of_sorted: Callable[[FloatArray], FloatArray]) -> FloatArray:
    p = np.array([np.nan if value is None else float(value) for value in p_values], dtype=np.float64)
    tested: BoolArray = ~np.isnan(p)
    if ((p[tested] < 0) | (p[tested] > 1)).any():
        raise ConfigError(f"p-values: expected numbers in [0, 1], found {p[tested].tolist()}")
    known = p[tested]
    order = np.argsort(known, kind="stable")
    corrected = np.empty(known.size)
    corrected[order] = np.minimum(1.0, of_sorted(known[order]))
    found = np.full(p.size, np.nan)
    found[tested] = corrected
    return found
