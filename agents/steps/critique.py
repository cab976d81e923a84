"""A second reader who argues against the label with the guideline in hand."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypedDict

from agents.models.protocol import ChatResult
from agents.readings import answer_schema, claimed_distribution, parse_reading
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
        return {"text": state.text, "label": state.label, "rationale": state.rationale}

    async def run(self, state: ItemState, calls: CallScope) -> Output:
        error = ""
        for attempt in range(self.critique.max_retries + 1):
            user = self.user(state, label=state.label or "none", rationale=state.rationale, error=error)
            request = request_for(self.model_spec, self.system(state), user, json_schema=self._schema)
            result = await calls.chat(self.model, request)
            try:
                return dict(self._judge(result, state))
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
            "manipulation": self.leaks(result.text),
        }

    def apply(self, state: ItemState, output: Output) -> None:
        """Average the critic's distribution into the label's (a log-linear pool); adopt replaces it."""
        first = state.log_probs
        pooled = output["log_probs"]
        if first is not None and not (self.critique.adopt and not output["agrees"]):
            from agents.readings import normalized

            mixed = [(a + b) / 2 for a, b in zip(first, pooled, strict=True)]
            pooled = mixed if self.schema.kind == "multi" else normalized(mixed)
        previous = state.agreement
        merged: LabelOutput = {
            "label": output["label"],
            "log_probs": pooled,
            "signal": "critique",
            "verbalized": None,
            "rationale": output["objection"] if self.critique.adopt and not output["agrees"] else "",
            "manipulation": output["manipulation"],
        }
        apply_reading(state, dict(merged), self)
        state.agreement = 1.0 if output["agrees"] else min(0.5, previous if previous is not None else 0.5)
