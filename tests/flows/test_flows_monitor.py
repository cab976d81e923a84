"""What Prefect hears of promises: names, ids, payloads; and a real server that gets events and the table."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest

from flows.events import event_id, event_name, payload
from flows.params import MonitorParams
from labelproof.report.monitor.model import AlarmEvent, AlarmKind, AlarmWord
from labelproof.stack import prefect_env
from labelproof.store import open_store
from tests.conftest import MakeProject
from tests.monitor.monitor_world import day, watched_project, work
from tests.run.run_helpers import ROOT
from tests.scripted_server import scripted_server

EVENT = AlarmEvent(
    alarm_id="A-1",
    project="mini",
    kind="target",
    subject="auto_accuracy",
    event="breached",
    level="critical",
    role="QA lead",
    contact="Ann (#qa)",
    value=0.91,
    bound=0.95,
    change_from=day(0),
    reason="91 %",
    evidence={"contact": 0, "detail": {"reviewers": {"bob": 1}}, "sql": "SELECT 1"},
    actor="monitor",
    ts=day(1),
)


@pytest.mark.parametrize(
    ("kind", "word", "name"),
    [
        ("target", "breached", "labelproof.target.breached"),
        ("target", "escalated", "labelproof.target.escalated"),
        ("target", "recovered", "labelproof.target.recovered"),
        ("drift", "breached", "labelproof.drift.detected"),
        ("drift", "escalated", "labelproof.drift.escalated"),
        ("drift", "recovered", "labelproof.drift.recovered"),
        ("sentinel", "breached", "labelproof.sentinel.changed"),
        ("target", "acknowledged", None),
    ],
)
def test_each_happening_has_its_name(kind: AlarmKind, word: AlarmWord, name: str | None) -> None:
    assert event_name(replace(EVENT, kind=kind, event=word)) == name


def test_the_same_happening_is_the_same_event() -> None:
    assert event_id(EVENT) == event_id(replace(EVENT, ts=day(2), reason="else"))
    other = [
        replace(EVENT, alarm_id="A-2"),
        replace(EVENT, event="escalated"),
        replace(EVENT, evidence={"contact": 1}),
    ]
    assert len({event_id(EVENT), *map(event_id, other)}) == 4


def test_the_payload_names_no_reviewer_and_no_query() -> None:
    said = payload(replace(EVENT, reason="x" * 2000))
    assert said["subject"] == "auto_accuracy"
    assert said["change_from"] == day(0).isoformat()
    assert len(said["reason"]) == 500
    text = orjson.dumps(said).decode()
    assert "bob" not in text
    assert "SELECT" not in text


def test_parameters_are_checked() -> None:
    assert MonitorParams(project="p").now is None
    with pytest.raises(ValueError, match="project"):
        MonitorParams(project="")


@pytest.mark.stack
def test_a_breach_reaches_prefect_as_an_event_and_a_table(server_url: str, tmp_path: Path) -> None:
    folder = watched_project(tmp_path / "watched", ["metric: auto_accuracy, at_least: 0.9, level: critical"])
    with open_store(tmp_path / "store") as store:
        for n in range(4):
            work(store, n, n=600, error=0.3, seed=n)
    code = (
        "import asyncio\nfrom datetime import datetime\nfrom flows.monitor_flow import monitor\n"
        "from flows.params import MonitorParams\n"
        f"params = MonitorParams(project={str(folder.folder)!r}, store={str(tmp_path / 'store')!r}, "
        f"now=datetime.fromisoformat({day(4).isoformat()!r}))\n"
        "asyncio.run(monitor(params))\n"
    )
    env = {**os.environ, **prefect_env(tmp_path, server_url), "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=env,
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    (run,) = _post(server_url, "flow_runs/filter", {"flow_runs": {"name": {"any_": ["monitor-watched"]}}})
    assert run["state_type"] == "COMPLETED"
    assert "project:mini" in run["tags"]
    wanted = {"artifacts": {"flow_run_id": {"any_": [run["id"]]}}}
    (table,) = _post(server_url, "artifacts/filter", wanted)
    assert table["key"] == "monitor-mini"
    assert "Broken: auto" in table["data"]
    event = _event(server_url, "labelproof.target.breached")
    assert event["resource"]["prefect.resource.id"] == "labelproof.project.mini"
    assert (event["payload"]["subject"], event["payload"]["role"]) == ("auto_accuracy", "QA lead")


@pytest.mark.stack
def test_a_run_under_prefect_tells_of_its_breaches(
    server_url: str, make_project: MakeProject, tmp_path: Path
) -> None:
    with scripted_server() as model:
        folder = make_project(
            model.base_url, n_items=60, name="told", routing="mode: threshold, threshold_prob: 1.0"
        )
        with (folder / "project.yaml").open("a") as file:
            file.write("targets: [{metric: coverage, at_least: 0.999}]\n")
        env = {
            **os.environ,
            "PREFECT_API_URL": server_url,
            "PYTHONPATH": str(ROOT),
            "LABELPROOF_ROOT": str(tmp_path),
        }
        command = [sys.executable, "-m", "labelproof", "run", str(folder), "--store", str(tmp_path / "store")]
        done = subprocess.run(
            command, cwd=tmp_path, env=env, capture_output=True, text=True, check=False, timeout=240
        )
    assert done.returncode == 0, done.stderr
    assert "coverage raised an alarm" in done.stdout
    (run,) = _post(server_url, "flow_runs/filter", {"flow_runs": {"name": {"any_": ["label-told-champion"]}}})
    wanted = {"artifacts": {"flow_run_id": {"any_": [run["id"]]}}}
    assert "monitor-told" in {one["key"] for one in _post(server_url, "artifacts/filter", wanted)}
    event = _event(server_url, "labelproof.target.breached", "told")
    assert event["payload"]["subject"] == "coverage"


def _event(url: str, name: str, project: str = "mini") -> dict[str, Any]:
    """Return the event with this name; the server takes a moment to store it."""
    for _ in range(60):
        resource = {"id": [f"labelproof.project.{project}"]}
        body = {"filter": {"event": {"name": [name]}, "resource": resource}, "limit": 5}
        found = httpx.post(f"{url}/events/filter", json=body, timeout=30).raise_for_status().json()["events"]
        if found:
            assert len(found) == 1
            return dict(found[0])
        time.sleep(0.5)
    raise AssertionError(f"no event {name} has arrived")


def _post(url: str, path: str, body: dict[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = httpx.post(f"{url}/{path}", json=body, timeout=30).raise_for_status().json()
    return found
