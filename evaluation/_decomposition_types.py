"""What a decomposition takes and returns; see :mod:`evaluation.decomposition`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from labelproof.spec.errors import ConfigError

PartName = Literal["mix", "behaviour", "reviewers", "unexplained"]
BehaviourFrom = Literal["same items", "flips", "new version", "new version, timing only", "nothing"]
METHOD = "Kitagawa's symmetric decomposition; Bayesian bootstrap over rows with Jeffreys' pseudo-rows"


@dataclass(frozen=True, slots=True, kw_only=True)
class SameItems:
    """The same ``n`` items answered in both periods, with gold: ``lost`` were right before and are wrong now."""

    n: int
    lost: int
    gained: int

    def __post_init__(self) -> None:
        if self.n < 1 or min(self.lost, self.gained) < 0 or self.lost + self.gained > self.n:
            raise ConfigError(
                f"same items: expected lost + gained <= n and n >= 1, found {self.lost} + {self.gained} of {self.n}"
            )

    @property
    def difference(self) -> float:
        return (self.gained - self.lost) / self.n


@dataclass(frozen=True, slots=True, kw_only=True)
class Flips:
    """The same ``n`` items without gold: ``changed`` got another label; ``floor_prob``: so many do with no change at all."""

    n: int
    changed: int
    floor_prob: float = 0.0

    def __post_init__(self) -> None:
        if self.n < 1 or not 0 <= self.changed <= self.n or not 0 <= self.floor_prob <= 1:
            raise ConfigError(
                f"flips: expected 0 <= changed <= n, n >= 1 and a floor in [0, 1], found {self.changed} of {self.n},"
                f" {self.floor_prob:g}"
            )

    @property
    def excess(self) -> float:
        return max(0.0, self.changed / self.n - self.floor_prob)


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One part of the change, in the rate's unit. Not ``measured``: nothing was there to tell it by, and it counts as 0."""

    name: PartName
    value: float
    low: float | None
    high: float | None
    measured: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class SliceChange:
    """One slice in both periods; ``mix`` and ``within`` are its contributions. A rate is None without rows."""

    code: int
    n_before: int
    n_after: int
    share_before: float
    share_after: float
    rate_before: float | None
    rate_after: float | None
    mix: float
    within: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Decomposition:
    """``change`` = ``after`` - ``before`` = the sum of ``parts``; each with its central interval of level ``confidence``."""

    before: float
    after: float
    before_interval: tuple[float, float]
    after_interval: tuple[float, float]
    change: float
    low: float
    high: float
    parts: tuple[Part, ...]
    slices: tuple[SliceChange, ...]
    behaviour_from: BehaviourFrom
    n_before: int
    n_after: int
    confidence: float
    method: str = METHOD

    def part(self, name: PartName) -> Part:
        """Return a part by its name."""
        return next(part for part in self.parts if part.name == name)
