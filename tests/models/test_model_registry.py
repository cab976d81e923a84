"""Opening models from a spec, and the whole path from spec to HTTP and back."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import orjson
import pytest

from agents.models import (
    Budget,
    ChatRequest,
    ChatResult,
    Governors,
    ProviderDown,
    open_governor,
    open_model,
)
from labelproof.spec.errors import BudgetError, ConfigError, TerminalProviderError
from labelproof.spec.strategy import ModelSpec
from tests.scripted_server import (
    Reply,
    Seen,
    cut,
    failing,
    malformed,
    rate_limited,
    scripted_server,
    truncated,
)

SCHEMA = {"type": "object", "properties": {"label": {"enum": ["a", "b", "c"]}}}


def spec_at(url: str, **fields: Any) -> ModelSpec:
    base = {"provider": "openai_compatible", "model": "m", "base_url": url, "timeout_s": 5}
    return ModelSpec.model_validate({**base, **fields})


async def label_all(spec: ModelSpec, n: int, budget: Budget | None = None) -> list[Any]:
    model = open_model(spec, budget=budget, env={})
    request = [
        ChatRequest(system="Label.", user=f"item {number}", json_schema=SCHEMA, max_tokens=8)
        for number in range(n)
    ]
    try:
        return await asyncio.gather(*map(model.chat, request), return_exceptions=True)
    finally:
        await model.aclose()


def test_every_item_is_answered_through_a_flaky_server() -> None:
    trouble = [failing(500), rate_limited(0.05), cut(), truncated(), malformed(), failing(503)]

    def flaky(seen: Seen) -> Reply | None:
        return trouble[seen.index % len(trouble)] if seen.nth == 1 and seen.index % 3 == 0 else None

    with scripted_server(flaky) as server:
        ends = asyncio.run(label_all(spec_at(server.base_url, concurrency=8), 40))
        assert all(isinstance(end, ChatResult) for end in ends)
        assert any(end.attempts > 1 for end in ends)
        assert len(server.answered) == 40
        assert server.max_in_flight <= 8


def test_one_bad_item_does_not_stop_the_others() -> None:
    def picky(seen: Seen) -> Reply | None:
        return failing(400, "too odd") if seen.prompt == "item 3" else None

    with scripted_server(picky) as server:
        ends = asyncio.run(label_all(spec_at(server.base_url), 10))
    assert [type(end) for end in ends].count(ChatResult) == 9
    assert isinstance(ends[3], TerminalProviderError)
    assert not isinstance(ends[3], ProviderDown)


def test_refused_key_stops_the_run_after_the_first_wave() -> None:
    with scripted_server(lambda seen: failing(401, "no")) as server:
        ends = asyncio.run(label_all(spec_at(server.base_url, concurrency=4), 50))
        assert all(isinstance(end, ProviderDown) and end.kind == "auth" for end in ends)
        assert len(server.requests) <= 4


def test_budget_stops_before_it_is_passed() -> None:
    with scripted_server(lambda seen: Reply(usage=(10, 2, 0))) as server:
        spec = spec_at(server.base_url, price_in_usd_per_mtok=100.0, price_out_usd_per_mtok=100.0)
        budget = Budget(0.02)
        ends = asyncio.run(label_all(spec, 60, budget))
    kinds = Counter(type(end) for end in ends)
    assert kinds[BudgetError] > 0
    assert kinds[ChatResult] > 5
    assert budget.spent_usd == pytest.approx(kinds[ChatResult] * 12 * 100 / 1e6)
    assert budget.spent_usd <= 0.02


def test_models_at_one_place_share_a_governor() -> None:
    governors = Governors()
    spec = spec_at("http://127.0.0.1:1/v1", concurrency=3)
    first = open_model(spec, governors=governors, env={})
    second = open_model(spec.model_copy(update={"temperature": 1.0}), governors=governors, env={})
    other = open_model(spec.model_copy(update={"model": "n"}), governors=governors, env={})
    assert first.governor is second.governor
    assert first.governor is not other.governor
    assert first.governor.max_concurrency == 3


def test_embedded_models_run_one_at_a_time_by_default() -> None:
    assert open_governor(ModelSpec()).concurrency == 1
    assert open_governor(ModelSpec(concurrency=3)).max_concurrency == 3


def test_unknown_price_with_a_budget_is_refused_at_once() -> None:
    spec = ModelSpec(provider="openai_compatible", model="m", base_url="https://m.example/v1")
    with pytest.raises(ConfigError, match="price"):
        open_model(spec, budget=Budget(1.0), env={"OPENAI_API_KEY": "k"})


def test_registry_imports_no_provider() -> None:
    code = (
        "import sys, agents.models;"
        "heavy = ('aiohttp', 'langchain', 'openai', 'xllamacpp', 'httpx');"
        "print([name for name in heavy if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_server_in_its_own_process_logs_what_was_paid(tmp_path: Path) -> None:
    log = tmp_path / "calls.jsonl"
    command = [
        sys.executable,
        "-m",
        "tests.scripted_server",
        "--log",
        str(log),
        "--fail-every",
        "4",
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            url = process.stdout.readline().strip()
            ends = asyncio.run(label_all(spec_at(url, concurrency=4), 12))
        finally:
            process.terminate()
    assert all(isinstance(end, ChatResult) for end in ends)
    lines = [orjson.loads(line) for line in log.read_bytes().splitlines()]
    paid = Counter(line["prompt"] for line in lines if line["event"] == "answer" and line["status"] == 200)
    assert paid == {f"item {number}": 1 for number in range(12)}
    assert sum(line["event"] == "request" for line in lines) > 12
