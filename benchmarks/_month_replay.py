"""One month, day by day: production works, the product's monitor looks at it each evening, alarms are analysed."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks._month_data import Pool
from benchmarks._month_plan import WARMUP_DAYS, Incident, IncidentKind, active, morning
from benchmarks._month_world import (
    COST_USD,
    FINGERPRINTS,
    PROJECT,
    SENTINEL_ITEMS,
    World,
    write_project,
)
from labelproof.spec.hashing import digest_text
from labelproof.spec.project import ProjectFolder, find_project
from labelproof.store import TraceStore, open_store

RCA_BEFORE = timedelta(days=14)
"""An alarm's days are compared with so many days before them."""
RCA_DEFAULT = timedelta(days=3)
"""Days an alarm is about when it does not say since when."""
RCA_METRICS = ("auto_accuracy", "accuracy", "coverage", "failed_rate")


@dataclass(frozen=True, slots=True, kw_only=True)
class Alarm:
    """An alarm that opened on a day (1 is the month's first)."""

    day: int
    kind: str
    subject: str
    change_from: str | None
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """What the root-cause analysis said on the day of new alarms.

    ``causes``: all that explain, those of events first; ``first``: the one it leads with, None where it calls the change
    mostly unexplained. ``worse``: whether the metric provably got worse at all.
    """

    day: int
    metric: str
    causes: tuple[str, ...]
    headline: str
    change: float | None
    worse: bool = False
    first: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FindingCourse:
    """A finding of an alarm: day opened, day closed (None: open at the month's end), how often it opened again."""

    source_id: str
    opened: int
    closed: int | None
    reopened: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Month:
    """What a month brought."""

    seed: int
    days: int
    incidents: tuple[Incident, ...]
    alarms: tuple[Alarm, ...]
    diagnoses: tuple[Diagnosis, ...]
    findings: tuple[FindingCourse, ...]
    pass_seconds: tuple[float, ...] = ()


@dataclass(slots=True)
class Replay:
    """A month under way in a folder; ``fork`` continues it elsewhere with other incidents."""

    place: Path
    pool: Pool
    seed: int
    items_per_day: int
    day: int = -WARMUP_DAYS
    diagnoses: list[Diagnosis] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)

    @classmethod
    def start(cls, place: Path, pool: Pool, *, seed: int, items_per_day: int, warmup: int) -> Replay:
        """Write the project and the days before day 1, on which nobody monitors."""
        write_project(place / "project", pool)
        replay = cls(place, pool, seed, items_per_day, -warmup)
        with _opened(place / "store") as store:
            world = replay._world(store)
            for day in range(1 - warmup, 1):
                run_id = world.play(day, set())
                ask_sentinel(world, run_id, day, set())
                store.drain_all()
        replay.day = 0
        return replay

    def fork(self, place: Path) -> Replay:
        """Return a copy that goes its own way from here."""
        shutil.copytree(self.place, place)
        return Replay(
            place,
            self.pool,
            self.seed,
            self.items_per_day,
            self.day,
            list(self.diagnoses),
            list(self.seconds),
        )

    def until(self, last: int, incidents: Sequence[Incident]) -> None:
        """Play, drain and monitor each day up to ``last``."""
        with _opened(self.place / "store") as store:
            world = self._world(store)
            for day in range(self.day + 1, last + 1):
                wrong = active(incidents, day)
                run_id = world.play(day, wrong)
                ask_sentinel(world, run_id, day, wrong)
                store.drain_all()
                self._evening(store, day, run_id)
                store.drain_all()
                self.day = day

    def month(self, incidents: Sequence[Incident]) -> Month:
        """Return what the store says of the month so far."""
        with _opened(self.place / "store") as store:
            return Month(
                seed=self.seed,
                days=self.day,
                incidents=tuple(incidents),
                alarms=read_alarms(store),
                diagnoses=tuple(self.diagnoses),
                findings=read_findings(store),
                pass_seconds=tuple(self.seconds),
            )

    def _world(self, store: TraceStore) -> World:
        return World(
            store, self.place / "project", self.pool, seed=self.seed, items_per_day=self.items_per_day
        )

    def _evening(self, store: TraceStore, day: int, run_id: str) -> None:
        from labelproof.report.monitor.run import monitor

        folder = find_project(str(self.place / "project"))
        now = morning(day) + timedelta(hours=23)
        begun = time.process_time()
        report = monitor(store, folder, now=now, run_id=run_id)
        self.seconds.append(time.process_time() - begun)
        opened = [one for one in report.events if one.event == "breached"]
        if opened:
            self.diagnoses += diagnose(store, folder, opened, day, now)


@contextmanager
def _opened(path: Path) -> Iterator[TraceStore]:
    """Open a month's store; queries take one thread, as seeds run side by side and a second costs more CPU."""
    with open_store(path) as store:
        store.query("SET threads = 1")
        yield store


def diagnose(
    store: TraceStore, folder: ProjectFolder, opened: Sequence[Any], day: int, now: datetime
) -> list[Diagnosis]:
    """Analyse the day's new alarms as a lead would: the days since the change against the two weeks before.

    The metric is the broken target's where root causes know it, else accuracy; when that did not fall, coverage.
    """
    from labelproof.report.rca.build import analyse, record
    from labelproof.report.rca.periods import Period

    since = min(one.change_from or now - RCA_DEFAULT for one in opened)
    since = max(since, now - timedelta(days=14)).replace(hour=0, minute=0, second=0, microsecond=0)
    later = Period(start=since, end=now, name="since the change")
    earlier = Period(start=since - RCA_BEFORE, end=since, name="before")
    broken = [one.subject for one in opened if one.kind == "target"]
    known = [one for one in broken if one in RCA_METRICS or one.startswith("recall:")]
    first = known[0].replace("auto_accuracy", "accuracy") if known else "accuracy"
    found = []
    for metric in dict.fromkeys((first, "accuracy", "coverage")):
        report = analyse(store, folder, earlier=earlier, later=later, metric=metric, now=now)
        record(store, report)
        found.append(
            Diagnosis(
                day=day,
                metric=metric,
                causes=tuple(row.cause for row in report.explaining),
                headline=report.headline,
                change=report.change,
                worse=report.worse,
                first=report.first_cause,
            )
        )
        if report.first_cause is not None:
            break
    return found


def ask_sentinel(world: World, run_id: str, day: int, wrong: set[IncidentKind]) -> None:
    """Freeze the sentinel set on the first day and store the day's answers to it, as the run would."""
    from agents.run.sentinel import freeze

    store = world.store
    folder = world.versions.of(world.folder, edited="guideline" in wrong).folder
    now = morning(day) + timedelta(hours=6, minutes=55)
    frozen = freeze(store, folder, SENTINEL_ITEMS, seed=0, now=now)
    work = world.versions.of(world.folder, edited="guideline" in wrong)
    sql = "SELECT count(DISTINCT run_id) AS n FROM sentinel_answers WHERE strategy_fp = ? AND sentinel_fp = ?"
    given = [work.resolved.fingerprint, frozen.fingerprint]
    asked = store.query(sql, given, fresh=True, only=("sentinel_answers",))["n"][0].as_py()
    entries = {digest_text(entry.text): entry for entry in world.pool.traffic}
    draw = np.random.default_rng([world.seed, day + WARMUP_DAYS, 4])
    said = [world.answer(entries[item_id], wrong, draw) for item_id in frozen.item_ids]
    n = len(said)
    store.append_many(
        {
            "sentinel_answers": {
                "sentinel_fp": [frozen.fingerprint] * n,
                "project": [PROJECT] * n,
                "run_id": [f"{run_id}-s"] * n,
                "after_run_id": [run_id] * n,
                "strategy_fp": [work.resolved.fingerprint] * n,
                "item_id": list(frozen.item_ids),
                "label": [one.label for one in said],
                "confidence": [one.confidence for one in said],
                "provider_fingerprint": [FINGERPRINTS["provider" in wrong]] * n,
                "repeat_idx": [asked] * n,
                "cost_usd": [COST_USD] * n,
                "ts": [now] * n,
            }
        }
    )


def read_alarms(store: TraceStore) -> tuple[Alarm, ...]:
    """Return all alarms that opened, in order."""
    rows = store.query(
        "SELECT kind, subject, change_from, reason, ts FROM alarms WHERE project = ? AND event = 'breached'"
        " ORDER BY ts, subject",
        [PROJECT],
        fresh=True,
    ).to_pylist()
    return tuple(
        Alarm(
            day=day_of(row["ts"]),
            kind=row["kind"],
            subject=row["subject"],
            change_from=None if row["change_from"] is None else f"{row['change_from']:%Y-%m-%d}",
            reason=row["reason"] or "",
        )
        for row in rows
    )


def read_findings(store: TraceStore) -> tuple[FindingCourse, ...]:
    """Return the course of each finding that an alarm opened."""
    rows = store.query(
        "SELECT finding_id, max(source_id) AS source_id, min(ts) FILTER (event = 'opened') AS opened,"
        " max(ts) FILTER (event = 'closed') AS closed, max(ts) FILTER (event = 'reopened') AS again,"
        " count(*) FILTER (event = 'reopened') AS n_again"
        " FROM findings WHERE project = ? GROUP BY finding_id HAVING max(source) = 'monitor' ORDER BY opened",
        [PROJECT],
        fresh=True,
    ).to_pylist()
    return tuple(
        FindingCourse(
            source_id=row["source_id"],
            opened=day_of(row["opened"]),
            closed=day_of(row["closed"])
            if row["closed"] and (row["again"] is None or row["closed"] > row["again"])
            else None,
            reopened=row["n_again"],
        )
        for row in rows
    )


def day_of(ts: datetime) -> int:
    """Return the day of the month of a stored time."""
    return (ts - morning(1)).days + 1


def months_of(row: Mapping[str, Mapping[str, Any]]) -> dict[str, Month]:
    """Return the months of a seed from the JSON values they were written as."""
    return {
        name: Month(
            **{
                **one,
                "incidents": tuple(Incident(**incident) for incident in one["incidents"]),
                "alarms": tuple(Alarm(**alarm) for alarm in one["alarms"]),
                "diagnoses": tuple(
                    Diagnosis(**{**d, "causes": tuple(d["causes"])}) for d in one["diagnoses"]
                ),
                "findings": tuple(FindingCourse(**finding) for finding in one["findings"]),
                "pass_seconds": tuple(one["pass_seconds"]),
            }
        )
        for name, one in row.items()
    }
