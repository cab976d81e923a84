-- Append-only event tables. No keys, indexes, enums or defaults: DuckLake has none of them, and
-- DuckDB 1.5 can lose rows from index lookups after a killed writer.

CREATE TABLE texts (
    text_hash VARCHAR,
    text VARCHAR
);

CREATE TABLE projects (
    project_fp VARCHAR,
    project VARCHAR,
    spec_json VARCHAR,
    ts TIMESTAMPTZ
);

CREATE TABLE strategies (
    strategy_fp VARCHAR,
    project VARCHAR,
    strategy VARCHAR,
    spec_json VARCHAR,
    ts TIMESTAMPTZ
);

CREATE TABLE runs (
    run_id VARCHAR,
    ts TIMESTAMPTZ,
    event VARCHAR,
    project VARCHAR,
    project_fp VARCHAR,
    strategy VARCHAR,
    strategy_fp VARCHAR,
    n_items BIGINT,
    repeat_idx BIGINT,
    orchestrated BOOLEAN,
    flow_run_id VARCHAR,
    params_json VARCHAR,
    summary_json VARCHAR,
    reason VARCHAR
);

CREATE TABLE items (
    item_id VARCHAR,
    external_id VARCHAR,
    project VARCHAR,
    text_hash VARCHAR,
    meta_json VARCHAR,
    source VARCHAR,
    ts TIMESTAMPTZ
);

CREATE TABLE gold (
    gold_set VARCHAR,
    gold_fp VARCHAR,
    project VARCHAR,
    item_id VARCHAR,
    label VARCHAR,
    split VARCHAR,
    design VARCHAR,
    inclusion_prob DOUBLE,
    ts TIMESTAMPTZ
);

CREATE TABLE steps (
    run_id VARCHAR,
    item_id VARCHAR,
    seq BIGINT,
    kind VARCHAR,
    name VARCHAR,
    step_key VARCHAR,
    spec_fp VARCHAR,
    input_hash VARCHAR,
    output_hash VARCHAR,
    output_json VARCHAR,
    status VARCHAR,
    error VARCHAR,
    cache_hit BOOLEAN,
    repeat_idx BIGINT,
    n_calls BIGINT,
    tokens_in BIGINT,
    tokens_out BIGINT,
    tokens_cached BIGINT,
    cost_usd DOUBLE,
    latency_ms DOUBLE,
    ts TIMESTAMPTZ,
    flow_run_id VARCHAR,
    task_run_id VARCHAR
);

CREATE TABLE calls (
    call_key VARCHAR,
    run_id VARCHAR,
    item_id VARCHAR,
    step_key VARCHAR,
    call_idx BIGINT,
    model VARCHAR,
    provider VARCHAR,
    system_hash VARCHAR,
    user_hash VARCHAR,
    response_hash VARCHAR,
    logprobs_json VARCHAR,
    finish_reason VARCHAR,
    provider_fingerprint VARCHAR,
    tokens_in BIGINT,
    tokens_out BIGINT,
    tokens_cached BIGINT,
    cost_usd DOUBLE,
    latency_ms DOUBLE,
    attempts BIGINT,
    ts TIMESTAMPTZ,
    flow_run_id VARCHAR,
    task_run_id VARCHAR
);

CREATE TABLE decisions (
    run_id VARCHAR,
    item_id VARCHAR,
    strategy_fp VARCHAR,
    label VARCHAR,
    confidence DOUBLE,
    raw_confidence DOUBLE,
    decision VARCHAR,
    reason VARCHAR,
    certificate_id VARCHAR,
    inclusion_prob DOUBLE,
    audited BOOLEAN,
    calibrator_id VARCHAR,
    ts TIMESTAMPTZ,
    flow_run_id VARCHAR,
    task_run_id VARCHAR
);

CREATE TABLE calibrators (
    calibrator_id VARCHAR,
    run_id VARCHAR,
    strategy_fp VARCHAR,
    method VARCHAR,
    n BIGINT,
    params_json VARCHAR,
    report_json VARCHAR,
    ts TIMESTAMPTZ
);

CREATE TABLE certificates (
    certificate_id VARCHAR,
    project VARCHAR,
    strategy_fp VARCHAR,
    gold_fp VARCHAR,
    spec_json VARCHAR,
    ts TIMESTAMPTZ
);

CREATE TABLE certificate_events (
    certificate_id VARCHAR,
    event VARCHAR,
    reason VARCHAR,
    ts TIMESTAMPTZ
);

CREATE TABLE scores (
    run_id VARCHAR,
    strategy_fp VARCHAR,
    gold_fp VARCHAR,
    split VARCHAR,
    slice VARCHAR,
    metric VARCHAR,
    value DOUBLE,
    low DOUBLE,
    high DOUBLE,
    n BIGINT,
    method VARCHAR,
    reason VARCHAR,
    ts TIMESTAMPTZ
);

CREATE TABLE import_errors (
    source VARCHAR,
    line BIGINT,
    reason VARCHAR,
    raw_hash VARCHAR,
    ts TIMESTAMPTZ
);

CREATE TABLE ledger_batches (
    batch_id VARCHAR,
    table_name VARCHAR,
    n_rows BIGINT,
    ts TIMESTAMPTZ
);

CREATE TABLE ledger_migrations (
    version BIGINT,
    name VARCHAR,
    checksum VARCHAR,
    ts TIMESTAMPTZ
);

CREATE TABLE meta (
    key VARCHAR,
    value VARCHAR
);
