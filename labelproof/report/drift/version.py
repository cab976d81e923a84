"""Whether what decides was compared or approved: a strategy version nobody answered for is an event, not a test."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from labelproof.report.drift.read import DAY, MINE, with_values
from labelproof.report.monitor.model import Measurement
from labelproof.spec.hashing import short
from labelproof.spec.project import ProjectFolder
from labelproof.store import TraceStore

VERSIONS = (
    MINE
    + """decided AS (
    SELECT d.strategy_fp, min(d.ts) AS first_ts, max(d.ts) AS last_ts, count(*) AS n,
           count(*) FILTER (d.ts >= $window) AS n_window
    FROM decisions AS d JOIN mine USING (run_id) WHERE d.ts <= $until GROUP BY ALL
)
SELECT strategy_fp, first_ts, last_ts, n, n_window,
       (SELECT any_value(strategy) FROM strategies AS s WHERE s.strategy_fp = decided.strategy_fp) AS strategy,
       (SELECT count(*) FROM rollouts AS r WHERE r.project = $project AND r.fp_to = decided.strategy_fp
            AND r.event IN ('approved', 'promoted', 'canary') AND r.ts <= $until) AS n_approved,
       (SELECT count(*) FROM comparisons AS c WHERE c.project = $project AND c.fp_b = decided.strategy_fp
            AND c.verdict = 'ship' AND c.ts <= $until) AS n_shipped
FROM decided ORDER BY first_ts, strategy_fp
"""
)


def measure_version(
    store: TraceStore, folder: ProjectFolder, *, version: str | None, now: datetime, run_id: str | None
) -> Measurement:
    """Return whether the strategy version in use took over in the window without a comparison or an approval.

    ``value``: share of the window's decisions that it made. Answered for: promoted, approved or a canary (`labelproof
    rollout`, `promote`), or a comparison that said ship. The alarm ends with any of these, when another
    version decides again, or when the version is ``window_days`` old: what it does is known by then. A project whose first
    decision was less than ``window_days`` before the change is still being set up, and does not alarm.
    """
    length = folder.spec.monitoring.window_days * DAY
    window = now - length
    params: dict[str, Any] = {"project": folder.name, "window": window, "until": now}
    rows = store.query(VERSIONS, params, fresh=True).to_pylist()
    own = next((row for row in rows if row["strategy_fp"] == version), None)
    total = sum(row["n_window"] for row in rows)
    state, reason = _said(rows, own, window, length)
    return Measurement(
        kind="drift",
        subject="strategy",
        state=state,
        value=own["n_window"] / total if own is not None and total else None,
        n=total,
        method="share of decisions by the version in use; a count, no test",
        reason=reason,
        sql=with_values(VERSIONS, params),
        window_from=window,
        window_to=now,
        strategy_fp=version,
        run_id=run_id,
        change_from=own["first_ts"] if own is not None and state == "alarm" else None,
        level="minor",
        detail={"versions": [row["strategy_fp"] for row in rows][-5:]},
    )


def _said(
    rows: Sequence[Mapping[str, Any]], own: Mapping[str, Any] | None, window: datetime, length: timedelta
) -> tuple[Any, str]:
    """State and reason."""
    if own is None:
        return "unknown", "nothing was decided in the window"
    name = _name(own)
    before = [row for row in rows if row["first_ts"] < own["first_ts"]]
    if not before:
        return "quiet", f"{name} is the first version that decides"
    since = f"{own['first_ts']:%Y-%m-%d %H:%M}"
    if own["n_approved"]:
        return "quiet", f"{name} decides since {since}, and its roll-out was approved"
    if own["n_shipped"]:
        return "quiet", f"{name} decides since {since}, and a comparison said ship"
    if own["first_ts"] < window:
        return "quiet", f"{name} decides since {since}"
    if own["first_ts"] - rows[0]["first_ts"] < length:
        return "quiet", f"{name} decides since {since}; the project was still being set up"
    old = _name(max(before, key=lambda row: row["last_ts"]))
    return "alarm", (
        f"{name} decides since {since} in place of {old}, and nobody compared, approved or promoted it: "
        "`labelproof compare` says what it does"
    )


def _name(row: Mapping[str, Any]) -> str:
    return f"{row['strategy'] or 'a version'}@{short(row['strategy_fp'])}"
