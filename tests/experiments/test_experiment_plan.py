"""What an experiment will do is fixed, hashed and stored before anything is asked, and holds until its end."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import orjson
import pytest

from labelproof.report.experiments.plan import load_plan, plan_from_json, rerun_items
from labelproof.report.experiments.run import costs, run_experiment, withdraw
from labelproof.report.experiments.state import record, standings
from labelproof.report.experiments.text import cost_sentence, plan_lines, plan_markdown
from labelproof.spec.errors import ConfigError
from labelproof.spec.hashing import digest
from labelproof.store import open_store
from tests.conftest import MakeProject
from tests.experiments.experiment_helpers import NOW, answering, make_arms, opened, truth, write_arm
from tests.run.run_helpers import rows
from tests.scripted_server import Reply, Seen, scripted_server


def test_the_plan_is_stored_and_hashed_before_the_first_call(
    make_project: MakeProject, tmp_path: Path
) -> None:
    stored: list[int] = []

    def answer(seen: Seen) -> Reply:
        if seen.index == 1:
            found = rows(store, "SELECT event FROM experiments WHERE plan_json IS NOT NULL")
            stored.append(len(found))
        return answering()(seen)

    with scripted_server(answer) as server, open_store(tmp_path / "store") as store:
        one = opened(store, make_arms(make_project, server.base_url))
        assert server.requests == []
        (row,) = rows(store, "FROM experiments")
        assert (row["event"], row["actor"], row["plan_fp"]) == ("planned", "ann", digest(one.plan.to_json()))
        run_experiment(store, one)
    assert stored == [1]


def test_a_plan_names_everything_that_is_fixed(make_project: MakeProject, tmp_path: Path) -> None:
    with open_store(tmp_path / "store") as store:
        folder = make_arms(
            make_project,
            "http://127.0.0.1:9",
            n_gold=40,
            experiments="min_effect: 0.1, guardrails: [{metric: failed_rate, margin: 0.01}]",
        )
        plan = opened(store, folder, budget_usd=2.0).plan
        assert plan_from_json(plan.to_json()) == plan == load_plan(store, plan.experiment_id[:6])
        assert (plan.control, [arm.name for arm in plan.arms]) == ("champion", ["champion", "candidate"])
        assert (plan.n_items, plan.n_needed, plan.rerun_items, plan.budget_usd) == (40, 115, 5, 2.0)
        assert plan.detectable is not None
        assert 0.1 < plan.detectable < 0.3
        said = dict(plan_lines(plan))
        assert "accuracy is proven higher than champion's (two-sided p <= 0.05)" in said["Rule"]
        assert "failed_rate up by less than 0.01" in said["Rule"]
        assert "fixed sample of 40 items, looked at once" in said["Rule"]
        assert said["Size"].startswith("40 items, 115 would be needed to see 0.1 with 80% power")
        assert "even if nothing changes: failed_rate needs 268" in said["Size"]
        assert plan.fp in said["Plan"]
        assert plan.experiment_id in plan_markdown(plan, [])


def test_the_sample_size_counts_the_items_of_the_class_and_all_candidates(
    make_project: MakeProject, tmp_path: Path
) -> None:
    with open_store(tmp_path / "store") as store:
        folder = make_arms(make_project, "http://127.0.0.1:9", arms=("champion", "candidate", "third"))
        one = opened(store, folder, primary="recall:hate").plan
        assert one.n_counted == sum(truth(i) == "hate" for i in range(40))
        assert "of hate" in one.size_note
        three = opened(store, folder, ("champion", "candidate", "third")).plan
        two = opened(store, folder, ("champion", "third")).plan
        assert three.n_needed is not None
        assert two.n_needed is not None
        assert three.n_needed > two.n_needed
        assert "Holm over the 2 candidates" in three.rule
        worse = opened(store, folder, ("third", "champion"), goal="not_worse").plan
        assert "proven not lower than third's by 0.01 or more (one-sided" in worse.rule
        unlabelled = opened(store, folder, ("candidate", "third"), items=7).plan
        assert (unlabelled.split, unlabelled.gold_fp, unlabelled.n_items) == ("none", None, 7)
        assert "needs gold" in unlabelled.size_note
        assert "people decide" in unlabelled.rule
        assert "e-value reaches 20" in unlabelled.rule


def test_the_same_request_finds_its_plan_again_and_another_budget_is_the_same(
    make_project: MakeProject, tmp_path: Path
) -> None:
    with open_store(tmp_path / "store") as store:
        folder = make_arms(make_project, "http://127.0.0.1:9")
        first = opened(store, folder, budget_usd=1.0)
        again = opened(store, folder, budget_usd=3.0, now=NOW.replace(day=2))
        assert (first.found, again.found, again.budget_usd) == ("new", "unfinished", 3.0)
        assert again.plan == first.plan
        other = opened(store, folder, again=True, now=NOW.replace(day=3))
        assert other.plan.experiment_id != first.plan.experiment_id
        assert rerun_items(other.plan, other.items) == rerun_items(first.plan, first.items)
        assert len(standings(store, project="mini")) == 2


def test_a_file_that_changed_since_the_plan_is_refused(make_project: MakeProject, tmp_path: Path) -> None:
    with open_store(tmp_path / "store") as store:
        folder = make_arms(make_project, "http://127.0.0.1:9")
        planned = opened(store, folder).plan
        write_arm(folder, "http://127.0.0.1:9", "candidate", model=", temperature: 0.7")
        with pytest.raises(ConfigError, match="strategy 'candidate' was planned as candidate@"):
            opened(store, folder)
        with pytest.raises(ConfigError, match="'accuracy' -> 'macro_f1'"):
            opened(store, folder, primary="macro_f1")
        withdraw(store, planned.experiment_id, actor="ann", why="a better prompt", now=NOW.replace(day=2))
        assert opened(store, folder, now=NOW.replace(day=3)).found == "new"
        assert [one.state for one in standings(store)] == ["withdrawn", "planned"]


def test_what_cannot_be_compared_is_refused(make_project: MakeProject, tmp_path: Path) -> None:
    with open_store(tmp_path / "store") as store:
        folder = make_arms(make_project, "http://127.0.0.1:9")
        for request, message in (
            ({"arms": ("champion",)}, "at least two strategies"),
            ({"arms": ("champion", "champion")}, "are the same version"),
            ({"split": "examples"}, "learn from the gold split 'examples'"),
            ({"split": "certify"}, "no gold in the split 'certify'"),
            ({"primary": "recall:nothing"}, "names no label"),
            ({"primary": "beauty"}, "no metric 'beauty'"),
            ({"primary": "suite:robustness"}, "a suite can be a guardrail"),
        ):
            with pytest.raises(ConfigError, match=message):
                opened(store, folder, **request)
        assert rows(store, "FROM experiments") == []


def test_a_stored_plan_that_was_altered_is_not_believed(make_project: MakeProject, tmp_path: Path) -> None:
    with open_store(tmp_path / "store") as store:
        plan = opened(store, make_arms(make_project, "http://127.0.0.1:9")).plan
        record(store, replace(plan, experiment_id="E-other"), "planned", NOW)
        altered = orjson.dumps({**plan.to_json(), "rule": "ship whatever comes"}).decode()
        row = {"experiment_id": "E-x", "event": "planned", "plan_fp": plan.fp, "plan_json": altered}
        store.append("experiments", {name: [value] for name, value in row.items()})
        with pytest.raises(ConfigError, match="does not match its fingerprint"):
            load_plan(store, "E-x")
        with pytest.raises(ConfigError, match="several experiments"):
            load_plan(store, "E-")
        with pytest.raises(ConfigError, match="no experiment"):
            load_plan(store, "E-none")


def test_the_cost_is_known_before_anything_is_spent(make_project: MakeProject, tmp_path: Path) -> None:
    with scripted_server(answering()) as server, open_store(tmp_path / "store") as store:
        one = opened(store, make_arms(make_project, server.base_url))
        found = costs(store, one)
        assert [(cost.todo.title, cost.plan.n_calls) for cost in found] == [
            ("champion", 40),
            ("candidate", 40),
            ("champion again", 5),
        ]
        assert cost_sentence(found, 0.0001).count("more than the budget of $0.0001") == 1
        assert server.requests == []
