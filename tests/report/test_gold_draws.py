"""Gold is drawn where it helps, decided by people, versioned, and then certifies."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml

from agents.routing import REST
from agents.run.workload import load_workload
from labelproof.report.gold import build_gold, gold_versions, sample_gold
from labelproof.spec.errors import ConfigError
from labelproof.store import TraceStore
from tests.conftest import MakeProject
from tests.report.certify_helpers import certified, gold_rows, opened, project, truth
from tests.run.run_helpers import rows

NOW = datetime.now(UTC)


def vote(store: TraceStore, task_ids: Sequence[str], labels: Sequence[str], annotator: str) -> None:
    n = len(task_ids)
    store.append(
        "votes",
        {
            "vote_id": [f"{annotator}-{task}" for task in task_ids],
            "project": ["mini"] * n,
            "task_id": list(task_ids),
            "item_id": [None] * n,
            "annotator": [annotator] * n,
            "role": ["reviewer"] * n,
            "answer": ["label"] * n,
            "label": list(labels),
            "ts": [NOW] * n,
        },
    )


def answer_all(store: TraceStore) -> list[dict[str, str]]:
    """Let two people give every drawn item its true label; returns the tasks."""
    tasks = rows(
        store,
        "SELECT task_id, external_id FROM review_tasks t JOIN current_items i USING (item_id) WHERE kind = 'gold'",
    )
    labels = [truth(int(task["external_id"][1:])) for task in tasks]
    for annotator in ("ann", "bob"):
        vote(store, [task["task_id"] for task in tasks], labels, annotator)
    return tasks


def use(folder: Path, path: str, **fields: str) -> None:
    spec = yaml.safe_load((folder / "project.yaml").read_text())
    spec["gold"] = {"path": path, **fields}
    (folder / "project.yaml").write_text(yaml.safe_dump(spec))


def test_from_no_certificate_through_a_draw_to_a_certificate(
    make_project: MakeProject, tmp_path: Path
) -> None:
    with project(make_project, gold=gold_rows(30)) as (folder, _), opened(tmp_path) as store:
        assert certified(folder, store).certificate is None
        work = load_workload(str(folder), None)
        draw = sample_gold(store, work, 120, now=NOW)
        assert (draw.design, draw.n) == ("region", 120)
        assert draw.inclusion_prob == 120 / draw.pool_n
        assert draw.region_low is not None
        tasks = rows(store, "FROM review_tasks WHERE kind = 'gold'")
        assert {(t["design"], t["label"], t["blind"], t["sample_id"]) for t in tasks} == {
            ("region", None, True, draw.sample_id)
        }
        gold_ids = {row.item_id for row in work.gold.rows} if work.gold else set()
        assert not gold_ids & {t["item_id"] for t in tasks}
        answer_all(store)
        built = build_gold(store, work, folder / "gold_v2.jsonl")
        assert (built.n_old, built.n_new, built.n_waiting, built.n_disputed) == (90, 120, 0, 0)
        use(folder, "gold_v2.jsonl", **built.fields)
        report = certified(folder, store)
        assert report.certificate is not None
        assert report.certificate.design == "region"
        assert report.results[REST].delta == 0.05, "no outcome of the first try could have certified: no look"
        assert any("only thresholds from there on are tested" in note for note in report.notes)
        first, second = gold_versions(store, "mini")
        assert (first["splits"]["certify"]["n"], second["splits"]["certify"]["n"]) == (150, 30)
        assert first["splits"]["certify"]["designs"] == {"region": 120, "simple_random": 30}
        assert [version["splits"]["certify"]["n_looks"] for version in (first, second)] == [1, 0]


def test_a_draw_for_another_strategy_is_left_out_with_a_word(
    make_project: MakeProject, tmp_path: Path
) -> None:
    with project(make_project, gold=gold_rows(30)) as (folder, _), opened(tmp_path) as store:
        sample_gold(store, load_workload(str(folder), None), 40, now=NOW)
        answer_all(store)
        built = build_gold(store, load_workload(str(folder), None), folder / "gold_v2.jsonl")
        use(folder, "gold_v2.jsonl", **built.fields)
        strategy = folder / "strategies" / "champion.yaml"
        strategy.write_text(
            strategy.read_text().replace("- kind: label", "- kind: label\n    guideline: none")
        )
        report = certified(folder, store)
        assert report.n_gold == 30
        assert any("drawn for another version of the strategy" in note for note in report.notes)


def test_weighted_gold_is_refused_without_a_bound_and_certified_by_betting_with_one(
    make_project: MakeProject, tmp_path: Path
) -> None:
    with project(make_project) as (folder, _), opened(tmp_path) as store:
        lines = (folder / "gold.jsonl").read_text().replace("}", ', "p": 0.5}')
        (folder / "gold.jsonl").write_text(lines)
        fields = {"split_column": "split", "design": "active", "inclusion_prob_column": "p"}
        use(folder, "gold.jsonl", **fields)
        with pytest.raises(ConfigError, match="bound on its weights"):
            certified(folder, store)
        use(folder, "gold.jsonl", weight_max=2.0, **fields)  # type: ignore[arg-type]
        report = certified(folder, store, alpha=0.2)
        assert report.results[REST].method == "betting"
        with pytest.raises(ConfigError, match="per class needs uniformly drawn gold"):
            certified(folder, store, per_class={"hate": 0.05})


def test_versions_are_immutable_and_a_draw_never_repeats_an_item(
    make_project: MakeProject, tmp_path: Path
) -> None:
    with project(make_project, n_items=130, gold=gold_rows(30)) as (folder, _), opened(tmp_path) as store:
        work = load_workload(str(folder), None)
        with pytest.raises(ConfigError, match="immutable"):
            build_gold(store, work, folder / "gold.jsonl")
        first = sample_gold(store, work, 25, now=NOW, design="simple_random")
        second = sample_gold(store, work, 25, now=NOW, design="simple_random", seed=1)
        assert (first.n, second.n) == (25, 15), "40 items were neither gold nor drawn"
        with pytest.raises(ConfigError, match="40 wait for votes"):
            build_gold(store, work, folder / "gold_v2.jsonl")
        drawn = rows(store, "SELECT count(*) AS n, count(DISTINCT item_id) AS ids FROM review_tasks")
        assert drawn == [{"n": 40, "ids": 40}]
        with pytest.raises(ConfigError, match="no item is left to draw"):
            sample_gold(store, work, 1, now=NOW, design="simple_random", seed=2)
        with pytest.raises(ConfigError, match="JSONL"):
            build_gold(store, work, folder / "gold_v2.csv")
        tasks = [row["task_id"] for row in rows(store, "SELECT task_id FROM review_tasks LIMIT 7")]
        for annotator in ("ann", "bob"):
            vote(store, tasks, ["safe"] * 7, annotator)
        with pytest.raises(ConfigError, match="not a random part"):
            build_gold(store, work, folder / "gold_v2.jsonl")
        built = build_gold(store, work, folder / "gold_v2.jsonl", partial=True)
        assert (built.n_new, built.n_waiting) == (7, 33)


def test_a_draw_from_everything_after_one_from_a_region_is_refused(
    make_project: MakeProject, tmp_path: Path
) -> None:
    with project(make_project, gold=gold_rows(30)) as (folder, _), opened(tmp_path) as store:
        work = load_workload(str(folder), None)
        draw = sample_gold(store, work, 20, now=NOW, at_least=0.9)
        assert draw.region_low == 0.9
        with pytest.raises(ConfigError, match="no longer uniform"):
            sample_gold(store, work, 20, now=NOW, design="simple_random")
