"""Comparisons that are not plain: weights, clusters, other kinds of labels, missing answers, old versions, no gold, A/A."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest

from labelproof.report.compare.build import record
from labelproof.report.compare.model import CompareReport
from labelproof.spec.errors import ConfigError
from labelproof.spec.experiment import ExperimentPolicy
from labelproof.store import TraceStore, open_store
from tests.conftest import MakeProject
from tests.report.compare_project import (
    NOW,
    START,
    Said,
    compared,
    row_of,
    run_sql,
    store_answers,
    two_strategies,
)

NAMES = ("safe", "hate", "spam")
LOOSE = "guardrails: []"


def truth(i: int) -> str:
    return NAMES[i % 3]


def answers(n: int, *wrong: int) -> dict[int, str]:
    return {i: NAMES[(i + 1) % 3] if i in wrong else truth(i) for i in range(n)}


@pytest.fixture
def store(tmp_path: Path) -> TraceStore:
    return open_store(tmp_path / "store")


def made(make_project: MakeProject, n: int = 60, experiments: str = LOOSE, **more: Any) -> Path:
    return two_strategies(
        make_project, [(i, truth(i), "test") for i in range(n)], n_items=n, experiments=experiments, **more
    )


def sql_agrees(store: TraceStore, report: CompareReport) -> None:
    for row in report.rows:
        if row.difference.value_a is not None:
            found = run_sql(store, row.sql)[0]
            wanted = (row.difference.value_a, row.difference.value_b)
            assert (found["value_a"], found["value_b"]) == pytest.approx(wanted, abs=1e-12), (
                row.difference.metric
            )


def rewrite(folder: Path, name: str, change: Any) -> None:
    rows = [json.loads(line) for line in (folder / name).read_text().splitlines()]
    (folder / name).write_text("".join(json.dumps(change(i, row)) + "\n" for i, row in enumerate(rows)))


def edit(folder: Path, old: str, new: str) -> None:
    path = folder / "project.yaml"
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))


def test_the_three_verdicts(make_project: MakeProject, store: TraceStore) -> None:
    folder = made(make_project)
    store_answers(store, folder, "champion", answers(60, *range(20)))
    store_answers(store, folder, "candidate", answers(60, *range(17, 22)))
    ship = compared(store, folder)
    assert (ship.verdict, ship.exit_code) == ("ship", 0)
    assert ship.next_step == f"labelproof promote mini {ship.b.ref} --why …"
    back = compared(store, folder, "candidate", "champion")
    assert (back.verdict, back.exit_code) == ("regression", 1)
    assert "keep candidate@" in back.next_step
    same = compared(store, folder, "champion", "champion")
    assert (same.verdict, same.exit_code) == ("inconclusive", 2)
    assert any("same version" in note for note in same.notes)


def test_a_close_race_says_how_many_more_items_it_takes(make_project: MakeProject, store: TraceStore) -> None:
    folder = made(make_project)
    store_answers(store, folder, "champion", answers(60, *range(8)))
    store_answers(store, folder, "candidate", answers(60, *range(5, 9)))
    report = compared(store, folder)
    assert report.verdict == "inconclusive"
    assert "more items for 80% power on accuracy" in report.next_step


def test_a_guardrail_holds_is_unproven_or_broken(make_project: MakeProject, store: TraceStore) -> None:
    rails = "[{metric: 'recall:hate', margin: 0.02}, {metric: failed_rate, margin: 0.5}, {metric: 'recall:spam', margin: 0.02}]"
    folder = made(make_project, 90, f"guardrails: {rails}")
    spam = [i for i in range(90) if i % 3 == 2]
    store_answers(store, folder, "champion", answers(90, *range(0, 60, 3)))
    store_answers(store, folder, "candidate", answers(90, *spam[:15]))
    report = compared(store, folder)
    assert [row.holds for row in report.rows if row.role == "guardrail"] == [None, True, False]
    assert report.verdict == "regression"
    assert '"recall:spam" broken' in report.headline


def test_weighted_gold_weighs_items(make_project: MakeProject, store: TraceStore) -> None:
    folder = made(make_project, experiments=f"{LOOSE}, secondary: [macro_f1, 'recall:hate']")
    rewrite(folder, "gold.jsonl", lambda i, row: {**row, "prob": 0.1 if i < 30 else 1.0})
    edit(
        folder, "split_column: split", "split_column: split, design: stratified, inclusion_prob_column: prob"
    )
    store_answers(store, folder, "champion", answers(60, *range(6)))
    store_answers(store, folder, "candidate", answers(60, *range(30, 36)))
    report = compared(store, folder)
    accuracy = row_of(report, "accuracy").difference
    assert accuracy.value_a == pytest.approx((24 * 10 + 30) / 330)
    assert accuracy.value_b == pytest.approx((300 + 24) / 330)
    assert accuracy.method not in ("mcnemar-tango", "not-measurable")
    assert any("weighted" in note for note in report.notes)
    sql_agrees(store, report)


def test_clusters_are_kept_whole(make_project: MakeProject, store: TraceStore) -> None:
    folder = made(make_project, experiments=f"{LOOSE}, cluster: author")
    rewrite(folder, "items.jsonl", lambda i, row: {**row, "author": f"u{i // 10}"} if i < 50 else row)
    store_answers(store, folder, "champion", answers(60, *range(10)))
    store_answers(store, folder, "candidate", answers(60))
    report = compared(store, folder)
    assert row_of(report, "accuracy").difference.method == "cluster-sign-flip"
    # All ten fixed items are one author's: one cluster of fifteen (ten items have none) proves nothing.
    assert report.verdict == "inconclusive"
    assert any("15 clusters" in note for note in report.notes)
    sql_agrees(store, report)


def test_multi_label_answers_count_by_class_and_whole(make_project: MakeProject, store: TraceStore) -> None:
    def both(i: int) -> str:
        return ("none", "hate", "hate+spam")[i % 3]

    folder = two_strategies(
        make_project,
        [(i, both(i), "test") for i in range(30)],
        n_items=30,
        kind="multi",
        experiments=f"{LOOSE}, secondary: [macro_f1, 'recall:spam', 'precision:hate']",
    )
    store_answers(store, folder, "champion", {i: "hate" for i in range(30)})
    store_answers(store, folder, "candidate", {i: both(i) if i else "spam" for i in range(30)})
    report = compared(store, folder)
    assert row_of(report, "accuracy").difference.value_a == 10 / 30
    assert row_of(report, "accuracy").difference.value_b == 29 / 30
    assert (
        row_of(report, "recall:spam").difference.value_a,
        row_of(report, "recall:spam").difference.value_b,
    ) == (0, 1)
    assert row_of(report, "precision:hate").difference.value_a == 20 / 30
    sql_agrees(store, report)


def test_a_taxonomy_is_judged_by_leaf_and_a_metric_may_name_a_parent(
    make_project: MakeProject, store: TraceStore
) -> None:
    folder = made(make_project, 30)
    text = (folder / "project.yaml").read_text()
    start, end = text.index("labels:"), text.index("items:")
    tree = "labels: {kind: taxonomy, classes: [{name: ok}, {name: bad, children: [{name: hate}, {name: spam}]}]}\n"
    (folder / "project.yaml").write_text(text[:start] + tree + text[end:])
    edit(
        folder,
        "experiments: {guardrails: []}",
        "experiments: {guardrails: [], secondary: [macro_f1, 'recall:bad']}",
    )
    leaves = ("ok", "bad/hate", "bad/spam")
    rewrite(folder, "gold.jsonl", lambda i, row: {**row, "label": leaves[i % 3]})
    store_answers(store, folder, "champion", {i: leaves[i % 3].replace("spam", "hate") for i in range(30)})
    store_answers(store, folder, "candidate", {i: leaves[i % 3] if i > 2 else "ok" for i in range(30)})
    report = compared(store, folder)
    assert row_of(report, "accuracy").difference.value_a == 20 / 30
    bad = row_of(report, "recall:bad").difference
    assert (bad.value_a, bad.value_b, bad.n) == (1.0, 18 / 20, 20)
    sql_agrees(store, report)


def test_missing_answers_are_counted_and_a_lopsided_lack_is_broken(
    make_project: MakeProject, store: TraceStore
) -> None:
    folder = made(make_project)
    store_answers(store, folder, "champion", answers(60))
    store_answers(store, folder, "candidate", {i: label for i, label in answers(60).items() if i < 40})
    report = compared(store, folder)
    balance = report.balance
    assert (balance.n_wanted, balance.n_both, balance.n_only_a, balance.n_only_b) == (60, 40, 20, 0)
    assert balance.e_value is not None
    assert balance.e_value > 100
    assert not balance.ok
    assert report.n_items == 40
    assert any("no answer to 20 of 60 items" in note for note in report.notes)
    assert report.next_step == "label what is missing first: labelproof run mini --strategy candidate"
    found = run_sql(store, report.sql["balance"])[0]
    assert (found["n_both"], found["n_only_a"], found["n_only_b"]) == (40, 20, 0)


def test_the_latest_answer_of_a_version_counts_wherever_it_came_from(
    make_project: MakeProject, store: TraceStore
) -> None:
    folder = made(make_project)
    store_answers(store, folder, "champion", answers(60, *range(60)))
    store_answers(
        store,
        folder,
        "champion",
        answers(60, 1, 2),
        run_id="arm-1",
        arm="control",
        at=START + timedelta(hours=1),
    )
    store_answers(store, folder, "candidate", answers(60), arm="candidate")
    report = compared(store, folder)
    assert row_of(report, "accuracy").difference.value_a == 58 / 60
    assert {flip.external_id for flip in report.flips} == {"m1", "m2"}
    sql_agrees(store, report)


def test_versions_that_no_file_holds_any_more_are_compared(
    make_project: MakeProject, store: TraceStore
) -> None:
    folder = made(make_project)
    old = store_answers(store, folder, "champion", answers(60, *range(10)))
    file = folder / "strategies" / "champion.yaml"
    file.write_text(file.read_text().replace("gpt-4.1-mini", "gpt-4.1-nano"))
    store_answers(store, folder, "candidate", answers(60))
    unanswered = compared(store, folder)
    assert unanswered.a.fp == old
    assert any("which has no answers yet" in note for note in unanswered.notes)
    new = store_answers(store, folder, "champion", answers(60), at=START + timedelta(hours=1), run_id="later")
    assert compared(store, folder).a.fp == new
    digits = old.removeprefix("b2:")
    for ref in (f"champion@{digits[:6]}", f"@{digits[:6]}", digits[:8], f"champion@{old}"):
        assert compared(store, folder, ref, f"@{new[3:12]}").a.fp == old
    with pytest.raises(ConfigError, match="no stored version is named 'champion@ffff"):
        compared(store, folder, "champion@ffff", "candidate")
    with pytest.raises(ConfigError, match="found: candidate, champion"):
        compared(store, folder, "nobody", "candidate")


def test_without_gold_only_what_needs_none_is_measured(make_project: MakeProject, store: TraceStore) -> None:
    folder = two_strategies(make_project, [], n_items=60, experiments=LOOSE)
    store_answers(store, folder, "champion", {i: Said(label="safe", accepted=i < 30) for i in range(60)})
    store_answers(
        store,
        folder,
        "candidate",
        {i: Said(label="safe" if i else "hate", accepted=i < 50) for i in range(50)},
    )
    report = compared(store, folder, split="none")
    assert (report.verdict, report.gold_fp, report.gold_name, report.n_looks) == (
        "inconclusive",
        None,
        "no gold",
        0,
    )
    assert row_of(report, "accuracy").difference.reason is not None
    assert row_of(report, "auto_accept_rate").difference.value_b == 1
    assert [flip.kind for flip in report.flips] == ["no_gold"]
    assert report.balance.n_wanted == 60
    sql_agrees(store, report)
    assert run_sql(store, report.sql["flips"]) == [{"kind": "no_gold", "n": 1}]
    assert run_sql(store, report.sql["balance"])[0]["n_wanted"] == 60
    ships = compared(
        store, folder, split="none", policy=ExperimentPolicy(primary="auto_accept_rate", guardrails=())
    )
    assert ships.verdict == "ship"
    with pytest.raises(ConfigError, match="has no gold"):
        compared(store, folder)


def test_splits_that_strategies_learn_from_are_refused(make_project: MakeProject, store: TraceStore) -> None:
    gold = [(i, truth(i), "calibration" if i < 30 else "certify") for i in range(60)]
    folder = two_strategies(make_project, gold, n_items=60, experiments=LOOSE)
    store_answers(store, folder, "champion", answers(60))
    store_answers(store, folder, "candidate", answers(60, 40))
    with pytest.raises(ConfigError, match="learn from the gold split 'calibration'"):
        compared(store, folder, split="calibration")
    with pytest.raises(ConfigError, match="no gold in the split 'test'"):
        compared(store, folder)
    report = compared(store, folder, split="certify")
    assert any("certified" in note for note in report.notes)


def test_the_project_s_gold_counts_as_it_stands_and_older_gold_by_name(
    make_project: MakeProject, store: TraceStore
) -> None:
    folder = made(make_project)
    long_ago = START - timedelta(days=2000)
    store_answers(store, folder, "champion", answers(60), at=long_ago)
    store_answers(store, folder, "candidate", answers(60, 7), at=long_ago)
    first = compared(store, folder)
    assert first.n_broke == 1
    rewrite(folder, "gold.jsonl", lambda i, row: {**row, "label": NAMES[(7 + 1) % 3]} if i == 7 else row)
    second = compared(store, folder)
    assert (second.n_fixed, second.n_broke) == (1, 0)
    assert second.gold_fp != first.gold_fp
    assert first.gold_fp is not None
    older = compared(store, folder, gold_fp=first.gold_fp[3:10])
    assert older.n_broke == 1
    assert any("gold is now version" in note for note in older.notes)
    assert older.n_looks == 2


def test_a_version_made_after_results_were_seen_may_be_tuned(
    make_project: MakeProject, store: TraceStore
) -> None:
    folder = made(make_project)
    store_answers(store, folder, "champion", answers(60, 3))
    compared(store, folder, "champion", "champion", now=START + timedelta(hours=1))
    store_answers(store, folder, "candidate", answers(60), at=START + timedelta(hours=2))
    report = compared(store, folder)
    assert any("may be tuned on it" in note for note in report.notes)
    assert report.n_looks == 2


def test_a_version_against_itself_asked_again_is_the_aa_comparison(
    make_project: MakeProject, store: TraceStore
) -> None:
    folder = made(make_project)
    store_answers(store, folder, "champion", answers(60, 1, 2, 3))
    store_answers(store, folder, "champion", answers(60, 3, 4, 5), repeat=1)
    report = compared(store, folder, "champion", "champion", repeat=1)
    assert report.verdict == "inconclusive"
    assert (report.n_fixed, report.n_broke) == (2, 2)
    assert not any("same version" in note for note in report.notes)
    sql_agrees(store, report)
    assert {row["kind"]: row["n"] for row in run_sql(store, report.sql["flips"])} == {"fixed": 2, "broke": 2}


def test_gold_is_doubted_where_people_disagree_or_both_sides_are_sure(
    make_project: MakeProject, store: TraceStore
) -> None:
    folder = made(make_project)
    a = {i: Said(label=label, confidence=0.95) for i, label in answers(60, 0, 1, 2).items()}
    b = {i: Said(label=label, confidence=0.95) for i, label in answers(60).items()}
    store_answers(store, folder, "champion", a)
    store_answers(store, folder, "candidate", b | {0: Said(label="spam", confidence=0.99)})
    item = compared(store, folder).flips
    by_id = {flip.external_id: flip for flip in item}
    assert by_id["m0"].kind == "both_wrong"
    assert by_id["m0"].gold_doubt == "both sides say with confidence >= 0.9 that it is not safe"
    assert by_id["m1"].gold_doubt is None
    task: dict[str, Any] = {"task_id": ["t1"], "project": ["mini"], "kind": ["audit"], "item_id": [by_id["m1"].item_id], "votes_wanted": [2], "ts": [START]}  # fmt: skip
    votes: dict[str, Any] = {"vote_id": ["v1", "v2"], "project": ["mini"] * 2, "task_id": ["t1"] * 2, "item_id": [by_id["m1"].item_id] * 2, "annotator": ["x", "y"], "role": ["reviewer"] * 2, "answer": ["label"] * 2, "label": ["hate", "spam"], "ts": [START] * 2}  # fmt: skip
    store.append_many({"review_tasks": task, "votes": votes})
    again = {flip.external_id: flip for flip in compared(store, folder).flips}
    assert again["m1"].gold_doubt == "people disagreed"


def test_the_responsible_step_is_the_first_that_differs(make_project: MakeProject, store: TraceStore) -> None:
    folder = made(make_project)
    store_answers(store, folder, "champion", answers(60, 5))
    store_answers(store, folder, "candidate", answers(60))
    item = compared(store, folder).flips[0]
    assert item.step is None
    rows = [
        (run, seq, name, output)
        for run, label in (("run-champion-0", "a"), ("run-candidate-0", "b"))
        for seq, (name, output) in enumerate((("normalize", "same"), ("label", label), ("route", label)))
    ]
    store.append(
        "steps",
        {
            "run_id": [row[0] for row in rows],
            "item_id": [item.item_id] * 6,
            "seq": [row[1] for row in rows],
            "name": [row[2] for row in rows],
            "status": ["ok"] * 6,
            "output_hash": [row[3] for row in rows],
            "ts": [START] * 6,
        },
    )
    assert compared(store, folder).flips[0].step == "label"


def test_a_suite_is_a_guardrail_on_its_own_cases(make_project: MakeProject, store: TraceStore) -> None:
    folder = made(make_project, experiments="guardrails: [{metric: 'suite:robustness', margin: 0.05}]")
    fps = [
        store_answers(store, folder, "champion", answers(60, *range(20))),
        store_answers(store, folder, "candidate", answers(60)),
    ]
    row = compared(store, folder).rows[1]
    assert row.holds is None
    assert row.difference.reason is not None
    assert "was not run" in row.difference.reason
    for side, fp in enumerate(fps):
        run = f"s{side}"
        n = 200
        store.append_many(
            {
                "suite_runs": {
                    "suite_run_id": [run],
                    "project": ["mini"],
                    "suite": ["robustness"],
                    "suite_fp": ["f"],
                    "strategy_fp": [fp],
                    "n_cases": [n],
                    "ts": [START],
                },
                "suite_results": {
                    "suite_run_id": [run] * n,
                    "case_id": [f"c{i}" for i in range(n)],
                    "base_id": [f"c{i}" for i in range(n)],
                    "functionality": ["typos"] * n,
                    "passed": [i >= (40 if side == 0 else 10) for i in range(n)],
                    "ts": [START] * n,
                },
            }
        )
    row = compared(store, folder).rows[1]
    assert (row.difference.value_a, row.difference.value_b, row.difference.n) == (0.2, 0.05, 200)
    assert row.holds is True
    found = run_sql(store, row.sql)[0]
    assert (found["value_a"], found["value_b"], found["n"]) == (0.2, 0.05, 200)


class Planned:
    """A plan as the comparison reads it."""

    experiment_id, fp, split, gold_fp, rule = "x1", "b2:plan", "test", None, "written before"
    policy = ExperimentPolicy(primary="macro_f1", guardrails=())

    def __init__(self, *arms: tuple[str, str, str]) -> None:
        self.arms = [
            type("PlannedArm", (), dict(zip(("name", "strategy", "fp"), arm, strict=True))) for arm in arms
        ]


def test_a_plan_s_rule_is_applied_and_arms_go_by_their_names(
    make_project: MakeProject, store: TraceStore
) -> None:
    folder = made(make_project)
    a = store_answers(store, folder, "champion", answers(60, *range(20)), arm="control")
    b = store_answers(store, folder, "candidate", answers(60), arm="new")
    plan = Planned(("control", "champion", a), ("new", "candidate", b))
    report = compared(store, folder, "control", "new", plan=plan)
    assert (report.planned, report.rule, report.experiment_id) == (True, "written before", "x1")
    assert (report.a.arm, report.a.name, report.rows[0].difference.metric) == (
        "control",
        "champion",
        "macro_f1",
    )
    assert not compared(store, folder).planned


def test_a_recorded_comparison_gives_its_shares_to_the_next(
    make_project: MakeProject, store: TraceStore
) -> None:
    folder = made(make_project)
    file = folder / "strategies" / "candidate.yaml"
    file.write_text(file.read_text().replace("- kind: route", "- kind: route\n    threshold_prob: 0.7"))
    store_answers(store, folder, "champion", answers(60, *range(6)))
    store_answers(store, folder, "candidate", answers(60))
    report = compared(store, folder)
    assert report.why.shares == ()
    assert report.why.reason is not None
    assert f"labelproof explain {report.a.ref} {report.b.ref}" in report.why.reason
    record(store, report)
    row = run_sql(store, "SELECT * FROM comparisons")[0]
    assert (row["comparison_id"], row["split_fp"] is not None) == (report.comparison_id, True)
    delta = report.rows[0].difference.delta
    assert delta is not None
    why = {
        "metric": "accuracy",
        "shares": [
            {"component": "label.model", "delta": delta, "low": None, "high": None},
            {"component": "route", "delta": 0.0, "low": None, "high": None},
        ],
        "n_new_calls": 12,
        "reason": None,
    }
    values = orjson.loads(row["report_json"]) | {"why": why}
    later = {**row, "report_json": orjson.dumps(values).decode(), "ts": NOW + timedelta(hours=1)}
    store.append("comparisons", {name: [value] for name, value in later.items()})
    assert [share.component for share in compared(store, folder).why.shares] == ["label.model", "route"]


def test_many_flips_are_counted_and_some_read(make_project: MakeProject, store: TraceStore) -> None:
    folder = made(make_project)
    store_answers(store, folder, "champion", answers(60, *range(30)))
    store_answers(store, folder, "candidate", answers(60, *range(30, 40)))
    report = compared(store, folder, most_flips=4)
    assert (report.n_fixed, report.n_broke, len(report.flips), report.flips_left_out) == (30, 10, 8, 32)
    assert [flip.kind for flip in report.flips] == ["broke"] * 4 + ["fixed"] * 4
    assert report.flips == compared(store, folder, most_flips=4).flips


def test_numbers_become_quartiles_and_rare_values_one_slice() -> None:
    from labelproof.report.compare.metadata import MOST_VALUES, _grouped

    numbers = [str(i) for i in range(40)]
    assert len(set(_grouped(numbers, np.arange(40)))) == 4
    texts = [f"t{i}" for i in range(30)]
    codes = np.concatenate([np.arange(30), np.arange(5)])
    names = _grouped(texts, codes)
    assert len(set(names)) == MOST_VALUES
    assert names[:5] == texts[:5]
    assert names.count("(other)") == 30 - (MOST_VALUES - 1)


def test_unknown_answers_say_what_to_run(make_project: MakeProject, store: TraceStore) -> None:
    folder = made(make_project)
    store_answers(store, folder, "champion", answers(60))
    with pytest.raises(ConfigError, match="no stored answers") as caught:
        compared(store, folder)
    assert caught.value.hint == "labelproof run mini --strategy candidate"
