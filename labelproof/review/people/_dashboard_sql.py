"""The query behind each panel of a project's dashboard."""

from __future__ import annotations

from labelproof.review.queue.priority import BY_MACHINE
from labelproof.spec.labels import LabelSchema
from labelproof.spec.review import SEVERITIES, TASK_KINDS, ReviewPolicy

COVERAGE = """WITH mine AS (
    SELECT DISTINCT run_id FROM runs WHERE project = $project AND strategy = $strategy
),
latest AS (
    SELECT d.decision FROM decisions AS d JOIN mine USING (run_id)
    QUALIFY row_number() OVER (PARTITION BY d.item_id ORDER BY d.ts DESC NULLS LAST, d.run_id DESC) = 1
)
SELECT count(*) AS decided, count(*) FILTER (decision = 'auto_accept') AS auto_accepted,
       count(*) FILTER (decision = 'review') AS to_people, count(*) FILTER (decision = 'failed') AS failed
FROM latest
"""
# Hidden gold is nobody's work, but a question that a reviewer raised with it is a lead's.
OUTCOMES = """SELECT state, count(*) AS n FROM task_outcomes
WHERE project = $project AND (kind <> 'check' OR state IN ('disputed', 'escalated')) GROUP BY state ORDER BY state
"""
PER_DAY = """SELECT CAST(floor(epoch(ts) / 86400) AS BIGINT) AS day, DATE '1970-01-01' + CAST(day AS INTEGER) AS utc_date,
       count(*) AS votes
FROM current_votes
WHERE project = $project AND answer <> 'withdrawn' AND ts >= $since AND ts <= $until
GROUP BY ALL ORDER BY day
"""
DOUBLE_VOTES = """WITH tasks AS (
    SELECT task_id FROM review_tasks WHERE project = $project AND kind <> 'check'
    GROUP BY task_id HAVING coalesce(bool_and(blind), true)
)
SELECT v.task_id, v.label
FROM current_votes AS v JOIN tasks USING (task_id)
WHERE v.project = $project AND v.role = 'reviewer' AND v.answer = 'label' AND v.label <> ''
  AND v.ts >= $since AND v.ts <= $until
QUALIFY count(*) OVER (PARTITION BY v.task_id) > 1
ORDER BY v.task_id, v.label
"""
CERTIFICATES = """SELECT certificate_id, strategy_fp, issued_at, state AS last_event, reason
FROM current_certificates WHERE project = $project ORDER BY issued_at DESC, certificate_id
"""


def queue_age(policy: ReviewPolicy, schema: LabelSchema) -> str:
    """Return the query for open tasks by kind: how many, oldest and median age in hours, how many overdue."""
    return f"""SELECT kind, count(*) AS open, max(epoch($now) - epoch(ts)) / 3600 AS oldest_hours,
       median(epoch($now) - epoch(ts)) / 3600 AS median_hours,
       count(*) FILTER (epoch(ts) + 3600 * {due_hours(policy, schema)} < epoch($now)) AS overdue
FROM task_outcomes WHERE project = $project AND kind <> 'check' AND state = 'open'
GROUP BY GROUPING SETS ((kind), ()) ORDER BY kind NULLS LAST
"""


def sla(policy: ReviewPolicy, schema: LabelSchema) -> str:
    """Return the query for tasks decided since ``$week`` and ``$month``: how many, and how many when due."""
    return f"""WITH decided AS (
    SELECT answered_at, epoch(answered_at) <= epoch(ts) + 3600 * {due_hours(policy, schema)} AS met
    FROM task_outcomes
    WHERE project = $project AND kind <> 'check' AND state IN ('agreed', 'adjudicated')
      AND answered_at >= $month AND answered_at <= $now
)
SELECT count(*) FILTER (answered_at >= $week) AS n_week, count(*) FILTER (met AND answered_at >= $week) AS met_week,
       count(*) AS n_month, count(*) FILTER (met) AS met_month
FROM decided
"""


def due_hours(policy: ReviewPolicy, schema: LabelSchema) -> str:
    """Return the SQL expression for a task's hours until due from its ``kind`` and ``label``: the queue's own rule."""
    kinds = [kind for kind in TASK_KINDS if kind not in BY_MACHINE]
    fixed = " ".join(f"WHEN {_text(kind)} THEN {policy.due_hours(kind, None)!r}" for kind in kinds)
    known = _list(schema.leaves)
    if schema.kind == "multi":
        names = "CASE WHEN label = 'none' THEN [] ELSE string_split(label, '+') END"
    else:
        names = "[label]"
    cases = []
    for kind in sorted(BY_MACHINE):
        by_severity = " ".join(
            f"WHEN list_has_any({names}, {_list(leaves)}) THEN {policy.due_hours(kind, severity)!r}"
            for severity in reversed(SEVERITIES)
            if (leaves := [n for n, leaf in schema.leaf_classes.items() if leaf.severity == severity])
        )
        unknown = f"WHEN coalesce(label, '') = '' OR NOT list_has_all({known}, {names})"
        lowest = policy.due_hours(kind, "low")
        cases.append(
            f"WHEN {_text(kind)} THEN CASE {unknown} THEN {policy.due_hours(kind, None)!r} {by_severity} "
            f"ELSE {lowest!r} END"
        )
    return f"CAST(CASE kind {fixed} {' '.join(cases)} END AS DOUBLE)"


def _list(names: tuple[str, ...] | list[str]) -> str:
    return "[" + ", ".join(_text(name) for name in names) + "]::VARCHAR[]"


def _text(value: str) -> str:
    """Return an SQL string; $ is spelled by code, since parameters start with it."""
    quoted = "'" + value.replace("'", "''") + "'"
    return quoted.replace("$", "' || chr(36) || '")
