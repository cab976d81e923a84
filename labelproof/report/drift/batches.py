"""Days become batches: one a day, several days when a day has too few items, today only once it is nearly whole."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from evaluation._arrays import FloatArray, IntArray

MIN_ITEMS = 30
"""A batch has at least so many items: fewer say too little about shares."""
WHOLE_DAY = 0.8
"""Today counts from this part of a usual day's items on."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Batches:
    """``of`` (D,) each day's batch, -1 for one that waits; ``first``/``last`` (B,) day numbers; ``waiting`` items."""

    of: IntArray
    first: IntArray
    last: IntArray
    waiting: int

    def __len__(self) -> int:
        return len(self.first)

    @property
    def are_days(self) -> bool:
        """Whether each batch is one day, so that weekends can be told."""
        return bool((self.first == self.last).all())

    def sums(self, counts: FloatArray) -> FloatArray:
        """Counts a batch (B, ...) from counts a day (D, ...)."""
        summed = np.zeros((len(self), *counts.shape[1:]))
        kept = self.of >= 0
        np.add.at(summed, self.of[kept], counts[kept])
        return summed


def batches_of(day: IntArray, n: FloatArray, *, today: int) -> Batches:
    """Return the batches of days (D,) with ``n`` (D,) items; ``today`` is not over yet."""
    of = np.full(len(day), -1, dtype=np.int64)
    first: list[int] = []
    last: list[int] = []
    earlier = n[day < today]
    usual = float(np.median(earlier)) if len(earlier) else 0.0
    begun, held = 0, 0.0
    for i in range(len(day)):
        if day[i] >= today and n[i] < WHOLE_DAY * usual:
            break
        held += float(n[i])
        if held >= MIN_ITEMS:
            of[begun : i + 1] = len(first)
            first.append(int(day[begun]))
            last.append(int(day[i]))
            begun, held = i + 1, 0.0
    return Batches(
        of=of,
        first=np.array(first, dtype=np.int64),
        last=np.array(last, dtype=np.int64),
        waiting=int(n[of < 0].sum()),
    )
