"""A hard stop on what a run may spend: no call starts that could pass ``max_cost_usd``."""

from __future__ import annotations

import asyncio

from labelproof.spec.errors import BudgetError

_SLACK_USD = 1e-9  # sums of many tiny costs must not trip over rounding


class Budget:
    """Money shared by all calls of a run, in USD; ``max_cost_usd=None`` never stops.

    A call reserves its worst case (prompt estimate, full ``max_tokens``) before it starts and
    settles what it really cost after. While reservations of calls in flight leave no room, a new
    call waits for them; when money spent leaves none, it gets ``BudgetError``.
    """

    def __init__(self, max_cost_usd: float | None, *, spent_usd: float = 0.0) -> None:
        self.max_cost_usd = max_cost_usd
        self.spent_usd = spent_usd
        self.reserved_usd = 0.0
        self._in_flight = 0
        self._waiting: list[asyncio.Future[None]] = []

    @property
    def remaining_usd(self) -> float | None:
        """What is left, calls in flight not subtracted; None without a limit."""
        return None if self.max_cost_usd is None else self.max_cost_usd - self.spent_usd

    def reserve_nowait(self, expected_usd: float) -> bool:
        """Reserve and return True; False when calls in flight must finish first.

        Raises ``BudgetError`` when the call cannot fit however those end.
        """
        limit = self.max_cost_usd
        if limit is not None:
            room = limit - self.spent_usd + _SLACK_USD
            if expected_usd > room or (expected_usd > 0 and room <= 2 * _SLACK_USD):
                raise self._exceeded(limit, expected_usd)
            if self._in_flight and self.reserved_usd + expected_usd > room:
                return False
        self.reserved_usd += expected_usd
        self._in_flight += 1
        return True

    async def reserve(self, expected_usd: float) -> None:
        """Wait until the call fits, then reserve; ``BudgetError`` when it never will."""
        while not self.reserve_nowait(expected_usd):
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.append(waiter)
            await waiter

    def settle(self, expected_usd: float, actual_usd: float) -> None:
        """Replace a reservation by what was really spent (0 for a call that failed)."""
        self._in_flight -= 1
        # Back to exactly zero when idle: adding and subtracting floats leaves dust.
        self.reserved_usd = self.reserved_usd - expected_usd if self._in_flight else 0.0
        self.spent_usd += actual_usd
        if self._waiting:
            waiting, self._waiting = self._waiting, []
            for waiter in waiting:
                if not waiter.done():
                    waiter.set_result(None)

    def _exceeded(self, limit: float, expected_usd: float) -> BudgetError:
        return BudgetError(
            f"the next call may cost ${expected_usd:.6f} and ${self.spent_usd:.6f} of "
            f"max_cost_usd ${limit:.6f} is spent",
            hint="raise max_cost_usd and run again: finished items are not paid twice",
        )
