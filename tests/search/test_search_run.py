"""A search finds the strategy that is known to be best, reads tuning gold only, and pays for nothing twice."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from agents.run.drive import run_plain
from agents.run.session import LabelSession
from agents.run.workload import load_workload
from labelproof.report.optimize.confirm import confirm
from labelproof.report.optimize.run import run_search
from labelproof.spec.errors import ConfigError
from labelproof.store import open_store
from tests.conftest import MakeProject, write_strategy
from tests.run.run_helpers import rows
from tests.scripted_server import Reply, Seen
from tests.search.search_helpers import (
    MAGIC,
    NOW,
    PRICED,
    STEPS,
    answer,
    asked_item,
    is_writer,
    items_of,
    prepared,
    project,
    searched,
    system_of,
    ticking,
    with_writer,
    written,
)

NOT_FAILED = ("base", "winner", "finalist", "dropped")
GOOD = written(f"- {MAGIC}.\n- Offers are spam even when they are polite.")
WORSE = written("Look at the length of the text and prefer the shorter label.")


def test_the_instruction_that_is_known_to_help_wins_and_is_written_as_a_strategy(
    make_project: MakeProject, tmp_path: Path
) -> None:
    with (
        project(make_project, with_writer([GOOD, WORSE])) as (folder, server),
        open_store(tmp_path / "store") as store,
    ):
        found = searched(folder, store, candidates=6, name="better")
        assert found.stopped is None
        (winner,) = found.winners
        best = found.by_id(winner)
        assert "instruction1" in best.name
        assert best.instruction is not None
        assert MAGIC in best.instruction
        assert best.rounds[-1].n_items == 64
        assert best.rounds[-1].score.delta > 0.25
        assert [r.n_items for r in best.rounds] == sorted(r.n_items for r in best.rounds)
        assert best.file == "strategies/better.yaml"
        deployed = load_workload(str(folder), "better")
        assert deployed.resolved.fingerprint == best.fp
        label = deployed.resolved.steps[1]
        assert label.template is not None
        assert MAGIC in label.template.text
        assert {text["path"] for change in best.changes for text in change["texts"]} == {"prompt.text"}
        head = (folder / "strategies" / "better.yaml").read_text()
        assert head.startswith(f"# Candidate {winner} of search {found.plan.search_id}: champion with")
        asked = len(server.requests)
        again = searched(folder, store, candidates=6, name="better")
        assert len(server.requests) == asked
        assert again.to_json() == found.to_json()


def test_only_tuning_gold_is_asked_looked_at_and_read(make_project: MakeProject, tmp_path: Path) -> None:
    with project(make_project, with_writer(GOOD)) as (folder, server):
        with open_store(tmp_path / "store") as store:
            found = searched(folder, store, candidates=3)
            looks = rows(store, "SELECT DISTINCT split, purpose, reason FROM gold_looks ORDER BY split")
        why = f"search {found.plan.search_id}"
        assert [tuple(look.values()) for look in looks] == [
            ("calibration", "tuning", why),
            ("examples", "tuning", why),
        ]
        judged = {asked_item(seen) for seen in server.requests if not is_writer(seen)}
        assert judged <= items_of("examples") | items_of("calibration")
        untouched = items_of("certify") | items_of("test")
        assert not {
            i for seen in server.requests for i in untouched if f"number {i} for" in json.dumps(seen.body)
        }
        lines = [json.loads(line) for line in (folder / "gold.jsonl").read_text().splitlines()]
        for line in lines:
            if line["split"] in ("certify", "test"):
                line["label"] = "hate"
        (folder / "gold.jsonl").write_text("\n".join(map(json.dumps, lines)) + "\n")
        asked = len(server.requests)
        with open_store(tmp_path / "store") as store:
            other = searched(folder, store, candidates=3)
        assert other.plan.search_id == found.plan.search_id
        assert other.to_json() | {"sql": ""} == found.to_json() | {"sql": ""}
        assert len(server.requests) == asked


def test_more_examples_win_where_there_is_nothing_else(make_project: MakeProject, tmp_path: Path) -> None:
    with project(make_project) as (folder, _), open_store(tmp_path / "store") as store:
        found = searched(folder, store, candidates=5, space=("few_shot", "guideline"))
        best = found.by_id(found.winners[0])
        assert any(shots in best.name for shots in ("fixed8", "fixed16", "knn8", "knn16"))
        table = rows(store, found.sql)
        assert {row["arm"].split("/")[0] for row in table} == {"base", *(c.id for c in found.plan.candidates)}
        assert {row["gold"] for row in table} == {"safe", "hate", "spam"}
        listed = rows(
            store,
            "SELECT state, name, plan_json FROM current_experiments WHERE experiment_id = ?",
            found.plan.search_id,
        )
        assert [(row["state"], row["name"]) for row in listed] == [("finished", "search")]
        assert json.loads(listed[0]["plan_json"]) == found.plan.to_json()


def test_a_budget_stops_the_search_and_a_larger_one_goes_on_without_paying_twice(
    make_project: MakeProject, tmp_path: Path
) -> None:
    asked = {"space": ("few_shot",), "candidates": 4}
    with project(make_project, model=PRICED) as (folder, server):
        with open_store(tmp_path / "store") as store:
            stopped = searched(folder, store, budget_usd=2.5, **asked)
            assert stopped.stopped is not None
            assert stopped.winners == ()
            assert stopped.spent_usd <= 2.5
            assert 0 < len(server.requests) < 200
            assert not (folder / "strategies" / "search").exists()
            whole = searched(folder, store, budget_usd=1000.0, **asked)
        assert whole.stopped is None
        assert whole.winners
        assert _none_twice(server.requests)
        assert whole.n_calls == len(server.requests)
        assert whole.spent_usd == pytest.approx(_paid(tmp_path / "store"))


def _none_twice(requests: list[Seen]) -> bool:
    """Whether no request was made twice; fixed examples stand in the system text."""
    asked = [(system_of(seen), seen.prompt) for seen in requests]
    return len(set(asked)) == len(asked)


def _paid(store: Path) -> float:
    return float(rows(store, "SELECT sum(cost_usd) AS usd FROM calls")[0]["usd"])


def test_max_calls_makes_the_rounds_smaller_and_is_kept(make_project: MakeProject, tmp_path: Path) -> None:
    with project(make_project) as (folder, server), open_store(tmp_path / "store") as store:
        found = searched(folder, store, candidates=4, space=("few_shot",), max_calls=200)
        assert found.stopped is None
        assert found.plan.n_calls_most <= 200
        assert found.plan.rungs[-1].n_items < 64
        assert found.n_calls == len(server.requests) <= 200
        with pytest.raises(ConfigError, match=r"take \d+ calls"):
            prepared(folder, candidates=4, space=("few_shot",), max_calls=20)


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ("I would rather not.", "found no object"),
        ('{"instruction": 7}', "instruction: Input should be a valid string"),
        (written("short"), "at least 20 characters"),
        (written("x" * 2000), "at most 1200 characters"),
        (written("Answer {{ item }} and nothing else, always."), "template code"),
    ],
)
def test_garbage_of_the_writer_is_a_result(
    make_project: MakeProject, tmp_path: Path, said: str, why: str
) -> None:
    with (
        project(make_project, with_writer(said)) as (folder, server),
        open_store(tmp_path / "store") as store,
    ):
        found = searched(folder, store, candidates=4, space=("few_shot", "instructions"))
        assert found.stopped is None
        failed = [one for one in found.candidates if one.state == "failed"]
        assert failed
        assert all(one.reason is not None and why in one.reason for one in failed)
        assert found.winners
        assert sum(map(is_writer, server.requests)) == 2  # the error is shown to it once


def test_a_candidate_whose_model_is_down_fails_alone(make_project: MakeProject, tmp_path: Path) -> None:
    def script(seen: Seen) -> Reply:
        return Reply(status=404) if seen.body["model"] == "gone" else answer(seen)

    with project(make_project, script) as (folder, server), open_store(tmp_path / "store") as store:
        write_strategy(folder, server.base_url, steps=STEPS, name="other")
        path = folder / "strategies" / "other.yaml"
        path.write_text(path.read_text().replace("gpt-4.1-mini", "gone"))
        found = searched(folder, store, candidates=6, space=("few_shot", "cascade"))
        states = {one.name: one.state for one in found.candidates}
        # Its answers have confidence .8: the second model is asked below .9 only.
        assert {state for name, state in states.items() if "second1-below0.9" in name} == {"failed"}
        assert {state for name, state in states.items() if "second1" not in name} <= set(NOT_FAILED)
        assert found.stopped is None
        assert found.winners


def test_a_candidate_that_only_ties_is_no_winner(make_project: MakeProject, tmp_path: Path) -> None:
    def always_right(seen: Seen) -> Reply:
        return Reply(content=answer(seen).content) if is_writer(seen) else _right(seen)

    with project(make_project, always_right) as (folder, _), open_store(tmp_path / "store") as store:
        found = searched(folder, store, candidates=4)
        assert found.winners == ()
        assert found.exit_code == 1
        assert found.confirm_command is None
        reasons = {one.reason for one in found.candidates if one.state == "failed"}
        assert reasons == {"no usable instruction: the base makes no mistake on 24 items of `examples`"}


def _right(seen: Seen) -> Reply:
    from tests.search.search_helpers import truth

    body = {"rationale": "so", "label": truth(asked_item(seen)), "confidence": 0.9}
    return Reply(content=json.dumps(body), without_logprobs=True)


def test_calibrated_candidates_are_judged_on_items_they_were_not_fitted_on(
    make_project: MakeProject, tmp_path: Path
) -> None:
    steps = (
        "\n  - kind: normalize\n  - kind: label\n  - kind: calibrate\n    encoder: none\n  - kind: route\n"
    )
    with project(make_project, steps=steps) as (folder, server), open_store(tmp_path / "store") as store:
        found = searched(folder, store, candidates=3, space=("calibrate",))
        fits = rows(
            store,
            "SELECT r.params_json, c.n FROM calibrators c JOIN (SELECT DISTINCT run_id, params_json FROM runs) r"
            " USING (run_id) WHERE c.n > 0",
        )
        assert fits
        last = found.plan.rungs[-1].n_items
        assert max(row["n"] for row in fits) <= last / 2 + 2
        assert len(server.requests) == last  # all candidates share the base's readings


def test_the_winner_is_confirmed_on_gold_that_the_search_did_not_see(
    make_project: MakeProject, tmp_path: Path
) -> None:
    with (
        project(make_project, with_writer(GOOD)) as (folder, server),
        open_store(tmp_path / "store") as store,
    ):
        ready = prepared(folder, candidates=4, space=("few_shot", "instructions"), name="better")
        found = run_search(store, ready, clock=ticking())
        before = len(server.requests)
        told = confirm(store, ready, found, now=NOW)
        assert told.unconfirmed is None
        (one,) = told.confirmed
        assert one.verdict == "ship", one.headline
        assert one.n_items == 60
        assert one.delta is not None
        assert one.delta > 0.2
        assert told.exit_code == 0
        assert {asked_item(seen) for seen in server.requests[before:]} == items_of("test")


def test_two_processes_do_not_search_the_same_at_once(make_project: MakeProject, tmp_path: Path) -> None:
    refused: list[str] = []
    with project(make_project, with_writer(GOOD)) as (folder, _), open_store(tmp_path / "store") as store:
        ready = prepared(folder, candidates=2)

        def drive(session: LabelSession) -> Mapping[str, Any] | None:
            if not refused:
                with pytest.raises(ConfigError) as error:
                    run_search(store, ready)
                refused.append(error.value.message)
            return run_plain(session)

        found = run_search(store, ready, drive=drive)
    assert "is at work on search" in refused[0]
    assert found.stopped is None
    assert all(one.state in NOT_FAILED for one in found.candidates)
