"""A small instruct model inside this process (llama.cpp): no key, no server, no GPU.

One engine per weights file and settings is shared by the whole process and stays loaded until
exit, because loading takes seconds and the prompt cache is what makes a run fast. The engine's
own listener is a Unix socket that is unlinked before the first call, so nobody can reach it;
where there are none (Windows) it is a loopback port behind a random key.
"""

from __future__ import annotations

import asyncio
import atexit
import os
import secrets
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import orjson

from agents.models.lean import parse_logprobs, token_texts
from agents.models.protocol import ChatRequest, ChatResult, ProviderTimeout
from agents.models.weights import weights_path
from labelproof.spec.errors import (
    ConfigError,
    ProviderError,
    TerminalProviderError,
    TransientProviderError,
)
from labelproof.spec.strategy import ModelSpec

N_CTX = 8192
_TIMEOUT_S = 600.0
_PROMPT_CACHE_MIB = 1024
_MAX_SOCKET_PATH = 100
_ENGINE_PARAMS = ("n_ctx", "threads")

_engines: dict[tuple[Path, int, int, int], Engine] = {}
_engines_lock = threading.Lock()


class Engine:
    """A loaded model with ``slots`` sequences; loads on the first call, in a thread of its own."""

    def __init__(self, path: Path, *, n_ctx: int, slots: int, threads: int) -> None:
        self.path = path
        self.n_ctx = n_ctx
        self._slots = slots
        self._threads = threads
        self._pool = ThreadPoolExecutor(max_workers=slots, thread_name_prefix="embedded-model")
        self._lock = threading.Lock()
        self._server: Any = None

    async def run(self, body: dict[str, Any], on_chunk: Callable[[dict[str, Any]], bool]) -> None:
        """Answer ``body``; ``on_chunk`` gets each piece, in the pool's thread; True ends it."""
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(self._pool, self._call, body, on_chunk)

    def close(self) -> None:
        """Wait for running calls to end and free the model."""
        self._pool.shutdown(wait=True, cancel_futures=True)
        self._server = None

    def _call(self, body: dict[str, Any], on_chunk: Callable[[dict[str, Any]], bool]) -> None:
        with self._lock:
            if self._server is None:
                self._server = _load(self.path, self.n_ctx, self._slots, self._threads)
        self._server.handle_chat_completions(body, on_chunk)


def engine(path: Path, *, n_ctx: int = N_CTX, slots: int = 1, threads: int | None = None) -> Engine:
    """Return this process's engine for a GGUF file; ``threads`` defaults to all usable cores."""
    count = threads or usable_cores()
    key = (path.resolve(), n_ctx, slots, count)
    with _engines_lock:
        found = _engines.get(key)
        if found is None:
            found = _engines[key] = Engine(path, n_ctx=n_ctx, slots=slots, threads=count)
        return found


def close_engines() -> None:
    """Free every loaded model; a later call loads again."""
    with _engines_lock:
        engines = list(_engines.values())
        _engines.clear()
    for each in engines:
        each.close()


atexit.register(close_engines)


def usable_cores() -> int:
    """Return how many cores this process may run on."""
    if sys.platform == "linux":
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class EmbeddedChat:
    """The chat model of a local GGUF file; ``spec.path``, else the weights named ``spec.model``.

    ``spec.concurrency`` is the number of sequences (default 1: on a CPU every further one reads
    the shared prompt prefix again). ``spec.params`` may set ``n_ctx`` (tokens per sequence) and
    ``threads``; the rest goes to llama.cpp's sampler. ``timeout_s`` counts only when set: reading
    a long prompt for the first time may take minutes. Log probabilities are those before the
    JSON schema's constraint.
    """

    provider = "embedded"

    def __init__(self, spec: ModelSpec) -> None:
        self.name = spec.model
        self.path = weights_path(spec.model, spec.path)
        sampler = {name: v for name, v in spec.params.items() if name not in _ENGINE_PARAMS}
        self._sampler = {name: value for name, value in sampler.items() if value is not None}
        self._timeout_s = spec.timeout_s if "timeout_s" in spec.model_fields_set else _TIMEOUT_S
        self._engine = engine(
            self.path,
            n_ctx=_positive(spec.params.get("n_ctx", N_CTX), "n_ctx"),
            slots=spec.concurrency or 1,
            threads=_positive(spec.params.get("threads", usable_cores()), "threads"),
        )

    def __repr__(self) -> str:
        return f"EmbeddedChat(model={self.name!r}, path={str(self.path)!r})"

    async def chat(self, request: ChatRequest) -> ChatResult:
        """Return the model's answer; cancelling stops it at the next token."""
        collected = _Collected()
        loop = asyncio.get_running_loop()
        timer = loop.call_later(self._timeout_s, collected.stop, "timeout")
        started = time.perf_counter()
        try:
            await self._engine.run(self._body(request), collected.add)
        except asyncio.CancelledError:
            collected.stop("cancelled")
            raise
        except (ValueError, RuntimeError) as error:
            raise TerminalProviderError(f"{self.name}: {error}") from error
        finally:
            timer.cancel()
        latency_ms = (time.perf_counter() - started) * 1000.0
        if collected.error is not None:
            raise _refused(self.name, collected.error)
        if collected.stopped == "timeout":
            raise ProviderTimeout(f"{self.name} did not answer within {self._timeout_s:g} s")
        usage = collected.usage
        details = usage.get("prompt_tokens_details") or {}
        return ChatResult(
            text="".join(collected.text),
            finish_reason=collected.finish_reason,
            logprobs=parse_logprobs(collected.logprobs),
            tokens=token_texts(collected.logprobs),
            tokens_in=usage.get("prompt_tokens", 0),
            tokens_out=usage.get("completion_tokens", 0),
            tokens_cached=details.get("cached_tokens", 0),
            latency_ms=latency_ms,
            model=self.name,
            provider=self.provider,
            provider_fingerprint=_build(),
        )

    async def aclose(self) -> None:
        """Keep the engine: it is shared, and ``close_engines`` or the process's exit frees it."""

    def _body(self, request: ChatRequest) -> dict[str, Any]:
        body: dict[str, Any] = {
            "messages": request.messages(),
            "max_tokens": request.max_tokens,
            "temperature": request.temperature,
            "cache_prompt": True,
            "stream": True,  # for the callback between tokens: it is how a call is cancelled
            "stream_options": {"include_usage": True},
            **self._sampler,
        }
        if request.seed is not None:
            body["seed"] = request.seed
        if request.top_logprobs:
            body |= {"logprobs": True, "top_logprobs": request.top_logprobs}
        if request.json_schema is not None:
            body["grammar"] = compact_grammar(request.json_schema)
        return body


class _Collected:
    """What a streamed answer has been so far; ``add`` runs in the engine's thread."""

    def __init__(self) -> None:
        self.text: list[str] = []
        self.logprobs: list[dict[str, Any]] = []
        self.usage: dict[str, Any] = {}
        self.finish_reason = "stop"
        self.error: dict[str, Any] | None = None
        self.stopped: str | None = None

    def stop(self, why: str) -> None:
        self.stopped = self.stopped or why

    def add(self, chunk: dict[str, Any]) -> bool:
        if "error" in chunk:
            self.error = chunk["error"]
        for choice in chunk.get("choices") or ():
            self.text.append(choice["delta"].get("content") or "")
            if choice.get("logprobs"):
                self.logprobs += choice["logprobs"].get("content") or ()
            self.finish_reason = choice.get("finish_reason") or self.finish_reason
        self.usage = chunk.get("usage") or self.usage
        return self.stopped is not None


def compact_grammar(schema: Mapping[str, Any]) -> str:
    """Return the llguidance grammar of ``schema`` with JSON on one line.

    A token costs about 0.1 s on two cores, and without this the model spends ten on a Markdown
    fence, line breaks and indentation.
    """
    style = {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "}
    bound = orjson.dumps({**schema, "x-guidance": style}).decode()
    return "%llguidance {}\nstart: %json " + bound


def _refused(name: str, error: Mapping[str, Any]) -> ProviderError:
    status = error.get("code") if isinstance(error.get("code"), int) else None
    message = f"{name}: {error.get('message', error)}"
    if status is not None and status >= 500:
        return TransientProviderError(message, status=status)
    hint = None
    if error.get("type") == "exceed_context_size_error":
        hint = "shorten the prompt, or raise params: {n_ctx: ...} of this model"
    return TerminalProviderError(message, status=status, hint=hint)


def _load(path: Path, n_ctx: int, slots: int, threads: int) -> Any:
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = str(path)
    params.n_ctx = n_ctx * slots
    params.n_parallel = slots
    params.cpuparams.n_threads = threads
    params.cpuparams_batch.n_threads = threads
    params.n_gpu_layers = 0
    params.cache_ram_mib = _PROMPT_CACHE_MIB
    params.endpoint_slots = False
    params.ui = False
    params.verbosity = 0
    params.api_keys = [secrets.token_urlsafe(32)]
    folder = Path(tempfile.mkdtemp(prefix="lp-"))  # 0700: ours alone until it is gone
    try:
        socket = folder / "s.sock"
        if sys.platform != "win32" and len(str(socket)) < _MAX_SOCKET_PATH:
            params.hostnames = [str(socket)]
        return xllamacpp.Server(params)
    except RuntimeError as error:
        raise ConfigError(
            f"llama.cpp cannot load this file ({error})",
            path=path,
            hint="run `labelproof model verify`; a file of your own must be a GGUF chat model",
        ) from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _build() -> str:
    import xllamacpp

    return f"xllamacpp {xllamacpp.__version__}"


def _positive(value: Any, name: str) -> int:
    if isinstance(value, int) and not isinstance(value, bool) and value > 0:
        return value
    raise ConfigError(f"expected a positive whole number, found {value!r}", key=f"params.{name}")
