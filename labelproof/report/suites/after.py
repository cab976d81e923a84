"""What follows from suites that were run: do the guardrails hold, and who has to see to it if not."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from agents.rehydrate import workload_of
from agents.run.workload import Workload
from labelproof.report.experiments.text import plain
from labelproof.report.suites.latest import SuiteGuardrail, reference_version, suite_guardrails
from labelproof.report.suites.run import SuiteResult
from labelproof.report.suites.text import guardrail_line, sentence
from labelproof.store import TraceStore


def guardrails_of(store: TraceStore, work: Workload, suites: Sequence[str]) -> list[SuiteGuardrail]:
    """Return the guardrails on these suites, the version held against the strategy in use."""
    folder = work.folder
    policy = folder.spec.experiments
    if not any(guardrail.metric.startswith("suite:") for guardrail in policy.guardrails):
        return []
    name = folder.spec.default_strategy
    in_use = workload_of(store, str(folder.folder), name).resolved.fingerprint
    fp = work.resolved.fingerprint
    reference = reference_version(store, folder.name, champion=(name, in_use), strategy_fp=fp)
    return suite_guardrails(store, folder.name, policy, fp, reference, suites=suites)


def open_findings(
    store: TraceStore,
    work: Workload,
    results: Sequence[SuiteResult],
    guardrails: Sequence[SuiteGuardrail],
    *,
    now: datetime,
) -> list[str]:
    """Open a finding for each broken guardrail, and return their ids."""
    from labelproof.report.findings.hooks import open_from_suite

    found: list[str] = []
    for result in results:
        mine = [
            rail
            for rail in guardrails
            if rail.metric.removeprefix("suite:").partition("/")[0] == result.suite
        ]
        found += open_from_suite(
            store,
            work.folder,
            mine,
            strategy=work.strategy.name,
            suite_run_id=result.suite_run_id,
            now=now,
        )
    return found


def markdown(
    results: Sequence[SuiteResult], guardrails: Sequence[SuiteGuardrail], findings: Sequence[str]
) -> str:
    """Return the outcome as Markdown: a line for each suite and guardrail, and how to see the cases."""
    lines = [f"- **{plain(one.suite)}**: {plain(sentence(one))}" for one in results]
    lines += [f"- {plain(guardrail_line(one))}" for one in guardrails]
    lines += [f"- finding: `labelproof findings show {one}`" for one in findings]
    shown = [f"labelproof suite show {one.suite_run_id} --failed" for one in results]
    return "\n".join([*lines, "", "The failed cases:", "", *(f"    {one}" for one in shown)])
