"""Any provider LangChain knows, behind our protocol: ``provider:model`` of ``init_chat_model``.

Slower per call than the lean path (request and response objects are built for each), so it is for
providers without an OpenAI-compatible URL. Retries stay with ``GovernedModel``.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from typing import Any

import orjson

from agents.models.failures import from_status
from agents.models.lean import parse_logprobs, token_texts
from agents.models.pricing import price_of
from agents.models.protocol import ChatRequest, ChatResult, ProviderTimeout
from agents.models.secrets import Secret, scrub
from labelproof.spec.errors import (
    ConfigError,
    ProviderError,
    TerminalProviderError,
    TransientProviderError,
)
from labelproof.spec.strategy import ModelSpec

# Providers whose LangChain class hands response_format, seed and logprobs on in OpenAI's shape.
_OPENAI_SHAPED = frozenset({"openai", "azure_openai", "deepseek", "groq", "xai", "together",
                            "fireworks", "perplexity", "openrouter"})  # fmt: skip
_FINISH = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "tool_use": "stop",
    "tool_calls": "stop",
    "max_tokens": "length",
    "safety": "content_filter",
    "refusal": "refusal",
}
_JSON_ONLY = "\n\nAnswer with one JSON object that fits this JSON schema, and nothing else:\n"


class LangChainChat:
    """A chat model of any LangChain provider; its SDK is imported on the first ``chat``.

    ``build`` makes the LangChain model from keyword arguments (default: ``init_chat_model``).
    Answers are bound to a JSON schema by the provider when it can, else by the prompt alone.
    """

    def __init__(self, spec: ModelSpec, *, build: Callable[..., Any] | None = None) -> None:
        vendor, found, _ = spec.model.partition(":")
        if not found:
            raise ConfigError(
                f"expected provider:model, found {spec.model!r}",
                key="model",
                hint="for example anthropic:claude-haiku-4-5 or ollama:llama3.2",
            )
        self.name = spec.model
        self.provider = f"langchain:{vendor}"
        self._vendor = vendor
        self._spec = spec
        self._build = build
        self._price = price_of(spec)
        key = os.environ.get(spec.api_key_env, "").strip()
        self._secrets = (Secret(key),) if key else ()
        self._bound: dict[tuple[object, ...], tuple[Any, bool]] = {}

    def __repr__(self) -> str:
        return f"LangChainChat(model={self.name!r})"

    async def chat(self, request: ChatRequest) -> ChatResult:
        """Return the model's answer; ``ProviderError`` says whether another try helps."""
        runnable, in_prompt = self._prepared(request)
        turns = request.messages()
        if in_prompt and request.json_schema is not None:
            schema = orjson.dumps(dict(request.json_schema)).decode()
            turns[-1]["content"] += _JSON_ONLY + schema
        started = time.perf_counter()
        try:
            answer = await runnable.ainvoke(turns)
        except (ConfigError, ProviderError):
            raise
        except Exception as error:  # noqa: BLE001 - each SDK has its own tree; all are translated
            truncated = _cut_by_length(error)
            if truncated is None:
                # Never chained: SDK errors carry the request's headers, key included.
                raise self._translated(error) from None
            answer = truncated
        return self._result(answer, (time.perf_counter() - started) * 1000.0)

    async def aclose(self) -> None:
        """Forget the model; its SDK closes pooled connections when it is collected."""
        self._bound.clear()

    def _open(self, request: ChatRequest) -> Any:
        # Constructor names are LangChain's standard ones; what `bind` takes differs per provider.
        spec = self._spec
        limit = "num_predict" if self._vendor == "ollama" else "max_tokens"
        options: dict[str, Any] = {
            "temperature": request.temperature,
            limit: request.max_tokens,
            "timeout": spec.timeout_s,
            "max_retries": 0,
            **spec.params,
        }
        if spec.base_url:
            options["base_url"] = spec.base_url
        # LangChain finds a key under the provider's usual name; another must be handed over.
        if self._secrets and spec.api_key_env != "OPENAI_API_KEY":
            options["api_key"] = self._secrets[0].reveal()
        options = {name: value for name, value in options.items() if value is not None}
        try:
            build = self._build
            if build is None:
                from langchain.chat_models import init_chat_model

                build = init_chat_model
            return build(spec.model, **options)
        except ImportError as error:
            package = f"langchain-{self._vendor.replace('_', '-')}"
            raise ConfigError(
                f"model {spec.model!r} needs a package that is not installed: {error}",
                key="model",
                hint=f"install it with: uv add {package}",
            ) from error
        except ProviderError:
            raise
        except Exception as error:  # noqa: BLE001 - constructors of any SDK; its reason is shown
            reason = scrub(f"{type(error).__name__}: {error}", self._secrets)
            raise ConfigError(
                f"model {spec.model!r} cannot be opened: {reason}",
                key="model",
                hint="check the provider's name, its API key variable and params",
            ) from None

    def _prepared(self, request: ChatRequest) -> tuple[Any, bool]:
        """Return the runnable for these settings, and whether the schema goes in the prompt."""
        key = (
            request.max_tokens,
            request.temperature,
            request.seed,
            request.top_logprobs,
            request.schema_name,
            None if request.json_schema is None else orjson.dumps(dict(request.json_schema)),
        )
        found = self._bound.get(key)
        if found is None:
            found = self._bound[key] = self._bind(request)
        return found

    def _bind(self, request: ChatRequest) -> tuple[Any, bool]:
        model = self._open(request)
        schema = None if request.json_schema is None else dict(request.json_schema)
        if self._vendor in _OPENAI_SHAPED:
            options: dict[str, Any] = {}
            if request.seed is not None:
                options["seed"] = request.seed
            if request.top_logprobs:
                options |= {"logprobs": True, "top_logprobs": request.top_logprobs}
            if schema is not None:
                named = {"name": request.schema_name, "strict": True, "schema": schema}
                options["response_format"] = {"type": "json_schema", "json_schema": named}
            for name, value in self._spec.params.items():
                if value is None:
                    options.pop(name, None)
            return model.bind(**options), False
        if schema is None:
            return model, False
        titled = {"title": request.schema_name, **schema}
        try:
            return (
                model.with_structured_output(titled, method="json_schema", include_raw=True),
                False,
            )
        except (NotImplementedError, ValueError, TypeError):
            return model, True

    def _result(self, answer: Any, latency_ms: float) -> ChatResult:
        message = answer["raw"] if isinstance(answer, dict) and "raw" in answer else answer
        about: Mapping[str, Any] = getattr(message, "response_metadata", None) or {}
        usage: Mapping[str, Any] = getattr(message, "usage_metadata", None) or {}
        tokens_in = int(usage.get("input_tokens") or 0)
        tokens_out = int(usage.get("output_tokens") or 0)
        tokens_cached = int((usage.get("input_token_details") or {}).get("cache_read") or 0)
        price = self._price
        generated = _generated(about)
        finish = str(about.get("finish_reason") or about.get("stop_reason") or "stop").lower()
        return ChatResult(
            text=_text_of(message),
            finish_reason=_FINISH.get(finish, finish),
            logprobs=parse_logprobs(generated),
            tokens=token_texts(generated),
            tokens_in=tokens_in,
            tokens_out=tokens_out,
            tokens_cached=tokens_cached,
            latency_ms=latency_ms,
            model=str(about.get("model_name") or about.get("model") or self.name),
            provider=self.provider,
            provider_fingerprint=about.get("system_fingerprint"),
            cost_usd=price.cost_usd(tokens_in, tokens_out, tokens_cached) if price else 0.0,
            priced=price is not None,
        )

    def _translated(self, error: Exception) -> ProviderError:
        response = getattr(error, "response", None)
        status = getattr(error, "status_code", None) or getattr(response, "status_code", None)
        if status is None and isinstance(getattr(error, "code", None), int):
            status = getattr(error, "code", None)
        if isinstance(status, int) and 400 <= status < 600:
            content = getattr(response, "content", None)
            body = content if isinstance(content, bytes) and content else str(error).encode()
            return from_status(
                status,
                body,
                getattr(response, "headers", None) or {},
                where=self.name,
                clean=self._clean,
                key_env=self._spec.api_key_env,
            )
        kinds = " ".join(kind.__name__ for kind in type(error).__mro__)
        what = self._clean(f"{self.name}: {type(error).__name__}: {error}")
        if isinstance(error, TimeoutError) or "Timeout" in kinds:
            return ProviderTimeout(what)
        broken = ("Connection", "TransportError", "JSONDecodeError", "ServiceUnavailable",
                  "APIResponseValidationError")  # fmt: skip
        if isinstance(error, OSError) or any(word in kinds for word in broken):
            return TransientProviderError(what)
        return TerminalProviderError(what)

    def _clean(self, text: str) -> str:
        return scrub(text, self._secrets)


class _Completed:
    """An answer the SDK refused to hand over because it was cut; read from the raw completion."""

    def __init__(self, completion: Any) -> None:
        choice = completion.choices[0]
        usage = completion.usage
        self.content = choice.message.content or ""
        self.response_metadata = {
            "finish_reason": choice.finish_reason,
            "model_name": completion.model,
            "system_fingerprint": completion.system_fingerprint,
            "logprobs": choice.logprobs.model_dump() if choice.logprobs else None,
        }
        self.usage_metadata = {
            "input_tokens": usage.prompt_tokens if usage else 0,
            "output_tokens": usage.completion_tokens if usage else 0,
        }


def _cut_by_length(error: Exception) -> _Completed | None:
    completion = getattr(error, "completion", None)
    return _Completed(completion) if getattr(completion, "choices", None) else None


def _text_of(message: Any) -> str:
    content = message.content
    if isinstance(content, list):
        parts = [part if isinstance(part, str) else part.get("text", "") for part in content]
        content = "".join(parts)
    calls = getattr(message, "tool_calls", None)
    if not content and calls:  # structured output by function calling
        return orjson.dumps(calls[0]["args"]).decode()
    return str(content)


def _generated(about: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the generated tokens in OpenAI's form, empty when the provider gave none."""
    logprobs = about.get("logprobs")
    content = logprobs.get("content") if isinstance(logprobs, Mapping) else None
    return list(content or ())
