"""Rows of several projects: work, measurements, findings, alarms, causes."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from labelproof.report.monitor.model import Measurement, measurement_rows
from labelproof.store import TraceStore

NOW = datetime(2027, 3, 1, 12, tzinfo=UTC)


def add_project(
    store: TraceStore,
    name: str,
    *,
    auto: int = 0,
    review: int = 0,
    failed: int = 0,
    cost: float | None = 0.0004,
    state: str | None = None,
    findings: Mapping[str, int] | None = None,
    alarms: Mapping[str, int] | None = None,
    causes: Mapping[str, int] | None = None,
    now: datetime = NOW,
) -> None:
    """Store a project as its run, monitor, findings and analysis would have left it."""
    decisions = ["auto_accept"] * auto + ["review"] * review + ["failed"] * failed
    n = len(decisions)
    tables: dict[str, dict[str, list[Any]]] = {
        "runs": {
            "run_id": [f"r-{name}"], "event": ["finished"], "project": [name], "strategy": ["champion"],
            "strategy_fp": ["b2:1"], "n_items": [n], "ts": [now - timedelta(hours=3)],
        },
        "decisions": {
            "run_id": [f"r-{name}"] * n, "item_id": [f"{name}-{i}" for i in range(n)], "strategy_fp": ["b2:1"] * n,
            "label": ["safe"] * n, "decision": decisions, "cost_usd": [cost] * n, "ts": [now - timedelta(hours=3)] * n,
        },
    }  # fmt: skip
    if state is not None:
        found = Measurement(
            kind="target", subject="auto_accuracy", state=state, value=0.962, low=0.951, high=0.971, n=600,  # type: ignore[arg-type]
            bound=0.95, side="at_least",
        )  # fmt: skip
        tables["measurements"] = measurement_rows(name, [found], now)
    rows = [(severity, k) for severity, count in (findings or {}).items() for k in range(count)]
    tables["findings"] = {
        "finding_id": [f"F-{name}-{severity}-{k}" for severity, k in rows], "project": [name] * len(rows),
        "event": ["opened"] * len(rows), "title": ["t"] * len(rows), "severity": [severity for severity, _ in rows],
        "ts": [now] * len(rows),
    }  # fmt: skip
    rows = [(level, k) for level, count in (alarms or {}).items() for k in range(count)]
    tables["alarms"] = {
        "alarm_id": [f"A-{name}-{level}-{k}" for level, k in rows], "project": [name] * len(rows), "kind": ["target"] * len(rows),
        "subject": ["s"] * len(rows), "event": ["breached"] * len(rows), "level": [level for level, _ in rows],
        "ts": [now - timedelta(hours=5)] * len(rows),
    }  # fmt: skip
    rows = [(cause, k) for cause, count in (causes or {}).items() for k in range(count)]
    if rows:
        tables["root_causes"] = {"rca_id": [f"rca-{name}"], "project": [name], "ts": [now]}
        tables["error_causes"] = {
            "rca_id": [f"rca-{name}"] * len(rows), "project": [name] * len(rows),
            "item_id": [f"{cause}-{k}" for cause, k in rows], "cause": [cause for cause, _ in rows], "ts": [now] * len(rows),
        }  # fmt: skip
    store.append_many(tables)
