-- What is current. Table names stay unqualified on purpose: a fresh read shadows a table by a
-- temporary view that adds the outbox's waiting rows, and these views then see those rows too.

CREATE VIEW text_by_hash AS
SELECT text_hash, any_value(text) AS text FROM texts GROUP BY text_hash;

CREATE VIEW current_items AS
SELECT * FROM items
QUALIFY row_number() OVER (PARTITION BY project, item_id ORDER BY ts DESC NULLS LAST) = 1;

CREATE VIEW current_runs AS
SELECT
    run_id,
    arg_max(event, ts) AS state,
    min(ts) AS started_at,
    max(ts) AS changed_at,
    arg_max(project, ts) AS project,
    arg_max(project_fp, ts) AS project_fp,
    arg_max(strategy, ts) AS strategy,
    arg_max(strategy_fp, ts) AS strategy_fp,
    arg_max(n_items, ts) AS n_items,
    arg_max(repeat_idx, ts) AS repeat_idx,
    arg_max(orchestrated, ts) AS orchestrated,
    arg_max(flow_run_id, ts) AS flow_run_id,
    arg_max(params_json, ts) AS params_json,
    arg_max(summary_json, ts) AS summary_json,
    arg_max(reason, ts) FILTER (event = 'stopped') AS stop_reason,
    count(*) FILTER (event = 'resumed') AS n_resumed
FROM runs GROUP BY run_id;

CREATE VIEW current_decisions AS
SELECT * FROM decisions
QUALIFY row_number() OVER (
    PARTITION BY item_id, strategy_fp ORDER BY ts DESC NULLS LAST, run_id DESC
) = 1;

CREATE VIEW current_gold AS
SELECT * FROM gold
QUALIFY row_number() OVER (
    PARTITION BY project, gold_set, gold_fp, item_id ORDER BY ts DESC NULLS LAST
) = 1;

CREATE VIEW current_certificates AS
SELECT
    c.certificate_id, c.project, c.strategy_fp, c.gold_fp, c.spec_json,
    c.ts AS issued_at, e.state, e.reason, e.changed_at
FROM certificates AS c
LEFT JOIN (
    SELECT
        certificate_id,
        arg_max(event, ts) AS state,
        arg_max(reason, ts) AS reason,
        max(ts) AS changed_at
    FROM certificate_events GROUP BY certificate_id
) AS e USING (certificate_id);

CREATE VIEW item_trace AS
SELECT * FROM steps
QUALIFY row_number() OVER (
    PARTITION BY run_id, item_id, seq, step_key ORDER BY ts DESC NULLS LAST
) = 1
ORDER BY run_id, item_id, seq;
