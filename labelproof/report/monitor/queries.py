"""The query behind each number that the monitor shows; every one runs in `labelproof sql` as it stands."""

from __future__ import annotations

# Production: runs of the project's default strategy and the canary's share of a candidate; no rerun, no judging run, no
# arm of an experiment. Per item and strategy version the latest decision, as in `labelproof quality`.
PRODUCTION = """WITH mine AS (
    SELECT run_id, any_value(strategy) AS strategy FROM runs WHERE project = $project GROUP BY run_id
    HAVING coalesce(max(repeat_idx), 0) = 0 AND NOT coalesce(bool_or(
        contains(params_json, '"purpose"') OR contains(params_json, '"arm"')), false)
),
canary AS (
    SELECT DISTINCT u.item_id, o.fp_to AS strategy_fp
    FROM rollout_units AS u JOIN rollouts AS o USING (rollout_id)
    WHERE o.project = $project AND u.arm = 'candidate' AND o.fp_to <> ''
),
decided AS (
    SELECT d.* FROM decisions AS d JOIN mine AS r USING (run_id)
    LEFT JOIN canary AS c ON c.item_id = d.item_id AND c.strategy_fp = d.strategy_fp
    WHERE d.ts >= $since AND d.ts < $until AND (r.strategy = $strategy OR c.item_id <> '')
    QUALIFY row_number() OVER (
        PARTITION BY d.item_id, d.strategy_fp ORDER BY d.ts {order} NULLS LAST, d.run_id {order}
    ) = 1
)
"""
LATEST = PRODUCTION.replace("{order}", "DESC")
FIRST = PRODUCTION.replace("{order}", "ASC")
"""Each item as it was decided first: what a monitor has seen does not change when an item is decided again."""
OUTCOMES = """SELECT project, item_id, kind, state, final_label, n_answers, n_votes, ts, answered_at
FROM task_outcomes WHERE project = $project
"""
"""What the queries below read of `task_outcomes`, which a pass works out once."""
COUNTS = (
    LATEST
    + """SELECT count(*) AS decided, count(*) FILTER (decision = 'auto_accept') AS auto_accepted,
       count(*) FILTER (decision = 'review') AS to_people, count(*) FILTER (decision = 'failed') AS failed,
       count(cost_usd) AS priced, sum(cost_usd) AS cost_usd, 1000 * avg(cost_usd) AS cost_per_1000,
       count(DISTINCT strategy_fp) AS versions, max(strategy_fp) AS strategy_fp
FROM decided
"""
)
AUDITED = (
    LATEST
    + """, audits AS (
    SELECT item_id,
           any_value(CASE state WHEN 'escalated' THEN 'disputed' WHEN 'closed' THEN 'open' ELSE state END) AS state,
           any_value(final_label) AS final_label, any_value(n_answers - n_votes) AS n_undecided
    FROM task_outcomes WHERE project = $project AND kind = 'audit' GROUP BY item_id
)
SELECT d.item_id, d.label, d.confidence, d.inclusion_prob, coalesce(d.audited, false) AS drawn, d.certificate_id,
       d.strategy_fp, d.ts, a.state, a.final_label, coalesce(a.n_undecided, 0) AS n_undecided
FROM decided AS d LEFT JOIN audits AS a ON a.item_id = CASE WHEN d.audited THEN d.item_id END
WHERE d.decision = 'auto_accept' ORDER BY d.ts, d.item_id, d.strategy_fp
"""
)
PER_DAY = (
    FIRST
    + """SELECT CAST(floor((epoch(ts) - epoch($since)) / 86400) AS BIGINT) AS day, count(*) AS n,
       count(*) FILTER (decision = 'auto_accept') AS auto_accepted, count(*) FILTER (decision = 'failed') AS failed,
       min(CASE WHEN decision = 'auto_accept' AND inclusion_prob > 0 THEN inclusion_prob END) AS least_prob
FROM decided GROUP BY day ORDER BY day
"""
)
AUDIT_STREAM = (
    FIRST
    + """SELECT CAST(floor((epoch(d.ts) - epoch($since)) / 86400) AS BIGINT) AS day, d.label, t.final_label,
       d.inclusion_prob
FROM decided AS d
JOIN task_outcomes AS t ON t.item_id = d.item_id AND t.project = $project AND t.kind = 'audit'
WHERE d.decision = 'auto_accept' AND d.audited AND d.inclusion_prob > 0 AND d.inclusion_prob <= 1
  AND t.final_label <> ''
ORDER BY d.ts, d.item_id, d.strategy_fp
"""
)
# A task's votes count from the day on which its question was put: which day it was answered depends on the answers.
VOTES = """WITH tasks AS (
    SELECT task_id, min(ts) AS asked_at FROM review_tasks WHERE project = $project AND kind <> 'check'
    GROUP BY task_id HAVING coalesce(bool_and(blind), true)
)
SELECT v.task_id, v.annotator, v.label, t.asked_at
FROM current_votes AS v JOIN tasks AS t USING (task_id)
WHERE v.project = $project AND v.role = 'reviewer' AND v.answer = 'label' AND v.label <> ''
  AND t.asked_at >= $since AND t.asked_at < $until AND v.ts < $until
QUALIFY count(*) OVER (PARTITION BY v.task_id) > 1
ORDER BY t.asked_at, v.task_id, v.annotator
"""
CHECKS = """WITH tasks AS (
    SELECT task_id, any_value(label) AS gold FROM review_tasks
    WHERE project = $project AND kind = 'check' AND label <> '' GROUP BY task_id
)
SELECT v.annotator, v.ts, v.label = t.gold AS is_right
FROM current_votes AS v JOIN tasks AS t USING (task_id)
WHERE v.project = $project AND v.role = 'reviewer' AND v.answer = 'label' AND v.ts >= $since AND v.ts < $until
ORDER BY v.ts, v.vote_id
"""
AGE = """WITH waiting AS (
    SELECT (epoch($until) - epoch(ts)) / 3600 AS hours FROM task_outcomes
    WHERE project = $project AND kind <> 'check' AND ts < $until
      AND (state IN ('open', 'disputed', 'escalated')
           OR (state IN ('agreed', 'adjudicated') AND answered_at >= $until))
)
SELECT count(*) AS waiting, quantile_cont(hours, 0.95) AS p95_hours, max(hours) AS oldest_hours FROM waiting
"""
# A run works from its start (or resumption) to its next event; one that was killed, to its last decision. Runs side by
# side count once: hours are of the union of their spans.
THROUGHPUT = (
    LATEST
    + """, events AS (
    SELECT e.run_id, e.event, e.ts, lead(e.ts) OVER later AS next_ts, lead(e.event) OVER later AS next_event
    FROM runs AS e WHERE e.run_id IN (SELECT DISTINCT run_id FROM decided) AND e.ts < $until
    WINDOW later AS (PARTITION BY e.run_id ORDER BY e.ts)
),
spans AS (
    SELECT greatest(e.ts, $since) AS began,
           CASE WHEN e.next_event IN ('finished', 'stopped') THEN e.next_ts ELSE l.ts END AS ended
    FROM events AS e ASOF LEFT JOIN (SELECT run_id, ts FROM decided) AS l
        ON e.run_id = l.run_id AND coalesce(e.next_ts, $until) >= l.ts
    WHERE e.event IN ('started', 'resumed')
),
placed AS (
    SELECT began, ended, max(ended) OVER (ORDER BY began, ended ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS seen
    FROM spans WHERE ended > began
)
SELECT (SELECT count(*) FROM decided) AS decided,
       sum(greatest(0, epoch(ended) - epoch(greatest(began, coalesce(seen, began))))) / 3600 AS hours
FROM placed
"""
)
GOLD_RECALL = """SELECT s.value, s.low, s.high, s.n, s.gold_fp, s.ts FROM scores AS s
WHERE s.split = 'test' AND s.metric = 'recall' AND s.slice = $label AND s.ts < $until
  AND s.strategy_fp = (SELECT arg_max(strategy_fp, ts) FROM runs WHERE project = $project AND strategy = $strategy)
ORDER BY s.ts DESC LIMIT 1
"""
BEGAN = """SELECT min(ts) AS began FROM (
    SELECT ts FROM runs WHERE project = $project UNION ALL SELECT ts FROM review_tasks WHERE project = $project
)"""
LOOKS = """SELECT subject, ts, value, bound FROM measurements
WHERE project = $project AND kind = 'target' AND ts < $now AND ts >= $since AND subject IN (SELECT unnest($subjects))
ORDER BY subject, ts DESC
"""
OPEN_ALARMS = """SELECT * FROM current_alarms WHERE project = $project AND state <> 'recovered'
ORDER BY breached_at, alarm_id
"""
RECOVERED = """SELECT subject, max(recovered_at) AS ts FROM current_alarms
WHERE project = $project AND kind = 'target' AND state = 'recovered' AND recovered_at < $until GROUP BY subject
"""
