"""The flows against a real Prefect server: history, tags, artifacts, links in every row, hand-over."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest

from labelproof.stack import prefect_env
from tests.conftest import MakeProject
from tests.report.certify_helpers import project
from tests.run.run_helpers import ROOT, rows
from tests.scripted_server import scripted_server

pytestmark = pytest.mark.stack


def test_a_run_is_in_prefects_history_with_tags_artifacts_and_links(
    server_url: str, make_project: MakeProject, tmp_path: Path
) -> None:
    gold = [(i, ("safe", "hate", "spam")[i % 3], "test" if i % 2 else "calibration") for i in range(24)]
    store = tmp_path / "store"
    with scripted_server() as model:
        folder = make_project(model.base_url, n_items=50, gold=gold, name="whole")
        done = _labelproof(
            server_url, tmp_path, "run", str(folder), "--store", str(store), "--batch-size", "20", "--json"
        )
        assert done.returncode == 0, done.stderr
        scored = _flow("score", server_url, tmp_path, folder, store)
        assert scored.returncode == 0, scored.stderr
    summary = orjson.loads(done.stdout)
    assert summary["done"] == 50
    assert summary["score"]["n_scored"] == 12

    whole = {"flow_runs": {"name": {"like_": "whole"}}, "sort": "START_TIME_ASC"}
    runs = _post(server_url, "flow_runs/filter", whole)
    assert [run["name"] for run in runs] == ["label-whole-champion", "score-whole-champion"]
    label = runs[0]
    assert label["state_type"] == "COMPLETED"
    assert {"project:whole", "strategy:champion"} <= set(label["tags"])
    tasks = _post(server_url, "task_runs/filter", {"flow_runs": {"id": {"any_": [label["id"]]}}})
    assert sorted(task["name"] for task in tasks) == [
        "fit calibrators",
        "label batch 0",
        "label batch 1",
        "label batch 2",
    ]
    artifacts = _post(server_url, "artifacts/filter", {"artifacts": {"flow_run_id": {"any_": [label["id"]]}}})
    assert sorted(a["key"] for a in artifacts) == ["run-whole-summary", "score-whole-champion"]
    text = next(a["data"] for a in artifacts if a["type"] == "markdown")
    assert "50 of 50 labeled" in text
    assert "SELECT" in text

    linked = "SELECT DISTINCT flow_run_id, count(DISTINCT task_run_id) AS n FROM {} GROUP BY flow_run_id"
    task_ids = {task["id"] for task in tasks}
    for table in ("steps", "calls", "decisions"):
        (found,) = rows(store, linked.format(table))
        assert found["flow_run_id"] == label["id"]
    stored_tasks = {row["t"] for row in rows(store, "SELECT DISTINCT task_run_id AS t FROM steps")}
    assert stored_tasks <= task_ids
    assert len(stored_tasks) == 4


def test_a_stopped_run_fails_in_prefect_and_says_how_to_go_on(
    server_url: str, make_project: MakeProject, tmp_path: Path
) -> None:
    from tests.scripted_server import failing

    with scripted_server(lambda seen: failing(401, "no such key") if seen.index > 3 else None) as model:
        folder = make_project(model.base_url, n_items=20, model="concurrency: 2", name="other")
        done = _labelproof(
            server_url, tmp_path, "run", str(folder), "--store", str(tmp_path / "store"), "--json"
        )
    assert done.returncode == 1, done.stderr
    assert "stopped" in orjson.loads(done.stdout)
    (run,) = _post(server_url, "flow_runs/filter", {"flow_runs": {"name": {"like_": "other"}}})
    assert run["state_type"] == "FAILED"


def _labelproof(url: str, root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "PREFECT_API_URL": url, "PYTHONPATH": str(ROOT), "LABELPROOF_ROOT": str(root)}
    command = [sys.executable, "-m", "labelproof", *arguments]
    return subprocess.run(
        command, cwd=root, env=env, capture_output=True, text=True, check=False, timeout=240
    )


def test_a_certificate_is_issued_by_a_flow_that_leaves_its_table_and_plot(
    server_url: str, make_project: MakeProject, tmp_path: Path
) -> None:
    with project(make_project, name="proven") as (folder, _):
        done = _flow("certify", server_url, tmp_path, folder, tmp_path / "store")
        assert done.returncode == 0, done.stderr
    named = {"flow_runs": {"name": {"any_": ["certify-proven-champion"]}}}
    (flow_run,) = _post(server_url, "flow_runs/filter", named)
    assert flow_run["state_type"] == "COMPLETED"
    assert {"project:proven", "strategy:champion"} <= set(flow_run["tags"])
    wanted = {"artifacts": {"flow_run_id": {"any_": [flow_run["id"]]}}}
    artifacts = {one["key"]: one for one in _post(server_url, "artifacts/filter", wanted)}
    table = artifacts["certify-proven-champion"]
    assert "**Certified (with 95% confidence)" in table["data"]
    picture = artifacts["certify-proven-champion-risk-coverage"]
    assert (picture["type"], picture["data"][:22]) == ("image", "data:image/png;base64,")
    (one,) = rows(tmp_path / "store", "FROM current_certificates")
    assert one["state"] == "issued"


def test_suites_run_as_a_flow_that_leaves_what_they_found(
    server_url: str, make_project: MakeProject, tmp_path: Path
) -> None:
    with scripted_server() as model:
        folder = make_project(model.base_url, n_items=20, name="suited")
        done = _flow("suite", server_url, tmp_path, folder, tmp_path / "store", suite="robustness", n=5)
        assert done.returncode == 0, done.stderr
    named = {"flow_runs": {"name": {"any_": ["suite-suited-champion"]}}}
    (flow_run,) = _post(server_url, "flow_runs/filter", named)
    assert flow_run["state_type"] == "COMPLETED"
    wanted = {"artifacts": {"flow_run_id": {"any_": [flow_run["id"]]}}}
    (left,) = _post(server_url, "artifacts/filter", wanted)
    assert left["key"] == "suite-suited-champion"
    (stored,) = rows(tmp_path / "store", "SELECT suite_run_id FROM suite_runs")
    assert f"labelproof suite show {stored['suite_run_id']} --failed" in left["data"]


@pytest.mark.parametrize(
    ("name", "store", "n_tries"), [("hasty", "mongodb://nowhere", 3), ("mistaken", None, 1)]
)
def test_retries_are_for_what_may_pass(
    server_url: str, make_project: MakeProject, tmp_path: Path, name: str, store: str | None, n_tries: int
) -> None:
    """A store that cannot be reached may be there later; a project without gold is a project without gold."""
    folder = make_project("http://127.0.0.1:9/v1", name=name)
    env = {"PREFECT_FLOWS_DEFAULT_RETRIES": "2", "PREFECT_FLOWS_DEFAULT_RETRY_DELAY_SECONDS": "0"}
    done = _flow("score", server_url, tmp_path, folder, store or tmp_path / "store", env=env)
    assert done.returncode == 1
    named = {"flow_runs": {"name": {"any_": [f"score-{name}-champion"]}}}
    (flow_run,) = _post(server_url, "flow_runs/filter", named)
    assert (flow_run["state_type"], flow_run["run_count"]) == ("FAILED", n_tries)


def _flow(
    name: str,
    url: str,
    root: Path,
    folder: Path,
    store: Path | str,
    *,
    env: dict[str, str] | None = None,
    **more: Any,
) -> subprocess.CompletedProcess[str]:
    params = f"{name.capitalize()}Params"
    code = (
        f"import asyncio\nfrom flows.{name}_flow import {name}\nfrom flows.params import {params}\n"
        f"asyncio.run({name}({params}(project={str(folder)!r}, store={str(store)!r}, **{more!r})))\n"
    )
    env = {**os.environ, **prefect_env(root, url), "PYTHONPATH": str(ROOT), **(env or {})}
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=root,
        env=env,
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )


def _post(url: str, path: str, body: dict[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = httpx.post(f"{url}/{path}", json=body, timeout=30).raise_for_status().json()
    return found
