"""An arm's answers stand beside the decisions: it decides nothing, asks nobody, and knows what its answers cost."""

from __future__ import annotations

from pathlib import Path

import orjson

from agents.run.arms import ArmRun, open_arm, run_arm
from agents.run.rows import Arm
from agents.run.workload import load_workload
from labelproof.store import TraceStore, open_store
from tests.conftest import MakeProject
from tests.run.run_helpers import rows, run
from tests.scripted_server import Reply, Seen, scripted_server


def answer(_: Seen) -> Reply:
    body = {"rationale": "because", "label": "safe", "confidence": 0.9}
    return Reply(content=orjson.dumps(body).decode(), without_logprobs=True)


def arm_run(
    folder: Path, store: TraceStore, *, experiment: str = "e1", name: str = "champion", repeat: int = 0
) -> ArmRun:
    work = load_workload(str(folder), None)
    arm = Arm(experiment_id=experiment, name=name)
    return run_arm(open_arm(work, store, work.items[:8], arm, repeat=repeat))


def test_an_arm_answers_its_items_and_decides_nothing(make_project: MakeProject, tmp_path: Path) -> None:
    with scripted_server(answer) as server, open_store(tmp_path / "store") as store:
        done = arm_run(make_project(server.base_url), store)
        assert done.stopped is None
        answers = rows(
            store,
            "SELECT DISTINCT experiment_id, arm, run_id, label, repeat_idx FROM arm_answers JOIN runs USING (run_id)",
        )
        assert answers == [
            {
                "experiment_id": "e1",
                "arm": "champion",
                "run_id": done.run_id,
                "label": "safe",
                "repeat_idx": 0,
            }
        ]
        for table in ("decisions", "review_tasks", "review_events", "final_labels"):
            assert rows(store, f"SELECT count(*) AS n FROM {table}") == [{"n": 0}], table
        assert rows(store, "SELECT count(*) AS n FROM strategy_answers") == [{"n": 8}]


def test_the_steps_of_a_run_are_reused_and_keep_their_price(
    make_project: MakeProject, tmp_path: Path
) -> None:
    with scripted_server(answer) as server:
        folder = make_project(
            server.base_url, model="price_in_usd_per_mtok: 1000, price_out_usd_per_mtok: 1000"
        )
        run(folder, tmp_path / "store")
        asked = len(server.requests)
        with open_store(tmp_path / "store") as store:
            arm_run(folder, store)
            assert len(server.requests) == asked
            paid = rows(store, "SELECT item_id, cost_usd, latency_ms FROM decisions ORDER BY item_id")
            again = rows(store, "SELECT item_id, cost_usd, latency_ms FROM arm_answers ORDER BY item_id")
            assert all(row["cost_usd"] > 0 and row["latency_ms"] > 0 for row in paid)
            assert again == [row for row in paid if row["item_id"] in {r["item_id"] for r in again}]
            arm_run(folder, store, repeat=1)
            assert len(server.requests) == asked + 8


def test_a_server_on_this_machine_is_free(make_project: MakeProject, tmp_path: Path) -> None:
    with scripted_server(answer) as server:
        folder = make_project(server.base_url)
        path = folder / "strategies" / "champion.yaml"
        path.write_text(path.read_text().replace("gpt-4.1-mini", "a-model-of-our-own"))
        run(folder, tmp_path / "store")
        local = rows(tmp_path / "store", "SELECT DISTINCT cost_usd FROM decisions")
    assert local == [{"cost_usd": 0.0}]  # a server on this machine is free


def test_the_same_arm_over_the_same_items_is_the_same_run_until_it_is_finished(
    make_project: MakeProject, tmp_path: Path
) -> None:
    with scripted_server(answer) as server, open_store(tmp_path / "store") as store:
        folder = make_project(server.base_url)
        work = load_workload(str(folder), None)
        first = open_arm(work, store, work.items, Arm(experiment_id="e1", name="a"))
        first._register("started")
        first._lock.release()
        assert (
            open_arm(work, store, work.items, Arm(experiment_id="e1", name="a")).run.run_id
            == first.run.run_id
        )
        assert (
            open_arm(work, store, work.items, Arm(experiment_id="e2", name="a")).run.run_id
            != first.run.run_id
        )
