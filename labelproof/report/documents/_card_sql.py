"""The queries of model and data cards; each can be run as it is with `labelproof sql`."""

from __future__ import annotations

SCORES = """SELECT split, metric, slice, value, low, high, n, method, reason, gold_fp, ts FROM scores
WHERE strategy_fp = $fp AND split = (
    SELECT split FROM scores WHERE strategy_fp = $fp ORDER BY split = 'test' DESC, ts DESC LIMIT 1
)
QUALIFY row_number() OVER (PARTITION BY metric, slice ORDER BY ts DESC NULLS LAST, run_id DESC) = 1
ORDER BY metric, slice
"""
SUITES = """WITH newest AS (
    SELECT suite_run_id, suite, summary_json, ts FROM suite_runs WHERE project = $project AND strategy_fp = $fp
    QUALIFY row_number() OVER (PARTITION BY suite ORDER BY ts DESC, suite_run_id DESC) = 1
)
SELECT suite, n.suite_run_id, any_value(n.summary_json) AS summary_json, any_value(n.ts) AS ts,
       count(r.passed) AS judged, count(*) FILTER (NOT r.passed) AS failed
FROM newest AS n LEFT JOIN suite_results AS r ON r.suite_run_id = n.suite_run_id
GROUP BY suite, n.suite_run_id ORDER BY suite
"""
CERTIFICATES = """SELECT certificate_id, any_value(spec_json) AS spec_json, min(issued_at) AS issued_at,
       any_value(state) AS state, any_value(reason) AS reason,
       CAST(json_extract_string(any_value(spec_json), '$.coverage') AS DOUBLE) AS coverage,
       CAST(json_extract_string(any_value(spec_json), '$.pool_n') AS BIGINT) AS pool_n
FROM current_certificates WHERE project = $project AND strategy_fp = $fp
GROUP BY certificate_id ORDER BY issued_at DESC, certificate_id
"""
PRODUCTION = """SELECT count(*) AS decisions, count(*) FILTER (decision = 'auto_accept') AS auto, min(ts) AS first, max(ts) AS last
FROM (
    SELECT d.* FROM decisions AS d
    SEMI JOIN (SELECT run_id FROM runs WHERE project = $project) AS r ON r.run_id = d.run_id
    WHERE d.strategy_fp = $fp
    QUALIFY row_number() OVER (PARTITION BY d.item_id ORDER BY d.ts DESC NULLS LAST, d.run_id DESC) = 1
)
"""
CAUSES = """SELECT coalesce(cause, 'unknown') AS cause, count(*) AS errors, sum(count(*)) OVER () AS total
FROM (
    SELECT * FROM error_causes WHERE project = $project AND strategy_fp = $fp
    QUALIFY row_number() OVER (PARTITION BY item_id ORDER BY ts DESC, rca_id DESC) = 1
)
GROUP BY ALL ORDER BY errors DESC, cause
"""
_ON_TEST = """WITH test AS (
    SELECT item_id, label AS gold FROM current_gold
    WHERE project = $project AND split = 'test' AND gold_fp = (
        SELECT gold_fp FROM gold WHERE project = $project ORDER BY ts DESC NULLS LAST, gold_fp LIMIT 1
    )
),
answered AS (
    SELECT t.item_id, t.gold, d.label, d.decision, d.confidence
    FROM test AS t JOIN current_decisions AS d ON d.item_id = t.item_id AND d.strategy_fp = $fp
)
"""
CONFUSIONS = (
    _ON_TEST
    + """SELECT gold, said, count(*) AS errors, any_value(of_gold) AS of_gold FROM (
    SELECT gold, CASE WHEN decision = 'failed' THEN 'failed' ELSE coalesce(label, 'none') END AS said,
           count(*) OVER (PARTITION BY gold) AS of_gold
    FROM answered
) WHERE said <> gold GROUP BY gold, said ORDER BY errors DESC, gold, said
"""
)
WRONG_ITEMS = (
    _ON_TEST
    + """SELECT a.gold, a.label, a.confidence, left(x.text, 400) AS text
FROM answered AS a
LEFT JOIN current_items AS i ON i.item_id = a.item_id AND i.project = $project
LEFT JOIN text_by_hash AS x ON x.text_hash = i.text_hash
WHERE a.label IS DISTINCT FROM a.gold ORDER BY a.confidence DESC NULLS LAST, a.item_id LIMIT 5
"""
)
FINDINGS = """SELECT finding_id, title, severity, owner, cause FROM current_findings
WHERE project = $project AND state = 'open'
ORDER BY CASE severity WHEN 'critical' THEN 0 WHEN 'major' THEN 1 ELSE 2 END, opened_at, finding_id
"""


def snapshot_value(path: str) -> str:
    """Return the query for a number inside the strategy's snapshot; ``path`` is made by us."""
    return (
        f"SELECT CAST(json_extract_string(any_value(spec_json), '{path}') AS DOUBLE) AS value, NULL AS n\n"
        "FROM strategies WHERE project = $project AND strategy_fp = $fp"
    )


def snapshot_length(path: str) -> str:
    """Return the query for the length of a list inside the strategy's snapshot."""
    return (
        f"SELECT json_array_length(any_value(spec_json), '{path}') AS value, NULL AS n\n"
        "FROM strategies WHERE project = $project AND strategy_fp = $fp"
    )


def gap_value(suite_run_id: str, place: int) -> str:
    """Return the query for one gap between groups of a stored suite run; ``suite_run_id`` is an SQL literal."""
    return (
        f"SELECT CAST(json_extract_string(any_value(summary_json), '$.gaps[{place}].gap.value') AS DOUBLE) AS value,\n"
        f"       CAST(json_extract_string(any_value(summary_json), '$.gaps[{place}].gap.n') AS BIGINT) AS n\n"
        f"FROM suite_runs WHERE suite_run_id = {suite_run_id}"
    )


ITEMS = """SELECT count(DISTINCT item_id) AS items, count(DISTINCT external_id) AS ids, count(DISTINCT source) AS sources,
       min(ts) AS first, max(ts) AS last
FROM items WHERE project = $project
"""
SOURCES = """SELECT coalesce(source, 'unknown') AS source, count(DISTINCT item_id) AS items, min(ts) AS first, max(ts) AS last
FROM items WHERE project = $project GROUP BY ALL ORDER BY items DESC, source
"""
LENGTHS = """SELECT count(*) AS items, quantile_disc(n, 0.05) AS p5, quantile_disc(n, 0.5) AS median,
       quantile_disc(n, 0.95) AS p95, max(n) AS longest
FROM (
    SELECT length(t.text) AS n FROM current_items AS i JOIN text_by_hash AS t USING (text_hash) WHERE i.project = $project
)
"""
META = """SELECT coalesce(json_extract_string(meta_json, '$."' || $column || '"'), 'not given') AS value,
       count(*) AS items, sum(count(*)) OVER () AS total
FROM current_items WHERE project = $project GROUP BY ALL ORDER BY items DESC, value
"""
META_KEYS = """SELECT key, count(*) AS items FROM (
    SELECT unnest(json_keys(meta_json)) AS key FROM current_items WHERE project = $project AND meta_json IS NOT NULL
) GROUP BY key ORDER BY items DESC, key
"""
FINAL = """SELECT label, count(*) AS items, count(*) FILTER (source <> 'auto_accept') AS by_people, sum(count(*)) OVER () AS total
FROM final_labels WHERE project = $project GROUP BY label ORDER BY items DESC, label
"""
GOLD = """WITH newest AS (
    SELECT gold_fp, gold_set FROM gold WHERE project = $project ORDER BY ts DESC NULLS LAST, gold_fp LIMIT 1
)
SELECT g.split, g.label, count(*) AS items, any_value(g.gold_fp) AS gold_fp, any_value(g.gold_set) AS gold_set,
       string_agg(DISTINCT g.design, ', ') AS designs, min(g.inclusion_prob) AS least_prob, max(g.inclusion_prob) AS most_prob
FROM current_gold AS g SEMI JOIN newest AS n ON n.gold_fp = g.gold_fp WHERE g.project = $project
GROUP BY g.split, g.label ORDER BY g.split, items DESC, g.label
"""
SPLITS = """SELECT split, sum(items) AS items, string_agg(DISTINCT designs, ', ') AS designs, min(least_prob) AS least_prob,
       max(most_prob) AS most_prob, any_value(gold_fp) AS gold_fp, any_value(gold_set) AS gold_set
FROM ({gold}) GROUP BY split ORDER BY split
"""
SAMPLES = """SELECT sample_id, design, n, pool_n, ts FROM gold_samples WHERE project = $project ORDER BY ts, sample_id
"""
LOOKS = """SELECT split, purpose, count(*) AS looks, count(DISTINCT strategy_fp) AS versions FROM gold_looks
WHERE project = $project GROUP BY ALL ORDER BY split, purpose
"""
PEOPLE = """SELECT count(*) AS votes, count(DISTINCT annotator) AS people, count(DISTINCT item_id) AS items
FROM current_votes WHERE project = $project AND role = 'reviewer' AND answer = 'label'
"""
_PAIRED = """WITH paired AS (
    SELECT v.task_id, v.label, count(*) OVER (PARTITION BY v.task_id) AS m
    FROM current_votes AS v
    SEMI JOIN (
        SELECT task_id FROM review_tasks WHERE project = $project AND kind <> 'check'
        GROUP BY task_id HAVING coalesce(bool_and(blind), true)
    ) AS t ON t.task_id = v.task_id
    WHERE v.project = $project AND v.role = 'reviewer' AND v.answer = 'label' AND v.label <> ''
    QUALIFY count(*) OVER (PARTITION BY v.task_id) > 1
)"""
PAIRED_VOTES = _PAIRED + "\nSELECT task_id, label FROM paired ORDER BY task_id, label\n"
# Krippendorff (2011) for nominal labels: 1 - (N - 1) * sum over tasks of unlike pairs / (m - 1), over unlike pairs of all.
ALPHA = (
    _PAIRED
    + """,
cells AS (SELECT task_id, label, any_value(m) AS m, count(*) AS n FROM paired GROUP BY task_id, label),
within AS (SELECT sum((m * m - same) / (m - 1)) AS unlike, count(*) AS tasks FROM (
    SELECT task_id, any_value(m) AS m, sum(n * n) AS same FROM cells GROUP BY task_id)),
total AS (SELECT sum(n) AS n, sum(n * n) AS same FROM (SELECT label, sum(n) AS n FROM cells GROUP BY label))
SELECT CASE WHEN t.n * t.n > t.same THEN 1 - (t.n - 1) * w.unlike / (t.n * t.n - t.same) END AS value, w.tasks AS n
FROM within AS w, total AS t
"""
)
REJECTED = """SELECT count(*) AS rejected FROM import_errors WHERE source IN (SELECT source FROM items WHERE project = $project)
"""
