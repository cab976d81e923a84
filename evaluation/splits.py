"""Which split of the gold set an item belongs to, decided by its id alone."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping

from labelproof.spec.errors import ConfigError

_RANGE = 1 << 64


def assign_split(item_id: str, fractions: Mapping[str, float], seed: int) -> str:
    """The split of an item: the same for ever, whatever other items there are.

    ``fractions`` maps split names to shares >= 0 that sum to 1; the order they are written in does
    not matter. One 64-bit hash of (seed, id) picks the share, so splits are disjoint by
    construction and sizes are binomial around n * share. A split of share 0 gets nothing.
    ConfigError for shares that are negative, not finite, or do not sum to 1.
    """
    _check(fractions)
    key = f"labelproof.split\x00{seed}\x00{item_id}".encode()
    point = int.from_bytes(hashlib.blake2b(key, digest_size=8).digest(), "big")
    upper = 0.0
    names = [name for name in sorted(fractions) if fractions[name] > 0]
    for name in names:
        upper += fractions[name]
        if point < upper * _RANGE:
            return name
    # Shares may add up to a hair under 1; the last interval closes the gap.
    return names[-1]


def _check(fractions: Mapping[str, float]) -> None:
    bad = {n: f for n, f in fractions.items() if not 0 <= f <= 1}  # NaN is no share either
    if bad:
        raise ConfigError(f"split fractions: expected shares between 0 and 1, found {bad}")
    total = math.fsum(fractions.values())
    if abs(total - 1.0) > 1e-9:
        raise ConfigError(
            f"split fractions: expected shares that sum to 1, found {total:g} from {dict(fractions)}",
            hint="for example examples 0.1, calibration 0.3, certify 0.4, test 0.2",
        )
