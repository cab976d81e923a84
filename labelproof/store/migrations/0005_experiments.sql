-- Experiments: what was planned, what each arm answered, what was concluded; roll-outs and suites.

-- What an answer cost when it was made, cached steps included: reused answers are free, strategies are not.
ALTER TABLE decisions ADD COLUMN cost_usd DOUBLE;
ALTER TABLE decisions ADD COLUMN latency_ms DOUBLE;

CREATE TABLE experiments (
    experiment_id VARCHAR,
    project VARCHAR,
    event VARCHAR,
    name VARCHAR,
    plan_fp VARCHAR,
    plan_json VARCHAR,
    reason VARCHAR,
    actor VARCHAR,
    flow_run_id VARCHAR,
    ts TIMESTAMPTZ
);

CREATE TABLE arm_answers (
    experiment_id VARCHAR,
    arm VARCHAR,
    run_id VARCHAR,
    strategy_fp VARCHAR,
    item_id VARCHAR,
    label VARCHAR,
    confidence DOUBLE,
    raw_confidence DOUBLE,
    decision VARCHAR,
    reason VARCHAR,
    certificate_id VARCHAR,
    cost_usd DOUBLE,
    latency_ms DOUBLE,
    ts TIMESTAMPTZ,
    flow_run_id VARCHAR,
    task_run_id VARCHAR
);

CREATE TABLE comparisons (
    comparison_id VARCHAR,
    project VARCHAR,
    experiment_id VARCHAR,
    plan_fp VARCHAR,
    strategy_a VARCHAR,
    fp_a VARCHAR,
    strategy_b VARCHAR,
    fp_b VARCHAR,
    gold_fp VARCHAR,
    split VARCHAR,
    split_fp VARCHAR,
    verdict VARCHAR,
    reason VARCHAR,
    n_items BIGINT,
    report_json VARCHAR,
    ts TIMESTAMPTZ
);

CREATE TABLE rollouts (
    rollout_id VARCHAR,
    project VARCHAR,
    event VARCHAR,
    strategy VARCHAR,
    fp_from VARCHAR,
    fp_to VARCHAR,
    share_prob DOUBLE,
    actor VARCHAR,
    reason VARCHAR,
    evidence_json VARCHAR,
    flow_run_id VARCHAR,
    ts TIMESTAMPTZ
);

CREATE TABLE rollout_units (
    rollout_id VARCHAR,
    item_id VARCHAR,
    unit VARCHAR,
    arm VARCHAR,
    ts TIMESTAMPTZ
);

CREATE TABLE suite_runs (
    suite_run_id VARCHAR,
    project VARCHAR,
    suite VARCHAR,
    suite_fp VARCHAR,
    strategy VARCHAR,
    strategy_fp VARCHAR,
    n_cases BIGINT,
    summary_json VARCHAR,
    ts TIMESTAMPTZ
);

CREATE TABLE suite_results (
    suite_run_id VARCHAR,
    case_id VARCHAR,
    base_id VARCHAR,
    functionality VARCHAR,
    term_group VARCHAR,
    text_hash VARCHAR,
    expected VARCHAR,
    base_label VARCHAR,
    label VARCHAR,
    confidence DOUBLE,
    base_confidence DOUBLE,
    passed BOOLEAN,
    reason VARCHAR,
    run_id VARCHAR,
    ts TIMESTAMPTZ
);

CREATE VIEW current_experiments AS
SELECT
    experiment_id,
    arg_min(project, ts) AS project,
    arg_max(event, ts) AS state,
    min(ts) AS planned_at,
    max(ts) AS changed_at,
    arg_min(name, ts) AS name,
    arg_min(plan_fp, ts) AS plan_fp,
    arg_min(plan_json, ts) AS plan_json,
    arg_max(reason, ts) AS reason
FROM experiments GROUP BY experiment_id;

-- One answer per strategy version, repeat and item, whoever asked for it: a production run, an arm, a shadow.
CREATE VIEW strategy_answers AS
WITH known_runs AS (
    SELECT
        run_id, any_value(project) AS project, any_value(strategy) AS strategy,
        any_value(repeat_idx) AS repeat_idx
    FROM runs GROUP BY run_id
),
said AS (
    SELECT
        strategy_fp, item_id, label, confidence, raw_confidence, decision, reason, certificate_id,
        cost_usd, latency_ms, run_id, ts
    FROM decisions
    UNION ALL
    SELECT
        strategy_fp, item_id, label, confidence, raw_confidence, decision, reason, certificate_id,
        cost_usd, latency_ms, run_id, ts
    FROM arm_answers
)
SELECT r.project, r.strategy, s.strategy_fp, r.repeat_idx, s.* EXCLUDE (strategy_fp)
FROM said AS s JOIN known_runs AS r USING (run_id)
QUALIFY row_number() OVER (
    PARTITION BY r.project, s.strategy_fp, r.repeat_idx, s.item_id ORDER BY s.ts DESC NULLS LAST, s.run_id DESC
) = 1;
