"""Rows for store tests, and the writer processes they kill."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
START = datetime(2026, 1, 1, tzinfo=UTC)
STARTED: list[subprocess.Popen[str]] = []


def at(seconds: float) -> datetime:
    """Return a fixed time plus ``seconds``."""
    return START + timedelta(seconds=seconds)


def decisions(ids: Sequence[str], *, second: float = 0, label: str = "spam") -> dict[str, list[Any]]:
    """Return one decision per item."""
    return {
        "run_id": ["r1"] * len(ids),
        "item_id": list(ids),
        "strategy_fp": ["s1"] * len(ids),
        "label": [label] * len(ids),
        "ts": [at(second)] * len(ids),
    }


def call(key: str, item_id: str = "i1", **more: Any) -> dict[str, Any]:
    """Return one finished call as the agent journals it."""
    row = {"item_id": item_id, "step_key": "k", "call_idx": 0, "call_key": key}
    return {**row, "response_text": f"answer {key}", "ts": at(0), **more}


def start_python(code: str, *args: str) -> subprocess.Popen[str]:
    """Start a Python process in the repository with ``code``; stdin and stdout are pipes."""
    started = subprocess.Popen(
        [sys.executable, "-c", code, *args],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    STARTED.append(started)
    return started


def end_started() -> None:
    """Kill and collect what a failed test left running, so that no other test is blamed for it."""
    while STARTED:
        with STARTED.pop() as process:
            process.kill()
