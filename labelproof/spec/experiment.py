"""How a project judges changes of strategy: what must get better, what must not get worse, and by what rule."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator, model_validator

from labelproof.spec.errors import ConfigError
from labelproof.spec.metrics import parse_metric
from labelproof.spec.strategy import Spec


def _known(metric: str) -> str:
    try:
        return parse_metric(metric).text
    except ConfigError as error:
        raise ValueError(error.message) from error


class Guardrail(Spec):
    """A metric that a change must not make worse by more than a margin."""

    metric: str
    """A metric: accuracy, macro_f1, recall:LABEL, precision:LABEL, f1:LABEL, auto_accuracy, auto_accept_rate, failed_rate,
    cost_per_1k_usd, latency_ms, suite:NAME."""
    margin: float = Field(default=0.02, ge=0)
    """How much worse it may get, in the metric's own unit; 0: it must be proven not worse at all."""

    _metric = field_validator("metric")(_known)


class ExperimentPolicy(Spec):
    """The rule by which strategies are compared; written into each plan before its first call."""

    primary: str = "accuracy"
    """What must get better: any metric; accuracy is exact match (taxonomy: of the leaf)."""
    goal: Literal["better", "not_worse"] = "better"
    """better: the primary metric must be proven higher; not_worse: proven not lower by `margin` (a cheaper strategy)."""
    margin: float = Field(default=0.01, gt=0)
    """With goal not_worse: how much lower the primary metric may be."""
    guardrails: tuple[Guardrail, ...] = (Guardrail(metric="failed_rate", margin=0.02),)
    """What must not get worse. Each must hold by itself: no correction is needed for many of them."""
    secondary: tuple[str, ...] = ("macro_f1",)
    """Further metrics that are tested and shown (Holm among them) and decide nothing."""
    alpha: float = Field(default=0.05, gt=0, lt=0.5)
    """Probability of shipping a change that is no improvement."""
    power: float = Field(default=0.8, gt=0.5, lt=1)
    """Probability of seeing an improvement of `min_effect`, from which the sample size follows."""
    min_effect: float = Field(default=0.03, gt=0, lt=1)
    """Smallest difference of the primary metric worth shipping."""
    expected_discordance: float = Field(default=0.15, gt=0, le=1)
    """Share of items on which strategies are expected to differ in being right, for the sample size."""
    max_cost_ratio: float | None = Field(default=None, gt=0)
    """Highest cost of the candidate as a multiple of the champion's; null: cost decides nothing."""
    rerun_items: int = Field(default=100, ge=0)
    """Items on which the first arm is asked again: how many labels change by themselves (the A/A floor)."""
    cluster: str | None = None
    """Metadata column whose values belong together (author, thread): they are resampled as one."""
    slices: tuple[str, ...] = ()
    """Metadata columns to break differences down by; empty: the project's own, those with few values."""

    _primary = field_validator("primary")(_known)

    @field_validator("secondary")
    @classmethod
    def _all_known(cls, metrics: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(_known(metric) for metric in metrics)

    @model_validator(mode="after")
    def _once(self) -> ExperimentPolicy:
        named = [guardrail.metric for guardrail in self.guardrails]
        twice = sorted({metric for metric in named if named.count(metric) > 1})
        if twice:
            raise ValueError(f"guardrails: {twice[0]!r} is named twice")
        if parse_metric(self.primary).name == "suite":
            raise ValueError("primary: a suite can be a guardrail, not what must get better")
        return self
