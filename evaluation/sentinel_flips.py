"""Do repeats of the same questions flip more answers than repeats did before? Exact, however few flips there were."""

from __future__ import annotations

import math

import numpy as np
from scipy.special import gammaln

from evaluation._arrays import FloatArray
from evaluation.intervals import wilson
from labelproof.spec.errors import ConfigError

ODDS = (2.0, 5.0, 20.0, 100.0)
"""How many times as likely a flip has become: the e-value is the mean over these."""
PRIOR_FLIPS, PRIOR_ANSWERS = 1, 20
"""Counted as seen before anything was: 1 flip in 20, so that a few flips of a set asked twice prove nothing."""

MATERIAL = 0.1
"""A model that answers so much more of the work differently than by chance has changed for its users."""


def chance_of_flip(flips_before: int, n_before: int) -> float:
    """Return how often an answer flips although nothing changed, with the prior counts."""
    return (flips_before + PRIOR_FLIPS) / (n_before + PRIOR_ANSWERS)


def rules_out_change(flips_before: int, n_before: int, flips: int, n: int) -> bool:
    """Whether the 95 % interval (Wilson) of ``flips`` of ``n`` ends below chance plus :data:`MATERIAL`.

    No evidence of a change is not evidence of none: a few answers, or more flips than usual, rule nothing out.
    """
    high = wilson(flips, n).high if n else None
    return high is not None and high <= chance_of_flip(flips_before, n_before) + MATERIAL


def flips_log_e(flips_before: int, n_before: int, flips_after: int, n_after: int) -> float:
    """Log e-value against "answers flip no more often than before", given flips of so many answers on each side.

    Given all flips together, those of after are hypergeometric while nothing changed: the likelihood ratio of
    Fisher's noncentral hypergeometric distribution against it has mean 1 whatever the rate of flips is. Prior counts
    are added to before. No answers after: 0.
    """
    for flips, n, name in ((flips_before, n_before, "before"), (flips_after, n_after, "after")):
        if not 0 <= flips <= n:
            raise ConfigError(f"{name}: expected 0 <= flips <= answers, found {flips} flips of {n}")
    if n_after == 0:
        return 0.0
    known, rest = n_before + PRIOR_ANSWERS, n_after
    total = flips_before + PRIOR_FLIPS + flips_after
    k = np.arange(max(0, total - known), min(total, rest) + 1, dtype=np.float64)
    log_ways = _log_choose(rest, k) + _log_choose(known, total - k)
    found = []
    for odds in ODDS:
        # Ratio of the two densities at what was seen; their normalising constants differ.
        scale = np.logaddexp.reduce(log_ways + k * math.log(odds)) - np.logaddexp.reduce(log_ways)
        found.append(flips_after * math.log(odds) - float(scale))
    return float(np.logaddexp.reduce(found) - math.log(len(ODDS)))


def _log_choose(n: int, k: FloatArray) -> FloatArray:
    return np.asarray(gammaln(n + 1) - gammaln(k + 1) - gammaln(n - k + 1))
