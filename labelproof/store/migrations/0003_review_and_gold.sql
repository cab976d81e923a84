-- Review tasks and the votes on them, how gold was drawn, and who has looked at it.

CREATE TABLE review_tasks (
    task_id VARCHAR,
    project VARCHAR,
    kind VARCHAR,
    item_id VARCHAR,
    run_id VARCHAR,
    strategy_fp VARCHAR,
    label VARCHAR,
    confidence DOUBLE,
    blind BOOLEAN,
    votes_wanted BIGINT,
    reason VARCHAR,
    design VARCHAR,
    inclusion_prob DOUBLE,
    sample_id VARCHAR,
    ts TIMESTAMPTZ
);

CREATE TABLE votes (
    vote_id VARCHAR,
    project VARCHAR,
    task_id VARCHAR,
    item_id VARCHAR,
    annotator VARCHAR,
    role VARCHAR,
    answer VARCHAR,
    label VARCHAR,
    note VARCHAR,
    source VARCHAR,
    seconds DOUBLE,
    ts TIMESTAMPTZ
);

CREATE TABLE gold_samples (
    sample_id VARCHAR,
    project VARCHAR,
    strategy_fp VARCHAR,
    design VARCHAR,
    n BIGINT,
    pool_n BIGINT,
    spec_json VARCHAR,
    ts TIMESTAMPTZ
);

CREATE TABLE gold_looks (
    project VARCHAR,
    gold_fp VARCHAR,
    split VARCHAR,
    split_fp VARCHAR,
    strategy VARCHAR,
    strategy_fp VARCHAR,
    purpose VARCHAR,
    reason VARCHAR,
    ts TIMESTAMPTZ
);

CREATE VIEW current_votes AS
SELECT * FROM votes
QUALIFY row_number() OVER (
    PARTITION BY project, task_id, item_id, annotator, role ORDER BY ts DESC NULLS LAST, vote_id DESC
) = 1;

CREATE VIEW task_outcomes AS
WITH counted AS (
    SELECT
        project, task_id,
        count(*) FILTER (role = 'reviewer') AS n_answers,
        count(*) FILTER (role = 'reviewer' AND answer = 'label') AS n_votes,
        count(DISTINCT label) FILTER (role = 'reviewer' AND answer = 'label') AS n_labels,
        min(label) FILTER (role = 'reviewer' AND answer = 'label') AS agreed_label,
        arg_max(label, ts) FILTER (role = 'adjudicator' AND answer = 'label') AS adjudicated_label,
        max(ts) AS answered_at
    FROM current_votes WHERE task_id <> '' GROUP BY project, task_id
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
        WHEN c.n_labels > 1 THEN 'disputed'
        WHEN c.n_votes >= t.votes_wanted THEN 'agreed'
        ELSE 'open'
    END AS state,
    CASE
        WHEN c.adjudicated_label <> '' THEN c.adjudicated_label
        WHEN c.n_labels = 1 AND c.n_votes >= t.votes_wanted THEN c.agreed_label
    END AS final_label,
    c.answered_at
FROM tasks AS t LEFT JOIN counted AS c USING (project, task_id);
