"""The risk register and the change log: both read from the events that are there anyway."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal

import orjson

from agents.certificates import change_words
from agents.snapshots import diff_snapshots
from labelproof.report.compare.markdown import prose
from labelproof.report.findings.book import findings_of
from labelproof.report.findings.model import Finding
from labelproof.report.rollouts.events import read_rollouts
from labelproof.spec.hashing import short
from labelproof.spec.monitoring import Level
from labelproof.store import TraceStore

if TYPE_CHECKING:
    import pyarrow as pa

Likelihood = Literal["once", "again", "often"]
ChangeKind = Literal["promoted", "rolled back", "guideline", "prompt", "strategy", "target", "finding"]
YEAR = timedelta(days=365)
"""How long back a problem that came back counts for how likely it is."""
_HURTS: Mapping[Level, int] = {"critical": 3, "major": 2, "minor": 1}
_LIKELY: Mapping[Likelihood, int] = {"once": 1, "again": 2, "often": 3}
VERSIONS = """SELECT strategy, strategy_fp, min(ts) AS ts, arg_min(spec_json, ts) AS spec_json FROM strategies
WHERE project = $project GROUP BY strategy, strategy_fp ORDER BY strategy, ts, strategy_fp
"""
TARGETS = """SELECT subject, bound, side, ts FROM measurements WHERE project = $project AND kind = 'target'
  AND bound IS NOT NULL
QUALIFY lag(bound) OVER (PARTITION BY subject ORDER BY ts, measurement_id) IS DISTINCT FROM bound
ORDER BY subject, ts
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Risk:
    """An open or accepted finding in the register. ``score``: severity (1 to 3) times likelihood (1 to 3).

    ``n_seen``: how often the problem appeared in the last year: once, again (twice) or often.
    """

    finding_id: str
    project: str
    risk: str
    severity: Level
    likelihood: Likelihood
    n_seen: int
    score: int
    state: str
    owner: str
    due: datetime | None
    overdue: bool
    age_days: float
    cause: str
    action: str
    check: str
    progress: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """Something that was changed on purpose, or a finding that ended. ``by`` empty: nobody signed it."""

    at: datetime
    project: str
    kind: ChangeKind
    what: str
    by: str
    why: str
    ref: str


def risk_register(findings: Sequence[Finding], now: datetime) -> tuple[Risk, ...]:
    """Return what is open or accepted: overdue first, then the highest score, then the oldest."""
    risks = [_risk(one, now) for one in findings if one.state != "closed"]
    return tuple(sorted(risks, key=lambda r: (not r.overdue, -r.score, -r.age_days, r.finding_id)))


def change_log(
    store: TraceStore,
    project: str,
    *,
    since: datetime | None = None,
    until: datetime | None = None,
) -> tuple[Change, ...]:
    """Return what changed in ``since`` <= time < ``until``, newest first.

    Promotions and rollbacks with who and why, the first use of each guideline, prompt and strategy version, targets
    whose bound changed (as monitors saw it), and findings that were closed or accepted.
    """
    found = [
        *_rollouts(store, project),
        *_versions(store, project),
        *_targets(store, project),
        *_endings(findings_of(store, project)),
    ]
    inside = [
        one for one in found if (since is None or one.at >= since) and (until is None or one.at < until)
    ]
    return tuple(sorted(inside, key=lambda one: (one.at, one.ref, one.what), reverse=True))


RISK_COLUMNS = (
    *("severity", "risk", "likelihood", "score", "state", "owner", "due", "overdue", "age_days"),
    *("cause", "action", "check", "progress", "project", "finding_id"),
)
CHANGE_COLUMNS = ("at", "kind", "what", "by", "why", "project", "ref")


def rows_of(entries: Sequence[Risk | Change]) -> list[dict[str, Any]]:
    """Return entries as JSON values; times as ISO 8601."""
    return [
        {
            key: value.isoformat() if isinstance(value, datetime) else value
            for key, value in asdict(one).items()
        }
        for one in entries
    ]


def arrow_table(entries: Sequence[Risk | Change], columns: Sequence[str]) -> pa.Table:
    """Return entries as a table of texts and numbers, for a file."""
    import pyarrow as pa

    rows = rows_of(entries)
    return pa.table({name: pa.array([row[name] for row in rows]) for name in columns})


def markdown_table(title: str, entries: Sequence[Risk | Change], columns: Sequence[str]) -> str:
    """Return entries as a Markdown table in which nothing from outside comes alive."""
    if not entries:
        return f"# {prose(title)}\n\nNothing.\n"
    lines = [
        f"# {prose(title)}",
        "",
        f"| {' | '.join(name.replace('_', ' ') for name in columns)} |",
        f"|{'---|' * len(columns)}",
    ]
    for one in entries:
        cells = [prose(_cell(getattr(one, name))) for name in columns]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _cell(value: object) -> str:
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M}"
    if isinstance(value, bool):
        return "yes" if value else ""
    if isinstance(value, float):
        return f"{value:.1f}"
    return "" if value is None else str(value)


def _risk(one: Finding, now: datetime) -> Risk:
    again = sum(event.event == "reopened" and now - event.ts <= YEAR for event in one.events)
    n_seen = 1 + again
    likelihood: Likelihood = "once" if n_seen == 1 else "again" if n_seen == 2 else "often"
    return Risk(
        finding_id=one.finding_id,
        project=one.project,
        risk=one.title,
        severity=one.severity,
        likelihood=likelihood,
        n_seen=n_seen,
        score=_HURTS[one.severity] * _LIKELY[likelihood],
        state=one.state,
        owner=one.owner,
        due=one.due,
        overdue=one.is_overdue(now),
        age_days=round(one.age_days(now), 2),
        cause=one.cause or "",
        action=one.action or "",
        check=one.check or "",
        progress=one.progress,
    )


def _rollouts(store: TraceStore, project: str) -> list[Change]:
    found = []
    for state in read_rollouts(store, project):
        for event in state.events:
            if event.event == "promoted" or (event.event == "rolled_back" and state.promoted is not None):
                kind: ChangeKind = "promoted" if event.event == "promoted" else "rolled back"
                versions = f"{short(event.fp_from)} → {short(event.fp_to)}"
                found.append(
                    Change(
                        at=event.ts,
                        project=project,
                        kind=kind,
                        what=f"{event.strategy}: {versions if kind == 'promoted' else f'{state.ref} taken back'}",
                        by=event.actor,
                        why=event.reason,
                        ref=event.rollout_id,
                    )
                )
    return found


def _versions(store: TraceStore, project: str) -> list[Change]:
    rows = store.query(VERSIONS, {"project": project}, fresh=True, only=("strategies",)).to_pylist()
    found = []
    kind: ChangeKind
    before: dict[str, Mapping[str, Any]] = {}
    for row in rows:
        name, fp = row["strategy"], row["strategy_fp"]
        snapshot: Mapping[str, Any] = orjson.loads(row["spec_json"])
        known = before.get(name)
        kind, words = ("strategy", "first used") if known is None else _changed(known, snapshot)
        found.append(
            Change(
                at=row["ts"].astimezone(UTC),
                project=project,
                kind=kind,
                what=f"{name}@{short(fp)} {words}",
                by="",
                why="",
                ref=fp,
            )
        )
        before[name] = snapshot
    return found


def _changed(before: Mapping[str, Any], after: Mapping[str, Any]) -> tuple[ChangeKind, str]:
    """Return what kind of change lies between two snapshots, and its words."""
    try:
        steps = diff_snapshots(before, after)
        words = change_words(before, after)
    except (KeyError, TypeError):  # written by another release: that it changed is all that can be told
        return "strategy", "changed"
    paths = [text.path for step in steps for text in step.texts]
    paths += [key.path for step in steps for key in step.keys]
    if any("guideline" in path for path in paths):
        return "guideline", f"changed: {words}"
    if any("prompt" in path for path in paths):
        return "prompt", f"changed: {words}"
    return "strategy", f"changed: {words}"


def _targets(store: TraceStore, project: str) -> list[Change]:
    rows = store.query(TARGETS, {"project": project}, fresh=True, only=("measurements",)).to_pylist()
    found, last = [], dict[str, float]()
    for row in rows:
        sign = "≥" if row["side"] == "at_least" else "≤"
        before = last.get(row["subject"])
        now_says = f"{row['subject']} {sign} {row['bound']:g}"
        what = f"{now_says} is watched" if before is None else f"{now_says}, before {sign} {before:g}"
        last[row["subject"]] = row["bound"]
        found.append(
            Change(
                at=row["ts"].astimezone(UTC),
                project=project,
                kind="target",
                what=what,
                by="",
                why="",
                ref=row["subject"],
            )
        )
    return found


def _endings(findings: Sequence[Finding]) -> list[Change]:
    return [
        Change(
            at=event.ts,
            project=one.project,
            kind="finding",
            what=f"{event.event}: {one.title}",
            by=event.actor,
            why=event.reason or "",
            ref=one.finding_id,
        )
        for one in findings
        for event in one.events
        if event.event in ("closed", "accepted")
    ]
