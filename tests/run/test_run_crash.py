"""kill -9 at random moments, and several processes at once on one store."""

from __future__ import annotations

import random
import time
from pathlib import Path

import orjson
import pytest

from labelproof.store import open_store
from tests.conftest import MakeProject
from tests.run.run_helpers import rows, start_run
from tests.scripted_server import scripted_server

KILLS = 20
N_ITEMS = 300


@pytest.mark.slow
def test_twenty_kills_lose_nothing_double_nothing_and_pay_no_finished_call_twice(
    make_project: MakeProject, tmp_path: Path
) -> None:
    """A finished call is one whose answer the killed process had in hand: it is in the store or the journal."""
    rng = random.Random(7)
    store = tmp_path / "store"
    again: dict[str, int] = {}
    with scripted_server(latency_ms=60) as server:
        folder = make_project(server.base_url, n_items=N_ITEMS, model="concurrency: 4")
        kills = 0
        while kills < KILLS:
            before = len(server.requests)
            child = start_run(folder, store, "--batch-size", "40")
            try:
                deadline = time.monotonic() + 60
                while len(server.requests) == before and child.is_running:
                    assert time.monotonic() < deadline, "the run asked nothing"
                    time.sleep(0.005)
                time.sleep(rng.uniform(0, 0.25))
            finally:
                child.kill()
            kills += 1
            for prompt in _finished(store):
                again.setdefault(prompt, server.counts[prompt])
        last = start_run(folder, store)
        assert last.end(timeout_s=120) == 0, last.err.read_text()
        paid_twice = {prompt: server.counts[prompt] - seen for prompt, seen in again.items()}
    assert len(again) > 50, "the kills came before anything was finished"
    assert not any(paid_twice.values())
    summary = orjson.loads(last.out.read_bytes())
    assert summary["done"] == N_ITEMS
    assert rows(store, "SELECT count(DISTINCT run_id) AS runs FROM runs") == [{"runs": 1}]
    decided = rows(store, "SELECT count(*) AS n, count(DISTINCT item_id) AS d FROM decisions")
    assert decided == [{"n": N_ITEMS, "d": N_ITEMS}]
    assert rows(store, "SELECT count(*) AS n FROM (SELECT DISTINCT item_id, seq FROM steps)") == [
        {"n": 4 * N_ITEMS}
    ]
    assert rows(store, "SELECT count(*) AS n FROM steps") == [{"n": 4 * N_ITEMS}]
    assert rows(store, "SELECT count(DISTINCT item_id) AS n FROM calls") == [{"n": N_ITEMS}]


def _finished(store: Path) -> set[str]:
    """Return the user prompts of all calls whose answers are safe, in segments, database or journal."""
    with open_store(store) as opened:
        opened.fold_orphans()
        found = opened.query(
            "SELECT DISTINCT t.text FROM calls c JOIN texts t ON t.text_hash = c.user_hash", fresh=True
        ).to_pylist()
    return {row["text"] for row in found}


@pytest.mark.slow
def test_two_runs_and_a_reader_share_one_store(make_project: MakeProject, tmp_path: Path) -> None:
    store = tmp_path / "store"
    with scripted_server(latency_ms=20) as server:
        folder = make_project(server.base_url, n_items=120)
        running = [start_run(folder, store), start_run(folder, store, "--repeat", "1")]
        looks = 0
        while any(child.is_running for child in running):
            if (store / "trace.duckdb").exists():
                (seen,) = rows(
                    store, "SELECT count(*) AS n, count(DISTINCT (run_id, item_id)) AS d FROM decisions"
                )
                assert seen["n"] == seen["d"]
                looks += 1
            time.sleep(0.05)
        ends = [child.end(timeout_s=60) for child in running]
    assert ends == [0, 0], [child.err.read_text() for child in running]
    assert looks > 3
    per_run = rows(store, "SELECT run_id, count(*) AS n FROM decisions GROUP BY run_id")
    assert sorted(row["n"] for row in per_run) == [120, 120]
    assert sum(server.counts.values()) == 240
