"""What is tried decides nothing: experiments, shadows, suites and explanations leave no label behind."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from agents.rehydrate import workload_of
from agents.run.workload import load_workload
from labelproof.report.experiments.run import run_experiment
from labelproof.report.explain import evidence_of, explain
from labelproof.report.suites.cases import build_suite, chosen_sources
from labelproof.report.suites.run import run_suites
from labelproof.spec.metrics import parse_metric
from labelproof.spec.project import find_project
from labelproof.store import open_store
from tests.conftest import MakeProject
from tests.experiments.experiment_helpers import answering, index_of, make_arms, opened
from tests.rollouts.rollout_helpers import produce, started
from tests.run.run_helpers import rows
from tests.scripted_server import Reply, Seen, scripted_server

ROUTING = "mode: threshold, threshold_prob: 0.5, accept_without_gold: true"
SHOWN = ("decisions", "review_tasks", "review_events", "final_labels", "task_outcomes")


def forgiving(seen: Seen) -> Reply:
    """Answer perturbed texts too, in which the number may not be readable any more."""
    try:
        index_of(seen.prompt)
    except AssertionError:
        return Reply(content='{"rationale": "so", "label": "safe", "confidence": 0.9}', without_logprobs=True)
    return answering()(seen)


def test_nothing_that_is_tried_becomes_a_label(make_project: MakeProject, tmp_path: Path) -> None:
    with scripted_server(forgiving) as server, open_store(tmp_path / "store") as store:
        folder = make_arms(make_project, server.base_url, routing=ROUTING)
        one = opened(store, folder)
        assert run_experiment(store, one).exit_code == 0
        work_a, work_b = (workload_of(store, str(folder), name) for name in ("champion", "candidate"))
        evidence = evidence_of(work_a, work_b, "test")
        explain(
            store,
            work_a,
            work_b,
            evidence.items,
            evidence.labels,
            metric=parse_metric("accuracy"),
            now=datetime.now(UTC),
        )
        work = load_workload(str(folder), None)
        (source,) = chosen_sources(find_project(str(folder)), "robustness")
        suite = build_suite(source, work, n=3, seed=0)
        run_suites(store, work, [suite], now=datetime.now(UTC))
        for table in SHOWN:
            assert rows(store, f"SELECT count(*) AS n FROM {table}") == [{"n": 0}], table
        assert rows(store, "SELECT count(DISTINCT item_id) AS n FROM items") == [{"n": 40}]
        assert rows(store, "SELECT count(*) > 80 AS some FROM arm_answers") == [{"some": True}]
    # In production the champion decides; the shadow's answers, which differ, are nowhere among the labels.
    with scripted_server(forgiving) as server:
        with open_store(tmp_path / "store") as store:
            started(store, folder, share=None)
        found = produce(folder, tmp_path / "store")
    assert found["rollout"]["candidate"] is not None
    with open_store(tmp_path / "store") as store:
        fps = rows(store, "SELECT DISTINCT strategy_fp FROM final_labels")
        assert fps == [{"strategy_fp": work.resolved.fingerprint}]
