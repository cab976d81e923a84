"""A project at a glance: coverage, quality, the queue, deadlines, agreement; each with the query behind it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa

from evaluation.agreement import krippendorff_alpha, percent_agreement
from evaluation.intervals import Estimate, undefined, wilson
from evaluation.votes import VoteTable
from labelproof.report.certificate_list import certificate_list
from labelproof.report.numbers import plain_count as count
from labelproof.report.quality import interval_text, percent, quality_report
from labelproof.report.quality_data import filled_in
from labelproof.review.people import _dashboard_sql as queries
from labelproof.review.queue import QueueOverview
from labelproof.spec.project import ProjectFolder
from labelproof.store import TraceStore

VOTE_DAYS = 14
AGREEMENT_DAYS = 30
_REVIEW_TABLES = ("votes", "review_tasks", "review_events")
_NOT_MEASURABLE = "cannot be told"


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """One number with what to know about it, the query it comes from, and its parts as JSON values (``numbers``)."""

    key: str
    title: str
    value: str
    detail: str
    sql: str
    numbers: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Dashboard:
    """All panels of a project, in the order of the page."""

    project: str
    at: datetime
    panels: tuple[Panel, ...]

    def panel(self, key: str) -> Panel:
        """Return the panel with this key; ``KeyError`` when there is none."""
        found = {panel.key: panel for panel in self.panels}
        return found[key]

    def to_json(self) -> dict[str, Any]:
        """Return the panels as JSON values."""
        return {
            "project": self.project,
            "at": self.at.isoformat(),
            "panels": [asdict(panel) for panel in self.panels],
        }


def dashboard(
    store: TraceStore, folder: ProjectFolder, overview: QueueOverview, *, now: datetime
) -> Dashboard:
    """Return the project's panels: coverage, quality, queue, sla, votes, agreement, outcomes, certificates.

    ``overview``: the queue as the desk holds it. Reads only: an alarm of a quality monitor that is seen here voids
    no certificate.
    """
    look = _Look(store=store, folder=folder, now=now)
    return Dashboard(
        project=folder.name,
        at=now,
        panels=(
            _coverage(look),
            _quality(look),
            _queue(look, overview),
            _sla(look, overview),
            _votes(look),
            _agreement(look),
            _outcomes(look, overview),
            _certificates(look),
        ),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Look:
    """One look at a store: every panel reads the same project at the same time."""

    store: TraceStore
    folder: ProjectFolder
    now: datetime

    def ask(
        self, sql: str, params: Mapping[str, Any], *, only: Sequence[str] = _REVIEW_TABLES
    ) -> tuple[list[dict[str, Any]], str]:
        """Return the rows, and the query with its parameters written out."""
        given = {"project": self.folder.name, **params}
        rows: list[dict[str, Any]] = self.store.query(sql, given, fresh=True, only=only).to_pylist()
        return rows, filled_in(sql, given)

    def since(self, days: float) -> datetime:
        return self.now - timedelta(days=days)


def _coverage(look: _Look) -> Panel:
    strategy = look.folder.spec.default_strategy
    rows, sql = look.ask(queries.COVERAGE, {"strategy": strategy}, only=("runs", "decisions"))
    numbers = rows[0]
    decided = numbers["decided"]
    share = numbers["auto_accepted"] / decided if decided else None
    detail = (
        (
            f"{count(numbers['auto_accepted'])} of {count(decided)} items that {strategy} decided; "
            f"{count(numbers['to_people'])} to people, {count(numbers['failed'])} failed"
        )
        if decided
        else f"{strategy} has decided no item yet"
    )
    return Panel(
        key="coverage",
        title="Decided by the machine",
        value=_rate(share),
        detail=detail,
        sql=sql,
        numbers={**numbers, "share": share, "strategy": strategy},
    )


def _quality(look: _Look) -> Panel:
    report = quality_report(
        look.store,
        look.folder,
        strategy=look.folder.spec.default_strategy,
        now=look.now,
        void_certificates=False,
    )
    right = None if report.quality is None else report.quality.correct
    return Panel(
        key="quality",
        title="Right when decided by the machine",
        value=_rate(None if right is None else right.value),
        detail=f"{report.sentence} {report.promise_sentence}",
        sql=report.panels()["answer"],
        numbers={
            "right": None if right is None else asdict(right),
            "n_audits": report.audits.n_settled,
            "n_drawn": report.audits.n_drawn,
            "promised": report.promised,
            "verdict": report.verdict,
            "alarms": sum(one.sla_alarm or one.drift_alarm for one in report.monitors),
            "why_not": report.why_not,
            "next": report.next_step,
        },
    )


def _queue(look: _Look, overview: QueueOverview) -> Panel:
    sql = queries.queue_age(look.folder.spec.review, look.folder.spec.labels)
    rows, shown = look.ask(sql, {"now": look.now})
    median = {row["kind"]: row["median_hours"] for row in rows}
    oldest = {
        str(kind): (look.now - made).total_seconds() / 3600 for kind, made in overview.oldest_by_kind.items()
    }
    by_kind = {
        str(kind): {
            "open": n,
            "overdue": overview.overdue_by_kind.get(kind, 0),
            "oldest_hours": oldest.get(kind),
            "median_hours": median.get(kind),
        }
        for kind, n in overview.open_by_kind.items()
        if n
    }
    overdue = ", ".join(f"{kind} {row['overdue']}" for kind, row in by_kind.items() if row["overdue"])
    detail = "nothing waits"
    if by_kind:
        middle = median.get(None)
        detail = f"oldest {hours_text(max(oldest.values()))}" + (
            f", median {hours_text(middle)}" if middle is not None else ""
        )
        detail += f"; overdue: {overdue or 'none'}; {overview.n_held} in hand now"
    return Panel(
        key="queue",
        title="Waiting for people",
        value=f"{count(overview.n_open)} open, {count(overview.n_overdue)} overdue",
        detail=detail,
        sql=shown,
        numbers={
            "open": overview.n_open,
            "overdue": overview.n_overdue,
            "held": overview.n_held,
            "oldest_hours": max(oldest.values(), default=None),
            "median_hours": median.get(None),
            "by_kind": by_kind,
        },
    )


def _sla(look: _Look, overview: QueueOverview) -> Panel:
    sql = queries.sla(look.folder.spec.review, look.folder.spec.labels)
    rows, shown = look.ask(sql, {"now": look.now, "week": look.since(7), "month": look.since(30)})
    row = rows[0]
    week = _share(row["met_week"], row["n_week"], "no task was decided in the last 7 days")
    month = _share(row["met_month"], row["n_month"], "no task was decided in the last 30 days")
    return Panel(
        key="sla",
        title="Answered when due (7 days)",
        value=_rate(week.value),
        detail=(
            f"7 days: {_with_interval(week)}; 30 days: {_with_interval(month)}; "
            f"not counted: {count(overview.n_overdue)} still open and overdue"
        ),
        sql=shown,
        numbers={
            "days_7": asdict(week),
            "days_30": asdict(month),
            "overdue_open": overview.n_overdue,
        },
    )


def _votes(look: _Look) -> Panel:
    today = look.now.astimezone(UTC).date()
    first = today - timedelta(days=VOTE_DAYS - 1)
    since = datetime(first.year, first.month, first.day, tzinfo=UTC)
    rows, sql = look.ask(queries.PER_DAY, {"since": since, "until": look.now})
    found = {row["utc_date"]: row["votes"] for row in rows}
    days = [
        {"day": (first + timedelta(days=i)).isoformat(), "votes": found.get(first + timedelta(days=i), 0)}
        for i in range(VOTE_DAYS)
    ]
    total = sum(found.values())
    return Panel(
        key="votes",
        title="Votes today",
        value=count(found.get(today, 0)),
        detail=f"{count(total)} in the last {VOTE_DAYS} days (UTC)",
        sql=sql,
        numbers={"days": days, "total": total},
    )


def _agreement(look: _Look) -> Panel:
    given = {"project": look.folder.name, "since": look.since(AGREEMENT_DAYS), "until": look.now}
    votes = look.store.query(queries.DOUBLE_VOTES, given, fresh=True, only=_REVIEW_TABLES)
    table = _counted(votes)
    if table.items:
        alpha, same = krippendorff_alpha(table), percent_agreement(table)
    else:
        alpha = same = undefined("krippendorff-alpha", 0, "no blind task has two votes")
    detail = f"{_NOT_MEASURABLE}: {alpha.reason}"
    if alpha.value is not None:
        interval = (
            f"no interval: {alpha.reason}"
            if alpha.low is None
            else f"95 % interval {alpha.low:.2f} to {alpha.high:.2f}"
        )
        detail = (
            f"Krippendorff's alpha on {count(alpha.n)} blind tasks with two votes in {AGREEMENT_DAYS} days "
            f"({interval}); the same label: {percent(same.value)} % of pairs"
        )
    return Panel(
        key="agreement",
        title="Agreement of blind votes",
        value=_NOT_MEASURABLE if alpha.value is None else f"{alpha.value:.2f}",
        detail=detail,
        sql=filled_in(queries.DOUBLE_VOTES, given),
        numbers={"alpha": asdict(alpha), "same_label": asdict(same)},
    )


def _counted(votes: pa.Table) -> VoteTable:
    """Return how many votes each label got on each task, from the columns task_id and label."""
    task, label = (votes[name].combine_chunks().dictionary_encode() for name in ("task_id", "label"))
    counts = np.zeros((len(task.dictionary), len(label.dictionary)), dtype=np.int64)
    np.add.at(counts, (task.indices.to_numpy(), label.indices.to_numpy()), 1)
    return VoteTable.from_counts(counts, labels=label.dictionary.to_pylist())


def _outcomes(look: _Look, overview: QueueOverview) -> Panel:
    found = {str(state): n for state, n in overview.by_state.items()}
    return Panel(
        key="outcomes",
        title="Decided by people",
        value=count(found["agreed"] + found["adjudicated"]),
        detail=", ".join(f"{count(n)} {state}" for state, n in found.items() if state != "open" and n)
        or "no task is answered yet",
        sql=filled_in(queries.OUTCOMES, {"project": look.folder.name}),
        numbers=found,
    )


def _certificates(look: _Look) -> Panel:
    standings = certificate_list(look.store, str(look.folder.folder), look.now)
    states = Counter(one.state for one in standings)
    valid = [
        f"{one.certificate.strategy} until {one.certificate.expires_at[:10]}"
        for one in standings
        if one.state == "valid"
    ]
    others = [f"{n} {state}" for state, n in sorted(states.items()) if state != "valid"]
    return Panel(
        key="certificates",
        title="Valid certificates",
        value=str(states["valid"]),
        detail="; ".join([*valid, *others]) or "none was issued",
        sql=filled_in(queries.CERTIFICATES, {"project": look.folder.name}),
        numbers={
            "valid": states["valid"],
            "all": [
                {
                    "certificate_id": one.certificate.certificate_id,
                    "strategy": one.certificate.strategy,
                    "state": one.state,
                    "reason": one.reason,
                    "expires_at": one.certificate.expires_at,
                }
                for one in standings
            ],
        },
    )


def hours_text(hours: float) -> str:
    """Return a length of time as people say it: 40 min, 5 h, 3.2 days."""
    if hours < 1:
        return f"{60 * hours:.0f} min"
    return f"{hours:.0f} h" if hours < 48 else f"{hours / 24:.1f} days"


def _rate(value: float | None) -> str:
    return _NOT_MEASURABLE if value is None else f"{percent(value)} %"


def _with_interval(share: Estimate) -> str:
    if share.value is None:
        return str(share.reason)
    return f"{percent(share.value)} % of {count(share.n)} ({interval_text(share)})"


def _share(successes: int, n: int, reason: str) -> Estimate:
    return wilson(successes, n) if n else undefined("wilson", 0, reason)
