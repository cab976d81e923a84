"""The mixtures of two strategies as runs: what replaying them would cost, and their answers to the same items."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import numpy as np

from agents.certificates import answers_fingerprint, find_valid, pool_of
from agents.encoder import Encoder, Vectors, open_encoder
from agents.hybrids import Component, coalitions, components, hybrid
from agents.rehydrate import workload_from
from agents.resolve import ResolvedStrategy
from agents.routing import Evidence, decide
from agents.run.drive import Listen
from agents.run.judge import Answer, Answers, judge
from agents.run.plan import known_sum, plan_run
from agents.run.session import LabelRequest
from agents.run.workload import MixedGold, Workload
from labelproof.spec.errors import ConfigError, LabelproofError
from labelproof.spec.hashing import digest
from labelproof.spec.items import Item
from labelproof.store import TraceStore


@dataclass(frozen=True, slots=True, kw_only=True)
class Hybrid:
    """One mixture, ready to run. ``taken``: the components it has from B."""

    taken: frozenset[str]
    work: Workload
    answers_fp: str
    """Mixtures that answer alike and route differently share it, and are run once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HybridPlan:
    """What one mixture would add to those before it; what they share is counted once."""

    taken: frozenset[str]
    strategy_fp: str
    n_calls: int
    tokens_in: int
    tokens_out: int
    cost_usd: float | None
    """None: no price is known for a model that would be called."""
    seconds: float
    upper_bound: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayPlan:
    """All mixtures of the changed components, and what is still to pay for them."""

    components: tuple[Component, ...]
    hybrids: tuple[HybridPlan, ...]
    n_items: int
    n_calibration: int

    @property
    def n_new_calls(self) -> int:
        return sum(planned.n_calls for planned in self.hybrids)

    @property
    def cost_usd(self) -> float | None:
        return known_sum(planned.cost_usd for planned in self.hybrids if planned.n_calls)

    @property
    def seconds(self) -> float:
        return sum(planned.seconds for planned in self.hybrids)

    @property
    def upper_bound(self) -> bool:
        return any(planned.upper_bound and planned.n_calls for planned in self.hybrids)


def make_hybrids(
    store: TraceStore, work_a: Workload, work_b: Workload
) -> tuple[tuple[Component, ...], list[Hybrid]]:
    """Return the changed components and all mixtures, A first, then B, then from few components to many.

    ``ConfigError`` names what cannot be rebuilt for a mixture.
    """
    a, b = work_a.resolved.snapshot, work_b.resolved.snapshot
    changes = components(a, b)
    everything = frozenset(change.name for change in changes)
    base = work_b if isinstance(work_a.gold, MixedGold) else work_a
    golds = [work.gold for work in (work_a, work_b) if work.gold is not None]
    hybrids = []
    for taken in coalitions(change.name for change in changes):
        if not taken:
            work = work_a
        elif taken == everything:
            work = work_b
        else:
            work = workload_from(hybrid(a, b, taken), base, store, golds=golds)
        hybrids.append(Hybrid(taken=taken, work=work, answers_fp=answers_fingerprint(work.resolved.snapshot)))
    hybrids.sort(key=lambda one: 1 if one.taken == everything and everything else 2 * bool(one.taken))
    return changes, hybrids


def plan_replay(
    store: TraceStore, changes: Sequence[Component], hybrids: Sequence[Hybrid], items: Sequence[Item]
) -> ReplayPlan:
    """Return what asking all mixtures about ``items`` would add to the store; nothing is asked.

    A model step is counted once for all mixtures that reach it by the same steps.
    """
    encoders = _Encoders()
    seen: set[str] = set()
    planned: dict[str, Any] = {}
    rows = []
    n_calibration = 0
    for one in hybrids:
        keys = _paths(one.work.resolved)
        last = keys[-1] if keys else ""
        if last not in planned:
            request = LabelRequest(project=one.work.folder.name, strategy=one.work.strategy.name)
            planned[last] = plan_run(request, replace(one.work, items=list(items)), store, encoders=encoders)
        whole = planned[last]
        n_calibration = max(n_calibration, whole.n_calibration)
        new = [step for step, key in zip(whole.steps, keys, strict=True) if key not in seen]
        seen.update(keys)
        rows.append(
            HybridPlan(
                taken=one.taken,
                strategy_fp=one.work.resolved.fingerprint,
                n_calls=sum(step.n_calls for step in new),
                tokens_in=sum(step.tokens_in for step in new),
                tokens_out=sum(step.tokens_out for step in new),
                cost_usd=known_sum(step.cost_usd for step in new if step.n_calls),
                seconds=sum(step.seconds for step in new),
                upper_bound=any(step.upper_bound for step in new if step.n_calls),
            )
        )
    return ReplayPlan(
        components=tuple(changes), hybrids=tuple(rows), n_items=len(items), n_calibration=n_calibration
    )


class _Encoders:
    """Text encoders that remember what they have read: every mixture is planned on the same items."""

    def __init__(self) -> None:
        self._open: dict[str, _Remembering] = {}

    def __call__(self, name: str) -> _Remembering:
        if name not in self._open:
            self._open[name] = _Remembering(open_encoder("minilm" if name == "minilm" else "tfidf"))
        return self._open[name]


class _Remembering:
    def __init__(self, encoder: Encoder) -> None:
        self._encoder = encoder
        self._vectors: dict[str, Vectors] = {}

    def encode(self, texts: Sequence[str]) -> Vectors:
        new = list(dict.fromkeys(text for text in texts if text not in self._vectors))
        if new:
            self._vectors.update(zip(new, self._encoder.encode(new), strict=True))
        return np.stack([self._vectors[text] for text in texts]) if texts else self._encoder.encode(())


def replay(
    store: TraceStore,
    hybrids: Sequence[Hybrid],
    items: Sequence[Item],
    *,
    max_cost_usd: float | None = None,
    listen: Listen | None = None,
    begin: Callable[[int, int], None] | None = None,
) -> dict[frozenset[str], Answers]:
    """Return every mixture's answers to ``items``: stored steps are reused, nothing is decided, nobody is asked.

    ``begin`` is told how many distinct mixtures are done, and of how many. ``max_cost_usd`` bounds them all together.
    An early stop raises ``ProviderError`` or ``BudgetError``; what is done is stored, and the same call goes on.
    """
    distinct = {one.answers_fp: one for one in reversed(hybrids)}
    order = [one for one in hybrids if distinct[one.answers_fp] is one]
    found: dict[str, Answers] = {}
    spent = 0.0
    for n, one in enumerate(order):
        if begin is not None:
            begin(n, len(order))
        left = None if max_cost_usd is None else max(0.0, max_cost_usd - spent)
        try:
            answers = judge(one.work, store, items, max_cost_usd=left, listen=listen)
        except ConfigError as error:
            what = " + ".join(sorted(one.taken)) or "nothing"
            raise ConfigError(
                f"the mixture that takes {what} from B cannot run: {error.message}", hint=error.hint
            ) from error
        except LabelproofError as error:
            error.hint = "run the same command again: what is done is stored"
            raise
        spent += float(answers.summary.get("cost_usd") or 0.0)
        found[one.answers_fp] = answers
    if begin is not None:
        begin(len(order), len(order))
    return {one.taken: found[one.answers_fp] for one in hybrids}


def accepted(
    store: TraceStore, one: Hybrid, answers: Answers, items: Sequence[Item], now: datetime
) -> tuple[list[bool], str | None]:
    """Return for each item whether the mixture's own routing would auto-accept it, and why it accepts none if so.

    Certified routing relies on a certificate that is valid for the mixture; without one it accepts nothing.
    """
    policy = one.work.resolved.routing
    certificate, reason = None, None
    if policy.mode == "certified":
        stored, reason = find_valid(
            store,
            one.work.folder.name,
            one.work.strategy.name,
            one.work.resolved.snapshot,
            answers.calibrator_ids,
            now,
        )
        if stored is not None:
            covered = pool_of(store, stored) if stored.finite_pool else None
            certificate, reason = stored.for_routing(covered), None
    elif not answers.rests_on_gold and not policy.accept_without_gold:
        reason = "no gold stands behind the confidence"
    said = [
        answer.held is None
        and decide(
            policy,
            _evidence(answer, rests_on_gold=answers.rests_on_gold),
            certificate=certificate,
            audit_draw=1.0,
        ).decision
        == "auto_accept"
        for answer in answers.of(items)
    ]
    return said, reason


def _evidence(answer: Answer, *, rests_on_gold: bool) -> Evidence:
    return Evidence(
        item_id=answer.item_id,
        label=answer.label,
        members=answer.members,
        confidence=answer.confidence,
        failure=None,
        manipulation=(),  # what is held for it is sorted out before
        rests_on_gold=rests_on_gold,
    )


def _paths(resolved: ResolvedStrategy) -> list[str]:
    """Return for each model step what identifies it together with all steps before it."""
    path: list[list[Any]] = []
    keys = []
    for step in resolved.steps:
        path.append([step.spec.kind, step.spec.when, step.fingerprint])
        if step.calls_model:
            keys.append(digest(path))
    return keys


def n_calls(answers: Mapping[frozenset[str], Answers]) -> int:
    """Return the model calls that the replay really made."""
    return sum(run["model_calls"] for run in _summaries(answers))


def cost_usd(answers: Mapping[frozenset[str], Answers]) -> float | None:
    """Return what the replay really cost; None when a call had no price."""
    runs = _summaries(answers)
    return (
        None
        if any(run.get("unpriced_calls") for run in runs)
        else float(sum(run["cost_usd"] for run in runs))
    )


def _summaries(answers: Mapping[frozenset[str], Answers]) -> list[Mapping[str, Any]]:
    return list({found.run_id: found.summary for found in answers.values()}.values())
