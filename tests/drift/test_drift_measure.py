"""What the monitor is told of a project's days: what moved, since when, which items to look at, and how it ends."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from labelproof.report.drift.batches import MIN_ITEMS, batches_of
from labelproof.report.drift.measure import EVENTS, measure_drift
from labelproof.report.drift.read import Traffic, day_start
from labelproof.report.monitor.model import Measurement, measurement_rows
from labelproof.spec.monitoring import DRIFT_KINDS
from labelproof.spec.project import ProjectFolder, find_project
from labelproof.store import TraceStore, open_store
from tests.drift.drift_world import START, Day, drift_project, end_of, write_days

USUAL = Day()
KINDS = ["label_mix", "confidence", "text", "language", "length", "provider", "manipulation", "strategy"]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[TraceStore]:
    with open_store(tmp_path / "store") as opened:
        yield opened


@pytest.fixture
def folder(tmp_path: Path) -> ProjectFolder:
    return drift_project(tmp_path / "project")


def seen(store: TraceStore, folder: ProjectFolder, day: int) -> Mapping[str, Measurement]:
    return {one.subject: one for one in measure_drift(store, folder, now=end_of(day))}


def states(found: Mapping[str, Measurement]) -> dict[str, str]:
    return {kind: one.state for kind, one in found.items()}


def test_nothing_is_said_before_there_is_enough(store: TraceStore, folder: ProjectFolder) -> None:
    empty = seen(store, folder, 0)
    assert list(empty) == KINDS == list(DRIFT_KINDS)
    assert {one.reason for one in empty.values()} == {"nothing has been decided yet"}
    write_days(store, [USUAL] * 5)
    young = seen(store, folder, 4)
    assert states(young) == {**dict.fromkeys(KINDS, "unknown"), "provider": "quiet", "strategy": "quiet"}
    assert (
        young["text"].reason == f"too little to compare: 5 of 8 days with at least {MIN_ITEMS} new items each"
    )
    assert "of this strategy version" in young["label_mix"].reason
    assert young["label_mix"].value is None


def test_usual_days_are_quiet_and_every_query_can_be_run(store: TraceStore, folder: ProjectFolder) -> None:
    write_days(store, [USUAL] * 20)
    found = seen(store, folder, 19)
    assert set(states(found).values()) == {"quiet"}
    for kind, one in found.items():
        assert store.query(one.sql, fresh=True).num_rows > 0, kind
        if kind not in EVENTS:
            assert one.evidence is not None
            assert one.evidence_needed == 6 * 365
            assert one.low is not None
            assert one.value is not None
            assert one.high is not None
            assert one.low <= one.value <= one.high
    days = store.query(found["label_mix"].sql, fresh=True).to_pylist()
    assert sum(row["n"] for row in days) == 20 * 120
    store.append("measurements", measurement_rows("mini", list(found.values()), end_of(19)))
    again = store.query("SELECT count(*) AS n FROM current_measurements WHERE kind = 'drift'", fresh=True)
    assert again.to_pylist() == [{"n": 8}]


def test_each_shift_is_found_by_its_kind_alone(store: TraceStore, folder: ProjectFolder) -> None:
    shifts = {
        "label_mix": Day(labels={"safe": 0.2, "hate": 0.7, "spam": 0.1}),
        "confidence": Day(sure=1.5),
        "length": Day(words=30),
        "provider": Day(mark="fp_2"),
        "manipulation": Day(attacks=0.15),
    }
    for number, (kind, day) in enumerate(shifts.items()):
        name = f"p{number}"
        project = drift_project(folder.folder.parent / name, name=name)
        write_days(store, [USUAL] * 14, project=name, seed=number)
        write_days(store, [day] * 2, first=14, project=name, seed=number)
        found = seen(store, project, 15)
        beside = {"text"} if kind == "length" else set()  # longer texts are other texts too
        alarmed = {name for name, state in states(found).items() if state == "alarm"}
        assert kind in alarmed
        assert alarmed <= {kind} | beside
        since = found[kind].change_from
        assert since is not None
        assert since.date() == day_start(0).date() + timedelta(days=(START - day_start(0)).days + 14)


def test_other_languages_are_found_by_language_and_text_with_items_to_look_at(
    store: TraceStore, folder: ProjectFolder
) -> None:
    write_days(store, [USUAL] * 14)
    write_days(store, [Day(spanish=0.4)] * 2, first=14)
    found = seen(store, folder, 15)
    language, text = found["language"], found["text"]
    assert (language.state, text.state) == ("alarm", "alarm")
    assert "languages changed from 2026-03-16 on" in language.reason
    assert "guessed" in language.detail["about"]
    assert {row["name"] for row in language.detail["moved"]} >= {"en", "es"}
    assert language.value == pytest.approx(0.4, abs=0.12)
    assert text.value is not None
    assert text.value > 0.6
    assert any("texts with '" in row["name"] for row in text.detail["moved"])
    items = [*language.detail["items"], *text.detail["items"]]
    given = store.query(
        "SELECT count(*) AS n FROM items WHERE item_id IN (SELECT unnest($ids)) AND ts >= $first",
        {"ids": items, "first": end_of(13)},
        fresh=True,
    ).to_pylist()
    assert given == [{"n": len(set(items))}]


def test_a_wave_of_attacks_names_its_items_and_is_unknown_where_nobody_looks_for_them(
    store: TraceStore, folder: ProjectFolder
) -> None:
    write_days(store, [Day(attacks=0.02)] * 14)
    write_days(store, [Day(attacks=0.2)] * 2, first=14)
    found = seen(store, folder, 15)["manipulation"]
    assert found.state == "alarm"
    assert "items that try to steer the model rose from" in found.reason
    asked = "SELECT DISTINCT reason FROM decisions WHERE item_id IN (SELECT unnest($ids))"
    reasons = store.query(asked, {"ids": found.detail["items"]}, fresh=True).to_pylist()
    assert reasons == [{"reason": "manipulation: instructions"}]
    path = folder.folder / "project.yaml"
    path.write_text(path.read_text() + "routing: {review_manipulation: false}\n")
    off = {one.subject: one for one in measure_drift(store, find_project(str(folder.folder)), now=end_of(15))}
    assert off["manipulation"].state == "unknown"
    assert "review_manipulation" in off["manipulation"].reason


def test_a_language_column_is_used_over_all_items(store: TraceStore, folder: ProjectFolder) -> None:
    write_days(store, [USUAL] * 14, language_column=True)
    write_days(store, [Day(spanish=0.3)], first=14, language_column=True)
    found = seen(store, folder, 14)["language"]
    assert found.state == "alarm"
    assert found.detail["about"] == "`language`"
    assert sum(row["n"] for row in store.query(found.sql, fresh=True).to_pylist()) == 15 * 120


def test_a_new_version_starts_anew_what_it_decides_and_keeps_what_comes(
    store: TraceStore, folder: ProjectFolder
) -> None:
    write_days(store, [USUAL] * 14)
    other = Day(version="b2:v2", labels={"safe": 0.3, "hate": 0.6, "spam": 0.1}, sure=2, mark="fp_2")
    write_days(store, [other] * 9, first=14)
    assert seen(store, folder, 13)["label_mix"].strategy_fp == "b2:v1"
    found = seen(store, folder, 16)
    assert states(found) == {
        "label_mix": "unknown",
        "confidence": "unknown",
        "text": "quiet",
        "language": "quiet",
        "length": "quiet",
        "provider": "quiet",
        "manipulation": "quiet",
        "strategy": "alarm",
    }
    assert seen(store, folder, 22)["label_mix"].state == "quiet"
    assert seen(store, folder, 22)["label_mix"].strategy_fp == "b2:v2"


def test_a_version_that_nobody_answered_for_alarms_until_somebody_does_or_it_is_old(
    store: TraceStore, folder: ProjectFolder
) -> None:
    write_days(store, [USUAL] * 10)
    first = seen(store, folder, 9)["strategy"]
    assert (first.state, first.value) == ("quiet", 1.0)
    write_days(store, [Day(version="b2:v2")] * 9, first=10)
    found = seen(store, folder, 11)["strategy"]
    assert (found.state, found.level, found.strategy_fp) == ("alarm", "minor", "b2:v2")
    assert found.value == pytest.approx(2 / 7, abs=0.01)
    assert found.change_from is not None
    assert found.change_from.date() == end_of(9).date()
    assert "nobody compared, approved or promoted it" in found.reason
    (row,) = store.query(
        f"SELECT count(*) AS n FROM ({found.sql}) WHERE strategy_fp = 'b2:v2'", fresh=True
    ).to_pylist()
    assert row["n"] == 1
    assert seen(store, folder, 18)["strategy"].state == "quiet"  # a week old
    event: dict[str, list[object]] = {
        "rollout_id": ["R-1"],
        "project": [folder.name],
        "fp_to": ["b2:v2"],
        "ts": [end_of(10)],
    }
    store.append("rollouts", {**event, "event": ["rejected"]})
    assert seen(store, folder, 11)["strategy"].state == "alarm"
    store.append("rollouts", {**event, "event": ["promoted"]})
    promoted = seen(store, folder, 11)["strategy"]
    assert promoted.state == "quiet"
    assert "approved" in promoted.reason
    write_days(store, [USUAL] * 2, first=19)  # and back to the first one: nothing new decides
    assert seen(store, folder, 20)["strategy"].state == "quiet"


def test_a_comparison_that_said_ship_answers_for_a_version(store: TraceStore, folder: ProjectFolder) -> None:
    write_days(store, [USUAL] * 8)
    write_days(store, [Day(version="b2:v2")], first=8)
    row: dict[str, list[object]] = {
        "project": [folder.name],
        "fp_a": ["b2:v1"],
        "fp_b": ["b2:v2"],
        "ts": [end_of(8)],
    }
    store.append("comparisons", {**row, "verdict": ["inconclusive"]})
    assert seen(store, folder, 8)["strategy"].state == "alarm"
    store.append("comparisons", {**row, "verdict": ["ship"]})
    assert "said ship" in seen(store, folder, 8)["strategy"].reason


def test_a_project_that_is_being_set_up_may_change_its_strategy(
    store: TraceStore, folder: ProjectFolder
) -> None:
    write_days(store, [USUAL] * 2)
    write_days(store, [Day(version="b2:v2")], first=2)
    found = seen(store, folder, 2)["strategy"]
    assert found.state == "quiet"
    assert "set up" in found.reason


def test_an_alarm_stays_until_the_traffic_returns_or_is_the_new_normal(
    store: TraceStore, folder: ProjectFolder
) -> None:
    wave = Day(labels={"safe": 0.2, "hate": 0.7, "spam": 0.1})
    write_days(store, [USUAL] * 14)
    write_days(store, [wave] * 4, first=14)
    write_days(store, [USUAL] * 10, first=18)
    assert [seen(store, folder, day)["label_mix"].state for day in (13, 15, 17)] == [
        "quiet",
        "alarm",
        "alarm",
    ]
    back = seen(store, folder, 26)["label_mix"]
    assert (back.state, back.detail["ended"]) == ("quiet", "returned")
    assert "what came before is back" in back.reason


def test_an_alarm_is_still_known_when_the_reference_is_renewed(
    store: TraceStore, folder: ProjectFolder
) -> None:
    """Its change lies in the block of reference days before the one under way."""
    write_days(store, [USUAL] * 53)
    write_days(store, [Day(labels={"safe": 0.2, "hate": 0.7, "spam": 0.1})] * 20, first=53)
    assert [seen(store, folder, day)["label_mix"].state for day in (52, 55, 57, 60)] == [
        "quiet", "alarm", "alarm", "alarm",
    ]  # fmt: skip
    ended = seen(store, folder, 72)["label_mix"]
    assert (ended.state, ended.detail["ended"]) == ("quiet", "new normal")


def test_items_decided_again_are_no_new_traffic(store: TraceStore, folder: ProjectFolder) -> None:
    write_days(store, [USUAL] * 14)
    again = store.query("SELECT item_id FROM items LIMIT 800", fresh=True)["item_id"].to_pylist()
    when = START + timedelta(days=14, hours=1)
    store.append_many(
        {
            "runs": {"run_id": ["again"], "project": ["mini"], "event": ["finished"], "ts": [when],
                     "strategy_fp": ["b2:v1"], "repeat_idx": [0]},
            "decisions": {"run_id": ["again"] * 800, "item_id": again, "strategy_fp": ["b2:v1"] * 800,
                          "label": ["spam"] * 800, "decision": ["review"] * 800, "ts": [when] * 800},
        }
    )  # fmt: skip
    assert states(seen(store, folder, 14))["label_mix"] == "quiet"
    assert seen(store, folder, 14)["label_mix"].n == seen(store, folder, 13)["label_mix"].n - 120


def test_a_provider_alarm_ends_with_its_week_or_with_the_old_mark(
    store: TraceStore, folder: ProjectFolder
) -> None:
    write_days(store, [USUAL] * 5)
    write_days(store, [Day(mark="fp_2")] * 9, first=5)
    new = seen(store, folder, 6)["provider"]
    assert (new.state, new.detail["new"], new.detail["known"]) == ("alarm", ["m fp_2"], ["m fp_1"])
    assert new.value == pytest.approx(2 / 7, abs=0.1)
    assert new.change_from == datetime(2026, 3, 7, 12, tzinfo=UTC)
    assert seen(store, folder, 13)["provider"].state == "quiet"
    other = drift_project(folder.folder.parent / "other", name="other")
    write_days(store, [USUAL] * 5, project="other", seed=2)
    write_days(store, [Day(mark="fp_2")], first=5, project="other", seed=2)
    write_days(store, [USUAL] * 2, first=6, project="other", seed=2)
    assert seen(store, other, 5)["provider"].state == "alarm"
    returned = seen(store, other, 7)["provider"]
    assert returned.state == "quiet"
    assert "old mark again" in returned.reason


def test_a_mark_that_changes_all_the_time_says_nothing(store: TraceStore, folder: ProjectFolder) -> None:
    write_days(store, [Day(mark=f"fp_{i}") for i in range(12)])
    found = seen(store, folder, 11)["provider"]
    assert found.state == "quiet"
    assert "changes all the time" in found.reason


def test_only_the_kinds_asked_for_are_measured_and_share_the_bound(store: TraceStore, tmp_path: Path) -> None:
    monitoring = "drift: [text, provider], drift_mean_days: 90"
    folder = drift_project(tmp_path / "less", monitoring=monitoring)
    write_days(store, [USUAL] * 9)
    found = seen(store, folder, 8)
    assert list(found) == ["text", "provider"]
    assert found["text"].evidence_needed == 90
    none = drift_project(tmp_path / "none", monitoring="drift: []")
    assert measure_drift(store, none, now=end_of(8)) == ()


def test_today_counts_once_it_is_nearly_whole_and_small_days_are_joined() -> None:
    import numpy as np

    day = np.arange(100, 106)
    n = np.array([100.0, 100, 20, 15, 100, 60])
    found = batches_of(day, n, today=105)
    assert found.of.tolist() == [0, 1, 2, 2, 3, -1]
    assert (found.first.tolist(), found.last.tolist()) == ([100, 101, 102, 104], [100, 101, 103, 104])
    assert (found.waiting, found.are_days) == (60, False)
    assert found.sums(np.column_stack([n, n])).tolist() == [[100, 100], [100, 100], [35, 35], [100, 100]]
    assert len(batches_of(day, np.array([100.0] * 5 + [85]), today=105)) == 6
    assert len(batches_of(day[:0], n[:0], today=105)) == 0


def test_hostile_labels_and_columns_are_data(store: TraceStore, tmp_path: Path) -> None:
    folder = drift_project(tmp_path / "odd", monitoring="""language_column: 'a"b\\c'' $x'""")
    bad = "'; DROP TABLE decisions; --"
    write_days(store, [USUAL] * 9)
    write_days(store, [Day(labels={bad: 0.9, "safe": 0.1})] * 2, first=9)
    found = seen(store, folder, 10)
    assert found["label_mix"].state == "alarm"
    assert found["label_mix"].detail["moved"][0]["name"] == bad
    assert store.query(found["label_mix"].sql, fresh=True).num_rows > 0


@pytest.mark.parametrize(("n_said", "says"), [(0, "in the days looked at"), (10, "in the days looked at")])
def test_confidences_that_nobody_says_are_unknown(
    store: TraceStore, folder: ProjectFolder, n_said: int, says: str
) -> None:
    write_days(store, [USUAL] * n_said + [replace(USUAL, says_confidence=False)] * (20 - n_said))
    found = seen(store, folder, 19)
    assert found["label_mix"].state == "quiet"
    assert (found["confidence"].state, found["confidence"].value) == ("unknown", None)
    assert found["confidence"].reason == f"no confidence is known {says}"


def test_a_confidence_that_is_no_number_is_none_and_not_the_highest(
    store: TraceStore, folder: ProjectFolder
) -> None:
    write_days(store, [Day()] * 3)
    store.append(
        "decisions",
        {
            "run_id": ["mini-000"] * 3,
            "item_id": [f"b2:odd-{i}" for i in range(3)],
            "strategy_fp": ["b2:v1"] * 3,
            "label": ["safe"] * 3,
            "confidence": [float("nan"), float("inf"), float("-inf")],
            "decision": ["auto_accept"] * 3,
            "ts": [end_of(0) - timedelta(hours=11)] * 3,
        },
    )
    traffic = Traffic(store=store, project="mini", until=end_of(2), first=0)
    days, missing = traffic.confidences("b2:v1")
    assert missing.sum() == 3
    assert days.n.sum() == 3 * 120
