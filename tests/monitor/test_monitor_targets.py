"""Each target's number equals a count by hand, and its state follows the rules: met, breached, not yet provable, unknown."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from evaluation.intervals import wilson
from labelproof.report.monitor.alarms import step
from labelproof.report.monitor.metrics import Window
from labelproof.report.monitor.model import Measurement, measurement_rows
from labelproof.report.monitor.streams import epoch_start
from labelproof.report.monitor.targets import measure_metric, measure_targets, measure_volume
from labelproof.report.quality import quality_report
from labelproof.spec.errors import ConfigError
from labelproof.spec.project import ProjectFolder
from labelproof.store import TraceStore, open_store
from tests.monitor.monitor_world import START, checks, day, hours, watched_project, work


@pytest.fixture
def store(tmp_path: Path) -> Iterator[TraceStore]:
    with open_store(tmp_path / "store") as opened:
        yield opened


def promised(tmp_path: Path, *targets: str, monitoring: str = "") -> ProjectFolder:
    return watched_project(tmp_path / "mini", targets, monitoring=monitoring)


def one(store: TraceStore, folder: ProjectFolder, at: float) -> Measurement:
    (found,) = measure_targets(store, folder, now=day(at))
    return found


def look(store: TraceStore, folder: ProjectFolder, at: float) -> Measurement:
    """Measure, store, and let alarms follow, as a pass does."""
    found = measure_targets(store, folder, now=day(at))
    store.append("measurements", measurement_rows(folder.name, found, day(at)))
    step(store, folder, found, now=day(at))
    return found[0]


# --- numbers -----------------------------------------------------------------------------------


def test_auto_accuracy_is_what_quality_says_of_the_same_days(store: TraceStore, tmp_path: Path) -> None:
    folder = promised(tmp_path, "metric: auto_accuracy, at_least: 0.9")
    for n in range(10):
        work(store, n, error=0.1 if n < 2 else 0.05, seed=3)
    found = one(store, folder, 9.5)
    asked = quality_report(store, folder, since=day(2.5), until=day(9.5), void_certificates=False)
    assert asked.quality is not None
    right = asked.quality.correct
    assert (found.value, found.low, found.high, found.n) == (right.value, right.low, right.high, right.n)
    assert found.n == 7 * 32
    assert (found.window_from, found.window_to, found.strategy_fp) == (day(2.5), day(9.5), "b2:s1")
    assert len(store.query(found.sql, fresh=True)) == 7 * 320


def test_shares_cost_and_throughput_are_counts_of_the_window(store: TraceStore, tmp_path: Path) -> None:
    folder = promised(
        tmp_path,
        "metric: coverage, at_least: 0.7",
        "metric: failed_rate, at_most: 0.05",
        "metric: cost_per_1000, at_most: 3",
        "metric: throughput_per_hour, at_least: 10",
    )
    work(store, 0, n=100, auto=0.5, failed=0.5, cost=9.0)  # before the window
    work(store, 8, n=300, auto=0.8, failed=0.02, cost=0.002, hours_of_run=2)
    work(store, 9, n=100, auto=0.6, failed=0.02, cost=0.004, hours_of_run=1)
    coverage, failed, cost, speed = measure_targets(store, folder, now=day(10))
    assert coverage.value == 300 / 400
    assert (coverage.low, coverage.high) == (wilson(300, 400).low, wilson(300, 400).high)
    assert failed.value == 8 / 400
    assert cost.value == pytest.approx(1000 * (300 * 0.002 + 100 * 0.004) / 400)
    assert (cost.low, cost.high) == (cost.value, cost.value)
    assert speed.value == pytest.approx(400 / 3)
    assert (coverage.state, failed.state, cost.state, speed.state) == ("met", "met", "met", "met")
    volume = measure_volume(Window(store=store, folder=folder, since=day(3), until=day(10)))
    assert (volume.value, volume.state) == (400.0, "quiet")


def test_runs_side_by_side_count_their_hours_once_and_a_killed_one_to_its_last_decision(
    store: TraceStore, tmp_path: Path
) -> None:
    folder = promised(tmp_path, "metric: throughput_per_hour, at_least: 10")
    work(store, 1, n=100, hours_of_run=2)
    work(store, 1, n=100, hours_of_run=2, seed=1)
    run: dict[str, Sequence[Any]] = {
        "run_id": ["killed"],
        "event": ["started"],
        "project": ["mini"],
        "strategy": ["champion"],
        "ts": [day(2)],
    }
    made: dict[str, Sequence[Any]] = {
        "run_id": ["killed"] * 2,
        "item_id": ["b2:a", "b2:b"],
        "decision": ["review"] * 2,
    }
    store.append_many(
        {"runs": run, "decisions": {**made, "strategy_fp": ["b2:s1"] * 2, "ts": [day(2), day(2) + hours(1)]}}
    )
    found = one(store, folder, 3)
    assert found.value == pytest.approx(202 / 3)
    assert found.detail["hours"] == pytest.approx(3)


def test_only_production_counts(store: TraceStore, tmp_path: Path) -> None:
    folder = promised(tmp_path, "metric: coverage, at_least: 0.5")
    work(store, 1, n=100, auto=0.8)
    others: tuple[dict[str, Any], ...] = (
        {"strategy": "candidate"},
        {"repeat_idx": 1},
        {"params_json": '{"arm": ["x", "a"]}'},
        {"project": "other"},
    )
    for i, more in enumerate(others):
        run = {"run_id": f"other{i}", "event": "started", "project": "mini", "strategy": "champion", **more}
        store.append("runs", {**{name: [value] for name, value in run.items()}, "ts": [day(1)]})
        made = {"run_id": f"other{i}", "item_id": f"b2:o{i}", "strategy_fp": "b2:x", "decision": "failed"}
        store.append("decisions", {**{name: [value] for name, value in made.items()}, "ts": [day(1)]})
    found = one(store, folder, 2)
    assert (found.value, found.n) == (0.8, 100)


def test_a_canarys_share_is_production(store: TraceStore, tmp_path: Path) -> None:
    folder = promised(tmp_path, "metric: coverage, at_least: 0.5")
    work(store, 1, n=100, auto=0.8)
    run = {"run_id": "canary", "event": "started", "project": "mini", "strategy": "candidate"}
    made = {"run_id": "canary", "item_id": "b2:u", "strategy_fp": "b2:new", "decision": "review"}
    offered = {"rollout_id": "r", "project": "mini", "event": "canary", "fp_to": "b2:new"}
    unit = {"rollout_id": "r", "item_id": "b2:u", "arm": "candidate"}
    for table, row in (("runs", run), ("decisions", made), ("rollouts", offered), ("rollout_units", unit)):
        store.append(table, {**{name: [value] for name, value in row.items()}, "ts": [day(1)]})
    found = one(store, folder, 2)
    assert (found.value, found.n, found.strategy_fp) == (80 / 101, 101, None)


def test_the_age_is_the_95th_percentile_of_what_waits(store: TraceStore, tmp_path: Path) -> None:
    folder = promised(tmp_path, "metric: review_age_hours, at_most: 24")
    assert (one(store, folder, 1).value, one(store, folder, 1).state) == (0.0, "met")
    n = 41
    store.append(
        "review_tasks",
        {
            "task_id": [f"t{i}" for i in range(n)],
            "project": ["mini"] * n,
            "kind": ["routed"] * n,
            "item_id": [f"b2:{i}" for i in range(n)],
            "votes_wanted": [1] * n,
            "ts": [day(2) - hours(i) for i in range(n)],
        },
    )
    found = one(store, folder, 2)
    assert found.value == pytest.approx(38)
    assert found.state == "breached"  # more than half again as long as promised
    assert found.n == n


def test_an_unknown_price_is_no_cost_of_zero(store: TraceStore, tmp_path: Path) -> None:
    folder = promised(tmp_path, "metric: cost_per_1000, at_most: 3")
    work(store, 1, n=10, cost=0.001)
    work(store, 2, n=10, cost=None)
    found = one(store, folder, 3)
    assert (found.value, found.state) == (None, "unknown")
    assert "10 of 20 decisions have no known price" in found.reason


def test_recall_comes_from_audits_else_from_gold_and_says_so(store: TraceStore, tmp_path: Path) -> None:
    folder = promised(tmp_path, "metric: 'recall:hate', at_least: 0.8")
    work(store, 1, audit=0, seed=1)
    found = one(store, folder, 2)
    assert (found.value, found.state) == (None, "unknown")
    score = {
        "run_id": "r",
        "strategy_fp": "b2:s1",
        "split": "test",
        "slice": "class=hate",
        "metric": "recall",
        "value": 0.95,
        "low": 0.9,
        "high": 0.98,
        "n": 200,
    }
    store.append("scores", {**{name: [value] for name, value in score.items()}, "ts": [day(1)]})
    found = one(store, folder, 2)
    assert (found.value, found.low, found.n, found.state) == (0.95, 0.9, 200, "met")
    assert "gold test split" in found.method
    work(store, 3, n=2000, error=0.03, seed=2)
    audited = one(store, folder, 4)
    assert "audits" in audited.method
    assert audited.detail["source"] == "audits"
    assert audited.value is not None
    assert audited.value == pytest.approx(0.97, abs=0.03)


def test_agreement_is_alpha_of_tasks_with_two_votes(store: TraceStore, tmp_path: Path) -> None:
    import krippendorff

    folder = promised(tmp_path, "metric: agreement, at_least: 0.4")
    votes = [("safe", "safe"), ("hate", "hate"), ("safe", "hate"), ("spam", "spam"), ("hate", "hate")] * 12
    _tasks(store, votes, at=1)
    found = one(store, folder, 2)
    codes = {"safe": 0, "hate": 1, "spam": 2}
    expected = krippendorff.alpha(
        reliability_data=list(zip(*[[codes[a] for a in pair] for pair in votes], strict=True)),
        level_of_measurement="nominal",
    )
    assert found.value == pytest.approx(expected)
    assert (found.n, found.state) == (60, "met")


# --- states ------------------------------------------------------------------------------------


def test_a_rate_is_breached_by_evidence_and_recovers_by_proof(store: TraceStore, tmp_path: Path) -> None:
    folder = promised(tmp_path, "metric: auto_accuracy, at_least: 0.9")
    states = []
    for n in range(24):
        work(store, n, n=800, error=0.25 if 8 <= n < 12 else 0.02, seed=n)
        store.drain_all()
        states.append(look(store, folder, n + 0.9).state)
    assert "breached" not in states[:8]
    first = states.index("breached")
    assert 8 <= first <= 10
    assert states[-1] == "met"
    over = len(states) - states[::-1].index("breached")
    assert 12 <= over <= 16  # the work since the alarm proves it before the bad days have left the window
    assert set(states[first:over]) == {"breached"}
    events = store.query("SELECT event FROM alarms WHERE event <> 'escalated' ORDER BY ts", fresh=True)
    assert events["event"].to_pylist() == ["breached", "recovered"]


def test_the_day_of_the_change_is_named(store: TraceStore, tmp_path: Path) -> None:
    folder = promised(tmp_path, "metric: auto_accuracy, at_least: 0.9")
    for n in range(12):
        work(store, n, n=800, error=0.3 if n >= 8 else 0.02, seed=n)
    found = one(store, folder, 12)
    assert found.state == "breached"
    assert found.change_from == day(8)


def test_a_few_bad_audits_are_no_breach(store: TraceStore, tmp_path: Path) -> None:
    folder = promised(tmp_path, "metric: auto_accuracy, at_least: 0.95")
    work(store, 1, n=100, error=0.25)  # two of eight
    found = one(store, folder, 2)
    assert found.value is not None
    assert found.value < 0.95
    assert found.state == "not yet provable"
    assert found.evidence_needed == pytest.approx(20)
    assert found.evidence is not None
    assert found.evidence < 20


def test_each_rate_gets_its_share_of_the_false_alarms(store: TraceStore, tmp_path: Path) -> None:
    folder = promised(
        tmp_path,
        "metric: coverage, at_least: 0.5",
        "metric: failed_rate, at_most: 0.5",
        "metric: cost_per_1000, at_most: 30",
        monitoring="delta: 0.1",
    )
    work(store, 1)
    coverage, failed, cost = measure_targets(store, folder, now=day(2))
    assert coverage.evidence_needed == pytest.approx(20)
    assert failed.evidence_needed == pytest.approx(20)
    assert cost.evidence_needed is None


def test_disputed_audits_keep_a_promise_from_being_met(store: TraceStore, tmp_path: Path) -> None:
    folder = promised(tmp_path, "metric: auto_accuracy, at_least: 0.95")
    ids = work(store, 1, n=4000, error=0.01)
    assert one(store, folder, 2).state == "met"
    drawn = ids[::10][:60]
    n = len(drawn)
    store.append(
        "votes",
        {
            "vote_id": [f"late {i}" for i in drawn],
            "project": ["mini"] * n,
            "task_id": [f"audit-{i}" for i in drawn],
            "item_id": drawn,
            "annotator": ["bob"] * n,
            "role": ["reviewer"] * n,
            "answer": ["unclear"] * n,
            "ts": [day(1.9)] * n,
        },
    )
    found = one(store, folder, 2)
    assert found.detail["disputed"] == n
    assert found.state == "not yet provable"
    assert "if every disputed audit were wrong" in found.reason


def test_one_bad_reviewer_among_good_ones_is_found(store: TraceStore, tmp_path: Path) -> None:
    folder = promised(tmp_path, "metric: reviewer_accuracy, at_least: 0.85")
    for n in range(12):
        good = (10, 10)
        checks(store, n, {"a": good, "b": good, "c": good, "d": good, "e": good if n < 6 else (5, 10)})
    found = one(store, folder, 12)
    assert found.value is not None
    assert found.value > 0.85  # all together keep the promise
    assert found.state == "breached"
    assert "1 of 5 reviewers lie below it" in found.reason
    assert found.reason.endswith("the lowest at 40 of 70")
    assert found.change_from == day(6)


def test_a_cost_must_be_too_high_for_an_hour(store: TraceStore, tmp_path: Path) -> None:
    folder = promised(tmp_path, "metric: cost_per_1000, at_most: 2")
    work(store, 0, n=100, cost=0.0024)
    minute = 1 / 24 / 60
    assert look(store, folder, 1).state == "not yet provable"
    assert look(store, folder, 1 + 30 * minute).state == "not yet provable"
    assert look(store, folder, 1 + 61 * minute).state == "breached"
    work(store, 1.05, n=900, cost=0.001)
    assert look(store, folder, 1.1).state == "breached"  # well, but for one look only
    assert look(store, folder, 1.1 + 61 * minute).state == "met"


def test_a_cost_half_again_too_high_is_breached_at_once(store: TraceStore, tmp_path: Path) -> None:
    folder = promised(tmp_path, "metric: cost_per_1000, at_most: 2")
    work(store, 0, n=100, cost=0.0031)
    assert look(store, folder, 1).state == "breached"


def test_epochs_follow_each_other_and_do_not_slide() -> None:
    assert epoch_start(START, day(179.9)) == START
    assert epoch_start(START, day(180)) == day(180)
    assert epoch_start(START, day(500)) == day(360)
    assert epoch_start(day(3), day(1)) == day(3)


def test_nothing_stored_is_unknown_with_a_reason(store: TraceStore, tmp_path: Path) -> None:
    metrics = ("auto_accuracy", "coverage", "agreement", "reviewer_accuracy", "throughput_per_hour")
    folder = promised(tmp_path, *(f"metric: {name}, at_least: 0.5" for name in metrics))
    for found in measure_targets(store, folder, now=START):
        assert (found.value, found.state) == (None, "unknown")
        assert found.reason.startswith("cannot be told")
    assert measure_targets(store, watched_project(tmp_path / "none", ()), now=START) == ()


def test_a_metric_can_be_asked_of_any_time(store: TraceStore, tmp_path: Path) -> None:
    folder = promised(tmp_path, "metric: coverage, at_least: 0.7")
    work(store, 0, n=100, auto=0.5)
    work(store, 3, n=1000, auto=0.8)
    early = measure_metric(store, folder, "coverage", since=day(0), until=day(1))
    late = measure_metric(store, folder, "coverage", since=day(3), until=day(4))
    assert (early.value, early.state, late.value, late.state) == (0.5, "not yet provable", 0.8, "met")
    unpromised = measure_metric(store, folder, "failed_rate", since=day(3), until=day(4))
    assert (unpromised.value, unpromised.state, unpromised.bound) == (0.0, "quiet", None)
    for wrong in ("speed", "recall", "coverage:hate"):
        with pytest.raises(ConfigError, match="unknown metric"):
            measure_metric(store, folder, wrong, since=day(0), until=day(1))


def test_every_number_can_be_asked_again_by_its_query(store: TraceStore, tmp_path: Path) -> None:
    folder = promised(
        tmp_path,
        "metric: coverage, at_least: 0.7",
        "metric: cost_per_1000, at_most: 3",
        "metric: throughput_per_hour, at_least: 3",
        "metric: review_age_hours, at_most: 30",
    )
    work(store, 1, n=50)
    coverage, cost, speed, age = measure_targets(store, folder, now=day(2) + timedelta(hours=1))
    (row,) = store.query(coverage.sql, fresh=True).to_pylist()
    assert coverage.value == row["auto_accepted"] / row["decided"]
    assert cost.value == row["cost_per_1000"]
    (row,) = store.query(speed.sql, fresh=True).to_pylist()
    assert speed.value == row["decided"] / row["hours"]
    (row,) = store.query(age.sql, fresh=True).to_pylist()
    assert (age.value, row["p95_hours"]) == (0.0, None)


def _tasks(store: TraceStore, votes: Sequence[tuple[str, str]], *, at: float) -> None:
    ids = [f"t{i}" for i in range(len(votes))]
    n = len(ids)
    store.append(
        "review_tasks",
        {
            "task_id": ids,
            "project": ["mini"] * n,
            "kind": ["routed"] * n,
            "item_id": ids,
            "blind": [True] * n,
            "votes_wanted": [2] * n,
            "ts": [day(at)] * n,
        },
    )
    for place, who in enumerate(("ann", "bob")):
        store.append(
            "votes",
            {
                "vote_id": [f"{who} {i}" for i in ids],
                "project": ["mini"] * n,
                "task_id": ids,
                "item_id": ids,
                "annotator": [who] * n,
                "role": ["reviewer"] * n,
                "answer": ["label"] * n,
                "label": [pair[place] for pair in votes],
                "ts": [day(at) + hours(1)] * n,
            },
        )


def test_audits_that_people_answer_after_the_window_still_alarm(store: TraceStore, tmp_path: Path) -> None:
    """Reviewers two weeks behind, a window of one: nothing in the window is settled, and all that is settled is bad."""
    folder = watched_project(tmp_path / "mini", ["metric: auto_accuracy, at_least: 0.95"])
    for i in range(6):
        work(store, i, n=600, error=0.3, seed=i, settle_after=14 * 24)
    work(store, 19, n=600, error=0.3, seed=19, settle_after=None)
    (found,) = measure_targets(store, folder, now=day(20))
    assert found.state == "breached"
    assert found.value == pytest.approx(0.7, abs=0.02)
    assert found.window_from is not None
    assert found.window_from < day(13)


def test_an_old_score_of_gold_ends_no_alarm(store: TraceStore, tmp_path: Path) -> None:
    """No audit in the window: recall falls back to gold that was scored before the breach, which says nothing of it."""
    folder = watched_project(tmp_path / "mini", ['metric: "recall:hate", at_least: 0.9'])
    for i in range(4):
        work(store, i, n=900, error=0.5, seed=i)
    scored: dict[str, list[Any]] = {
        "strategy_fp": ["b2:s1"],
        "split": ["test"],
        "metric": ["recall"],
        "slice": ["class=hate"],
        "value": [0.99],
        "low": [0.95],
        "high": [1.0],
        "n": [200],
        "gold_fp": ["b2:g"],
        "ts": [day(0)],
    }
    store.append("scores", scored)
    found = measure_targets(store, folder, now=day(4))
    assert found[0].state == "breached"
    step(store, folder, found, now=day(4))
    work(store, 15, n=300, audit=0.0)
    (later,) = measure_targets(store, folder, now=day(16))
    assert later.state == "breached"
    store.append("scores", {**scored, "ts": [day(17)]})
    assert measure_targets(store, folder, now=day(18))[0].state == "not yet provable"
