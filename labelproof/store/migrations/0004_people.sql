-- Answers taken back, tasks that need a lead or are no longer asked, and what is known of each item in the end.

ALTER TABLE votes ADD COLUMN signature VARCHAR;

CREATE TABLE review_events (
    event_id VARCHAR,
    project VARCHAR,
    task_id VARCHAR,
    item_id VARCHAR,
    actor VARCHAR,
    event VARCHAR,
    reason VARCHAR,
    ts TIMESTAMPTZ
);

DROP VIEW task_outcomes;
CREATE VIEW task_outcomes AS
WITH latest AS (
    SELECT project, task_id, arg_max(event, ts) AS event, max(ts) AS event_at
    FROM review_events WHERE event IN ('closed', 'reopened', 'escalated') GROUP BY project, task_id
),
counted AS (
    SELECT
        v.project, v.task_id,
        count(*) FILTER (v.role = 'reviewer') AS n_answers,
        count(*) FILTER (v.role = 'reviewer' AND v.answer = 'label') AS n_votes,
        count(DISTINCT v.label) FILTER (v.role = 'reviewer' AND v.answer = 'label') AS n_labels,
        -- What was raised before a lead asked again is dealt with.
        count(*) FILTER (
            v.role = 'reviewer' AND v.answer IN ('flag', 'unclear')
            AND (e.event <> 'reopened' OR e.event IS NULL OR v.ts > e.event_at)
        ) AS n_raised,
        min(v.label) FILTER (v.role = 'reviewer' AND v.answer = 'label') AS agreed_label,
        arg_max(v.label, v.ts) FILTER (v.role = 'adjudicator' AND v.answer = 'label') AS adjudicated_label,
        max(v.ts) AS answered_at
    FROM current_votes AS v LEFT JOIN latest AS e USING (project, task_id)
    WHERE v.task_id <> '' AND v.answer <> 'withdrawn' GROUP BY v.project, v.task_id
),
tasks AS (
    SELECT * FROM review_tasks
    QUALIFY row_number() OVER (PARTITION BY task_id ORDER BY ts NULLS LAST) = 1
)
SELECT
    t.*,
    coalesce(c.n_answers, 0) AS n_answers,
    coalesce(c.n_votes, 0) AS n_votes,
    CASE
        WHEN c.adjudicated_label <> '' THEN 'adjudicated'
        WHEN c.n_labels <= 1 AND c.n_votes >= t.votes_wanted THEN 'agreed'
        WHEN e.event = 'closed' THEN 'closed'
        WHEN c.n_labels > 1 THEN 'disputed'
        WHEN c.n_raised > 0 OR e.event = 'escalated' THEN 'escalated'
        ELSE 'open'
    END AS state,
    CASE
        WHEN c.adjudicated_label <> '' THEN c.adjudicated_label
        WHEN c.n_labels = 1 AND c.n_votes >= t.votes_wanted THEN c.agreed_label
    END AS final_label,
    c.answered_at
FROM tasks AS t
LEFT JOIN counted AS c USING (project, task_id)
LEFT JOIN latest AS e USING (project, task_id);

-- A later answer of people beats an earlier one, adjudication beats agreement, people beat the machine.
CREATE VIEW final_labels AS
WITH decided AS (
    SELECT
        project, item_id, final_label AS label, state AS source, kind, task_id,
        run_id, strategy_fp, answered_at AS decided_at
    FROM task_outcomes WHERE final_label <> '' AND kind <> 'check'
    QUALIFY row_number() OVER (
        PARTITION BY project, item_id
        ORDER BY kind = 'appeal' DESC, state = 'adjudicated' DESC, answered_at DESC NULLS LAST, task_id
    ) = 1
),
people AS (
    SELECT v.project, v.task_id, string_agg(v.annotator, ', ' ORDER BY v.annotator) AS annotators
    FROM current_votes AS v JOIN decided AS d USING (project, task_id)
    WHERE v.answer = 'label' AND (d.source <> 'adjudicated' OR v.role = 'adjudicator')
    GROUP BY v.project, v.task_id
),
known_runs AS (SELECT run_id, any_value(project) AS project, any_value(strategy) AS strategy FROM runs GROUP BY run_id),
-- A strategy's later decision takes an earlier one back; another strategy's does not.
last_said AS (
    SELECT r.project, m.* FROM decisions AS m JOIN known_runs AS r USING (run_id)
    QUALIFY row_number() OVER (
        PARTITION BY r.project, r.strategy, m.item_id ORDER BY m.ts DESC NULLS LAST, m.run_id DESC
    ) = 1
),
machine AS (
    SELECT * FROM last_said WHERE decision = 'auto_accept'
    QUALIFY row_number() OVER (PARTITION BY project, item_id ORDER BY ts DESC NULLS LAST, run_id DESC) = 1
)
SELECT
    project, item_id, label, source, kind, task_id, p.annotators, run_id, strategy_fp,
    NULL::VARCHAR AS certificate_id, decided_at
FROM decided LEFT JOIN people AS p USING (project, task_id)
UNION ALL
SELECT
    m.project, m.item_id, m.label, 'auto_accept', NULL, NULL, NULL, m.run_id, m.strategy_fp,
    m.certificate_id, m.ts
FROM machine AS m
ANTI JOIN decided AS d ON d.project = m.project AND d.item_id = m.item_id;
