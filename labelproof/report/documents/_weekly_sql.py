"""The queries of the weekly report; each can be run as it is with `labelproof sql`."""

from __future__ import annotations

LONGEST_S = 600
"""Seconds of one answer from which on it counts as a pause, as in the capacity plan."""
_DECIDED = """WITH mine AS (
    SELECT run_id, any_value(strategy) AS strategy FROM runs WHERE project = $project GROUP BY run_id
),
decided AS (
    SELECT d.*, r.strategy FROM decisions AS d JOIN mine AS r USING (run_id)
    WHERE d.ts >= $since AND d.ts < $until AND ($strategy IS NULL OR r.strategy = $strategy OR d.strategy_fp = $strategy)
    QUALIFY row_number() OVER (
        PARTITION BY d.item_id, d.strategy_fp ORDER BY d.ts DESC NULLS LAST, d.run_id DESC
    ) = 1
)
"""
_COUNTED = """count(*) AS decisions, count(DISTINCT item_id) AS items,
       count(*) FILTER (decision = 'auto_accept') AS auto, count(*) FILTER (decision = 'review') AS review,
       count(*) FILTER (decision = 'failed') AS failed"""
WORK = (
    _DECIDED
    + f"""SELECT {_COUNTED},
       count(cost_usd) AS priced, count(*) - count(cost_usd) AS unpriced, sum(cost_usd) AS cost_usd,
       CASE WHEN count(*) = count(cost_usd) AND count(*) > 0 THEN 1000 * sum(cost_usd) / count(*) END AS cost_per_1000
FROM decided
"""
)
BY_DAY = (
    _DECIDED
    + f"""SELECT strftime(ts AT TIME ZONE 'UTC', '%Y-%m-%d') AS day, {_COUNTED}
FROM decided GROUP BY day ORDER BY day
"""
)
# Steps of $days days counted back from $end: 0 is the last. In each, the latest decision per item and version.
BY_STEP = f"""WITH mine AS (
    SELECT run_id, any_value(strategy) AS strategy FROM runs WHERE project = $project GROUP BY run_id
),
decided AS (
    SELECT d.*, CAST(ceil((epoch($end) - epoch(d.ts)) / (86400 * CAST($days AS DOUBLE))) AS BIGINT) - 1 AS back
    FROM decisions AS d JOIN mine AS r USING (run_id)
    WHERE d.ts >= $first AND d.ts < $until AND ($strategy IS NULL OR r.strategy = $strategy OR d.strategy_fp = $strategy)
    QUALIFY row_number() OVER (
        PARTITION BY back, d.item_id, d.strategy_fp ORDER BY d.ts DESC NULLS LAST, d.run_id DESC
    ) = 1
)
SELECT back, {_COUNTED},
       CASE WHEN count(*) = count(cost_usd) THEN 1000 * sum(cost_usd) / count(*) END AS cost_per_1000
FROM decided GROUP BY back ORDER BY back
"""
VOTES = f"""SELECT count(*) AS votes, count(DISTINCT annotator) AS people,
       count(*) FILTER (seconds > 0) AS timed, sum(least(seconds, {LONGEST_S})) FILTER (seconds > 0) / 3600 AS hours
FROM current_votes
WHERE project = $project AND ts >= $since AND ts < $until AND answer <> 'withdrawn'
"""
# Seconds of one answer of a reviewer that names a label, hidden gold included: what a person would spend on an item.
SECONDS = f"""SELECT list_sort(list(least(seconds, {LONGEST_S}))) AS sorted, count(*) AS n
FROM current_votes
WHERE project = $project AND ts >= $from AND ts < $until AND role = 'reviewer' AND answer = 'label' AND seconds > 0
"""
MEDIAN_SECONDS = f"""SELECT CASE WHEN n >= $least THEN list_median(sorted) END AS value, n FROM (
{SECONDS})"""
TASKS = """SELECT count(*) FILTER (ts >= $since AND ts < $until) AS asked,
       count(*) FILTER (state IN ('agreed', 'adjudicated') AND answered_at >= $since AND answered_at < $until) AS settled,
       count(*) FILTER (state IN ('open', 'disputed', 'escalated') AND ts < $until) AS waiting,
       count(*) FILTER (kind = 'audit' AND state IN ('open', 'disputed', 'escalated') AND ts < $until) AS audits_waiting
FROM task_outcomes WHERE project = $project AND kind <> 'check'
"""
REVIEWERS = f"""WITH tasks AS (
    SELECT task_id, kind, label, blind FROM review_tasks WHERE project = $project
    QUALIFY row_number() OVER (PARTITION BY task_id ORDER BY ts NULLS LAST) = 1
),
mine AS (
    SELECT * FROM current_votes
    WHERE project = $project AND role = 'reviewer' AND answer <> 'withdrawn' AND ts >= $since AND ts < $until
),
load AS (
    SELECT annotator, count(*) AS votes,
           sum(least(seconds, {LONGEST_S})) FILTER (seconds > 0) / 3600 AS hours,
           median(least(seconds, {LONGEST_S})) FILTER (seconds > 0) AS median_s
    FROM mine GROUP BY annotator
),
placed AS (
    SELECT v.annotator, v.label, row_number() OVER place AS place, count(*) OVER (PARTITION BY v.task_id) AS n,
           first_value(v.label) OVER everyone AS first, nth_value(v.label, 2) OVER everyone AS second
    FROM mine AS v JOIN tasks AS t USING (task_id)
    WHERE v.answer = 'label' AND v.label <> '' AND t.kind <> 'check' AND coalesce(t.blind, true)
    WINDOW place AS (PARTITION BY v.task_id ORDER BY v.ts, v.annotator),
           everyone AS (PARTITION BY v.task_id ORDER BY v.ts, v.annotator
                        ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING)
),
shared AS (
    SELECT annotator, count(*) AS shared, count(*) FILTER (label = CASE WHEN place = 1 THEN second ELSE first END) AS same
    FROM placed WHERE n > 1 GROUP BY annotator
),
checks AS (
    SELECT v.annotator, count(*) AS checks, count(*) FILTER (v.label = t.label) AS checks_right
    FROM mine AS v JOIN tasks AS t USING (task_id)
    WHERE t.kind = 'check' AND t.label <> '' AND v.answer = 'label' GROUP BY v.annotator
)
SELECT row_number() OVER (ORDER BY annotator) AS reviewer, votes, hours, median_s, coalesce(shared, 0) AS shared,
       coalesce(same, 0) AS same, coalesce(checks, 0) AS checks, coalesce(checks_right, 0) AS checks_right, annotator
FROM load LEFT JOIN shared USING (annotator) LEFT JOIN checks USING (annotator) ORDER BY annotator
"""
TARGETS = """SELECT subject, value, low, high, n, bound, side, state, reason, method, sql, ts
FROM measurements
WHERE project = $project AND kind = 'target' AND ts >= $since AND ts < $late
QUALIFY row_number() OVER (PARTITION BY subject ORDER BY ts DESC NULLS LAST, measurement_id DESC) = 1
ORDER BY subject
"""
WATCHED = """SELECT kind, subject, state, value, n, reason, ts FROM measurements
WHERE project = $project AND kind IN ('drift', 'sentinel') AND ts >= $since AND ts < $late
QUALIFY row_number() OVER (PARTITION BY kind, subject ORDER BY ts DESC NULLS LAST, measurement_id DESC) = 1
ORDER BY kind, subject
"""
ALARMS = """SELECT alarm_id, arg_min(kind, ts) AS kind, arg_min(subject, ts) AS subject, arg_min(level, ts) AS level,
       min(ts) AS began, max(ts) FILTER (event = 'recovered') AS recovered,
       bool_or(event = 'acknowledged') AS acknowledged, count(*) FILTER (event = 'escalated') AS escalated,
       arg_max(contact, ts) AS contact, arg_max(role, ts) AS role, arg_max(value, ts) AS value,
       arg_min(bound, ts) AS bound, arg_min(reason, ts) AS reason,
       (epoch(least(coalesce(max(ts) FILTER (event = 'recovered'), $until), $until)) - epoch(min(ts))) / 3600 AS open_hours
FROM alarms WHERE project = $project AND ts < $until GROUP BY alarm_id
HAVING recovered IS NULL OR recovered >= $since ORDER BY began, alarm_id
"""
FINDINGS = """WITH seen AS (SELECT * FROM findings WHERE project = $project AND ts < $until)
SELECT finding_id,
       CASE arg_max(event, ts) FILTER (event IN ('opened', 'reopened', 'closed', 'accepted'))
           WHEN 'closed' THEN 'closed' WHEN 'accepted' THEN 'accepted' ELSE 'open' END AS state,
       arg_max(title, ts) AS title, arg_max(severity, ts) AS severity, arg_max(owner, ts) AS owner,
       arg_max(cause, ts) AS cause, arg_max(action, ts) AS action, arg_max(check_text, ts) AS check_text,
       arg_max(check_runs, ts) AS check_runs, arg_max(check_held, ts) AS check_held, arg_max(due_ts, ts) AS due,
       min(ts) AS opened_at, max(ts) FILTER (event IN ('closed', 'accepted')) AS closed_at,
       (epoch($until) - epoch(min(ts))) / 86400 AS age_days
FROM seen GROUP BY finding_id ORDER BY opened_at, finding_id
"""
ROLLOUTS = """SELECT rollout_id, event, strategy, fp_from, fp_to, actor, reason, ts
FROM rollouts WHERE project = $project AND ts < $until ORDER BY ts, rollout_id
"""
VERSIONS = """SELECT strategy, strategy_fp, min(ts) AS first_used, any_value(spec_json) AS spec_json
FROM strategies WHERE project = $project GROUP BY strategy, strategy_fp HAVING min(ts) < $until
ORDER BY first_used, strategy, strategy_fp
"""
CERTIFICATES = """SELECT c.certificate_id, c.strategy_fp, any_value(c.spec_json) AS spec_json, min(c.ts) AS issued_at,
       min(e.ts) FILTER (e.event = 'voided') AS voided_at, arg_min(e.reason, e.ts) FILTER (e.event = 'voided') AS why
FROM certificates AS c LEFT JOIN certificate_events AS e USING (certificate_id)
WHERE c.project = $project AND c.ts < $until GROUP BY c.certificate_id, c.strategy_fp ORDER BY issued_at, certificate_id
"""
# Of the analyses of this period, the newest; each error under the cause that its evidence speaks for most.
CAUSES = """WITH newest AS (
    SELECT rca_id, headline, to_start, to_end FROM root_causes
    WHERE project = $project AND to_start < $until AND to_end > $since AND ts < $late
    ORDER BY ts DESC, rca_id DESC LIMIT 1
)
SELECT coalesce(e.cause, 'unknown') AS cause, count(*) AS errors, sum(count(*)) OVER () AS total
FROM error_causes AS e SEMI JOIN newest AS n USING (rca_id) WHERE e.project = $project
GROUP BY ALL ORDER BY errors DESC, cause
"""
