"""What was measured last of a project, with its past and its alarms: what pages show without measuring again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from labelproof.report.monitor.alarms import Alarm, alarms_of
from labelproof.report.monitor.history import Point, point_of
from labelproof.report.monitor.model import Measurement
from labelproof.report.monitor.text import Row, rows_of
from labelproof.report.quality_data import filled_in
from labelproof.spec.monitoring import Level
from labelproof.spec.project import ProjectFolder
from labelproof.store import TraceStore

PAST_DAYS = 90
"""Days of the series, and of alarms that are over."""
_POINTS = 120
CURRENT = """SELECT * FROM current_measurements WHERE project = $project ORDER BY kind, subject"""
# One look in each stretch of time, the worst one: a series of a hundred points, however often one looks.
PAST = """SELECT kind, subject, ts, value, low, high, n, bound, side, state, evidence, evidence_needed, reason
FROM measurements WHERE project = $project AND kind IN ('target', 'drift', 'sentinel') AND ts >= $since AND ts <= $until
QUALIFY row_number() OVER (
    PARTITION BY kind, subject, floor(epoch(ts) / $stretch) ORDER BY state IN ('breached', 'alarm') DESC, ts DESC
) = 1 ORDER BY kind, subject, ts
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    """One thing that is watched: its last measurement as a row, when it was made, and its series, oldest first."""

    row: Row
    at: datetime
    bound: float | None
    points: tuple[Point, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Board:
    """Targets in the order of the project file, then drift and sentinel; alarms open ones first, newest first."""

    project: str
    measured_at: datetime | None
    targets: tuple[Watched, ...]
    others: tuple[Watched, ...]
    open_alarms: tuple[Alarm, ...]
    past_alarms: tuple[Alarm, ...]
    unmeasured: tuple[str, ...]
    """Targets of the project file that no pass has measured yet."""
    sql: str


def board(store: TraceStore, folder: ProjectFolder, *, now: datetime) -> Board:
    """Return what is stored of the project's promises up to ``now``; reads only."""
    project = {"project": folder.name}
    current = store.query(CURRENT, project, fresh=True, only=("measurements",)).to_pylist()
    promised = [target.metric for target in folder.spec.targets]
    wanted = [row for row in current if _is_watched(folder, row)]
    alarms = alarms_of(store, folder.name, since=now - timedelta(days=PAST_DAYS))
    series = _series(store, folder, wanted, now)
    rows = rows_of(folder, [_measurement(folder, row) for row in wanted], alarms)
    found = {
        (row["kind"], row["subject"]): Watched(
            row=shown,
            at=row["ts"],
            bound=row["bound"],
            points=series.get((row["kind"], row["subject"]), ()),
        )
        for row, shown in zip(wanted, rows, strict=True)
    }
    return Board(
        project=folder.name,
        measured_at=max((row["ts"] for row in wanted), default=None),
        targets=tuple(found["target", name] for name in promised if ("target", name) in found),
        others=tuple(one for (kind, _), one in found.items() if kind in ("drift", "sentinel")),
        open_alarms=tuple(alarm for alarm in reversed(alarms) if alarm.is_open),
        past_alarms=tuple(alarm for alarm in reversed(alarms) if not alarm.is_open),
        unmeasured=tuple(name for name in promised if ("target", name) not in found),
        sql=filled_in(CURRENT, project),
    )


def _is_watched(folder: ProjectFolder, row: Mapping[str, Any]) -> bool:
    """Whether what was measured once is still asked for."""
    if row["kind"] == "target":
        return row["subject"] in {target.metric for target in folder.spec.targets}
    if row["kind"] == "drift":
        return row["subject"] in folder.spec.monitoring.drift
    return bool(row["kind"] == "sentinel" and folder.spec.monitoring.sentinel.items)


def _series(
    store: TraceStore, folder: ProjectFolder, current: Sequence[Mapping[str, Any]], now: datetime
) -> dict[tuple[str, str], tuple[Point, ...]]:
    if not current:
        return {}
    first = "SELECT min(ts) AS ts FROM measurements WHERE project = $project AND ts >= $since"
    asked = {"project": folder.name, "since": now - timedelta(days=PAST_DAYS)}
    began = store.query(first, asked, fresh=True, only=("measurements",)).to_pylist()[0]["ts"] or now
    stretch = max(1.0, (now - began).total_seconds() / _POINTS)
    given = {**asked, "until": now, "stretch": stretch}
    found: dict[tuple[str, str], list[Point]] = {}
    for row in store.query(PAST, given, fresh=True, only=("measurements",)).to_pylist():
        found.setdefault((row["kind"], row["subject"]), []).append(point_of(row))
    return {key: tuple(points) for key, points in found.items()}


def _measurement(folder: ProjectFolder, row: Mapping[str, Any]) -> Measurement:
    levels: dict[str, Level] = {one.metric: one.level for one in folder.spec.targets}
    names = (
        "kind",
        "subject",
        "state",
        "value",
        "low",
        "high",
        "bound",
        "side",
        "evidence",
        "evidence_needed",
        "window_from",
        "window_to",
        "strategy_fp",
        "run_id",
    )
    return Measurement(
        **{name: row[name] for name in names},
        n=int(row["n"] or 0),
        method=row["method"] or "",
        reason=row["reason"] or "",
        sql=row["sql"] or "",
        level=levels.get(row["subject"], "major") if row["kind"] == "target" else "major",
    )
