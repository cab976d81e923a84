"""The real stack, as a user starts and asks it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from labelproof.stack.api import PrefectApi

CHECKOUT = Path(__file__).parents[2]


def labelproof(
    root: Path, *arguments: str, env: Mapping[str, str] | None = None
) -> tuple[int, dict[str, Any]]:
    """Run the command as a user would; returns its exit code and its JSON."""
    argv = [sys.executable, "-m", "labelproof", *arguments, "--root", str(root), "--json"]
    done = subprocess.run(
        argv,
        cwd=CHECKOUT,
        env={**os.environ, **(env or {})},
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    assert done.stdout, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    return done.returncode, answer


def processes_of(root: Path) -> list[str]:
    """Return the command lines of all processes that the stack of ``root`` started."""
    needle = f"LABELPROOF_ROOT={root}".encode()
    found = []
    for folder in Path("/proc").iterdir():
        try:
            if folder.name.isdigit() and needle in (folder / "environ").read_bytes().split(b"\0"):
                found.append((folder / "cmdline").read_bytes().replace(b"\0", b" ").decode())
        except (FileNotFoundError, PermissionError, ProcessLookupError):
            continue
    return found


def launch(api: PrefectApi, params: dict[str, Any]) -> str:
    """Start `label/production`; returns the run's id."""
    deployment = api.call("GET", "/deployments/name/label/production")
    path = f"/deployments/{deployment['id']}/create_flow_run"
    return str(api.call("POST", path, {"parameters": {"params": params}})["id"])


def state_of(api: PrefectApi, run_id: str) -> str:
    """Return the type of a run's state."""
    return str(api.call("GET", f"/flow_runs/{run_id}")["state_type"])
