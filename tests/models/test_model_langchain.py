"""The LangChain adapter: OpenAI's class over loopback HTTP, and providers with fewer abilities."""

from __future__ import annotations

import asyncio
from typing import Any

import orjson
import pytest

from agents.models.langchain import LangChainChat
from agents.models.protocol import ChatRequest, ChatResult, ProviderDown, ProviderTimeout
from labelproof.spec.errors import (
    ConfigError,
    ProviderError,
    TerminalProviderError,
    TransientProviderError,
)
from labelproof.spec.strategy import ModelSpec
from tests.scripted_server import (
    Reply,
    ScriptedServer,
    cut,
    failing,
    hang,
    malformed,
    ok,
    rate_limited,
    scripted_server,
)

pytest.importorskip("langchain_openai", reason="langchain-openai is not installed")
KEY = "sk-langchain-secret-0123456789"
SCHEMA = {
    "type": "object",
    "properties": {"label": {"enum": ["safe", "threat"]}},
    "required": ["label"],
    "additionalProperties": False,
}


@pytest.fixture(autouse=True)
def _key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)


def ask(server: ScriptedServer, request: ChatRequest | None = None, timeout_s: float = 10) -> ChatResult:
    spec = ModelSpec(
        provider="langchain",
        model="openai:gpt-4o-mini",
        base_url=server.base_url,
        timeout_s=timeout_s,
    )

    async def once() -> ChatResult:
        model = LangChainChat(spec)
        try:
            return await model.chat(request or ChatRequest(system="Label.", user="hello"))
        finally:
            await model.aclose()

    return asyncio.run(once())


def test_answer_usage_logprobs_and_cost_come_through() -> None:
    tokens = [{"A": -0.1, "B": -2.5}]
    request = ChatRequest(system="s", user="u", max_tokens=5, seed=3, top_logprobs=2)
    with scripted_server([ok("A", logprobs=tokens, usage=(100, 2, 40))]) as server:
        result = ask(server, request)
        sent = server.requests[0].body
    assert (result.text, result.finish_reason) == ("A", "stop")
    assert [dict(token) for token in result.logprobs] == tokens
    assert (result.tokens_in, result.tokens_out, result.tokens_cached) == (100, 2, 40)
    assert result.cost_usd == 0.0  # a server on this machine is free
    assert result.priced
    assert result.provider == "langchain:openai"
    assert (sent["seed"], sent["top_logprobs"]) == (3, 2)
    assert 5 in (sent.get("max_tokens"), sent.get("max_completion_tokens"))


def test_schema_is_bound_by_the_provider() -> None:
    request = ChatRequest(system="s", user="u", json_schema=SCHEMA, schema_name="reading")
    with scripted_server() as server:
        result = ask(server, request)
        sent = server.requests[0].body["response_format"]["json_schema"]
    assert orjson.loads(result.text)["label"] in ("safe", "threat")
    assert (sent["name"], sent["strict"], sent["schema"]) == ("reading", True, SCHEMA)


def test_answer_cut_by_max_tokens_is_kept() -> None:
    request = ChatRequest(system="s", user="u", json_schema=SCHEMA)
    with scripted_server([ok('{"label": "sa', finish_reason="length")]) as server:
        result = ask(server, request)
    assert (result.text, result.finish_reason) == ('{"label": "sa', "length")


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        (rate_limited(3), TransientProviderError),
        (failing(500), TransientProviderError),
        (cut(), TransientProviderError),
        (malformed(), TransientProviderError),
        (failing(400, "bad"), TerminalProviderError),
        (failing(401, f"Incorrect API key provided: {KEY}"), ProviderDown),
        (failing(404, "no such model"), ProviderDown),
        (failing(429, "quota", code="insufficient_quota"), ProviderDown),
    ],
)
def test_errors_become_ours_without_the_key(reply: Reply, kind: type[ProviderError]) -> None:
    with scripted_server([reply]) as server, pytest.raises(ProviderError) as caught:
        ask(server)
    assert type(caught.value) is kind
    assert KEY not in f"{caught.value} {caught.value!r} {caught.value.__cause__!r}"
    if isinstance(caught.value, TransientProviderError) and caught.value.status == 429:
        assert caught.value.retry_after_s == 3.0
    assert len(server.requests) == 1  # retries are the governor's, not the SDK's


def test_no_answer_in_time_is_a_timeout() -> None:
    with scripted_server([hang()]) as server, pytest.raises(ProviderTimeout):
        ask(server, timeout_s=0.3)


def test_provider_without_schema_support_gets_it_in_the_prompt() -> None:
    from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
    from langchain_core.messages import AIMessage

    asked: list[Any] = []

    class Plain(GenericFakeChatModel):
        def with_structured_output(self, *args: Any, **kwargs: Any) -> Any:
            raise NotImplementedError

        def _generate(self, messages: Any, *args: Any, **kwargs: Any) -> Any:
            asked.append(messages)
            return super()._generate(messages, *args, **kwargs)

    answer = AIMessage(
        content=[{"type": "text", "text": '{"label": "safe"}'}],
        response_metadata={"stop_reason": "end_turn", "model": "plain-1"},
        usage_metadata={"input_tokens": 9, "output_tokens": 4, "total_tokens": 13},
    )
    spec = ModelSpec(provider="langchain", model="anthropic:claude-haiku-4-5")
    built: list[dict[str, Any]] = []

    def build(name: str, **options: Any) -> Any:
        built.append(options)
        return Plain(messages=iter([answer]))

    model = LangChainChat(spec, build=build)
    request = ChatRequest(system="s", user="u", temperature=0.7, json_schema=SCHEMA)
    result = asyncio.run(model.chat(request))
    assert (result.text, result.finish_reason, result.model) == (
        '{"label": "safe"}',
        "stop",
        "plain-1",
    )
    assert result.cost_usd == pytest.approx((9 * 1.0 + 4 * 5.0) / 1e6)
    assert (built[0]["temperature"], built[0]["max_retries"]) == (0.7, 0)
    assert '"enum"' in asked[0][-1].content


def test_missing_integration_and_bad_name_are_config_errors() -> None:
    def absent(name: str, **options: Any) -> Any:
        raise ImportError("No module named 'langchain_anthropic'")

    model = LangChainChat(ModelSpec(provider="langchain", model="anthropic:m"), build=absent)
    with pytest.raises(ConfigError, match="langchain-anthropic"):
        asyncio.run(model.chat(ChatRequest(system="", user="u")))
    with pytest.raises(ConfigError, match="provider:model"):
        LangChainChat(ModelSpec(provider="langchain", model="gpt-4o"))
