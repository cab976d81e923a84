"""Instruction variants: what a model writes when it sees the base's mistakes, as a prompt that can be tried.

The mistakes are hostile content as all items are: they stand fenced and as JSON values in the user turn, and what comes
back is bounded, may hold no template code, no heading and no longer quotation, and is judged on gold like any candidate.
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import orjson
import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from agents.models import Budget, ChatRequest, ChatResult, ProviderDown, open_model
from agents.run.drive import new_loop_run
from agents.secrets import RunSecrets
from labelproof.spec.errors import OutputError, ProviderError
from labelproof.spec.hashing import digest, digest_parts, digest_text
from labelproof.spec.labels import LabelSchema
from labelproof.spec.strategy import ModelSpec
from labelproof.store import TraceStore
from prompts import PromptTemplate, load_template

MAX_CHARS = 1200
"""Longest instruction that is tried: an addition, no second guideline."""
MISTAKES = 10
"""Mistakes shown to the writer at most."""
ATTEMPTS = 2
QUOTE_CHARS = 60
"""A run of so many characters that also stands in a mistake is a quotation."""
_TEXT_CHARS = 600
_TOKENS = 700
_HEADING = "Besides, from mistakes made before:"
_GUIDELINE_BLOCK = re.compile(r"^\{% if guideline %\}\n.*?^\{% endif %\}\n", re.DOTALL | re.MULTILINE)
_CONTROL = re.compile(r"[^\S\n\t ]|[\x00-\x08\x0b-\x1f\x7f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Mistake:
    """An item of the examples split that the base labels differently from gold."""

    text: str
    said: str
    gold: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """One thing the writer wrote: the instruction, or why there is none. ``n_calls`` were paid for now."""

    index: int
    instruction: str | None
    reason: str | None
    n_calls: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Brief:
    """What every variant's writer is told: the task, the labels, the guideline, all mistakes."""

    task: str
    schema: LabelSchema
    guideline: str
    mistakes: Sequence[Mistake]


class _Answer(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    instruction: str = Field(min_length=20)


def write_variant(
    store: TraceStore,
    run_id: str,
    writer: ModelSpec,
    brief: Brief,
    index: int,
    seed: int,
    *,
    budget: Budget,
) -> Variant:
    """Return variant ``index``: each is shown other mistakes, drawn by ``seed``. Stored answers are not paid again.

    An answer that cannot be used is shown to the writer once; a second one is a variant without an instruction. Raises
    ``BudgetError`` and ``ProviderDown`` as any run does.
    """
    shown = _shown(brief.mistakes, index, seed)
    error, calls = "", 0
    for attempt in range(ATTEMPTS):
        request = _request(store, writer, brief, shown, seed=seed + index, error=error)
        key = digest_parts(
            "write_instruction", digest(writer.identity()), digest(_wire(request)), str(attempt)
        )
        text = _stored(store, key)
        if text is None:
            try:
                result = new_loop_run(_ask(writer, request, budget))
            except ProviderDown:
                raise
            except ProviderError as problem:  # this request was refused: no variant, and no reason to stop
                return Variant(index=index, instruction=None, reason=problem.message, n_calls=calls)
            _store(store, run_id, key, attempt, request, result)
            text = result.text
            calls += 1
        try:
            found = read_instruction(text, brief.mistakes)
        except OutputError as problem:
            error = problem.message
            continue
        return Variant(index=index, instruction=found, reason=None, n_calls=calls)
    return Variant(index=index, instruction=None, reason=error, n_calls=calls)


def read_instruction(raw: str, mistakes: Sequence[Mistake] = ()) -> str:
    """Return the instruction of a writer's answer, cleaned; ``OutputError`` says what makes it unusable."""
    start, end = raw.find("{"), raw.rfind("}")
    if start < 0 or end < start:
        raise OutputError(
            'expected one JSON object {"instruction": text}, found no object in the answer', raw=raw
        )
    try:
        answer = _Answer.model_validate_json(raw[start : end + 1])
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "the answer"
        raise OutputError(f"{place}: {first['msg']}", raw=raw) from error
    text = _CONTROL.sub("", answer.instruction)
    lines = [line.strip().lstrip("#").strip() for line in text.splitlines()]
    text = "\n".join(line for line in lines if line)
    if len(text) < 20:
        raise OutputError(f"instruction: expected at least 20 characters, found {len(text)}", raw=raw)
    if len(text) > MAX_CHARS:
        raise OutputError(f"instruction: expected at most {MAX_CHARS} characters, found {len(text)}", raw=raw)
    if any(mark in text for mark in ("{{", "{%", "{#", "}}", "%}", "#}")):
        raise OutputError("instruction: template code is not allowed; write plain sentences", raw=raw)
    if any(_quotes(text, mistake.text) for mistake in mistakes):
        raise OutputError("instruction: it quotes one of the texts; give a general rule instead", raw=raw)
    return text


def instruction_prompt(base: PromptTemplate, name: str, instruction: str, origin: str) -> str:
    """Return the file text of prompt ``name``: ``base`` with the instruction behind its guideline.

    A prompt without a guideline gets it at the end of the system section. Variables stay the same.
    """
    head, body = base.text.split("\n---\n", 1)
    del head
    system, user = re.split(r"^# User\n", body, maxsplit=1, flags=re.MULTILINE)
    block = f"\n{_HEADING}\n{instruction}\n"
    guideline = _GUIDELINE_BLOCK.search(system)
    at = guideline.end() if guideline else len(system.rstrip("\n")) + 1
    system = system[:at] + block + system[at:] if guideline else f"{system.rstrip()}\n{block}\n"
    front = yaml.safe_dump(
        {
            "name": name,
            "version": 1,
            "variables": list(base.variables),
            "changed": f"{base.reference} with an instruction written from mistakes, {origin}.",
        },
        sort_keys=False,
        allow_unicode=True,
        width=1000,
    )
    return f"---\n{front}---\n{system}# User\n{user}"


def _shown(mistakes: Sequence[Mistake], index: int, seed: int) -> list[Mistake]:
    """Return the mistakes of one variant: the first sees a draw of all, later ones other draws."""
    rng = random.Random(f"{seed}/{index}")
    return rng.sample(list(mistakes), min(MISTAKES, len(mistakes)))


def _request(
    store: TraceStore, writer: ModelSpec, brief: Brief, shown: Sequence[Mistake], *, seed: int, error: str
) -> ChatRequest:
    template = load_template("write_instruction")
    options = [
        {"name": name, "description": leaf.description} for name, leaf in brief.schema.leaf_classes.items()
    ]
    rows = [{"text": _cut(one.text), "annotator_said": one.said, "correct_label": one.gold} for one in shown]
    block = "\n".join(orjson.dumps(row).decode() for row in rows)
    user = {
        "item": block,
        "fence": RunSecrets(store.secret("fences")).fence(digest_text(block), block),
        "error": error,
    }
    system = {
        "task": brief.task,
        "options": options,
        "guideline": brief.guideline,
        "max_chars": MAX_CHARS,
        "multi": brief.schema.kind == "multi",
    }
    return ChatRequest(
        system=template.render_system(system),
        user=template.render_user(user),
        max_tokens=max(writer.max_tokens, _TOKENS),
        temperature=max(writer.temperature, 0.7),
        seed=seed,
        json_schema=_SCHEMA,
        schema_name="instruction",
    )


async def _ask(writer: ModelSpec, request: ChatRequest, budget: Budget) -> ChatResult:
    from agents.models.weights import needed_by, pull

    artifact = needed_by(writer)
    if artifact is not None:
        pull(artifact)
    model = open_model(writer, budget=budget)
    try:
        return await model.chat(request)
    finally:
        await model.aclose()


def _stored(store: TraceStore, key: str) -> str | None:
    rows = store.query(
        "SELECT t.text FROM calls c JOIN text_by_hash t ON t.text_hash = c.response_hash WHERE c.call_key = ? LIMIT 1",
        [key],
        fresh=True,
    ).to_pylist()
    return str(rows[0]["text"]) if rows else None


def _store(
    store: TraceStore, run_id: str, key: str, attempt: int, request: ChatRequest, result: ChatResult
) -> None:
    texts = {digest_text(text): text for text in (request.system, request.user, result.text)}
    row: dict[str, Any] = {
        "call_key": key,
        "run_id": run_id,
        "item_id": "",
        "step_key": "write_instruction",
        "call_idx": attempt,
        "model": result.model,
        "provider": result.provider,
        "system_hash": digest_text(request.system),
        "user_hash": digest_text(request.user),
        "response_hash": digest_text(result.text),
        "logprobs_json": None,
        "finish_reason": result.finish_reason,
        "provider_fingerprint": result.provider_fingerprint,
        "tokens_in": result.tokens_in,
        "tokens_out": result.tokens_out,
        "tokens_cached": result.tokens_cached,
        "cost_usd": result.cost_usd if result.priced else None,
        "latency_ms": result.latency_ms,
        "attempts": result.attempts,
        "ts": datetime.now(UTC),
        "flow_run_id": None,
        "task_run_id": None,
    }
    store.append_many(
        {
            "calls": {name: [value] for name, value in row.items()},
            "texts": {"text_hash": list(texts), "text": list(texts.values())},
        }
    )


def _wire(request: ChatRequest) -> dict[str, Any]:
    return {"messages": request.messages(), "temperature": request.temperature, "seed": request.seed}


def _cut(text: str) -> str:
    return text if len(text) <= _TEXT_CHARS else f"{text[:_TEXT_CHARS]} […]"


def _quotes(instruction: str, text: str) -> bool:
    """Whether an instruction repeats a part of what the writer was shown of a text."""
    own = " ".join(instruction.split()).casefold()
    other = " ".join(text[:_TEXT_CHARS].split()).casefold()
    return any(own[at : at + QUOTE_CHARS] in other for at in range(max(0, len(own) - QUOTE_CHARS + 1)))


_SCHEMA = {
    "type": "object",
    "properties": {"instruction": {"type": "string"}},
    "required": ["instruction"],
    "additionalProperties": False,
}
