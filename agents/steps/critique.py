"""A second reader who argues against the label with the guideline in hand."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, TypedDict

from agents.models.protocol import ChatResult
from agents.readings import answer_schema, claimed_distribution, normalized, parse_reading
from agents.resolve import ResolvedStep
from agents.state import ItemState
from agents.steps.base import CallScope, Output, Resources
from agents.steps.label import JsonLabel, LabelOutput, apply_reading, request_for
from labelproof.spec.errors import OutputError
from labelproof.spec.strategy import CritiqueStep


class CritiqueOutput(TypedDict):
    """``agrees`` with the label shown; otherwise ``label`` is the critic's own."""

    agrees: bool
    label: str
    log_probs: list[float]
    objection: str
    clause: str
    manipulation: list[str]


class Critique(JsonLabel):
    """Agreement of an independent critic: a signal, or with ``adopt`` a new label."""

    def __init__(self, resolved: ResolvedStep, resources: Resources) -> None:
        super().__init__(resolved, resources)
        assert isinstance(resolved.spec, CritiqueStep)
        self.critique = resolved.spec
        self._schema = answer_schema(self.schema, self.schema.leaves, kind="critique")

    def inputs(self, state: ItemState) -> Mapping[str, Any]:
        return {**super().inputs(state), "label": state.label, "rationale": _one_line(state.rationale)}

    async def run(self, state: ItemState, calls: CallScope) -> Output:
        error, leaked = "", list[str]()
        for attempt in range(self.critique.max_retries + 1):
            user = self.user(
                state, label=state.label or "none", rationale=_one_line(state.rationale), error=error
            )
            request = request_for(self.model_spec, self.system(state), user, json_schema=self._schema)
            result = await calls.chat(self.model, request)
            leaked = leaked or self.leaks(result.text)
            try:
                return {**self._judge(result, state), "manipulation": leaked}
            except OutputError as problem:
                if attempt == self.critique.max_retries:
                    raise
                error = problem.message
        raise AssertionError("unreachable")

    def _judge(self, result: ChatResult, state: ItemState) -> CritiqueOutput:
        reading = parse_reading(result.text, self.schema)
        return {
            "agrees": reading.label == state.label,
            "label": reading.label,
            "log_probs": [round(v, 5) for v in claimed_distribution(reading, self.schema)],
            "objection": reading.rationale,
            "clause": reading.clause,
            "manipulation": [],
        }

    def apply(self, state: ItemState, output: Output) -> None:
        """Average the critic's distribution into the label's (a log-linear pool); adopt replaces it."""
        own, agrees = output["log_probs"], output["agrees"]
        adopted = self.critique.adopt and not agrees
        previous = state.agreement
        merged: LabelOutput = {
            "label": output["label"],
            "log_probs": own if adopted or state.log_probs is None else self._pooled(state.log_probs, own),
            "signal": "critique",
            "verbalized": None,
            "rationale": output["objection"] if adopted else "",
            "manipulation": output["manipulation"],
        }
        apply_reading(state, dict(merged), self)
        if agrees:
            state.agreement = 1.0 if previous is None else (1.0 + previous) / 2
        else:
            state.agreement = 0.5 if previous is None else min(0.5, previous)

    def _pooled(self, first: Sequence[float], second: Sequence[float]) -> list[float]:
        """Return the normalised geometric mean of two distributions; class by class for multi-label."""
        if self.schema.kind != "multi":
            return normalized([(a + b) / 2 for a, b in zip(first, second, strict=True)])
        pooled = []
        for a, b in zip(first, second, strict=True):
            yes = (a + b) / 2
            no = (
                math.log1p(-math.exp(min(a, _ALMOST_SURE))) + math.log1p(-math.exp(min(b, _ALMOST_SURE)))
            ) / 2
            pooled.append(normalized([yes, no])[0])
        return pooled


_ALMOST_SURE = -1e-6


def _one_line(rationale: str) -> str:
    """Return a rationale as it may stand in another prompt: it was written under the content's influence,
    and stands outside of the fences, so it gets one short line.
    """
    return " ".join(rationale.split())[:300]
