"""Chat models by their spec: providers are imported when a strategy asks for them, not before."""

from __future__ import annotations

from collections.abc import Mapping

from agents.models.budget import Budget
from agents.models.governed import GovernedModel
from agents.models.limits import Governor
from agents.models.pricing import price_of
from agents.models.protocol import ChatModel
from labelproof.spec.strategy import ModelSpec

_REMOTE_CONCURRENCY = 64


class Governors:
    """The governors of one run: models at the same place share one; all on one event loop."""

    def __init__(self) -> None:
        self._by_place: dict[tuple[str | None, ...], Governor] = {}

    def of(self, spec: ModelSpec) -> Governor:
        """Return the governor of the spec's provider, model and key, made on first use.

        The limits are those of the spec that came first.
        """
        place = (spec.provider, spec.base_url, spec.path, spec.model, spec.api_key_env)
        governor = self._by_place.get(place)
        if governor is None:
            governor = self._by_place[place] = open_governor(spec)
        return governor


def open_governor(spec: ModelSpec) -> Governor:
    """Return a fresh governor with the limits of ``spec``."""
    embedded = spec.provider == "embedded"
    most = spec.concurrency or (1 if embedded else _REMOTE_CONCURRENCY)
    return Governor(
        f"{spec.provider} {spec.model}",
        max_concurrency=most,
        # A concurrency the user chose is where we start; our own guess starts lower and grows.
        start_concurrency=spec.concurrency,
        requests_per_minute=spec.requests_per_minute,
        tokens_per_minute=spec.tokens_per_minute,
    )


def open_model(
    spec: ModelSpec,
    *,
    governors: Governors | None = None,
    budget: Budget | None = None,
    env: Mapping[str, str] | None = None,
) -> GovernedModel:
    """Return the chat model of ``spec`` behind its governor and the run's budget.

    ``ConfigError`` when a key, a price the budget needs, or an optional package is missing.
    The embedded model's weights must be there already (``weights.ensure``).
    """
    model = _provider(spec, env)
    base_url = getattr(model, "base_url", None)
    governor = governors.of(spec) if governors else open_governor(spec)
    return GovernedModel(
        model,
        governor,
        budget,
        price=price_of(spec, base_url),
        max_attempts=spec.max_attempts,
    )


def _provider(spec: ModelSpec, env: Mapping[str, str] | None) -> ChatModel:
    if spec.provider == "openai_compatible":
        from agents.models.lean import LeanChat

        return LeanChat(spec, env=env)
    if spec.provider == "langchain":
        from agents.models.langchain import LangChainChat

        return LangChainChat(spec)
    from agents.models.embedded import EmbeddedChat

    return EmbeddedChat(spec)
