"""A chat model that retries, waits, counts and stops as its governor and its budget say."""

from __future__ import annotations

from dataclasses import replace

from agents.models.budget import Budget
from agents.models.limits import Governor
from agents.models.pricing import Price, estimate_prompt_tokens
from agents.models.protocol import ChatModel, ChatRequest, ChatResult
from labelproof.spec.errors import ConfigError, ProviderError, TransientProviderError


class GovernedModel:
    """``model`` behind a governor and, if given, a budget; itself a ``ChatModel``.

    Transient failures are retried up to ``max_attempts`` in all; what remains is raised:
    ``TransientProviderError`` or ``TerminalProviderError`` fail this item, ``ProviderDown`` and
    ``BudgetError`` are meant to stop the run.
    """

    def __init__(
        self,
        model: ChatModel,
        governor: Governor,
        budget: Budget | None = None,
        *,
        price: Price | None = None,
        max_attempts: int = 6,
    ) -> None:
        if budget is not None and budget.max_cost_usd is not None and price is None:
            raise ConfigError(
                f"max_cost_usd needs a price, and none is known for model {model.name!r}",
                key="price_in_usd_per_mtok",
                hint="set price_in_usd_per_mtok and price_out_usd_per_mtok (USD per million "
                "tokens) for this model in the strategy, or run without max_cost_usd",
            )
        self.model = model
        self.governor = governor
        self.budget = budget
        self.price = price
        self.name = model.name
        self.provider = model.provider
        self._max_attempts = max_attempts
        self._capped = budget is not None and budget.max_cost_usd is not None

    async def chat(self, request: ChatRequest) -> ChatResult:
        """Return an answer, however many tries it takes within the limits."""
        governor, budget = self.governor, self.budget
        reserved = 0
        expected_usd = 0.0
        if self._capped or governor.counts_tokens:
            prompt = estimate_prompt_tokens(request)
            reserved = prompt + request.max_tokens
            if self.price is not None:
                expected_usd = self.price.cost_usd(prompt, request.max_tokens)
        attempt = 0
        while True:
            attempt += 1
            if budget is not None and not budget.reserve_nowait(expected_usd):
                await budget.reserve(expected_usd)
            spent_usd = 0.0
            try:
                ticket = governor.enter_nowait(reserved)
                if ticket is None:
                    ticket = await governor.enter(reserved)
                try:
                    result = await self.model.chat(request)
                except ProviderError as error:
                    governor.failed(error, ticket)
                    if not isinstance(error, TransientProviderError):
                        raise
                    failure = error
                except BaseException:
                    governor.left()
                    raise
                else:
                    governor.succeeded(reserved, result.tokens_in + result.tokens_out)
                    spent_usd = result.cost_usd
                    return result if attempt == 1 else replace(result, attempts=attempt)
            finally:
                if budget is not None:
                    budget.settle(expected_usd, spent_usd)
            if attempt >= self._max_attempts:
                raised = governor.gave_up(failure)
                raise raised from (None if raised is failure else failure)
            if governor.down is not None:
                raise governor.down from failure
            await governor.rest(governor.backoff_s(attempt, failure))

    async def aclose(self) -> None:
        """Close the model behind."""
        await self.model.aclose()

    def __repr__(self) -> str:
        return f"GovernedModel({self.model!r})"
