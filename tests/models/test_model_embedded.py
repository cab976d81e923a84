"""The embedded model: its plumbing with a scripted engine, and itself end to end on request."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest

from agents.models import embedded
from agents.models.download import installed
from agents.models.embedded import EmbeddedChat, compact_grammar
from agents.models.protocol import ChatRequest, ProviderTimeout
from agents.models.weights import DEFAULT_WEIGHTS, known
from labelproof.spec.errors import ConfigError, TerminalProviderError, TransientProviderError
from labelproof.spec.strategy import ModelSpec

SCHEMA = {
    "type": "object",
    "properties": {"label": {"enum": ["safe", "threat"]}},
    "required": ["label"],
    "additionalProperties": False,
}
Chunk = dict[str, Any]


class FakeServer:
    """Speaks as llama.cpp's server does: chunks to a callback, until it says stop."""

    def __init__(self, chunks: list[Chunk], gate: threading.Event | None = None) -> None:
        self.chunks = chunks
        self.gate = gate
        self.bodies: list[Chunk] = []
        self.sent = 0

    def handle_chat_completions(self, body: Chunk, callback: Callable[[Chunk], bool]) -> None:
        self.bodies.append(body)
        for chunk in self.chunks:
            if self.gate is not None:
                self.gate.wait(5)
            self.sent += 1
            if callback(chunk):
                return


def piece(text: str, logprob: float | None = None, finish: str | None = None) -> Chunk:
    choice: Chunk = {"delta": {"content": text}, "finish_reason": finish, "index": 0}
    if logprob is not None:
        top = [{"token": text, "logprob": logprob}, {"token": "?", "logprob": logprob - 1}]
        choice["logprobs"] = {"content": [{**top[0], "top_logprobs": top}]}
    return {"choices": [choice]}


USAGE: Chunk = {
    "choices": [],
    "usage": {
        "prompt_tokens": 30,
        "completion_tokens": 2,
        "prompt_tokens_details": {"cached_tokens": 29},
    },
}


@pytest.fixture
def gguf(tmp_path: Path) -> Path:
    path = tmp_path / "own.gguf"
    path.write_bytes(b"GGUF")
    return path


def chat_with(server: FakeServer, gguf: Path, monkeypatch: pytest.MonkeyPatch, **spec: Any) -> EmbeddedChat:
    monkeypatch.setattr(embedded, "_load", lambda *args: server)
    monkeypatch.setattr(embedded, "_engines", {})
    return EmbeddedChat(ModelSpec(path=str(gguf), **spec))


def test_pieces_become_one_result(gguf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server = FakeServer([piece("A", -0.1), piece("B", -0.2), piece("", finish="length"), USAGE])
    model = chat_with(server, gguf, monkeypatch, params={"top_p": 0.9, "n_ctx": 512, "threads": 1})
    request = ChatRequest(system="s", user="u", max_tokens=2, top_logprobs=2, json_schema=SCHEMA, seed=5)
    result = asyncio.run(model.chat(request))
    embedded.close_engines()
    assert (result.text, result.finish_reason) == ("AB", "length")
    assert [dict(token) for token in result.logprobs] == [
        {"A": -0.1, "?": -1.1},
        {"B": -0.2, "?": -1.2},
    ]
    assert (result.tokens_in, result.tokens_out, result.tokens_cached) == (30, 2, 29)
    assert result.cost_usd == 0.0
    body = server.bodies[0]
    assert (body["seed"], body["top_p"], body["top_logprobs"]) == (5, 0.9, 2)
    assert "n_ctx" not in body
    assert body["grammar"] == compact_grammar(SCHEMA)


def test_cancelling_stops_at_the_next_token(gguf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gate = threading.Event()
    server = FakeServer([piece("x")] * 50, gate)
    model = chat_with(server, gguf, monkeypatch)

    async def cancel() -> None:
        task = asyncio.create_task(model.chat(ChatRequest(system="", user="u")))
        while not server.bodies:
            await asyncio.sleep(0.005)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cancel())
    gate.set()
    embedded.close_engines()  # waits for the thread: must not take 50 tokens
    assert server.sent <= 1


def test_no_answer_in_time_is_a_timeout(gguf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gate = threading.Event()
    server = FakeServer([piece("x")] * 50, gate)
    model = chat_with(server, gguf, monkeypatch, timeout_s=0.05)
    threading.Timer(0.3, gate.set).start()
    with pytest.raises(ProviderTimeout):
        asyncio.run(model.chat(ChatRequest(system="", user="u")))
    embedded.close_engines()
    assert server.sent == 1


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        ({"code": 400, "type": "exceed_context_size_error", "message": "6030 tokens"},
         TerminalProviderError),
        ({"code": 500, "message": "busy"}, TransientProviderError),
    ],
)  # fmt: skip
def test_engine_errors_become_ours(
    error: Chunk, kind: type[Exception], gguf: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = chat_with(FakeServer([{"error": error}]), gguf, monkeypatch)
    with pytest.raises(kind) as caught:
        asyncio.run(model.chat(ChatRequest(system="", user="u")))
    embedded.close_engines()
    if error["code"] == 400:
        assert "n_ctx" in str(caught.value)


def test_one_engine_serves_all_models_of_a_file(gguf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded, "_engines", {})
    first = EmbeddedChat(ModelSpec(path=str(gguf)))
    second = EmbeddedChat(ModelSpec(path=str(gguf), temperature=0.7))
    other = EmbeddedChat(ModelSpec(path=str(gguf), concurrency=2))
    assert first._engine is second._engine
    assert first._engine is not other._engine
    embedded.close_engines()


def test_bad_parameters_are_config_errors(gguf: Path) -> None:
    with pytest.raises(ConfigError, match="n_ctx"):
        EmbeddedChat(ModelSpec(path=str(gguf), params={"n_ctx": "many"}))


def test_file_that_is_no_model_is_a_config_error(gguf: Path) -> None:
    model = EmbeddedChat(ModelSpec(path=str(gguf)))
    with pytest.raises(ConfigError, match=r"own\.gguf"):
        asyncio.run(model.chat(ChatRequest(system="", user="u")))
    embedded.close_engines()


END_TO_END = """
import asyncio, glob, os, subprocess
from agents.models import ChatRequest, open_model
from labelproof.spec.strategy import ModelSpec
schema = {"type": "object", "properties": {"label": {"enum": ["safe", "threat"]}},
          "required": ["label"], "additionalProperties": False}
model = open_model(ModelSpec(params={"n_ctx": 1024}))
ask = "Message: 'I will kill you tonight.' Is it a threat or safe?"
async def main():
    a = await model.chat(ChatRequest(system="You label messages.", user=ask, max_tokens=20,
                                     json_schema=schema))
    b = await model.chat(ChatRequest(system="You label messages.", user=ask + " One word.",
                                     max_tokens=1, top_logprobs=20))
    return a, b
a, b = asyncio.run(main())
sockets = [line for line in open("/proc/net/tcp") if " 0A " in line]
mine = {os.readlink(p) for p in glob.glob("/proc/self/fd/*") if os.path.islink(p)}
listening = [line for line in sockets if f"socket:[{line.split()[9]}]" in mine]
import orjson
print(orjson.dumps({"text": a.text, "top": [dict(t) for t in b.logprobs], "cached": b.tokens_cached,
                    "out": a.tokens_out, "tcp": len(listening)}).decode())
"""


@pytest.mark.e2e
def test_end_to_end_labels_without_a_port_and_leaves_quietly() -> None:
    if installed(known(DEFAULT_WEIGHTS).artifact) is None:
        pytest.skip("weights are not in the cache; run `labelproof model pull`")
    done = subprocess.run(
        [sys.executable, "-c", END_TO_END], capture_output=True, text=True, timeout=240, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    answer = orjson.loads(done.stdout)
    assert orjson.loads(answer["text"]) == {"label": "threat"}
    assert answer["out"] <= 10  # compact JSON: no fence, no line breaks
    assert len(answer["top"][0]) >= 20
    assert answer["cached"] > 10
    assert answer["tcp"] == 0
