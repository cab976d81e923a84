"""What the store knows of a search: its events, what it spent, what its candidates have answered."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

import orjson

from labelproof.report.optimize.model import SearchPlan
from labelproof.store import TraceStore

NAME = "search"
Event = Literal["planned", "started", "arm_finished", "stopped", "finished"]
_CALLS = """
SELECT coalesce(sum(cost_usd), 0) AS usd, count(*) AS n FROM calls
WHERE run_id = $id OR run_id IN (SELECT run_id FROM runs WHERE contains(params_json, $arm))
"""
_ANSWERS = """
SELECT item_id, label, cost_usd, decision FROM arm_answers
WHERE experiment_id = ? AND arm = ? AND strategy_fp = ?
QUALIFY row_number() OVER (PARTITION BY item_id ORDER BY ts DESC) = 1
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """One answer; ``label`` None: it failed."""

    label: str | None
    cost_usd: float | None


def record(
    store: TraceStore, plan: SearchPlan, event: Event, now: datetime, reason: str | None = None
) -> None:
    """Store an event of the search; `planned` and `finished` once, `planned` with the plan."""
    if event in ("planned", "finished") and event in events(store, plan.search_id):
        return
    row = {
        "experiment_id": plan.search_id,
        "project": plan.project,
        "event": event,
        "name": NAME,
        "plan_fp": plan.fp,
        "plan_json": orjson.dumps(plan.to_json()).decode() if event == "planned" else None,
        "reason": reason,
        "actor": None,
        "flow_run_id": None,
        "ts": now,
    }
    store.append("experiments", {name: [value] for name, value in row.items()})


def events(store: TraceStore, search_id: str) -> set[str]:
    """Return the names of the events so far."""
    rows = store.query(
        "SELECT DISTINCT event FROM experiments WHERE experiment_id = ?", [search_id], fresh=True
    ).to_pylist()
    return {row["event"] for row in rows}


def spent(store: TraceStore, search_id: str, arm: str | None = None) -> tuple[float, int]:
    """Return US dollars and model calls of a search, or of one of its arms, killed processes included."""
    store.fold_orphans()
    if arm is None:
        needle, own = f'"arm":["{search_id}",', search_id
    else:
        needle, own = f'"arm":["{search_id}","{arm}"]', ""
    (row,) = store.query(_CALLS, {"id": own, "arm": needle}, fresh=True).to_pylist()
    return float(row["usd"]), int(row["n"])


def answers(store: TraceStore, search_id: str, arm: str, strategy_fp: str) -> dict[str, Said]:
    """Return what an arm has answered, by item id."""
    rows = store.query(_ANSWERS, [search_id, arm, strategy_fp], fresh=True).to_pylist()
    return {
        row["item_id"]: Said(
            label=None if row["decision"] == "failed" else row["label"], cost_usd=row["cost_usd"]
        )
        for row in rows
    }


def looked(store: TraceStore, project: str, strategy_fps: Sequence[str], split: str, reason: str) -> set[str]:
    """Return which of the versions have this search's look at a split stored already."""
    rows = store.query(
        "SELECT DISTINCT strategy_fp FROM gold_looks WHERE project = ? AND split = ? AND purpose = 'tuning'"
        " AND reason = ? AND strategy_fp IN (SELECT unnest(?))",
        [project, split, reason, list(strategy_fps)],
        fresh=True,
    ).to_pylist()
    return {row["strategy_fp"] for row in rows}
