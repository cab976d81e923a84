"""From a session to its summary: fit, all batches with a few in flight, a clean end whatever happens."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import Any, TypeVar

from agents.models import ProviderDown
from agents.run.session import LabelSession
from labelproof.spec.errors import BudgetError, TerminalProviderError, TransientProviderError

Fit = Callable[[str], Awaitable[Any]]
Batch = Callable[[str, int], Awaitable[Mapping[str, int]]]
T = TypeVar("T")
IN_FLIGHT = 2
"""Batches under way at once: the next fills the calls' places while the last one's tail drains."""

Listen = Callable[[LabelSession], Callable[[], None]]
"""Makes a session's progress callback."""
Drive = Callable[[LabelSession], Mapping[str, Any] | None]
"""Runs a session to its end, e.g. as a flow (default: in an event loop of its own)."""


async def drive(
    session: LabelSession,
    *,
    fit: Fit | None = None,
    label_batch: Batch | None = None,
    hand_over: Callable[[], bool] | None = None,
    in_flight: int = IN_FLIGHT,
) -> dict[str, Any] | None:
    """Run a session to its end and return its summary.

    ``fit`` and ``label_batch`` wrap the session's own methods (Prefect tasks do). When ``hand_over`` turns true
    between two batches, what is done is made durable and None is returned: the run stays unfinished, and
    whoever opens it next goes on with it. ``ProviderDown`` and ``BudgetError`` end in a stopped, resumable
    run whose summary has ``stopped`` (the reason) and ``stopped_by`` (the provider's kind of trouble, or "budget"); so does a cancellation, which is raised again.
    """
    run_id = session.run.run_id

    async def own_fit(_: str) -> Any:
        return await session.fit()

    async def own_batch(_: str, index: int) -> Mapping[str, int]:
        return await session.label_batch(index)

    fit, label_batch = fit or own_fit, label_batch or own_batch
    try:
        await session.start()
        await fit(run_id)
        if await _batches(session, label_batch, hand_over, in_flight):
            await session.release()
            return None
    except (ProviderDown, BudgetError) as error:
        summary = await session.finish(stopped=error.message)
        why = error.kind if isinstance(error, ProviderDown) else "budget"
        return {**summary, "stopped": error.message, "stopped_by": why, "hint": error.hint}
    except BaseException as error:
        await session.finish(stopped=f"{type(error).__name__}: {error}"[:500])
        raise
    return await session.finish()


async def _batches(
    session: LabelSession, label_batch: Batch, hand_over: Callable[[], bool] | None, in_flight: int
) -> bool:
    """Run all batches; True when the rest is to be handed over."""
    waiting = list(range(len(session.batches)))
    running: set[asyncio.Future[Mapping[str, int]]] = set()
    try:
        while waiting or running:
            while waiting and len(running) < in_flight:
                index = waiting.pop(0)
                running.add(asyncio.ensure_future(label_batch(session.run.run_id, index)))
            done, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
            failed = [future.exception() for future in done]
            for error in failed:  # all are looked at: two batches may meet the same dead provider
                if error is not None:
                    raise error
            if hand_over is not None and waiting and hand_over():
                await asyncio.gather(*running)
                return True
    finally:
        for future in running:
            future.cancel()
        await asyncio.gather(*running, return_exceptions=True)
    return False


def run_plain(session: LabelSession, *, hand_over: Callable[[], bool] | None = None) -> dict[str, Any] | None:
    """Run a session in an event loop of its own (uvloop where there is one)."""
    return new_loop_run(drive(session, hand_over=hand_over))


def run_listened(
    session: LabelSession, listen: Listen | None = None, drive: Drive | None = None
) -> Mapping[str, Any]:
    """Run a session to its end and return its summary, also when it had to stop (``stopped``, ``hint``)."""
    if listen is not None:
        session.listen(listen(session))
    summary = (drive or run_plain)(session)
    assert summary is not None  # nobody to hand over to
    return summary


def run_whole(
    session: LabelSession, listen: Listen | None = None, drive: Drive | None = None
) -> Mapping[str, Any]:
    """Like :func:`run_listened`, for answers that are of no use in part: an early stop is a ``ProviderError``,
    transient when the provider was out, terminal when a budget, a key or a model stands in the way.
    """
    summary = run_listened(session, listen, drive)
    if summary.get("stopped"):
        passing = summary.get("stopped_by") == "outage"
        raise (TransientProviderError if passing else TerminalProviderError)(
            f"the strategy's answers are not complete: {summary['stopped']}",
            hint=str(summary.get("hint") or "run the same command to go on; what is done is stored"),
        )
    return summary


def new_loop_run(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end in a fresh, fast event loop."""
    import uvloop

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(work)
