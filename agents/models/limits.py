"""How hard a provider may be driven: one ``Governor`` per provider, shared by a whole run.

It holds a request and a token bucket (per minute), a concurrency limit that follows the
provider's signals (slow start, then additive increase / multiplicative decrease as in Chiu &
Jain 1989), the pause a ``retry-after`` asks for, exponential backoff with full jitter (Brooker,
AWS Architecture Blog 2015), and a circuit breaker. All of it belongs to one event loop.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import deque
from collections.abc import Awaitable, Callable

from agents.models.protocol import ProviderDown, ProviderTimeout
from labelproof.spec.errors import ProviderError, TransientProviderError

_CONGESTION = frozenset({408, 429, 503, 529})
_BURST_S = 1.0


class RateBucket:
    """A bucket that never lets more than ``per_minute`` units through in any 60 s window.

    The burst (one second's worth, at least 1) is taken out of the refill rate, so that a full
    bucket plus a minute's refill is still within the limit. A request larger than the burst is
    let through late instead of never: it leaves a debt that the next ones wait for.
    """

    def __init__(self, per_minute: float, now: float) -> None:
        self.burst = max(1.0, per_minute * _BURST_S / 60.0)
        self.rate = max(per_minute - self.burst + 1.0, 1.0) / 60.0
        self._level = self.burst
        self._at = now

    def reserve(self, amount: float, now: float) -> float:
        """Take ``amount`` and return how long to wait before using it, in seconds (>= 0)."""
        self._level = min(self.burst, self._level + (now - self._at) * self.rate)
        self._at = now
        self._level -= amount
        return 0.0 if self._level >= 0 else -self._level / self.rate

    def correct(self, amount: float) -> None:
        """Take ``amount`` more, or give it back when negative: the estimate was off."""
        self._level = min(self.burst, self._level - amount)


class Governor:
    """Admits calls to one provider and learns from how they end.

    Each call: ``ticket = enter_nowait(n)``, or ``await enter(n)`` when that gave None; then
    exactly one of ``succeeded``, ``failed`` or ``left``. After ``down`` is set every ``enter``
    raises it. ``clock`` is in seconds; ``sleep`` and ``rng`` are injectable for tests.
    """

    def __init__(
        self,
        name: str,
        *,
        max_concurrency: int = 64,
        start_concurrency: int | None = None,
        requests_per_minute: int | None = None,
        tokens_per_minute: int | None = None,
        breaker_failures: int = 10,
        breaker_span_s: float = 10.0,
        backoff_base_s: float = 0.5,
        backoff_cap_s: float = 30.0,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        rng: random.Random | None = None,
    ) -> None:
        self.name = name
        self.max_concurrency = max_concurrency
        self.down: ProviderDown | None = None
        self.in_flight = 0
        self._limit = float(min(start_concurrency or 16, max_concurrency))
        self._slow_start = True
        self._cuts = 0
        now = clock()
        self._requests = RateBucket(requests_per_minute, now) if requests_per_minute else None
        self._tokens = RateBucket(tokens_per_minute, now) if tokens_per_minute else None
        self._rated = bool(requests_per_minute or tokens_per_minute)
        self._resume_at = 0.0
        self._breaker_failures = breaker_failures
        self._breaker_span_s = breaker_span_s
        self._streak = 0  # transient failures since the last success
        self._outages = 0  # of these, the ones that are not a mere "slow down"
        self._outage_since = 0.0
        self._base_s = backoff_base_s
        self._cap_s = backoff_cap_s
        self._clock = clock
        self._sleep = sleep
        self._rng = rng or random.Random()
        self._waiting: deque[asyncio.Future[None]] = deque()

    @property
    def concurrency(self) -> int:
        """How many calls may be in flight now."""
        return max(1, int(self._limit))

    @property
    def counts_tokens(self) -> bool:
        """Whether ``enter`` needs a token estimate."""
        return self._tokens is not None

    def enter_nowait(self, tokens: int = 0) -> int | None:
        """Return a ticket when the call may start at once, else None (then ``await enter``)."""
        if self.down is not None:
            raise self.down
        if self._rated or self._resume_at or self._waiting or self.in_flight >= int(self._limit):
            return None
        self.in_flight += 1
        return self._cuts

    async def enter(self, tokens: int = 0) -> int:
        """Wait for a slot, the buckets and any pause; return the ticket of the started call."""
        await self._slot()
        try:
            now = self._clock()
            ready = now
            if self._requests is not None:
                ready = max(ready, now + self._requests.reserve(1, now))
            if self._tokens is not None:
                ready = max(ready, now + self._tokens.reserve(tokens, now))
            while (until := max(ready, self._resume_at)) > self._clock():
                await self._sleep(until - self._clock())
            self._resume_at = 0.0
            if self.down is not None:
                raise self.down
        except BaseException:
            self._free()
            raise
        return self._cuts

    def succeeded(self, reserved_tokens: int = 0, used_tokens: int = 0) -> None:
        """Record an answer: failures are forgotten, concurrency may grow, tokens are corrected."""
        self._streak = self._outages = 0
        if self._limit < self.max_concurrency and self.in_flight >= int(self._limit):
            grown = self._limit + (1.0 if self._slow_start else 1.0 / self._limit)
            self._limit = min(grown, float(self.max_concurrency))
        if self._tokens is not None:
            self._tokens.correct(used_tokens - reserved_tokens)
        self._free()

    def failed(self, error: ProviderError, ticket: int) -> None:
        """Record a failed call; sets ``down`` when the run should stop."""
        if isinstance(error, ProviderDown):
            self._stop(error)
        elif isinstance(error, TransientProviderError):
            self._transient(error, ticket)
        else:
            self._streak = self._outages = 0  # it refused this item, so it is alive
        self._free()

    def left(self) -> None:
        """Give the slot back without a verdict: the call was cancelled or failed on our side."""
        self._free()

    def gave_up(self, error: TransientProviderError) -> ProviderError:
        """Return what a call that used all its attempts raises; the run stops if nobody succeeds."""
        if self.down is None and self._streak >= self._breaker_failures:
            self._stop(self._outage(error))
        return self.down or error

    def backoff_s(self, attempt: int, error: TransientProviderError) -> float:
        """Return how long to wait after failed ``attempt`` (1-based), in seconds."""
        if error.retry_after_s is not None:
            return error.retry_after_s + self._rng.uniform(0, self._base_s)
        return self._rng.uniform(0, min(self._cap_s, self._base_s * 2.0 ** (attempt - 1)))

    async def rest(self, seconds: float) -> None:
        """Sleep between two attempts, outside any slot."""
        await self._sleep(seconds)

    def _transient(self, error: TransientProviderError, ticket: int) -> None:
        now = self._clock()
        self._streak += 1
        if error.status == 429:
            if error.retry_after_s:
                self._resume_at = max(self._resume_at, now + error.retry_after_s)
        else:
            if not self._outages:
                self._outage_since = now
            self._outages += 1
        if error.status in _CONGESTION or isinstance(error, ProviderTimeout):
            self._cut(ticket)
        lasted = now - self._outage_since
        if self._outages >= self._breaker_failures and lasted >= self._breaker_span_s:
            self._stop(self._outage(error))

    def _cut(self, ticket: int) -> None:
        # Calls that started before the last cut report the same jam: one halving per jam.
        if ticket != self._cuts:
            return
        self._limit = max(1.0, min(self._limit, float(self.in_flight)) / 2.0)
        self._cuts += 1
        self._slow_start = False

    def _outage(self, error: TransientProviderError) -> ProviderDown:
        return ProviderDown(
            f"{self.name}: {self._streak} calls failed in a row, the last one with: {error.message}",
            kind="outage",
            status=error.status,
            hint="the run stopped cleanly; run it again when the provider answers",
        )

    def _stop(self, error: ProviderDown) -> None:
        self.down = self.down or error
        while self._waiting:
            waiter = self._waiting.popleft()
            if not waiter.done():
                waiter.set_exception(self.down)

    async def _slot(self) -> None:
        if self.down is not None:
            raise self.down
        if not self._waiting and self.in_flight < int(self._limit):
            self.in_flight += 1
            return
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(waiter)
        try:
            await waiter  # _free hands its slot over: in_flight already counts us
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled() and waiter.exception() is None:
                self._free()
            raise

    def _free(self) -> None:
        self.in_flight -= 1
        while self._waiting and self.in_flight < int(self._limit):
            waiter = self._waiting.popleft()
            if not waiter.done():
                self.in_flight += 1
                waiter.set_result(None)
