"""The rows of a comparison and its verdict: every metric tested by its role in the policy."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from evaluation.multiple_testing import holm
from evaluation.paired import NO_ANSWER, PairedAnswers, PairedDifference
from evaluation.paired_tests import cost_ratio, paired_difference
from evaluation.verdict import Decision, decide
from labelproof.report.compare.model import MetricRow, Role
from labelproof.report.compare.pairs import Pairs
from labelproof.report.compare.queries import Question, metric_sql, quoted
from labelproof.spec.experiment import ExperimentPolicy
from labelproof.spec.labels import LabelSchema
from labelproof.spec.metrics import MetricRef, parse_metric
from labelproof.store import TraceStore

if TYPE_CHECKING:
    from labelproof.report.suites.latest import PairedCases

INFO = ("auto_accept_rate", "failed_rate", "cost_per_1k_usd", "latency_ms")
SuiteCases = Callable[[str], "PairedCases | None"]
"""Name of a suite (`/functionality` behind it) → the cases both versions answered, None without any."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """The rows in the order they are shown, and the verdict on them."""

    rows: tuple[MetricRow, ...]
    decision: Decision
    p_primary: float | None
    """Of the primary metric's test, before it is corrected for other arms: what those need in turn."""


def judge_rows(
    pairs: Pairs,
    policy: ExperimentPolicy,
    question: Question,
    schema: LabelSchema,
    *,
    suites: SuiteCases,
    p_family: Sequence[float] = (),
    seed: int = 0,
) -> Judged:
    """Return every metric of ``policy`` with its test, and what the rule says of them.

    ``p_family``: the primary p-values of the experiment's other arms against the same control (Holm 1979).
    """
    ask = _Asker(pairs=pairs, question=question, schema=schema, suites=suites, alpha=policy.alpha, seed=seed)
    main = ask.row("primary", policy.primary, policy.margin if policy.goal == "not_worse" else None)
    p_raw = main.difference.p_value if policy.goal == "better" else main.difference.p_not_worse
    p_main = None if p_raw is None else float(holm([p_raw, *p_family])[0])
    main = replace(main, p_holm=p_main)
    guards = [ask.row("guardrail", one.metric, one.margin) for one in policy.guardrails]
    decision = decide(
        _corrected(main.difference, p_main, policy),
        [(guard.difference, guard.lower_is_better) for guard in guards],
        goal=policy.goal,
        alpha=policy.alpha,
        p_primary=p_main if policy.goal == "better" else main.difference.p_value,
        cost_ratio=_cost_ratio(pairs.answers, policy),
        max_cost_ratio=policy.max_cost_ratio,
    )
    # Each guardrail must hold by itself (Berger 1982): its own p-value needs no correction.
    guards = [
        replace(guard, p_holm=guard.difference.p_not_worse, holds=held)
        for guard, held in zip(guards, decision.holds, strict=True)
    ]
    shown = {policy.primary, *(one.metric for one in policy.guardrails)}
    names = [name for name in dict.fromkeys(policy.secondary) if name not in shown]
    seconds = [ask.row("secondary", name) for name in names]
    corrected = holm([row.difference.p_value for row in seconds]) if seconds else np.zeros(0)
    seconds = [
        replace(row, p_holm=None if math.isnan(p) else float(p))
        for row, p in zip(seconds, corrected, strict=True)
    ]
    infos = [ask.row("info", name) for name in INFO if name not in shown | set(names)]
    return Judged(rows=(main, *guards, *seconds, *infos), decision=decision, p_primary=p_raw)


def _corrected(difference: PairedDifference, p: float | None, policy: ExperimentPolicy) -> PairedDifference:
    """With goal not_worse the rule reads the difference's own p-value: hand it the corrected one."""
    return difference if policy.goal == "better" else replace(difference, p_not_worse=p)


def _cost_ratio(
    answers: PairedAnswers, policy: ExperimentPolicy
) -> tuple[float | None, float, float | None] | None:
    if policy.max_cost_ratio is None:
        return None
    return cost_ratio(answers, 1 - policy.alpha)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asker:
    """Tests one metric after the other on the same pairs."""

    pairs: Pairs
    question: Question
    schema: LabelSchema
    suites: SuiteCases
    alpha: float
    seed: int

    def row(self, role: Role, name: str, margin: float | None = None) -> MetricRow:
        metric = parse_metric(name)
        if metric.name == "suite":
            difference = _suite_difference(self.suites, metric, margin, 1 - self.alpha)
            sql = suite_sql(self.question, metric)
        else:
            difference = paired_difference(
                self.pairs.of(metric), metric, confidence=1 - self.alpha, margin=margin, seed=self.seed
            )
            sql = metric_sql(self.question, metric, self.schema)
        return MetricRow(role=role, difference=difference, lower_is_better=metric.lower_is_better, sql=sql)


def _suite_difference(
    suites: SuiteCases, metric: MetricRef, margin: float | None, confidence: float
) -> PairedDifference:
    """Failure rates on the suite's cases that both versions ran, paired by case."""
    assert metric.of is not None
    found = suites(metric.of)
    if found is None or not len(found.failed_a):
        return PairedDifference(
            metric=metric.text, value_a=None, value_b=None, delta=None, low=None, high=None, p_value=None, n=0,
            method="not-measurable", confidence=confidence, margin=margin,
            reason=f"the suite {metric.of!r} was not run on both versions: labelproof suite run",
        )  # fmt: skip
    failed_a, failed_b = found.failed_a, found.failed_b
    bases, cluster = np.unique(np.array(found.base_ids, dtype=np.str_), return_inverse=True)
    answers = PairedAnswers(
        labels=("passed",),
        classes=("passed",),
        members=np.ones((1, 1), dtype=np.bool_),
        gold=None,
        a=np.where(failed_a, NO_ANSWER, 0).astype(np.int64),
        b=np.where(failed_b, NO_ANSWER, 0).astype(np.int64),
        accepted_a=np.zeros(len(failed_a), dtype=np.bool_),
        accepted_b=np.zeros(len(failed_b), dtype=np.bool_),
        # Variants of one text rise and fall together.
        cluster=None if len(bases) == len(failed_a) else cluster.astype(np.int64),
    )
    difference = paired_difference(
        answers, MetricRef(name="failed_rate"), confidence=confidence, margin=margin
    )
    return replace(difference, metric=metric.text)


def suite_sql(question: Question, metric: MetricRef) -> str:
    """Return the statement behind a suite's failure rates: the latest run of each version, by case."""
    assert metric.of is not None
    suite, _, functionality = metric.of.partition("/")
    latest = (
        "(SELECT arg_max(suite_run_id, ts) FROM suite_runs WHERE project = {project} AND suite = {suite}"
        " AND strategy_fp = {fp})"
    )
    runs = [
        latest.format(project=quoted(question.project), suite=quoted(suite), fp=quoted(fp))
        for fp in (question.fp_a, question.fp_b)
    ]
    only = f" AND a.functionality = {quoted(functionality)}" if functionality else ""
    return (
        "SELECT avg((NOT a.passed)::INT) AS value_a, avg((NOT b.passed)::INT) AS value_b, count(*) AS n\n"
        f"FROM (FROM suite_results WHERE suite_run_id = {runs[0]}) AS a\n"
        f"JOIN (FROM suite_results WHERE suite_run_id = {runs[1]}) AS b USING (case_id)\nWHERE a.passed IS NOT NULL AND b.passed IS NOT NULL{only}"
    )


def suite_cases(store: TraceStore, project: str, fp_a: str, fp_b: str) -> SuiteCases:
    """Return the reader of paired suite results of two versions."""
    from labelproof.report.suites.latest import paired_cases

    return lambda of: paired_cases(store, project, fp_a, fp_b, of)
