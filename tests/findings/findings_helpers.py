"""A store with findings, a project folder with targets, and a measure that says what a test wants."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from labelproof.report.findings.book import find_finding, open_finding
from labelproof.report.findings.model import Finding
from labelproof.report.monitor.model import Measurement
from labelproof.spec.project import ProjectFolder, find_project
from labelproof.store import TraceStore

T0 = datetime(2026, 5, 4, 8, tzinfo=UTC)
PROJECT = "mini"
HOSTILE = '=cmd|"/c calc"!A1 </td><script>alert(1)</script> [red]x[/] `|` \x1b[2J\u202e @team'


def hours(n: float) -> timedelta:
    return timedelta(hours=n)


def days(n: float) -> timedelta:
    return timedelta(days=n)


def project_folder(folder: Path, *, more: str = "") -> ProjectFolder:
    """Return a small project with a contact and a target."""
    root = folder / PROJECT
    root.mkdir(parents=True, exist_ok=True)
    (root / "items.jsonl").write_text('{"id": "m0", "text": "one"}\n')
    (root / "guideline.md").write_text("# Guideline\n\nH-1. Attacks are hate.\n")
    (root / "project.yaml").write_text(
        f"name: {PROJECT}\nlabels: {{kind: single, classes: [{{name: safe}}, {{name: hate}}]}}\n"
        "items: {path: items.jsonl}\ncontacts: [{role: qa, name: Quinn}]\n"
        "targets:\n  - {metric: auto_accuracy, at_least: 0.95, level: critical, owner: Olga}\n"
        "  - {metric: review_age_hours, at_most: 24, level: minor}\n" + more
    )
    return find_project(str(root))


def opened(store: TraceStore, source_id: str = "s1", **more: Any) -> Finding:
    """Return a finding that is open since ``T0``."""
    given: dict[str, Any] = {
        "title": "Too many wrong",
        "severity": "major",
        "owner": "olga",
        "source": "monitor",
        "evidence": {"sql": "SELECT 1"},
        "check": "auto_accuracy >= 0.95",
        "actor": "monitor",
        "now": T0,
        **more,
    }
    found = open_finding(store, PROJECT, source_id=source_id, **given)
    return find_finding(store, PROJECT, found)


def state_in_view(store: TraceStore, finding_id: str) -> dict[str, Any]:
    rows = store.query(
        "SELECT * FROM current_findings WHERE finding_id = ?", [finding_id], fresh=True
    ).to_pylist()
    return dict(rows[0])


Value = tuple[float | None, int]


def measure_of(values: dict[str, Value] | Callable[[str], Value], seen: list[Any] | None = None) -> Any:
    """Return a measure: metric -> (share or quantity, n); shares get a normal interval."""

    def measure(metric: str, since: datetime, until: datetime) -> Measurement:
        if seen is not None:
            seen.append((metric, since, until))
        value, n = values(metric) if callable(values) else values[metric]
        low = high = None
        if value is not None and n and 0 <= value <= 1:
            from evaluation.intervals import wilson

            found = wilson(round(value * n), n)
            low, high = found.low, found.high
        reason = "" if value is not None else "no settled audit"
        return Measurement(
            kind="target", subject=metric, state="quiet", value=value, low=low, high=high, n=n, reason=reason
        )

    return measure


def decisions(
    store: TraceStore, rows: list[tuple[str, str]], ts: datetime, *, run_id: str, strategy: str = "champion"
) -> None:
    """Store a run with (item, label) decisions."""
    n = len(rows)
    store.append_many(
        {
            "runs": {
                "run_id": [run_id],
                "ts": [ts],
                "event": ["started"],
                "project": [PROJECT],
                "strategy": [strategy],
                "strategy_fp": ["b2:s1"],
            },
            "decisions": {
                "run_id": [run_id] * n,
                "item_id": [item for item, _ in rows],
                "strategy_fp": ["b2:s1"] * n,
                "label": [label for _, label in rows],
                "decision": ["auto_accept"] * n,
                "ts": [ts] * n,
            },
        }
    )
