"""Reading wait times, prices and token estimates; taking secrets out of texts."""

from __future__ import annotations

from email.utils import formatdate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.models.failures import retry_after_s
from agents.models.pricing import estimate_tokens, list_date, listed_price, price_of
from agents.models.secrets import Secret, scrub
from labelproof.spec.strategy import ModelSpec

NOW = 1_700_000_000.0


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"retry-after": "2"}, 2.0),
        ({"retry-after": "0.5"}, 0.5),
        ({"retry-after-ms": "1500", "retry-after": "9"}, 1.5),
        ({"retry-after": formatdate(NOW + 30, usegmt=True)}, 30.0),
        ({"retry-after": formatdate(NOW - 30, usegmt=True)}, 0.0),
        ({"x-ratelimit-reset": "12"}, 12.0),
        ({"x-ratelimit-reset": str(NOW + 12)}, 12.0),
        ({"x-ratelimit-reset": str((NOW + 12) * 1000)}, 12.0),
        ({"x-ratelimit-reset-requests": "1s", "x-ratelimit-reset-tokens": "1m2.5s"}, 62.5),
        ({"x-ratelimit-reset-tokens": "120ms"}, 0.12),
        ({"retry-after": "99999"}, 900.0),
        ({"retry-after": "soon"}, None),
        ({"x-ratelimit-reset": "later"}, None),
        ({}, None),
    ],
)
def test_wait_is_read_from_any_common_header(headers: dict[str, str], expected: float | None) -> None:
    assert retry_after_s(headers, NOW) == pytest.approx(expected, abs=1e-6)


@given(st.text(max_size=30))
def test_nonsense_headers_never_crash(value: str) -> None:
    for name in ("retry-after", "retry-after-ms", "x-ratelimit-reset"):
        wait = retry_after_s({name: value}, NOW)
        assert wait is None or 0.0 <= wait <= 900.0


def test_prices_ignore_prefix_and_snapshot_but_not_the_model() -> None:
    price = listed_price("openai/gpt-4o-mini-2024-07-18")
    assert price is not None
    assert price.cost_usd(1_000_000, 1_000_000) == pytest.approx(0.75)
    assert price.cost_usd(1_000_000, 0, 1_000_000) == pytest.approx(0.075)
    assert listed_price("gpt-4o-mini-fancy-finetune") is None
    assert list_date() >= "2026"


def test_price_of_embedded_loopback_override_and_unknown() -> None:
    embedded = price_of(ModelSpec())
    assert embedded is not None
    assert embedded.cost_usd(10**6, 10**6) == 0.0
    local = ModelSpec(provider="openai_compatible", model="m", base_url="http://127.0.0.1:8000/v1")
    assert price_of(local) == embedded
    unknown = ModelSpec(provider="openai_compatible", model="m", base_url="https://x.example/v1")
    assert price_of(unknown) is None
    half = unknown.model_copy(update={"price_in_usd_per_mtok": 1.0})
    assert price_of(half) is None
    own = half.model_copy(update={"price_out_usd_per_mtok": 3.0})
    price = price_of(own)
    assert price is not None
    assert price.cost_usd(10**6, 10**6) == pytest.approx(4.0)


@pytest.mark.parametrize(
    ("text", "low", "high"),
    [("", 0, 0), ("word " * 100, 100, 150), ("你好世界" * 25, 90, 130), ("😀" * 40, 50, 120)],
)
def test_token_estimate_is_of_the_right_size(text: str, low: int, high: int) -> None:
    assert low <= estimate_tokens(text) <= high


def test_scrub_masks_given_and_guessed_credentials() -> None:
    text = scrub(
        "key hunter22 and sk-proj-abcdefgh12345 with Bearer abcdef.ghi at http://me:pw@host/v1",
        [Secret("hunter22")],
    )
    for leaked in ("hunter22", "sk-proj", "abcdef.ghi", "me:pw"):
        assert leaked not in text
    assert "host/v1" in text


def test_secret_does_not_print() -> None:
    assert "hunter" not in f"{Secret('hunter22')!r} {Secret('hunter22')}"
