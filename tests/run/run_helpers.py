"""Driving a run in this process or in one that can be killed."""

from __future__ import annotations

from pathlib import Path
from secrets import token_hex
from typing import Any

from agents.run.drive import run_plain
from agents.run.session import LabelRequest, LabelSession
from labelproof.store import TraceStore, open_store
from tests.killable import Killable, start_killable

ROOT = Path(__file__).resolve().parents[2]


def run(folder: Path, store: Path, **more: Any) -> dict[str, Any]:
    """Run the project to its end in this process and return the summary."""
    session = LabelSession.open(LabelRequest(project=str(folder), store=str(store), **more))
    try:
        summary = run_plain(session)
    finally:
        session.store.close()
    assert summary is not None
    return summary


def start_run(folder: Path, store: Path, *arguments: str) -> Killable:
    """Start `labelproof run` in a process of its own, its output beside the project."""
    command = ["run", str(folder), "--store", str(store), "--prefect", "off", "--json", *arguments]
    return start_killable(command, cwd=folder, output=folder.parent / f"run {token_hex(4)}")


def rows(store: TraceStore | Path, sql: str, *params: Any) -> list[dict[str, Any]]:
    """Return the rows of a query that sees the outbox too."""
    if isinstance(store, Path):
        with open_store(store) as opened:
            return list(opened.query(sql, list(params), fresh=True).to_pylist())
    found: list[dict[str, Any]] = store.query(sql, list(params), fresh=True).to_pylist()
    return found
