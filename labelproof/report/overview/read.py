"""The overview as the store has it: one row a project, causes of errors across projects, the statement behind each part.

Everything is counted by the store; what the monitor measured is shown as measured, with its interval and its time.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from labelproof.spec.monitoring import LEVELS, Level
from labelproof.store import TraceStore

DAYS = 28
"""Days of work behind coverage, cost and volume."""
CAUSE_DAYS = 90
"""Analyses older than this say nothing of today's errors."""

SQL: dict[str, str] = {
    "projects": """SELECT project, max(ts) AS last_ts FROM runs WHERE project <> '' GROUP BY project ORDER BY project""",
    "quality": """SELECT project, value, low, high, n, bound, side, state, reason, ts
FROM current_measurements WHERE kind = 'target' AND subject = 'auto_accuracy' ORDER BY project""",
    "targets": """SELECT project, count(*) AS n_targets, count(*) FILTER (state = 'met') AS n_met,
       count(*) FILTER (state = 'breached') AS n_breached
FROM current_measurements WHERE kind = 'target' GROUP BY project ORDER BY project""",
    "work": f"""WITH mine AS (SELECT run_id, any_value(project) AS project FROM runs GROUP BY run_id)
SELECT r.project, count(*) AS n_decided, count(*) FILTER (d.decision = 'auto_accept') AS n_auto,
       count(*) FILTER (d.decision = 'failed') AS n_failed, count(d.cost_usd) AS n_priced,
       1000 * avg(d.cost_usd) AS cost_per_1000
FROM decisions AS d JOIN mine AS r USING (run_id)
WHERE d.ts > $now::TIMESTAMPTZ - INTERVAL {DAYS} DAY AND d.ts <= $now::TIMESTAMPTZ GROUP BY r.project ORDER BY r.project""",
    "findings": """SELECT project, severity, count(*) AS n FROM current_findings WHERE state = 'open'
GROUP BY project, severity ORDER BY project, severity""",
    "alarms": """SELECT project, level, count(*) AS n, min(breached_at) AS since FROM current_alarms
WHERE state <> 'recovered' GROUP BY project, level ORDER BY project, level""",
    "runs": """SELECT project, arg_max(state, changed_at) AS state, max(changed_at) AS at,
       arg_max(strategy, changed_at) AS strategy, arg_max(n_items, changed_at) AS n_items
FROM current_runs GROUP BY project ORDER BY project""",
    "causes": f"""WITH latest AS (
    SELECT project, arg_max(rca_id, ts) AS rca_id, max(ts) AS ts FROM root_causes
    WHERE ts > $now::TIMESTAMPTZ - INTERVAL {CAUSE_DAYS} DAY AND ts <= $now::TIMESTAMPTZ GROUP BY project
)
SELECT e.project, e.cause, count(DISTINCT e.item_id) AS n, any_value(l.rca_id) AS rca_id
FROM error_causes AS e JOIN latest AS l ON l.rca_id = e.rca_id AND l.project = e.project
GROUP BY e.project, e.cause ORDER BY e.project, n DESC, e.cause""",
}
"""Part of the overview -> the statement behind it; $now is the moment that is looked at: ``statement`` fills it in."""
_TABLES = {
    "projects": ("runs",),
    "quality": ("measurements",),
    "targets": ("measurements",),
    "work": ("decisions", "runs"),
    "findings": ("findings",),
    "alarms": ("alarms",),
    "runs": ("runs",),
    "causes": ("error_causes", "root_causes"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Quality:
    """The accuracy of automatic decisions against its promise, as last measured; ``value`` None: ``reason`` says why."""

    value: float | None
    low: float | None
    high: float | None
    n: int
    bound: float | None
    state: str
    reason: str
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class ProjectRow:
    """One project. ``quality`` None: never measured. Counts of work are of the last 28 days, all of it: no sample.

    ``cost_per_1000``: US dollars, of the ``n_priced`` decisions with a known price. ``findings`` and ``alarms``: open
    ones by severity. ``heat``: cause -> errors, of the latest analysis.
    """

    project: str
    quality: Quality | None
    n_targets: int
    n_met: int
    n_breached: int
    n_decided: int
    n_auto: int
    n_failed: int
    n_priced: int
    cost_per_1000: float | None
    findings: Mapping[Level, int]
    alarms: Mapping[Level, int]
    alarm_since: datetime | None
    run_state: str | None
    run_at: datetime | None
    run_strategy: str | None
    heat: Mapping[str, int]
    rca_id: str | None

    @property
    def coverage(self) -> float | None:
        """Share that the machine decided; None without decisions."""
        return self.n_auto / self.n_decided if self.n_decided else None

    @property
    def is_bad(self) -> bool:
        return bool(self.n_breached or self.alarms)

    @property
    def n_errors(self) -> int:
        return sum(self.heat.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class Overview:
    """All projects, what hurts most first; ``causes``: those of any project, the most frequent first."""

    at: datetime
    rows: tuple[ProjectRow, ...]
    causes: tuple[str, ...]

    @property
    def is_bad(self) -> bool:
        return any(row.is_bad for row in self.rows)

    def only(self, projects: Collection[str]) -> Overview:
        """Return the overview of some projects: what one person may see."""
        rows = tuple(row for row in self.rows if row.project in projects)
        return Overview(at=self.at, rows=rows, causes=_ranked(rows))

    def to_json(self) -> dict[str, Any]:
        return {
            "at": self.at.isoformat(),
            "projects": [
                {**asdict(row), "coverage": row.coverage, "is_bad": row.is_bad} for row in self.rows
            ],
            "causes": list(self.causes),
            "sql": {part: statement(part, self.at) for part in SQL},
        }


def statement(part: str, now: datetime) -> str:
    """Return the statement behind a part as anybody can run it."""
    return SQL[part].replace("$now::TIMESTAMPTZ", f"TIMESTAMPTZ '{now.astimezone(UTC).isoformat()}'")


def read_overview(store: TraceStore, *, now: datetime) -> Overview:
    """Return every project of the store as it stands at ``now``."""

    def rows_of(part: str) -> list[dict[str, Any]]:
        sql = statement(part, now)
        found: list[dict[str, Any]] = store.query(sql, fresh=True, only=_TABLES[part]).to_pylist()
        return found

    def by_project(part: str) -> dict[str, dict[str, Any]]:
        return {row["project"]: row for row in rows_of(part)}

    quality, targets, work, runs = (by_project(part) for part in ("quality", "targets", "work", "runs"))
    findings, alarms, causes = rows_of("findings"), rows_of("alarms"), rows_of("causes")
    names = {row["project"] for row in rows_of("projects")}
    names |= {row["project"] for part in (findings, alarms, causes) for row in part} | quality.keys()
    rows = []
    for name in names:
        done, said, run = work.get(name, {}), targets.get(name, {}), runs.get(name, {})
        mine = [row for row in causes if row["project"] == name]
        ringing = [row for row in alarms if row["project"] == name]
        rows.append(
            ProjectRow(
                project=name,
                quality=_quality(quality.get(name)),
                n_targets=said.get("n_targets", 0),
                n_met=said.get("n_met", 0),
                n_breached=said.get("n_breached", 0),
                n_decided=done.get("n_decided", 0),
                n_auto=done.get("n_auto", 0),
                n_failed=done.get("n_failed", 0),
                n_priced=done.get("n_priced", 0),
                cost_per_1000=done.get("cost_per_1000"),
                findings=_by_level([row for row in findings if row["project"] == name], "severity"),
                alarms=_by_level(ringing, "level"),
                alarm_since=min((row["since"] for row in ringing), default=None),
                run_state=run.get("state"),
                run_at=run.get("at"),
                run_strategy=run.get("strategy"),
                heat={row["cause"]: row["n"] for row in mine},
                rca_id=mine[0]["rca_id"] if mine else None,
            )
        )
    rows.sort(key=_worst_first)
    return Overview(at=now, rows=tuple(rows), causes=_ranked(rows))


def _quality(row: Mapping[str, Any] | None) -> Quality | None:
    if row is None:
        return None
    return Quality(
        value=row["value"],
        low=row["low"],
        high=row["high"],
        n=row["n"] or 0,
        bound=row["bound"],
        state=row["state"] or "unknown",
        reason=row["reason"] or "",
        at=row["ts"],
    )


def _by_level(rows: list[dict[str, Any]], key: str) -> dict[Level, int]:
    counts = {row[key]: row["n"] for row in rows}
    return {level: counts[level] for level in LEVELS if level in counts}


def _worst_first(row: ProjectRow) -> tuple[Any, ...]:
    def counts(of: Mapping[Level, int]) -> tuple[int, ...]:
        return tuple(-of.get(level, 0) for level in LEVELS)

    return (-row.n_breached, *counts(row.alarms), *counts(row.findings), row.project)


def _ranked(rows: Collection[ProjectRow]) -> tuple[str, ...]:
    """Return the causes, those of most projects first, then those with most errors: what is common comes first."""
    names = {cause for row in rows for cause in row.heat}
    return tuple(
        sorted(
            names,
            key=lambda cause: (
                -sum(cause in row.heat for row in rows),
                -sum(row.heat.get(cause, 0) for row in rows),
                cause,
            ),
        )
    )
