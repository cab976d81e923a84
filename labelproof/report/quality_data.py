"""Automatic decisions with their audits, read from the store; what each question's SQL is."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from labelproof.store import TraceStore

# The latest decision of the period per item and strategy version, as in the view current_decisions; a run
# belongs to one project. Each audited item's question to people is one task, whoever decided the item. CASE
# keeps the join a hash join: with a second condition on the left side alone it takes every pair of rows.
_DECIDED = """WITH mine AS (
    SELECT run_id, any_value(strategy) AS strategy FROM runs WHERE project = $project GROUP BY run_id
),
decided AS (
    SELECT d.* FROM decisions AS d JOIN mine AS r USING (run_id)
    WHERE ($since IS NULL OR d.ts >= $since) AND ($until IS NULL OR d.ts < $until)
      AND ($strategy IS NULL OR r.strategy = $strategy OR d.strategy_fp = $strategy)
    QUALIFY row_number() OVER (
        PARTITION BY d.item_id, d.strategy_fp ORDER BY d.ts DESC NULLS LAST, d.run_id DESC
    ) = 1
),
audits AS (
    -- A question raised needs an adjudicator as a dispute does; a closed audit is still unanswered.
    SELECT item_id,
           any_value(CASE state WHEN 'escalated' THEN 'disputed' WHEN 'closed' THEN 'open' ELSE state END) AS state,
           any_value(final_label) AS final_label,
           any_value(n_answers - n_votes) AS n_undecided
    FROM task_outcomes WHERE project = $project AND kind = 'audit' GROUP BY item_id
),
auto AS (
    SELECT d.*, a.state, a.final_label, a.n_undecided
    FROM decided AS d LEFT JOIN audits AS a ON a.item_id = CASE WHEN d.audited THEN d.item_id END
    WHERE d.decision = 'auto_accept'
)
"""
ANSWER = (
    _DECIDED
    + """SELECT item_id, label, confidence, inclusion_prob, coalesce(audited, false) AS drawn, certificate_id,
       strategy_fp, ts, state, final_label, coalesce(n_undecided, 0) AS n_undecided
FROM auto ORDER BY ts, item_id, strategy_fp
"""
)
COUNTS = (
    _DECIDED
    + """SELECT count(*) AS auto_accepted, count(*) FILTER (audited) AS drawn,
       count(*) FILTER (final_label IS NOT NULL) AS audited,
       count(*) FILTER (final_label <> label) AS wrong,
       count(*) FILTER (audited AND state = 'disputed') AS disputed,
       count(*) FILTER (audited AND coalesce(state, 'open') = 'open') AS open
FROM auto WHERE inclusion_prob > 0 AND inclusion_prob <= 1 AND confidence BETWEEN 0 AND 1
"""
)
CLASSES = (
    _DECIDED
    + """SELECT label, count(*) AS auto_accepted, count(*) FILTER (final_label IS NOT NULL) AS audited,
       count(*) FILTER (final_label <> label) AS wrong
FROM auto WHERE inclusion_prob > 0 AND inclusion_prob <= 1 AND confidence BETWEEN 0 AND 1
GROUP BY label ORDER BY label
"""
)
OUTSIDE = (
    _DECIDED
    + """SELECT count(*) AS decisions, count(*) FILTER (audited) AS drawn
FROM auto WHERE NOT coalesce(inclusion_prob > 0 AND inclusion_prob <= 1 AND confidence BETWEEN 0 AND 1, false)
"""
)
# A monitor reads one promise's whole history in the order in which audits were drawn: restarting it at a chosen
# date would void what it promises, and the order of answers depends on them (disputes are settled last).
MONITORS = """WITH mine AS (SELECT DISTINCT run_id FROM runs WHERE project = $project),
drawn AS (
    SELECT d.* FROM decisions AS d JOIN mine USING (run_id)
    WHERE d.decision = 'auto_accept' AND d.audited AND d.inclusion_prob > 0 AND d.inclusion_prob <= 1
    QUALIFY row_number() OVER (
        PARTITION BY coalesce(d.certificate_id, d.strategy_fp), d.item_id ORDER BY d.ts, d.run_id
    ) = 1
)
SELECT d.certificate_id, d.strategy_fp, d.item_id, d.label, d.inclusion_prob, d.ts, t.final_label
FROM drawn AS d
JOIN task_outcomes AS t ON t.item_id = d.item_id AND t.project = $project AND t.kind = 'audit'
WHERE t.final_label IS NOT NULL
ORDER BY d.ts, d.item_id, d.strategy_fp
"""
_CERTIFICATES = """
SELECT c.certificate_id, any_value(c.spec_json) AS spec_json, bool_or(e.event = 'voided') AS voided,
       any_value(e.reason) FILTER (e.event = 'voided') AS void_reason
FROM certificates AS c LEFT JOIN certificate_events AS e USING (certificate_id)
WHERE c.certificate_id IN (SELECT unnest($ids)) GROUP BY c.certificate_id
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Period:
    """Which decisions are asked about: ``since`` <= time < ``until``, of one strategy (name or version) or all."""

    project: str
    strategy: str | None = None
    since: datetime | None = None
    until: datetime | None = None

    def params(self) -> dict[str, Any]:
        return {
            "project": self.project,
            "strategy": self.strategy,
            "since": self.since,
            "until": self.until,
        }


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class AutoDecisions:
    """Automatic decisions (N,) that could have been audited, and the drawn ones among them.

    ``label``, ``certificate_id`` (None: none) and ``strategy_fp`` are arrays of objects, ``day`` is
    in UTC; ``drawn`` (n,) are
    positions of the drawn ones, ``state``, ``final_label`` (None until settled), ``n_undecided`` (n,) theirs
    (answers without a label: skip, flag, unclear).
    ``outside``: reason -> how many automatic decisions the answer does not cover.
    """

    label: npt.NDArray[np.object_]
    confidence: npt.NDArray[np.float64]
    inclusion_prob: npt.NDArray[np.float64]
    certificate_id: npt.NDArray[np.object_]
    strategy_fp: npt.NDArray[np.object_]
    item_id: npt.NDArray[np.object_]
    drawn: npt.NDArray[np.int64]
    state: npt.NDArray[np.object_]
    final_label: npt.NDArray[np.object_]
    n_undecided: npt.NDArray[np.int64]
    day: npt.NDArray[np.datetime64]
    outside: Mapping[str, int]

    @property
    def n(self) -> int:
        return int(self.label.size)

    @property
    def settled(self) -> npt.NDArray[np.int64]:
        """Positions within ``drawn`` of the audits that have a final label."""
        return np.flatnonzero([label is not None for label in self.final_label])


def read_decisions(store: TraceStore, period: Period) -> AutoDecisions:
    """Return the latest automatic decisions of a period per item and strategy version, with their audits."""
    return decisions_in(store.query(ANSWER, period.params(), fresh=True))


def decisions_in(table: pa.Table) -> AutoDecisions:
    """Return the decisions of a table with the columns of ``ANSWER``."""
    confidence, prob = _floats(table, "confidence"), _floats(table, "inclusion_prob")
    with np.errstate(invalid="ignore"):
        no_prob, never = np.isnan(prob), prob <= 0
        wrong_prob = prob > 1
        no_confidence = ~((confidence >= 0) & (confidence <= 1))
    reasons = {
        "no inclusion probability was stored when they were routed": no_prob,
        "they could not be drawn: their audit rate was 0": never & ~no_prob,
        "their stored inclusion probability is above 1": wrong_prob,
        "they have no calibrated confidence": no_confidence & ~no_prob & ~never & ~wrong_prob,
    }
    kept = np.flatnonzero(~np.logical_or.reduce(list(reasons.values())))
    inside = table.take(pa.array(kept))
    drawn = np.flatnonzero(inside["drawn"].to_numpy(zero_copy_only=False))
    audits = inside.take(pa.array(drawn))
    return AutoDecisions(
        label=_objects(inside, "label"),
        confidence=confidence[kept],
        inclusion_prob=prob[kept],
        certificate_id=_objects(inside, "certificate_id"),
        strategy_fp=_objects(inside, "strategy_fp"),
        item_id=_objects(inside, "item_id"),
        drawn=drawn,
        state=_objects(audits, "state"),
        final_label=_objects(audits, "final_label"),
        n_undecided=audits["n_undecided"].to_numpy(zero_copy_only=False).astype(np.int64),
        day=_days(inside),
        outside={reason: int(mask.sum()) for reason, mask in reasons.items() if mask.any()},
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditAnswer:
    """One settled audit in a monitor's stream."""

    certificate_id: str | None
    strategy_fp: str
    item_id: str
    label: str
    inclusion_prob: float
    wrong: bool
    decided_at: datetime


def read_streams(store: TraceStore, project: str) -> list[AuditAnswer]:
    """Return all settled audits of a project in the order in which they were drawn."""
    rows = store.query(MONITORS, {"project": project}, fresh=True).to_pylist()
    return [
        AuditAnswer(
            certificate_id=row["certificate_id"],
            strategy_fp=row["strategy_fp"],
            item_id=row["item_id"],
            label=row["label"],
            inclusion_prob=row["inclusion_prob"],
            wrong=row["final_label"] != row["label"],
            decided_at=row["ts"],
        )
        for row in rows
    ]


def read_certificates(store: TraceStore, ids: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Return certificate id -> spec_json, voided, void_reason, for those that are stored."""
    rows = store.query(_CERTIFICATES, {"ids": sorted(ids)}, fresh=True).to_pylist()
    return {row["certificate_id"]: row for row in rows}


def filled_in(sql: str, params: Mapping[str, Any]) -> str:
    """Return ``sql`` with its parameters written out, ready for `labelproof sql`."""

    def literal(match: re.Match[str]) -> str:
        value = params[match[1]]
        if value is None:
            return "NULL"
        if isinstance(value, datetime):
            return f"TIMESTAMPTZ '{value.isoformat()}'"
        return "'" + str(value).replace("'", "''") + "'"

    return re.sub(r"\$(\w+)", literal, sql).strip()


def _floats(table: pa.Table, name: str) -> npt.NDArray[np.float64]:
    """Return a column as floats; NULL is NaN."""
    return np.asarray(table[name].cast(pa.float64()).to_numpy(zero_copy_only=False), dtype=np.float64)


def _days(table: pa.Table) -> npt.NDArray[np.datetime64]:
    """Return the day in UTC on which each decision was made."""
    return np.asarray(
        table["ts"].cast(pa.timestamp("s", tz="UTC"), safe=False).to_numpy(zero_copy_only=False)
    ).astype("datetime64[D]")


def _objects(table: pa.Table, name: str) -> npt.NDArray[np.object_]:
    # Made by Arrow, not one by one in Python: there may be hundreds of thousands.
    return np.asarray(table[name].to_numpy(zero_copy_only=False), dtype=np.object_)
