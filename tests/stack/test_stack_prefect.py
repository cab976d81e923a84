"""One pass through the real thing: Prefect's server and worker, scheduled and executed runs, down, up."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from labelproof.stack.api import PrefectApi, StackError
from labelproof.stack.procs import wait_until

pytestmark = pytest.mark.stack

CHECKOUT = Path(__file__).parents[2]
TINY_FLOW = """
from prefect import flow, task
from flows.params import CertifyParams, ExperimentParams, LabelParams, PromoteParams, ScoreParams

@task
async def count(n: int) -> int:
    return n

@flow(name="label")
async def label(params: LabelParams) -> int:
    return await count(params.batch_size)

@flow(name="score")
async def score(params: ScoreParams) -> int:
    return 0

@flow(name="certify")
async def certify(params: CertifyParams) -> int:
    return 0

@flow(name="promote")
async def promote(params: PromoteParams) -> int:
    return 0

@flow(name="experiment")
async def experiment(params: ExperimentParams) -> int:
    return 0
"""


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A root with the shipped prefect.yaml whose flows ask no model; the stack is down afterwards."""
    for name in [name for name in os.environ if name.startswith(("PREFECT_", "LABELPROOF_ROOT"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PREFECT_SERVER_SERVICES_SCHEDULER_LOOP_SECONDS", "5")  # 60 s otherwise
    shipped = (CHECKOUT / "prefect.yaml").read_text(encoding="utf-8")
    for entrypoint in (
        "flows/label_flow.py:label",
        "flows/score_flow.py:score",
        "flows/certify_flow.py:certify",
        "flows/promote_flow.py:promote",
        "flows/experiment_flow.py:experiment",
    ):
        assert entrypoint in shipped
        shipped = shipped.replace(entrypoint, "tiny_flow.py:" + entrypoint.partition(":")[2])
    (tmp_path / "prefect.yaml").write_text(shipped, encoding="utf-8")
    (tmp_path / "tiny_flow.py").write_text(textwrap.dedent(TINY_FLOW), encoding="utf-8")
    yield tmp_path
    labelproof(tmp_path, "down")


def labelproof(root: Path, *arguments: str) -> tuple[int, dict[str, Any]]:
    """Run the command as a user would; returns its exit code and its JSON."""
    argv = [sys.executable, "-m", "labelproof", *arguments, "--root", str(root), "--json"]
    done = subprocess.run(argv, cwd=CHECKOUT, capture_output=True, text=True, check=False, timeout=240)
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


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="finds processes through /proc")
def test_scheduled_runs_appear_a_worker_executes_and_history_survives(root: Path) -> None:
    code, first = labelproof(root, "up")
    assert code == 0, first
    assert {one["name"] for one in first["services"] if one["ready"]} == {"server", "worker"}
    assert [one["active"] for one in first["schedules"]] == [False, False, False], "off until asked for"
    assert first["next_scheduled_run"] is None

    code, switched = labelproof(root, "up", "--schedules")
    assert (code, switched["was_running"]) == (0, True)
    assert all(one["active"] for one in switched["schedules"])
    with PrefectApi(first["api_url"]) as api:
        assert wait_until(lambda: bool(scheduled(api)), timeout_s=90, every_s=0.5), "no SCHEDULED run"
        run_id = launch(api, {"project": "projects/content_safety", "batch_size": 7})
        with pytest.raises(StackError, match="batch_size"):
            launch(api, {"project": "projects/content_safety", "batch_size": "many"})
        ended = ("COMPLETED", "FAILED", "CRASHED")
        assert wait_until(lambda: state_of(api, run_id) in ended, timeout_s=60, every_s=0.5)
        assert state_of(api, run_id) == "COMPLETED"
    assert len(processes_of(root)) >= 4
    assert labelproof(root, "down") == (0, {"stopped": True, "root": str(root)})
    assert processes_of(root) == []
    assert labelproof(root, "status")[0] == 1

    code, again = labelproof(root, "up", "--no-worker")
    assert code == 0, again
    assert again["api_url"] == first["api_url"], "links into the UI stay valid"
    assert all(one["active"] for one in again["schedules"]), "a restart keeps what the user chose"
    with PrefectApi(again["api_url"]) as api:
        assert state_of(api, run_id) == "COMPLETED"
        tasks = api.call("POST", "/task_runs/filter", {"flow_runs": {"id": {"any_": [run_id]}}, "limit": 5})
        assert [task["state_type"] for task in tasks] == ["COMPLETED"], "drained before the stop"
        assert len(api.call("POST", "/automations/filter", {})) == 1
    assert labelproof(root, "down")[0] == 0
    assert processes_of(root) == []


def scheduled(api: PrefectApi) -> list[dict[str, Any]]:
    return api.runs(states=["SCHEDULED"], flow_runs={"tags": {"all_": ["auto-scheduled"]}})


def launch(api: PrefectApi, params: dict[str, Any]) -> str:
    deployment = api.call("GET", "/deployments/name/label/production")
    path = f"/deployments/{deployment['id']}/create_flow_run"
    return str(api.call("POST", path, {"parameters": {"params": params}})["id"])


def state_of(api: PrefectApi, run_id: str) -> str:
    return str(api.call("GET", f"/flow_runs/{run_id}")["state_type"])
