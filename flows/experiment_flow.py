"""Run an experiment: the plan first, each arm as a flow of its own, the comparison at the end."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prefect import flow, runtime

from agents.run.arms import ArmRun
from agents.run.drive import drive
from flows import label_flow
from flows.artifacts import add_tags, leave_experiment_artifacts, leave_plan_artifact
from flows.params import ArmParams, ExperimentParams
from flows.retries import HOUR_S
from labelproof.spec.errors import LabelproofError
from labelproof.spec.hashing import short

if TYPE_CHECKING:
    from labelproof.report.experiments.opening import Opened
    from labelproof.report.experiments.run import ExperimentResult, Todo
    from labelproof.store import TraceStore

_OPEN: dict[str, tuple[TraceStore, Opened]] = {}
"""Experiments of the flow runs in this process: only ids travel between flows."""
_LAST: list[ExperimentResult] = []


class ExperimentStoppedError(LabelproofError):
    """The experiment paused (budget, provider, a person); running it again goes on with it."""


class ArmStoppedError(LabelproofError):
    """An arm ended early; ``done`` says where it stands."""

    def __init__(self, done: ArmRun) -> None:
        super().__init__(f"{done.arm}: {done.stopped}", hint=done.hint)
        self.done = done


def last_result() -> ExperimentResult | None:
    """Return the result of the experiment that ended last in this process."""
    return _LAST[-1] if _LAST else None


def _params() -> dict[str, Any]:
    given = runtime.flow_run.parameters["params"]
    return dict(given if isinstance(given, dict) else given.model_dump())


def experiment_name() -> str:
    """Return the flow run's name: the project's folder and the arms."""
    given = _params()
    return "-".join(("experiment", Path(given["project"]).name, *given["arms"]))


def arm_name() -> str:
    """Return the sub-flow run's name."""
    given = _params()
    return f"experiment-arm-{given['arm']}" + ("-again" if given["repeat"] else "")


@flow(name="experiment-arm", flow_run_name=arm_name, persist_result=False)
async def experiment_arm(params: ArmParams) -> dict[str, Any]:
    """Run one arm of an experiment over its items; answers are stored beside decisions."""
    from labelproof.report.experiments.run import arm_run, note_arm, open_session, todos, withdrawn

    store, opened = _OPEN[params.experiment]
    since, flow_run_id = datetime.now(UTC), _flow_run_id()
    left = await asyncio.to_thread(todos, store, opened)
    todo: Todo = next(one for one in left if (one.arm, one.repeat) == (params.arm, params.repeat))
    session = await asyncio.to_thread(
        open_session, store, opened, todo, batch_size=params.batch_size, flow_run_id=flow_run_id
    )
    if label_flow.LISTENER is not None:
        session.listen(label_flow.LISTENER(session))
    label_flow._SESSIONS[session.run.run_id] = session
    try:
        await add_tags(
            f"project:{session.run.project}",
            f"experiment:{params.experiment}",
            f"strategy:{session.run.strategy}",
            f"fp:{short(session.run.strategy_fp)}",
        )
        summary = await drive(
            session,
            fit=label_flow.fit_task,
            label_batch=label_flow.label_task,
            hand_over=lambda: withdrawn(store, opened, since),
        )
    finally:
        del label_flow._SESSIONS[session.run.run_id]
    done = arm_run(session, summary)
    if done.stopped:
        raise ArmStoppedError(done)
    await asyncio.to_thread(note_arm, store, opened, todo, done, flow_run_id=flow_run_id)
    return dict(done.summary)


@flow(name="experiment", flow_run_name=experiment_name, persist_result=False, timeout_seconds=72 * HOUR_S)
async def experiment(params: ExperimentParams) -> dict[str, Any]:
    """Compare strategies on the same items by a rule that was written before the first call."""
    from labelproof.report.experiments import run, text
    from labelproof.report.experiments.state import arm_states
    from labelproof.store import default_store, open_store

    flow_run_id = _flow_run_id()
    with open_store(params.store or default_store()) as store:
        opened = await asyncio.to_thread(_open, store, params, flow_run_id)
        plan = opened.plan
        await add_tags(
            f"project:{plan.project}",
            f"experiment:{plan.experiment_id}",
            *(f"strategy:{arm.strategy}" for arm in plan.arms),
            *(f"fp:{short(arm.fp)}" for arm in plan.arms),
        )
        costs = await asyncio.to_thread(run.costs, store, opened)
        await leave_plan_artifact(plan.project, text.plan_markdown(plan, costs))
        _OPEN[plan.experiment_id] = (store, opened)
        try:
            result = await _run(store, opened, params.batch_size, flow_run_id)
        finally:
            del _OPEN[plan.experiment_id]
        _LAST[:] = [result]
        await _leave(result)
        states = await asyncio.to_thread(arm_states, store, plan)
    if result.stopped:
        raise ExperimentStoppedError(result.stopped, hint=result.hint)
    return text.result_json(result, states)


async def _run(
    store: TraceStore, opened: Opened, batch_size: int, flow_run_id: str | None
) -> ExperimentResult:
    from labelproof.report.experiments import run

    if opened.found == "finished":
        return await asyncio.to_thread(run.result, store, opened.plan)
    await asyncio.to_thread(run.begin, store, opened, datetime.now(UTC), flow_run_id=flow_run_id)
    for todo in await asyncio.to_thread(run.todos, store, opened):
        arm = ArmParams(
            experiment=opened.plan.experiment_id, arm=todo.arm, repeat=todo.repeat, batch_size=batch_size
        )
        try:
            await experiment_arm(arm)
        except ArmStoppedError as stopped:
            return await asyncio.to_thread(run.stop, store, opened, stopped.done, flow_run_id=flow_run_id)
    return await asyncio.to_thread(run.conclude, store, opened, flow_run_id=flow_run_id)


async def _leave(result: ExperimentResult) -> None:
    from labelproof.report.compare.markdown import markdown
    from labelproof.report.experiments.text import compare_url, result_markdown

    urls = {one.version: compare_url(result.plan, one) for one in result.outcomes}
    await leave_experiment_artifacts(
        result.plan.project,
        result_markdown(result),
        {report.b.ref: markdown(report) for report in result.reports},
        {version: url for version, url in urls.items() if url},
    )


def _open(store: TraceStore, params: ExperimentParams, flow_run_id: str | None) -> Opened:
    from labelproof.report.experiments.opening import (
        ExperimentRequest,
        open_experiment,
        parse_items,
        reopen_experiment,
    )

    if params.experiment is not None:
        return reopen_experiment(
            store, params.experiment, project=params.project, budget_usd=params.budget_usd
        )
    request = ExperimentRequest(
        project=params.project,
        arms=tuple(params.arms),
        split=params.split,
        items=parse_items(params.items),
        budget_usd=params.budget_usd,
        name=params.name,
        primary=params.primary,
        goal=params.goal,
        again=params.again,
    )
    return open_experiment(store, request, now=datetime.now(UTC), flow_run_id=flow_run_id)


def _flow_run_id() -> str | None:
    return str(runtime.flow_run.id) if runtime.flow_run.id else None
