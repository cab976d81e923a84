"""What a call costs, in USD, and how many tokens a text will take before it is sent.

Prices come from the strategy when it sets them, else from ``prices.json`` (dated list prices);
the embedded model and servers on this machine are free. An unknown price is None, never zero.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from urllib.parse import urlsplit

import orjson

from agents.models.protocol import ChatRequest
from labelproof.spec.strategy import ModelSpec

_MTOK = 1_000_000.0
_SNAPSHOT = re.compile(r"(-\d{4}-\d{2}-\d{2}|-\d{8}|-latest)$")
_TURN_TOKENS = 4  # role and separators of one chat turn in the common chat formats
_LOOPBACK = frozenset({"localhost", "::1"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """USD per million tokens; ``cached`` is for prompt tokens the provider read from its cache."""

    prompt: float
    completion: float
    cached: float

    def cost_usd(self, tokens_in: int, tokens_out: int, tokens_cached: int = 0) -> float:
        """Return the cost of one call; ``tokens_in`` includes ``tokens_cached``."""
        fresh = tokens_in - tokens_cached
        paid = fresh * self.prompt + tokens_cached * self.cached + tokens_out * self.completion
        return paid / _MTOK


FREE = Price(prompt=0.0, completion=0.0, cached=0.0)


def price_of(spec: ModelSpec, base_url: str | None = None) -> Price | None:
    """Return the price of ``spec``, None when nobody knows it. ``base_url`` is the resolved one."""
    if spec.provider == "embedded":
        return FREE
    listed = listed_price(spec.model)
    if spec.price_in_usd_per_mtok is not None or spec.price_out_usd_per_mtok is not None:
        return _overridden(spec, listed)
    if is_loopback(base_url or spec.base_url or ""):
        return FREE
    return listed


def listed_price(model: str) -> Price | None:
    """Return the list price of a model name; provider prefixes and snapshot dates are ignored."""
    name = re.split(r"[/:]", model.strip().lower())[-1]
    table = _table()
    return table.get(name) or table.get(_SNAPSHOT.sub("", name))


def list_date() -> str:
    """Return the month of the price list, as YYYY-MM."""
    return str(_file()["as_of"])


def estimate_tokens(text: str) -> int:
    """Return about how many tokens a model needs for ``text``; for plans and reservations.

    Four characters a token for ASCII; UTF-8's extra bytes count 0.4 each, so that an ideograph
    takes about one token and an emoji one and a half. No tokenizer, so no download.
    """
    if not text:
        return 0
    if text.isascii():
        return (len(text) + 3) // 4
    extra = len(text.encode("utf-8", "surrogatepass")) - len(text)
    return int(len(text) / 4 + 0.4 * extra) + 1


def estimate_prompt_tokens(request: ChatRequest) -> int:
    """Return about how many prompt tokens ``request`` takes, its turns' separators included."""
    total = estimate_tokens(request.system) + estimate_tokens(request.user) + 2 * _TURN_TOKENS
    for turn in request.history:
        total += estimate_tokens(turn.content) + _TURN_TOKENS
    return total


def is_loopback(url: str) -> bool:
    """Say whether ``url`` points to this machine."""
    host = (urlsplit(url).hostname or "").lower()
    return host in _LOOPBACK or host.startswith("127.")


def _overridden(spec: ModelSpec, listed: Price | None) -> Price | None:
    prompt = spec.price_in_usd_per_mtok
    completion = spec.price_out_usd_per_mtok
    if prompt is None:
        prompt = listed.prompt if listed else None
    if completion is None:
        completion = listed.completion if listed else None
    if prompt is None or completion is None:
        return None
    return Price(prompt=prompt, completion=completion, cached=prompt)


@cache
def _file() -> dict[str, object]:
    data = orjson.loads(files("agents.models").joinpath("prices.json").read_bytes())
    assert isinstance(data, dict)
    return data


@cache
def _table() -> dict[str, Price]:
    models = _file()["models"]
    assert isinstance(models, dict)
    return {
        name: Price(prompt=prompt, completion=completion, cached=cached)
        for name, (prompt, completion, cached) in models.items()
    }
