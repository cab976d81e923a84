"""Steps, schemas and states made by hand, without files, server or store."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import orjson

from agents.encoder import open_encoder
from agents.examples import ExampleBank
from agents.models.protocol import ChatRequest, ChatResult
from agents.resolve import GoldExample, ResolvedStrategy, resolve
from agents.secrets import RunSecrets
from agents.state import Example, ItemState
from agents.steps import ModelStep, Resources, Step, build_step
from labelproof.spec.items import Item
from labelproof.spec.labels import LabelClass, LabelSchema
from labelproof.spec.project import Project, ProjectFolder, RoutingPolicy
from labelproof.spec.strategy import Strategy

Answer = str | ChatResult | Exception
Script = Callable[[str, ChatRequest, int], Answer]


def schema(*names: str, kind: str = "single") -> LabelSchema:
    """Return a schema of those names; "a/b" makes a taxonomy leaf."""
    if kind != "taxonomy":
        return LabelSchema.model_validate({"kind": kind, "classes": [{"name": n} for n in names]})
    parents: dict[str, list[dict[str, str]]] = {}
    for name in names:
        parent, _, child = name.partition("/")
        parents.setdefault(parent, []).extend([{"name": child}] if child else [])
    classes = [{"name": p, "children": kids} for p, kids in parents.items()]
    return LabelSchema.model_validate({"kind": kind, "classes": classes})


SINGLE = schema("safe", "hate", "spam")


def item_state(text: str = "an ordinary text", **more: Any) -> ItemState:
    state = ItemState(Item.of(text))
    state.text = text
    for name, value in more.items():
        setattr(state, name, value)
    return state


def answer(label: str | Sequence[str], confidence: float | None = 0.9, **more: Any) -> str:
    """Return a JSON answer as a well-behaved model writes it."""
    key = "label" if isinstance(label, str) else "labels"
    body = {"rationale": "because", key: label, "confidence": confidence, **more}
    return orjson.dumps(body).decode()


class Calls:
    """A call scope that answers from a script and keeps what it was asked."""

    def __init__(self, script: Script | Sequence[Answer]) -> None:
        self._script = script
        self.asked: list[tuple[str, ChatRequest]] = []

    async def chat(self, model: str, request: ChatRequest) -> ChatResult:
        index = len(self.asked)
        self.asked.append((model, request))
        await asyncio.sleep(0)
        found = self._script(model, request, index) if callable(self._script) else self._script[index]
        if isinstance(found, Exception):
            raise found
        return ChatResult(text=found, finish_reason="stop") if isinstance(found, str) else found

    @property
    def requests(self) -> list[ChatRequest]:
        return [request for _, request in self.asked]


def tokens(*steps: tuple[str, Mapping[str, float]]) -> ChatResult:
    """Return an answer token by token, each with its reported alternatives."""
    texts = tuple(token for token, _ in steps)
    return ChatResult(
        text="".join(texts), finish_reason="stop", tokens=texts, logprobs=tuple(dict(a) for _, a in steps)
    )


def no_encoder(name: str) -> Any:
    if name == "tfidf":
        return open_encoder("tfidf")
    raise AssertionError(f"encoder {name} is not for quick tests")


def resources(labels: LabelSchema = SINGLE, *, examples: Sequence[Example] = (), **more: Any) -> Resources:
    base = Resources(
        schema=labels,
        task="You label texts.",
        examples=ExampleBank(examples, no_encoder),
        secrets=RunSecrets(b"s" * 32),
        routing=RoutingPolicy(mode="threshold", threshold_prob=0.8),
        encoder=no_encoder,
        training=examples,
    )
    return replace(base, **more)


def resolved(
    folder_path: Any,
    labels: LabelSchema,
    steps: Sequence[Mapping[str, Any]],
    *,
    models: Mapping[str, Mapping[str, Any]] | None = None,
    project: Mapping[str, Any] | None = None,
    guideline: str = "Be fair.",
    examples: Sequence[GoldExample] = (),
    calibration: Sequence[GoldExample] = (),
    **strategy: Any,
) -> ResolvedStrategy:
    """Return a resolved strategy of these steps (a route step is added when missing)."""
    (folder_path / "guideline.md").write_text(guideline)
    listed = [dict(step) for step in steps]
    if not listed or listed[-1]["kind"] != "route":
        listed.append({"kind": "route"})
    spec = Project.model_validate(
        {
            "name": "mini",
            "description": "Label texts.",
            "labels": labels.model_dump(),
            "items": {"path": "items.jsonl"},
            **(project or {}),
        }
    )
    plan = Strategy.model_validate(
        {
            "name": "trial",
            "models": models
            or {"main": {"provider": "openai_compatible", "model": "m", "base_url": "http://127.0.0.1:9/v1"}},
            "steps": listed,
            **strategy,
        }
    )
    return resolve(ProjectFolder(folder_path, spec), plan, examples=examples, calibration=calibration)


def make_step(
    folder_path: Any, kind: str, labels: LabelSchema = SINGLE, *, with_: Resources | None = None, **spec: Any
) -> Any:
    """Return the runnable step of one kind; the strategy around it is the smallest legal one."""
    models = spec.pop("model_specs", None)
    steps: list[dict[str, Any]] = [{"kind": kind, **spec}]
    if kind not in ("label", "consensus", "investigate"):
        steps.insert(0 if kind != "normalize" else 1, {"kind": "label", "name": "first"})
    strategy = resolved(folder_path, labels, steps, models=models)
    step = next(s for s in strategy.steps if s.spec.kind == kind and s.spec.name != "first")
    built: Step = build_step(step, with_ or resources(labels))
    return built


async def run_step(step: ModelStep, state: ItemState, calls: Calls) -> dict[str, Any]:
    """Run a model step, apply its output, return it after a round trip through JSON."""
    output = await step.run(state, calls)
    stored: dict[str, Any] = orjson.loads(orjson.dumps(output))
    assert stored == output
    step.apply(state, stored)
    return stored


def leaf(name: str, **more: Any) -> LabelClass:
    return LabelClass(name=name, **more)
