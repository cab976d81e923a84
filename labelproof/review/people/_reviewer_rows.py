"""What reviewers answered, read from the store: one query a question."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from labelproof.store import TraceStore

READS = ("votes", "review_tasks", "review_events")
"""Tables behind these queries; waiting rows of others need not be copied."""
_TASKS = """tasks AS (
    SELECT task_id, kind, label, blind FROM review_tasks WHERE project = $project
    QUALIFY row_number() OVER (PARTITION BY task_id ORDER BY ts NULLS LAST) = 1
)"""
_MINE = """mine AS (
    SELECT * FROM current_votes
    WHERE project = $project AND role = 'reviewer' AND ts >= $since AND ts <= $until
)"""
# Taken back: counted as events, since the answer given instead is the current one. A vote stored twice is one.
ANSWERS = f"""WITH {_MINE},
given AS (
    SELECT annotator,
           count(*) FILTER (answer = 'label') AS n_label,
           count(*) FILTER (answer = 'skip') AS n_skip,
           count(*) FILTER (answer = 'flag') AS n_flag,
           count(*) FILTER (answer = 'unclear') AS n_unclear,
           count(*) FILTER (answer <> 'withdrawn' AND seconds > 0 AND isfinite(seconds)) AS n_timed,
           quantile_cont(seconds, 0.5) FILTER (answer <> 'withdrawn' AND seconds > 0 AND isfinite(seconds)) AS median_s,
           quantile_cont(seconds, 0.9) FILTER (answer <> 'withdrawn' AND seconds > 0 AND isfinite(seconds)) AS p90_s
    FROM mine GROUP BY annotator
),
more AS (
    SELECT annotator,
           count(DISTINCT vote_id) FILTER (role = 'reviewer' AND answer = 'withdrawn') AS n_withdrawn,
           count(DISTINCT task_id) FILTER (role = 'adjudicator' AND answer = 'label') AS n_adjudicated
    FROM votes WHERE project = $project AND ts >= $since AND ts <= $until GROUP BY annotator
)
SELECT * FROM more LEFT JOIN given USING (annotator) WHERE annotator <> '' ORDER BY annotator
"""
CHECKS = f"""WITH {_TASKS}
SELECT v.annotator, v.answer, v.label, t.label AS gold, v.ts
FROM current_votes AS v JOIN tasks AS t USING (task_id)
WHERE v.project = $project AND v.role = 'reviewer' AND v.ts <= $until AND v.answer <> 'withdrawn'
  AND t.kind = 'check' AND t.label <> ''
ORDER BY v.ts, v.vote_id
"""
# Each vote beside that of the first other reviewer on the task, so that a task counts once for each of them.
SHARED = f"""WITH {_TASKS}, {_MINE},
placed AS (
    SELECT v.annotator, v.label, row_number() OVER place AS place, count(*) OVER (PARTITION BY v.task_id) AS n,
           first_value(v.label) OVER everyone AS first, nth_value(v.label, 2) OVER everyone AS second
    FROM mine AS v JOIN tasks AS t USING (task_id)
    WHERE v.answer = 'label' AND v.label <> '' AND t.kind <> 'check' AND coalesce(t.blind, true)
    WINDOW place AS (PARTITION BY v.task_id ORDER BY v.ts, v.annotator),
           everyone AS (PARTITION BY v.task_id ORDER BY v.ts, v.annotator
                        ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING)
)
SELECT annotator, label AS own, CASE WHEN place = 1 THEN second ELSE first END AS other, count(*) AS n
FROM placed WHERE n > 1 GROUP BY ALL ORDER BY ALL
"""
LABELS = f"""WITH {_TASKS}, {_MINE}
SELECT v.annotator, t.kind, coalesce(t.blind, true) AS blind, v.label, count(*) AS n,
       count(*) FILTER (t.label <> '') AS n_machine, count(*) FILTER (t.label = v.label) AS n_same
FROM mine AS v JOIN tasks AS t USING (task_id)
WHERE v.answer = 'label' AND v.label <> '' AND t.kind <> 'check'
GROUP BY ALL ORDER BY ALL
"""
ADJUDICATED = f"""WITH {_MINE},
settled AS (
    SELECT task_id, label AS machine, final_label FROM task_outcomes
    WHERE project = $project AND state = 'adjudicated' AND kind <> 'check'
)
SELECT v.annotator, count(*) AS n, count(*) FILTER (v.label = s.final_label) AS n_upheld,
       count(*) FILTER (s.machine <> '' AND s.machine <> s.final_label) AS n_machine_wrong,
       count(*) FILTER (s.machine <> s.final_label AND v.label = s.machine) AS n_repeated
FROM mine AS v JOIN settled AS s USING (task_id)
ANTI JOIN (
    SELECT task_id, annotator FROM current_votes WHERE project = $project AND role = 'adjudicator'
) AS own ON own.task_id = v.task_id AND own.annotator = v.annotator
WHERE v.answer = 'label' GROUP BY v.annotator
"""
# As the desk counts it for the daily limits: every role, and an answer taken back was still read.
SEEN = f"""WITH {_TASKS},
latest AS (
    SELECT * FROM votes
    WHERE project = $project AND answer <> 'withdrawn' AND ts >= $today AND ts <= $until
    QUALIFY row_number() OVER (PARTITION BY annotator, task_id ORDER BY ts DESC, vote_id DESC) = 1
)
SELECT v.annotator, t.kind, t.label AS machine, v.label, count(*) AS n
FROM latest AS v LEFT JOIN tasks AS t USING (task_id) GROUP BY ALL
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckRow:
    """One answered check; ``right`` is None when the answer was no label."""

    gold: str
    right: bool | None
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelCell:
    """A reviewer's votes for one label on one kind of task; ``n_same``: of ``n_machine`` with a machine's label."""

    annotator: str
    kind: str
    blind: bool
    label: str
    n: int
    n_machine: int
    n_same: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenCell:
    """``n`` tasks of a kind that a reviewer answered today, with the label of the row and their own."""

    annotator: str
    kind: str | None
    machine: str | None
    label: str | None
    n: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ReviewerRows:
    """Everything that reviewers' numbers rest on, by reviewer."""

    answers: Sequence[Mapping[str, Any]]
    checks: Mapping[str, Sequence[CheckRow]]
    pairs: Mapping[str, Sequence[tuple[str, str, int]]]
    """(own label, label of the first other reviewer, number of blind tasks)."""
    labels: Sequence[LabelCell]
    adjudicated: Mapping[str, Mapping[str, int]]
    seen: Mapping[str, Sequence[SeenCell]]


def read_reviewer_rows(
    store: TraceStore, project: str, *, since: datetime, until: datetime, today: datetime
) -> ReviewerRows:
    """Return what was answered from ``since`` to ``until``; checks since ever, exposure since ``today``."""

    def rows(sql: str, **params: datetime) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = store.query(
            sql, {"project": project, **params}, fresh=True, only=READS
        ).to_pylist()
        return found

    window = {"since": since, "until": until}
    checks: dict[str, list[CheckRow]] = defaultdict(list)
    for row in rows(CHECKS, until=until):
        right = row["label"] == row["gold"] if row["answer"] == "label" else None
        checks[row["annotator"]].append(CheckRow(gold=row["gold"], right=right, at=row["ts"]))
    seen: dict[str, list[SeenCell]] = defaultdict(list)
    for row in rows(SEEN, until=until, today=today):
        seen[row["annotator"]].append(SeenCell(**row))
    pairs: dict[str, list[tuple[str, str, int]]] = defaultdict(list)
    for row in rows(SHARED, **window):
        pairs[row["annotator"]].append((row["own"], row["other"], row["n"]))
    return ReviewerRows(
        answers=rows(ANSWERS, **window),
        checks=checks,
        pairs=pairs,
        labels=[LabelCell(**row) for row in rows(LABELS, **window)],
        adjudicated={row["annotator"]: row for row in rows(ADJUDICATED, **window)},
        seen=seen,
    )
