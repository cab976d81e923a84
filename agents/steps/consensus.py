"""Several readings with reasoning, or several models: their agreement is the signal.

One label token sampled k times only resamples the softmax (AUROC .69 → .57 measured), so the readings here
reason first (Wang et al. 2023, self-consistency).
"""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any, TypedDict

from agents.models.protocol import ProviderDown
from agents.readings import answer_schema, best, vote_distribution
from agents.resolve import ResolvedStep
from agents.state import ItemState
from agents.steps.base import CallScope, Output, Resources
from agents.steps.label import JsonLabel, LabelOutput, apply_reading
from labelproof.spec.errors import OutputError, TerminalProviderError
from labelproof.spec.strategy import ConsensusStep, ModelSpec


class ConsensusOutput(TypedDict):
    """``votes``: label → count; ``agreement``: share of votes for the winner; ``n_unusable`` answers."""

    label: str
    log_probs: list[float]
    votes: dict[str, int]
    agreement: float
    n_unusable: int
    rationale: str
    manipulation: list[str]


class Consensus(JsonLabel):
    """k samples of one model, or one reading of each of several models."""

    def __init__(self, resolved: ResolvedStep, resources: Resources) -> None:
        super().__init__(resolved, resources)
        assert isinstance(resolved.spec, ConsensusStep)
        self.consensus = resolved.spec
        self._schema = answer_schema(self.schema, self.schema.leaves, kind="reason")

    async def run(self, state: ItemState, calls: CallScope) -> Output:
        spec = self.consensus
        readers: list[tuple[str, ModelSpec, dict[str, Any]]]
        if spec.models:
            readers = [(name, self.resolved.models[name], {}) for name in spec.models]
        else:
            base = self.model_spec.seed or 0
            readers = [
                (self.model, self.model_spec, {"temperature": spec.temperature, "seed": base + i})
                for i in range(spec.samples)
            ]
        found = await asyncio.gather(
            *(
                self.read(state, calls, name, model, self._schema, **changes)
                for name, model, changes in readers
            ),
            return_exceptions=True,
        )
        readings: list[LabelOutput] = []
        unusable: list[OutputError | TerminalProviderError] = []
        for reading in found:
            if isinstance(reading, OutputError | TerminalProviderError) and not isinstance(
                reading, ProviderDown
            ):
                unusable.append(reading)  # one reader's refusal does not silence the others
            elif isinstance(reading, BaseException):
                raise reading
            else:
                readings.append(reading)
        if not readings:
            raise unusable[0]
        votes = Counter(reading["label"] for reading in readings)
        shares = vote_distribution([reading["label"] for reading in readings], self.schema)
        log_probs = [round(value, 5) for value in shares]  # first: the stored numbers decide a tie
        label, _, _ = best(log_probs, self.schema)
        output: ConsensusOutput = {
            "label": label,
            "log_probs": log_probs,
            "votes": dict(sorted(votes.items())),
            "agreement": round(votes.get(label, 0) / len(readings), 4),
            "n_unusable": len(unusable),
            "rationale": next((r["rationale"] for r in readings if r["label"] == label), ""),
            "manipulation": sorted({flag for r in readings for flag in r["manipulation"]}),
        }
        return dict(output)

    def apply(self, state: ItemState, output: Output) -> None:
        apply_reading(state, output, self)
        state.agreement = output["agreement"]
