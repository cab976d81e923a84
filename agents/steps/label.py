"""The label step: one reading of the item, scored by letter probabilities or answered in JSON."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, TypedDict

from agents.models.protocol import ChatRequest, ChatResult
from agents.readings import (
    CODES,
    FLOOR_LOG_PROB,
    answer_schema,
    best,
    claimed_distribution,
    code_distribution,
    label_token_distribution,
    name_distribution,
    parse_reading,
)
from agents.resolve import ResolvedStep, answers_with_names
from agents.state import Example, ItemState
from agents.steps.base import CallScope, ModelStep, Output, Resources
from labelproof.spec.errors import ConfigError, OutputError
from labelproof.spec.strategy import LabelStep, ModelSpec
from labelproof.spec.strategy import ModelStep as ModelStepSpec

TOP_LOGPROBS = 20
"""The most that hosted servers grant; the embedded model reports as many as there are options."""


class LabelOutput(TypedDict):
    """``signal`` names where ``log_probs`` (aligned with the schema's leaves, rounded) come from."""

    label: str
    log_probs: list[float]
    signal: str
    verbalized: float | None
    rationale: str
    manipulation: list[str]


class Prompted(ModelStep):
    """A model step with a template: renders prompts, keeps the system text of the run."""

    multi_key = "multi"

    def __init__(self, resolved: ResolvedStep, resources: Resources) -> None:
        super().__init__(resolved, resources)
        assert resolved.template is not None
        assert isinstance(resolved.spec, ModelStepSpec)
        self.template = resolved.template
        self.schema = resources.schema
        self.model_step = resolved.spec
        self._systems: dict[Any, str] = {}
        classes = self.schema.leaf_classes
        self._options = [
            {"code": CODES[i] if i < len(CODES) else "", "name": name, "description": leaf.description}
            for i, (name, leaf) in enumerate(classes.items())
        ]

    def inputs(self, state: ItemState) -> Mapping[str, Any]:
        return {
            "text": state.text,
            "fixed": [[example.item_id, example.label] for example in state.fixed_examples],
            "near": [[example.item_id, example.label] for example in state.near_examples],
        }

    def options(self, labels: Sequence[str] | None) -> list[dict[str, str]]:
        """Return options for a subset of labels, coded from A on; None: all of them."""
        if labels is None:
            return self._options
        chosen = [option for option in self._options if option["name"] in set(labels)]
        return [{**option, "code": CODES[i]} for i, option in enumerate(chosen)]

    def system(self, state: ItemState, labels: Sequence[str] | None = None) -> str:
        """Return the system text; rendered once for each set of fixed examples and options."""
        key = (
            tuple((example.item_id, example.label) for example in state.fixed_examples),
            frozenset(labels or ()),
        )
        text = self._systems.get(key)
        if text is None:
            options = self.options(labels)
            if len(self._systems) > 64:
                self._systems.clear()
            text = self._systems[key] = self.template.render_system(
                {
                    "task": self.resources.task,
                    "options": options,
                    "guideline": self.resolved.guideline,
                    "fixed_examples": _shown(state.fixed_examples, options),
                    "multi": self.schema.kind == "multi",
                    "canary": self.resources.secrets.canary,
                }
            )
        return text

    def user(self, state: ItemState, **extra: Any) -> str:
        """Return the user text of one item; the item stands between its secret fences."""
        options = extra.pop("options", self._options)
        return self.template.render_user(
            {
                "item": state.text,
                "fence": self.resources.secrets.fence(state.item.id, state.text),
                "near_examples": _shown(state.near_examples, options),
                "multi": self.schema.kind == "multi",
                "error": "",
                **extra,
            }
        )

    def shortlist(self, state: ItemState) -> tuple[str, ...] | None:
        """Return the labels of the nearest examples; None: all labels are offered."""
        spec = self.model_step
        leaves = self.schema.leaves
        if not isinstance(spec, LabelStep) or not spec.shortlist or len(leaves) <= spec.shortlist:
            return None
        wanted, k = spec.shortlist, spec.shortlist * 4
        while True:
            (near,) = self.resources.examples.nearest([state.text], [state.item.id], k, spec.encoder)
            found = [leaf for example in near for leaf in sorted(self.schema.members(example.label))]
            labels = tuple(dict.fromkeys(found))[:wanted]
            if len(labels) >= 2 and (len(labels) == wanted or len(near) < k):
                return labels
            if len(near) < k:
                raise ConfigError(
                    f"a shortlist needs examples of at least 2 labels; the 'examples' split has {len(labels)}",
                    key=f"steps.{self.name}.shortlist",
                    hint="add gold items to the split, or take `shortlist` out of the step",
                )
            k *= 2

    def leaks(self, raw: str) -> list[str]:
        """Return the manipulation signal of an answer that repeats the canary of the system text."""
        return ["canary_leak"] if self.resources.secrets.canary in raw else []


def _shown(examples: Sequence[Example], options: Sequence[Mapping[str, str]]) -> list[dict[str, str]]:
    codes = {option["name"]: option["code"] for option in options}
    return [
        {"text": example.text, "label": example.label, "code": codes.get(example.label, "")}
        for example in examples
    ]


def request_for(
    spec: ModelSpec, system: str, user: str, *, json_schema: dict[str, Any] | None = None, **changes: Any
) -> ChatRequest:
    """Return a request with the model's parameters; keyword arguments override them."""
    settings: dict[str, Any] = {
        "max_tokens": spec.max_tokens,
        "temperature": spec.temperature,
        "seed": spec.seed,
        "top_logprobs": 0,
        "json_schema": json_schema,
        "schema_name": "answer",
    }
    settings.update(changes)
    return ChatRequest(system=system, user=user, **settings)


def apply_reading(state: ItemState, output: Output, step: ModelStep) -> None:
    """Write a label distribution into the state; the label is the distribution's best."""
    schema = step.resources.schema
    label, confidence, margin = best(output["log_probs"], schema)
    state.log_probs = output["log_probs"]
    state.label = label
    state.raw_confidence = confidence
    state.confidence = None
    state.margin = margin
    state.failure = None
    if output.get("rationale"):
        state.rationale = output["rationale"]
    state.manipulation = (*state.manipulation, *output.get("manipulation", ()))


class JsonLabel(Prompted):
    """Schema-bound JSON answer. Signal: label-token probability if the server gives it, else the
    verbalized confidence.
    """

    def __init__(self, resolved: ResolvedStep, resources: Resources) -> None:
        super().__init__(resolved, resources)
        self.model = next(iter(resolved.models))
        self.model_spec = resolved.models[self.model]
        self.answer_kind = "label"
        self._schema = answer_schema(self.schema, self.schema.leaves, kind="label")

    async def run(self, state: ItemState, calls: CallScope) -> Output:
        labels = self.shortlist(state)
        bound = self._schema if labels is None else answer_schema(self.schema, labels, kind="label")
        return dict(await self.read(state, calls, self.model, self.model_spec, bound, labels=labels))

    async def read(
        self,
        state: ItemState,
        calls: CallScope,
        model: str,
        spec: ModelSpec,
        schema: dict[str, Any],
        *,
        labels: Sequence[str] | None = None,
        **changes: Any,
    ) -> LabelOutput:
        """Return one reading; an answer that does not fit is retried with the error shown.

        ``labels`` restricts the options; ``changes`` override the model's parameters.
        """
        error = ""
        leaked: list[str] = []
        wants = self.model_step.max_retries
        for attempt in range(wants + 1):
            request = request_for(
                spec,
                self.system(state, labels),
                self.user(state, error=error),
                json_schema=schema,
                top_logprobs=0 if spec.params.get("logprobs") is False else 5,
                **changes,
            )
            result = await calls.chat(model, request)
            leaked = leaked or self.leaks(result.text)
            try:
                return {**self._output(result), "manipulation": leaked}
            except OutputError as problem:
                if attempt == wants:
                    raise
                error = problem.message
        raise AssertionError("unreachable")

    def _output(self, result: ChatResult) -> LabelOutput:
        reading = parse_reading(result.text, self.schema)
        token_based = label_token_distribution(result.logprobs, result.tokens, self.schema)
        log_probs = token_based or claimed_distribution(reading, self.schema)
        return {
            "label": reading.label,
            "log_probs": [round(value, 5) for value in log_probs],
            "signal": "label_token" if token_based else "verbalized",
            "verbalized": reading.confidence,
            "rationale": reading.rationale,
            "manipulation": [],
        }

    def apply(self, state: ItemState, output: Output) -> None:
        apply_reading(state, output, self)


class TokenLabel(Prompted):
    """The answer is one token, a letter or the beginning of a name; its alternatives are the distribution."""

    def __init__(self, resolved: ResolvedStep, resources: Resources) -> None:
        super().__init__(resolved, resources)
        assert isinstance(resolved.spec, LabelStep)
        self.spec = resolved.spec
        self.model = next(iter(resolved.models))
        self.model_spec = resolved.models[self.model]
        self._names = self.schema.kind != "multi" and answers_with_names(resolved.spec, self.schema)
        n = len(self.schema.leaves)
        if n > len(CODES) and not self._names and not self.spec.shortlist and self.schema.kind != "multi":
            raise ConfigError(
                f"{n} labels cannot be letters (at most {len(CODES)})",
                key=f"steps.{self.name}.shortlist",
                hint="add `shortlist: 20` to the label step, use `method: json`, or `answer_with: name`",
            )

    async def run(self, state: ItemState, calls: CallScope) -> Output:
        if self.schema.kind == "multi":
            return dict(await self._yes_no(state, calls))
        labels = self.shortlist(state)
        options = self.options(labels)
        if not self._names:  # an example whose label is not offered has no letter to show
            offered = {option["name"] for option in options}
            near = tuple(example for example in state.near_examples if example.label in offered)
            fixed = tuple(example for example in state.fixed_examples if example.label in offered)
            state = replace(state, near_examples=near, fixed_examples=fixed)
        user = self.user(state, options=options)
        answers = [option["name" if self._names else "code"] for option in options]
        log_probs = await self._ask(self.system(state, labels), user, answers, calls)
        by_name = dict(zip((o["name"] for o in options), log_probs, strict=True))
        full = [by_name.get(leaf, FLOOR_LOG_PROB) for leaf in self.schema.leaves]
        return dict(self._output(full, "name_token" if self._names else "letter_token"))

    async def _yes_no(self, state: ItemState, calls: CallScope) -> LabelOutput:
        system = self.system(state)
        log_probs = []
        for leaf in self.schema.leaves:
            yes, _no = await self._ask(system, self.user(state, asked=leaf), ["A", "B"], calls)
            log_probs.append(min(yes, math.log(CERTAIN_YES)))
        return self._output(log_probs, "yes_no_token")

    async def _ask(self, system: str, user: str, answers: Sequence[str], calls: CallScope) -> list[float]:
        """Ask for one token; without log-probabilities the answer it gives itself gets all the mass."""
        raw = ""
        for _ in range(self.spec.max_retries + 1):
            request = request_for(
                self.model_spec,
                system,
                user,
                max_tokens=1,
                top_logprobs=max(60, len(answers) + 8)
                if self.model_spec.provider == "embedded"
                else TOP_LOGPROBS,
            )
            result = await calls.chat(self.model, request)
            raw = result.text
            found = self._distribution(result, answers)
            if found is not None:
                return found
        raise OutputError(f"expected one of {', '.join(answers)}, found {raw[:40]!r}", raw=raw)

    def _distribution(self, result: ChatResult, answers: Sequence[str]) -> list[float] | None:
        """Return log-probabilities over ``answers``; None when the answer is none of them."""
        if result.logprobs:
            first = result.logprobs[0]
            if self._names:
                found = name_distribution(first, answers)
                if found is not None:
                    return found
            elif any(token.strip() in answers for token in first):
                return code_distribution(first, answers)
        return self._one_hot(result.text, answers)

    def _one_hot(self, raw: str, answers: Sequence[str]) -> list[float] | None:
        """Return the distribution of a bare answer; None unless it means exactly one of ``answers``."""
        if self._names:
            text = raw.strip(_AROUND).casefold()
            hits = [answer for answer in answers if text and answer.casefold().startswith(text)]
            hits = [answer for answer in hits if answer.casefold() == text] or hits
        else:  # "A", "(A)", "A. safe" are answers; the A of "As an AI" is not
            letter = _LETTER.match(raw)
            hits = [answer for answer in answers if letter and letter[1] == answer]
        if len(hits) != 1:
            return None
        rest = math.log((1 - CERTAIN_YES) / max(1, len(answers) - 1))
        return [math.log(CERTAIN_YES) if answer == hits[0] else rest for answer in answers]

    def _output(self, log_probs: Sequence[float], signal: str) -> LabelOutput:
        return {
            "label": best(log_probs, self.schema)[0],
            "log_probs": [round(value, 5) for value in log_probs],
            "signal": signal,
            "verbalized": None,
            "rationale": "",
            "manipulation": [],
        }

    def apply(self, state: ItemState, output: Output) -> None:
        apply_reading(state, output, self)


CERTAIN_YES = 0.98
_AROUND = " \t\r\n\"'“”‘’()[]*`.,;:!"
_LETTER = re.compile(r"[\s\"'“‘(\[*`]{0,8}([A-Za-z])(?=\s{0,8}(?:\Z|[\"'”’)\]*`.,;:!](?!\w)))")


def make_label_step(resolved: ResolvedStep, resources: Resources) -> ModelStep:
    """Return the label step of the method its spec names."""
    assert isinstance(resolved.spec, LabelStep)
    if resolved.spec.method == "logprob":
        return TokenLabel(resolved, resources)
    return JsonLabel(resolved, resources)
