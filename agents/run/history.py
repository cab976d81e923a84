"""What the store knows of earlier runs: the unfinished one, what it wrote, what it spent."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from agents.resolve import ResolvedStrategy
from agents.run.workload import Workload
from labelproof.spec.hashing import digest_text
from labelproof.store import TraceStore


def params_json(work: Workload, params: Mapping[str, Any]) -> str:
    """Return what makes two requests the same run: parameters and the set of items."""
    ids = "".join(item.id for item in work.items)
    return orjson.dumps({**params, "items": digest_text(ids)}, option=orjson.OPT_SORT_KEYS).decode()


def unfinished_run(store: TraceStore, work: Workload, params: Mapping[str, Any]) -> str | None:
    rows = store.query(
        "SELECT run_id FROM runs WHERE project = ? AND strategy_fp = ? AND params_json = ?"
        " GROUP BY run_id HAVING count(*) FILTER (event = 'finished') = 0 ORDER BY max(ts) DESC LIMIT 1",
        [work.folder.name, work.resolved.fingerprint, params_json(work, params)],
        fresh=True,
    ).to_pylist()
    return str(rows[0]["run_id"]) if rows else None


def run_totals(store: TraceStore, run_id: str, *, seconds_now: float) -> dict[str, Any]:
    """Return model calls, reused answers, tokens, cost and seconds of a run, all its processes together.

    ``seconds_now`` is the working time of the process that asks; earlier ones count from their start to their stop.
    The time of a process that was killed is not known and not counted.
    """
    (calls,) = store.query(
        "SELECT count(*) AS model_calls, coalesce(sum(tokens_in), 0)::BIGINT AS tokens_in,"
        " coalesce(sum(tokens_out), 0)::BIGINT AS tokens_out, coalesce(sum(cost_usd), 0) AS cost_usd,"
        " count(*) FILTER (cost_usd IS NULL) AS unpriced_calls FROM calls WHERE run_id = ?",
        [run_id],
        fresh=True,
    ).to_pylist()
    (steps,) = store.query(
        "SELECT count(*) FILTER (cache_hit) AS steps_reused FROM steps WHERE run_id = ?", [run_id], fresh=True
    ).to_pylist()
    earlier, begun = 0.0, None
    for row in store.query(
        "SELECT event, ts FROM runs WHERE run_id = ? ORDER BY ts", [run_id], fresh=True
    ).to_pylist():
        if row["event"] in ("started", "resumed"):
            begun = row["ts"]
        elif begun is not None:
            earlier, begun = earlier + (row["ts"] - begun).total_seconds(), None
    return {**calls, **steps, "elapsed_s": round(earlier + seconds_now, 3)}


def spent_usd(store: TraceStore, run_id: str) -> float:
    rows = store.query(
        "SELECT coalesce(sum(cost_usd), 0) AS usd FROM calls WHERE run_id = ?", [run_id], fresh=True
    ).to_pylist()
    return float(rows[0]["usd"])


def recorded_rows(store: TraceStore, run_id: str) -> dict[str, int]:
    """Return item id → how many of its step rows, plus its decision, the run has written for good.

    From its first failed step on an item is tried again, and its rows are written again as newer events.
    """
    rows = store.query(
        "WITH latest AS (SELECT item_id, seq, status FROM steps WHERE run_id = $run_id"
        " QUALIFY row_number() OVER (PARTITION BY item_id, seq ORDER BY ts DESC) = 1)"
        " SELECT item_id, coalesce(min(seq) FILTER (status = 'failed'), max(seq) + 1"
        " + (item_id IN (SELECT item_id FROM decisions WHERE run_id = $run_id))::INT) AS n"
        " FROM latest GROUP BY item_id",
        {"run_id": run_id},
        fresh=True,
    ).to_pylist()
    return {row["item_id"]: int(row["n"]) for row in rows}


def may_be_cached(store: TraceStore, resolved: ResolvedStrategy) -> bool:
    """Return whether the store holds any call or step that this strategy could reuse."""
    if not any(step.calls_model for step in resolved.steps):
        return False
    store.fold_orphans()
    rows = store.query("SELECT EXISTS (SELECT 1 FROM calls) AS found", fresh=True).to_pylist()
    return bool(rows[0]["found"])
