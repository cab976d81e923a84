"""Chat models behind one small protocol, with limits, retries, budgets and prices."""

from __future__ import annotations

from agents.models.budget import Budget
from agents.models.governed import GovernedModel
from agents.models.limits import Governor
from agents.models.protocol import (
    ChatModel,
    ChatRequest,
    ChatResult,
    Message,
    ProviderDown,
    ProviderTimeout,
)
from agents.models.registry import Governors, open_governor, open_model

__all__ = [
    "Budget",
    "ChatModel",
    "ChatRequest",
    "ChatResult",
    "GovernedModel",
    "Governor",
    "Governors",
    "Message",
    "ProviderDown",
    "ProviderTimeout",
    "open_governor",
    "open_model",
]
