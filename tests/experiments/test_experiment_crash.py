"""kill -9 in the middle of an arm: the same request goes on, and no finished call is paid twice."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import orjson

from tests.conftest import MakeProject
from tests.experiments.experiment_helpers import answering, make_arms
from tests.run.run_helpers import ROOT, rows
from tests.scripted_server import Reply, Seen, scripted_server

CONCURRENCY = 4


def spawn(folder: Path, store: Path) -> subprocess.Popen[str]:
    code = "from labelproof.cli.experiment import app; app()"
    line = ["run", str(folder), "--arms", "champion,candidate", "--yes", "--json", "--prefect", "off"]
    return subprocess.Popen(
        [sys.executable, "-c", code, *line, "--batch-size", "10", "--store", str(store)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        cwd=folder,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def test_a_killed_experiment_goes_on_where_it_was(make_project: MakeProject, tmp_path: Path) -> None:
    store = tmp_path / "store"
    asked: Counter[str] = Counter()

    def answer(seen: Seen) -> Reply:
        asked[seen.body["model"] + seen.prompt] += 1
        return answering()(seen)

    with scripted_server(answer, latency_ms=40) as server:
        folder = make_arms(make_project, server.base_url, rerun=0)
        kills = 0
        for enough in (15, 55):
            child = spawn(folder, store)
            deadline = time.monotonic() + 60
            while len(server.requests) < enough and child.poll() is None:
                assert time.monotonic() < deadline, "the experiment asked nothing"
                time.sleep(0.005)
            kills += child.poll() is None
            child.kill()
            child.communicate()
        done = spawn(folder, store)
        out, err = done.communicate(timeout=120)
    assert done.returncode == 0, err
    told = orjson.loads(out)
    assert (told["state"], told["outcomes"][0]["n_items"]) == ("finished", 40)
    assert len(asked) == 80
    assert sum(asked.values()) - 80 <= kills * CONCURRENCY  # only what was in flight is asked again
    assert rows(store, "SELECT count(DISTINCT experiment_id) AS n FROM experiments") == [{"n": 1}]
    assert rows(store, "SELECT count(DISTINCT run_id) AS n FROM arm_answers") == [{"n": 2}]
