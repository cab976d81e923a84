"""Every number of a comparison against what can be counted by hand, and against the SQL printed beside it."""

from __future__ import annotations

from pathlib import Path

import pytest

from labelproof.report.compare.model import CompareReport
from labelproof.store import TraceStore, open_store
from tests.conftest import MakeProject
from tests.report.compare_project import Said, compared, row_of, run_sql, store_answers, two_strategies

NAMES = ("safe", "hate", "spam")
N = 60
GOLD = [(i, NAMES[i % 3], "test") for i in range(N)]


def truth(i: int) -> str:
    return NAMES[i % 3]


def wrong(i: int) -> str:
    return NAMES[(i + 1) % 3]


def a_says(i: int) -> Said:
    """Wrong on 0-9; fails on 59; accepts right answers from 30 on."""
    if i == 59:
        return Said(label=None, confidence=None, cost_usd=0.002, latency_ms=50.0)
    return Said(
        label=wrong(i) if i < 10 else truth(i),
        accepted=i >= 30,
        confidence=0.6 + 0.3 * (i >= 10),
        cost_usd=0.002,
    )


def b_says(i: int) -> Said:
    """Wrong on 8-11: fixes 0-7, breaks 10 and 11; answers 59 rightly."""
    return Said(
        label=wrong(i) if 8 <= i < 12 else truth(i), accepted=i >= 20, confidence=0.95, cost_usd=0.001
    )


@pytest.fixture
def folder(make_project: MakeProject) -> Path:
    policy = (
        "primary: accuracy, secondary: [macro_f1, 'precision:hate', auto_accuracy],"
        " guardrails: [{metric: 'recall:spam', margin: 0.1}, {metric: failed_rate, margin: 0.05}]"
    )
    return two_strategies(make_project, GOLD, n_items=N, experiments=policy)


@pytest.fixture
def store(tmp_path: Path, folder: Path) -> TraceStore:
    opened = open_store(tmp_path / "store")
    store_answers(opened, folder, "champion", {i: a_says(i) for i in range(N)})
    store_answers(opened, folder, "candidate", {i: b_says(i) for i in range(N)})
    store_answers(
        opened,
        folder,
        "champion",
        {i: wrong(i) if i in (10, 40) else a_says(i).label for i in range(10, 50)},
        repeat=1,
    )
    return opened


@pytest.fixture
def report(store: TraceStore, folder: Path) -> CompareReport:
    return compared(store, folder)


def test_every_row_is_what_can_be_counted(report: CompareReport) -> None:
    accuracy = row_of(report, "accuracy").difference
    assert (accuracy.value_a, accuracy.value_b) == (49 / 60, 56 / 60)
    assert (accuracy.n_a_only, accuracy.n_b_only, accuracy.n) == (2, 9, 60)
    assert row_of(report, "failed_rate").difference.value_a == pytest.approx(1 / 60)
    assert row_of(report, "failed_rate").difference.value_b == 0
    # spam is i % 3 == 2: A is wrong on 2, 5, 8 and fails on 59; B is wrong on 8 and 11.
    spam = row_of(report, "recall:spam").difference
    assert (spam.value_a, spam.value_b, spam.n) == (16 / 20, 18 / 20, 20)
    # A says hate for safe items 0, 3, 6, 9 and rightly for hate items 10, 13, ... 58 (17); B for safe item 9 and all hate items but 10 (19).
    hate = row_of(report, "precision:hate").difference
    assert (hate.value_a, hate.value_b) == (pytest.approx(17 / 21), pytest.approx(19 / 20))
    auto = row_of(report, "auto_accept_rate").difference
    assert (auto.value_a, auto.value_b) == (29 / 60, 40 / 60)
    assert row_of(report, "auto_accuracy").difference.value_a == 1
    assert row_of(report, "cost_per_1k_usd").difference.value_b == pytest.approx(1.0)
    assert row_of(report, "latency_ms").difference.value_a == pytest.approx((59 * 100 + 50) / 60)


def test_rows_stand_in_the_order_of_their_roles(report: CompareReport) -> None:
    assert [(row.role, row.difference.metric) for row in report.rows] == [
        ("primary", "accuracy"),
        ("guardrail", "recall:spam"),
        ("guardrail", "failed_rate"),
        ("secondary", "macro_f1"),
        ("secondary", "precision:hate"),
        ("secondary", "auto_accuracy"),
        ("info", "auto_accept_rate"),
        ("info", "cost_per_1k_usd"),
        ("info", "latency_ms"),
    ]


def test_the_sql_beside_each_row_gives_its_values(report: CompareReport, store: TraceStore) -> None:
    for row in report.rows:
        found = run_sql(store, row.sql)[0]
        difference = row.difference
        assert found["value_a"] == pytest.approx(difference.value_a, abs=1e-12), difference.metric
        assert found["value_b"] == pytest.approx(difference.value_b, abs=1e-12), difference.metric
        assert found["n"] == difference.n, difference.metric


def test_the_sql_of_each_panel_gives_its_numbers(report: CompareReport, store: TraceStore) -> None:
    flips = {row["kind"]: row["n"] for row in run_sql(store, report.sql["flips"])}
    assert flips == {"fixed": 9, "broke": 2}
    assert (report.n_fixed, report.n_broke, report.n_both_wrong) == (9, 2, 0)
    assert run_sql(store, report.sql["rerun"]) == [{"n": 40, "n_changed": 2}]
    assert (report.rerun.n, report.rerun.n_changed, report.rerun.expected_on_all) == (40, 2, 3.0)
    balance = run_sql(store, report.sql["balance"])[0]
    assert balance == {"n_wanted": 60, "n_both": 60, "n_only_a": 0, "n_only_b": 0}
    assert report.balance.n_both == 60
    slices = {row["slice"]: row for row in run_sql(store, report.sql["slices"])}
    for row in report.slices:
        assert slices[row.value]["accuracy_a"] == pytest.approx(row.difference.value_a)
        assert slices[row.value]["n"] == row.difference.n
    assert run_sql(store, report.sql["cost"])[0]["ratio"] == pytest.approx(0.5)
    curve = run_sql(store, report.sql["curves"])
    assert report.curves_a is not None
    assert sum(row["n"] for row in curve) == sum(one.accuracy.n for one in report.curves_a.reliability) == 59


def test_flips_say_what_each_side_said(report: CompareReport) -> None:
    assert [flip.kind for flip in report.flips] == ["broke"] * 2 + ["fixed"] * 9
    broke = {flip.external_id: flip for flip in report.flips if flip.kind == "broke"}
    assert set(broke) == {"m10", "m11"}
    ten = broke["m10"]
    assert (ten.gold, ten.label_a, ten.label_b) == ("hate", "hate", "spam")
    assert ten.confidence_a == pytest.approx(0.9)
    assert (ten.confidence_b, ten.decision_a, ten.decision_b) == (0.95, "review", "review")
    assert ten.stability == "unstable"
    assert broke["m11"].stability == "stable"
    assert ten.excerpt == "text number 10 for the reader"
    failed = next(flip for flip in report.flips if flip.external_id == "m59")
    assert (failed.label_a, failed.decision_a, failed.kind, failed.stability) == (
        None,
        "failed",
        "fixed",
        "unknown",
    )


def test_slices_are_by_the_projects_metadata_and_corrected_together(report: CompareReport) -> None:
    assert [(row.key, row.value, row.difference.n, row.small) for row in report.slices] == [
        ("lang", "a", 30, False),
        ("lang", "b", 30, False),
    ]
    p_values = sorted(row.difference.p_value or 0 for row in report.slices)
    assert max(row.q_value or 0 for row in report.slices) == pytest.approx(min(1, p_values[1]))


def test_secondary_metrics_are_corrected_by_holm_and_the_primary_over_the_arms(
    report: CompareReport, store: TraceStore, folder: Path
) -> None:
    seconds = [row for row in report.rows if row.role == "secondary"]
    p_values = [row.difference.p_value for row in seconds if row.difference.p_value is not None]
    smallest = next(row for row in seconds if row.difference.p_value == min(p_values))
    assert smallest.p_holm == pytest.approx(min(1, len(p_values) * min(p_values)))
    alone = report.rows[0]
    assert alone.difference.p_value is not None
    assert alone.p_holm == alone.difference.p_value
    family = compared(store, folder, p_family=[0.9, 0.8]).rows[0]
    assert family.p_holm == pytest.approx(min(1, 3 * alone.difference.p_value))


def test_the_strategies_change_and_the_only_change_has_all_of_the_difference(report: CompareReport) -> None:
    assert [change.name for change in report.changes if change.state != "same"] == ["label"]
    assert [share.component for share in report.why.shares] == ["label.model"]
    assert sum(share.delta for share in report.why.shares) == pytest.approx(report.rows[0].difference.delta)
    assert report.why.n_new_calls == 0


def test_both_looks_at_the_gold_are_stored_once(
    report: CompareReport, store: TraceStore, folder: Path
) -> None:
    assert report.n_looks == 2
    assert compared(store, folder).n_looks == 2
    looks = run_sql(store, "SELECT strategy, purpose, split FROM gold_looks ORDER BY strategy")
    assert looks == [
        {"strategy": "candidate", "purpose": "score", "split": "test"},
        {"strategy": "champion", "purpose": "score", "split": "test"},
    ]
