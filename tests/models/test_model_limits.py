"""Governor, budget and retries, on a clock of the test's own."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.models.budget import Budget
from agents.models.governed import GovernedModel
from agents.models.limits import Governor, RateBucket
from agents.models.pricing import Price
from agents.models.protocol import ChatRequest, ChatResult, ProviderDown, ProviderTimeout
from labelproof.spec.errors import (
    BudgetError,
    ConfigError,
    ProviderError,
    TerminalProviderError,
    TransientProviderError,
)

PRICE = Price(prompt=1.0, completion=1.0, cached=0.5)
REQUEST = ChatRequest(system="Label.", user="hello", max_tokens=10)


class Clock:
    """Virtual seconds: sleeping moves them on."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        until = self.now + seconds
        await asyncio.sleep(0)
        self.now = max(self.now, until)


class Model:
    """A chat model that does what the test's function says; ``calls`` counts."""

    name = "fake"
    provider = "test"

    def __init__(self, act: Callable[[int], ProviderError | None], cost_usd: float = 0.0) -> None:
        self.calls = 0
        self.starts: list[float] = []
        self.clock: Clock | None = None
        self.in_flight = self.most = 0
        self._act = act
        self._cost_usd = cost_usd

    async def chat(self, request: ChatRequest) -> ChatResult:
        number = self.calls
        self.calls += 1
        if self.clock is not None:
            self.starts.append(self.clock.now)
        self.in_flight += 1
        self.most = max(self.most, self.in_flight)
        try:
            await asyncio.sleep(0)
            error = self._act(number)
            if error is not None:
                raise error
        finally:
            self.in_flight -= 1
        return ChatResult(text="ok", finish_reason="stop", tokens_in=5, cost_usd=self._cost_usd)

    async def aclose(self) -> None:
        return None


def governor(clock: Clock, **more: Any) -> Governor:
    return Governor("test", clock=clock, sleep=clock.sleep, rng=random.Random(0), **more)


def run(main: Coroutine[Any, Any, Any]) -> Any:
    return asyncio.run(main)


def test_transient_failures_are_retried_with_growing_jittered_waits() -> None:
    clock = Clock()
    model = Model(lambda n: TransientProviderError("500", status=500) if n < 4 else None)
    result = run(GovernedModel(model, governor(clock)).chat(REQUEST))
    assert (result.attempts, model.calls) == (5, 5)
    assert len(clock.slept) == 4
    assert all(0 <= wait <= 0.5 * 2**n for n, wait in enumerate(clock.slept))


def test_last_attempt_raises_the_failure() -> None:
    clock = Clock()
    model = Model(lambda n: TransientProviderError("500", status=500))
    with pytest.raises(TransientProviderError):
        run(GovernedModel(model, governor(clock), max_attempts=3).chat(REQUEST))
    assert model.calls == 3


def test_retry_after_is_honoured_by_every_call() -> None:
    clock = Clock()
    limit = TransientProviderError("429", status=429, retry_after_s=7.0)
    model = Model(lambda n: limit if n == 0 else None)
    model.clock = clock
    gov = governor(clock, max_concurrency=1)
    governed = GovernedModel(model, gov)

    async def two() -> None:
        await asyncio.gather(governed.chat(REQUEST), governed.chat(REQUEST))

    run(two())
    assert model.starts[0] == 1000.0
    assert min(model.starts[1:]) >= 1007.0


def test_bad_request_fails_one_item_and_nothing_else() -> None:
    clock = Clock()
    gov = governor(clock)
    bad = Model(lambda n: TerminalProviderError("400", status=400))
    with pytest.raises(TerminalProviderError):
        run(GovernedModel(bad, gov).chat(REQUEST))
    assert (bad.calls, gov.down, gov.in_flight) == (1, None, 0)


def test_refused_key_stops_everybody_at_once() -> None:
    clock = Clock()
    gov = governor(clock, max_concurrency=2)
    model = Model(lambda n: ProviderDown("401", kind="auth", status=401))
    governed = GovernedModel(model, gov)

    async def many() -> list[Any]:
        return await asyncio.gather(*(governed.chat(REQUEST) for _ in range(20)), return_exceptions=True)

    ends = run(many())
    assert all(isinstance(end, ProviderDown) for end in ends)
    assert model.calls <= 2  # the ones already in flight
    assert gov.in_flight == 0


def test_dead_provider_stops_the_run_instead_of_failing_every_item() -> None:
    clock = Clock()
    gov = governor(clock, breaker_failures=10, breaker_span_s=10.0, max_concurrency=8)
    model = Model(lambda n: TransientProviderError("refused"))
    governed = GovernedModel(model, gov, max_attempts=20)

    async def many() -> list[Any]:
        return await asyncio.gather(*(governed.chat(REQUEST) for _ in range(30)), return_exceptions=True)

    ends = run(many())
    assert {type(end) for end in ends} == {ProviderDown}
    assert isinstance(ends[0], ProviderDown)
    assert ends[0].kind == "outage"
    assert clock.now >= 1010.0


def test_short_outage_is_survived() -> None:
    clock = Clock()
    gov = governor(clock, breaker_failures=10, breaker_span_s=10.0, start_concurrency=64)
    model = Model(lambda n: TransientProviderError("restart") if n < 64 else None)
    governed = GovernedModel(model, gov)

    async def many() -> list[Any]:
        return await asyncio.gather(*(governed.chat(REQUEST) for _ in range(64)))

    assert len(run(many())) == 64
    assert gov.down is None


def test_concurrency_halves_once_per_jam_and_grows_back_slowly() -> None:
    clock = Clock()
    gov = governor(clock, max_concurrency=64, start_concurrency=32)
    tickets = [gov.enter_nowait() for _ in range(32)]
    assert gov.enter_nowait() is None
    for ticket in tickets:
        assert ticket is not None
        gov.failed(ProviderTimeout("slow"), ticket)
    assert gov.concurrency == 16  # one jam, one halving
    for _ in range(16):
        assert gov.enter_nowait() is not None
    for _ in range(16):
        gov.succeeded()
    assert gov.concurrency in (16, 17)


def test_slow_start_reaches_the_maximum_quickly() -> None:
    clock = Clock()
    model = Model(lambda n: None)
    gov = governor(clock, max_concurrency=64)
    governed = GovernedModel(model, gov)

    async def many() -> None:
        await asyncio.gather(*(governed.chat(REQUEST) for _ in range(400)))

    run(many())
    assert model.most <= 64
    assert gov.concurrency == 64


def test_cancelled_callers_give_their_slots_back() -> None:
    clock = Clock()
    gov = governor(clock, max_concurrency=1)

    async def scene() -> None:
        assert gov.enter_nowait() is not None
        waiters = [asyncio.create_task(gov.enter()) for _ in range(3)]
        await asyncio.sleep(0)
        waiters[0].cancel()
        gov.left()  # hands the slot to waiters[1]
        waiters[1].cancel()  # which is cancelled before it could run
        assert await waiters[2] == 0
        gov.left()
        assert gov.in_flight == 0
        assert all(waiter.done() for waiter in waiters)

    run(scene())


@given(
    per_minute=st.integers(1, 600),
    gaps=st.lists(st.floats(0, 5, allow_nan=False), min_size=1, max_size=300),
)
@settings(max_examples=60, deadline=None)
def test_no_minute_ever_sees_more_requests_than_allowed(per_minute: int, gaps: list[float]) -> None:
    now = 0.0
    bucket = RateBucket(per_minute, now)
    starts = []
    for gap in gaps:
        now += gap
        starts.append(now + bucket.reserve(1, now))
    starts.sort()
    for first, start in enumerate(starts):
        in_window = sum(1 for other in starts[first:] if other < start + 60.0 - 1e-6)
        assert in_window <= per_minute


def test_token_bucket_delays_and_takes_corrections() -> None:
    clock = Clock()
    gov = governor(clock, tokens_per_minute=600)

    async def scene() -> None:
        await gov.enter(300)
        first_wait = clock.now - 1000.0
        gov.succeeded(reserved_tokens=300, used_tokens=0)  # estimate was far too high
        before = clock.now
        await gov.enter(5)
        gov.succeeded(5, 5)
        assert first_wait > 25
        assert clock.now == before

    run(scene())


def test_budget_is_never_passed_and_waits_for_calls_in_flight() -> None:
    clock = Clock()
    budget = Budget(0.0005)
    # Worst case 21 tokens = $0.000021; the real cost is $0.000005.
    model = Model(lambda n: None, cost_usd=5e-6)
    governed = GovernedModel(model, governor(clock), budget, price=PRICE)

    async def many() -> list[Any]:
        return await asyncio.gather(*(governed.chat(REQUEST) for _ in range(300)), return_exceptions=True)

    ends = run(many())
    done = [end for end in ends if isinstance(end, ChatResult)]
    stopped = [end for end in ends if isinstance(end, BudgetError)]
    assert len(done) + len(stopped) == 300
    assert budget.spent_usd <= 0.0005
    assert budget.spent_usd == pytest.approx(len(done) * 5e-6)
    assert len(done) >= 95  # reservations of calls in flight did not stop the run early
    assert budget.reserved_usd == 0.0


def test_budget_of_zero_admits_free_calls_only() -> None:
    clock = Clock()
    model = Model(lambda n: None)
    with pytest.raises(BudgetError, match="max_cost_usd"):
        run(GovernedModel(model, governor(clock), Budget(0.0), price=PRICE).chat(REQUEST))
    free = Price(prompt=0, completion=0, cached=0)
    run(GovernedModel(model, governor(clock), Budget(0.0), price=free).chat(REQUEST))


def test_budget_needs_a_known_price() -> None:
    clock = Clock()
    with pytest.raises(ConfigError, match="price_in_usd_per_mtok"):
        GovernedModel(Model(lambda n: None), governor(clock), Budget(1.0), price=None)


def test_failed_calls_cost_nothing_and_release_their_reservation() -> None:
    clock = Clock()
    budget = Budget(1.0)
    model = Model(lambda n: TransientProviderError("500", status=500) if n < 2 else None, 1e-6)
    run(GovernedModel(model, governor(clock), budget, price=PRICE).chat(REQUEST))
    assert budget.spent_usd == pytest.approx(1e-6)
    assert budget.reserved_usd == 0.0
