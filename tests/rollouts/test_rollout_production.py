"""Production runs follow a roll-out: a shadow harms nobody, a canary decides its share, and each item is decided once."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from labelproof.report.rollouts import intents
from labelproof.report.rollouts.events import read_rollouts
from labelproof.report.rollouts.model import Terms
from labelproof.report.rollouts.promote import promote
from labelproof.report.rollouts.traffic import start, stop
from labelproof.report.run_report import run_report
from labelproof.spec.errors import ConfigError
from labelproof.store import open_store
from tests.conftest import MakeProject, write_strategy
from tests.rollouts.rollout_helpers import CANDIDATE_STEPS, pair_of, produce, safe, started, two_strategies
from tests.run.run_helpers import rows
from tests.scripted_server import Reply, Seen, failing, scripted_server


def broken(_: Seen) -> Reply:
    return failing(401, "no such key")


def begin(folder: Path, store: Path, share: float | None, terms: Terms | None = None) -> str:
    with open_store(store) as opened:
        return started(opened, folder, share=share, terms=terms).rollout_id


def phase(store: Path) -> str:
    with open_store(store) as opened:
        return read_rollouts(opened, "mini")[0].phase


def decided(store: Path) -> list[dict[str, Any]]:
    return rows(
        store,
        "SELECT d.item_id, r.strategy FROM decisions d JOIN (SELECT DISTINCT run_id, strategy FROM runs) r USING (run_id)",
    )


def test_a_canary_decides_its_share_and_each_item_is_decided_once(
    make_project: MakeProject, tmp_path: Path
) -> None:
    store = tmp_path / "store"
    with scripted_server(safe) as server:
        folder = two_strategies(make_project, server.base_url, n_items=60)
        rollout_id = begin(folder, store, 0.3)
        found = produce(folder, store)
        told = found["rollout"]
        assert (told["rollout_id"], told["phase"], told["instead"]) == (rollout_id, "canary", None)
        assert told["candidate"]["done"] + found["done"] == 60
        first = decided(store)
        assert len(first) == len({row["item_id"] for row in first}) == 60
        units = rows(store, "SELECT item_id, arm FROM rollout_units")
        sides = {row["item_id"]: row["arm"] for row in units}
        assert all(sides[row["item_id"]] == row["strategy"] for row in first)
        assert 5 <= list(sides.values()).count("candidate") <= 32
        asked = len(server.requests)
        again = produce(folder, store)
        assert len(server.requests) == asked  # the same items go the same way: nothing is asked anew
        assert again["rollout"]["candidate"]["done"] == told["candidate"]["done"]
        assert len(rows(store, "SELECT * FROM rollout_units")) == 60
        report = run_report_lines(folder, store, found)
        assert any("candidate decided" in text for _, text in report)
        # a wider canary keeps its units
        with open_store(store) as opened:
            start(
                opened,
                pair_of(opened, folder),
                share_prob=0.7,
                terms=Terms(),
                why="go on",
                by="ann",
                now=datetime.now(UTC),
            )
        produce(folder, store)
        wider = rows(
            store, "SELECT item_id FROM rollout_units GROUP BY item_id HAVING arg_max(arm, ts) = 'candidate'"
        )
        before = {item for item, side in sides.items() if side == "candidate"}
        assert before < {row["item_id"] for row in wider}


def run_report_lines(folder: Path, store: Path, summary: dict[str, Any]) -> list[tuple[str, str]]:
    from agents.run.workload import load_workload

    with open_store(store) as opened:
        return run_report(opened, load_workload(str(folder), None), summary).lines()


def test_routed_items_of_the_canary_reach_people(make_project: MakeProject, tmp_path: Path) -> None:
    store = tmp_path / "store"
    with scripted_server(safe) as server:
        folder = two_strategies(
            make_project, server.base_url, n_items=40, routing="mode: threshold, threshold_prob: 0.5"
        )
        begin(folder, store, 0.5)
        produce(folder, store)
    assert rows(store, "SELECT count(DISTINCT item_id) AS n FROM review_tasks") == [{"n": 40}]


def test_a_shadow_answers_everything_and_decides_nothing(make_project: MakeProject, tmp_path: Path) -> None:
    store = tmp_path / "store"
    with scripted_server(safe) as server:
        folder = two_strategies(make_project, server.base_url)
        rollout_id = begin(folder, store, None)
        found = produce(folder, store)
    assert found["done"] == 12
    assert found["rollout"]["candidate"]["done"] == 12
    assert {row["strategy"] for row in decided(store)} == {"champion"}
    shadowed = rows(store, "SELECT DISTINCT experiment_id, arm, count(*) OVER () AS n FROM arm_answers")
    assert shadowed == [{"experiment_id": rollout_id, "arm": "shadow", "n": 12}]


@pytest.mark.parametrize("harm", ["provider", "key", "budget"])
def test_nothing_that_happens_to_a_shadow_harms_the_run(
    make_project: MakeProject, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, harm: str
) -> None:
    store, terms = tmp_path / "store", Terms(shadow_max_cost_usd=1e-9 if harm == "budget" else None)
    price = "price_in_usd_per_mtok: 100, price_out_usd_per_mtok: 100"
    with scripted_server(safe) as server, scripted_server(broken) as other:
        url = other.base_url if harm == "provider" else server.base_url
        folder = two_strategies(make_project, server.base_url, candidate_url=url, model=price)
        if harm == "key":
            path = folder / "strategies" / "candidate.yaml"
            path.write_text(path.read_text().replace("provider: openai_compatible", "provider: langchain"))
        begin(folder, store, None, terms)
        found = produce(folder, store)
    assert found["done"] == 12
    assert found.get("stopped") is None
    assert any("the shadow" in note for note in found["rollout"]["notes"])
    assert len(decided(store)) == 12
    assert phase(store) == "shadow"


def test_a_candidate_that_cannot_run_is_rolled_back_and_the_champion_decides(
    make_project: MakeProject, tmp_path: Path
) -> None:
    store = tmp_path / "store"
    with scripted_server(safe) as server, scripted_server(broken) as other:
        folder = two_strategies(make_project, server.base_url, candidate_url=other.base_url, n_items=40)
        begin(folder, store, 0.5)
        found = produce(folder, store)
        told = found["rollout"]
        assert found.get("stopped") is None
        assert found["done"] + told["instead"]["done"] == 40
        good = rows(store, "SELECT item_id FROM decisions WHERE decision <> 'failed' GROUP BY item_id")
        assert len(good) == 40
        assert phase(store) == "rolled_back"
        with open_store(store) as opened:
            (state,) = read_rollouts(opened, "mini")
        assert state.actor == "monitor"
        assert "could not run while the champion could" in state.reason
        assert len(state.alarms) == 1
        after = produce(folder, store)
        assert "rollout" not in after
        assert after["done"] == 40


def test_a_used_up_budget_stops_the_canary_and_not_its_roll_out(
    make_project: MakeProject, tmp_path: Path
) -> None:
    store = tmp_path / "store"
    dear = "price_in_usd_per_mtok: 0, price_out_usd_per_mtok: 1000"
    with scripted_server(safe) as server:
        folder = two_strategies(make_project, server.base_url, n_items=40)
        write_strategy(folder, server.base_url, steps=CANDIDATE_STEPS, model=dear, name="candidate")
        begin(folder, store, 0.5)
        found = produce(folder, store, max_cost_usd=0.3)
    assert "max_cost_usd" in found["stopped"]
    assert found["done"] > 0
    assert phase(store) == "canary"


def test_explicit_runs_and_repeats_do_not_follow(make_project: MakeProject, tmp_path: Path) -> None:
    store = tmp_path / "store"
    with scripted_server(safe) as server:
        folder = two_strategies(make_project, server.base_url)
        begin(folder, store, 0.5)
        assert "rollout" not in produce(folder, store, strategy="candidate")
        assert "rollout" not in produce(folder, store, repeat=1)
        assert "rollout" not in produce(folder, store, follow=False)
        with open_store(store) as opened:
            stop(opened, "mini", why="enough", by="ann", now=datetime.now(UTC))
        assert "rollout" not in produce(folder, store)
    assert rows(store, "SELECT count(*) AS n FROM rollout_units") == [{"n": 0}]


def test_a_roll_out_rests_when_a_version_changed(make_project: MakeProject, tmp_path: Path) -> None:
    store = tmp_path / "store"
    with scripted_server(safe) as server:
        folder = two_strategies(make_project, server.base_url)
        begin(folder, store, 0.5)
        path = folder / "strategies" / "candidate.yaml"
        text = path.read_text()
        path.write_text(text.replace("5000", "4999"))
        found = produce(folder, store)
        assert found["done"] == 12
        assert "restore its file" in found["rollout"]["resting"]
        path.write_text(text)
        (folder / "guideline.md").write_text("another")
        assert "started against" in produce(folder, store)["rollout"]["resting"]
        path.unlink()
        assert produce(folder, store)["done"] == 12


def test_two_candidates_cannot_have_traffic_at_once(make_project: MakeProject, tmp_path: Path) -> None:
    folder = two_strategies(make_project, "http://127.0.0.1:9/v1")
    now = datetime.now(UTC)
    with open_store(tmp_path / "store") as store:
        started(store, folder, share=0.1)
        write_strategy(
            folder,
            "http://127.0.0.1:9/v1",
            steps=CANDIDATE_STEPS.replace("5000", "1" + "000"),
            name="candidate",
        )
        with pytest.raises(ConfigError, match="is under way"):
            started(store, folder, share=0.1, now=now)
        for share, terms, message in (
            (1.0, Terms(), "above 0 and below 1"),
            (0.1, Terms(unit="author"), "no item has the metadata column 'author'; found: lang"),
        ):
            with pytest.raises(ConfigError, match=message):
                started(store, folder, share=share, terms=terms)


def test_a_young_promotion_is_watched_after_each_run(make_project: MakeProject, tmp_path: Path) -> None:
    store = tmp_path / "store"
    with scripted_server(safe) as server:
        folder = two_strategies(make_project, server.base_url)
        with open_store(store) as opened:
            now = datetime.now(UTC) - timedelta(days=1)
            promote(opened, pair_of(opened, folder), why="better", by="ann", now=now, force=True)
        told = produce(folder, store)["rollout"]
    assert (told["phase"], told["monitor"]["alarms"], told["candidate"]) == ("promoted", [], None)


@pytest.mark.parametrize("share", [0.5, None])
def test_a_roll_out_that_is_stopped_while_the_champion_runs_gets_no_traffic(
    make_project: MakeProject, tmp_path: Path, share: float | None
) -> None:
    store = tmp_path / "store"
    stopped: list[Seen] = []

    def answer(seen: Seen) -> Reply:
        if not stopped:  # a person stops it while the run that follows it is under way
            stopped.append(seen)
            with open_store(store) as opened:
                stop(opened, "mini", why="complaints", by="bob", now=datetime.now(UTC))
        return safe(seen)

    with scripted_server(answer) as server:
        folder = two_strategies(make_project, server.base_url, n_items=40)
        begin(folder, store, share)
        found = produce(folder, store)
    told = found["rollout"]
    assert {row["strategy"] for row in decided(store)} == {"champion"}
    assert len({row["item_id"] for row in decided(store)}) == 40
    assert told["candidate"] is None
    assert "stopped since this run began (bob: complaints)" in told["notes"][0]
    assert (told["instead"] is None) == (share is None)
    assert rows(store, "SELECT count(*) AS n FROM arm_answers") == [{"n": 0}]
    assert phase(store) == "stopped"


def test_a_run_after_an_interrupted_promotion_knows_that_it_happened(
    make_project: MakeProject, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = tmp_path / "store"
    with scripted_server(safe) as server:
        folder = two_strategies(make_project, server.base_url)
        begin(folder, store, 0.5)

        def killed(*_: object) -> None:
            raise KeyboardInterrupt

        with open_store(store) as opened:
            pair = pair_of(opened, folder, now=datetime.now(UTC))
            monkeypatch.setattr(intents, "_finish", killed)
            with pytest.raises(KeyboardInterrupt):
                promote(opened, pair, why="better", by="ann", now=datetime.now(UTC), force=True)
            monkeypatch.undo()
        found = produce(folder, store)
        assert phase(store) == "promoted"
        assert found["rollout"]["resting"] is None
        assert found["done"] == 12
