-- Operations: what is watched, what broke and why, what is done about it, and what is handed on.

CREATE TABLE measurements (
    measurement_id VARCHAR,
    project VARCHAR,
    kind VARCHAR,
    subject VARCHAR,
    strategy_fp VARCHAR,
    run_id VARCHAR,
    window_from TIMESTAMPTZ,
    window_to TIMESTAMPTZ,
    value DOUBLE,
    low DOUBLE,
    high DOUBLE,
    n BIGINT,
    method VARCHAR,
    bound DOUBLE,
    side VARCHAR,
    state VARCHAR,
    evidence DOUBLE,
    evidence_needed DOUBLE,
    reason VARCHAR,
    sql VARCHAR,
    ts TIMESTAMPTZ,
    flow_run_id VARCHAR
);

CREATE TABLE alarms (
    alarm_id VARCHAR,
    project VARCHAR,
    kind VARCHAR,
    subject VARCHAR,
    event VARCHAR,
    level VARCHAR,
    role VARCHAR,
    contact VARCHAR,
    value DOUBLE,
    bound DOUBLE,
    change_from TIMESTAMPTZ,
    reason VARCHAR,
    evidence_json VARCHAR,
    actor VARCHAR,
    ts TIMESTAMPTZ,
    flow_run_id VARCHAR
);

CREATE TABLE sentinels (
    sentinel_fp VARCHAR,
    project VARCHAR,
    item_id VARCHAR,
    gold_label VARCHAR,
    design VARCHAR,
    ts TIMESTAMPTZ
);

CREATE TABLE sentinel_answers (
    sentinel_fp VARCHAR,
    project VARCHAR,
    run_id VARCHAR,
    after_run_id VARCHAR,
    strategy_fp VARCHAR,
    item_id VARCHAR,
    label VARCHAR,
    confidence DOUBLE,
    provider_fingerprint VARCHAR,
    repeat_idx BIGINT,
    cost_usd DOUBLE,
    ts TIMESTAMPTZ
);

CREATE TABLE root_causes (
    rca_id VARCHAR,
    project VARCHAR,
    metric VARCHAR,
    from_start TIMESTAMPTZ,
    from_end TIMESTAMPTZ,
    to_start TIMESTAMPTZ,
    to_end TIMESTAMPTZ,
    change DOUBLE,
    headline VARCHAR,
    report_json VARCHAR,
    ts TIMESTAMPTZ
);

CREATE TABLE error_causes (
    rca_id VARCHAR,
    project VARCHAR,
    item_id VARCHAR,
    strategy_fp VARCHAR,
    label VARCHAR,
    right_label VARCHAR,
    cause VARCHAR,
    evidence_json VARCHAR,
    ts TIMESTAMPTZ
);

CREATE TABLE findings (
    finding_id VARCHAR,
    project VARCHAR,
    event VARCHAR,
    title VARCHAR,
    severity VARCHAR,
    owner VARCHAR,
    source VARCHAR,
    source_id VARCHAR,
    cause VARCHAR,
    action VARCHAR,
    check_text VARCHAR,
    check_runs BIGINT,
    check_held BIGINT,
    value DOUBLE,
    evidence_json VARCHAR,
    due_ts TIMESTAMPTZ,
    actor VARCHAR,
    reason VARCHAR,
    ts TIMESTAMPTZ
);

CREATE TABLE reports (
    report_id VARCHAR,
    project VARCHAR,
    kind VARCHAR,
    period_from TIMESTAMPTZ,
    period_to TIMESTAMPTZ,
    headline VARCHAR,
    report_json VARCHAR,
    path VARCHAR,
    ts TIMESTAMPTZ
);

CREATE TABLE playbook_entries (
    entry_id VARCHAR,
    project VARCHAR,
    traits_json VARCHAR,
    change_kinds VARCHAR,
    change_json VARCHAR,
    metric VARCHAR,
    effect DOUBLE,
    standard_error DOUBLE,
    low DOUBLE,
    high DOUBLE,
    n_items BIGINT,
    verdict VARCHAR,
    comparison_id VARCHAR,
    origin VARCHAR,
    ts TIMESTAMPTZ
);

CREATE TABLE training_sets (
    set_id VARCHAR,
    project VARCHAR,
    kind VARCHAR,
    version VARCHAR,
    n_rows BIGINT,
    spec_json VARCHAR,
    path VARCHAR,
    ts TIMESTAMPTZ
);

CREATE VIEW current_measurements AS
SELECT * FROM measurements
QUALIFY row_number() OVER (
    PARTITION BY project, kind, subject ORDER BY ts DESC NULLS LAST, measurement_id DESC
) = 1;

-- arg_max and arg_min leave rows out whose first argument is NULL: the latest value that was given.
CREATE VIEW current_alarms AS
SELECT
    alarm_id,
    arg_min(project, ts) AS project,
    arg_min(kind, ts) AS kind,
    arg_min(subject, ts) AS subject,
    CASE WHEN bool_or(event = 'recovered') THEN 'recovered'
        WHEN bool_or(event = 'acknowledged') THEN 'acknowledged' ELSE 'breached' END AS state,
    arg_min(level, ts) AS level,
    min(ts) AS breached_at,
    max(ts) FILTER (event = 'recovered') AS recovered_at,
    max(ts) AS changed_at,
    arg_max(role, ts) AS role,
    arg_max(contact, ts) AS contact,
    count(*) FILTER (event = 'escalated') AS n_escalated,
    arg_max(value, ts) AS value,
    arg_min(bound, ts) AS bound,
    arg_min(change_from, ts) AS change_from,
    arg_min(reason, ts) AS reason,
    arg_min(evidence_json, ts) AS evidence_json
FROM alarms GROUP BY alarm_id;

CREATE VIEW current_findings AS
SELECT
    finding_id,
    arg_min(project, ts) AS project,
    CASE arg_max(event, ts) FILTER (event IN ('opened', 'reopened', 'closed', 'accepted'))
        WHEN 'closed' THEN 'closed' WHEN 'accepted' THEN 'accepted' ELSE 'open' END AS state,
    arg_max(title, ts) AS title,
    arg_max(severity, ts) AS severity,
    arg_max(owner, ts) AS owner,
    arg_min(source, ts) AS source,
    arg_min(source_id, ts) AS source_id,
    arg_max(cause, ts) AS cause,
    arg_max(action, ts) AS action,
    arg_max(check_text, ts) AS check_text,
    arg_max(check_runs, ts) AS check_runs,
    arg_max(check_held, ts) AS check_held,
    arg_max(value, ts) FILTER (event = 'checked') AS value,
    arg_max(evidence_json, ts) AS evidence_json,
    arg_max(due_ts, ts) AS due_ts,
    min(ts) AS opened_at,
    max(ts) FILTER (event IN ('closed', 'accepted')) AS closed_at,
    count(*) FILTER (event = 'reopened') AS n_reopened,
    max(ts) AS changed_at
FROM findings GROUP BY finding_id;
