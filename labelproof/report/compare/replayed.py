"""Shares of a comparison's difference, computed on the spot when that asks no model and takes a moment."""

from __future__ import annotations

from dataclasses import replace

from agents.rehydrate import workload_of
from labelproof.report.compare.model import CompareReport
from labelproof.report.compare.why import sums_to
from labelproof.report.explain import evidence_of, explain, plan_explanation, planned_why
from labelproof.spec.errors import ConfigError, LabelproofError
from labelproof.spec.hashing import PREFIX
from labelproof.spec.metrics import parse_metric
from labelproof.spec.project import ProjectFolder
from labelproof.store import TraceStore

MOST_COMPONENTS = 4
MOST_ANSWERS = 10_000
"""Items times mixtures that are replayed unasked."""
_DIVISIBLE = frozenset({"auto_accept_rate", "failed_rate"})


def with_shares(
    store: TraceStore, folder: ProjectFolder, report: CompareReport, *, seed: int = 0
) -> CompareReport:
    """Return the report with the shares of its primary difference, or with what they would take.

    Mixtures are replayed when there are few of them and every model answer they need is stored. Shares that do not sum
    to the report's own difference (its answers are of other days than the replay's) are not shown.
    """
    metric = parse_metric(report.why.metric)
    if report.why.shares or report.gold_fp is None or not (metric.needs_gold or metric.name in _DIVISIBLE):
        return report
    refs = [f"{side.name}@{side.fp.removeprefix(PREFIX)}" for side in (report.a, report.b)]
    command = report.why.reason or ""
    try:
        work_a, work_b = (workload_of(store, str(folder.folder), ref) for ref in refs)
        evidence = evidence_of(work_a, work_b, report.split, cluster=folder.spec.experiments.cluster)
        if evidence.gold_fp != report.gold_fp or len(evidence.items) != report.n_items:
            return report
        plan = plan_explanation(store, work_a, work_b, evidence.items)
        n_answers = len(plan.hybrids) * len(evidence.items)
        if plan.n_new_calls or len(plan.components) > MOST_COMPONENTS or n_answers > MOST_ANSWERS:
            told = planned_why(plan, metric.text, f"labelproof explain {report.a.ref} {report.b.ref}")
            return replace(report, why=replace(told, reason=told.reason or command))
        found = explain(
            store,
            work_a,
            work_b,
            evidence.items,
            evidence.labels,
            metric=metric,
            now=report.at,
            split=report.split,
            gold_fp=evidence.gold_fp,
            weight=evidence.weight,
            cluster=evidence.cluster,
            seed=seed,
        )
    except ConfigError as error:
        return _told(report, error)
    why = found.why()
    if not why.shares or not sums_to(why.shares, report.rows[0].difference.delta):
        return replace(
            report,
            why=replace(
                report.why,
                reason="replaying the mixtures gives another difference than the stored answers show; "
                f"{command or 'labelproof explain tells it'}",
            ),
        )
    return replace(report, why=why)


def _told(report: CompareReport, error: LabelproofError) -> CompareReport:
    """A version that cannot be rebuilt has no shares; everything else of the comparison stands."""
    return replace(report, why=replace(report.why, reason=f"not to be told: {error.message}"))
