"""The lean client against real HTTP on loopback: answers, and every way a server can fail."""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Mapping
from typing import Any

import orjson
import pytest

from agents.models.lean import LeanChat
from agents.models.protocol import ChatRequest, ChatResult, Message, ProviderDown, ProviderTimeout
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
    truncated,
)

KEY = "sk-very-secret-key-0123456789"
SCHEMA = {
    "type": "object",
    "properties": {"label": {"enum": ["safe", "threat"]}},
    "required": ["label"],
    "additionalProperties": False,
}


def spec_for(server: ScriptedServer, **fields: Any) -> ModelSpec:
    defaults = {
        "provider": "openai_compatible",
        "model": "gpt-4o-mini",
        "base_url": server.base_url,
    }
    return ModelSpec.model_validate({**defaults, "timeout_s": 5, **fields})


def ask(
    server: ScriptedServer,
    request: ChatRequest | None = None,
    *,
    env: Mapping[str, str] | None = None,
    **fields: Any,
) -> ChatResult:
    async def once() -> ChatResult:
        model = LeanChat(spec_for(server, **fields), env={} if env is None else env)
        try:
            return await model.chat(request or ChatRequest(system="Label.", user="hello"))
        finally:
            await model.aclose()

    return asyncio.run(once())


def test_answer_carries_text_usage_and_fingerprint() -> None:
    with scripted_server([ok("threat", usage=(120, 7, 100), finish_reason="length")]) as server:
        result = ask(server, price_in_usd_per_mtok=2.0, price_out_usd_per_mtok=10.0)
    assert (result.text, result.finish_reason) == ("threat", "length")
    assert (result.tokens_in, result.tokens_out, result.tokens_cached) == (120, 7, 100)
    assert result.cost_usd == pytest.approx((120 * 2.0 + 7 * 10.0) / 1e6)
    assert (result.model, result.provider) == ("gpt-4o-mini", "openai_compatible")
    assert result.provider_fingerprint == "fp_scripted"
    assert result.latency_ms > 0


def test_request_reaches_the_wire_as_openai_expects() -> None:
    request = ChatRequest(
        system="Label.",
        user="item",
        history=(Message(role="user", content="q"), Message(role="assistant", content="a")),
        max_tokens=9,
        temperature=0.5,
        seed=7,
        json_schema=SCHEMA,
        schema_name="reading",
        top_logprobs=3,
    )
    with scripted_server() as server:
        result = ask(server, request, env={"OPENAI_API_KEY": KEY}, params={"seed": None, "user": "u"})
        seen = server.requests[0]
    assert orjson.loads(result.text)["label"] in ("safe", "threat")
    assert seen.headers["Authorization"] == f"Bearer {KEY}"
    assert [turn["role"] for turn in seen.body["messages"]] == [
        "system",
        "user",
        "assistant",
        "user",
    ]
    assert (seen.body["max_tokens"], seen.body["temperature"]) == (9, 0.5)
    assert (seen.body["logprobs"], seen.body["top_logprobs"], seen.body["user"]) == (True, 3, "u")
    assert "seed" not in seen.body  # null in params drops a field
    assert seen.body["response_format"] == {
        "type": "json_schema",
        "json_schema": {"name": "reading", "strict": True, "schema": SCHEMA},
    }


def test_logprobs_are_kept_per_token_and_absent_ones_are_empty() -> None:
    tokens = [{"A": -0.1, "B": -2.5}, {"\n": -0.01}]
    request = ChatRequest(system="", user="x", top_logprobs=2)
    with scripted_server([ok("A", logprobs=tokens), ok("A", without_logprobs=True)]) as server:
        with_them, without = ask(server, request), ask(server, request)
    assert [dict(token) for token in with_them.logprobs] == tokens
    assert without.logprobs == ()


@pytest.mark.parametrize(
    ("reply", "status"),
    [
        (failing(500), 500),
        (failing(503), 503),
        (failing(408), 408),
        (failing(409), 409),
        (rate_limited(), 429),
        (malformed(), 200),
        (truncated(), None),
        (cut(), None),
        (Reply(body=b"<html>gateway</html>"), 200),
        (Reply(body=b'{"choices": []}'), 200),
        (Reply(body=b'{"error": {"message": "upstream died", "code": 502}}'), 502),
    ],
)
def test_failures_worth_another_try(reply: Reply, status: int | None) -> None:
    with scripted_server([reply]) as server, pytest.raises(TransientProviderError) as caught:
        ask(server)
    assert caught.value.status == status
    assert "/v1/chat/completions" in caught.value.message


def test_no_answer_in_time_is_a_timeout() -> None:
    with (
        scripted_server([hang()]) as server,
        pytest.raises(ProviderTimeout, match=r"within 0\.2 s"),
    ):
        ask(server, timeout_s=0.2)


def test_nobody_listening_is_transient() -> None:
    with scripted_server() as server:
        gone = server
    with pytest.raises(TransientProviderError):
        ask(gone)


@pytest.mark.parametrize("status", [400, 413, 422])
def test_refused_request_fails_the_item_only(status: int) -> None:
    reply = failing(status, "bad schema")
    with scripted_server([reply]) as server, pytest.raises(TerminalProviderError) as caught:
        ask(server)
    assert "bad schema" in caught.value.message
    assert caught.value.status == status
    assert not isinstance(caught.value, ProviderDown)


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        (failing(401, "Incorrect API key"), "auth"),
        (failing(403, "not allowed in your region"), "auth"),
        (failing(404, "The model `x` does not exist"), "model"),
        (failing(402, "Payment required"), "quota"),
        (failing(429, "You exceeded your current quota", code="insufficient_quota"), "quota"),
    ],
)
def test_some_answers_stop_the_run(reply: Reply, kind: str) -> None:
    with scripted_server([reply]) as server, pytest.raises(ProviderDown) as caught:
        ask(server)
    assert caught.value.kind == kind
    assert caught.value.hint


def test_flagged_content_is_the_items_problem() -> None:
    reply = failing(403, "Your input was flagged by moderation")
    with scripted_server([reply]) as server, pytest.raises(TerminalProviderError) as caught:
        ask(server)
    assert not isinstance(caught.value, ProviderDown)


def test_refusal_text_is_kept_with_its_own_finish_reason() -> None:
    body = {"choices": [{"message": {"content": None, "refusal": "I cannot"}, "finish_reason": "stop"}]}
    with scripted_server([Reply(body=orjson.dumps(body))]) as server:
        result = ask(server)
    assert (result.text, result.finish_reason) == ("I cannot", "refusal")


def test_key_never_leaves_in_errors() -> None:
    echo = f"Incorrect API key provided: {KEY}. Sent: Authorization: Bearer {KEY}"
    env = {"OPENAI_API_KEY": KEY}
    replies = [
        failing(401, echo),
        failing(400, echo),
        failing(500, echo),
        Reply(body=echo.encode()),
    ]
    replies += [Reply(body=orjson.dumps({"note": echo})), truncated(), cut(), hang()]
    with scripted_server(replies) as server:
        for _ in replies:
            with pytest.raises(ProviderError) as caught:
                ask(server, env=env, timeout_s=0.3)
            shown = "".join(traceback.format_exception(caught.value)) + repr(caught.value)
            shown += f"{caught.value.hint} {caught.value.__cause__!r} {caught.value.__dict__!r}"
            assert KEY not in shown
            assert "Bearer sk" not in shown
        model = LeanChat(spec_for(server), env=env)
        assert KEY not in f"{model!r} {model.__dict__!r}"


def test_missing_key_is_a_config_error_except_on_this_machine() -> None:
    remote = ModelSpec(
        provider="openai_compatible",
        model="m",
        base_url="https://models.example/v1",
        api_key_env="EXAMPLE_KEY",
    )
    with pytest.raises(ConfigError, match="EXAMPLE_KEY"):
        LeanChat(remote, env={})
    LeanChat(remote.model_copy(update={"base_url": "http://localhost:1/v1"}), env={})


def test_base_url_must_be_http() -> None:
    with pytest.raises(ConfigError, match="base_url"):
        LeanChat(ModelSpec(provider="openai_compatible", model="m", base_url="localhost:80"), env={})


def test_redirects_are_not_followed() -> None:
    reply = Reply(status=307, headers={"Location": "http://127.0.0.1:9/steal"}, body=b"{}")
    with scripted_server([reply]) as server, pytest.raises(TerminalProviderError) as caught:
        ask(server, env={"OPENAI_API_KEY": KEY})
    assert caught.value.status == 307
    assert len(server.requests) == 1


def test_one_connection_serves_many_calls() -> None:
    async def three(server: ScriptedServer) -> None:
        model = LeanChat(spec_for(server), env={})
        for number in range(3):
            await model.chat(ChatRequest(system="", user=str(number)))
        await model.aclose()
        await model.aclose()

    with scripted_server() as server:
        asyncio.run(three(server))
        assert server.counts == {"0": 1, "1": 1, "2": 1}
