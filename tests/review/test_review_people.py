"""Numbers about reviewers: four planted habits are told apart, and what cannot be measured says why."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, timedelta
from pathlib import Path

import numpy as np
import orjson
import pytest
from sklearn.metrics import cohen_kappa_score

from labelproof.review._desk_day import DayBook
from labelproof.review.model import Vote
from labelproof.review.people import ReviewerStats, anonymous, reviewer_stats
from labelproof.review.queue import build_task
from labelproof.spec.errors import ConfigError
from labelproof.spec.project import ProjectFolder
from labelproof.spec.review import SEVERITIES
from labelproof.store import TraceStore, open_store
from tests.review.people_rows import (
    LABELS,
    NOW,
    minutes_from,
    mostly_right,
    people_project,
    put_tasks,
    put_votes,
)

TEAM = ("ann", "bob", "Cara", "dan")
BAR = "targets: [{metric: reviewer_accuracy, at_least: 0.85}]\n"
N_CHECKS = 160


@pytest.fixture
def store(tmp_path: Path) -> Iterator[TraceStore]:
    with open_store(tmp_path / "store") as opened:
        yield opened


@pytest.fixture
def folder(tmp_path: Path) -> ProjectFolder:
    return people_project(tmp_path / "mini", more=BAR)


def plant_team(store: TraceStore, seed: int = 7) -> None:
    """Ann is right 95 %, bob 60 %, Cara 95 % and from half-way on 50 %; dan repeats the machine (80 % right)."""
    rng = np.random.default_rng(seed)
    start = NOW - timedelta(days=20)

    def says(name: str, truth: list[str], machine: list[str]) -> list[str]:
        half = np.where(np.arange(len(truth)) < len(truth) / 2, 0.95, 0.5)
        accuracy = {"ann": 0.95, "bob": 0.6, "Cara": half.tolist(), "dan": 1.0}[name]
        return machine if name == "dan" else mostly_right(truth, accuracy, rng)

    for name in TEAM:
        gold = [LABELS[i % 3] for i in range(N_CHECKS)]
        tasks = put_tasks(store, gold, kind="check", at=start)
        given = says(name, gold, mostly_right(gold, 0.8, rng))
        put_votes(
            store, name, dict(zip(tasks, given, strict=True)), at=minutes_from(start, N_CHECKS, step=120)
        )
    truth = [str(x) for x in rng.choice(LABELS, size=600, p=[0.7, 0.2, 0.1])]
    machine = mostly_right(truth, 0.8, rng)
    tasks = put_tasks(store, machine, kind="audit", at=start, wanted=2)
    answers: dict[str, dict[str, str]] = {name: {} for name in TEAM}
    for name in TEAM:
        spoken = says(name, truth, machine)
        answers[name] = dict(zip(tasks, spoken, strict=True))
    pairs = [(a, b) for i, a in enumerate(TEAM) for b in TEAM[i + 1 :]]
    asked = {task: pairs[i % len(pairs)] for i, task in enumerate(tasks)}
    for name in TEAM:
        mine = {task: label for task, label in answers[name].items() if name in asked[task]}
        put_votes(store, name, mine, at=minutes_from(start, len(mine)), seconds=20.0 + 5 * TEAM.index(name))
    disputed = [task for task, (a, b) in asked.items() if answers[a][task] != answers[b][task]]
    verdicts = {task: truth[tasks.index(task)] for task in disputed}
    put_votes(store, "lead", verdicts, at=NOW - timedelta(days=1), role="adjudicator")


def by_name(found: tuple[ReviewerStats, ...]) -> dict[str, ReviewerStats]:
    return {stats.name: stats for stats in found}


def test_planted_reviewers_are_told_apart(store: TraceStore, folder: ProjectFolder) -> None:
    plant_team(store)
    found = reviewer_stats(store, folder, now=NOW)
    assert [stats.name for stats in found] == ["ann", "bob", "Cara", "dan", "lead"]
    team = by_name(found)

    planted = {"ann": 0.95, "bob": 0.6, "Cara": 0.725, "dan": 0.8}
    for name, accuracy in planted.items():
        overall = team[name].checks.overall
        assert overall.n == N_CHECKS
        assert overall.low is not None
        assert overall.high is not None
        assert overall.low - 0.03 <= accuracy <= overall.high + 0.03
        assert [one.label for one in team[name].checks.per_label] == ["hate", "safe", "threat"]
        assert sum(one.accuracy.n for one in team[name].checks.per_label) == N_CHECKS
    right = {name: team[name].checks.overall for name in planted}
    assert (right["ann"].low or 0) > (right["bob"].high or 1)

    kappa = {name: team[name].agreement.value or 0 for name in planted}
    assert kappa["ann"] > kappa["bob"] + 0.1
    upheld = {name: team[name].upheld.value or 0 for name in planted}
    assert upheld["ann"] > 0.75 > upheld["bob"] + 0.1
    assert all(team[name].same_answer.n == 300 for name in planted)


def test_who_goes_bad_half_way_is_noticed_and_who_is_good_is_not(
    store: TraceStore, folder: ProjectFolder
) -> None:
    plant_team(store)
    team = by_name(reviewer_stats(store, folder, now=NOW))
    assert not team["ann"].drift
    bar, own = team["Cara"].falls
    for test in (bar, own):
        assert test.alarm
        assert test.alarm_at is not None
        assert test.change_at is not None
        assert N_CHECKS / 2 < test.alarm_at < N_CHECKS
        assert abs(test.change_at - N_CHECKS / 2) <= 30
        assert test.alarm_time is not None
        assert test.change_time is not None
        assert test.change_time < test.alarm_time < NOW
        assert test.false_alarm_prob == 0.05
    bob_bar, bob_own = team["bob"].falls
    assert bob_bar.alarm, "60 % is below the bar of 85 % from the start"
    assert not bob_own.alarm, "and steady"


def test_who_copies_the_machine_repeats_its_mistakes(store: TraceStore, folder: ProjectFolder) -> None:
    plant_team(store)
    team = by_name(reviewer_stats(store, folder, now=NOW))
    dan, ann = team["dan"].machine, team["ann"].machine
    assert dan.share.value == 1.0
    assert dan.others_share is not None
    assert dan.others_share < 0.75
    assert (dan.share.low or 0) > dan.others_share + 0.1
    assert dan.when_wrong.value == 1.0
    assert dan.when_wrong.n > 20
    assert ann.when_wrong.value is not None
    assert ann.when_wrong.value < 0.2
    assert ann.others_share is not None


def test_kappa_is_that_of_another_library(store: TraceStore, folder: ProjectFolder) -> None:
    rng = np.random.default_rng(1)
    truth = [str(x) for x in rng.choice(LABELS, size=80)]
    tasks = put_tasks(store, [None] * 80, kind="gold", wanted=2)
    ann, bob = mostly_right(truth, 0.8, rng), mostly_right(truth, 0.7, rng)
    put_votes(store, "ann", dict(zip(tasks, ann, strict=True)))
    put_votes(store, "bob", dict(zip(tasks, bob, strict=True)))
    team = by_name(reviewer_stats(store, folder, now=NOW))
    expected = cohen_kappa_score(ann, bob)
    for name in ("ann", "bob"):
        assert team[name].agreement.value == pytest.approx(expected)
        assert team[name].agreement.n == 80
        assert team[name].same_answer.value == pytest.approx(
            np.mean([a == b for a, b in zip(ann, bob, strict=True)])
        )


def test_answers_are_counted_by_kind_and_a_withdrawn_one_counts_once(
    store: TraceStore, folder: ProjectFolder
) -> None:
    tasks = put_tasks(store, ["safe"] * 5)
    early, late = NOW - timedelta(hours=30), NOW - timedelta(hours=29)
    put_votes(
        store,
        "ann",
        dict(zip(tasks, ["safe", "skip", "flag", "unclear", "hate"], strict=True)),
        at=early,
        seconds=[10.0, 20.0, 30.0, None, 40.0],
    )
    put_votes(store, "ann", {tasks[4]: "withdrawn"}, at=late)
    ann = reviewer_stats(store, folder, now=NOW)[0]
    assert ann.answers == {"label": 1, "skip": 1, "flag": 1, "unclear": 1, "withdrawn": 1}
    assert (ann.pace.median_s, ann.pace.p90_s, ann.pace.n) == (20.0, None, 3)
    assert ann.pace.reason == "3 answers with a time: a 90th percentile needs 10"
    put_votes(store, "ann", {tasks[4]: "safe"}, at=late + timedelta(minutes=1), seconds=40.0)
    ann = reviewer_stats(store, folder, now=NOW)[0]
    assert ann.answers["label"] == 2
    assert ann.answers["withdrawn"] == 1
    assert [(one.label, one.share.value) for one in ann.labels] == [("safe", 1.0)]


def test_the_pace_is_that_of_the_period(store: TraceStore, folder: ProjectFolder) -> None:
    tasks = put_tasks(store, ["safe"] * 22)
    put_votes(
        store,
        "ann",
        dict.fromkeys(tasks[:20], "safe"),
        seconds=[float(i) for i in range(1, 21)],
        at=NOW - timedelta(days=2),
    )
    put_votes(store, "ann", dict.fromkeys(tasks[20:], "safe"), seconds=900.0, at=NOW - timedelta(days=40))
    ann = reviewer_stats(store, folder, now=NOW)[0]
    assert ann.pace.n == 20
    assert ann.pace.median_s == pytest.approx(10.5)
    assert ann.pace.p90_s == pytest.approx(np.quantile(np.arange(1, 21), 0.9))
    assert by_name(reviewer_stats(store, folder, now=NOW, days=60))["ann"].pace.n == 22


def test_a_skipped_check_is_not_a_wrong_one(store: TraceStore, folder: ProjectFolder) -> None:
    tasks = put_tasks(store, ["hate"] * 4, kind="check")
    put_votes(store, "ann", dict(zip(tasks, ["hate", "skip", "unclear", "safe"], strict=True)))
    checks = reviewer_stats(store, folder, now=NOW)[0].checks
    assert (checks.overall.value, checks.overall.n, checks.n_unanswered) == (0.5, 2, 2)


def test_checks_count_for_nothing_but_accuracy_and_exposure(store: TraceStore, folder: ProjectFolder) -> None:
    tasks = put_tasks(store, ["hate"] * 3, kind="check")
    for name in ("ann", "bob"):
        put_votes(store, name, dict.fromkeys(tasks, "hate"))
    ann = by_name(reviewer_stats(store, folder, now=NOW))["ann"]
    assert ann.labels == ()
    assert ann.machine.share.value is None
    assert (ann.agreement.n, ann.same_answer.n) == (0, 0)


def test_accuracy_is_that_of_the_period_and_alarms_are_of_all_checks(
    store: TraceStore, folder: ProjectFolder
) -> None:
    tasks = put_tasks(store, ["hate"] * 50, kind="check", at=NOW - timedelta(days=60))
    put_votes(store, "ann", dict.fromkeys(tasks[:40], "safe"), at=NOW - timedelta(days=50))
    put_votes(store, "ann", dict.fromkeys(tasks[40:], "hate"), at=NOW - timedelta(days=5))
    ann = reviewer_stats(store, folder, now=NOW)[0]
    assert (ann.checks.overall.value, ann.checks.overall.n) == (1.0, 10)
    assert ann.falls[0].n == 50
    assert ann.falls[0].alarm


def test_without_evidence_there_is_a_reason_and_no_number(store: TraceStore, tmp_path: Path) -> None:
    plain = people_project(tmp_path / "plain")
    assert reviewer_stats(store, plain, now=NOW) == ()
    tasks = put_tasks(store, [None])
    put_votes(store, "ann", {tasks[0]: "skip"})
    ann = reviewer_stats(store, plain, now=NOW)[0]
    for estimate in (ann.checks.overall, ann.agreement, ann.same_answer, ann.upheld, ann.machine.share):
        assert estimate.value is None
        assert estimate.reason
    assert ann.machine.others_share is None
    bar, own = ann.falls
    assert bar.e_value is None
    assert bar.reason is not None
    assert "reviewer_accuracy" in bar.reason
    assert own.reason == "0 of the 31 checks that it takes: 30 tell the earlier level"
    assert not ann.drift


def test_nobody_is_compared_with_shown_labels_or_their_own_adjudication(
    store: TraceStore, folder: ProjectFolder
) -> None:
    shown = put_tasks(store, ["safe"] * 3, blind=False, wanted=2)
    for name in ("ann", "bob"):
        put_votes(store, name, dict.fromkeys(shown, "safe"))
    task = put_tasks(store, ["safe"], wanted=2)
    put_votes(store, "ann", {task[0]: "hate"})
    put_votes(store, "ann", {task[0]: "hate"}, role="adjudicator")
    ann = by_name(reviewer_stats(store, folder, now=NOW))["ann"]
    assert ann.agreement.n == 0
    assert ann.upheld.n == 0
    assert ann.n_adjudicated == 1
    assert ann.machine.share.n == 4


def test_the_label_mix_is_compared_on_the_same_kinds(store: TraceStore, folder: ProjectFolder) -> None:
    """Ann answers mostly audits, bob mostly routed ones: only their difference on each kind may show."""
    audits, routed = put_tasks(store, [None] * 12, kind="audit"), put_tasks(store, [None] * 12)
    alone = put_tasks(store, [None] * 5, kind="appeal")
    put_votes(store, "ann", {**dict.fromkeys(audits[:9], "safe"), **dict.fromkeys(routed[:3], "hate")})
    put_votes(store, "bob", {**dict.fromkeys(audits[9:], "safe"), **dict.fromkeys(routed[3:], "hate")})
    put_votes(store, "ann", dict.fromkeys(alone, "threat"))
    team = by_name(reviewer_stats(store, folder, now=NOW))
    assert [(one.label, one.share.value, one.others_share) for one in team["ann"].labels] == [
        ("hate", 0.25, 0.25),
        ("safe", 0.75, 0.75),
    ]
    assert team["bob"].labels[0].others_share == 0.75


def test_a_days_exposure_is_what_the_desk_counts(store: TraceStore, folder: ProjectFolder) -> None:
    tasks = put_tasks(store, ["threat", "hate", "hate", None, "gone", "safe"])
    audit = put_tasks(store, ["threat", "safe"], kind="audit")
    morning, night = NOW - timedelta(hours=2), NOW - timedelta(hours=13)
    today = {tasks[0]: "safe", tasks[1]: "skip", tasks[3]: "hate", tasks[4]: "skip", audit[0]: "safe"}
    put_votes(store, "ann", today, at=morning)
    put_votes(store, "ann", {audit[1]: "hate"}, at=morning, role="adjudicator")
    put_votes(store, "ann", {tasks[3]: "withdrawn"}, at=morning + timedelta(minutes=1))
    put_votes(store, "ann", {tasks[2]: "hate", tasks[5]: "safe"}, at=night)
    ann = reviewer_stats(store, folder, now=NOW)[0]
    assert ann.exposure == {"low": 1, "medium": 1, "high": 3, "critical": 1}
    assert ann.limits == {"critical": 200, "high": 400}
    assert ann.exposure == _of_the_desk(store, folder)


def _of_the_desk(store: TraceStore, folder: ProjectFolder) -> dict[str, int]:
    """Return today's exposure by the desk's own book."""
    book = DayBook(folder.spec.labels, break_minutes=10)
    rows = store.query("SELECT * FROM review_tasks", fresh=True).to_pylist()
    tasks = {row["task_id"]: build_task(row, folder.spec.review, folder.spec.labels, {}) for row in rows}
    for row in store.query("SELECT * FROM votes ORDER BY ts", fresh=True).to_pylist():
        at = row.pop("ts").astimezone(UTC)
        book.note(Vote(**row, at=at), tasks[row["task_id"]])
    seen = book.seen("ann", NOW)
    return {severity: seen[severity] for severity in SEVERITIES}


def test_other_projects_and_the_future_are_left_out(store: TraceStore, folder: ProjectFolder) -> None:
    mine = put_tasks(store, ["safe"] * 2)
    other = put_tasks(store, ["safe"] * 2, project="other")
    put_votes(store, "ann", {mine[0]: "safe"})
    put_votes(store, "ann", {mine[1]: "safe"}, at=NOW + timedelta(minutes=1))
    put_votes(store, "ann", dict.fromkeys(other, "hate"), project="other")
    ann = reviewer_stats(store, folder, now=NOW)[0]
    assert ann.answers["label"] == 1
    assert ann.machine.share.n == 1


def test_label_sets_are_compared_as_a_whole(store: TraceStore, tmp_path: Path) -> None:
    multi = people_project(tmp_path / "multi", kind="multi")
    tasks = put_tasks(store, ["hate+threat", "none"])
    put_votes(store, "ann", {tasks[0]: "hate+threat", tasks[1]: "hate+safe"}, at=NOW - timedelta(minutes=5))
    ann = reviewer_stats(store, multi, now=NOW)[0]
    assert [one.label for one in ann.labels] == ["hate+safe", "hate+threat"]
    assert ann.machine.share.value == 0.5
    assert ann.exposure["critical"] == 1
    assert ann.exposure["high"] == 1


def test_numbers_become_json_and_reading_changes_nothing(store: TraceStore, folder: ProjectFolder) -> None:
    plant_team(store)
    n_votes = store.query("SELECT count(*) AS n FROM votes", fresh=True).to_pylist()
    found = [stats.to_json() for stats in reviewer_stats(store, folder, now=NOW)]
    assert json.loads(orjson.dumps(found)) == found
    cara = next(one for one in found if one["name"] == "Cara")
    assert cara["drift"] is True
    assert cara["falls"][0]["alarm"] is True
    assert cara["since"] == (NOW - timedelta(days=30)).isoformat()
    assert store.query("SELECT count(*) AS n FROM votes", fresh=True).to_pylist() == n_votes
    store.drain_all(30)
    assert [stats.to_json() for stats in reviewer_stats(store, folder, now=NOW)] == found


def test_a_bar_that_nobody_can_fall_below_is_refused(store: TraceStore, folder: ProjectFolder) -> None:
    tasks = put_tasks(store, ["hate"], kind="check")
    put_votes(store, "ann", {tasks[0]: "hate"})
    with pytest.raises(ConfigError, match="above 0 and below 1, found 1"):
        reviewer_stats(store, folder, now=NOW, bar=1.0)


def test_reviewers_are_anonymous_by_their_first_vote() -> None:
    def vote(name: str, minute: int, *, role: str = "reviewer") -> Vote:
        return Vote(
            vote_id=f"{name}{minute}",
            project="mini",
            task_id="t",
            item_id="i",
            annotator=name,
            role="adjudicator" if role == "adjudicator" else "reviewer",
            answer="label",
            label="safe",
            note=None,
            source="web",
            seconds=None,
            at=NOW + timedelta(minutes=minute),
        )

    votes = [vote("zoe", 3), vote("ann", 5), vote("zoe", 9), vote("lead", 0, role="adjudicator")]
    assert anonymous(votes) == {"zoe": "Reviewer 1", "ann": "Reviewer 2"}
    assert anonymous(reversed(votes)) == anonymous(votes)
    assert anonymous([]) == {}
