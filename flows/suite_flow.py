"""Run suites of behavioural tests against one strategy; a broken guardrail opens a finding."""

from __future__ import annotations

import asyncio
from typing import Any

from prefect import flow, task

from flows.artifacts import leave_suite_artifact, run_name, tag_flow_run
from flows.params import SuiteParams
from flows.retries import HOUR_S, retried_if_it_may_pass
from labelproof.spec.hashing import short


@task(task_run_name="suite {params.suite}")
def suite_task(params: SuiteParams) -> dict[str, Any]:
    """Run and judge the suites; returns what the artifact says."""
    from datetime import UTC, datetime

    from agents.rehydrate import workload_of
    from labelproof.report.suites.after import guardrails_of, markdown, open_findings
    from labelproof.report.suites.cases import build_suite, chosen_sources
    from labelproof.report.suites.run import run_suites
    from labelproof.spec.project import find_project
    from labelproof.store import default_store, open_store

    folder = find_project(params.project)
    now = datetime.now(UTC)
    with open_store(params.store or default_store()) as store:
        work = workload_of(store, params.project, params.strategy)
        suites = [
            build_suite(source, work, n=params.n, seed=params.seed)
            for source in chosen_sources(folder, params.suite)
        ]
        results = run_suites(store, work, suites, now=now, seed=params.seed, max_cost_usd=params.max_cost_usd)
        guardrails = guardrails_of(store, work, [one.name for one in suites])
        findings = open_findings(store, work, results, guardrails, now=now)
    broken = [one.metric for one in guardrails if one.state == "broken"]
    return {
        "project": folder.name,
        "strategy": work.strategy.name,
        "strategy_fp": work.resolved.fingerprint,
        "suites": [one.to_json() for one in results],
        "broken_guardrails": broken,
        "findings": findings,
        "headline": f"broken: {', '.join(broken)}" if broken else "No guardrail on a suite is broken",
        "markdown": markdown(results, guardrails, findings),
    }


@flow(name="suite", flow_run_name=run_name, persist_result=False, timeout_seconds=6 * HOUR_S)
async def suite(params: SuiteParams) -> dict[str, Any]:
    """Test how a strategy behaves; a broken guardrail is a finding, not a failed run."""
    async with retried_if_it_may_pass():
        done = await asyncio.to_thread(suite_task, params)
    await tag_flow_run(
        project=done["project"], strategy=done["strategy"], fingerprint=short(done["strategy_fp"])
    )
    await leave_suite_artifact(done["project"], done["strategy"], done["markdown"], done["headline"])
    return {name: value for name, value in done.items() if name != "markdown"}
