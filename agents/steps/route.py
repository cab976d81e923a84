"""Who decides: the machine, a person, or nobody yet because the item failed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypedDict

from agents.resolve import ResolvedStep
from agents.routing import Evidence, decide
from agents.state import Decision, ItemState
from agents.steps.base import BatchStep, Output, Resources


class RouteOutput(TypedDict):
    """The decision, why, under which certificate, and the audit draw of auto-accepted items."""

    decision: Decision
    reason: str
    certificate_id: str | None
    inclusion_prob: float | None
    audited: bool


class Route(BatchStep):
    """Applies the effective routing policy; the decision itself is the pure ``agents.routing.decide``."""

    def __init__(self, resolved: ResolvedStep, resources: Resources) -> None:
        super().__init__(resolved, resources)
        self.policy = resources.routing

    def inputs(self, state: ItemState) -> Mapping[str, Any]:
        return {
            "label": state.label,
            "confidence": state.confidence,
            "failure": state.failure is not None,
            "manipulation": list(state.manipulation),
            "rests_on_gold": self._rests_on_gold(state),
            "certificate": getattr(self.resources.certificate, "certificate_id", None),
            **({"stopped": True} if self.resources.stopped is not None else {}),
        }

    def run_batch(self, states: Sequence[ItemState]) -> list[Output]:
        return [dict(self._one(state)) for state in states]

    def _one(self, state: ItemState) -> RouteOutput:
        verdict = decide(
            self.policy,
            Evidence(
                item_id=state.item.id,
                label=state.label,
                members=self.resources.schema.members(state.label) if state.label else frozenset(),
                confidence=state.confidence,
                failure=state.failure,
                manipulation=state.manipulation,
                rests_on_gold=self._rests_on_gold(state),
            ),
            certificate=self.resources.certificate,
            audit_draw=self.resources.secrets.audit_draw(state.item.id),
            no_certificate=self.resources.no_certificate or "no certificate was looked for",
            stopped=self.resources.stopped,
        )
        return {
            "decision": verdict.decision,
            "reason": verdict.reason,
            "certificate_id": verdict.certificate_id,
            "inclusion_prob": verdict.inclusion_prob,
            "audited": verdict.audited,
        }

    def _rests_on_gold(self, state: ItemState) -> bool:
        fitted = self.resources.calibrators.values()
        return any(f.calibrator_id == state.calibrator_id and f.calibrator.n > 0 for f in fitted)

    def apply(self, state: ItemState, output: Output) -> None:
        state.decision = output["decision"]
        state.reason = output["reason"]
        state.certificate_id = output["certificate_id"]
        state.inclusion_prob = output["inclusion_prob"]
        state.audited = output["audited"]
