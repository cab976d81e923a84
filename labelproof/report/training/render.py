"""Rows as a model reads them: the prompt of the project's label step, and the answer it should have given."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

import orjson

from agents.readings import answer_schema
from agents.resolve import ResolvedStrategy, answers_with_names, resolve
from agents.secrets import RunSecrets
from agents.state import Example, ItemState
from agents.steps.base import Resources
from agents.steps.label import Prompted, make_label_step
from agents.steps.normalize import Normalize
from labelproof.report.training.model import LabelRow
from labelproof.spec.errors import ConfigError
from labelproof.spec.items import Item
from labelproof.spec.labels import LabelSchema
from labelproof.spec.project import ProjectFolder
from labelproof.spec.strategy import LabelStep, NormalizeStep

Message: TypeAlias = dict[str, str]
_KEY = b"labelproof training set"
"""Fences and canary of training prompts: never those of a store, whose secret no file may tell."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """One question about an item: its messages, and what to answer for a label."""

    messages: tuple[Message, ...]
    asked: str | None
    """The class that a yes-or-no question is about; None: the whole label is asked for."""


@dataclass(frozen=True, slots=True)
class _NoExamples:
    """Prompts of training data show no solved examples: a tuned model does without."""

    def fixed(self, k: int, seed: int) -> tuple[Example, ...]:
        return ()

    def nearest(
        self, texts: Sequence[str], item_ids: Sequence[str], k: int, encoder: str
    ) -> list[tuple[Example, ...]]:
        return [() for _ in texts]


@dataclass(frozen=True, slots=True, kw_only=True)
class Renderer:
    """Renders prompts and answers of one strategy. ``notes``: what differs from how the strategy asks in production."""

    strategy_fp: str
    prompt: str
    schema: LabelSchema
    spec: LabelStep
    notes: tuple[str, ...]
    _step: Prompted = field(repr=False)
    _normalize: Normalize | None = field(repr=False)

    def readings(self, row: LabelRow) -> Iterator[Reading]:
        """Yield the questions that the label step asks about an item: one, or one for each class (multi-label by tokens)."""
        raw = row.text
        text = raw if self._normalize is None else self._normalize.normalize(raw)["text"] or raw
        state = ItemState(item=Item(id=row.item_id, external_id=row.item_id, text=raw, meta={}), text=text)
        system = {"role": "system", "content": self._step.system(state)}
        if self._by_class:
            for leaf in self.schema.leaves:
                user = {"role": "user", "content": self._step.user(state, asked=leaf)}
                yield Reading(messages=(system, user), asked=leaf)
        else:
            yield Reading(messages=(system, {"role": "user", "content": self._step.user(state)}), asked=None)

    def answer(self, label: str, reading: Reading) -> str:
        """Return what the step reads as ``label``: a letter, a name, or JSON."""
        if reading.asked is not None:
            return "A" if reading.asked in self.schema.members(label) else "B"
        if self.spec.method == "logprob":
            if answers_with_names(self.spec, self.schema):
                return label
            codes = {option["name"]: option["code"] for option in self._step.options(None)}
            return codes[label]
        said: dict[str, Any] = {"rationale": ""}
        if self.schema.kind == "multi":
            said["labels"] = sorted(self.schema.members(label))
        else:
            said["label"] = label
        said["confidence"] = 1.0
        wanted = answer_schema(self.schema, self.schema.leaves, kind="label")["required"]
        return orjson.dumps({name: said[name] for name in wanted}).decode()

    @property
    def _by_class(self) -> bool:
        return self.spec.method == "logprob" and self.schema.kind == "multi"


def renderer_of(folder: ProjectFolder, strategy: str) -> Renderer:
    """Return the renderer of a strategy's first label step; ``ConfigError`` when it has none that can be written so."""
    resolved = resolve(folder, folder.strategy(strategy))
    step = next((one for one in resolved.steps if isinstance(one.spec, LabelStep)), None)
    if step is None or not isinstance(step.spec, LabelStep):
        raise ConfigError(
            f"strategy {strategy!r} has no `label` step whose prompt could be taught",
            hint="name one that has with --strategy",
        )
    spec = step.spec.model_copy(update={"shortlist": None})
    schema = folder.spec.labels
    resources = _resources(folder, resolved)
    made = make_label_step(replace(step, spec=spec), resources)
    assert isinstance(made, Prompted)
    first = resolved.steps[0]
    normalize = Normalize(first, resources) if isinstance(first.spec, NormalizeStep) else None
    notes: list[str] = []
    kinds = [one.spec.kind for one in resolved.steps]
    if "retrieve" in kinds:
        notes.append("prompts show no solved examples: take the `retrieve` step out for the tuned model")
    if step.spec.shortlist:
        notes.append("prompts offer every label: take `shortlist` out for the tuned model")
    if spec.method == "json":
        notes.append(
            "answers have an empty rationale and confidence 1: take the tuned model's confidence from token "
            "probabilities and calibrate anew"
        )
    if kinds.count("label") > 1:
        notes.append(f"only the first label step, {step.spec.name}, is rendered")
    assert step.template is not None
    return Renderer(
        strategy_fp=resolved.fingerprint,
        prompt=step.template.reference,
        schema=schema,
        spec=spec,
        notes=tuple(notes),
        _step=made,
        _normalize=normalize,
    )


def _resources(folder: ProjectFolder, resolved: ResolvedStrategy) -> Resources:
    return Resources(
        schema=folder.spec.labels,
        task=resolved.task,
        examples=_NoExamples(),
        secrets=RunSecrets(_KEY),
        routing=resolved.routing,
        encoder=None,
        guideline=folder.guideline(),
        class_prior=folder.spec.class_prior,
    )


def sft_line(reading: Reading, answer: str) -> Mapping[str, Any]:
    """Return a line of chat fine-tuning: messages that end with the right answer."""
    return {"messages": [*reading.messages, {"role": "assistant", "content": answer}]}


def preference_line(reading: Reading, chosen: str, rejected: str) -> Mapping[str, Any]:
    """Return a line of preference fine-tuning: the same question with a better and a worse answer."""
    return {
        "input": {"messages": list(reading.messages)},
        "preferred_output": [{"role": "assistant", "content": chosen}],
        "non_preferred_output": [{"role": "assistant", "content": rejected}],
    }


def evaluation_line(row: LabelRow, reading: Reading, answer: str) -> Mapping[str, Any]:
    """Return a line of an evaluation set: the item, its label, and the question with its ideal answer."""
    asked = {} if reading.asked is None else {"asked": reading.asked}
    return {
        "id": row.item_id,
        "text": row.text,
        "label": row.label,
        **asked,
        "messages": list(reading.messages),
        "ideal": answer,
    }
