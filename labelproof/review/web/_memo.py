"""Costly pages computed at most twice a minute, however often they are opened."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable
from datetime import datetime, timedelta
from typing import Any, TypeVar

KEPT = timedelta(seconds=30)
_MOST = 64
T = TypeVar("T")


class Memo:
    """Results by key for half a minute; who asks while one is computed waits for it instead of computing it too."""

    def __init__(self) -> None:
        self._results: dict[Hashable, tuple[datetime, Any]] = {}
        self._turns: dict[Hashable, threading.Lock] = {}
        self._lock = threading.Lock()

    def get(self, key: Hashable, now: datetime, make: Callable[[], T]) -> tuple[datetime, T]:
        """Return when the result was computed, and the result; errors of ``make`` are raised and not kept."""
        with self._lock:
            turn = self._turns.setdefault(key, threading.Lock())
        with turn:
            known = self._results.get(key)
            if known is None or not timedelta(0) <= now - known[0] < KEPT:
                known = (now, make())
                with self._lock:
                    self._results[key] = known
                    for old in [k for k, (at, _) in self._results.items() if now - at >= KEPT][:_MOST]:
                        del self._results[old]
            return known
