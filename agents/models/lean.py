"""The lean path to any OpenAI-compatible ``/chat/completions``: one session, one POST, one parse.

Per call it builds a dict, dumps it with orjson and reads the answer back; no request objects, no
retries of its own (``GovernedModel`` has them), no redirects (a key must not follow one).
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp
import orjson
from yarl import URL

from agents.models.failures import from_error_body, from_status
from agents.models.pricing import is_loopback, price_of
from agents.models.protocol import ChatRequest, ChatResult, ProviderTimeout, TokenLogprobs
from agents.models.secrets import Secret, scrub
from labelproof.spec.errors import (
    ConfigError,
    ProviderError,
    TerminalProviderError,
    TransientProviderError,
)
from labelproof.spec.strategy import ModelSpec

DEFAULT_BASE_URL = "https://api.openai.com/v1"
_CONNECT_S = 10.0
_KEEPALIVE_S = 60.0


class LeanChat:
    """A chat model behind an OpenAI-compatible URL.

    The base URL is the spec's, else ``$OPENAI_BASE_URL``, else OpenAI's. The key is read from
    ``$<api_key_env>`` once; only a server on this machine may go without. ``spec.params`` are
    merged into every request body; a ``null`` there drops a field the server refuses.
    """

    provider = "openai_compatible"

    def __init__(self, spec: ModelSpec, *, env: Mapping[str, str] | None = None) -> None:
        env = os.environ if env is None else env
        base = (spec.base_url or env.get("OPENAI_BASE_URL") or DEFAULT_BASE_URL).rstrip("/")
        parts = urlsplit(base)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ConfigError(
                f"expected an http(s) URL, found {scrub(base)!r}",
                key="base_url",
                hint="for example base_url: http://localhost:8000/v1",
            )
        self.name = spec.model
        self.base_url = base
        self._secrets = _secrets(spec, env, base)
        self._key_env = spec.api_key_env
        self._url = URL(f"{base}/chat/completions")
        self._where = scrub(f"{self._url.with_user(None)}", self._secrets)
        self._timeout_s = spec.timeout_s
        self._price = price_of(spec, base)
        self._fields = _fixed_fields(spec, parts.hostname or "")
        self._dropped = tuple(name for name, value in spec.params.items() if value is None)
        self._proxy = None if proxy_bypass(parts.hostname or "") else getproxies().get(parts.scheme)
        self._session: aiohttp.ClientSession | None = None

    def __repr__(self) -> str:
        return f"LeanChat(model={self.name!r}, url={self._where!r})"

    async def chat(self, request: ChatRequest) -> ChatResult:
        """Return the server's first choice; ``ProviderError`` says whether another try helps."""
        body = orjson.dumps(self._body(request))
        session = self._session or self._open()
        started = time.perf_counter()
        try:
            async with session.post(self._url, data=body, allow_redirects=False) as response:
                raw = await response.read()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise self._broken(error) from None
        latency_ms = (time.perf_counter() - started) * 1000.0
        if response.status != 200:
            raise from_status(
                response.status,
                raw,
                response.headers,
                where=self._where,
                clean=self._clean,
                key_env=self._key_env,
            )
        return self._result(raw, latency_ms)

    async def aclose(self) -> None:
        """Close the connections; the next ``chat`` would open new ones."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    def _open(self) -> aiohttp.ClientSession:
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        for secret in self._secrets[:1]:
            headers["Authorization"] = f"Bearer {secret.reveal()}"
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=0,  # the governor bounds the calls in flight
                keepalive_timeout=_KEEPALIVE_S,
                ttl_dns_cache=300,
            ),
            headers=headers,
            timeout=aiohttp.ClientTimeout(
                total=self._timeout_s, sock_connect=min(_CONNECT_S, self._timeout_s)
            ),
            proxy=self._proxy,  # resolved once: trust_env would ask the environment per call
            cookie_jar=aiohttp.DummyCookieJar(),
        )
        return self._session

    def _body(self, request: ChatRequest) -> dict[str, Any]:
        body: dict[str, Any] = {
            "messages": request.messages(),
            self._fields["max_tokens_name"]: request.max_tokens,
            "temperature": request.temperature,
        }
        if request.seed is not None:
            body["seed"] = request.seed
        if request.top_logprobs:
            body["logprobs"] = True
            body["top_logprobs"] = request.top_logprobs
        if request.json_schema is not None:
            body["response_format"] = {
                "type": "json_schema",
                "json_schema": {
                    "name": request.schema_name,
                    "strict": True,
                    "schema": request.json_schema,
                },
            }
        body.update(self._fields["params"])
        for name in self._dropped:
            body.pop(name, None)
        return body

    def _result(self, raw: bytes, latency_ms: float) -> ChatResult:
        try:
            data = orjson.loads(raw)
        except orjson.JSONDecodeError:
            raise TransientProviderError(
                f"{self._where} answered 200 with {len(raw)} bytes that are not JSON "
                "(cut short, or not an OpenAI-compatible server)",
                status=200,
            ) from None
        try:
            choice = data["choices"][0]
            message = choice["message"]
            text, finish = _text_of(message, choice.get("finish_reason") or "stop")
            logprobs = choice.get("logprobs")
            usage = data.get("usage") or {}
            details = usage.get("prompt_tokens_details") or {}
            tokens_in = usage.get("prompt_tokens") or 0
            tokens_out = usage.get("completion_tokens") or 0
            tokens_cached = details.get("cached_tokens") or 0
            content = (logprobs.get("content") if logprobs else None) or []
            kept, tokens = parse_logprobs(content), token_texts(content)
        except (KeyError, IndexError, TypeError, AttributeError):
            error = data.get("error") if isinstance(data, dict) else None
            if error:
                raise from_error_body(
                    error, where=self._where, clean=self._clean, key_env=self._key_env
                ) from None
            raise TransientProviderError(
                f"{self._where} answered 200 without a chat completion: expected "
                f"choices[0].message, found {self._clean(raw[:200].decode('utf-8', 'replace'))}",
                status=200,
            ) from None
        price = self._price
        return ChatResult(
            text=text,
            finish_reason=finish,
            logprobs=kept,
            tokens=tokens,
            tokens_in=tokens_in,
            tokens_out=tokens_out,
            tokens_cached=tokens_cached,
            latency_ms=latency_ms,
            model=data.get("model") or self.name,
            provider=self.provider,
            provider_fingerprint=data.get("system_fingerprint"),
            cost_usd=price.cost_usd(tokens_in, tokens_out, tokens_cached) if price else 0.0,
            priced=price is not None,
        )

    def _clean(self, text: str) -> str:
        return scrub(text, self._secrets)

    def _broken(self, error: BaseException) -> ProviderError:
        # Never chained: aiohttp's errors carry the request's headers, key included.
        what = self._clean(f"{type(error).__name__}: {error}".rstrip(": "))
        if isinstance(error, TimeoutError):
            return ProviderTimeout(f"{self._where} did not answer within {self._timeout_s:g} s")
        if isinstance(error, aiohttp.ClientSSLError):
            return TerminalProviderError(
                f"{self._where}: {what}", hint="check the certificate, or set SSL_CERT_FILE"
            )
        return TransientProviderError(f"{self._where}: {what}")


def parse_logprobs(tokens: list[dict[str, Any]]) -> tuple[TokenLogprobs, ...]:
    """Return one mapping per token of an OpenAI ``logprobs.content`` list.

    Two tokens that print alike (broken UTF-8) keep the larger probability; the chosen token is
    included even when it is not among the alternatives.
    """
    kept: list[TokenLogprobs] = []
    for token in tokens:
        top = token.get("top_logprobs") or ()
        # Sorted by falling probability: reversed, so that the first one wins.
        alternatives: dict[str, float] = {
            entry["token"]: float(entry["logprob"]) for entry in reversed(top) if entry["logprob"] is not None
        }
        if token["token"] not in alternatives and token.get("logprob") is not None:
            alternatives[token["token"]] = float(token["logprob"])
        kept.append(alternatives)
    return tuple(kept)


def token_texts(tokens: list[dict[str, Any]]) -> tuple[str, ...]:
    """Return the texts of the generated tokens, aligned with ``parse_logprobs``."""
    return tuple(token["token"] for token in tokens)


def _text_of(message: Mapping[str, Any], finish: str) -> tuple[str, str]:
    content = message.get("content")
    if isinstance(content, str):
        return content, finish
    if isinstance(content, list):
        return "".join(part.get("text", "") for part in content), finish
    refusal = message.get("refusal")
    if refusal:
        return str(refusal), "refusal"
    return "", finish


def _secrets(spec: ModelSpec, env: Mapping[str, str], base: str) -> tuple[Secret, ...]:
    key = env.get(spec.api_key_env, "").strip()
    if key:
        return (Secret(key),)
    if is_loopback(base):
        return ()
    raise ConfigError(
        f"no API key: the environment variable {spec.api_key_env} is not set",
        key="api_key_env",
        hint=f"export {spec.api_key_env}=..., name another variable with api_key_env, or use "
        "provider: embedded, which needs no key",
    )


def _fixed_fields(spec: ModelSpec, host: str) -> dict[str, Any]:
    params = {name: value for name, value in spec.params.items() if value is not None}
    # OpenAI's newer models refuse max_tokens; other servers often know nothing else.
    modern = host == "api.openai.com"
    return {
        "max_tokens_name": "max_completion_tokens" if modern else "max_tokens",
        "params": {"model": spec.model, **params},
    }
