"""One item through every step of a run; and beside a second strategy, up to the first divergence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

import orjson

from labelproof.spec.errors import ConfigError
from labelproof.spec.hashing import short
from labelproof.store import TraceStore


@dataclass(frozen=True, slots=True, kw_only=True)
class TracedCall:
    """One model call of a step, with its texts."""

    model: str
    system: str | None
    user: str | None
    response: str | None
    logprobs: Sequence[Mapping[str, float]]
    tokens_in: int | None
    tokens_out: int | None
    tokens_cached: int | None
    cost_usd: float | None
    latency_ms: float | None
    attempts: int | None
    finish_reason: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TracedStep:
    """One step; a cache hit shows the output and the calls of the run that paid for it."""

    seq: int
    name: str
    kind: str
    status: str
    error: str | None
    cache_hit: bool
    step_key: str
    input_hash: str
    output: Mapping[str, Any] | None
    output_hash: str | None
    tokens_in: int
    tokens_out: int
    cost_usd: float
    latency_ms: float
    calls: Sequence[TracedCall]


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemTrace:
    """An item's way through one run."""

    item_id: str
    external_ids: Sequence[str]
    text: str
    meta: Mapping[str, Any]
    gold_label: str | None
    gold_split: str | None
    run_id: str
    strategy: str
    strategy_fp: str
    flow_run_id: str | None
    started_at: datetime | None
    steps: Sequence[TracedStep]
    decision: Mapping[str, Any] | None
    """A row of ``decisions``; of an experiment's arm, what it would have decided (a row of ``arm_answers``)."""
    reviews: Sequence[Mapping[str, Any]]
    """Review tasks about the item, oldest first, each with its ``state``, ``final_label`` and ``votes``."""
    final: Mapping[str, Any] | None
    """What stands for the item in the end (a row of ``final_labels``), whatever the run."""

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def trace_item(
    store: TraceStore, project: str, item: str, *, strategy: str | None = None, run_id: str | None = None
) -> ItemTrace:
    """Return the trace of an item, named by its external id or item id.

    Without ``run_id``: its latest run, of ``strategy`` (name or fingerprint) if given. ``ConfigError`` if the
    item or such a run is unknown.
    """
    known = store.query(
        "SELECT item_id, list(DISTINCT external_id) AS names, any_value(text_hash) AS text_hash,"
        " any_value(meta_json) AS meta FROM items WHERE project = ? AND (external_id = ? OR item_id = ?)"
        " GROUP BY item_id ORDER BY max(ts) DESC LIMIT 1",
        [project, item, item],
        fresh=True,
    ).to_pylist()
    if not known:
        raise ConfigError(
            f"the store knows no item {item!r} of project {project!r}",
            hint=f"labelproof sql \"SELECT external_id FROM current_items WHERE project = '{project}' LIMIT 20\"",
        )
    row = known[0]
    run = _run_of(store, project, row["item_id"], item, strategy, run_id)
    gold = store.query(
        "SELECT label, split FROM gold WHERE project = ? AND item_id = ? ORDER BY ts DESC LIMIT 1",
        [project, row["item_id"]],
        fresh=True,
    ).to_pylist()
    decision = _decision(store, run["run_id"], row["item_id"])
    return ItemTrace(
        item_id=row["item_id"],
        external_ids=sorted(row["names"]),
        text=_texts(store, [row["text_hash"]]).get(row["text_hash"], ""),
        meta=orjson.loads(row["meta"] or "{}"),
        gold_label=gold[0]["label"] if gold else None,
        gold_split=gold[0]["split"] if gold else None,
        run_id=run["run_id"],
        strategy=run["strategy"],
        strategy_fp=run["strategy_fp"],
        flow_run_id=run["flow_run_id"],
        started_at=run["started_at"],
        steps=_steps(store, run["run_id"], row["item_id"]),
        decision=decision,
        reviews=_reviews(store, project, row["item_id"]),
        final=_final(store, project, row["item_id"]),
    )


def first_divergence(a: ItemTrace, b: ItemTrace) -> int | None:
    """Return the position of the first step whose name or output differs; None if there is none."""
    for index in range(max(len(a.steps), len(b.steps))):
        if index >= len(a.steps) or index >= len(b.steps):
            return index
        one, other = a.steps[index], b.steps[index]
        if (one.name, one.status, one.output_hash) != (other.name, other.status, other.output_hash):
            return index
    return None


def _run_of(
    store: TraceStore, project: str, item_id: str, item: str, strategy: str | None, run_id: str | None
) -> Mapping[str, Any]:
    wanted = {"project": project, "item_id": item_id, "run_id": run_id, "strategy": strategy}
    rows = store.query(
        "SELECT r.run_id, any_value(r.strategy) AS strategy, any_value(r.strategy_fp) AS strategy_fp,"
        " min(r.ts) AS started_at, max(r.flow_run_id) AS flow_run_id"
        " FROM runs r WHERE r.project = $project"
        " AND ($run_id IS NULL OR r.run_id = $run_id)"
        " AND ($strategy IS NULL OR r.strategy = $strategy OR r.strategy_fp = $strategy)"
        " AND r.run_id IN (SELECT run_id FROM steps WHERE item_id = $item_id)"
        " GROUP BY r.run_id ORDER BY max(r.ts) DESC LIMIT 1",
        wanted,
        fresh=True,
    ).to_pylist()
    if not rows:
        which = f" under strategy {strategy!r}" if strategy else f" in run {run_id!r}" if run_id else ""
        command = f"labelproof run {project}" + (f" --strategy {strategy}" if strategy else "")
        raise ConfigError(f"item {item!r} has not been labeled{which}", hint=command)
    found: Mapping[str, Any] = rows[0]
    return found


def _decision(store: TraceStore, run_id: str, item_id: str) -> Mapping[str, Any] | None:
    """What a run decided, or what an arm would have: nothing of an arm's is drawn into an audit."""
    for table, more in (("decisions", ""), ("arm_answers", ", NULL AS inclusion_prob, false AS audited")):
        rows = store.query(
            f"SELECT *{more} FROM {table} WHERE run_id = ? AND item_id = ? ORDER BY ts DESC LIMIT 1",
            [run_id, item_id],
            fresh=True,
        ).to_pylist()
        if rows:
            found: Mapping[str, Any] = rows[0]
            return found
    return None


def _steps(store: TraceStore, run_id: str, item_id: str) -> list[TracedStep]:
    rows = store.query(
        "SELECT * FROM steps WHERE run_id = ? AND item_id = ?"
        " QUALIFY row_number() OVER (PARTITION BY seq ORDER BY ts DESC) = 1 ORDER BY seq",
        [run_id, item_id],
        fresh=True,
    ).to_pylist()
    keys = sorted({row["step_key"] for row in rows if row["step_key"]})
    marks = ", ".join("?" * len(keys)) or "NULL"
    paid = {
        row["step_key"]: row
        for row in store.query(
            f"SELECT * FROM steps WHERE step_key IN ({marks}) AND status = 'ok' AND NOT cache_hit ORDER BY ts",
            keys,
            fresh=True,
        ).to_pylist()
    }
    calls = store.query(
        f"SELECT * FROM calls WHERE step_key IN ({marks}) ORDER BY ts, call_idx", keys, fresh=True
    ).to_pylist()
    texts = _texts(store, [c[n] for c in calls for n in ("system_hash", "user_hash", "response_hash")])
    by_step: dict[str, list[TracedCall]] = {}
    for call in calls:
        by_step.setdefault(call["step_key"], []).append(_call(call, texts))
    steps = []
    for row in rows:
        source = paid.get(row["step_key"], row) if row["cache_hit"] else row
        steps.append(
            TracedStep(
                seq=row["seq"],
                name=row["name"],
                kind=row["kind"],
                status=row["status"],
                error=row["error"],
                cache_hit=bool(row["cache_hit"]),
                step_key=row["step_key"],
                input_hash=row["input_hash"],
                output=orjson.loads(source["output_json"]) if source["output_json"] else None,
                output_hash=row["output_hash"],
                tokens_in=source["tokens_in"] or 0,
                tokens_out=source["tokens_out"] or 0,
                cost_usd=source["cost_usd"] or 0.0,
                latency_ms=source["latency_ms"] or 0.0,
                calls=by_step.get(row["step_key"], []),
            )
        )
    return steps


def _reviews(store: TraceStore, project: str, item_id: str) -> list[dict[str, Any]]:
    given = [project, item_id]
    tasks = store.query(
        "SELECT task_id, kind, state, final_label, reason, votes_wanted, ts, answered_at FROM task_outcomes"
        " WHERE project = ? AND item_id = ? ORDER BY ts, task_id",
        given,
        fresh=True,
    ).to_pylist()
    votes = store.query(
        "SELECT task_id, annotator, role, answer, label, note, seconds, source, ts FROM current_votes"
        " WHERE project = ? AND item_id = ? AND answer <> 'withdrawn' ORDER BY ts, vote_id",
        given,
        fresh=True,
    ).to_pylist()
    return [{**task, "votes": [v for v in votes if v["task_id"] == task["task_id"]]} for task in tasks]


def _final(store: TraceStore, project: str, item_id: str) -> Mapping[str, Any] | None:
    rows = store.query(
        "SELECT * FROM final_labels WHERE project = ? AND item_id = ?", [project, item_id], fresh=True
    ).to_pylist()
    return rows[0] if rows else None


def _call(row: Mapping[str, Any], texts: Mapping[str, str]) -> TracedCall:
    logprobs = orjson.loads(row["logprobs_json"])[1] if row["logprobs_json"] else []
    return TracedCall(
        model=row["model"],
        system=texts.get(row["system_hash"]),
        user=texts.get(row["user_hash"]),
        response=texts.get(row["response_hash"]),
        logprobs=logprobs,
        tokens_in=row["tokens_in"],
        tokens_out=row["tokens_out"],
        tokens_cached=row["tokens_cached"],
        cost_usd=row["cost_usd"],
        latency_ms=row["latency_ms"],
        attempts=row["attempts"],
        finish_reason=row["finish_reason"],
    )


def _texts(store: TraceStore, hashes: Sequence[str | None]) -> dict[str, str]:
    wanted = sorted({text_hash for text_hash in hashes if text_hash})
    if not wanted:
        return {}
    marks = ", ".join("?" * len(wanted))
    rows = store.query(
        f"SELECT text_hash, any_value(text) AS text FROM texts WHERE text_hash IN ({marks}) GROUP BY text_hash",
        wanted,
        fresh=True,
    ).to_pylist()
    return {row["text_hash"]: row["text"] for row in rows}


def describe(trace: ItemTrace) -> str:
    """Return "strategy@fingerprint · run" for headings."""
    return f"{trace.strategy}@{short(trace.strategy_fp)} · run {trace.run_id}"
