"""What a run asks people: routed items once, by the default strategy, closed when the machine may decide them."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from agents.run.workload import load_workload
from labelproof.report.review_asks import appeal_task, ask_disagreements, fill_routed
from labelproof.report.run_report import run_report
from labelproof.spec.errors import ConfigError
from labelproof.spec.project import find_project
from labelproof.store import open_store
from tests.conftest import MakeProject, write_strategy
from tests.run.run_helpers import rows, run
from tests.run.test_run_end_to_end import answer
from tests.scripted_server import scripted_server

T = datetime(2026, 3, 2, tzinfo=UTC)
OPEN = "mode: threshold, threshold_prob: 0.0, accept_without_gold: true, audit_rate_prob: 0.0"
DIFFER = "SELECT item_id FROM decisions GROUP BY item_id HAVING count(DISTINCT label) > 1"
TASKS = "SELECT kind, state, count(*) AS n FROM task_outcomes GROUP BY ALL ORDER BY ALL"


def routing(folder: Path, value: str) -> None:
    path = folder / "project.yaml"
    lines = [line for line in path.read_text().splitlines() if not line.startswith("routing")]
    path.write_text("\n".join([*lines, f"routing: {{{value}}}", ""]))


def test_what_the_machine_may_not_decide_is_asked_once(make_project: MakeProject, tmp_path: Path) -> None:
    store = tmp_path / "store"
    with scripted_server() as server:
        folder = make_project(server.base_url, n_items=10)
        run(folder, store)
        run(folder, store)
    assert rows(store, TASKS) == [{"kind": "routed", "state": "open", "n": 10}]
    assert rows(store, "SELECT count(*) AS n FROM review_tasks") == [{"n": 10}]
    (row,) = rows(store, "SELECT * FROM review_tasks LIMIT 1")
    assert (row["blind"], row["votes_wanted"], row["project"]) == (True, 1, "mini")
    assert "no gold" in row["reason"]
    assert row["label"] in ("safe", "hate", "spam")


def test_the_report_says_how_many_tasks_wait_and_where(
    make_project: MakeProject, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with scripted_server() as server:
        folder = make_project(server.base_url, n_items=4)
        summary = run(folder, tmp_path / "store")
    work = load_workload(str(folder), None)
    with open_store(tmp_path / "store") as store:
        report = run_report(store, work, summary)
    assert ("People", "4 tasks wait in the review queue") in report.lines()
    assert "Review queue" not in report.markdown()
    monkeypatch.setenv("LABELPROOF_REVIEW_URL", "http://127.0.0.1:8700/")
    assert "[Review queue](http://127.0.0.1:8700/p/mini)" in report.markdown()


def test_an_experiment_asks_nobody_unless_told(make_project: MakeProject, tmp_path: Path) -> None:
    store = tmp_path / "store"
    with scripted_server() as server:
        folder = make_project(server.base_url, n_items=6)
        write_strategy(folder, server.base_url, name="challenger")
        run(folder, store, strategy="challenger")
        run(folder, store, repeat=1)
        assert rows(store, TASKS) == []
        run(folder, store, strategy="challenger", queue=True)
    assert rows(store, TASKS) == [{"kind": "routed", "state": "open", "n": 6}]


def test_a_question_closes_when_the_machine_may_decide_and_opens_again(
    make_project: MakeProject, tmp_path: Path
) -> None:
    store = tmp_path / "store"
    with scripted_server() as server:
        folder = make_project(server.base_url, n_items=5)
        strict = "mode: threshold, threshold_prob: 0.5"
        run(folder, store)
        routing(folder, OPEN)
        assert run(folder, store)["auto_accept"] == 5
        assert rows(store, TASKS) == [{"kind": "routed", "state": "closed", "n": 5}]
        routing(folder, strict)
        run(folder, store)
        assert rows(store, TASKS) == [{"kind": "routed", "state": "open", "n": 5}]
        events = rows(store, "SELECT event, actor, count(*) AS n FROM review_events GROUP BY ALL ORDER BY 1")
        assert events == [
            {"event": "closed", "actor": "labelproof", "n": 5},
            {"event": "reopened", "actor": "labelproof", "n": 5},
        ]


def test_a_later_decision_takes_an_acceptance_back(make_project: MakeProject, tmp_path: Path) -> None:
    store = tmp_path / "store"
    final = "SELECT source, count(*) AS n FROM final_labels GROUP BY ALL"
    with scripted_server() as server:
        folder = make_project(server.base_url, n_items=5, routing=OPEN)
        run(folder, store)
        assert rows(store, final) == [{"source": "auto_accept", "n": 5}]
        write_strategy(folder, server.base_url, name="challenger")
        routing(folder, "mode: threshold, threshold_prob: 0.5")
        run(folder, store, strategy="challenger")
        assert rows(store, final) == [{"source": "auto_accept", "n": 5}], (
            "another strategy takes nothing back"
        )
        run(folder, store)
    assert rows(store, final) == []


def test_what_a_lead_closed_stays_closed(make_project: MakeProject, tmp_path: Path) -> None:
    store = tmp_path / "store"
    with scripted_server() as server:
        folder = make_project(server.base_url, n_items=3)
        run(folder, store)
        (task, *_) = rows(store, "SELECT task_id, item_id FROM review_tasks ORDER BY 1")
        with open_store(store) as opened:
            opened.append(
                "review_events",
                {
                    "event_id": ["e"],
                    "project": ["mini"],
                    "task_id": [task["task_id"]],
                    "item_id": [task["item_id"]],
                    "actor": ["lea"],
                    "event": ["closed"],
                    "reason": ["a test message"],
                    "ts": [datetime.now(UTC)],
                },
            )
        run(folder, store)
    states = rows(store, "SELECT state FROM task_outcomes WHERE task_id = ?", task["task_id"])
    assert states == [{"state": "closed"}]


def test_the_project_says_how_many_votes_and_who_sees_the_machine(
    make_project: MakeProject, tmp_path: Path
) -> None:
    store = tmp_path / "store"
    with scripted_server() as server:
        folder = make_project(server.base_url, n_items=4)
        with (folder / "project.yaml").open("a") as file:
            file.write("review: {votes_wanted: {routed: 3}, show_model: [routed]}\n")
        run(folder, store)
    found = rows(store, "SELECT DISTINCT votes_wanted, blind FROM review_tasks")
    assert found == [{"votes_wanted": 3, "blind": False}]


def test_earlier_decisions_can_be_queued_once(make_project: MakeProject, tmp_path: Path) -> None:
    with scripted_server() as server:
        folder = make_project(server.base_url, n_items=7)
        run(folder, tmp_path / "store", queue=False)
    project = find_project(str(folder))
    with open_store(tmp_path / "store") as store:
        assert fill_routed(store, project, None, T) == 7
        assert fill_routed(store, project, None, T) == 0
        with pytest.raises(ConfigError, match="has decided nothing"):
            fill_routed(store, project, "absent", T)


def test_people_are_asked_where_two_strategies_differ(make_project: MakeProject, tmp_path: Path) -> None:
    store = tmp_path / "store"
    with scripted_server(lambda seen: answer("hate" if "number 1" in seen.prompt else "safe")) as server:
        folder = make_project(server.base_url, n_items=12)
        run(folder, store, queue=False)
    with scripted_server(lambda _: answer("safe")) as server:
        write_strategy(folder, server.base_url, name="calm")
        run(folder, store, strategy="calm", queue=False)
    project = find_project(str(folder))
    with open_store(store) as opened:
        differ = opened.query(DIFFER, fresh=True)["item_id"].to_pylist()
        assert len(differ) > 2
        assert ask_disagreements(opened, project, "champion", "calm", T, limit=2) == 2
        assert ask_disagreements(opened, project, "champion", "calm", T) == len(differ) - 2
        assert ask_disagreements(opened, project, "champion", "calm", T) == 0
        tasks = opened.query("FROM review_tasks", fresh=True).to_pylist()
    assert {task["item_id"] for task in tasks} == set(differ)
    row = tasks[0]
    assert (row["kind"], row["blind"], row["votes_wanted"]) == ("disagreement", True, 1)
    assert "champion@" in row["reason"]
    assert "calm@" in row["reason"]


def test_an_appeal_needs_a_label_and_a_reason(make_project: MakeProject, tmp_path: Path) -> None:
    with scripted_server() as server:
        folder = make_project(server.base_url, n_items=3, routing=OPEN)
        run(folder, tmp_path / "store")
        write_more(folder)
    project = find_project(str(folder))
    with open_store(tmp_path / "store") as store:
        task = appeal_task(store, project, "m1", reason="irony", by="ann", now=T)
        again = appeal_task(store, project, "m1", reason="irony", by="ann", now=T)
        other = appeal_task(store, project, "m1", reason="irony", by="bob", now=T)
        assert task.task_id == again.task_id != other.task_id
        assert (task.kind, task.votes_wanted, task.blind) == ("appeal", 2, True)
        with pytest.raises(ConfigError, match="needs a reason"):
            appeal_task(store, project, "m1", reason="  ", by="ann", now=T)
        with pytest.raises(ConfigError, match="knows no item"):
            appeal_task(store, project, "nobody", reason="x", by="ann", now=T)


def write_more(folder: Path) -> None:
    with (folder / "items.jsonl").open("a") as file:
        file.write('{"id": "late", "text": "not labelled yet"}\n')
