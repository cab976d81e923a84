"""What the store says about a clause, on the work between two times: aggregates in SQL only."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, cast

import pyarrow as pa

from evaluation.intervals import clopper_pearson
from labelproof.report.findings.events import TICK
from labelproof.report.findings.judge import Reading
from labelproof.report.findings.model import Finding
from labelproof.report.findings.predicate import Clause
from labelproof.report.monitor.model import Measurement
from labelproof.report.quality_data import filled_in
from labelproof.spec.errors import LabelproofError
from labelproof.spec.project import ProjectFolder
from labelproof.store import TraceStore

Measure = Callable[[str, datetime, datetime], Measurement]
"""Metric, since, until -> its measurement on the work of that time."""
SUITE = """SELECT r.suite_run_id, count(*) AS n, count(*) FILTER (NOT s.passed) AS failed
FROM suite_results AS s JOIN (
    SELECT suite_run_id FROM suite_runs
    WHERE project = $project AND suite = $suite AND strategy = $strategy AND ts > $since AND ts <= $until
    ORDER BY ts DESC, suite_run_id DESC LIMIT 1
) AS r USING (suite_run_id)
WHERE s.passed IS NOT NULL AND ($part IS NULL OR s.functionality = $part)
GROUP BY r.suite_run_id
"""
MONITORED = """SELECT subject, state, value, low, high, n, reason, sql FROM measurements
WHERE project = $project AND kind = $kind AND ($subject IS NULL OR subject = $subject)
  AND ts > $since AND ts <= $until
QUALIFY row_number() OVER (PARTITION BY subject ORDER BY ts DESC, measurement_id DESC) = 1
ORDER BY state = 'alarm' DESC, state = 'unknown' DESC, subject
"""
DECIDED = """SELECT count(*) AS n FROM decisions
WHERE ts > $since AND ts <= $until AND run_id IN (SELECT run_id FROM runs WHERE project = $project)
"""
ASKED = """SELECT count(*) AS n FROM sentinel_answers
WHERE project = $project AND ts > $since AND ts <= $until
"""
ITEMS = """WITH wanted AS (SELECT item_id, any_value(label) AS label FROM evidence_items GROUP BY item_id),
people AS (
    SELECT item_id, label FROM final_labels WHERE project = $project AND source <> 'auto_accept'
),
gold_said AS (
    SELECT g.item_id, arg_max(g.label, g.ts) AS label FROM gold AS g SEMI JOIN wanted USING (item_id)
    WHERE g.project = $project GROUP BY g.item_id
),
known AS (
    SELECT w.item_id, coalesce(p.label, w.label, g.label) AS label
    FROM wanted AS w LEFT JOIN people AS p USING (item_id) LEFT JOIN gold_said AS g USING (item_id)
),
said AS (
    SELECT d.item_id, d.label FROM decisions AS d SEMI JOIN wanted USING (item_id)
    WHERE d.ts > $since AND d.ts <= $until
      AND d.run_id IN (SELECT run_id FROM runs WHERE project = $project AND strategy = $strategy)
    QUALIFY row_number() OVER (PARTITION BY d.item_id ORDER BY d.ts DESC, d.run_id DESC) = 1
)
SELECT count(*) AS expected, count(s.item_id) AS n, count(*) FILTER (s.label = k.label) AS is_right
FROM known AS k LEFT JOIN said AS s USING (item_id) WHERE k.label IS NOT NULL
"""


def read_clause(
    store: TraceStore,
    folder: ProjectFolder,
    finding: Finding,
    clause: Clause,
    *,
    since: datetime,
    until: datetime,
    measure: Measure,
) -> Reading:
    """Return what the work of ``since`` < time <= ``until`` says; what cannot be told has a reason, never an error."""
    window = {"project": folder.name, "since": since, "until": until}
    strategy = finding.evidence.get("strategy")
    strategy = strategy if isinstance(strategy, str) and strategy else folder.spec.default_strategy
    try:
        if clause.kind == "metric":
            return _metric(
                measure(clause.subject, since + TICK, until + TICK)
            )  # from its start, before its end
        if clause.kind == "suite":
            return _suite(store, clause, {**window, "strategy": strategy})
        if clause.kind == "items":
            return _items(store, finding, {**window, "strategy": strategy})
        return _monitored(store, clause, window)
    except LabelproofError as error:
        return Reading(reason=f"cannot be measured: {error.message}")


def monitored_metric(store: TraceStore, folder: ProjectFolder) -> Measure:
    """Return the measure of targets, which remembers what it has measured."""
    from labelproof.report.monitor.targets import measure_metric

    kept: dict[tuple[str, datetime, datetime], Measurement] = {}
    shared: dict[str, Any] = {}

    def measure(metric: str, since: datetime, until: datetime) -> Measurement:
        key = (metric, since, until)
        if key not in kept:
            kept[key] = measure_metric(store, folder, metric, since=since, until=until, shared=shared)
        return kept[key]

    return measure


def _metric(found: Measurement) -> Reading:
    return Reading(
        value=found.value, low=found.low, high=found.high, n=found.n, reason=found.reason, sql=found.sql
    )


def _suite(store: TraceStore, clause: Clause, window: Mapping[str, Any]) -> Reading:
    suite, _, part = (clause.of or "").partition("/")
    params = {**window, "suite": suite, "part": part or None}
    rows = store.query(SUITE, params, fresh=True, only=("suite_runs", "suite_results")).to_pylist()
    sql = filled_in(SUITE, params)
    if not rows:
        return Reading(reason=f"suite {clause.of} has not run since", sql=sql)
    failed = clopper_pearson(rows[0]["failed"], rows[0]["n"])
    return Reading(value=failed.value, low=failed.low, high=failed.high, n=failed.n, sql=sql)


def _items(store: TraceStore, finding: Finding, window: Mapping[str, Any]) -> Reading:
    listed = finding.items()
    if not listed:
        return Reading(reason="the finding names no items")
    given = pa.table(
        {
            "item_id": pa.array([item_id for item_id, _ in listed], pa.string()),
            "label": pa.array([right for _, right in listed], pa.string()),
        }
    )
    (row,) = store.query(ITEMS, window, fresh=True, given={"evidence_items": given}).to_pylist()
    ids = ", ".join(_literal(item_id, right) for item_id, right in listed)
    sql = filled_in(f"WITH evidence_items(item_id, label) AS (VALUES {ids}),{ITEMS[4:]}", window)
    expected, n = row["expected"], row["n"]
    if not expected:
        return Reading(reason="none of its items has a label by people or gold", sql=sql)
    value = row["is_right"] / n if n else None
    return Reading(
        value=value,
        n=n,
        expected_n=expected,
        sql=sql,
        reason="" if n else "its items were not answered again",
    )


def _monitored(store: TraceStore, clause: Clause, window: Mapping[str, Any]) -> Reading:
    is_drift = clause.kind == "drift"
    params = {**window, "kind": clause.kind, "subject": clause.of}
    sql = filled_in(MONITORED, params)
    work = DECIDED if is_drift else ASKED
    (row,) = store.query(work, window, fresh=True).to_pylist()
    if not row["n"]:
        new = "no new decisions" if is_drift else "the sentinel items were not asked again"
        return Reading(reason=f"{new} since", sql=filled_in(work, window))
    rows = store.query(MONITORED, params, fresh=True, only=("measurements",)).to_pylist()
    if not rows:
        return Reading(reason="not measured since", sql=sql)
    worst = rows[0]
    value, n = cast("float | None", worst["value"]), int(worst["n"] or 0)
    told = {"value": value, "low": worst["low"], "high": worst["high"], "n": n, "sql": worst["sql"] or sql}
    if worst["state"] == "unknown":
        return Reading(reason="its test cannot tell yet", sql=sql)
    is_quiet = worst["state"] != "alarm"
    return Reading(quiet=is_quiet, reason="" if is_quiet else (worst["reason"] or "alarm"), **told)


def _literal(item_id: str, right: str | None) -> str:
    def quoted(text: str) -> str:
        return "'" + text.replace("'", "''") + "'"

    return f"({quoted(item_id)}, {'NULL' if right is None else quoted(right)})"
