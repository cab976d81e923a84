"""A project whose two strategies' answers are written into the store: every number of a comparison can be counted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson

from agents.run.register import gold_rows, item_rows
from agents.run.workload import load_workload
from labelproof.report.compare.build import compare
from labelproof.report.compare.model import CompareReport
from labelproof.spec.project import find_project
from labelproof.store import TraceStore
from tests.conftest import MakeProject, write_strategy

START = datetime(2027, 1, 1, tzinfo=UTC)
"""After the project's files were written: the stored gold is the project's."""
NOW = START + timedelta(days=30)
URL = "http://127.0.0.1:9/v1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """One stored answer."""

    label: str | None
    confidence: float | None = 0.8
    accepted: bool = False
    cost_usd: float | None = 0.001
    latency_ms: float | None = 100.0


def two_strategies(
    make_project: MakeProject,
    gold: Sequence[tuple[int, str, str]],
    *,
    n_items: int,
    experiments: str = "",
    **more: Any,
) -> Path:
    """Return a project with the strategies champion and candidate (another temperature) and its `experiments`."""
    folder = make_project(URL, gold=gold, n_items=n_items, **more)
    write_strategy(folder, URL, name="candidate", model="temperature: 0.5")
    with (folder / "project.yaml").open("a") as file:
        file.write(f"experiments: {{{experiments}}}\n" if experiments else "")
    return folder


def store_answers(
    store: TraceStore,
    folder: Path,
    strategy: str,
    answers: Mapping[int, Said | str | None],
    *,
    repeat: int = 0,
    run_id: str | None = None,
    at: datetime = START,
    arm: str | None = None,
    texts: Mapping[int, str] | None = None,
) -> str:
    """Store a finished run (or an arm of the experiment `x1`) of ``strategy`` with ``answers`` by item number."""
    work = load_workload(str(folder), strategy)
    fp = work.resolved.fingerprint
    run = run_id or f"run-{strategy}-{repeat}"
    name = work.folder.name
    by_number = {item.external_id: item.id for item in work.items}
    rows = [
        (by_number[f"m{number}"], said if isinstance(said, Said) else Said(label=said))
        for number, said in answers.items()
    ]
    n = len(rows)
    known = item_rows(store, name, work, at) | gold_rows(store, name, work, at)
    if known:
        store.append_many(known)
    table: dict[str, Sequence[Any]] = {
        "run_id": [run] * n,
        "strategy_fp": [fp] * n,
        "item_id": [item_id for item_id, _ in rows],
        "label": [said.label for _, said in rows],
        "confidence": [said.confidence for _, said in rows],
        "decision": ["failed" if said.label is None else "auto_accept" if said.accepted else "review" for _, said in rows],
        "cost_usd": [said.cost_usd for _, said in rows],
        "latency_ms": [said.latency_ms for _, said in rows],
        "ts": [at] * n,
    }  # fmt: skip
    if arm is not None:
        table |= {"experiment_id": ["x1"] * n, "arm": [arm] * n}
    store.append_many(
        {
            "strategies": {
                "strategy_fp": [fp],
                "project": [name],
                "strategy": [strategy],
                "spec_json": [orjson.dumps(work.resolved.snapshot).decode()],
                "ts": [at],
            },
            "runs": {
                "run_id": [run],
                "ts": [at],
                "event": ["finished"],
                "project": [name],
                "strategy": [strategy],
                "strategy_fp": [fp],
                "n_items": [n],
                "repeat_idx": [repeat],
            },
            ("decisions" if arm is None else "arm_answers"): table,
        }
    )
    return fp


def compared(
    store: TraceStore, folder: Path, a: str = "champion", b: str = "candidate", **more: Any
) -> CompareReport:
    """Return the comparison of two strategies of the project."""
    return compare(store, find_project(str(folder)), a, b, **{"now": NOW, **more})


def row_of(report: CompareReport, metric: str) -> Any:
    """Return the difference of a metric."""
    return next(row for row in report.rows if row.difference.metric == metric)


def run_sql(store: TraceStore, sql: str) -> list[dict[str, Any]]:
    """Run a statement of the report as a person would."""
    found: list[dict[str, Any]] = store.query(sql, fresh=True).to_pylist()
    return found
