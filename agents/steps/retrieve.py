"""Solved examples for the prompt: the same ones for all, or the nearest to each item."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from agents.resolve import ResolvedStep
from agents.state import Example, ItemState
from agents.steps.base import BatchStep, Output, Resources
from labelproof.spec.strategy import RetrieveStep


class Retrieve(BatchStep):
    """Output: ``place`` (system: the same for all, stays cached; user: nearest) and the examples.

    An item is never its own nearest example; the fixed ones are the same for all, so that their tokens stay
    cached. Nearest examples come most similar last, next to the item.
    """

    def __init__(self, resolved: ResolvedStep, resources: Resources) -> None:
        super().__init__(resolved, resources)
        assert isinstance(resolved.spec, RetrieveStep)
        self.spec = resolved.spec

    def inputs(self, state: ItemState) -> Mapping[str, Any]:
        return {"text": state.text, "item": state.item.id}

    def run_batch(self, states: Sequence[ItemState]) -> list[Output]:
        source = self.resources.examples
        if self.spec.method == "fixed":
            shown = source.fixed(self.spec.k, self.spec.seed)
            return [{"place": "system", "examples": [_row(example) for example in shown]}] * len(states)
        found = source.nearest(
            [state.text for state in states],
            [state.item.id for state in states],
            self.spec.k,
            self.spec.encoder,
        )
        return [
            {"place": "user", "examples": [_row(example) for example in reversed(near)]} for near in found
        ]

    def apply(self, state: ItemState, output: Output) -> None:
        examples = tuple(Example(*row) for row in output["examples"])
        if output["place"] == "system":
            state.fixed_examples = examples
        else:
            state.near_examples = examples


def _row(example: Example) -> list[Any]:
    similarity = None if example.similarity is None else round(example.similarity, 4)
    return [example.item_id, example.text, example.label, similarity]
