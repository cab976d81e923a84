"""The SQL of an analysis: statements that anybody can run with `labelproof sql`."""

from __future__ import annotations

# The latest decision of a period per item and strategy version, as in the view current_decisions.
_DECIDED = """WITH mine AS (SELECT DISTINCT run_id FROM runs WHERE project = $project),
decided AS (
    SELECT d.* FROM decisions AS d SEMI JOIN mine USING (run_id)
    WHERE d.ts >= $start AND d.ts < $end
    QUALIFY row_number() OVER (
        PARTITION BY d.item_id, d.strategy_fp ORDER BY d.ts DESC NULLS LAST, d.run_id DESC
    ) = 1
)
"""
SPAN = """SELECT min(ts) AS first, max(ts) AS last FROM decisions
WHERE run_id IN (SELECT run_id FROM runs WHERE project = $project)
"""
COUNTS = (
    _DECIDED
    + """SELECT decision, count(*) AS n, count(*) FILTER (audited) AS n_audited
FROM decided GROUP BY decision ORDER BY decision
"""
)
# CASE keeps the joins hash joins. An audit speaks for automatic decisions, whatever else was asked about the item.
PEOPLE = (
    _DECIDED
    + """, outcomes AS (
    SELECT item_id, task_id, kind, state, final_label, answered_at FROM task_outcomes
    WHERE project = $project AND kind <> 'check' AND final_label <> ''
),
audits AS (
    SELECT item_id, any_value(task_id) AS task_id, any_value(state) AS state, any_value(final_label) AS final_label
    FROM outcomes WHERE kind = 'audit' GROUP BY item_id
),
people AS (
    SELECT * FROM outcomes
    QUALIFY row_number() OVER (
        PARTITION BY item_id
        ORDER BY kind = 'appeal' DESC, state = 'adjudicated' DESC, answered_at DESC NULLS LAST, task_id
    ) = 1
),
judged AS (
    SELECT d.item_id, d.run_id, d.strategy_fp, d.label, d.confidence, d.decision, d.reason, d.inclusion_prob, d.ts,
        coalesce(a.task_id, p.task_id) AS task_id, coalesce(a.state, p.state) AS state,
        coalesce(a.final_label, p.final_label) AS truth
    FROM decided AS d
    LEFT JOIN audits AS a ON a.item_id =
        CASE WHEN d.decision = 'auto_accept' AND d.audited AND d.inclusion_prob > 0 AND d.inclusion_prob <= 1
        THEN d.item_id END
    LEFT JOIN people AS p ON p.item_id = CASE WHEN d.decision = 'review' THEN d.item_id END
)
SELECT * FROM judged WHERE truth IS NOT NULL OR decision = 'failed'
QUALIFY row_number() OVER (PARTITION BY decision ORDER BY hash(item_id), strategy_fp) <= $most
ORDER BY ts, item_id, strategy_fp
"""
)
GOLD = (
    _DECIDED
    + """, known AS (
    SELECT item_id, any_value(label) AS truth, any_value(inclusion_prob) AS gold_prob FROM gold
    WHERE project = $project AND gold_fp = $gold_fp AND split NOT IN ('examples', 'calibration') GROUP BY item_id
),
later AS (
    SELECT item_id, any_value(label) AS last_truth FROM gold
    WHERE project = $project AND gold_fp = $last_gold_fp GROUP BY item_id
)
SELECT d.item_id, d.run_id, d.strategy_fp, d.label, d.confidence, d.decision, d.reason, k.gold_prob AS inclusion_prob,
    d.ts, NULL::VARCHAR AS task_id, NULL::VARCHAR AS state, k.truth, coalesce(l.last_truth, k.truth) AS last_truth
FROM decided AS d JOIN known AS k USING (item_id) LEFT JOIN later AS l USING (item_id)
QUALIFY row_number() OVER (ORDER BY hash(d.item_id), d.strategy_fp) <= $most
ORDER BY d.ts, d.item_id, d.strategy_fp
"""
)
GOLD_VERSIONS = (
    "SELECT gold_fp, min(ts) AS ts FROM gold WHERE project = $project GROUP BY gold_fp ORDER BY ts"
)
DECISIONS = (
    _DECIDED
    + """SELECT item_id, run_id, strategy_fp, label, confidence, decision, reason, inclusion_prob, ts,
    NULL::VARCHAR AS task_id, NULL::VARCHAR AS state, NULL::VARCHAR AS truth
FROM decided QUALIFY row_number() OVER (PARTITION BY decision ORDER BY hash(item_id), strategy_fp) <= $most
ORDER BY ts, item_id, strategy_fp
"""
)
TASKS = """SELECT t.item_id, coalesce(t.run_id, '') AS run_id, coalesce(t.strategy_fp, '') AS strategy_fp, t.label,
    t.confidence, '' AS decision, t.reason, NULL::DOUBLE AS inclusion_prob, t.answered_at AS ts, t.task_id, t.state,
    t.final_label AS truth, v.n_labels
FROM task_outcomes AS t JOIN (
    SELECT task_id, count(DISTINCT label) AS n_labels FROM current_votes
    WHERE project = $project AND role = 'reviewer' AND answer = 'label' GROUP BY task_id HAVING count(*) >= 2
) AS v USING (task_id)
WHERE t.project = $project AND t.kind <> 'check' AND t.answered_at >= $start AND t.answered_at < $end
ORDER BY ts, t.item_id, t.task_id LIMIT $most
"""
CHECKS = """SELECT v.item_id, '' AS run_id, '' AS strategy_fp, v.label, NULL::DOUBLE AS confidence, '' AS decision,
    v.annotator AS reason, NULL::DOUBLE AS inclusion_prob, v.ts, v.task_id, 'check' AS state, t.label AS truth
FROM current_votes AS v JOIN (
    SELECT task_id, any_value(label) AS label FROM review_tasks
    WHERE project = $project AND kind = 'check' AND label <> '' GROUP BY task_id
) AS t USING (task_id)
WHERE v.project = $project AND v.role = 'reviewer' AND v.answer = 'label' AND v.ts >= $start AND v.ts < $end
ORDER BY v.ts, v.vote_id LIMIT $most
"""
TEXTS = """WITH mine AS (
    SELECT i.item_id, arg_max(i.external_id, i.ts) AS external_id, arg_max(i.text_hash, i.ts) AS text_hash,
        arg_max(i.meta_json, i.ts) AS meta, arg_max(i.source, i.ts) AS source
    FROM items AS i SEMI JOIN wanted AS w ON w.item_id = i.item_id WHERE i.project = $project GROUP BY i.item_id
)
SELECT m.item_id, m.external_id, m.meta, m.source, left(t.text, $chars) AS text, length(t.text) AS n_chars
FROM mine AS m LEFT JOIN (
    SELECT text_hash, any_value(text) AS text FROM texts SEMI JOIN mine USING (text_hash) GROUP BY text_hash
) AS t USING (text_hash)
"""
STEPS = """SELECT s.item_id, s.run_id,
    bool_or(s.status = 'failed') AS failed,
    any_value(s.error) FILTER (s.status = 'failed') AS error,
    any_value(s.name) FILTER (s.status = 'failed') AS failed_step,
    max(json_extract_string(s.output_json, '$.language')) FILTER (s.kind = 'normalize') AS language,
    max(TRY_CAST(json_extract_string(s.output_json, '$.cut_chars') AS BIGINT)) FILTER (s.kind = 'normalize') AS cut_chars,
    string_agg(DISTINCT nullif(CAST(json_extract(s.output_json, '$.manipulation') AS VARCHAR), '[]'), ' ') AS manipulation,
    max(list_max(list_transform(
        json_extract_string(s.output_json, '$.examples[*][3]'), x -> TRY_CAST(x AS DOUBLE)
    ))) FILTER (s.kind = 'retrieve') AS similarity,
    any_value(json_extract_string(s.output_json, '$.label')) FILTER (s.kind = 'critique') AS critic,
    any_value(json_extract_string(s.output_json, '$.label')) FILTER (s.kind = 'consensus') AS consensus
FROM steps AS s SEMI JOIN wanted AS w ON w.item_id = s.item_id AND w.run_id = s.run_id
GROUP BY s.item_id, s.run_id
"""
# A step taken from the cache made no call in its run: its calls are found by the step's key.
MARKS = """WITH asked AS (
    SELECT c.* FROM calls AS c SEMI JOIN wanted AS w ON w.item_id = c.item_id
),
found AS (
    SELECT w.item_id, w.run_id, a.model, a.provider_fingerprint
    FROM wanted AS w JOIN asked AS a ON a.item_id = w.item_id AND a.run_id = w.run_id
    UNION
    SELECT s.item_id, s.run_id, a.model, a.provider_fingerprint
    FROM (SELECT * FROM steps AS s SEMI JOIN wanted AS w ON w.item_id = s.item_id AND w.run_id = s.run_id) AS s
    JOIN asked AS a ON a.item_id = s.item_id AND a.step_key = s.step_key
)
SELECT item_id, run_id,
    list(DISTINCT coalesce(model, '?') || ' / ' || coalesce(provider_fingerprint, 'no fingerprint')) AS marks
FROM found GROUP BY item_id, run_id
"""
# Runs that decide: what an experiment's arms asked of other models is no change of the provider.
PROVIDERS = """SELECT coalesce(c.model, '?') || ' / ' || coalesce(c.provider_fingerprint, 'no fingerprint') AS mark,
    count(*) FILTER (c.ts < $start) AS n_before, count(*) FILTER (c.ts >= $start) AS n_after,
    min(c.ts) AS first_seen, max(c.ts) AS last_seen
FROM calls AS c SEMI JOIN (
    SELECT DISTINCT run_id FROM decisions SEMI JOIN (SELECT DISTINCT run_id FROM runs WHERE project = $project) USING (run_id)
) USING (run_id)
WHERE c.ts < $end GROUP BY mark ORDER BY first_seen, mark
"""
VERSIONS = """SELECT d.strategy_fp, any_value(r.strategy) AS strategy, any_value(r.project_fp) AS project_fp,
    count(*) FILTER (d.ts < $start) AS n_before, count(*) FILTER (d.ts >= $start) AS n_after, min(d.ts) AS first_seen
FROM decisions AS d JOIN (
    SELECT run_id, any_value(strategy) AS strategy, any_value(project_fp) AS project_fp FROM runs
    WHERE project = $project GROUP BY run_id
) AS r USING (run_id)
WHERE d.ts < $end GROUP BY d.strategy_fp ORDER BY first_seen, d.strategy_fp
"""
SNAPSHOTS = "SELECT strategy_fp, any_value(spec_json) AS spec FROM strategies WHERE project = $project GROUP BY strategy_fp"
VOTES = """SELECT v.task_id, v.annotator, v.role, v.answer, v.label
FROM current_votes AS v SEMI JOIN wanted_tasks AS w ON w.task_id = v.task_id
WHERE v.project = $project AND v.answer <> 'withdrawn' ORDER BY v.task_id, v.ts, v.annotator
"""
OTHERS = """SELECT DISTINCT s.item_id, s.strategy_fp, s.label FROM (
    SELECT item_id, strategy_fp, label, run_id FROM decisions SEMI JOIN wanted USING (item_id)
    UNION ALL
    SELECT item_id, strategy_fp, label, run_id FROM arm_answers SEMI JOIN wanted USING (item_id)
) AS s SEMI JOIN (SELECT DISTINCT run_id FROM runs WHERE project = $project) USING (run_id) WHERE s.label <> ''
"""
REVIEWER_CHECKS = """SELECT v.annotator, v.label = t.label AS is_right, v.ts >= $start AS is_later, count(*) AS n
FROM current_votes AS v JOIN (
    SELECT task_id, any_value(label) AS label FROM review_tasks
    WHERE project = $project AND kind = 'check' AND label <> '' GROUP BY task_id
) AS t USING (task_id)
WHERE v.project = $project AND v.role = 'reviewer' AND v.answer = 'label' AND v.ts < $end AND v.ts >= $since
GROUP BY ALL ORDER BY ALL
"""
REVIEWER_PAIRS = """WITH mine AS (
    SELECT v.task_id, v.annotator, v.label, v.ts FROM current_votes AS v JOIN (
        SELECT task_id, any_value(kind) AS kind, bool_and(coalesce(blind, true)) AS blind FROM review_tasks
        WHERE project = $project GROUP BY task_id
    ) AS t USING (task_id)
    WHERE v.project = $project AND v.role = 'reviewer' AND v.answer = 'label' AND t.kind <> 'check' AND t.blind
      AND v.ts < $end AND v.ts >= $since
)
SELECT a.annotator AS one, b.annotator AS other, greatest(a.ts, b.ts) >= $start AS is_later,
    count(*) AS n, count(*) FILTER (a.label = b.label) AS n_same
FROM mine AS a JOIN mine AS b ON a.task_id = b.task_id AND a.annotator < b.annotator
GROUP BY ALL ORDER BY ALL
"""
SENTINEL = """SELECT a.item_id, a.strategy_fp, a.label, a.confidence, a.provider_fingerprint, a.run_id, a.ts, s.gold_label
FROM sentinel_answers AS a JOIN (
    SELECT sentinel_fp, item_id, any_value(gold_label) AS gold_label FROM sentinels
    WHERE project = $project GROUP BY sentinel_fp, item_id
) AS s USING (sentinel_fp, item_id)
WHERE a.project = $project AND a.ts < $end AND a.sentinel_fp = (
    SELECT arg_max(sentinel_fp, ts) FROM sentinel_answers WHERE project = $project AND ts < $end
)
ORDER BY a.ts, a.item_id
"""
# Gold that no strategy learned from, answered by both versions, whoever asked.
BOTH_VERSIONS = """WITH known AS (
    SELECT item_id, any_value(label) AS gold FROM gold
    WHERE project = $project AND gold_fp = $gold_fp AND split NOT IN ('examples', 'calibration') GROUP BY item_id
)
SELECT k.item_id, k.gold, a.label AS old, b.label AS new
FROM known AS k
JOIN strategy_answers AS a ON a.item_id = k.item_id AND a.strategy_fp = $old AND a.repeat_idx = 0
JOIN strategy_answers AS b ON b.item_id = k.item_id AND b.strategy_fp = $new AND b.repeat_idx = 0
WHERE a.project = $project AND b.project = $project
"""
EXAMPLES = """SELECT g.item_id, any_value(left(t.text, $chars)) AS text FROM gold AS g
JOIN items AS i ON i.item_id = g.item_id AND i.project = $project
JOIN texts AS t ON t.text_hash = i.text_hash
WHERE g.project = $project AND g.gold_fp = $gold_fp AND g.split IN ('examples', 'calibration')
GROUP BY g.item_id ORDER BY hash(g.item_id) LIMIT $most
"""
