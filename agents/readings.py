"""From a model's answer to a label distribution: parsing, and the raw confidence signals.

All distributions are aligned with the schema's leaves. Single-label and taxonomy: natural-log
probabilities that sum to one. Multi-label: log P(yes) of each class by itself.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from labelproof.spec.errors import OutputError
from labelproof.spec.labels import LabelSchema

CODES = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
"""Option codes of the logprob method: each is one token in every tokenizer we know."""
FLOOR_LOG_PROB = -18.0
"""Stands for "not among the reported alternatives" when nothing better is known."""
CERTAIN = 0.98
"""Cap of a verbalized or one-hot confidence: a model's 1.0 is not evidence of impossibility."""

_PREFERRED = 0.02
"""By how much a claimed label leads however unsure its reader was."""
_LEAST = math.exp(FLOOR_LOG_PROB)
_LABEL_VALUE = re.compile(r'"label"\s{0,20}:\s{0,20}"')


class _Answer(BaseModel):
    model_config = ConfigDict(extra="forbid")

    label: str | None = None
    labels: list[str] | None = None
    confidence: float | None = Field(default=None, ge=0, le=1)
    rationale: str = ""
    reasoning: str = ""
    objection: str = ""
    clause: str = ""
    agrees: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """One usable answer. ``confidence`` is what the model claims (verbalized), None if it did not."""

    label: str
    confidence: float | None
    rationale: str
    agrees: bool | None = None
    clause: str = ""


def parse_reading(raw: str, schema: LabelSchema) -> Reading:
    """Return the reading in a JSON answer; ``OutputError`` says what is wrong in words for the model."""
    body = _json_object(raw)
    try:
        answer = _Answer.model_validate(body)
    except ValidationError as error:
        first = error.errors()[0]
        # The place may be a key the content made the model write: no more than a name's length of it.
        place = ".".join(map(str, first["loc"]))[:60] or "answer"
        raise OutputError(f"{place}: {first['msg']}", raw=raw) from error
    given: str | list[str] | None = answer.labels if schema.kind == "multi" else answer.label
    if given is None:
        wanted = "labels" if schema.kind == "multi" else "label"
        raise OutputError(f'the key "{wanted}" is missing', raw=raw)
    try:
        label = schema.canonical(given)
    except ValueError as error:
        raise OutputError(str(error), raw=raw) from error
    return Reading(
        label=label,
        confidence=answer.confidence,
        rationale=(answer.rationale or answer.reasoning or answer.objection)[:2000],
        agrees=answer.agrees,
        clause=answer.clause[:200],
    )


def answer_schema(schema: LabelSchema, labels: Sequence[str], *, kind: str) -> dict[str, Any]:
    """Return the JSON schema that binds an answer to ``labels``; ``kind``: label, reason or critique."""
    properties: dict[str, Any] = {}
    if kind == "label":
        properties["rationale"] = {"type": "string", "maxLength": 300}
    elif kind == "reason":
        properties["reasoning"] = {"type": "string", "maxLength": 800}
    else:
        properties["objection"] = {"type": "string", "maxLength": 400}
        properties["clause"] = {"type": "string", "maxLength": 80}
        properties["agrees"] = {"type": "boolean"}
    choice = {"type": "string", "enum": list(labels)}
    if schema.kind == "multi":
        properties["labels"] = {"type": "array", "items": choice}
    else:
        properties["label"] = choice
    properties["confidence"] = {"type": "number"}
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def claimed_distribution(reading: Reading, schema: LabelSchema) -> list[float]:
    """Return log-probabilities from the claimed confidence; the rest is shared by the other labels.

    Without a claim the label gets ``CERTAIN``: the ranking among items then carries no information, and
    calibration sees that.
    """
    leaves = schema.leaves
    claimed = CERTAIN if reading.confidence is None else min(CERTAIN, reading.confidence)
    if schema.kind == "multi":
        chosen = schema.members(reading.label)
        sure = max(0.5 + _PREFERRED, claimed)
        return [math.log(sure if leaf in chosen else 1 - sure) for leaf in leaves]
    # A claim below an even guess still names a label: it stays the most probable one.
    sure = max((1 + _PREFERRED) / len(leaves), claimed)
    rest = math.log((1 - sure) / (len(leaves) - 1))
    return [math.log(sure) if leaf == reading.label else rest for leaf in leaves]


def code_distribution(alternatives: Mapping[str, float], codes: Sequence[str]) -> list[float]:
    """Return log-probabilities over option ``codes`` from the first token's alternatives.

    Mass of "A" and " A" is added. A code that was not reported gets an upper bound
    of its own log-probability. Normalised over the codes.
    """
    floor = _unseen(alternatives)
    mass = dict.fromkeys(codes, 0.0)
    for token, log_prob in alternatives.items():
        code = token.strip()
        if code in mass:
            mass[code] += math.exp(log_prob)
    logs = [math.log(mass[code]) if mass[code] > 0 else floor for code in codes]
    return normalized(logs)


def name_distribution(alternatives: Mapping[str, float], names: Sequence[str]) -> list[float] | None:
    """Return log-probabilities over label ``names`` from the first token's alternatives.

    A token's mass goes, in equal parts, to the names it begins (without regard to case or a leading space). A
    name that no token begins gets an upper bound of its own log-probability. None when no name is begun.
    """
    merged: dict[str, float] = {}
    for token, log_prob in alternatives.items():
        start = token.strip().casefold()
        if start:
            merged[start] = merged.get(start, 0.0) + math.exp(log_prob)
    folded = [name.casefold() for name in names]
    mass = [0.0] * len(names)
    for start, prob in merged.items():
        hits = _hits(start, folded)
        for index in hits:
            mass[index] += prob / len(hits)
    if not any(mass):
        return None
    floor = _unseen({start: math.log(prob) for start, prob in merged.items() if prob > 0})
    return normalized([math.log(value) if value > 0 else floor for value in mass])


def label_token_distribution(
    logprobs: Sequence[Mapping[str, float]], tokens: Sequence[str], schema: LabelSchema
) -> list[float] | None:
    """Return log-probabilities over the leaves from the tokens of the JSON answer's label value.

    The answer is followed token by token until it is one label; at each token the other alternatives' mass goes, in
    equal parts, to the labels they begin. A label that was not reported gets an upper bound of its own
    log-probability. None when the label's place in the token stream cannot be told, when what stands there is
    no label as the schema spells it (case apart), or for multi-label.
    """
    if schema.kind == "multi" or not logprobs or len(tokens) != len(logprobs):
        return None
    text = "".join(tokens)
    places = list(_LABEL_VALUE.finditer(text))
    if not places:
        return None
    start = places[-1].end()
    names = [
        leaf.casefold() + '"' for leaf in schema.leaves
    ]  # the closing quote tells "hate" from "hate_speech"
    mass = [0.0] * len(names)
    floors = [FLOOR_LOG_PROB] * len(names)
    path, position, hits = 1.0, 0, list(range(len(names)))
    for token, alternatives in zip(tokens, logprobs, strict=True):
        begin, position = position, position + len(token)
        if position <= start:
            continue
        lead, typed = text[begin:start], text[start:begin]
        floor = _unseen(alternatives)
        for index in hits:
            floors[index] = max(FLOOR_LOG_PROB, math.log(path) + floor)
        for other, log_prob in alternatives.items():
            if other == token or not other.startswith(lead) or len(other) == len(lead):
                continue
            begun = _hits((typed + other[len(lead) :]).casefold(), names)
            for index in begun:
                mass[index] += path * math.exp(log_prob) / len(begun)
        hits = _hits((typed + token[len(lead) :]).casefold(), names)
        path *= max(math.exp(alternatives.get(token, floor)), _LEAST)
        if len(hits) < 2:
            break
    if not hits or position <= start:
        return None
    for index in hits:
        mass[index] += path / len(hits)
    return normalized(
        [math.log(value) if value > 0 else floor for value, floor in zip(mass, floors, strict=True)]
    )


def _hits(begun: str, names: Sequence[str]) -> list[int]:
    """Return the places of the names that ``begun`` begins, or that it goes beyond."""
    return [i for i, name in enumerate(names) if name.startswith(begun) or begun.startswith(name)]


def _unseen(alternatives: Mapping[str, float]) -> float:
    """Return an upper bound of the log-probability of a token that was not reported: no more than the least
    reported one, and no more than what the reported ones leave.
    """
    left = 1 - math.fsum(math.exp(value) for value in alternatives.values())
    least = min(alternatives.values(), default=FLOOR_LOG_PROB)
    return max(FLOOR_LOG_PROB, min(least, math.log(left) if left > 0 else FLOOR_LOG_PROB))


def vote_distribution(labels: Sequence[str], schema: LabelSchema) -> list[float]:
    """Return log-probabilities from votes with half a pseudo-vote a label (Jeffreys)."""
    leaves = schema.leaves
    if schema.kind == "multi":
        sets = [schema.members(label) for label in labels]
        return [math.log((sum(leaf in chosen for chosen in sets) + 0.5) / (len(sets) + 1)) for leaf in leaves]
    total = len(labels) + 0.5 * len(leaves)
    return [math.log((sum(label == leaf for label in labels) + 0.5) / total) for leaf in leaves]


def normalized(log_probs: Sequence[float]) -> list[float]:
    """Return ``log_probs`` shifted so that their probabilities sum to one."""
    top = max(log_probs)
    total = top + math.log(sum(math.exp(value - top) for value in log_probs))
    return [value - total for value in log_probs]


def best(log_probs: Sequence[float], schema: LabelSchema) -> tuple[str, float, float]:
    """Return the label of a distribution, its probability and the margin to the runner-up (0 to 1).

    Multi-label: the set of classes with P(yes) ≥ ½; probability that the whole set is right if classes
    were independent; margin of the least certain class.
    """
    leaves = schema.leaves
    if schema.kind == "multi":
        yes = [math.exp(value) for value in log_probs]
        label = schema.canonical([leaf for leaf, prob in zip(leaves, yes, strict=True) if prob >= 0.5])
        sure = [max(prob, 1 - prob) for prob in yes]
        return label, math.prod(sure), min(2 * value - 1 for value in sure)
    order = sorted(range(len(leaves)), key=log_probs.__getitem__, reverse=True)
    first, second = math.exp(log_probs[order[0]]), math.exp(log_probs[order[1]])
    return leaves[order[0]], first, first - second


def _json_object(raw: str) -> Any:
    start, end = raw.find("{"), raw.rfind("}")
    if start < 0 or end < start:
        raise OutputError("no JSON object in the answer", raw=raw)
    try:
        return orjson.loads(raw[start : end + 1])
    except orjson.JSONDecodeError as error:
        raise OutputError(f"not valid JSON: {error}", raw=raw) from error
