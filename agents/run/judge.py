"""What a strategy would answer, without deciding anything: the evidence certificates and gold draws rest on."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from agents.routing import Evidence, held_back
from agents.run.drive import Drive, Listen, run_whole
from agents.run.session import LabelRequest, LabelSession
from agents.run.workload import Workload
from agents.state import ItemState
from labelproof.spec.items import Item
from labelproof.store import TraceStore


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One item's label and calibrated confidence; ``held``: why it goes to a person whatever its confidence."""

    item_id: str
    label: str | None
    members: frozenset[str]
    confidence: float | None
    held: str | None

    @property
    def is_open(self) -> bool:
        """Whether only its confidence stands between this item and an auto-accept."""
        return self.held is None and self.confidence is not None and self.label is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """A strategy's answers by item id, and the fit of its calibrators they rest on."""

    run_id: str
    by_item: Mapping[str, Answer]
    calibrator_ids: tuple[str, ...]
    calibration: tuple[str, ...]
    """Ids of the gold items the calibrators were fitted on."""
    rests_on_gold: bool
    summary: Mapping[str, Any]

    def of(self, items: Sequence[Item]) -> list[Answer]:
        """Return the answers of ``items`` in their order."""
        return [self.by_item[item.id] for item in items]


def pool_sample(work: Workload, n: int | None, seed: int = 0) -> list[Item]:
    """Return the items a certificate speaks of, or ``n`` of them at random.

    Items that the strategy learned from (splits examples and calibration) are not part of the pool: their confidence
    is not that of new items, and their label is known.
    """
    learned = {*work.gold_labels.get("examples", {}), *work.gold_labels.get("calibration", {})}
    pool = sorted((item for item in work.items if item.id not in learned), key=lambda item: item.id)
    if n is None or n >= len(pool):
        return pool
    return random.Random(seed).sample(pool, n)


def judge(
    work: Workload,
    store: TraceStore,
    items: Sequence[Item],
    *,
    max_cost_usd: float | None = None,
    listen: Listen | None = None,
    drive: Drive | None = None,
) -> Answers:
    """Return the strategy's answers to ``items``; stored steps are reused, missing ones are run.

    ``listen`` makes a progress callback for the session; ``drive`` runs it (default: in its own event loop).
    Raises ``BudgetError`` or ``ProviderDown`` through the summary's ``stopped``: the run is resumable.
    """
    found: dict[str, Answer] = {}
    policy = work.resolved.routing
    schema = work.folder.spec.labels

    def keep(states: Sequence[ItemState]) -> None:
        for state in states:
            found[state.item.id] = _answer(state, schema.members(state.label) if state.label else frozenset())

    def _answer(state: ItemState, members: frozenset[str]) -> Answer:
        failed = state.failure or (None if state.label is not None else "no step produced a label")
        evidence = Evidence(
            item_id=state.item.id,
            label=state.label,
            members=members,
            confidence=state.confidence,
            failure=failed,
            manipulation=state.manipulation,
            rests_on_gold=True,
        )
        return Answer(
            item_id=state.item.id,
            label=None if failed else state.label,
            members=members,
            confidence=None if failed else state.confidence,
            held=failed or held_back(policy, evidence),
        )

    distinct = list({item.id: item for item in items}.values())
    request = LabelRequest(
        project=work.folder.name, strategy=work.strategy.name, max_cost_usd=max_cost_usd, batch_size=200
    )
    session = LabelSession(request, replace(work, items=distinct), store, judged=keep)
    summary = run_whole(session, listen, drive)
    return Answers(
        run_id=session.run.run_id,
        by_item=found,
        calibrator_ids=tuple(sorted(fit.calibrator_id for fit in session.fitted)),
        calibration=tuple(item.id for item in work.gold_items("calibration")),
        rests_on_gold=bool(session.fitted) and all(fit.calibrator.n > 0 for fit in session.fitted),
        summary=summary,
    )
