"""Whether the model changed, from what it says of the frozen items; and what that says beside a drift."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from labelproof.report.drift.measure import measure_drift
from labelproof.report.drift.sentinel import measure_sentinel, sentinel_verdict
from labelproof.report.monitor.model import Measurement
from labelproof.spec.project import ProjectFolder
from labelproof.store import TraceStore, open_store
from tests.drift.drift_world import START, Day, drift_project, end_of, write_days

ITEMS = 40


@pytest.fixture
def store(tmp_path: Path) -> Iterator[TraceStore]:
    with open_store(tmp_path / "store") as opened:
        yield opened


@pytest.fixture
def folder(tmp_path: Path) -> ProjectFolder:
    return drift_project(tmp_path / "project", monitoring=f"sentinel: {{items: {ITEMS}}}")


def ask(
    store: TraceStore,
    day: int,
    *,
    flipped: Sequence[int] = (),
    failed: Sequence[int] = (),
    version: str = "b2:v1",
    sentinel: str = "b2:s1",
    mark: str = "fp_1",
) -> None:
    """Store what the frozen items got in the evening of a day; ``flipped`` ones get another label."""
    labels: list[str | None] = ["hate" if i in flipped else "safe" for i in range(ITEMS)]
    for i in failed:
        labels[i] = None
    same = {
        "sentinel_fp": [sentinel] * ITEMS,
        "project": ["mini"] * ITEMS,
        "item_id": [f"i{i}" for i in range(ITEMS)],
    }
    when = START + timedelta(days=day, hours=18)
    tables: dict[str, dict[str, Any]] = {
        "sentinel_answers": {
            **same,
            "run_id": [f"s{day}-{version}"] * ITEMS,
            "strategy_fp": [version] * ITEMS,
            "label": labels,
            "provider_fingerprint": [mark] * ITEMS,
            "repeat_idx": [day] * ITEMS,
            "ts": [when] * ITEMS,
        }
    }
    if day == 0 or sentinel != "b2:s1":
        gold = ["safe" if i % 2 else None for i in range(ITEMS)]
        tables["sentinels"] = {**same, "gold_label": gold, "ts": [when] * ITEMS}
    store.append_many(tables)


def answers(store: TraceStore, folder: ProjectFolder, day: int) -> Measurement:
    found = measure_sentinel(store, folder, now=end_of(day))
    assert found[0].subject == "answers"
    return found[0]


def test_nothing_is_said_without_a_set_and_after_a_single_ask(
    store: TraceStore, folder: ProjectFolder, tmp_path: Path
) -> None:
    assert measure_sentinel(store, drift_project(tmp_path / "without"), now=end_of(0)) == ()
    assert sentinel_verdict(store, drift_project(tmp_path / "without"), now=end_of(0)) is None
    none = answers(store, folder, 0)
    assert (none.state, none.value) == ("unknown", None)
    assert "asked after the next run" in none.reason
    ask(store, 0)
    once = answers(store, folder, 0)
    assert once.state == "unknown"
    assert once.reason.startswith("40 frozen items were asked once")


def test_the_same_answers_are_a_model_that_did_not_change(store: TraceStore, folder: ProjectFolder) -> None:
    for day in range(6):
        ask(store, day)
    found = answers(store, folder, 5)
    assert (found.state, found.value, found.n) == ("quiet", 0.0, ITEMS)
    assert found.reason.startswith("the model did not change on 40 frozen items: 0 flipped")
    assert found.high is not None
    assert found.high > 0.05  # 0 of 40 is not 0
    assert store.query(found.sql, fresh=True).num_rows == 6 * ITEMS


def test_a_model_that_flips_a_fifth_alarms_at_once(store: TraceStore, folder: ProjectFolder) -> None:
    for day in range(6):
        ask(store, day, flipped=[3] if day % 2 else [])
    assert answers(store, folder, 5).state == "quiet"  # one restless item is the floor
    ask(store, 6, flipped=range(9), mark="fp_2")
    found = answers(store, folder, 6)
    assert (found.state, found.level, found.is_bad) == ("alarm", "critical", True)
    assert found.reason.startswith("the model changed from 2026-03-08 18:00 on: 9 of 40")
    assert "fp_2" in found.reason
    assert found.change_from == START + timedelta(days=6, hours=18)
    assert found.evidence is not None
    assert found.evidence_needed is not None
    assert found.evidence >= found.evidence_needed == 365
    assert found.detail["items"] == [f"i{i}" for i in range(9)]


def test_the_alarm_lasts_a_window_or_until_the_old_answers_are_back(
    store: TraceStore, folder: ProjectFolder
) -> None:
    for day in range(5):
        ask(store, day)
    for day in range(5, 14):
        ask(store, day, flipped=range(10))
    states = [answers(store, folder, day).state for day in range(1, 14)]
    assert states == ["quiet"] * 4 + ["alarm"] * 7 + ["quiet"] * 2
    assert "the new answers are what is compared with" in answers(store, folder, 13).reason
    ask(store, 14)
    again = answers(store, folder, 14)
    assert again.state == "alarm"  # back to what it was is a change from what is usual now
    other = drift_project(folder.folder.parent / "again")
    assert other.name == "mini"
    ask(store, 15, flipped=range(10))
    back = answers(store, folder, 15)
    assert back.state == "quiet"
    assert "the first answers are back" in back.reason


def test_another_version_is_information(store: TraceStore, folder: ProjectFolder) -> None:
    for day in range(4):
        ask(store, day)
    ask(store, 4, flipped=range(12), version="b2:v2")
    new = answers(store, folder, 4)
    assert (new.state, new.value, new.evidence) == ("quiet", 0.3, None)
    assert "12 of 40 frozen items got another label" in new.reason
    assert "a change made here" in new.reason
    verdict = sentinel_verdict(store, folder, now=end_of(4))
    assert verdict is not None
    assert verdict.changed is None
    ask(store, 5, flipped=range(12), version="b2:v2")
    assert answers(store, folder, 5).state == "quiet"
    assert answers(store, folder, 5).value == 0
    ask(store, 6, version="b2:v2", sentinel="b2:s2")
    assert answers(store, folder, 6).state == "unknown"  # a new set begins anew


def test_failed_answers_are_no_flips_and_are_said(store: TraceStore, folder: ProjectFolder) -> None:
    ask(store, 0)
    ask(store, 1, failed=range(15))
    found = answers(store, folder, 1)
    assert (found.state, found.n) == ("quiet", 25)
    assert found.reason.endswith("15 of 40 answers failed")
    ask(store, 2, failed=range(40))
    assert answers(store, folder, 2).state == "unknown"


def test_accuracy_on_gold_is_a_paired_difference(store: TraceStore, folder: ProjectFolder) -> None:
    ask(store, 0, flipped=[1])
    ask(store, 1, flipped=[3, 5, 7, 8])
    _, accuracy = measure_sentinel(store, folder, now=end_of(1))
    assert (accuracy.subject, accuracy.n) == ("accuracy", 20)
    assert accuracy.value == pytest.approx(-2 / 20)
    assert accuracy.detail == {"gained": 1, "lost": 3}
    assert accuracy.low is not None
    assert accuracy.high is not None
    assert accuracy.low < -0.1 < accuracy.high
    assert accuracy.reason.startswith("17 of 20 frozen items with gold are right, 19 were at first")


def test_drift_says_whether_the_model_or_the_traffic_changed(
    store: TraceStore, folder: ProjectFolder
) -> None:
    wave = Day(labels={"safe": 0.2, "hate": 0.7, "spam": 0.1})
    write_days(store, [Day()] * 14)
    write_days(store, [wave] * 2, first=14)

    def reason() -> str:
        return next(
            one.reason for one in measure_drift(store, folder, now=end_of(15)) if one.subject == "label_mix"
        )

    for day in range(13):
        ask(store, day)
    assert reason().endswith("has not been asked since: whether the model changed is not known")
    ask(store, 14)
    assert reason().endswith("unchanged (0 of 40 flipped): the traffic changed")
    ask(store, 15, flipped=range(15))
    assert reason().endswith("The model changed: 15 of 40 answers on the sentinel set are others than before")


def test_unproven_is_not_unchanged(store: TraceStore, folder: ProjectFolder) -> None:
    """5 of 40 flips are more than chance and no alarm yet: then the traffic is not blamed."""
    write_days(store, [Day()] * 14)
    write_days(store, [Day(labels={"safe": 0.2, "hate": 0.7, "spam": 0.1})] * 2, first=14)
    for day in range(4):
        ask(store, day)
    ask(store, 14, flipped=range(5))
    (found,) = (one for one in measure_drift(store, folder, now=end_of(15)) if one.subject == "label_mix")
    verdict = sentinel_verdict(store, folder, now=end_of(15))
    assert verdict is not None
    assert (verdict.changed, verdict.n_flips) == (None, 5)
    assert answers(store, folder, 15).state == "quiet"
    assert "unchanged" not in found.reason
    assert "cannot be told yet" in found.reason
    assert "5 of 40 frozen items flipped" in found.reason


def test_a_long_quiet_series_rarely_alarms(store: TraceStore, folder: ProjectFolder) -> None:
    """60 asks with 3 % of restless answers each; one ask in 365 may alarm."""
    rng = np.random.default_rng(4)
    for day in range(60):
        ask(store, day, flipped=np.flatnonzero(rng.random(ITEMS) < 0.03).tolist())
    alarms = [answers(store, folder, day).state == "alarm" for day in range(2, 60, 3)]
    assert sum(alarms) == 0
