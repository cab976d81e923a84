"""A scripted OpenAI-compatible server on loopback, for tests and benchmarks.

In a test: ``with scripted_server([rate_limited(1.5), ok("yes")]) as server: ... server.base_url``.
In its own process: ``python -m tests.scripted_server --port 8123 --latency-ms 50 --log log.jsonl``.
The log has one JSON line per request and one per answer, written before the answer leaves: a test
that kills its client finds in it every call that was paid, and how often.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import os
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import orjson
from aiohttp import web

JsonDict = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What the server does with one request; the helpers below make the usual ones."""

    content: str | None = None
    """Answer text; None: something that fits the request's JSON schema, else ``A``."""
    logprobs: Sequence[Mapping[str, float]] | None = None
    """Per token: token -> log probability; None: made up when the request asks for them."""
    without_logprobs: bool = False
    finish_reason: str = "stop"
    usage: tuple[int, int, int] | None = None
    """Prompt, completion and cached tokens; None: counted at four characters a token."""
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None
    """Send these bytes instead of a completion."""
    latency_ms: float | None = None
    fate: Literal["answer", "hang", "cut", "truncate"] = "answer"
    """hang: never answer; cut: close without a byte; truncate: close in the middle of the body."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """A request as it arrived: ``index`` counts all, ``nth`` those with the same prompt."""

    index: int
    nth: int
    prompt: str
    body: JsonDict
    headers: Mapping[str, str]
    at: float


Script = Sequence[Reply] | Callable[[Seen], Reply | None]


def ok(content: str | None = None, **more: Any) -> Reply:
    """Answer with ``content``, by default something that fits the schema."""
    return Reply(content=content, **more)


def failing(
    status: int, message: str = "scripted failure", *, code: str | None = None, **headers: str
) -> Reply:
    """Answer with an OpenAI-style error; ``retry_after="2"`` becomes the header retry-after."""
    error = {"message": message, "type": code or "error", "code": code}
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Reply(status=status, headers=named, body=orjson.dumps({"error": error}))


def rate_limited(retry_after_s: float | None = None) -> Reply:
    """Answer 429, with retry-after when given."""
    more = {} if retry_after_s is None else {"retry_after": f"{retry_after_s:g}"}
    return failing(429, "slow down", code="rate_limit_exceeded", **more)


def hang() -> Reply:
    """Never answer."""
    return Reply(fate="hang")


def cut() -> Reply:
    """Close the connection before the first byte."""
    return Reply(fate="cut")


def truncated() -> Reply:
    """Promise a whole body, send half, close."""
    return Reply(fate="truncate")


def malformed() -> Reply:
    """Answer 200 with half a JSON document, properly framed."""
    return Reply(body=b'{"id": "x", "choices": [{"message": {"content": "tr')


def off_schema() -> Reply:
    """Answer JSON that does not fit any label schema."""
    return Reply(content='{"unexpected": [1, 2, 3]}')


def off_label(label: str = "no_such_label") -> Reply:
    """Answer JSON of the usual shape with a label nobody defined."""
    return Reply(content=orjson.dumps({"label": label}).decode())


class ScriptedServer:
    """The running server: where it is, and what it saw."""

    def __init__(
        self,
        script: Script = (),
        *,
        latency_ms: float = 0.0,
        log: Path | None = None,
    ) -> None:
        self.requests: list[Seen] = []
        self.answered: Counter[str] = Counter()
        self.in_flight = 0
        self.max_in_flight = 0
        self.base_url = ""
        self._script = script
        self._latency_s = latency_ms / 1000.0
        self._counts: Counter[str] = Counter()
        self._log = None if log is None else os.open(log, os.O_CREAT | os.O_WRONLY | os.O_APPEND)
        self._released = asyncio.Event()

    @property
    def counts(self) -> Counter[str]:
        """Requests per prompt (the last user turn)."""
        return self._counts

    async def start(self, port: int = 0) -> web.AppRunner:
        """Listen on loopback and set ``base_url``."""
        app = web.Application(client_max_size=64 * 2**20)
        app.router.add_post("/v1/chat/completions", self._handle)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", port)
        await site.start()
        bound = runner.addresses[0][1]
        self.base_url = f"http://127.0.0.1:{bound}/v1"
        return runner

    def release(self) -> None:
        """Let hanging requests go, so that the server can stop."""
        self._released.set()

    def close(self) -> None:
        """Close the log."""
        if self._log is not None:
            os.close(self._log)
            self._log = None

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        body = orjson.loads(await request.read())
        prompt = _prompt(body)
        self._counts[prompt] += 1
        seen = Seen(
            index=len(self.requests),
            nth=self._counts[prompt],
            prompt=prompt,
            body=body,
            headers=dict(request.headers),
            at=time.monotonic(),
        )
        self.requests.append(seen)
        self._write_log("request", seen)
        self.in_flight += 1
        self.max_in_flight = max(self.max_in_flight, self.in_flight)
        try:
            return await self._answer(request, seen, self._reply(seen))
        finally:
            self.in_flight -= 1

    def _reply(self, seen: Seen) -> Reply:
        if callable(self._script):
            return self._script(seen) or Reply()
        return self._script[seen.index] if seen.index < len(self._script) else Reply()

    async def _answer(self, request: web.Request, seen: Seen, reply: Reply) -> web.StreamResponse:
        wait_s = self._latency_s if reply.latency_ms is None else reply.latency_ms / 1000.0
        if reply.fate == "hang":
            await self._released.wait()
        elif wait_s:
            await asyncio.sleep(wait_s)
        transport = request.transport
        if reply.fate in ("cut", "hang"):
            if transport is not None:
                transport.abort()
            return web.Response()
        body = reply.body if reply.body is not None else _completion(seen, reply)
        headers = {"Content-Type": "application/json", **reply.headers}
        if reply.fate == "truncate":
            headers["Content-Length"] = str(len(body))
            stream = web.StreamResponse(status=reply.status, headers=headers)
            await stream.prepare(request)
            await stream.write(body[: len(body) // 2])
            if transport is not None:
                transport.close()
            return stream
        # Counted before the bytes leave: whatever the client has received is in the log.
        if reply.status == 200:
            self.answered[seen.prompt] += 1
        self._write_log("answer", seen, status=reply.status)
        return web.Response(status=reply.status, body=body, headers=headers)

    def _write_log(self, event: str, seen: Seen, **more: Any) -> None:
        if self._log is None:
            return
        line = {"event": event, "index": seen.index, "nth": seen.nth, "prompt": seen.prompt, **more}
        os.write(self._log, orjson.dumps(line) + b"\n")


@contextmanager
def scripted_server(
    script: Script = (), *, latency_ms: float = 0.0, log: Path | None = None
) -> Iterator[ScriptedServer]:
    """Run a server in a thread of its own for the length of the block."""
    server = ScriptedServer(script, latency_ms=latency_ms, log=log)
    loop = asyncio.new_event_loop()
    runner = loop.run_until_complete(server.start())
    thread = threading.Thread(target=loop.run_forever, name="scripted-server", daemon=True)
    thread.start()
    try:
        yield server
    finally:
        loop.call_soon_threadsafe(server.release)
        asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result(timeout=10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(timeout=10)
        loop.close()
        server.close()


def _prompt(body: JsonDict) -> str:
    for message in reversed(body.get("messages") or []):
        if message.get("role") == "user":
            return str(message.get("content"))
    return ""


def _completion(seen: Seen, reply: Reply) -> bytes:
    body = seen.body
    text = reply.content if reply.content is not None else _default_text(body, seen.prompt)
    choice: JsonDict = {
        "index": 0,
        "message": {"role": "assistant", "content": text},
        "finish_reason": reply.finish_reason,
    }
    if body.get("logprobs") and not reply.without_logprobs:
        tokens = reply.logprobs if reply.logprobs is not None else [{text: -0.1, "other": -2.3}]
        choice["logprobs"] = {"content": [_token(token) for token in tokens]}
    sent = sum(len(str(message.get("content"))) for message in body["messages"])
    prompt, completion, cached = reply.usage or (sent // 4 + 1, len(text) // 4 + 1, 0)
    return orjson.dumps(
        {
            "id": f"scripted-{seen.index}",
            "object": "chat.completion",
            "created": 0,
            "model": body.get("model"),
            "system_fingerprint": "fp_scripted",
            "choices": [choice],
            "usage": {
                "prompt_tokens": prompt,
                "completion_tokens": completion,
                "total_tokens": prompt + completion,
                "prompt_tokens_details": {"cached_tokens": cached},
            },
        }
    )


def _token(token: Mapping[str, float]) -> JsonDict:
    ranked = sorted(token.items(), key=lambda pair: -pair[1])
    top = [{"token": text, "logprob": value, "bytes": list(text.encode())} for text, value in ranked]
    return {**top[0], "top_logprobs": top}


def _default_text(body: JsonDict, prompt: str) -> str:
    """Return the same answer for the same prompt: what the schema admits, or the letter A."""
    wanted = body.get("response_format") or {}
    if wanted.get("type") != "json_schema":
        return "A"
    pick = int.from_bytes(hashlib.blake2b(prompt.encode(), digest_size=4).digest())
    return orjson.dumps(_instance(wanted["json_schema"]["schema"], pick)).decode()


def _instance(schema: JsonDict, pick: int) -> Any:
    if "const" in schema:
        return schema["const"]
    if "enum" in schema:
        return schema["enum"][pick % len(schema["enum"])]
    for union in ("anyOf", "oneOf"):
        if union in schema:
            return _instance(schema[union][0], pick)
    kind = schema.get("type")
    if kind == "object":
        properties: JsonDict = schema.get("properties", {})
        return {name: _instance(inner, pick) for name, inner in properties.items()}
    if kind == "array":
        items = [_instance(schema.get("items", {}), pick)]
        return items * max(1, int(schema.get("minItems", 1)))
    if kind in ("number", "integer"):
        low, high = schema.get("minimum", 0), schema.get("maximum", 1)
        return low if kind == "integer" else low + (high - low) * 0.8
    return False if kind == "boolean" else "scripted"


async def _serve(args: argparse.Namespace) -> None:
    failure = failing(args.fail_status) if args.fail_every else None

    def script(seen: Seen) -> Reply | None:
        return failure if failure and seen.index % args.fail_every == args.fail_every - 1 else None

    server = ScriptedServer(script, latency_ms=args.latency_ms, log=args.log)
    runner = await server.start(args.port)
    sys.stdout.write(server.base_url + "\n")
    sys.stdout.flush()
    try:
        await asyncio.Event().wait()
    finally:
        server.release()
        await runner.cleanup()
        server.close()


def main() -> None:
    """Serve until interrupted; the first line of stdout is the base URL."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--port", type=int, default=0, help="0: any free port")
    parser.add_argument("--latency-ms", type=float, default=0.0)
    parser.add_argument("--log", type=Path, default=None, help="JSON lines: requests and answers")
    parser.add_argument("--fail-every", type=int, default=0, help="every n-th request fails")
    parser.add_argument("--fail-status", type=int, default=500)
    try:
        asyncio.run(_serve(parser.parse_args()))
    except KeyboardInterrupt:
        return


if __name__ == "__main__":
    main()
