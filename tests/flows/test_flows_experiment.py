"""An experiment in Prefect: the plan as an artifact first, each arm a flow of its own, the comparison at the end."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest

from tests.conftest import MakeProject
from tests.experiments.experiment_helpers import answering, make_arms
from tests.run.run_helpers import ROOT, rows
from tests.scripted_server import scripted_server

pytestmark = pytest.mark.stack


def test_arms_are_sub_flows_and_a_budget_stop_goes_on(
    server_url: str, make_project: MakeProject, tmp_path: Path
) -> None:
    store = tmp_path / "store"
    with scripted_server(answering()) as model:
        folder = make_arms(make_project, model.base_url)
        stopped = _run(server_url, tmp_path, folder, "--budget", "0.2", "--store", str(store))
        assert stopped.returncode == 2, stopped.stderr
        before = len(model.requests)
        done = _run(server_url, tmp_path, folder, "--budget", "9", "--store", str(store))
        assert done.returncode == 0, done.stderr
        assert before < len(model.requests) == 85
    told = orjson.loads(done.stdout)
    assert (told["state"], told["outcomes"][0]["verdict"]) == ("finished", "ship")

    first, second = _runs(server_url, "experiment-mini-champion-candidate")
    assert (first["state_type"], second["state_type"]) == ("FAILED", "COMPLETED")
    assert {"project:mini", f"experiment:{told['experiment_id']}", "strategy:candidate"} <= set(
        second["tags"]
    )
    arms = {run["name"]: run for run in _runs(server_url, "experiment-arm-")}
    assert set(arms) == {
        "experiment-arm-champion",
        "experiment-arm-candidate",
        "experiment-arm-champion-again",
    }
    assert all(run["parent_task_run_id"] for run in arms.values())
    assert f"experiment:{told['experiment_id']}" in arms["experiment-arm-champion"]["tags"]

    wanted = {"artifacts": {"flow_run_id": {"any_": [second["id"]]}}}
    artifacts = {one["key"]: one for one in _post(server_url, "artifacts/filter", wanted)}
    version = told["outcomes"][0]["version"].replace("@", "-")
    assert set(artifacts) == {
        "experiment-mini-plan",
        "experiment-mini-result",
        f"experiment-mini-{version}-comparison",
        f"experiment-mini-{version}-page",
    }
    assert "before the first call" in artifacts["experiment-mini-plan"]["data"]
    assert "SHIP" in artifacts["experiment-mini-result"]["data"]
    assert (
        f"/p/mini/compare/{told['outcomes'][0]['comparison_id']}"
        in artifacts[f"experiment-mini-{version}-page"]["data"]
    )
    linked = {row["f"] for row in rows(store, "SELECT DISTINCT flow_run_id AS f FROM arm_answers")}
    assert linked <= {run["id"] for run in _runs(server_url, "experiment-arm-")}


def _run(url: str, root: Path, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    env = {
        **os.environ,
        "PREFECT_API_URL": url,
        "PYTHONPATH": str(ROOT),
        "LABELPROOF_ROOT": str(root),
        "LABELPROOF_REVIEW_URL": "http://127.0.0.1:8700/",
    }
    code = "from labelproof.cli.experiment import app; app()"
    command = [
        sys.executable,
        "-c",
        code,
        "run",
        str(folder),
        "--arms",
        "champion,candidate",
        "--yes",
        "--json",
    ]
    return subprocess.run(
        [*command, *arguments], cwd=root, env=env, capture_output=True, text=True, check=False, timeout=240
    )


def _runs(url: str, name: str) -> list[dict[str, Any]]:
    wanted = {"flow_runs": {"name": {"like_": name}}, "sort": "START_TIME_ASC"}
    return _post(url, "flow_runs/filter", wanted)


def _post(url: str, path: str, body: dict[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = httpx.post(f"{url}/{path}", json=body, timeout=30).raise_for_status().json()
    return found
