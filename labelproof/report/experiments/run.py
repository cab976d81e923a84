"""An experiment from request to result: planned or found again, its arms run, every candidate compared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from agents.run.arms import ArmRun, open_arm
from agents.run.drive import Drive, Listen, run_plain
from agents.run.plan import Plan as RunPlan
from agents.run.plan import plan_run
from agents.run.rows import Arm
from agents.run.session import LabelRequest, LabelSession
from labelproof.report.compare.model import CompareReport
from labelproof.report.experiments.opening import Opened
from labelproof.report.experiments.plan import (
    Plan,
    load_plan,
    rerun_items,
)
from labelproof.report.experiments.state import (
    Outcome,
    Standing,
    arm_states,
    exit_code,
    outcomes,
    record,
    spent_by_run,
    standing,
)
from labelproof.spec.errors import ConfigError
from labelproof.spec.experiment import ExperimentPolicy
from labelproof.spec.items import Item
from labelproof.spec.project import ProjectFolder
from labelproof.store import TraceStore

WITHDRAWN = "stopped by a person"


@dataclass(frozen=True, slots=True, kw_only=True)
class Todo:
    """One run of an experiment: an arm over all items, or (``repeat`` 1) the first arm asked again on some."""

    arm: str
    repeat: int
    n_items: int

    @property
    def title(self) -> str:
        return f"{self.arm} again" if self.repeat else self.arm


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmCost:
    """What one run of the experiment would take; what arms share is counted for each of them."""

    todo: Todo
    plan: RunPlan


@dataclass(frozen=True, slots=True, kw_only=True)
class ExperimentResult:
    """Where an experiment stands after this process. ``stopped``: why it is not complete (it resumes), else None.

    ``reports``: the comparisons just made; empty when it was finished before: ``outcomes`` has their gist.
    """

    plan: Plan
    standing: Standing
    outcomes: tuple[Outcome, ...]
    reports: tuple[CompareReport, ...]
    spent_usd: float
    stopped: str | None = None
    hint: str | None = None

    @property
    def exit_code(self) -> int:
        """0: a candidate ships; 1: every candidate is a regression; 2: anything else."""
        return 2 if self.stopped else exit_code(self.outcomes, self.plan)


def costs(store: TraceStore, opened: Opened) -> list[ArmCost]:
    """Return calls, tokens and dollars of every run that is still to do; what is stored costs nothing."""
    found = []
    for todo in todos(store, opened):
        one = opened.work(todo.arm)
        work = replace(one.work, items=_items(opened, todo))
        request = LabelRequest(project=opened.plan.project, strategy=one.arm.strategy, repeat=todo.repeat)
        found.append(ArmCost(todo=todo, plan=plan_run(request, work, store)))
    return found


def todos(store: TraceStore, opened: Opened) -> list[Todo]:
    """Return the runs that have not ended yet, in their order; empty when only the comparison is left."""
    return [
        Todo(arm=state.arm, repeat=state.repeat, n_items=state.n_wanted)
        for state in arm_states(store, opened.plan)
        if not state.finished
    ]


def open_session(
    store: TraceStore, opened: Opened, todo: Todo, *, batch_size: int = 200, flow_run_id: str | None = None
) -> LabelSession:
    """Return the session of one run of the experiment, with what is left of the budget.

    Steps stored by whomever are reused. ``ConfigError`` while another process works on it.
    """
    spent = spent_by_run(store, opened.plan)
    left = None
    if opened.budget_usd is not None:
        others = sum(usd for at, usd in spent.items() if at != (todo.arm, todo.repeat))
        left = max(0.0, opened.budget_usd - others)
    return open_arm(
        opened.work(todo.arm).work,
        store,
        _items(opened, todo),
        Arm(experiment_id=opened.plan.experiment_id, name=todo.arm),
        repeat=todo.repeat,
        max_cost_usd=left,
        batch_size=batch_size,
        flow_run_id=flow_run_id,
    )


def withdrawn(store: TraceStore, opened: Opened, since: datetime) -> bool:
    """Return whether a person has stopped the experiment after ``since``."""
    now = standing(store, opened.plan)
    return now.state == "withdrawn" and now.changed_at >= since


def arm_run(session: LabelSession, summary: Mapping[str, Any] | None) -> ArmRun:
    """Return what became of an arm's session; ``summary`` is None when it was told to leave off."""
    assert session.run.arm is not None
    told = summary if summary is not None else {**session.summary(), "stopped": WITHDRAWN}
    return ArmRun(
        arm=session.run.arm.name,
        run_id=session.run.run_id,
        strategy_fp=session.run.strategy_fp,
        stopped=told.get("stopped"),
        hint=told.get("hint"),
        summary=told,
    )


def run_experiment(
    store: TraceStore,
    opened: Opened,
    *,
    listen: Listen | None = None,
    drive: Drive | None = None,
    batch_size: int = 200,
    seed: int = 0,
) -> ExperimentResult:
    """Run what is left of an experiment, one arm after the other, and compare at the end.

    A finished one is only told again. When an arm stops (budget, provider, a person), so does the experiment: what is
    done is stored, and the same request goes on. ``drive`` runs a session (default: in its own event loop).
    """
    if opened.found == "finished":
        return result(store, opened.plan)
    since = datetime.now(UTC)
    begin(store, opened, since)
    for todo in todos(store, opened):
        session = open_session(store, opened, todo, batch_size=batch_size)
        if listen is not None:
            session.listen(listen(session))
        hand_over = _leave_off(store, opened, since)
        done = arm_run(session, drive(session) if drive else run_plain(session, hand_over=hand_over))
        if done.stopped:
            return stop(store, opened, done)
        note_arm(store, opened, todo, done)
    return conclude(store, opened, seed=seed)


def begin(store: TraceStore, opened: Opened, now: datetime, *, flow_run_id: str | None = None) -> None:
    """Store that the first call may be made from now on."""
    reason = "resumed" if opened.found == "unfinished" else None
    record(store, opened.plan, "started", now, reason=reason, flow_run_id=flow_run_id)


def note_arm(
    store: TraceStore, opened: Opened, todo: Todo, done: ArmRun, *, flow_run_id: str | None = None
) -> None:
    """Store that one arm has answered everything."""
    reason = f"{todo.title}: run {done.run_id}"
    record(store, opened.plan, "arm_finished", datetime.now(UTC), reason=reason, flow_run_id=flow_run_id)


def stop(
    store: TraceStore, opened: Opened, done: ArmRun, *, flow_run_id: str | None = None
) -> ExperimentResult:
    """Store why the experiment pauses and return where it stands; nothing was compared, so nothing was peeked at."""
    reason = done.stopped or ""
    if reason != WITHDRAWN:  # the person's own event is there already
        told = f"{done.arm}: {reason}"
        record(store, opened.plan, "stopped", datetime.now(UTC), reason=told, flow_run_id=flow_run_id)
    hint = done.hint
    if opened.budget_usd is not None and "max_cost_usd" in reason:
        hint = f"all arms together may spend ${opened.budget_usd:g}: give a larger --budget and run again; nothing is paid twice"
    return result(store, opened.plan, stopped=reason, hint=hint)


def conclude(
    store: TraceStore, opened: Opened, *, seed: int = 0, flow_run_id: str | None = None
) -> ExperimentResult:
    """Compare every candidate with the control by the plan's rule, store it, and end the experiment."""
    from labelproof.report.compare.build import record as record_comparison
    from labelproof.report.compare.replayed import with_shares

    found = compare_all(store, opened, now=datetime.now(UTC), seed=seed)
    reports = [with_shares(store, opened.folder, report) for report in found]
    for report in reports:
        record_comparison(store, report)
    verdicts = ", ".join(f"{r.b.name}: {r.verdict}" for r in reports)
    record(store, opened.plan, "finished", datetime.now(UTC), reason=verdicts, flow_run_id=flow_run_id)
    return result(store, opened.plan, reports=reports)


def compare_all(store: TraceStore, opened: Opened, *, now: datetime, seed: int = 0) -> list[CompareReport]:
    """Return the comparison of each candidate with the control, p-values corrected over the candidates (Holm)."""
    plan = opened.plan

    def one(version: str, family: Sequence[float]) -> CompareReport:
        return _compared(store, opened.folder, plan, (plan.control, version), family, now=now, seed=seed)

    alone = [one(arm.name, ()) for arm in plan.candidates]
    if len(alone) == 1:
        return alone
    found = [_p_primary(report, plan.policy) for report in alone]
    return [
        one(arm.name, [p for other, p in enumerate(found) if other != at and p is not None])
        for at, arm in enumerate(plan.candidates)
    ]


def compare_one(
    store: TraceStore,
    folder: ProjectFolder,
    plan: Plan,
    a: str,
    b: str,
    *,
    repeat: int = 0,
    now: datetime,
    seed: int = 0,
) -> CompareReport:
    """Return the comparison of one candidate with the control, as ``compare_all`` has it: corrected over all candidates.

    With the control as ``b`` (an A/A comparison) there is nothing to correct for.
    """
    versions = (a, b)
    alone = _compared(store, folder, plan, versions, (), repeat=repeat, now=now, seed=seed)
    others = [arm.name for arm in plan.candidates if arm.fp != alone.b.fp]
    if alone.b.fp == plan.arms[0].fp or not others:
        return alone
    found = [
        _p_primary(_compared(store, folder, plan, (plan.control, name), (), now=now, seed=seed), plan.policy)
        for name in others
    ]
    family = [p for p in found if p is not None]
    return _compared(store, folder, plan, versions, family, repeat=repeat, now=now, seed=seed)


def _compared(
    store: TraceStore,
    folder: ProjectFolder,
    plan: Plan,
    versions: tuple[str, str],
    family: Sequence[float],
    *,
    repeat: int = 0,
    now: datetime,
    seed: int,
) -> CompareReport:
    from labelproof.report.compare.build import compare

    return compare(
        store,
        folder,
        *versions,
        split=plan.split,
        gold_fp=plan.gold_fp,
        plan=plan,
        p_family=family,
        repeat=repeat,
        now=now,
        seed=seed,
    )


def result(
    store: TraceStore,
    plan: Plan,
    *,
    reports: Sequence[CompareReport] = (),
    stopped: str | None = None,
    hint: str | None = None,
) -> ExperimentResult:
    """Return where an experiment stands; outcomes only once it has ended (no peeking)."""
    at = standing(store, plan)
    return ExperimentResult(
        plan=plan,
        standing=at,
        outcomes=tuple(outcomes(store, plan)) if at.state == "finished" else (),
        reports=tuple(reports),
        spent_usd=sum(spent_by_run(store, plan).values()),
        stopped=stopped,
        hint=hint,
    )


def withdraw(store: TraceStore, experiment_id: str, *, actor: str, why: str, now: datetime) -> Standing:
    """Stop an experiment for good: a running one leaves off after its batch; only ``resume`` goes on with it."""
    plan = load_plan(store, experiment_id)
    if standing(store, plan).state == "finished":
        raise ConfigError(f"experiment {plan.experiment_id} has ended: nothing is left to stop")
    record(store, plan, "stopped", now, reason=why, actor=actor)
    return standing(store, plan)


def _leave_off(store: TraceStore, opened: Opened, since: datetime) -> Any:
    return lambda: withdrawn(store, opened, since)


def _p_primary(report: CompareReport, policy: ExperimentPolicy) -> float | None:
    primary = next((row.difference for row in report.rows if row.role == "primary"), None)
    if primary is None:
        return None
    return primary.p_value if policy.goal == "better" else primary.p_not_worse


def _items(opened: Opened, todo: Todo) -> Sequence[Item]:
    return rerun_items(opened.plan, opened.items) if todo.repeat else opened.items
