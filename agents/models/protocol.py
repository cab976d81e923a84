"""What every chat model of a run looks like: one request, one result, two kinds of failure.

``TransientProviderError`` is worth another try; ``TerminalProviderError`` fails this item only;
``ProviderDown`` fails every item alike, so the run stops (and resumes later).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol, runtime_checkable

from labelproof.spec.errors import TerminalProviderError, TransientProviderError

Role = Literal["system", "user", "assistant"]
DownKind = Literal["auth", "quota", "model", "outage"]

#: Per generated token: token text -> natural-log probability of the most probable alternatives.
TokenLogprobs = Mapping[str, float]


class ProviderDown(TerminalProviderError):
    """No item can be labeled through this provider now: stop the run, keep it resumable.

    ``kind``: ``auth`` (key refused), ``quota`` (paid quota used up), ``model`` (no such model),
    ``outage`` (too many failures in a row).
    """

    def __init__(
        self, message: str, *, kind: DownKind, status: int | None = None, hint: str | None = None
    ) -> None:
        super().__init__(message, status=status, hint=hint)
        self.kind: DownKind = kind


class ProviderTimeout(TransientProviderError):
    """No answer within ``timeout_s``: worth another try, with fewer calls in flight."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One earlier turn of the conversation."""

    role: Role
    content: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatRequest:
    """One question to a chat model: system, then ``history``, then the user turn.

    ``max_tokens`` bounds the answer; ``json_schema`` (strict) binds its shape and ``schema_name``
    names it for the provider; ``top_logprobs`` asks for that many alternatives per token, 0 = none.
    """

    system: str
    user: str
    history: tuple[Message, ...] = ()
    max_tokens: int = 256
    temperature: float = 0.0
    seed: int | None = 0
    json_schema: Mapping[str, Any] | None = None
    schema_name: str = "answer"
    top_logprobs: int = 0

    def messages(self) -> list[dict[str, str]]:
        """Return the turns in order, as every provider's wire format wants them."""
        turns = [{"role": "system", "content": self.system}] if self.system else []
        turns += [{"role": turn.role, "content": turn.content} for turn in self.history]
        turns.append({"role": "user", "content": self.user})
        return turns


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatResult:
    """One answer and what it took.

    ``logprobs`` has one mapping per generated token, empty when the server gave none; they are
    the model's probabilities before any schema constraint. ``tokens``: the generated tokens'
    texts, aligned with ``logprobs``. ``tokens_in`` includes
    ``tokens_cached``. ``cost_usd`` is 0.0 when ``priced`` is False (no price known: not free).
    ``attempts`` counts the tries behind this answer, the successful one included.
    """

    text: str
    finish_reason: str
    logprobs: tuple[TokenLogprobs, ...] = ()
    tokens: tuple[str, ...] = ()
    tokens_in: int = 0
    tokens_out: int = 0
    tokens_cached: int = 0
    latency_ms: float = 0.0
    model: str = ""
    provider: str = ""
    provider_fingerprint: str | None = None
    cost_usd: float = 0.0
    priced: bool = True
    attempts: int = 1


@runtime_checkable
class ChatModel(Protocol):
    """A chat model: open it once per run, ask it from many coroutines, close it at the end."""

    name: str
    provider: str

    async def chat(self, request: ChatRequest) -> ChatResult:
        """Return one answer; raise a ``ProviderError`` of the kind the caller should react to."""
        ...

    async def aclose(self) -> None:
        """Release connections and threads; safe to call twice."""
        ...
