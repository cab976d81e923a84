"""What a run would do and cost, before anything is spent."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from agents.examples import ExampleBank
from agents.models import ChatRequest
from agents.models.pricing import estimate_prompt_tokens, price_of
from agents.resolve import ResolvedStep
from agents.run.session import LabelRequest
from agents.run.workload import Workload
from agents.secrets import RunSecrets
from agents.state import Example, ItemState
from agents.steps import BatchStep, ModelStep, Resources, build_step
from agents.steps.calibrate import Calibrate
from agents.steps.label import Prompted
from labelproof.spec.hashing import digest, digest_parts
from labelproof.spec.strategy import ConsensusStep, InvestigateStep, LabelStep, ModelSpec
from labelproof.store import TraceStore

SAMPLE = 50
"""Items whose prompts are rendered to estimate tokens."""
_DEFAULT_LATENCY_S = 1.0
_EMBEDDED_S_PER_TOKEN = 0.03
"""Measured on two cores with the default weights."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepPlan:
    """One model step. Conditional steps count every item: an upper bound."""

    step: str
    model: str
    n_items: int
    n_reused: int
    n_calls: int
    tokens_in: int
    tokens_out: int
    cost_usd: float | None
    """None: no price is known for the model."""
    seconds: float
    upper_bound: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The whole run; ``seconds`` is wall-clock at the planned concurrency."""

    project: str
    strategy: str
    strategy_fp: str
    n_items: int
    n_rows_skipped: int
    n_calibration: int
    steps: tuple[StepPlan, ...]

    @property
    def n_calls(self) -> int:
        return sum(step.n_calls for step in self.steps)

    @property
    def cost_usd(self) -> float | None:
        return known_sum(step.cost_usd for step in self.steps if step.n_calls)

    @property
    def seconds(self) -> float:
        return sum(step.seconds for step in self.steps)


def known_sum(costs: Iterable[float | None]) -> float | None:
    """Return the sum; None when one of them is not known, 0 of none."""
    total = 0.0
    for cost in costs:
        if cost is None:
            return None
        total += cost
    return total


def plan_run(
    request: LabelRequest,
    work: Workload,
    store: TraceStore,
    *,
    encoders: Callable[[str], Any] | None = None,
) -> Plan:
    """Return calls, tokens, cost and time of a run, what is stored already left out.

    The first model step is counted exactly, by its keys. Later ones depend on answers: what was stored for
    the same items counts as reused, the rest is an upper bound. Tokens: a sample of prompts, 4 characters
    a token; output: the mean of stored calls of the step, else the model's ``max_tokens``. ``encoders`` opens a text
    encoder by its name, for callers that plan the same items many times (default: a fresh one).
    """
    fits = any(step.spec.kind == "calibrate" for step in work.resolved.steps)
    calibration = work.gold_items("calibration") if fits else []
    items = list({i.id: i for i in (*work.items, *calibration)}.values())
    resources = _resources(work, store, encoders or _open_encoder)
    steps = [build_step(step, resources) for step in work.resolved.steps]
    specs = [step.resolved.fingerprint for step in steps if isinstance(step, ModelStep)]
    stored = store.steps_for([item.id for item in items], specs, request.repeat) if specs else []
    keys = {row["step_key"] for row in stored}
    done = {(row["spec_fp"], row["item_id"]) for row in stored} | _skipped(store, specs, request.repeat)
    states = [ItemState(item) for item in items]
    plans: list[StepPlan] = []
    exact = True
    for step in steps:
        if isinstance(step, Calibrate):
            exact = False
        elif isinstance(step, BatchStep) and exact and step.kind in ("normalize", "retrieve"):
            for state, output in zip(states, step.run_batch(states), strict=True):
                step.apply(state, output)
        elif isinstance(step, ModelStep):
            waiting = [s for s in states if not _is_stored(step, s, keys, done, request.repeat, exact=exact)]
            plans.append(_step_plan(step, states, waiting, store, exact=exact))
            exact = False
    return Plan(
        project=work.folder.name,
        strategy=work.strategy.name,
        strategy_fp=work.resolved.fingerprint,
        n_items=len(work.items),
        n_rows_skipped=len(work.read.errors),
        n_calibration=len(calibration),
        steps=tuple(plans),
    )


def _skipped(store: TraceStore, specs: list[str], repeat: int) -> set[tuple[str, str]]:
    """Return (step, item) pairs whose condition did not hold before: it will not hold this time either."""
    if not specs:
        return set()
    marks = ", ".join("?" * len(specs))
    rows = store.query(
        "SELECT DISTINCT spec_fp, item_id FROM steps"
        f" WHERE status = 'skipped' AND repeat_idx = ? AND spec_fp IN ({marks})",
        [repeat, *specs],
        fresh=True,
    ).to_pylist()
    return {(row["spec_fp"], row["item_id"]) for row in rows}


def _is_stored(
    step: ModelStep, state: ItemState, keys: set[str], done: set[tuple[str, str]], repeat: int, *, exact: bool
) -> bool:
    if not exact:
        return (step.resolved.fingerprint, state.item.id) in done
    key = digest_parts(step.resolved.fingerprint, digest(step.inputs(state)), str(repeat))
    return key in keys


def _step_plan(
    step: ModelStep,
    states: Sequence[ItemState],
    waiting: Sequence[ItemState],
    store: TraceStore,
    *,
    exact: bool,
) -> StepPlan:
    name, spec = next(iter(step.resolved.models.items()))
    per_item, max_out = _calls_per_item(step.resolved, step)
    sample = random.Random(0).sample(list(waiting), min(SAMPLE, len(waiting)))
    assert isinstance(step, Prompted)
    sizes = [_prompt_tokens(step, state) for state in sample] or [(0, 0)]
    prompt, fresh = fmean([whole for whole, _ in sizes]), fmean([own for _, own in sizes])
    history = _history(store, step.resolved.fingerprint)
    out = history["tokens_out"] if history["tokens_out"] is not None else float(max_out)
    calls = len(waiting) * per_item
    price = price_of(spec, spec.base_url)
    tokens_in, tokens_out = round(calls * prompt), round(calls * out)
    cost = 0.0 if spec.provider == "embedded" else None
    if price is not None:
        cost = price.cost_usd(tokens_in, tokens_out)
    return StepPlan(
        step=step.name,
        model=f"{spec.provider}:{spec.model}" if len(step.resolved.models) == 1 else f"{name} and others",
        n_items=len(states),
        n_reused=len(states) - len(waiting),
        n_calls=calls,
        tokens_in=tokens_in,
        tokens_out=tokens_out,
        cost_usd=cost,
        seconds=_seconds(spec, calls, prompt + out, fresh + out, history["latency_ms"]),
        upper_bound=not exact or step.resolved.spec.when is not None,
    )


def _calls_per_item(resolved: ResolvedStep, step: ModelStep) -> tuple[int, int]:
    """Return model calls per item and output tokens at most per call."""
    spec = resolved.spec
    most = next(iter(resolved.models.values())).max_tokens
    if isinstance(spec, ConsensusStep):
        return (len(spec.models) or spec.samples), most
    if isinstance(spec, InvestigateStep):
        return spec.max_turns, most
    if isinstance(spec, LabelStep) and spec.method == "logprob":
        schema = step.resources.schema
        return (len(schema.leaves) if schema.kind == "multi" else 1), 1
    return 1, most


def _prompt_tokens(step: Prompted, state: ItemState) -> tuple[int, int]:
    """Return the tokens of the whole prompt, and of the part that no other item shares."""
    extra: dict[str, Any] = {}
    variables = step.template.variables
    if "asked" in variables:
        extra["asked"] = step.schema.leaves[0]
    if "label" in variables:
        extra["label"] = step.schema.leaves[0]
    if "rationale" in variables:
        extra["rationale"] = ""
    if "signals" in variables:
        extra["signals"] = ""
    user = step.user(state, **extra)
    whole = estimate_prompt_tokens(ChatRequest(system=step.system(state), user=user))
    return whole, estimate_prompt_tokens(ChatRequest(system="", user=user))


def _history(store: TraceStore, spec_fp: str) -> dict[str, float | None]:
    rows = store.query(
        "SELECT sum(tokens_out) / nullif(sum(n_calls), 0) AS tokens_out,"
        " sum(latency_ms) / nullif(sum(n_calls), 0) AS latency_ms"
        " FROM steps WHERE spec_fp = ? AND status = 'ok' AND NOT cache_hit",
        [spec_fp],
        fresh=True,
    ).to_pylist()
    return dict(rows[0])


def _seconds(
    spec: ModelSpec, calls: int, tokens: float, fresh_tokens: float, latency_ms: float | None
) -> float:
    """Return seconds at the planned concurrency; without a history the embedded model reads
    ``fresh_tokens`` a call, the shared prefix being cached.
    """
    if not calls:
        return 0.0
    concurrency = spec.concurrency or (1 if spec.provider == "embedded" else 64)
    if latency_ms is not None:
        each = latency_ms / 1000
    elif spec.provider == "embedded":
        each = fresh_tokens * _EMBEDDED_S_PER_TOKEN
    else:
        each = _DEFAULT_LATENCY_S
    seconds = calls * each / concurrency
    if spec.requests_per_minute:
        seconds = max(seconds, 60 * calls / spec.requests_per_minute)
    if spec.tokens_per_minute:
        seconds = max(seconds, 60 * calls * tokens / spec.tokens_per_minute)
    return seconds


def _resources(work: Workload, store: TraceStore, open_named: Callable[[str], Any]) -> Resources:
    labels = work.gold_labels.get("examples", {})
    examples = [Example(i.id, i.text, labels[i.id]) for i in work.gold_items("examples")]

    return Resources(
        schema=work.folder.spec.labels,
        task=work.resolved.task,
        examples=ExampleBank(examples, open_named),
        secrets=RunSecrets(store.secret("fences")),
        routing=work.resolved.routing,
        encoder=open_named,
        guideline=work.folder.guideline(),
        training=examples,
    )


def _open_encoder(name: str) -> Any:
    from agents.encoder import open_encoder

    return open_encoder("minilm" if name == "minilm" else "tfidf")
