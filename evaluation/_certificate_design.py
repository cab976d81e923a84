"""Which gold may be used as a uniform sample, and where to draw it so that a certificate is most likely."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt

from evaluation._arrays import FloatArray, as_probabilities, confidence_pair, same_length
from evaluation._certificate_grid import START_COVERAGE
from labelproof.spec.errors import ConfigError

UniformDesign = Literal["simple_random", "region"]
_UNIFORM = ("simple_random", "region")
_IMPLAUSIBLE = (
    0.3  # lower: the region's end is safe with few calibration items; higher: less gold is spent below it
)


def check_design(
    designs: Sequence[str], inclusion_prob: Sequence[float | None] | npt.ArrayLike
) -> UniformDesign | None:
    """How gold that may be certified unweighted was drawn; ConfigError for any other gold.

    ``designs`` (n,) names each item's design, ``inclusion_prob`` (n,) its probability (None or NaN where not
    recorded). "simple_random": pass it to :func:`certify` as it is. "region": some of it was drawn uniformly above
    a confidence: pass that confidence as ``region_low``. None for no gold. Refused: other designs, and one
    design with several probabilities (two regions, or weights); unweighted, such gold breaks the promise in most runs.
    """
    values = np.array(
        [np.nan if p is None else p for p in np.asarray(inclusion_prob, dtype=object)], dtype=np.float64
    )
    same_length(designs=designs, inclusion_prob=values)
    known = ~np.isnan(values)
    as_probabilities(values[known], "inclusion_prob")
    if (values[known] <= 0.0).any():
        first = int(np.flatnonzero(known & (values <= 0.0))[0])
        raise ConfigError(
            f"inclusion_prob: expected probabilities in (0, 1], found {values[first]} at index {first}",
            hint="an item that could not be drawn cannot be in the gold; check the design's probabilities",
        )
    names = np.asarray(designs, dtype=object)
    hint = (
        "use certify_weighted with the inclusion probabilities: unweighted, such gold certified a threshold that"
        " breaks its promise in most simulated runs"
    )
    for name in dict.fromkeys(designs):
        here = values[(names == name) & known]
        if name not in _UNIFORM:
            raise ConfigError(
                f"design: expected gold drawn as {' or '.join(_UNIFORM)}, found {name!r}", hint=hint
            )
        if len(here) and here.max() > here.min() * (1 + 1e-6):
            raise ConfigError(
                f"inclusion_prob: expected one probability for all {name} gold,"
                f" found {here.min():.6g} to {here.max():.6g}",
                hint=hint,
            )
    if not len(names):
        return None
    return "region" if "region" in names else "simple_random"


def region_for_sampling(
    confidence: npt.ArrayLike, correct: npt.ArrayLike, *, pool_confidence: npt.ArrayLike, alpha: float
) -> float:
    """The lowest confidence worth drawing gold above, judged on items that no certificate will be tested on.

    ``confidence``/``correct`` (m,) come from another split (calibration, with out-of-fold confidences). Rule: the laxest of
    their confidences above which an error rate of ``alpha`` is still plausible: as many errors as were seen, or more,
    would have a binomial probability above .3. But never so high that less than a quarter of the pool lies above it.
    Without calibration data: the pool's lowest confidence (draw anywhere). The certificate stays exact
    whatever the region; a bad one only costs coverage. ConfigError for an empty pool.
    """
    c, y = confidence_pair(confidence, correct)
    pool = np.sort(as_probabilities(pool_confidence, "pool_confidence"), kind="stable")
    if not 0.0 < alpha < 1.0:
        raise ConfigError(f"alpha: expected a rate in (0, 1), found {alpha}")
    if len(pool) == 0:
        raise ConfigError("pool_confidence: expected at least one item to draw gold from, found none")
    if len(c) == 0:
        return float(pool[0])
    quarter = float(pool[len(pool) - int(np.ceil(START_COVERAGE * len(pool)))])
    return max(float(pool[0]), min(_laxest_plausible(c, y, alpha), quarter))


def _laxest_plausible(confidence: FloatArray, correct: FloatArray, alpha: float) -> float:
    """The lowest level above which so many errors or more would have probability > .3 at an error rate of alpha."""
    from scipy.special import bdtrc

    levels = np.unique(confidence)
    accepted = len(confidence) - np.searchsorted(np.sort(confidence), levels, side="left")
    wrong = np.sort(confidence[correct == 0.0])
    errors = len(wrong) - np.searchsorted(wrong, levels, side="left")
    chance = np.where(errors > 0, bdtrc(errors - 1.0, accepted, alpha), 1.0)
    plausible = np.flatnonzero(chance > _IMPLAUSIBLE)
    return float(levels[plausible[0]]) if len(plausible) else 1.0
