"""Score a strategy's stored decisions on a gold split."""

from __future__ import annotations

import asyncio
from typing import Any

from prefect import flow, task

from flows.artifacts import leave_score_artifacts, run_name, tag_flow_run
from flows.params import ScoreParams
from flows.retries import HOUR_S, retried_if_it_may_pass


@task(task_run_name="score {params.split}")
def score_task(params: ScoreParams) -> dict[str, Any]:
    """Compute and store the scores; returns them as JSON values."""
    from labelproof.report.scoring import score_project

    return score_project(
        params.project, params.strategy, split=params.split, store_url=params.store
    ).to_json()


@flow(name="score", flow_run_name=run_name, persist_result=False, timeout_seconds=HOUR_S)
async def score(params: ScoreParams) -> dict[str, Any]:
    """Score a strategy on gold and leave the table as an artifact."""
    async with retried_if_it_may_pass():
        report = await asyncio.to_thread(score_task, params)
    await tag_flow_run(
        project=report["project"], strategy=report["strategy"], fingerprint=report["strategy_short"]
    )
    await leave_score_artifacts(report)
    return report
