"""Measure a project's targets, drift and sentinel set; raise, escalate and end alarms."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from prefect import flow, get_run_logger, runtime, task

from flows.artifacts import add_tags, leave_monitor_artifact, project_run_name
from flows.events import emit
from flows.params import MonitorParams
from flows.retries import HOUR_S, retried_if_it_may_pass

if TYPE_CHECKING:
    from labelproof.report.monitor.run import MonitorReport
    from labelproof.spec.project import ProjectFolder


@task(task_run_name="monitor {params.project}")
def monitor_task(params: MonitorParams, flow_run_id: str | None) -> tuple[ProjectFolder, MonitorReport]:
    """Make one pass and store it."""
    from datetime import UTC, datetime

    from labelproof.report.monitor.run import monitor as run_monitor
    from labelproof.spec.project import find_project
    from labelproof.store import default_store, open_store

    folder = find_project(params.project)
    now = params.now or datetime.now(UTC)
    with open_store(params.store or default_store()) as store:
        store.drain_all(10.0)
        return folder, run_monitor(store, folder, now=now, flow_run_id=flow_run_id)


@flow(name="monitor", flow_run_name=project_run_name, persist_result=False, timeout_seconds=HOUR_S)
async def monitor(params: MonitorParams) -> dict[str, Any]:
    """Say of each promise whether it holds, and tell whoever must know; the run itself fails only when it cannot."""
    flow_run_id = str(runtime.flow_run.id) if runtime.flow_run.id else None
    async with retried_if_it_may_pass():
        folder, report = await asyncio.to_thread(monitor_task, params, flow_run_id)
    await add_tags(f"project:{folder.name}")
    await tell(folder, report)
    if flow_run_id is not None:
        await asyncio.to_thread(_note_told, params, report, flow_run_id)
    return report.to_json()


def _note_told(params: MonitorParams, report: MonitorReport, flow_run_id: str) -> None:
    from labelproof.report.monitor.run import note_told
    from labelproof.store import default_store, open_store

    with open_store(params.store or default_store()) as store:
        note_told(store, report, flow_run_id)


async def tell(folder: ProjectFolder, report: MonitorReport) -> None:
    """Send the events, log each line, leave the table: what people wait for first."""
    from labelproof.report.monitor.text import lines_of, markdown, summary

    emit(report.to_send)
    log = get_run_logger()
    for line in lines_of(report):
        log.warning("%s", line)
    await leave_monitor_artifact(folder.name, markdown(folder, report), summary(report))
