"""An empty project root for each test, and no process left behind."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from labelproof.stack.paths import StackPaths, read_json, stack_paths
from labelproof.stack.procs import stop_marked


@pytest.fixture
def paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[StackPaths]:
    """The stack folder of an empty root; whatever a failed test leaves running is stopped."""
    for name in [name for name in os.environ if name.startswith("PREFECT_")]:
        monkeypatch.delenv(name)
    monkeypatch.delenv("LABELPROOF_ROOT", raising=False)
    made = stack_paths(tmp_path)
    made.ensure()
    yield made
    for record in (made.base / "services").glob("*.json"):
        if marker := read_json(record).get("marker"):
            stop_marked(marker, grace_s=0.0)
