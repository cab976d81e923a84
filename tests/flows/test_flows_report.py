"""The report flow: against a real Prefect server a link and Markdown; its task without one."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import httpx
import orjson
import pytest

from labelproof.stack import prefect_env
from labelproof.store import open_store
from tests.report.review_rows import T0, add_run, project
from tests.run.run_helpers import ROOT

_FLOW = """
import asyncio, json, sys
from flows.params import ReportParams
from flows.report_flow import report
print(json.dumps(asyncio.run(report(ReportParams(**json.loads(sys.argv[1]))))))
"""


@pytest.fixture
def asked(tmp_path: Path) -> dict[str, object]:
    """The parameters of a report on two decisions that nobody audited."""
    folder = project(tmp_path / "mini", routing="mode: threshold")
    with open_store(tmp_path / "store") as store:
        add_run(store)
        store.append(
            "decisions",
            {
                "run_id": ["r1", "r1"],
                "item_id": ["b2:1", "b2:2"],
                "strategy_fp": ["b2:s1", "b2:s1"],
                "label": ["safe", "hate"],
                "confidence": [0.9, 0.6],
                "decision": ["auto_accept", "review"],
                "inclusion_prob": [0.5, None],
                "audited": [False, False],
                "ts": [T0, T0],
            },
        )
    return {
        "project": str(folder.folder),
        "period": "2026-W10",
        "out": str(tmp_path / "out"),
        "slides": False,
        "store": str(tmp_path / "store"),
        "now": "2026-03-09T06:00:00+00:00",
    }


def test_the_task_writes_and_records_the_report(asked: dict[str, object], tmp_path: Path) -> None:
    from flows.params import ReportParams
    from flows.report_flow import report_task

    made = report_task.fn(ReportParams.model_validate(asked))
    assert made["headline"].startswith("How often auto-decisions were right cannot be told")
    assert made["promises_kept"]
    assert Path(made["page"]).read_text(encoding="utf-8").startswith("<!doctype html>")
    assert Path(made["files"][0]).read_text(encoding="utf-8") == made["markdown"]
    with open_store(tmp_path / "store") as store:
        (row,) = store.query("SELECT report_id, kind, path FROM reports", fresh=True).to_pylist()
    assert (row["report_id"], row["kind"], row["path"]) == (made["report_id"], "weekly", made["page"])


@pytest.mark.stack
def test_a_report_is_in_prefect_as_a_link_and_as_markdown(
    server_url: str, asked: dict[str, object], tmp_path: Path
) -> None:
    env = {**os.environ, **prefect_env(tmp_path / "prefect", server_url), "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", _FLOW, orjson.dumps(asked).decode()],
        cwd=ROOT, env=env, capture_output=True, text=True, check=False, timeout=240,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    named = {"flow_runs": {"name": {"any_": ["report-weekly-mini"]}}}
    (flow_run,) = httpx.post(f"{server_url}/flow_runs/filter", json=named, timeout=30).json()
    assert flow_run["state_type"] == "COMPLETED"
    assert {"project:mini", "report:weekly"} <= set(flow_run["tags"])
    wanted = {"artifacts": {"flow_run_id": {"any_": [flow_run["id"]]}}}
    found = {
        one["key"]: one
        for one in httpx.post(f"{server_url}/artifacts/filter", json=wanted, timeout=30).json()
    }
    assert set(found) == {"report-weekly-mini", "report-weekly-mini-page"}
    assert (tmp_path / "out" / "weekly-2026-W10.html").as_uri() in found["report-weekly-mini-page"]["data"]
    assert "What needs attention" in found["report-weekly-mini"]["data"]
