"""Findings that open by themselves: from alarms, root causes, broken guardrails, and regressions on request."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, cast

import orjson

from labelproof.report.findings.book import (
    MAX_TITLE,
    cut,
    finding_id_of,
    findings_of,
    note,
    open_finding,
)
from labelproof.report.findings.events import stored_finding
from labelproof.report.findings.model import MONITOR
from labelproof.report.findings.predicate import target_check
from labelproof.report.monitor.model import AlarmEvent
from labelproof.report.quality_data import filled_in
from labelproof.report.suites.latest import SuiteGuardrail
from labelproof.spec.errors import ConfigError, StoreError
from labelproof.spec.hashing import short
from labelproof.spec.monitoring import DRIFT_KINDS, Level, Target
from labelproof.spec.project import ProjectFolder
from labelproof.store import TraceStore

if TYPE_CHECKING:
    from labelproof.report.rca.model import CauseRow, RootCauseReport

_NOTED: Mapping[str, str] = {
    "escalated": "the alarm was escalated to",
    "acknowledged": "the alarm was acknowledged by",
    "recovered": "the alarm recovered",
}
CAUSE_OF_ALARM: Mapping[str, str] = {
    "drift:provider": "provider_change",
    "drift:language": "language",
    "drift:manipulation": "manipulation",
    "drift:strategy": "strategy_change",
    "sentinel:answers": "provider_change",
}
"""Alarms that say themselves what happened, and as which root cause."""
RCA_BEFORE = timedelta(days=14)
"""A change is compared with so many days before it."""
OF_TARGETS = {"accuracy": "auto_accuracy"}
"""Metric of an analysis -> the target metric that promises it, where the names differ."""
COMPARISON = """SELECT comparison_id, strategy_a, fp_a, strategy_b, fp_b, verdict, reason, report_json FROM comparisons
WHERE project = $project AND starts_with(comparison_id, $id) ORDER BY ts DESC
"""
WRONG = """SELECT item_id, final_label FROM ({sql}) WHERE final_label <> label ORDER BY ts DESC, item_id LIMIT 50"""
FAILED_CASES = """SELECT case_id, functionality, label, expected, reason FROM suite_results
WHERE suite_run_id = $run AND NOT passed ORDER BY functionality, case_id
"""


def open_from_alarms(
    store: TraceStore, folder: ProjectFolder, events: Sequence[AlarmEvent], *, now: datetime
) -> tuple[str, ...]:
    """Open a finding for each breach, and note what became of known alarms; return the ids of those opened.

    One finding a subject: `auto_accuracy` that breaks again after a month opens the same finding again. Its owner is the
    target's, its severity the alarm's level, and its check the target itself (for drift and sentinel: `quiet`).
    """
    opened = []
    for event in events:
        source_id = f"{event.kind}:{event.subject}"
        if event.event == "breached":
            opened.append(_from_breach(store, folder, event, source_id, now))
            continue
        known = stored_finding(store, folder.name, finding_id_of(folder.name, "monitor", source_id))
        if known is None or known.state == "closed":
            continue
        who = " ".join(filter(None, [event.role, event.contact]))
        who = event.actor if event.event == "acknowledged" else who if event.event == "escalated" else ""
        said = " ".join(filter(None, [_NOTED[event.event], who]))
        note(store, known, f"{said}: {event.reason}" if event.reason else said, actor=MONITOR, now=now)
    return tuple(dict.fromkeys(opened))


def breaches_without_finding(
    store: TraceStore, project: str, breaches: Sequence[AlarmEvent]
) -> tuple[AlarmEvent, ...]:
    """Return the breaches that no finding names: the pass that found them was killed before it opened one."""
    if not breaches:
        return ()
    named = {
        event.evidence.get("alarm_id")
        for finding in findings_of(store, project)
        for event in finding.events
        if event.evidence is not None
    }
    return tuple(one for one in breaches if one.alarm_id not in named)


def open_from_rca(
    store: TraceStore,
    folder: ProjectFolder,
    report: RootCauseReport,
    *,
    now: datetime,
    actor: str = MONITOR,
) -> tuple[str, ...]:
    """Open a finding for each explaining cause, with its action and items; return their ids.

    The same cause of the same metric is the same finding in every analysis. Severity, owner and check are those of the
    metric's target; without one the finding is major, belongs to the first contact, and asks that its items, answered
    again, are right in nine of ten.
    """
    target = next(
        (one for one in folder.spec.targets if one.metric == OF_TARGETS.get(report.metric, report.metric)),
        None,
    )
    return tuple(
        _from_cause(store, folder, report, row, target, now=now, actor=actor)
        for row in report.explaining
        if row.cause != "unexplained"
    )


def open_from_suite(
    store: TraceStore,
    folder: ProjectFolder,
    guardrails: Sequence[SuiteGuardrail],
    *,
    strategy: str,
    now: datetime,
    suite_run_id: str | None = None,
    severity: Level = "major",
) -> tuple[str, ...]:
    """Open a finding for each broken guardrail on a suite; return their ids.

    Closed by one run of the suite with ``strategy`` (a suite's cases are the same every time, so a second run says
    nothing new) that fails at most as often as the reference did, plus the margin.
    """
    opened = []
    for rail in guardrails:
        if rail.state != "broken" or rail.failure is None or rail.difference is None:
            continue
        worse = rail.difference.value or 0.0
        allowed = min(1.0, max(0.0, rail.failure - worse + rail.margin))
        evidence: dict[str, Any] = {
            "strategy": strategy,
            "suite_run_id": suite_run_id,
            "failure": rail.failure,
            "difference": [rail.difference.value, rail.difference.low, rail.difference.high],
            "n": rail.difference.n,
            "reference": rail.reference,
        }
        if suite_run_id is not None:
            evidence["sql"] = filled_in(FAILED_CASES, {"run": suite_run_id})
        name = rail.metric.removeprefix("suite:")
        opened.append(
            open_finding(
                store,
                folder.name,
                title=_title(
                    f"{strategy} fails {rail.failure:.1%} of suite {name}, {worse:+.1%} against {rail.reference}"
                ),
                severity=severity,
                owner=_first_contact(folder),
                source="suite",
                source_id=f"{rail.metric}:{strategy}",
                evidence=evidence,
                check=f'suite:"{name}" fail_rate <= {allowed:.6f}',
                check_runs=1,
                actor=MONITOR,
                now=now,
            )
        )
    return tuple(opened)


def open_from_experiment(
    store: TraceStore,
    folder: ProjectFolder,
    comparison: str,
    *,
    now: datetime,
    actor: str,
    owner: str | None = None,
    severity: Level = "major",
) -> str:
    """Open a finding for a comparison whose verdict is a regression; returns its id.

    Its items are those that were right before and are wrong now; its check: `items right >= 0.9` with the newer strategy.
    ``ConfigError``: no such comparison, several, or another verdict.
    """
    params = {"project": folder.name, "id": comparison}
    rows = store.query(COMPARISON, params, fresh=True, only=("comparisons",)).to_pylist()
    if len({row["comparison_id"] for row in rows}) != 1:
        what = "several comparisons begin" if rows else "no comparison begins"
        raise ConfigError(f"{what} with {comparison!r} in project {folder.name!r}")
    row = rows[0]
    if row["verdict"] != "regression":
        raise ConfigError(
            f"comparison {row['comparison_id']} says {row['verdict']}, not regression: there is nothing to drive to closure"
        )
    flips = orjson.loads(row["report_json"]).get("flips") or []
    broke = [flip for flip in flips if flip.get("kind") == "broke"]
    items = [{"item_id": flip["item_id"], "right": flip.get("gold")} for flip in broke]
    return open_finding(
        store,
        folder.name,
        title=_title(
            f"{row['strategy_b']}@{short(row['fp_b'])} is worse than {row['strategy_a']}@{short(row['fp_a'])}: "
            f"{row['reason'] or 'regression'}"
        ),
        severity=severity,
        owner=owner or _first_contact(folder),
        source="experiment",
        source_id=row["comparison_id"],
        evidence={
            "strategy": row["strategy_b"],
            "comparison_id": row["comparison_id"],
            "items": items,
            "sql": filled_in(
                "SELECT * FROM comparisons WHERE comparison_id = $id", {"id": row["comparison_id"]}
            ),
        },
        check="items right >= 0.9" if items else None,
        check_runs=1,
        actor=actor,
        now=now,
    )


def _from_breach(
    store: TraceStore, folder: ProjectFolder, event: AlarmEvent, source_id: str, now: datetime
) -> str:
    target = next((one for one in folder.spec.targets if one.metric == event.subject), None)
    target = target if event.kind == "target" else None
    given = dict(event.evidence)
    items = _items_of(store, given)
    change = None if event.change_from is None else event.change_from.isoformat()
    evidence = {
        **given,
        "items": items,
        "alarm_id": event.alarm_id,
        "value": event.value,
        "bound": event.bound,
        "change_from": change,
    }
    return open_finding(
        store,
        folder.name,
        title=_title(_breach_words(event, target)),
        severity=event.level,
        owner=(target.owner if target else "") or event.contact or event.role or _first_contact(folder),
        source="monitor",
        source_id=source_id,
        evidence=evidence,
        cause=_alarm_cause(event, source_id),
        action=_alarm_action(event, folder.name, now),
        check=_alarm_check(event, target),
        actor=MONITOR,
        now=now,
        why=event.reason,
    )


def _from_cause(
    store: TraceStore,
    folder: ProjectFolder,
    report: RootCauseReport,
    row: CauseRow,
    target: Target | None,
    *,
    now: datetime,
    actor: str,
) -> str:
    right = {case.item_id: case.right_label for case in report.errors}
    named = dict.fromkeys([*(row.action.items if row.action else ()), *row.items])
    items: list[dict[str, Any]] = [{"item_id": item, "right": right.get(item)} for item in named]
    level: Level = target.level if target else "major"
    known = any(item["right"] for item in items)
    check = target_check(target) if target else "items right >= 0.9" if known else None
    what = f"{row.name} behind {report.metric} in {report.later.name}"
    return open_finding(
        store,
        folder.name,
        title=_title(f"{what}: {row.n_errors} errors"),
        severity=level,
        owner=(target.owner if target else "") or _first_contact(folder),
        source="rca",
        source_id=f"{report.metric}:{row.cause}",
        evidence={
            "rca_id": report.rca_id,
            "period": report.later.name,
            "change": report.change,
            "explained": [row.explained, row.low, row.high],
            "n_errors": row.n_errors,
            "q_value": row.q_value,
            "items": items,
            "sql": _sql(report),
        },
        cause=f"{row.name}: {row.line}",
        action=None if row.action is None else f"{row.action.kind}: {row.action.what}",
        check=check,
        check_runs=3 if target else 1,
        actor=actor,
        now=now,
        why=report.headline,
    )


def _sql(report: RootCauseReport) -> str:
    return report.sql.get("errors") or next(iter(report.sql.values()), "")


def _items_of(store: TraceStore, given: Mapping[str, Any]) -> list[Any]:
    """Return the items that an alarm names; for rates of right answers those that people found wrong, newest first."""
    detail = given.get("detail")
    for named in (given, detail):
        if isinstance(named, Mapping) and named.get("items"):
            return list(named["items"])
    sql = given.get("sql")
    if not isinstance(sql, str) or "final_label" not in sql:
        return []
    try:
        rows = store.query(WRONG.format(sql=sql.strip().rstrip(";")), fresh=True).to_pylist()
    except StoreError:  # another query: it shows the breach, but lists no audits
        return []
    return [{"item_id": row["item_id"], "right": row["final_label"]} for row in rows]


def _alarm_cause(event: AlarmEvent, source_id: str) -> str | None:
    from labelproof.report.rca.model import NAMES, Cause

    named = cast("Cause | None", CAUSE_OF_ALARM.get(source_id))
    return None if named is None else f"{NAMES[named]}: {event.reason}" if event.reason else NAMES[named]


def _alarm_action(event: AlarmEvent, project: str, now: datetime) -> str | None:
    """Return the analysis that looks into a change whose day is known."""
    if event.change_from is None:
        return None
    since, until = event.change_from.date(), max(now, event.change_from).date()
    before = f"{since - RCA_BEFORE}..{since - timedelta(days=1)}"
    return f"look: labelproof rca {shlex.quote(project)} --from {before} --to {since}..{until}"


def _breach_words(event: AlarmEvent, target: Target | None) -> str:
    value = "" if event.value is None else f" ({event.value:.4g})"
    if event.kind == "target":
        promise = f", promised {target.promise}" if target else ""
        return f"{event.subject} broke its promise{value}{promise}"
    if event.kind == "drift":
        since = "" if event.change_from is None else f" since {event.change_from:%Y-%m-%d}"
        return f"Drift of {event.subject}{since}"
    if event.kind == "sentinel":
        return f"The model answers the sentinel items differently ({event.subject})"
    return f"Alarm of {event.kind} {event.subject}{value}"


def _alarm_check(event: AlarmEvent, target: Target | None) -> str | None:
    if target is not None:
        return target_check(target)
    if event.kind == "drift" and event.subject in DRIFT_KINDS:
        return f"drift:{event.subject} quiet"
    return "sentinel quiet" if event.kind == "sentinel" else None


def _first_contact(folder: ProjectFolder) -> str:
    """Return who answers for a project: its first contact; empty when it names none."""
    first = next(iter(folder.spec.contacts), None)
    return "" if first is None else first.name or first.role


def _title(text: str) -> str:
    line = " ".join(text.split())
    return cut(line, MAX_TITLE) or line
