"""What each target's metric is in a window, with its interval: one reading, nothing judged yet."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa

from evaluation.agreement import krippendorff_alpha
from evaluation.intervals import Estimate, undefined, wilson
from evaluation.promise_watch import HORIZON
from evaluation.votes import VoteTable
from labelproof.report.monitor import queries
from labelproof.report.quality_data import AutoDecisions, decisions_in, filled_in
from labelproof.report.quality_estimates import class_quality, if_disputed_wrong, quality_of
from labelproof.spec.errors import ConfigError
from labelproof.spec.monitoring import TARGET_METRICS
from labelproof.spec.project import ProjectFolder
from labelproof.store import TraceStore

REVIEW_TABLES = ("votes", "review_tasks", "review_events")
PRODUCTION_TABLES = ("runs", "decisions", "rollout_units", "rollouts")
AUDIT_TABLES = (*PRODUCTION_TABLES, *REVIEW_TABLES)
PLAIN = frozenset({"review_age_hours", "cost_per_1000", "throughput_per_hour"})
"""Quantities without a sampling error: everything in the window is counted."""
BY_EVIDENCE = frozenset(TARGET_METRICS) - PLAIN
"""Rates: an alarm needs evidence that may be looked at every day."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """A metric in a window. ``worst``: the estimate with every disputed audit counted against the machine.

    ``strategy_fp`` None: several versions decided, or the metric is not about one. ``detail``: numbers for readers.
    """

    estimate: Estimate
    sql: str
    worst: Estimate | None = None
    strategy_fp: str | None = None
    detail: Mapping[str, Any] = field(default_factory=dict)


@dataclass(slots=True, kw_only=True)
class Window:
    """The production of a project with ``since`` <= time < ``until``; every query is asked once however many metrics read it.

    ``shared``: what windows with other starts read alike; only for windows of one look, whose votes are the same.
    """

    store: TraceStore
    folder: ProjectFolder
    since: datetime
    until: datetime
    shared: dict[str, Any] = field(default_factory=dict)
    _asked: dict[str, Any] = field(default_factory=dict)

    @property
    def params(self) -> dict[str, Any]:
        return {
            "project": self.folder.name,
            "strategy": self.folder.spec.default_strategy,
            "since": self.since,
            "until": self.until,
        }

    def rows(self, sql: str, only: tuple[str, ...], **more: Any) -> list[dict[str, Any]]:
        """Return the rows of a query, which takes its parameters from the window and ``more``."""
        key = repr((sql, sorted(more.items())))
        if key not in self._asked:
            given = {**self.params, **more}
            named = {name: value for name, value in given.items() if f"${name}" in sql}
            self._asked[key] = self._table(sql, named, only).to_pylist()
        found: list[dict[str, Any]] = self._asked[key]
        return found

    def _table(self, sql: str, named: Mapping[str, Any], only: tuple[str, ...]) -> pa.Table:
        """Return the result of a query; the states of review tasks in it are worked out once for all windows."""
        if "task_outcomes" not in sql:
            return self.store.query(sql, named, fresh=True, only=only)
        if "task_outcomes" not in self.shared:
            self.shared["task_outcomes"] = self.store.query(
                queries.OUTCOMES, {"project": self.folder.name}, fresh=True, only=REVIEW_TABLES
            )
        given = {"task_outcomes": self.shared["task_outcomes"]}
        return self.store.query(sql, named, fresh=True, only=PRODUCTION_TABLES, given=given)

    def votes(self, sql: str, time: str) -> list[dict[str, Any]]:
        """Return the rows of a query on votes whose ``time`` lies in the window; windows of one look ask once."""
        since = min(self.since, self.until - timedelta(days=HORIZON))
        key = repr((sql, since, self.until))
        if key not in self.shared:
            params = {"project": self.folder.name, "since": since, "until": self.until}
            self.shared[key] = self.store.query(sql, params, fresh=True, only=REVIEW_TABLES).to_pylist()
        return [row for row in self.shared[key] if row[time] >= self.since]

    def shown(self, sql: str, **more: Any) -> str:
        """Return a query with its parameters written out."""
        return filled_in(sql, {**self.params, **more})

    def counts(self) -> dict[str, Any]:
        """Return the decisions of the window, counted."""
        return self.rows(queries.COUNTS, PRODUCTION_TABLES)[0]

    def audited(self) -> AutoDecisions:
        """Return the automatic decisions of the window with their audits."""
        if "audited" not in self._asked:
            self._asked["audited"] = decisions_in(self._table(queries.AUDITED, self.params, AUDIT_TABLES))
        found: AutoDecisions = self._asked["audited"]
        return found


def read_metric(window: Window, metric: str) -> Reading:
    """Return a metric (as a target names it: ``coverage``, ``recall:hate``) in a window; ``ConfigError`` if unknown."""
    name, _, label = metric.partition(":")
    if name not in TARGET_METRICS or (name == "recall") != bool(label):
        raise ConfigError(
            f"unknown metric {metric!r}; expected one of {', '.join(TARGET_METRICS)}",
            hint="recall names a label: recall:LABEL",
        )
    if name == "recall":
        return _recall(window, label)
    return _READ[name](window)


def _auto_accuracy(window: Window) -> Reading:
    found = window.audited()
    settled = found.settled
    detail = {
        "auto_decisions": found.n,
        "drawn": int(found.drawn.size),
        "settled": int(settled.size),
        "disputed": int((found.state == "disputed").sum()),
        "not_covered": dict(found.outside),
    }
    quality = quality_of(found, settled, np.ones(found.n, dtype=bool)) if settled.size else None
    if quality is None:
        why = (
            "no automatic decision in the window"
            if not found.n
            else f"none of {found.drawn.size} drawn audits of {found.n} automatic decisions is settled"
        )
        estimate, worst = undefined("none", 0, why), None
    else:
        estimate = quality.correct
        worst = if_disputed_wrong(found, settled) if detail["disputed"] else None
    return Reading(
        estimate=estimate,
        worst=worst,
        sql=window.shown(queries.AUDITED),
        strategy_fp=_one_version(found),
        detail=detail,
    )


def _recall(window: Window, label: str) -> Reading:
    """From audits of automatic decisions; where they cannot say, from the gold test split."""
    found = window.audited()
    settled = found.settled
    if settled.size:
        (row,) = class_quality(found, settled, window.folder.spec.labels, [label])
        estimate = row.recall
    else:
        estimate = undefined("none", 0, "no settled audit of an automatic decision in the window")
    if estimate.value is not None:
        return Reading(
            estimate=_told(estimate, f"{estimate.method}, among automatic decisions: audits"),
            sql=window.shown(queries.AUDITED),
            strategy_fp=_one_version(found),
            detail={"source": "audits"},
        )
    gold = window.rows(queries.GOLD_RECALL, ("scores", "runs"), label=f"class={label}")
    if not gold or gold[0]["value"] is None:
        why = f"{estimate.reason}; and the test split of gold has no score of it"
        return Reading(
            estimate=undefined("none", 0, why),
            sql=window.shown(queries.AUDITED),
            detail={"source": None},
        )
    score = gold[0]
    return Reading(
        estimate=Estimate(
            value=score["value"],
            low=score["low"],
            high=score["high"],
            n=int(score["n"] or 0),
            method=f"gold test split, Wilson; audits cannot say: {estimate.reason}",
            reason=None if score["low"] is not None else "no interval was stored",
        ),
        sql=window.shown(queries.GOLD_RECALL, label=f"class={label}"),
        detail={"source": "gold", "gold_fp": score["gold_fp"], "scored_at": score["ts"].isoformat()},
    )


def _coverage(window: Window) -> Reading:
    return _share(window, "auto_accepted")


def _failed_rate(window: Window) -> Reading:
    return _share(window, "failed")


def _share(window: Window, of: str) -> Reading:
    counts = window.counts()
    n = counts["decided"]
    estimate = wilson(counts[of], n) if n else undefined("wilson", 0, "nothing was decided in the window")
    return Reading(
        estimate=_told(estimate, "share of all decisions of the window; Wilson, for the process behind them"),
        sql=window.shown(queries.COUNTS),
        strategy_fp=counts["strategy_fp"] if counts["versions"] == 1 else None,
        detail={name: counts[name] for name in ("decided", "auto_accepted", "to_people", "failed")},
    )


def _cost(window: Window) -> Reading:
    counts = window.counts()
    n, priced = counts["decided"], counts["priced"]
    if not n:
        estimate = undefined("sum", 0, "nothing was decided in the window")
    elif priced < n:
        estimate = undefined("sum", n, f"{n - priced} of {n} decisions have no known price")
    else:
        estimate = _exact(
            float(counts["cost_per_1000"]), n, "sum over all decisions, cached answers at their first price"
        )
    return Reading(
        estimate=estimate,
        sql=window.shown(queries.COUNTS),
        strategy_fp=counts["strategy_fp"] if counts["versions"] == 1 else None,
        detail={"cost_usd": counts["cost_usd"], "decided": n},
    )


def _throughput(window: Window) -> Reading:
    row = window.rows(queries.THROUGHPUT, PRODUCTION_TABLES)[0]
    hours = row["hours"] or 0.0
    method = "items decided per hour in which a run was under way"
    if not row["decided"]:
        estimate = undefined(method, 0, "nothing was decided in the window")
    elif hours <= 0:
        estimate = undefined(method, row["decided"], "no run's time is known")
    else:
        estimate = _exact(row["decided"] / hours, row["decided"], method)
    return Reading(
        estimate=estimate,
        sql=window.shown(queries.THROUGHPUT),
        detail={"decided": row["decided"], "hours": hours},
    )


def _review_age(window: Window) -> Reading:
    row = window.rows(queries.AGE, REVIEW_TABLES)[0]
    value = row["p95_hours"] if row["waiting"] else 0.0
    return Reading(
        estimate=_exact(
            float(value), row["waiting"], "95th percentile of the hours that open tasks have waited"
        ),
        sql=window.shown(queries.AGE),
        detail={"waiting": row["waiting"], "oldest_hours": row["oldest_hours"]},
    )


def _agreement(window: Window) -> Reading:
    rows = window.votes(queries.VOTES, "asked_at")
    table = VoteTable.from_votes((row["task_id"], row["annotator"], row["label"]) for row in rows)
    is_sets = window.folder.spec.labels.kind == "multi"
    estimate = krippendorff_alpha(table, distance="masi" if is_sets else "nominal")
    return Reading(
        estimate=_told(estimate, f"Krippendorff's alpha, {estimate.method} over tasks"),
        sql=window.shown(queries.VOTES),
        detail={"tasks": len(table.items), "votes": table.n_votes, "reviewers": len(table.annotators)},
    )


def _reviewer_accuracy(window: Window) -> Reading:
    rows = window.votes(queries.CHECKS, "ts")
    n = Counter(row["annotator"] for row in rows)
    right = Counter(row["annotator"] for row in rows if row["is_right"])
    estimate = (
        wilson(right.total(), n.total())
        if rows
        else undefined("wilson", 0, "no hidden gold was answered in the window")
    )
    return Reading(
        estimate=_told(estimate, "all reviewers on hidden gold, Wilson"),
        sql=window.shown(queries.CHECKS),
        detail={"reviewers": {name: {"n": n[name], "right": right[name]} for name in sorted(n)}},
    )


_READ = {
    "auto_accuracy": _auto_accuracy,
    "coverage": _coverage,
    "failed_rate": _failed_rate,
    "agreement": _agreement,
    "review_age_hours": _review_age,
    "cost_per_1000": _cost,
    "throughput_per_hour": _throughput,
    "reviewer_accuracy": _reviewer_accuracy,
}


def _exact(value: float, n: int, method: str) -> Estimate:
    """A number without a sampling error: it is its own interval."""
    return Estimate(value=value, low=value, high=value, n=n, method=method)


def _told(estimate: Estimate, method: str) -> Estimate:
    return Estimate(
        value=estimate.value,
        low=estimate.low,
        high=estimate.high,
        n=estimate.n,
        method=method,
        reason=estimate.reason,
    )


def _one_version(found: AutoDecisions) -> str | None:
    versions = set(found.strategy_fp[found.drawn])
    return str(versions.pop()) if len(versions) == 1 else None
