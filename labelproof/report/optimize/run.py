"""A search from its plan to its winner: mistakes, instruction variants, rounds; resumable at every point.

Only the splits `examples` and `calibration` are read: the gold of the others is taken away before anything runs. What
is stored is not asked again, so a search that was stopped goes on where it was, and a finished one is told again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from statistics import fmean

import numpy as np

from agents.examples import ExampleBank
from agents.models import Budget, ProviderDown
from agents.run.arms import open_arm, run_arm
from agents.run.drive import Drive, Listen
from agents.run.lock import RunLock
from agents.run.register import gold_rows
from agents.run.rows import Arm
from agents.run.workload import Sources, Workload
from agents.search.halving import Board, board, survivors
from agents.search.instructions import Brief, Mistake, Variant, instruction_prompt, write_variant
from agents.search.space import without_calibration
from agents.search.tuning import FOLDS, JUDGE, LEARN, Drafts, drafts, learning_from, ordered
from agents.state import Example
from evaluation.paired import NO_ANSWER
from labelproof.report.gold_looks import record_look
from labelproof.report.optimize.ledger import Said, answers, looked, record, spent
from labelproof.report.optimize.model import (
    BASE,
    Planned,
    RoundResult,
    SearchReport,
)
from labelproof.report.optimize.plan import Prepared, variant_name
from labelproof.report.optimize.result import search_report
from labelproof.spec.errors import BudgetError, ConfigError
from labelproof.spec.items import Item
from labelproof.spec.strategy import RetrieveStep, Strategy
from labelproof.store import TraceStore

Clock = Callable[[], datetime]


class _StoppedError(Exception):
    """The search cannot go on now; ``reason`` and ``hint`` say why and how to."""

    def __init__(self, reason: str, hint: str | None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.hint = hint


@dataclass(slots=True, kw_only=True)
class Progress:
    """What a search has found so far."""

    variants: dict[int, Variant] = field(default_factory=dict)
    rounds: dict[str, list[RoundResult]] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    last: Board | None = None
    alive: list[str] = field(default_factory=list)
    n_rounds: int = 0
    notes: list[str] = field(default_factory=list)


@dataclass(slots=True, kw_only=True)
class Search:
    """One process at work on a planned search."""

    store: TraceStore
    prepared: Prepared
    place: Drafts
    listen: Listen | None
    drive: Drive | None
    clock: Clock
    found: Progress = field(default_factory=Progress)

    def strategy(self, name: str) -> Strategy:
        """Return the strategy of a candidate id, or of the base."""
        return self.prepared.base if name == BASE else self.candidate(name).strategy

    def candidate(self, name: str) -> Planned:
        return next(one for one in self.prepared.plan.candidates if one.id == name)

    def deployed(self, name: str) -> Workload:
        """Return a candidate as it would be used: fitted on all calibration gold."""
        return replace(self.prepared.sources, folder=self.place).workload(self.strategy(name))

    def run(self) -> str | None:
        """Study, write, judge; returns None at the end, else raises ``_StoppedError``."""
        plan = self.prepared.plan
        if plan.n_variants:
            self._write(self._study())
        order = [one.id for one in plan.candidates if self._is_whole(one)]
        for number, rung in enumerate(plan.rungs):
            said = {name: self._answers(name, number, rung.n_items) for name in (BASE, *order)}
            order = [name for name in order if name not in self.found.failed]
            last = number == len(plan.rungs) - 1
            keep = len(order) if last else min(len(order), plan.rungs[number + 1].n_candidates)
            order = self._judge(number, rung.n_items, {n: said[n] for n in (BASE, *order)}, keep)
            if not order:
                break
        self.found.alive = order
        return None

    def _is_whole(self, one: Planned) -> bool:
        missing = [i for i in one.instructions if self.found.variants[i].instruction is None]
        if missing:
            self.found.failed[one.id] = f"no usable instruction: {self.found.variants[missing[0]].reason}"
        return not missing

    # -- mistakes and instructions

    def _study(self) -> list[Mistake]:
        """Return what the base's model gets wrong on items of the examples split that its prompt does not show."""
        prepared = self.prepared
        sources = learning_from(prepared.sources, self.place)
        work = sources.workload(without_calibration(prepared.base))
        rows = prepared.sources.gold.split(LEARN) if prepared.sources.gold else ()
        shown = _always_shown(work)
        chosen = [
            (row, item)
            for row, item, _ in ordered(prepared.sources, rows, prepared.plan.seed)
            if item.id not in shown
        ][: prepared.plan.n_study]
        said = self._arm(work, [item for _, item in chosen], "study")
        self._look(BASE, LEARN)
        return [
            Mistake(text=item.text, said=said[item.id].label or "no usable answer", gold=row.label)
            for row, item in chosen
            if said[item.id].label != row.label
        ]

    def _write(self, mistakes: Sequence[Mistake]) -> None:
        prepared, plan = self.prepared, self.prepared.plan
        brief = Brief(
            task=prepared.task,
            schema=prepared.folder.spec.labels,
            guideline=prepared.guideline,
            mistakes=mistakes,
        )
        assert prepared.writer is not None
        for index in range(1, plan.n_variants + 1):
            if not mistakes:
                why = f"the base makes no mistake on {plan.n_study} items of `{LEARN}`"
                self.found.variants[index] = Variant(index=index, instruction=None, reason=why, n_calls=0)
                continue
            self._stop_at_limits()
            usd, _ = spent(self.store, plan.search_id)
            budget = Budget(prepared.request.budget_usd, spent_usd=usd)
            try:
                variant = write_variant(
                    self.store, plan.search_id, prepared.writer, brief, index, plan.seed, budget=budget
                )
            except (BudgetError, ProviderDown) as error:
                raise _StoppedError(error.message, error.hint) from error
            self.found.variants[index] = variant
            if variant.instruction is not None:
                self._draft(index, variant.instruction)

    def _draft(self, index: int, instruction: str) -> None:
        """Write the variant's prompt; one that does not load makes no candidate."""
        plan = self.prepared.plan
        name = variant_name(plan.tag, index)
        origin = f"search {plan.search_id}"
        path = self.place.folder / "prompts" / f"{name}.md"
        path.write_text(
            instruction_prompt(self.prepared.template, name, instruction, origin), encoding="utf-8"
        )

    # -- rounds

    def _answers(self, name: str, number: int, n_items: int) -> dict[str, Said]:
        """Return a strategy's answers in one round, cross-fitted; empty when it cannot run here."""
        judged = self.prepared.judged
        said: dict[str, Said] = {}
        for fold in range(FOLDS):
            mine = [judged.items[i] for i in range(n_items) if judged.folds[i] == fold]
            fit = frozenset(judged.items[i].id for i in range(n_items) if judged.folds[i] != fold)
            sources: Sources = learning_from(self.prepared.sources, self.place, fit)
            try:
                work = sources.workload(self.strategy(name))
                said |= self._arm(work, mine, f"{name}/r{number + 1}/f{fold + 1}", own=name)
            except ConfigError as error:
                if name == BASE:
                    raise
                self.found.failed[name] = error.message
                return {}
        return said

    def _judge(self, number: int, n_items: int, said: dict[str, dict[str, Said]], keep: int) -> list[str]:
        """Score a round, keep the best, store what happened; returns the survivors, best first."""
        plan = self.prepared.plan
        found = self._board(n_items, said)
        scored = found.scored()
        costs = {name: _mean_cost(one) for name, one in said.items()}
        ranks = {name: scored[name].value for name in said if name != BASE}
        kept = survivors(ranks, costs, keep)
        for name, one in said.items():
            result = RoundResult(
                round=number + 1,
                n_items=n_items,
                score=scored[name],
                n_failed=sum(answer.label is None for answer in one.values()),
                cost_per_1k_usd=None if costs[name] is None else 1000 * (costs[name] or 0.0),
                survived=name == BASE or name in kept,
            )
            self.found.rounds.setdefault(name, []).append(result)
            if number == 0:
                self._look(name, JUDGE)
        self.found.last, self.found.n_rounds = found, number + 1
        shown = ", ".join(f"{name} {scored[name].value:.3f}" for name in (BASE, *kept[:3]))
        reason = f"round {number + 1} of {len(plan.rungs)}, {n_items} items: {shown}"
        record(self.store, plan, "arm_finished", self.clock(), reason)
        return kept

    def _board(self, n_items: int, said: dict[str, dict[str, Said]]) -> Board:
        judged, schema = self.prepared.judged, self.prepared.folder.spec.labels
        items, gold = judged.items[:n_items], judged.labels[:n_items]
        labels = sorted({*gold, *(s.label for one in said.values() for s in one.values() if s.label)})
        codes = {label: code for code, label in enumerate(labels)}
        classes = schema.leaves
        rows = [
            [NO_ANSWER if (label := one[item.id].label) is None else codes[label] for item in items]
            for one in said.values()
        ]
        members = [[leaf in schema.members(label) for leaf in classes] for label in labels]
        return board(
            tuple(said),
            np.asarray([codes[label] for label in gold], dtype=np.int64),
            np.asarray(rows, dtype=np.int64),
            members=np.asarray(members, dtype=np.bool_),
            classes=classes,
            metric=self.prepared.metric,
            design=np.asarray(judged.weights[:n_items], dtype=np.float64),
            seed=self.prepared.plan.seed,
        )

    # -- arms, limits, looks

    def _arm(
        self, work: Workload, items: Sequence[Item], arm: str, own: str | None = None
    ) -> dict[str, Said]:
        """Return a strategy's answers to ``items``, run as an arm of the search unless they are stored."""
        plan, fp = self.prepared.plan, work.resolved.fingerprint
        known = answers(self.store, plan.search_id, arm, fp)
        if all(item.id in known for item in items):
            return known
        self._stop_at_limits()
        budget = self.prepared.request.budget_usd
        limit = None
        if budget is not None:  # the session takes off what this very arm has spent before
            limit = max(0.0, budget - spent(self.store, plan.search_id)[0])
            limit += spent(self.store, plan.search_id, arm)[0]
        session = open_arm(
            work, self.store, items, Arm(experiment_id=plan.search_id, name=arm), max_cost_usd=limit
        )
        done = run_arm(session, listen=self.listen, drive=self.drive)
        if done.stopped:
            if own not in (None, BASE) and self._is_its_own(own or "", done.stopped):
                raise ConfigError(done.stopped, hint=done.hint)
            raise _StoppedError(done.stopped, done.hint)
        return answers(self.store, plan.search_id, arm, fp)

    def _is_its_own(self, name: str, stopped: str) -> bool:
        """Return whether a stop concerns a model that only this candidate uses: the others can go on."""
        base = [spec.identity() for spec in self.prepared.base.models.values()]
        more = any(spec.identity() not in base for spec in self.strategy(name).models.values())
        return more and "max_cost_usd" not in stopped

    def _stop_at_limits(self) -> None:
        request, plan = self.prepared.request, self.prepared.plan
        if request.max_calls is None:
            return
        _, calls = spent(self.store, plan.search_id)
        if calls >= request.max_calls:
            raise _StoppedError(
                f"{calls} model calls are made, --max-calls is {request.max_calls}",
                "raise it: what is stored is not asked again",
            )

    def _look(self, name: str, split: str) -> None:
        """Store that a version was judged on a tuning split, once a search."""
        plan = self.prepared.plan
        work = self.deployed(name)
        reason = f"search {plan.search_id}"
        if not looked(self.store, plan.project, [work.resolved.fingerprint], split, reason):
            record_look(self.store, work, split, "tuning", self.clock(), reason=reason)


def run_search(
    store: TraceStore,
    prepared: Prepared,
    *,
    listen: Listen | None = None,
    drive: Drive | None = None,
    clock: Clock = lambda: datetime.now(UTC),
) -> SearchReport:
    """Run what is left of a search, write the files of its winners and finalists, and report it.

    Budget, call limit and a provider that is down stop it; the same request goes on. ``drive`` runs a session (default:
    in its own event loop). The confirmation on untouched gold is the caller's next step (``confirm.confirm``).
    ``ConfigError`` while another process works on the same search.
    """
    lock = RunLock(store.location.root / "runs" / f"{prepared.plan.search_id}.lock")
    if not lock.acquire():  # two would take each other's arms for candidates that cannot run
        raise ConfigError(
            f"process {lock.holder()} is at work on search {prepared.plan.search_id}",
            hint="wait for it: the same command then tells its result",
        )
    try:
        return _run_search(store, prepared, listen=listen, drive=drive, clock=clock)
    finally:
        lock.release()


def _run_search(
    store: TraceStore, prepared: Prepared, *, listen: Listen | None, drive: Drive | None, clock: Clock
) -> SearchReport:
    plan = prepared.plan
    record(store, plan, "planned", clock())
    record(store, plan, "started", clock())
    whole = prepared.sources.workload(prepared.base)
    store.append_many(gold_rows(store, plan.project, whole, clock()))  # runs here carry a part of it only
    with drafts(prepared.folder) as place:
        search = Search(store=store, prepared=prepared, place=place, listen=listen, drive=drive, clock=clock)
        stopped: _StoppedError | None = None
        try:
            search.run()
        except _StoppedError as stop:
            stopped = stop
            record(store, plan, "stopped", clock(), stop.reason)
        report = search_report(search, stopped.reason if stopped else None, stopped.hint if stopped else None)
    if stopped is None:
        named = ", ".join(report.by_id(one).name for one in report.winners)
        record(
            store, plan, "finished", clock(), f"winner: {named}" if named else "no candidate beat the base"
        )
    store.drain_all(timeout_s=30)
    return report


def _always_shown(work: Workload) -> set[str]:
    """Return the examples that a fixed retrieval shows with every item: they would be no test of the prompt."""
    labels = work.gold_labels.get(LEARN, {})
    bank = ExampleBank([Example(i.id, i.text, labels[i.id]) for i in work.gold_items(LEARN)], lambda _: None)
    return {
        example.item_id
        for step in work.strategy.steps
        if isinstance(step, RetrieveStep) and step.method == "fixed" and len(bank)
        for example in bank.fixed(step.k, step.seed)
    }


def _mean_cost(said: dict[str, Said]) -> float | None:
    costs = [one.cost_usd for one in said.values()]
    return None if any(cost is None for cost in costs) else fmean(cost or 0.0 for cost in costs)
