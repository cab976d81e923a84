"""kill -9 in the middle of an arm: the same request goes on, and no finished call is paid twice."""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path
from secrets import token_hex

import orjson

from tests.conftest import MakeProject
from tests.experiments.experiment_helpers import answering, make_arms
from tests.killable import Killable, start_killable
from tests.run.run_helpers import rows
from tests.scripted_server import Reply, Seen, scripted_server

CONCURRENCY = 4


def start(folder: Path, store: Path) -> Killable:
    line = [
        "experiment",
        "run",
        str(folder),
        "--arms",
        "champion,candidate",
        "--yes",
        "--json",
        "--prefect",
        "off",
    ]
    more = ["--batch-size", "10", "--store", str(store)]
    return start_killable([*line, *more], cwd=folder, output=folder.parent / f"run {token_hex(4)}")


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
            child = start(folder, store)
            deadline = time.monotonic() + 60
            while len(server.requests) < enough and child.is_running:
                assert time.monotonic() < deadline, "the experiment asked nothing"
                time.sleep(0.005)
            kills += child.is_running
            child.kill()
        done = start(folder, store)
        ended = done.end(timeout_s=120)
    assert ended == 0, done.err.read_text()
    told = orjson.loads(done.out.read_bytes())
    assert (told["state"], told["outcomes"][0]["n_items"]) == ("finished", 40)
    assert len(asked) == 80
    assert sum(asked.values()) - 80 <= kills * CONCURRENCY  # only what was in flight is asked again
    assert rows(store, "SELECT count(DISTINCT experiment_id) AS n FROM experiments") == [{"n": 1}]
    assert rows(store, "SELECT count(DISTINCT run_id) AS n FROM arm_answers") == [{"n": 2}]
