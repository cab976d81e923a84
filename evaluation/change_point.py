"""The day from which something most likely was different, with the days that could be it as well."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from evaluation._arrays import as_floats, check_level
from labelproof.spec.errors import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangePoint:
    """``at``: position of the first changed batch; it lies in [``low``, ``high``] with probability ``level``.

    The probability is the posterior over the candidates, each as likely beforehand. ``log_gain``: log evidence for a
    change at ``at`` against none.
    """

    at: int
    low: int
    high: int
    level: float
    log_gain: float


def locate_change(log_gain: npt.ArrayLike, *, first: int = 0, level: float = 0.95) -> ChangePoint:
    """Return the change point from the log evidence (J,) for a change at position ``first``, ``first`` + 1, ...

    The interval is the shortest run of candidates around the best that holds ``level`` of the posterior.
    """
    gain = as_floats(log_gain, "log_gain")
    check_level(level)
    if gain.size == 0:
        raise ConfigError("log_gain: expected a candidate at least, found none")
    weight = np.exp(gain - gain.max())
    weight /= weight.sum()
    best = int(weight.argmax())
    low = high = best
    held = float(weight[best])
    while held < level - 1e-12 and (low > 0 or high < gain.size - 1):
        left = weight[low - 1] if low > 0 else -1.0
        right = weight[high + 1] if high < gain.size - 1 else -1.0
        if left >= right:
            low -= 1
        else:
            high += 1
        held += float(max(left, right))
    return ChangePoint(
        at=first + best, low=first + low, high=first + high, level=level, log_gain=float(gain[best])
    )
