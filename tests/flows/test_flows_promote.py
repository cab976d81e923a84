"""The flow that asks for approval, against a real Prefect server: it suspends, and does what the person answered."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from labelproof.report.rollouts.events import read_rollouts
from labelproof.stack import prefect_env
from labelproof.store import open_store
from tests.conftest import MakeProject
from tests.rollouts.rollout_helpers import compared, pair_of, two_strategies
from tests.run.run_helpers import ROOT

pytestmark = pytest.mark.stack
_DEPLOY = """
from prefect.deployments.runner import RunnerDeployment
RunnerDeployment.from_entrypoint("flows/promote_flow.py:promote", name="approval").apply()
"""
_ASK = """
import asyncio, json, sys
from flows.params import PromoteParams
from flows.promote_flow import start
print(asyncio.run(start(PromoteParams(**json.loads(sys.argv[1])))))
"""


@pytest.mark.parametrize("approve", [True, False])
def test_a_person_decides_in_the_prefect_ui(
    server_url: str, make_project: MakeProject, tmp_path: Path, approve: bool
) -> None:
    folder = two_strategies(make_project, "http://127.0.0.1:9/v1", name=f"asked-{approve}".lower())
    champion = folder / "strategies" / "champion.yaml"
    before = champion.read_bytes()
    store = tmp_path / "store"
    with open_store(store) as opened:
        compared(opened, pair_of(opened, folder, now=datetime.now(UTC)))
    params = {
        "project": str(folder),
        "strategy": "candidate",
        "why": "better <b>by</b> far",
        "by": "ann",
        "store": str(store),
    }
    _python(server_url, tmp_path, "-c", _DEPLOY)
    flow_run_id = _python(server_url, tmp_path, "-c", _ASK, json.dumps(params)).strip().splitlines()[-1]

    _work(server_url, tmp_path, flow_run_id)
    assert _state(server_url, flow_run_id) == "PAUSED"
    assert champion.read_bytes() == before
    asked = _artifacts(server_url, flow_run_id)
    assert len(asked) == 1
    assert "better &lt;b&gt;by&lt;/b&gt; far" in asked[0]["data"]
    assert "c1: ship" in asked[0]["data"]

    answer = {"approve": approve, "who": "bob", "why": "read it"}
    resumed = httpx.post(
        f"{server_url}/flow_runs/{flow_run_id}/resume", json={"run_input": answer}, timeout=30
    )
    assert resumed.json()["status"] == "ACCEPT"
    _work(server_url, tmp_path, flow_run_id)
    assert _state(server_url, flow_run_id) == "COMPLETED"
    with open_store(store) as opened:
        (state,) = read_rollouts(opened, folder.name)
    assert (state.phase, state.actor, state.reason) == (
        "promoted" if approve else "rejected",
        "bob",
        "read it",
    )
    assert {event.flow_run_id for event in state.events if event.event in ("proposed", "approved")} == {
        flow_run_id
    }
    assert (champion.read_bytes() != before) is approve
    assert len(_artifacts(server_url, flow_run_id)) == 3


def _work(url: str, root: Path, flow_run_id: str) -> None:
    """Run a flow run once in a process of its own, as a worker does."""
    _python(url, root, "-m", "prefect.engine", flow_run_id)


def _python(url: str, root: Path, *arguments: str) -> str:
    env = {
        **os.environ,
        **prefect_env(root, url),
        "PYTHONPATH": str(ROOT),
        "PREFECT_LOGGING_TO_API_ENABLED": "0",
    }
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env=env,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def _state(url: str, flow_run_id: str) -> str:
    found: dict[str, Any] = httpx.get(f"{url}/flow_runs/{flow_run_id}", timeout=30).raise_for_status().json()
    return str(found["state_type"])


def _artifacts(url: str, flow_run_id: str) -> list[dict[str, Any]]:
    body = {"artifacts": {"flow_run_id": {"any_": [flow_run_id]}}}
    found: list[dict[str, Any]] = (
        httpx.post(f"{url}/artifacts/filter", json=body, timeout=30).raise_for_status().json()
    )
    return sorted(found, key=lambda one: str(one["created"]))
