"""What a run stores: the columns of its rows, and who a run is."""

from __future__ import annotations

from collections.abc import Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Literal

from agents.review_tasks import ReviewTask
from agents.run.asks import EVENT_COLUMNS

TASK_RUN: ContextVar[str | None] = ContextVar("labelproof_task_run", default=None)
"""Prefect task run of the batch under way; set by the flow."""

StepStatus = Literal["ok", "failed", "skipped"]
Purpose = Literal["label", "judge", "arm"]
"""label: items are decided. judge: answers are only looked at (certificates, draws of gold). arm: answers are stored
beside the decisions, for an experiment or a shadow. Only `label` decides anything or asks anybody."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Arm:
    """One strategy in one experiment (or the shadow of one roll-out)."""

    experiment_id: str
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RunInfo:
    """Who a run is; every row carries it."""

    run_id: str
    project: str
    project_fp: str
    strategy: str
    strategy_fp: str
    repeat_idx: int
    flow_run_id: str | None = None
    purpose: Purpose = "label"
    arm: Arm | None = None
    """The arm whose answers these are (purpose `arm`)."""


@dataclass(slots=True)
class CallStats:
    """What the calls of one step on one item took."""

    n_calls: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    tokens_cached: int = 0
    cost_usd: float = 0.0
    latency_ms: float = 0.0
    n_unpriced: int = 0


_STEP = [
    "run_id",
    "item_id",
    "seq",
    "kind",
    "name",
    "step_key",
    "spec_fp",
    "input_hash",
    "output_hash",
    "output_json",
    "status",
    "error",
    "cache_hit",
    "repeat_idx",
    "n_calls",
    "tokens_in",
    "tokens_out",
    "tokens_cached",
    "cost_usd",
    "latency_ms",
    "ts",
    "flow_run_id",
    "task_run_id",
]
_CALL = [
    "call_key",
    "run_id",
    "item_id",
    "step_key",
    "call_idx",
    "model",
    "provider",
    "system_hash",
    "user_hash",
    "response_hash",
    "logprobs_json",
    "finish_reason",
    "provider_fingerprint",
    "tokens_in",
    "tokens_out",
    "tokens_cached",
    "cost_usd",
    "latency_ms",
    "attempts",
    "ts",
    "flow_run_id",
    "task_run_id",
]
_DECISION = [
    "run_id",
    "item_id",
    "strategy_fp",
    "label",
    "confidence",
    "raw_confidence",
    "decision",
    "reason",
    "certificate_id",
    "inclusion_prob",
    "audited",
    "calibrator_id",
    "ts",
    "flow_run_id",
    "task_run_id",
    "cost_usd",
    "latency_ms",
]
_ARM = [
    "experiment_id",
    "arm",
    "run_id",
    "strategy_fp",
    "item_id",
    "label",
    "confidence",
    "raw_confidence",
    "decision",
    "reason",
    "certificate_id",
    "cost_usd",
    "latency_ms",
    "ts",
    "flow_run_id",
    "task_run_id",
]
COLUMNS: dict[str, Sequence[str]] = {
    "steps": _STEP,
    "calls": _CALL,
    "decisions": _DECISION,
    "arm_answers": _ARM,
    "review_tasks": list(ReviewTask.__slots__),
    "review_events": list(EVENT_COLUMNS),
}
"""Columns of each table that a run writes, in the order of its rows' values."""
