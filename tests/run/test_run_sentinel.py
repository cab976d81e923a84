"""The frozen items are asked anew after each run, paid by its budget, and never stop it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
import pytest

from agents.run.drive import drive, new_loop_run
from agents.run.sentinel import SentinelSet, freeze
from agents.run.session import LabelRequest
from labelproof.report.drift.told import sentinel_lines
from labelproof.report.rollouts.production import open_production, run_production
from labelproof.spec.project import find_project
from labelproof.store import TraceStore, open_store
from tests.conftest import MakeProject
from tests.run.run_helpers import rows
from tests.scripted_server import Reply, Seen, failing, scripted_server

GOLD = [(i, "safe", "test") for i in range(6)] + [(6, "hate", "examples"), (7, "spam", "calibration")]
NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)


def saying(label: str) -> Callable[[Seen], Reply]:
    def answer(_: Seen) -> Reply:
        body = {"rationale": "because", "label": label, "confidence": 0.9}
        return Reply(content=orjson.dumps(body).decode(), without_logprobs=True)

    return answer


def watched(folder: Path, *, items: int = 4, every_hours: float = 0) -> Path:
    """Give the project a sentinel set."""
    path = folder / "project.yaml"
    path.write_text(
        path.read_text() + f"monitoring: {{sentinel: {{items: {items}, every_hours: {every_hours}}}}}\n"
    )
    return folder


def produce(folder: Path, store: Path, **more: Any) -> Mapping[str, Any]:
    """Run production once, as the flow and the command do."""
    request = LabelRequest(project=str(folder), store=str(store), **more)
    production = open_production(request, follow=True)
    try:
        summary = new_loop_run(run_production(production, drive))
    finally:
        production.store.close()
    assert summary is not None
    return summary


def frozen(store: TraceStore, folder: Path, n: int, **more: Any) -> SentinelSet:
    return freeze(store, find_project(str(folder)), n, now=NOW, **more)


def test_each_run_asks_the_same_items_anew_and_decides_nothing_of_them(
    make_project: MakeProject, tmp_path: Path
) -> None:
    store = tmp_path / "store"
    with scripted_server(saying("safe")) as server:
        folder = watched(make_project(server.base_url, gold=GOLD))
        first = produce(folder, store)
        asked = len(server.requests)
        assert first["sentinel"]["n_answers"] == 4
        assert sentinel_lines(first["sentinel"]) == [("Sentinel set", "4 frozen items asked anew")]
        assert first["sentinel"]["note"] is None
        second = produce(folder, store)
        assert len(server.requests) == asked + 4  # the run itself reuses everything, calibration too
    answers = rows(
        store,
        "SELECT run_id, after_run_id, label, repeat_idx, provider_fingerprint, count(*) AS n FROM sentinel_answers"
        " GROUP BY ALL ORDER BY repeat_idx",
    )
    assert [(row["repeat_idx"], row["n"]) for row in answers] == [(0, 4), (1, 4)]
    assert [row["after_run_id"] for row in answers] == [first["run_id"], second["run_id"]]
    assert all(row["provider_fingerprint"] for row in answers)
    ids = rows(store, "SELECT DISTINCT item_id FROM sentinel_answers ORDER BY 1")
    assert ids == rows(store, "SELECT item_id FROM sentinels ORDER BY 1")
    asking = {row["run_id"] for row in answers}
    assert not asking & {row["run_id"] for row in rows(store, "SELECT DISTINCT run_id FROM decisions")}
    repeats = rows(
        store,
        f"SELECT DISTINCT repeat_idx FROM steps WHERE run_id = '{answers[1]['run_id']}' AND n_calls > 0",
    )
    assert len(repeats) == 1
    assert repeats[0]["repeat_idx"] > 10**12


def test_the_set_is_drawn_once_from_gold_that_teaches_nobody(
    make_project: MakeProject, tmp_path: Path
) -> None:
    with scripted_server(saying("safe")) as server, open_store(tmp_path / "store") as store:
        folder = make_project(server.base_url, gold=GOLD)
        four = frozen(store, folder, 4)
        assert set(four.gold) == set(four.item_ids)
        assert frozen(store, folder, 4, seed=5).fingerprint == four.fingerprint
        assert rows(store, "SELECT count(*) AS n FROM sentinels") == [{"n": 4}]
        nine = frozen(store, folder, 9)
        assert nine.said is not None
        assert "9 items instead of 4" in nine.said
        assert len(nine.gold) == 6  # all of test, and items without gold
        taught = {
            row["item_id"]
            for row in rows(store, "SELECT item_id FROM items WHERE external_id IN ('m6', 'm7')")
        }
        assert not taught & set(nine.item_ids)
        assert len(frozen(store, folder, 50).item_ids) == 10  # 12 items, two of them teach
        assert len(frozen(store, folder, 50).item_ids) == 10
        assert rows(store, "SELECT count(DISTINCT sentinel_fp) AS n FROM sentinels") == [{"n": 3}]


def test_the_frozen_texts_outlive_their_source(make_project: MakeProject, tmp_path: Path) -> None:
    store = tmp_path / "store"
    with scripted_server(saying("safe")) as server:
        folder = watched(make_project(server.base_url))
        produce(folder, store)
        lines = [orjson.dumps({"id": f"new{i}", "text": f"another text {i}"}).decode() for i in range(3)]
        (folder / "items.jsonl").write_text("\n".join(lines) + "\n")
        again = produce(folder, store)
    assert again["sentinel"]["n_answers"] == 4
    assert rows(store, "SELECT count(DISTINCT item_id) AS n FROM sentinel_answers") == [{"n": 4}]


def test_hours_budget_and_repeats_are_respected(make_project: MakeProject, tmp_path: Path) -> None:
    with scripted_server(saying("safe")) as server:
        folder = watched(make_project(server.base_url), every_hours=6)
        assert produce(folder, tmp_path / "a")["sentinel"]["n_answers"] == 4
        asked = len(server.requests)
        later = produce(folder, tmp_path / "a")["sentinel"]
        assert (later["n_answers"], len(server.requests)) == (0, asked)
        assert "again after 6 hours" in later["note"]
        assert sentinel_lines(later) == [("Sentinel set", later["note"])]
        assert sentinel_lines(None) == []
        assert "sentinel" not in produce(folder, tmp_path / "a", repeat=1)
        paid = watched(
            make_project(
                server.base_url,
                name="paid",
                model="price_in_usd_per_mtok: 1000, price_out_usd_per_mtok: 1000",
            )
        )
        whole = produce(paid, tmp_path / "b")
        cost = whole["cost_usd"]
        assert whole["sentinel"]["cost_usd"] == pytest.approx(cost / 3, rel=0.2)
        tight = produce(paid, tmp_path / "c", max_cost_usd=cost * 1.1)
        assert "stopped" not in tight
        assert "not asked to the end" in tight["sentinel"]["note"]
        assert rows(tmp_path / "c", "SELECT count(*) AS n FROM sentinel_answers") == [{"n": 0}]


def test_whatever_happens_is_a_note(
    make_project: MakeProject, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = tmp_path / "store"
    alive = [True]

    def answer(seen: Seen) -> Reply:
        return saying("safe")(seen) if alive[0] else failing(401, "no such key")

    with scripted_server(answer) as server:
        folder = watched(make_project(server.base_url))
        summary = produce(folder, store)
        assert "stopped" not in summary
        alive[0] = False
        down = produce(folder, store)  # the run reuses its answers; the sentinel items cannot be asked
        assert "stopped" not in down
        assert "not asked to the end" in down["sentinel"]["note"]

        def burst(*_: object, **__: object) -> None:
            raise RuntimeError("burst")

        monkeypatch.setattr("agents.run.sentinel.freeze", burst)
        odd = produce(folder, store)
        assert odd["sentinel"]["note"] == "the sentinel set was not asked: RuntimeError: burst"
    assert rows(store, "SELECT count(DISTINCT run_id) AS n FROM sentinel_answers") == [{"n": 1}]
