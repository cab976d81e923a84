"""Certify a strategy on gold and leave the table and the plot as artifacts."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from prefect import flow, task

from flows.artifacts import leave_certify_artifacts, run_name, tag_flow_run
from flows.params import CertifyParams
from flows.retries import HOUR_S, retried_if_it_may_pass
from labelproof.spec.hashing import short


@task(task_run_name="certify {params.strategy}")
def certify_task(params: CertifyParams) -> dict[str, Any]:
    """Judge the strategy on gold, issue a certificate if one is earned; returns the report as JSON values."""
    from datetime import UTC, datetime

    from agents.run.workload import load_workload
    from labelproof.report.certification import CertifyRequest, certify_strategy
    from labelproof.report.certify_report import plot_folder, write_plots
    from labelproof.store import default_store, open_store

    work = load_workload(params.project, params.strategy)
    request = CertifyRequest(
        alpha=params.alpha,
        delta=params.delta,
        per_class=params.per_class or None,
        pool=params.pool,
        finite_pool=params.finite_pool,
        valid_days=params.valid_days,
        max_cost_usd=params.max_cost_usd,
    )
    with open_store(params.store or default_store()) as store:
        report = certify_strategy(store, work, request, now=datetime.now(UTC))
        plots = write_plots(report, plot_folder(store.location.root, report))
    return {**report.to_json(), "markdown": report.markdown(), "plots": [str(path) for path in plots]}


@flow(name="certify", flow_run_name=run_name, persist_result=False, timeout_seconds=6 * HOUR_S)
async def certify(params: CertifyParams) -> dict[str, Any]:
    """Prove above which confidence a strategy may decide alone, or say why nothing can be proven yet."""
    async with retried_if_it_may_pass():
        report = await asyncio.to_thread(certify_task, params)
    await tag_flow_run(
        project=report["project"], strategy=report["strategy"], fingerprint=short(report["strategy_fp"])
    )
    pictures = [Path(path) for path in report["plots"] if path.endswith(".png")]
    await leave_certify_artifacts(report, pictures)
    return {key: value for key, value in report.items() if key != "markdown"}
