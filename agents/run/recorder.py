"""Everything a run does, as rows: buffered, journaled, written in durable segments.

A finished model call is in the journal before anybody uses its answer (one write to a file that survives
kill -9); the rows follow in segments, at most every ``FLUSH_S`` seconds.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import orjson

from agents.models.protocol import ChatRequest, ChatResult
from agents.run.asks import Asks
from agents.run.rows import COLUMNS, TASK_RUN, Arm, CallStats, RunInfo, StepStatus
from agents.state import ItemState
from labelproof.spec.errors import LabelproofError, StoreError
from labelproof.spec.hashing import digest_text
from labelproof.store import TraceStore

FLUSH_S = 0.5
FLUSH_ROWS = 20_000


class Recorder:
    """The sink of one run in one process."""

    def __init__(self, store: TraceStore, run: RunInfo, asks: Asks | None = None) -> None:
        self.store = store
        self.run = run
        self._asks = asks or Asks()
        self._journal = store.journal(run.run_id)
        self._rows: dict[str, list[tuple[Any, ...]]] = {name: [] for name in COLUMNS}
        self._texts: dict[str, str] = {}
        self._known: dict[str, str] = {}
        self._at = datetime.now(UTC)
        self._flushing = asyncio.Lock()
        self._timer: asyncio.Task[None] | None = None
        self.failure: BaseException | None = None

    def start(self) -> None:
        """Begin to write segments in the background of the running loop."""
        self._timer = asyncio.create_task(self._tick())

    async def aclose(self) -> None:
        """Write what is left and stop."""
        if self._timer is not None:
            self._timer.cancel()
            await asyncio.gather(self._timer, return_exceptions=True)
            self._timer = None
        await self.flush()
        self._journal.close()

    def text(self, text: str) -> str:
        """Return the hash of ``text`` and see to it that the text is stored once."""
        known = self._known.get(text)
        if known is not None:
            return known
        text_hash = digest_text(text)
        self._texts[text_hash] = text
        if len(self._known) < 4096:
            self._known[text] = text_hash
        return text_hash

    def call(
        self,
        call_key: str,
        step_key: str,
        call_idx: int,
        item_id: str,
        request: ChatRequest,
        result: ChatResult,
    ) -> None:
        """Journal a finished call at once, and buffer its row."""
        user = request.user if not request.history else _conversation(request)
        user_hash, response_hash = digest_text(user), digest_text(result.text)
        self._texts[user_hash] = user
        self._texts[response_hash] = result.text
        logprobs = orjson.dumps([result.tokens, result.logprobs]).decode() if result.logprobs else None
        row = (
            call_key,
            self.run.run_id,
            item_id,
            step_key,
            call_idx,
            result.model,
            result.provider,
            self.text(request.system),
            user_hash,
            response_hash,
            logprobs,
            result.finish_reason,
            result.provider_fingerprint,
            result.tokens_in,
            result.tokens_out,
            result.tokens_cached,
            result.cost_usd if result.priced else None,
            result.latency_ms,
            result.attempts,
            datetime.now(UTC),
            self.run.flow_run_id,
            TASK_RUN.get(),
        )
        self._journal.write(
            {
                **dict(zip(COLUMNS["calls"], row, strict=True)),
                "system_text": request.system,
                "user_text": user,
                "response_text": result.text,
            }
        )
        self._rows["calls"].append(row)

    def step(
        self,
        state: ItemState,
        *,
        kind: str,
        name: str,
        step_key: str,
        spec_fp: str,
        input_hash: str,
        output_json: str | None,
        output_hash: str | None,
        status: StepStatus,
        error: str | None = None,
        cache_hit: bool = False,
        stats: CallStats | None = None,
    ) -> None:
        """Buffer one step row; the item's sequence number is the state's."""
        used = stats or _NO_CALLS
        self._rows["steps"].append(
            (
                self.run.run_id,
                state.item.id,
                state.seq,
                kind,
                name,
                step_key,
                spec_fp,
                input_hash,
                output_hash,
                output_json,
                status,
                error,
                cache_hit,
                self.run.repeat_idx,
                used.n_calls,
                used.tokens_in,
                used.tokens_out,
                used.tokens_cached,
                used.cost_usd,
                used.latency_ms,
                datetime.now(UTC),
                self.run.flow_run_id,
                TASK_RUN.get(),
            )
        )

    def decision(self, state: ItemState) -> None:
        """Buffer the decision of a routed item, and with it what people are asked about it."""
        now = datetime.now(UTC)
        if self.run.arm is not None:
            self._arm_answer(self.run.arm, state, now)
        if self.run.purpose != "label":
            return
        task, event = self._asks.rows(self.run, state, now)
        if task is not None:
            self._rows["review_tasks"].append(task)
        if event is not None:
            self._rows["review_events"].append(event)
        self._rows["decisions"].append(
            (
                self.run.run_id,
                state.item.id,
                self.run.strategy_fp,
                state.label,
                state.confidence,
                state.raw_confidence,
                state.decision,
                state.reason,
                state.certificate_id,
                state.inclusion_prob,
                state.audited,
                state.calibrator_id,
                now,
                self.run.flow_run_id,
                TASK_RUN.get(),
                state.cost_usd,
                state.latency_ms,
            )
        )

    def _arm_answer(self, arm: Arm, state: ItemState, now: datetime) -> None:
        self._rows["arm_answers"].append(
            (
                arm.experiment_id,
                arm.name,
                self.run.run_id,
                self.run.strategy_fp,
                state.item.id,
                state.label,
                state.confidence,
                state.raw_confidence,
                state.decision,
                state.reason,
                state.certificate_id,
                state.cost_usd,
                state.latency_ms,
                now,
                self.run.flow_run_id,
                TASK_RUN.get(),
            )
        )

    async def flush(self) -> None:
        """Write all buffered rows as one durable segment, off the event loop."""
        async with self._flushing:
            rows, texts = self._rows, self._texts
            if not texts and not any(rows.values()):
                return
            self._rows = {name: [] for name in rows}
            self._texts = {}
            token = self._journal.rotate()
            writing = asyncio.ensure_future(asyncio.to_thread(self._write, rows, texts))
            stopped: asyncio.CancelledError | None = None
            try:
                await asyncio.shield(writing)
            except asyncio.CancelledError as error:
                stopped = error  # the thread goes on: its rows must not be buffered a second time
                await asyncio.wait([writing])
            except Exception:  # noqa: BLE001 - looked at below
                stopped = None
            failure = writing.exception()
            if failure is not None:
                # Nothing is lost: the rows go back to the front of the buffer, the calls are in the journal.
                self._rows = {name: [*rows[name], *self._rows[name]] for name in rows}
                self._texts = {**texts, **self._texts}
                self.failure = failure
                raise failure
            self._journal.discard(token)
            if stopped is not None:
                raise stopped

    def _write(self, rows: Mapping[str, Sequence[tuple[Any, ...]]], texts: Mapping[str, str]) -> None:
        tables: dict[str, dict[str, Sequence[Any]]] = {}
        for name, columns in COLUMNS.items():
            if rows[name]:
                tables[name] = dict(zip(columns, zip(*rows[name], strict=True), strict=True))
        if texts:
            tables["texts"] = {"text_hash": list(texts), "text": list(texts.values())}
        self.store.append_many(tables)

    async def _tick(self) -> None:
        while self.failure is None:
            await asyncio.sleep(FLUSH_S)
            with suppress(LabelproofError, OSError):  # kept in ``failure``: the engine stops the run with it
                await self.flush()

    def check(self) -> None:
        """Raise what made a background write fail; nothing more should be paid for then."""
        if self.failure is not None:
            raise StoreError(
                f"the run's rows cannot be written: {self.failure}",
                hint="free the disk or mend the store, then run again: what is done is kept",
            ) from self.failure


_NO_CALLS = CallStats()


def _conversation(request: ChatRequest) -> str:
    """Return a conversation's turns as one text, for the trace."""
    turns = [f"[{turn.role}]\n{turn.content}" for turn in request.history]
    return "\n\n".join([*turns, f"[user]\n{request.user}"])
