"""Label a project's items, a batch a task; per-item truth lives in the trace store."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from prefect import flow, get_run_logger, runtime, task

from agents.run.drive import drive
from agents.run.rows import TASK_RUN
from agents.run.session import LabelRequest, LabelSession
from flows.artifacts import leave_label_artifacts, run_name, tag_flow_run
from flows.params import LabelParams
from flows.retries import HOUR_S, retried_if_it_may_pass
from labelproof.spec.errors import LabelproofError
from labelproof.spec.hashing import short

if TYPE_CHECKING:
    from labelproof.report.monitor.run import AfterRun
    from labelproof.report.run_report import RunReport

_SESSIONS: dict[str, LabelSession] = {}
"""Sessions of the flow runs in this process: only ids travel between tasks."""
LISTENER: Callable[[LabelSession], Callable[[], None]] | None = None
"""Set by the command line to draw its progress bar."""


_LAST: list[RunReport] = []
_WATCHED: list[AfterRun] = []


def last_report() -> RunReport | None:
    """Return the report of the flow run that ended last in this process."""
    return _LAST[-1] if _LAST else None


def last_watch() -> AfterRun | None:
    """Return what watching gave after the flow run that ended last in this process; None where nothing is watched."""
    return _WATCHED[-1] if _WATCHED else None


class RunStoppedError(LabelproofError):
    """The run ended early (provider down, budget reached); running it again goes on with it.

    ``may_pass``: whether that can help without anybody changing anything.
    """

    def __init__(self, message: str, *, hint: str | None = None, may_pass: bool = True) -> None:
        super().__init__(message, hint=hint)
        self.may_pass = may_pass


@task(task_run_name="fit calibrators")
async def fit_task(run_id: str) -> list[dict[str, Any]]:
    """Label the calibration split and fit; returns each calibrator's headline."""
    _link_rows()
    return [fitted.headline() for fitted in await _SESSIONS[run_id].fit()]


@task(task_run_name="label batch {index}")
async def label_task(run_id: str, index: int) -> Mapping[str, int]:
    """Label one batch; returns how many items got each decision."""
    _link_rows()
    return await _SESSIONS[run_id].label_batch(index)


@flow(name="label", flow_run_name=run_name, persist_result=False, timeout_seconds=24 * HOUR_S)
async def label(params: LabelParams) -> dict[str, Any]:
    """Label the items of a project with one strategy, and score them on gold if there is some."""
    async with retried_if_it_may_pass():
        return await _label(params)


async def _label(params: LabelParams) -> dict[str, Any]:
    from labelproof.report.rollouts.production import open_production, run_production
    from labelproof.report.run_report import run_report

    request = LabelRequest(**params.model_dump(exclude={"rollout"}))
    flow_run_id = str(runtime.flow_run.id) if runtime.flow_run.id else None
    production = await asyncio.to_thread(
        open_production, request, follow=params.rollout, flow_run_id=flow_run_id
    )
    session = production.champion
    await tag_flow_run(
        project=session.run.project,
        strategy=session.run.strategy,
        fingerprint=short(session.run.strategy_fp),
    )
    summary = await run_production(production, _run_one)
    assert summary is not None  # nothing to hand over to: this is the flow
    report = await asyncio.to_thread(run_report, session.store, session.work, summary)
    _LAST[:] = [report]
    await leave_label_artifacts(report)
    await _watch(session, flow_run_id)
    if summary.get("stopped"):
        outage = summary.get("stopped_by") == "outage"
        raise RunStoppedError(str(summary["stopped"]), hint=summary.get("hint"), may_pass=outage)
    return report.to_json()


async def _run_one(session: LabelSession) -> dict[str, Any] | None:
    """Run one side, its batches as tasks of this flow run."""
    if LISTENER is not None:
        session.listen(LISTENER(session))
    _SESSIONS[session.run.run_id] = session
    try:
        return await drive(session, fit=fit_task, label_batch=label_task)
    finally:
        del _SESSIONS[session.run.run_id]


async def _watch(session: LabelSession, flow_run_id: str | None) -> None:
    """Measure the project's targets on the work that is done; what goes wrong here is said, and fails no run."""
    from datetime import UTC, datetime

    from flows.monitor_flow import tell
    from labelproof.report.monitor.run import monitor_after_run, note_told

    folder = session.work.folder
    watched = await asyncio.to_thread(
        monitor_after_run,
        session.store,
        folder,
        now=datetime.now(UTC),
        run_id=session.run.run_id,
        flow_run_id=flow_run_id,
    )
    _WATCHED[:] = [] if watched is None else [watched]
    if watched is not None and watched.report is not None:
        await tell(folder, watched.report)
        if flow_run_id is not None:
            await asyncio.to_thread(note_told, session.store, watched.report, flow_run_id)
    elif watched is not None:
        get_run_logger().warning("%s", watched.problem)


def _link_rows() -> None:
    """Let the rows written by this task carry its task run id."""
    TASK_RUN.set(str(runtime.task_run.id) if runtime.task_run.id else None)
