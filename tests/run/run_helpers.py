"""Driving a run in this process or in one that can be killed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from agents.run.drive import run_plain
from agents.run.session import LabelRequest, LabelSession
from labelproof.store import TraceStore, open_store

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


def spawn(folder: Path, store: Path, *arguments: str) -> subprocess.Popen[str]:
    """Start `labelproof run` in a process of its own."""
    env = {**os.environ, "PYTHONPATH": str(ROOT), "LABELPROOF_ROOT": str(folder)}
    command = [
        sys.executable,
        "-m",
        "labelproof",
        "run",
        str(folder),
        "--store",
        str(store),
        "--prefect",
        "off",
        "--json",
    ]
    return subprocess.Popen(
        [*command, *arguments], env=env, cwd=folder, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


def rows(store: TraceStore | Path, sql: str, *params: Any) -> list[dict[str, Any]]:
    """Return the rows of a query that sees the outbox too."""
    if isinstance(store, Path):
        with open_store(store) as opened:
            return list(opened.query(sql, list(params), fresh=True).to_pylist())
    found: list[dict[str, Any]] = store.query(sql, list(params), fresh=True).to_pylist()
    return found
