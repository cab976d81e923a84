"""What a strategy says of texts that are no items of the project: behavioural tests, trials by hand."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from agents.run.drive import Drive, Listen, run_whole
from agents.run.plan import Plan, plan_run
from agents.run.register import gold_rows
from agents.run.session import BATCH_SAMPLE, LabelRequest, LabelSession
from agents.run.workload import Workload
from agents.state import Decision, ItemState
from labelproof.spec.items import Item
from labelproof.store import TraceStore


@dataclass(frozen=True, slots=True, kw_only=True)
class Probed:
    """The end of one text. ``decision`` is what routing would do with it in production, ``reason`` why."""

    label: str | None
    confidence: float | None
    failure: str | None
    manipulation: tuple[str, ...]
    decision: Decision
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Probes:
    """Answers by item id, the run that gave them, and its summary."""

    run_id: str
    by_item: Mapping[str, Probed]
    summary: Mapping[str, Any]


class ProbeSession(LabelSession):
    """A judging session whose texts stay out of the project's items, calibrated and routed as in production."""

    def __init__(self, work: Workload, texts: Sequence[Item], **more: Any) -> None:
        super().__init__(work=replace(work, items=list(texts)), **more)
        self._population = work.items

    async def fit(self) -> list[Any]:
        if self.work.gold_items("calibration"):
            fitted = await super().fit()
        else:  # a calibrator without gold learns from the traffic, and the tests are not the traffic
            tested, sample = self.work, _batch_sample(self._population)
            # What the store can answer was read for the texts alone; the traffic's answers are there too.
            await self.engine.preload([*tested.items, *sample])
            self.work = replace(tested, items=sample)
            try:
                fitted = await super().fit()
            finally:
                self.work = tested
        if self.work.resolved.routing.mode == "certified":
            await asyncio.to_thread(self._find_certificate)
        return fitted

    def _new_items(self, now: Any) -> dict[str, dict[str, Sequence[Any]]]:
        return dict(gold_rows(self.store, self.run.project, self.work, now))


def plan_probe(work: Workload, store: TraceStore, texts: Sequence[Item]) -> Plan:
    """Return what :func:`probe` would cost; what is stored already is left out."""
    items = list({item.id: item for item in texts}.values())
    if not work.gold_items("calibration") and any(s.spec.kind == "calibrate" for s in work.resolved.steps):
        items += _batch_sample(work.items)
    return plan_run(_request(work, None), replace(work, items=items), store)


def probe(
    work: Workload,
    store: TraceStore,
    texts: Sequence[Item],
    *,
    max_cost_usd: float | None = None,
    listen: Listen | None = None,
    drive: Drive | None = None,
) -> Probes:
    """Return the strategy's answers to ``texts``. Nothing is decided, nobody is asked, no item is added.

    Steps are stored and reused as in any run, so an unchanged strategy answers the same texts for free, and a run that
    was stopped goes on. Raises ``ProviderError`` when it had to stop (budget, provider down); it is resumable.
    """
    found: dict[str, Probed] = {}

    def keep(states: Sequence[ItemState]) -> None:
        for state in states:
            failed = state.failure or (None if state.label is not None else "no step produced a label")
            found[state.item.id] = Probed(
                label=None if failed else state.label,
                confidence=None if failed else state.confidence,
                failure=failed,
                manipulation=state.manipulation,
                decision=state.decision or "failed",
                reason=state.reason,
            )

    distinct = list({item.id: item for item in texts}.values())
    session = ProbeSession(work, distinct, request=_request(work, max_cost_usd), store=store, judged=keep)
    summary = run_whole(session, listen, drive)
    return Probes(run_id=session.run.run_id, by_item=found, summary=summary)


def _request(work: Workload, max_cost_usd: float | None) -> LabelRequest:
    return LabelRequest(
        project=work.folder.name, strategy=work.strategy.name, max_cost_usd=max_cost_usd, batch_size=200
    )


def _batch_sample(items: Sequence[Item]) -> list[Item]:
    """The items that a run without gold calibrates on."""
    ordered = sorted(items, key=lambda item: item.id)
    return random.Random(0).sample(ordered, min(BATCH_SAMPLE, len(ordered)))
