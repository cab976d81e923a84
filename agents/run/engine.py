"""A strategy's steps over batches of items: keys, cache, concurrency, failures."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from agents.models.pricing import price_of
from agents.models.protocol import ChatModel, ChatRequest, ChatResult, ProviderDown
from agents.resolve import ResolvedStrategy
from agents.run.recorder import Recorder
from agents.run.rows import CallStats
from agents.state import ItemState, Spent
from agents.steps import BatchStep, ModelStep, Resources, Step, build_step
from agents.steps.calibrate import Calibrate
from labelproof.spec.conditions import parse_condition
from labelproof.spec.errors import BudgetError, OutputError, ProviderError
from labelproof.spec.hashing import digest, digest_parts, digest_text
from labelproof.spec.items import Item

PRELOAD_ITEMS = 100_000
GRACE_S = 10.0
"""How long a run that stops waits for answers already asked for."""
GoldLabels = Mapping[str, str]
"""Item id → gold label."""


@dataclass(slots=True)
class Counts:
    """What happened so far; for progress and summary."""

    done: int = 0
    auto_accept: int = 0
    review: int = 0
    failed: int = 0
    audited: int = 0
    model_calls: int = 0
    calls_reused: int = 0
    steps_reused: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    cost_usd: float = 0.0
    unpriced_calls: int = 0


class _Calls:
    """The model calls of one step on one item."""

    def __init__(self, engine: Engine, step_key: str, item_id: str) -> None:
        self._engine = engine
        self._step_key = step_key
        self._item_id = item_id
        self._seen: dict[str, int] = {}
        self.stats = CallStats()

    async def chat(self, model: str, request: ChatRequest) -> ChatResult:
        """Return the stored answer of this very call if there is one, else ask the model.

        A call is known by its request and how often this step made the same one before, so that
        calls made at once find their answers again in any order.
        """
        request_hash = _request_hash(model, request)
        repeated = self._seen.get(request_hash, 0)
        self._seen[request_hash] = repeated + 1
        call_key = digest_parts(self._step_key, request_hash, str(repeated))
        index = self.stats.n_calls
        engine = self._engine
        stored = engine.stored_calls.get(call_key)
        if stored is not None:
            result = stored
            engine.counts.calls_reused += 1
        else:
            paid = self._pay(model, request, call_key, index)
            result = await engine.outlive(paid)
            engine.counts.model_calls += 1
            engine.counts.tokens_in += result.tokens_in
            engine.counts.tokens_out += result.tokens_out
            engine.counts.cost_usd += result.cost_usd
            engine.counts.unpriced_calls += not result.priced
        stats = self.stats
        stats.n_calls += 1
        stats.tokens_in += result.tokens_in
        stats.tokens_out += result.tokens_out
        stats.tokens_cached += result.tokens_cached
        stats.cost_usd += result.cost_usd
        stats.latency_ms += result.latency_ms
        stats.n_unpriced += not result.priced
        return result

    @property
    def spent(self) -> Spent:
        stats = self.stats
        return Spent(cost_usd=None if stats.n_unpriced else stats.cost_usd, latency_ms=stats.latency_ms)

    async def _pay(self, model: str, request: ChatRequest, call_key: str, index: int) -> ChatResult:
        engine = self._engine
        result = await engine.models[model].chat(request)
        engine.recorder.call(call_key, self._step_key, index, self._item_id, request, result)
        return result


@dataclass(frozen=True, slots=True)
class _Stored:
    """A stored step's output, and what it cost when it was made."""

    output_json: str
    cost_usd: float | None
    latency_ms: float | None


def _is_priced(step: ModelStep) -> bool:
    """Return whether a stored cost of this step is a price: zero also stands for a model without one."""
    return all(price_of(spec, spec.base_url) is not None for spec in step.resolved.models.values())


def _request_hash(model: str, request: ChatRequest) -> str:
    """Return what tells two calls of one step apart: model and sampling, and the user text."""
    return digest_text(f"{model}\0{request.temperature}\0{request.seed}\0{request.user}")


@dataclass(slots=True, kw_only=True)
class Engine:
    """Runs batches. One engine lives in one event loop; batches may overlap."""

    strategy: ResolvedStrategy
    resources: Resources
    models: Mapping[str, ChatModel]
    recorder: Recorder
    may_be_cached: bool = True
    """False when the store holds nothing of this strategy's steps: look-ups are skipped."""
    on_item: Callable[[], None] | None = None
    """Called when an item has passed the first model step."""
    counts: Counts = field(default_factory=Counts)
    stored_calls: dict[str, ChatResult] = field(default_factory=dict)
    recorded: dict[str, int] = field(default_factory=dict)
    """Item id → number of step rows this run has already written for it."""
    _steps: tuple[Step, ...] = ()
    _preloaded: dict[str, _Stored] | None = None
    _first: Step | None = None
    _fitting: bool = False
    _under_way: set[asyncio.Future[ChatResult]] = field(default_factory=set)
    _fitted_outputs: dict[str, tuple[Mapping[str, Any] | str, Spent]] = field(default_factory=dict)
    """Step key → output, or failure, of the model steps of the fit phase: the batches meet its items again."""

    def __post_init__(self) -> None:
        self._steps = tuple(build_step(step, self.resources) for step in self.strategy.steps)
        self._first = next((step for step in self._steps if isinstance(step, ModelStep)), None)

    async def outlive(self, call: Coroutine[Any, Any, ChatResult]) -> ChatResult:
        """Await a paid call so that it goes on, and is recorded, when the item that asked for it is cancelled."""
        task = asyncio.ensure_future(call)
        self._under_way.add(task)
        task.add_done_callback(self._call_ended)
        return await asyncio.shield(task)

    async def settle(self, grace_s: float = GRACE_S) -> None:
        """Let the calls under way end, for a bounded time: they are paid for. Then cancel what is left."""
        if self._under_way:
            await asyncio.wait(self._under_way, timeout=grace_s)
        left = list(self._under_way)
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)

    def _call_ended(self, task: asyncio.Future[ChatResult]) -> None:
        self._under_way.discard(task)
        if not task.cancelled():
            task.exception()  # looked at here: whoever asked may be gone

    async def fit(self, items: Sequence[Item], gold: GoldLabels) -> list[Any]:
        """Fit the strategy's calibrators, in order, on ``items``; returns them.

        ``gold`` holds their labels; empty for batch calibration, where the items are a sample of the run's own.
        """
        if not any(isinstance(step, Calibrate) for step in self._steps):
            return []
        states = [ItemState(item) for item in items]
        cached = await self._load(items)
        fitted = []
        last = max(i for i, step in enumerate(self._steps) if isinstance(step, Calibrate))
        self._fitting = True
        try:
            for seq, step in enumerate(self._steps[: last + 1]):
                if isinstance(step, Calibrate):
                    fitted.append(await asyncio.to_thread(step.fit, states, gold))
                await self._run_step(seq, step, states, cached)
        finally:
            self._fitting = False
        return fitted

    async def run(self, items: Sequence[Item]) -> list[ItemState]:
        """Take ``items`` through all steps and record everything; returns the final states."""
        states = [ItemState(item) for item in items]
        cached = await self._load(items)
        for seq, step in enumerate(self._steps):
            await self._run_step(seq, step, states, cached)
        for state in states:
            if self.recorded.get(state.item.id, 0) <= len(self._steps):
                self.recorder.decision(state)
                self.recorded[state.item.id] = len(self._steps) + 1
            self.counts.done += 1
            self.counts.audited += state.audited
            if state.decision == "auto_accept":
                self.counts.auto_accept += 1
            elif state.decision == "review":
                self.counts.review += 1
            else:
                self.counts.failed += 1
        return states

    async def preload(self, items: Sequence[Item]) -> None:
        """Read what the store can answer for ``items`` in one scan; batches then need no look-up.

        Runs of more than ``PRELOAD_ITEMS`` items look up each batch by itself, to bound memory.
        """
        if self.may_be_cached and len(items) <= PRELOAD_ITEMS:
            self._preloaded = await self._look_up(items)

    async def _load(self, items: Sequence[Item]) -> Mapping[str, _Stored]:
        """Return stored outputs by step key; stored calls join ``stored_calls``."""
        if self._preloaded is not None:
            return self._preloaded
        return await self._look_up(items)

    async def _look_up(self, items: Sequence[Item]) -> dict[str, _Stored]:
        specs = [step.resolved.fingerprint for step in self._steps if isinstance(step, ModelStep)]
        if not self.may_be_cached or not specs or not items:
            return {}
        ids = list(dict.fromkeys(item.id for item in items))
        store, repeat = self.recorder.store, self.recorder.run.repeat_idx
        rows = await asyncio.to_thread(store.steps_for, ids, specs, repeat)
        have = {row["item_id"] for row in rows}
        partly = [item_id for item_id in ids if len(specs) > 1 or item_id not in have]
        if partly:
            # A failed step is tried anew, so its unusable answers are not played back.
            marks = ", ".join("?" * len(specs))
            query = f"SELECT DISTINCT step_key FROM steps WHERE status = 'failed' AND spec_fp IN ({marks})"
            failed = await asyncio.to_thread(store.query, query, specs, fresh=True)
            unusable = set(failed["step_key"].to_pylist())
            for call in await asyncio.to_thread(store.calls_for, partly):
                if call["step_key"] not in unusable:
                    self.stored_calls[call["call_key"]] = _stored_result(call)
        return {
            row["step_key"]: _Stored(row["output_json"], row["cost_usd"], row["latency_ms"]) for row in rows
        }

    async def _run_step(
        self, seq: int, step: Step, states: Sequence[ItemState], cached: Mapping[str, _Stored]
    ) -> None:
        for state in states:
            state.seq = seq
        condition = step.resolved.spec.when
        active = states
        if condition is not None:
            parsed = parse_condition(condition)
            active = [state for state in states if parsed.holds(state.signals())]
            chosen = {id(state) for state in active}
            for state in states:
                if id(state) not in chosen:
                    self._record(step, state, "", "", None, "skipped", error=f"not when {condition}")
        if isinstance(step, BatchStep):
            self._run_local(step, active)
        elif isinstance(step, ModelStep):
            await self._run_model(step, active, cached)

    def _run_local(self, step: BatchStep, states: Sequence[ItemState]) -> None:
        spec_fp = step.resolved.fingerprint
        hashes = [digest(step.inputs(state)) for state in states]
        outputs = step.run_batch(states) if states else []
        for state, input_hash, output in zip(states, hashes, outputs, strict=True):
            step.apply(state, output)
            self._record(step, state, digest_parts(spec_fp, input_hash), input_hash, output, "ok")

    async def _run_model(
        self, step: ModelStep, states: Sequence[ItemState], cached: Mapping[str, _Stored]
    ) -> None:
        tasks = [asyncio.ensure_future(self._one(step, state, cached)) for state in states]
        if not tasks:
            return
        try:
            await asyncio.gather(*tasks)
        except BaseException:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            raise

    async def _one(self, step: ModelStep, state: ItemState, cached: Mapping[str, _Stored]) -> None:
        self.recorder.check()
        repeat = self.recorder.run.repeat_idx
        input_hash = digest(step.inputs(state))
        key = digest_parts(step.resolved.fingerprint, input_hash, str(repeat))
        known = cached.get(key)
        if key in self._fitted_outputs:
            fitted, spent = self._fitted_outputs[key]
            state.charge(spent)
            if isinstance(fitted, str):
                state.failure = fitted
            else:
                step.apply(state, dict(fitted))
            return
        if known is not None:
            stored = orjson.loads(known.output_json)
            step.apply(state, stored)
            spent = Spent(
                cost_usd=known.cost_usd if _is_priced(step) else None, latency_ms=known.latency_ms or 0.0
            )
            state.charge(spent)
            self.counts.steps_reused += 1
            if self._fitting:
                self._fitted_outputs[key] = stored, spent
            self._record(step, state, key, input_hash, stored, "ok", cache_hit=True)
        else:
            calls = _Calls(self, key, state.item.id)
            try:
                output = await step.run(state, calls)
            except (ProviderDown, BudgetError):
                raise
            except (OutputError, ProviderError) as error:
                state.failure = f"{step.name}: {error.message}"
                state.charge(calls.spent)
                if self._fitting:
                    self._fitted_outputs[key] = state.failure, calls.spent
                self._record(
                    step, state, key, input_hash, None, "failed", error=error.message, stats=calls.stats
                )
            else:
                step.apply(state, output)
                state.charge(calls.spent)
                if self._fitting:
                    self._fitted_outputs[key] = output, calls.spent
                self._record(step, state, key, input_hash, output, "ok", stats=calls.stats)
        if self.on_item is not None and step is self._first:
            self.on_item()

    def _record(
        self,
        step: Step,
        state: ItemState,
        key: str,
        input_hash: str,
        output: Mapping[str, Any] | None,
        status: Any,
        *,
        error: str | None = None,
        cache_hit: bool = False,
        stats: CallStats | None = None,
    ) -> None:
        """Write a step row unless this run has written it before (fit phase, resumed run)."""
        if self.recorded.get(state.item.id, 0) > state.seq:
            return
        self.recorded[state.item.id] = state.seq + 1
        output_json = None if output is None else orjson.dumps(output).decode()
        self.recorder.step(
            state,
            kind=step.kind,
            name=step.name,
            step_key=key,
            spec_fp=step.resolved.fingerprint,
            input_hash=input_hash,
            output_json=None if cache_hit else output_json,
            output_hash=None if output_json is None else digest_text(output_json),
            status=status,
            error=error,
            cache_hit=cache_hit,
            stats=stats,
        )


def _stored_result(call: Mapping[str, Any]) -> ChatResult:
    tokens, logprobs = orjson.loads(call["logprobs_json"]) if call["logprobs_json"] else ((), ())
    return ChatResult(
        text=call["response_text"],
        finish_reason=call["finish_reason"],
        logprobs=tuple(logprobs),
        tokens=tuple(tokens),
        tokens_in=call["tokens_in"],
        tokens_out=call["tokens_out"],
        tokens_cached=call["tokens_cached"],
        latency_ms=call["latency_ms"],
        model=call["model"],
        provider=call["provider"],
        provider_fingerprint=call["provider_fingerprint"],
        cost_usd=call["cost_usd"] or 0.0,
        priced=call["cost_usd"] is not None,
        attempts=call["attempts"],
    )


def in_batches(items: Sequence[Item], size: int) -> Iterable[Sequence[Item]]:
    """Yield consecutive runs of at most ``size`` items."""
    for start in range(0, len(items), size):
        yield items[start : start + size]
