"""What a step is: declared inputs, one output, and how the output changes the item's state.

A step's output is plain JSON and ``apply`` is the only place where it touches the state, so a stored
output replays exactly like a fresh one: cache, resume and replay are the same code path.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from agents.models.protocol import ChatRequest, ChatResult
from agents.resolve import ResolvedStep
from agents.state import Example, ItemState
from labelproof.spec.labels import LabelSchema
from labelproof.spec.project import RoutingPolicy

Output = dict[str, Any]
"""A step's stored output: JSON values only."""


class Encoder(Protocol):
    """A local text encoder (see ``agents.encoder``)."""

    @property
    def fingerprint(self) -> str: ...
    def encode(self, texts: Sequence[str]) -> Any: ...


class Examples(Protocol):
    """Access to the ``examples`` split (see ``agents.examples``)."""

    def fixed(self, k: int, seed: int) -> tuple[Example, ...]: ...
    def nearest(
        self, texts: Sequence[str], item_ids: Sequence[str], k: int, encoder: str
    ) -> list[tuple[Example, ...]]: ...


class Secrets(Protocol):
    """Per-store randomness that hostile content cannot know."""

    def fence(self, item_id: str, text: str) -> str: ...
    def audit_draw(self, item_id: str) -> float: ...
    @property
    def canary(self) -> str: ...


@dataclass(slots=True, kw_only=True)
class Resources:
    """What steps may use besides the item. Fitted calibrators and certificates come and go by run."""

    schema: LabelSchema
    task: str
    examples: Examples
    secrets: Secrets
    routing: RoutingPolicy
    encoder: Any
    """``encoder(name) -> Encoder``; opened on first use."""
    calibrators: dict[str, Any] = field(default_factory=dict)
    """Step name → fitted calibrator (``agents.calibrators.Fitted``)."""
    certificate: Any = None
    """A valid certificate of this strategy (``agents.routing.Certificate``), or None."""
    no_certificate: str | None = None
    """Why there is none."""
    stopped: str | None = None
    """Why nothing may be decided alone now (``agents.line``); None: it may."""
    guideline: str = ""
    training: Sequence[Example] = ()
    """The ``examples`` split, with which text classifiers are trained too."""
    class_prior: Mapping[str, float] = field(default_factory=dict)
    """Known label shares; empty: unknown."""


class CallScope(Protocol):
    """The model calls of one step on one item: numbered, cached, journaled, counted."""

    async def chat(self, model: str, request: ChatRequest) -> ChatResult: ...


class Step(ABC):
    """One action on items."""

    def __init__(self, resolved: ResolvedStep, resources: Resources) -> None:
        self.resolved = resolved
        self.resources = resources
        self.name = resolved.spec.name
        self.kind = resolved.spec.kind

    @abstractmethod
    def inputs(self, state: ItemState) -> Mapping[str, Any]:
        """Return everything the output depends on, besides the step itself; hashed into the key."""

    @abstractmethod
    def apply(self, state: ItemState, output: Output) -> None:
        """Write an output, fresh or stored, into the state."""


class BatchStep(Step):
    """A local step, computed for a whole batch at once and never cached: computing is cheaper."""

    @abstractmethod
    def run_batch(self, states: Sequence[ItemState]) -> list[Output]:
        """Return one output per state, in order."""


class ModelStep(Step):
    """A step that calls models; its stored output is reused instead of calling again."""

    @abstractmethod
    async def run(self, state: ItemState, calls: CallScope) -> Output:
        """Return the output; ``OutputError`` when the model's answers cannot be used."""
