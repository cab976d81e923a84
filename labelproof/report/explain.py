"""Why two strategies differ in a metric: each changed component's share, from replaying their mixtures."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

import numpy as np

from agents.run.drive import Listen
from agents.run.judge import Answers
from agents.run.workload import MixedGold, Workload, read_sources
from evaluation.attribution import Attribution, CoalitionAnswers, attribute
from evaluation.paired import NO_ANSWER
from labelproof.report.compare.model import Share, Why
from labelproof.report.gold_looks import record_version_look
from labelproof.report.replay import (
    Hybrid,
    ReplayPlan,
    accepted,
    cost_usd,
    make_hybrids,
    n_calls,
    plan_replay,
    replay,
)
from labelproof.spec.errors import ConfigError
from labelproof.spec.hashing import short
from labelproof.spec.items import Item
from labelproof.spec.metrics import MetricRef
from labelproof.store import TraceStore

_RESTS_ON_ROUTING = frozenset({"auto_accept_rate", "auto_accuracy"})
_SQL = (
    "SELECT item_id, name, kind, output_json FROM item_trace WHERE run_id = '{run_id}' "
    "AND kind <> 'route' ORDER BY item_id, seq"
)
LEARNED = ("examples", "calibration")


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """The gold items that a difference is explained on; ``notes``: what was left out, and why."""

    split: str
    gold_fp: str | None
    split_fp: str | None
    """None for both: no file says this gold as a whole (see ``MixedGold``)."""
    items: Sequence[Item]
    labels: Mapping[str, str]
    weight: Mapping[str, float] | None
    """Item id → 1 / inclusion probability; None: all count alike."""
    cluster: Mapping[str, str] | None
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class HybridValue:
    """One mixture that was run: its value of the metric (None: undefined) and where its answers are."""

    taken: tuple[str, ...]
    strategy: str
    strategy_fp: str
    run_id: str
    value: float | None
    n_accepted: int
    n_failed: int
    accepts_nothing: str | None
    """Why its routing accepts no item at all, if so."""
    sql: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """Shares that sum to ``delta`` (B minus A), with paired intervals over the same items."""

    project: str
    metric: str
    a: str
    b: str
    split: str
    gold_fp: str | None
    value_a: float | None
    value_b: float | None
    delta: float | None
    low: float | None
    high: float | None
    shares: tuple[Share, ...]
    n_items: int
    confidence: float
    method: str
    plan: ReplayPlan
    """What replaying was to take, seen before the first call."""
    hybrids: tuple[HybridValue, ...]
    n_calls: int
    """Calls that it took."""
    cost_usd: float | None
    notes: tuple[str, ...]
    reason: str | None

    def why(self) -> Why:
        """Return what a comparison says of it."""
        return Why(metric=self.metric, shares=self.shares, n_new_calls=self.n_calls, reason=self.reason)

    def to_json(self) -> dict[str, Any]:
        """Return the explanation as JSON values."""
        return {**asdict(self), "plan": plan_json(self.plan)}


def plan_json(plan: ReplayPlan) -> dict[str, Any]:
    """Return a plan as JSON values, its totals included."""
    return {
        "components": [
            {
                "name": one.name,
                "state": one.state,
                "n_added": one.n_added,
                "n_removed": one.n_removed,
                "words": one.words,
            }
            for one in plan.components
        ],
        "hybrids": [{**asdict(one), "taken": sorted(one.taken)} for one in plan.hybrids],
        "n_items": plan.n_items,
        "n_calibration": plan.n_calibration,
        "n_new_calls": plan.n_new_calls,
        "upper_bound": plan.upper_bound,
        "cost_usd": plan.cost_usd,
        "seconds": plan.seconds,
    }


def evidence_of(work_a: Workload, work_b: Workload, split: str, *, cluster: str | None = None) -> Evidence:
    """Return today's gold of a split that neither strategy learned from.

    ``cluster``: a metadata column whose values belong together. ``ConfigError`` when there is no such gold.
    """
    if split in LEARNED:
        raise ConfigError(
            f"strategies learn from the gold split {split!r}: what they gain on it explains nothing",
            hint="explain on --gold test",
        )
    work = work_b if isinstance(work_a.gold, MixedGold) else work_a
    items = work.gold_items(split)
    if not items or work.gold is None:
        splits = sorted(set(work.gold_labels) - set(LEARNED))
        raise ConfigError(
            f"project {work.folder.name!r} has no gold in the split {split!r}",
            hint=f"splits with gold: {', '.join(splits) or 'none'}",
        )
    learned = {id_ for one in (work_a, work_b) for name in LEARNED for id_ in one.gold_labels.get(name, {})}
    kept = [item for item in items if item.id not in learned]
    notes = []
    if len(kept) < len(items):
        notes.append(
            f"{len(items) - len(kept)} of {len(items)} items of {split} were left out: a version learned from them"
        )
    if not kept:
        raise ConfigError(f"one of the versions learned from every gold item of the split {split!r}")
    probs = {row.item_id: row.inclusion_prob for row in work.gold.split(split)}
    weights = {item.id: 1.0 / (probs[item.id] or 1.0) for item in kept}
    groups = None
    if cluster is not None:
        groups = {item.id: repr(item.meta.get(cluster, item.id)) for item in kept}
    whole = read_sources(work.folder).gold if isinstance(work.gold, MixedGold) else work.gold
    return Evidence(
        split=split,
        gold_fp=None if whole is None else whole.fingerprint,
        split_fp=None if whole is None else whole.split_fingerprint(split),
        items=kept,
        labels=work.gold_labels[split],
        weight=weights if len(set(weights.values())) > 1 else None,
        cluster=groups,
        notes=tuple(notes),
    )


def record_looks(store: TraceStore, works: Sequence[Workload], evidence: Evidence, now: datetime) -> None:
    """Store that results of these versions on this gold were shown: gold that was seen certifies them no more."""
    if evidence.gold_fp is None or evidence.split_fp is None:
        return
    for work in works:
        record_version_look(
            store,
            project=work.folder.name,
            gold_fp=evidence.gold_fp,
            split=evidence.split,
            split_fp=evidence.split_fp,
            strategy=work.strategy.name,
            strategy_fp=work.resolved.fingerprint,
            purpose="score",
            now=now,
        )


def plan_explanation(
    store: TraceStore, work_a: Workload, work_b: Workload, items: Sequence[Item]
) -> ReplayPlan:
    """Return the changed components and what replaying their mixtures over ``items`` would cost; nothing is asked."""
    return plan_replay(store, *make_hybrids(store, work_a, work_b), items)


def planned_why(plan: ReplayPlan, metric: str, command: str) -> Why:
    """Return what a comparison says before the mixtures were run; ``command`` runs them."""
    if not plan.components:
        return Why(metric=metric, shares=(), n_new_calls=0, reason="both are the same version")
    most = "at most " if plan.upper_bound else ""
    return Why(
        metric=metric,
        shares=(),
        n_new_calls=plan.n_new_calls,
        reason=f"{len(plan.hybrids)} mixtures, {most}{plan.n_new_calls} new calls: {command}",
    )


def explain(
    store: TraceStore,
    work_a: Workload,
    work_b: Workload,
    items: Sequence[Item],
    gold: Mapping[str, str],
    *,
    metric: MetricRef,
    now: datetime,
    split: str = "test",
    gold_fp: str | None = None,
    weight: Mapping[str, float] | None = None,
    cluster: Mapping[str, str] | None = None,
    notes: Sequence[str] = (),
    plan: ReplayPlan | None = None,
    max_cost_usd: float | None = None,
    listen: Listen | None = None,
    begin: Callable[[int, int], None] | None = None,
    confidence: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> Explanation:
    """Return each changed component's share of the metric's difference between two strategies.

    Runs what the store lacks (``plan_explanation`` says before what that is). ``gold``: item id → label, of ``items``
    that neither strategy learned from (``evidence_of``). ``plan``: what was seen of it before. ``ConfigError`` for metrics of money, time and suites.
    """
    if not (metric.needs_gold or metric.name in ("auto_accept_rate", "failed_rate")):
        raise ConfigError(
            f"metric {metric.text} is not divided among components; expected one of labels, auto_accept_rate or "
            "failed_rate"
        )
    changes, hybrids = make_hybrids(store, work_a, work_b)
    plan = plan or plan_replay(store, changes, hybrids, items)
    answers = replay(store, hybrids, items, max_cost_usd=max_cost_usd, listen=listen, begin=begin)
    said = {one.taken: accepted(store, one, answers[one.taken], items, now) for one in hybrids}
    found = _attributed(
        work_a,
        items,
        gold,
        answers,
        {taken: flags for taken, (flags, _) in said.items()},
        metric=metric,
        weight=weight,
        cluster=cluster,
        confidence=confidence,
        resamples=resamples,
        seed=seed,
    )
    everything = frozenset(change.name for change in changes)
    values = [_value(one, answers[one.taken], *said[one.taken], found, items) for one in hybrids]
    return Explanation(
        project=work_a.folder.name,
        metric=metric.text,
        a=_ref(work_a),
        b=_ref(work_b),
        split=split,
        gold_fp=gold_fp,
        value_a=found.values[frozenset()],
        value_b=found.values[everything],
        delta=found.delta,
        low=found.low,
        high=found.high,
        shares=_shares(changes, found),
        n_items=len(items),
        confidence=confidence,
        method=found.method,
        plan=plan,
        hybrids=tuple(values),
        n_calls=n_calls(answers),
        cost_usd=cost_usd(answers),
        notes=(*notes, *_routing_notes(metric, values)),
        reason=found.reason if changes else "both are the same version: there is nothing to explain",
    )


def _attributed(
    work: Workload,
    items: Sequence[Item],
    gold: Mapping[str, str],
    answers: Mapping[frozenset[str], Answers],
    flags: Mapping[frozenset[str], Sequence[bool]],
    *,
    metric: MetricRef,
    weight: Mapping[str, float] | None,
    cluster: Mapping[str, str] | None,
    confidence: float,
    resamples: int,
    seed: int,
) -> Attribution:
    schema = work.folder.spec.labels
    said = {taken: [answer.label for answer in found.of(items)] for taken, found in answers.items()}
    spelled = {label for labels in said.values() for label in labels if label is not None}
    labels = sorted(spelled | {gold[item.id] for item in items if item.id in gold} | set(schema.leaves[:1]))
    code = {label: n for n, label in enumerate(labels)}
    missing = [item.id for item in items if item.id not in gold]
    if missing and metric.needs_gold:
        raise ConfigError(f"metric {metric.text} needs gold for every item; {len(missing)} have none")
    groups = None
    if cluster is not None:
        groups = np.unique([cluster[item.id] for item in items], return_inverse=True)[1].astype(np.int64)
    return attribute(
        {
            taken: CoalitionAnswers(
                answer=np.array(
                    [NO_ANSWER if label is None else code[label] for label in told], dtype=np.int64
                ),
                accepted=np.array(flags[taken], dtype=np.bool_),
            )
            for taken, told in said.items()
        },
        gold=None if missing else np.array([code[gold[item.id]] for item in items], dtype=np.int64),
        members=np.array([[leaf in schema.members(label) for leaf in schema.leaves] for label in labels]),
        classes=schema.leaves,
        metric=metric,
        weight=None if weight is None else np.array([weight[item.id] for item in items], dtype=np.float64),
        cluster=groups,
        confidence=confidence,
        resamples=resamples,
        seed=seed,
    )


def _shares(changes: Sequence[Any], found: Attribution) -> tuple[Share, ...]:
    """Return the shares in the order of the steps; none when they are not defined."""
    by_name = {share.component: share for share in found.shares}
    return tuple(
        Share(component=change.name, delta=own.delta, low=own.low, high=own.high)
        for change in changes
        if (own := by_name[change.name]).delta is not None
    )


def _value(
    one: Hybrid,
    answers: Answers,
    flags: Sequence[bool],
    accepts_nothing: str | None,
    found: Attribution,
    items: Sequence[Item],
) -> HybridValue:
    return HybridValue(
        taken=tuple(sorted(one.taken)),
        strategy=one.work.strategy.name,
        strategy_fp=one.work.resolved.fingerprint,
        run_id=answers.run_id,
        value=found.values[one.taken],
        n_accepted=sum(flags),
        n_failed=sum(answer.label is None for answer in answers.of(items)),
        accepts_nothing=accepts_nothing,
        sql=_SQL.format(run_id=answers.run_id),
    )


def _routing_notes(metric: MetricRef, values: Sequence[HybridValue]) -> list[str]:
    if metric.name not in _RESTS_ON_ROUTING:
        return []
    idle = [one for one in values if one.accepts_nothing is not None]
    if not idle:
        return []
    return [
        f"{len(idle)} of {len(values)} mixtures accept nothing, such as {idle[0].strategy}: {idle[0].accepts_nothing}"
    ]


def _ref(work: Workload) -> str:
    return f"{work.strategy.name}@{short(work.resolved.fingerprint)}"
