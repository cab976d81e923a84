"""Arms run over the same items, pay nothing twice, and are compared once, when all have answered."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from labelproof.report.experiments.opening import reopen_experiment
from labelproof.report.experiments.run import result, run_experiment, withdraw
from labelproof.report.experiments.state import arm_states, spent_by_run, standing
from labelproof.report.experiments.text import (
    arm_lines,
    next_commands,
    outcome_rows,
    result_json,
    result_markdown,
)
from labelproof.spec.errors import ConfigError
from labelproof.store import open_store
from tests.conftest import MakeProject
from tests.experiments.experiment_helpers import NOW, answering, make_arms, opened, write_arm
from tests.run.run_helpers import rows
from tests.scripted_server import Reply, Seen, failing, scripted_server

FIRST_N = 20


def test_arms_answer_the_same_items_and_the_better_one_ships(
    make_project: MakeProject, tmp_path: Path
) -> None:
    with scripted_server(answering()) as server, open_store(tmp_path / "store") as store:
        one = opened(store, make_arms(make_project, server.base_url))
        done = run_experiment(store, one)
        assert len(server.requests) == 40 + 40 + 5
        assert (done.stopped, done.standing.state, done.exit_code) == (None, "finished", 0)
        (outcome,) = done.outcomes
        assert (outcome.verdict, outcome.arm, outcome.n_items) == ("ship", "candidate", 40)
        assert outcome.delta == pytest.approx(14 / 40)  # the champion is wrong on every third of 40
        (report,) = done.reports
        assert (report.planned, report.rule, report.experiment_id) == (
            True,
            one.plan.rule,
            one.plan.experiment_id,
        )
        assert (report.rerun.n, report.rerun.n_changed) == (5, 0)
        asked = len(server.requests)
        again = opened(store, one.folder.folder)
        assert (again.found, again.plan) == ("finished", one.plan)
        told = run_experiment(store, again)
        assert (told.outcomes, told.exit_code, told.reports) == (done.outcomes, 0, ())
        assert len(server.requests) == asked
        answered = rows(
            store, "SELECT arm, count(DISTINCT item_id) AS n FROM arm_answers GROUP BY arm ORDER BY arm"
        )
        assert answered == [{"arm": "candidate", "n": 40}, {"arm": "champion", "n": 40}]
        assert rows(store, "SELECT count(*) AS n FROM decisions") == [{"n": 0}]
        events = [row["event"] for row in rows(store, "FROM experiments ORDER BY ts")]
        assert events == ["planned", "started", *["arm_finished"] * 3, "finished"]
        assert "| candidate@" in result_markdown(done)
        assert outcome_rows(done.outcomes)[0][1] == "SHIP"
        assert any(
            "promote mini candidate" in command for command, _ in next_commands(done, [], "labelproof")
        )


def test_three_arms_are_corrected_for_two_candidates(make_project: MakeProject, tmp_path: Path) -> None:
    arms = ("champion", "candidate", "third")
    with scripted_server(answering()) as server, open_store(tmp_path / "store") as store:
        folder = make_arms(make_project, server.base_url, arms=arms, rerun=0)
        done = run_experiment(store, opened(store, folder, arms))
        p = {report.b.name: report.rows[0].difference.p_value for report in done.reports}
        corrected = {outcome.arm: outcome.p_holm for outcome in done.outcomes}
        assert p["candidate"] is not None
        assert p["third"] is not None
        assert corrected["candidate"] == pytest.approx(2 * p["candidate"])
        assert corrected["third"] == pytest.approx(max(2 * p["candidate"], p["third"]))
        assert {outcome.arm: outcome.verdict for outcome in done.outcomes} == {
            "candidate": "ship",
            "third": "inconclusive",
        }
        assert done.exit_code == 0
        assert rows(store, "SELECT count(DISTINCT comparison_id) AS n FROM comparisons") == [{"n": 2}]


def test_only_worse_candidates_are_a_regression(make_project: MakeProject, tmp_path: Path) -> None:
    with scripted_server(answering()) as server, open_store(tmp_path / "store") as store:
        folder = make_arms(make_project, server.base_url, rerun=0)
        assert run_experiment(store, opened(store, folder, ("candidate", "champion"))).exit_code == 1


def test_a_used_up_budget_stops_all_arms_and_more_money_goes_on(
    make_project: MakeProject, tmp_path: Path
) -> None:
    with scripted_server(answering()) as server, open_store(tmp_path / "store") as store:
        folder = make_arms(make_project, server.base_url)
        whole = run_experiment(store, opened(store, folder)).spent_usd
        calls = len(server.requests)
    assert whole > 0
    with scripted_server(answering()) as server, open_store(tmp_path / "other") as store:
        for name in ("champion", "candidate"):
            write_arm(folder, server.base_url, name)
        budget = whole * 0.6
        one = opened(store, folder, budget_usd=budget)
        stopped = run_experiment(store, one)
        assert stopped.exit_code == 2
        assert "max_cost_usd" in (stopped.stopped or "")
        assert (stopped.hint or "").startswith(
            f"all arms together may spend ${budget:g}: give a larger --budget"
        )
        assert (stopped.standing.state, stopped.outcomes, stopped.reports) == ("stopped", (), ())
        assert 0.4 * whole < stopped.spent_usd <= budget
        states = arm_states(store, one.plan)
        assert [state.finished for state in states] == [True, False, False]
        assert arm_lines(states)[0][1].startswith("40 of 40 answers")
        paid = len(server.requests)
        assert 0 < paid < calls
        assert "nothing was compared yet" in result_markdown(stopped)
        done = run_experiment(store, opened(store, folder, budget_usd=whole * 1.5))
        assert done.exit_code == 0
        assert len(server.requests) == calls  # each call was paid once
        assert done.spent_usd == pytest.approx(whole)
        assert set(spent_by_run(store, one.plan)) == {("champion", 0), ("champion", 1), ("candidate", 0)}


def test_a_dead_provider_pauses_the_experiment_and_nothing_is_paid_twice(
    make_project: MakeProject, tmp_path: Path
) -> None:
    def answer(seen: Seen) -> Reply:
        if not mended and seen.index > 50:
            return failing(401, "no such key")
        good.append(seen.prompt + seen.body["model"])
        return answering()(seen)

    good: list[str] = []
    mended: list[bool] = []
    with scripted_server(answer) as server, open_store(tmp_path / "store") as store:
        folder = make_arms(make_project, server.base_url, rerun=0)
        one = opened(store, folder)
        stopped = run_experiment(store, one)
        assert (stopped.exit_code, stopped.standing.state) == (2, "stopped")
        assert (stopped.standing.reason or "").startswith("candidate: ")
        mended.append(True)
        again = reopen_experiment(store, one.plan.experiment_id, project=str(folder))
        assert run_experiment(store, again).exit_code == 0
        assert len(good) == len(set(good)) == 80


def test_a_person_stops_it_after_the_batch_and_resume_goes_on(
    make_project: MakeProject, tmp_path: Path
) -> None:
    def answer(seen: Seen) -> Reply:
        if seen.index == FIRST_N:
            withdraw(
                store,
                one.plan.experiment_id,
                actor="ann",
                why="lunch",
                now=standing(store, one.plan).changed_at,
            )
        return answering()(seen)

    with scripted_server(answer) as server, open_store(tmp_path / "store") as store:
        folder = make_arms(make_project, server.base_url, rerun=0)
        one = opened(store, folder)
        stopped = run_experiment(store, one, batch_size=10)
        assert (stopped.stopped, stopped.standing.state) == ("stopped by a person", "withdrawn")
        assert stopped.standing.reason == "lunch"
        assert len(server.requests) < 80
        done = run_experiment(store, reopen_experiment(store, one.plan.experiment_id, project=str(folder)))
        assert done.exit_code == 0
        assert len(server.requests) == 80
        with pytest.raises(ConfigError, match="has ended"):
            withdraw(store, one.plan.experiment_id, actor="ann", why="late", now=NOW)


def test_a_version_changed_between_stop_and_resume_is_refused(
    make_project: MakeProject, tmp_path: Path
) -> None:
    with scripted_server(answering()) as server, open_store(tmp_path / "store") as store:
        folder = make_arms(make_project, server.base_url)
        one = opened(store, folder)
        write_arm(folder, server.base_url, "champion", model=", temperature: 0.7")
        with pytest.raises(ConfigError, match="strategy 'champion' was planned as"):
            reopen_experiment(store, one.plan.experiment_id, project=str(folder))
        assert server.requests == []


def test_a_stored_version_is_an_arm_when_its_file_is_gone(make_project: MakeProject, tmp_path: Path) -> None:
    with scripted_server(answering()) as server, open_store(tmp_path / "store") as store:
        folder = make_arms(make_project, server.base_url, rerun=0)
        first = opened(store, folder)
        run_experiment(store, first)
        paid = len(server.requests)
        write_arm(folder, server.base_url, "candidate", model=", temperature: 0.7")
        refs = (first.plan.arms[1].shown, "champion")
        done = run_experiment(store, opened(store, folder, refs))
        assert len(server.requests) == paid
        assert done.plan.arms[0].fp == first.plan.arms[1].fp
        assert done.exit_code == 1


def test_nothing_is_shown_before_the_end(make_project: MakeProject, tmp_path: Path) -> None:
    with scripted_server(answering()) as server, open_store(tmp_path / "store") as store:
        one = opened(store, make_arms(make_project, server.base_url))
        found = result(store, one.plan)
        assert (found.standing.state, found.outcomes) == ("planned", ())
        told = result_json(replace(found, stopped="x"), arm_states(store, one.plan))
        assert (told["state"], told["exit_code"], told["outcomes"]) == ("planned", 2, [])
        assert told["plan_fp"] == one.plan.fp
