"""One pass through the real thing: Prefect's server and worker, scheduled and executed runs, down, up."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from labelproof.stack.api import PrefectApi, StackError
from labelproof.stack.procs import wait_until
from labelproof.stack.setup import read_deployments
from tests.stack.real import labelproof, launch, processes_of, state_of

pytestmark = pytest.mark.stack

CHECKOUT = Path(__file__).parents[2]


def tiny_flows(deployments: list[dict[str, Any]]) -> str:
    """Return flows of the deployments' names and parameters that ask no model."""
    names = [one["entrypoint"].partition(":")[2] for one in deployments]
    models = ", ".join(f"{name.capitalize()}Params" for name in names)
    lines = ["from prefect import flow, task", f"from flows.params import {models}", ""]
    lines += ["@task", "async def count(n: int) -> int:", "    return n", ""]
    for name in names:
        lines += [f'@flow(name="{name}")', f"async def {name}(params: {name.capitalize()}Params) -> int:"]
        lines += ["    return await count(7)", ""]
    return "\n".join(lines)


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A root with the shipped prefect.yaml whose flows ask no model; the stack is down afterwards."""
    for name in [name for name in os.environ if name.startswith(("PREFECT_", "LABELPROOF_ROOT"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PREFECT_SERVER_SERVICES_SCHEDULER_LOOP_SECONDS", "5")  # 60 s otherwise
    shipped = (CHECKOUT / "prefect.yaml").read_text(encoding="utf-8")
    deployments = read_deployments(CHECKOUT)
    for one in deployments:
        shipped = shipped.replace(one["entrypoint"], "tiny_flow.py:" + one["entrypoint"].partition(":")[2])
    (tmp_path / "prefect.yaml").write_text(shipped, encoding="utf-8")
    (tmp_path / "tiny_flow.py").write_text(tiny_flows(deployments), encoding="utf-8")
    yield tmp_path
    labelproof(tmp_path, "down")


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="finds processes through /proc")
def test_scheduled_runs_appear_a_worker_executes_and_history_survives(root: Path) -> None:
    code, first = labelproof(root, "up")
    assert code == 0, first
    assert {one["name"] for one in first["services"] if one["ready"]} == {"server", "worker"}
    assert {one["active"] for one in first["schedules"]} == {False}, "off until asked for"
    assert first["next_scheduled_run"] is None

    code, switched = labelproof(root, "up", "--schedules")
    assert (code, switched["was_running"]) == (0, True)
    assert all(one["active"] for one in switched["schedules"])
    with PrefectApi(first["api_url"]) as api:
        wanted = {one["deployment"] for one in switched["schedules"]}
        assert len(wanted) == 6
        assert wait_until(lambda: planned(api) == wanted, timeout_s=90, every_s=0.5), "no SCHEDULED run"
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


def planned(api: PrefectApi) -> set[str]:
    """Return the deployments that have runs which the scheduler made."""
    names = {one["id"]: f"{one['flow_name']}/{one['name']}" for one in api.deployments()}
    made = api.runs(states=["SCHEDULED"], limit=200, flow_runs={"tags": {"all_": ["auto-scheduled"]}})
    return {names[run["deployment_id"]] for run in made}
