"""The replayed month on texts of our own: what it stores, what its monitor says of two days, how it is scored."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks._month_data import Answer, Entry, Pool, load_pool
from benchmarks._month_plan import Incident, active, morning, planted
from benchmarks._month_replay import Alarm, Diagnosis, FindingCourse, Month, Replay, months_of
from benchmarks._month_score import (
    blamed,
    false_alarm_lines,
    false_alarms,
    incident_table,
    outcomes,
    poisson,
)
from benchmarks._month_world import REVIEWERS, World, write_project
from benchmarks.month import report
from benchmarks.month_labels import attacks, spanish_rows
from labelproof.spec.errors import ConfigError
from labelproof.spec.project import find_project
from labelproof.store import open_store


def entry(text: str, gold: str, *, right: bool = True, confidence: float = 0.97) -> Entry:
    other = "Toxic" if gold == "Not Toxic" else "Not Toxic"
    base = Answer(label=gold if right else other, confidence=confidence, raw_confidence=0.8)
    swapped = Answer(label="Not Toxic", confidence=0.92, raw_confidence=0.7)
    return Entry(text=text, gold=gold, answers={"base": base, "provider": swapped})


@pytest.fixture(scope="module")
def pool() -> Pool:
    rows = spanish_rows()
    made = [
        entry(row["text"], row["label"], right=k % 9 != 0, confidence=0.97 if k % 4 else 0.7)
        for k, row in enumerate(rows)
    ]
    attacked = [
        entry(attacks()[k % len(attacks())].format(t=row["text"]), "Toxic", right=False)
        for k, row in enumerate(rows[:6])
    ]
    return Pool(traffic=made[:40], spanish=made[40:50], attacked=attacked, checks=made[50:])


def test_a_day_is_whole_and_the_same_whatever_is_planted_until_it_is(tmp_path: Path, pool: Pool) -> None:
    found = {}
    for name, wrong in (("plain", set()), ("attacked", {"injection"}), ("swapped", {"provider"})):
        place = tmp_path / name
        write_project(place / "project", pool)
        with open_store(place / "store") as store:
            world = World(store, place / "project", pool, seed=3, items_per_day=80)
            world.play(1, set())
            world.play(2, wrong)  # type: ignore[arg-type]
            found[name] = store.query(
                "SELECT i.external_id, t.text, d.label, d.decision, d.audited FROM decisions AS d"
                " JOIN items AS i USING (item_id) JOIN text_by_hash AS t USING (text_hash) ORDER BY 1",
                fresh=True,
            ).to_pylist()
            (counts,) = store.query(
                "SELECT count(DISTINCT item_id) AS items, count(DISTINCT run_id) AS runs,"
                " count(*) FILTER (decision = 'review' OR audited) AS asked,"
                " (SELECT count(*) FROM review_tasks WHERE kind <> 'check') AS tasks,"
                " (SELECT count(*) FROM task_outcomes WHERE state IN ('agreed', 'adjudicated')) AS settled,"
                " (SELECT count(*) FROM task_outcomes) AS all_tasks,"
                " (SELECT count(DISTINCT annotator) FROM votes WHERE role = 'reviewer') AS people FROM decisions",
                fresh=True,
            ).to_pylist()
        assert counts["items"] == len(found[name]) == 160
        assert counts["runs"] == 2
        assert counts["asked"] == counts["tasks"] > 20
        assert counts["settled"] == counts["all_tasks"]
        assert counts["people"] == len(REVIEWERS)
    first_day = [row for row in found["plain"] if row["external_id"] < "d+02"]
    assert first_day
    for other in ("attacked", "swapped"):
        assert [row for row in found[other] if row["external_id"] < "d+02"] == first_day
    texts = {name: [row["text"] for row in rows] for name, rows in found.items()}
    assert texts["swapped"] == texts["plain"]
    changed = sum(a != b for a, b in zip(texts["plain"], texts["attacked"], strict=True))
    assert 3 <= changed <= 25  # 15 % of 80
    labels = {name: [row["label"] for row in rows] for name, rows in found.items()}
    assert labels["swapped"].count("Toxic") < labels["plain"].count("Toxic")


def test_an_edited_guideline_is_another_version_until_it_is_taken_back(tmp_path: Path, pool: Pool) -> None:
    write_project(tmp_path / "project", pool)
    with open_store(tmp_path / "store") as store:
        world = World(store, tmp_path / "project", pool, seed=1, items_per_day=20)
        for day, wrong in ((1, set()), (2, {"guideline"}), (3, set())):
            world.play(day, wrong)  # type: ignore[arg-type]
        versions = store.query(
            "SELECT strategy_fp FROM runs WHERE event = 'started' ORDER BY ts", fresh=True
        )["strategy_fp"].to_pylist()
        stored = store.query("SELECT count(*) AS n FROM strategies", fresh=True)["n"][0].as_py()
    assert versions[0] == versions[2] != versions[1]
    assert stored == 2
    assert "mockery" not in (tmp_path / "project" / "guideline.md").read_text()


def test_reviewers_who_go_bad_are_wrong_in_hidden_gold(tmp_path: Path, pool: Pool) -> None:
    write_project(tmp_path / "project", pool)
    with open_store(tmp_path / "store") as store:
        world = World(store, tmp_path / "project", pool, seed=1, items_per_day=200)
        for day in (-27, -26):  # the first days of warm-up: a reviewer meets each hidden item once
            world.play(day, {"reviewer"})
        rows = store.query(
            "SELECT v.annotator = 'bob' AS bad, avg((v.label = i.gold)::INT) AS right FROM votes AS v JOIN ("
            " SELECT item_id, any_value(label) AS gold FROM review_tasks WHERE kind = 'check' GROUP BY item_id"
            ") AS i USING (item_id) JOIN review_tasks AS t USING (task_id) GROUP BY 1 ORDER BY 1",
            fresh=True,
        ).to_pylist()
    assert rows[0]["right"] > 0.9
    assert rows[1]["right"] <= 0.9


def test_two_days_are_monitored_and_a_copy_goes_its_own_way(tmp_path: Path, pool: Pool) -> None:
    base = Replay.start(tmp_path / "none", pool, seed=2, items_per_day=40, warmup=3)
    base.until(1, ())
    incident = Incident(kind="provider", first=2)
    branch = base.fork(tmp_path / "provider")
    branch.until(2, [incident])
    base.until(2, ())
    plain, swapped = base.month(()), branch.month([incident])
    assert plain.days == swapped.days == 2
    assert len(plain.pass_seconds) == len(swapped.pass_seconds) == 2
    assert {alarm.day for alarm in swapped.alarms} <= {1, 2}
    with open_store(tmp_path / "provider" / "store") as store:
        sql = "SELECT count(DISTINCT ts) AS n FROM measurements WHERE kind = 'target'"
        assert store.query(sql, fresh=True)["n"][0].as_py() == 2
        sql = "SELECT count(DISTINCT provider_fingerprint) AS n FROM calls"
        assert store.query(sql, fresh=True)["n"][0].as_py() == 2
    assert "One incident a month:" in report([{"none": plain, "provider": swapped}])


def test_a_project_of_the_month_is_valid(tmp_path: Path, pool: Pool) -> None:
    write_project(tmp_path / "project", pool)
    spec = find_project(str(tmp_path / "project")).spec
    assert spec.monitoring.sentinel.items == 40
    assert "recall:Toxic" in [target.metric for target in spec.targets]


def test_without_the_shared_set_it_says_where_it_looked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LABELPROOF_SHARED_DATA", str(tmp_path))
    with pytest.raises(ConfigError, match="no shared set surge_toxicity") as caught:
        load_pool()
    assert "LABELPROOF_SHARED_DATA" in str(caught.value)


def alarm(day: int, subject: str) -> Alarm:
    return Alarm(day=day, kind="drift", subject=subject, change_from=None, reason="")


def month(incidents: tuple[Incident, ...], alarms: tuple[Alarm, ...], **more: object) -> Month:
    given = {"diagnoses": (), "findings": (), **more}
    return Month(seed=1, days=30, incidents=incidents, alarms=alarms, **given)  # type: ignore[arg-type]


def test_an_alarm_belongs_to_the_latest_incident_that_can_have_raised_it() -> None:
    spanish = Incident(kind="spanish", first=14, last=17)
    reviewer = Incident(kind="reviewer", first=18)
    both = (spanish, reviewer)
    assert blamed(both, alarm(13, "language")) is None
    assert blamed(both, alarm(14, "language")) is spanish
    assert blamed(both, alarm(19, "language")) is spanish
    assert blamed(both, alarm(25, "language")) is None  # 8 days after the repair
    assert blamed(both, alarm(19, "recall:Toxic")) is reviewer
    assert blamed((reviewer,), alarm(19, "language")) is None
    assert blamed(both, alarm(19, "cost_per_1000")) is None


def test_an_outcome_says_delay_cause_and_closure() -> None:
    incident = Incident(kind="injection", first=10, last=13)
    found = month(
        (incident,),
        (alarm(3, "text"), alarm(12, "label_mix"), alarm(12, "text"), alarm(14, "confidence")),
        diagnoses=(
            Diagnosis(
                day=3, metric="accuracy", causes=("language",), headline="", change=-0.1, first="language"
            ),
            Diagnosis(day=12, metric="accuracy", causes=("language",), headline="", change=-0.2, worse=True),
            Diagnosis(
                day=12,
                metric="coverage",
                causes=("manipulation", "language"),
                headline="",
                change=-0.1,
                first="manipulation",
            ),
        ),
        findings=(
            FindingCourse(source_id="drift:text", opened=3, closed=16, reopened=1),
            FindingCourse(source_id="drift:label_mix", opened=12, closed=18, reopened=0),
            FindingCourse(source_id="drift:confidence", opened=14, closed=15, reopened=0),
        ),
    )
    (outcome,) = outcomes(found)
    assert outcome.delay == 2
    assert outcome.first == ("label_mix", "text")
    assert outcome.verdict == "right"
    assert outcome.closed == 5
    assert false_alarms(found) == [alarm(3, "text")]
    (row,) = incident_table([outcome])[2:]
    assert "| 1 of 1 (21-100 %) | 2 (2-2) |" in row
    assert months_of({"x": {**_values(found)}})["x"] == found


def _values(found: Month) -> dict[str, object]:
    from dataclasses import asdict

    return asdict(found)


@pytest.mark.parametrize(
    ("subject", "verdict"),
    [
        ("manipulation", "right by the alarm itself"),
        ("language", "nothing got worse"),
        ("text", "no cause"),
    ],
)
def test_where_the_analysis_leads_with_nothing_the_alarm_may_name_the_cause(
    subject: str, verdict: str
) -> None:
    said = Diagnosis(day=10, metric="accuracy", causes=("length",), headline="", change=-0.1, worse=True)
    found = month((Incident(kind="injection", first=10),), (alarm(10, subject),), diagnoses=(said,))
    # a language alarm does not fit an injection wave, and so is no alarm of it at all
    (outcome,) = outcomes(found)
    assert outcome.verdict == verdict


def test_a_month_that_found_nothing_says_so() -> None:
    incident = Incident(kind="guideline", first=22)
    (outcome,) = outcomes(month((incident,), ()))
    assert outcome.delay is None
    assert outcome.verdict == "nothing got worse"
    assert "0 of 1" in incident_table([outcome])[2]
    (line,) = false_alarm_lines("no incident", [month((), (alarm(4, "text"),)), month((), ())])
    assert line.startswith("- no incident: 1 in 2 months (60 monitored days): 0.50 a month (95 % 0.01-2.79)")


def test_incidents_come_and_go_on_their_days() -> None:
    repaired = planted("spanish", repaired=True)
    assert [day for day in range(1, 31) if repaired.is_on(day)] == [14, 15, 16, 17]
    assert planted("injection", repaired=False).is_on(30)
    assert planted("silent_provider", repaired=False).first == 9
    assert active([repaired, planted("provider", repaired=False)], 15) == {"spanish", "provider"}
    assert morning(1).weekday() == 0


def test_the_exact_interval_of_a_count() -> None:
    low, high = poisson(0)
    assert low == 0.0
    assert high == pytest.approx(3.689, abs=1e-3)
    assert poisson(10) == pytest.approx((4.795, 18.390), abs=1e-3)
