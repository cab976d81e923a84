"""The dashboard's numbers by hand, its queries run as shown, and the queue's own rule for due times in SQL."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import krippendorff
import numpy as np
import orjson
import pytest

from agents.certificates import StoredCertificate, answers_fingerprint, issue
from agents.run.workload import load_workload
from evaluation.intervals import wilson
from labelproof.review.model import Vote
from labelproof.review.people import Dashboard, dashboard, hours_text
from labelproof.review.people._dashboard_sql import due_hours
from labelproof.review.queue import Queue, QueueOverview, build_task
from labelproof.spec.project import ProjectFolder, find_project
from labelproof.spec.review import TASK_KINDS
from labelproof.store import TraceStore, open_store
from tests.conftest import write_strategy
from tests.review.people_rows import LABELS, NOW, mostly_right, people_project, put_tasks, put_votes

KEYS = ["coverage", "quality", "queue", "sla", "votes", "agreement", "outcomes", "certificates"]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[TraceStore]:
    with open_store(tmp_path / "store") as opened:
        yield opened


@pytest.fixture
def folder(tmp_path: Path) -> ProjectFolder:
    return people_project(tmp_path / "mini")


def overview_of(store: TraceStore, folder: ProjectFolder) -> QueueOverview:
    """Return the overview of a queue built from all that is stored."""
    queue = Queue(folder.spec.review)
    for row in store.query("SELECT * FROM review_tasks", fresh=True).to_pylist():
        queue.add(build_task(row, folder.spec.review, folder.spec.labels, {}))
    for row in store.query("SELECT * FROM votes", fresh=True).to_pylist():
        at = row.pop("ts").astimezone(UTC)
        queue.apply_vote(Vote(**row, at=at))
    return queue.overview(NOW)


def look(store: TraceStore, folder: ProjectFolder) -> Dashboard:
    return dashboard(store, folder, overview_of(store, folder), now=NOW)


def decide(
    store: TraceStore,
    decisions: Sequence[str],
    *,
    run: str = "r1",
    strategy: str = "champion",
    at: datetime = NOW - timedelta(days=3),
    first: int = 0,
    certificate: str | None = None,
) -> list[str]:
    """Store a run's decisions, each of another item, every one audited with probability a half if accepted."""
    n = len(decisions)
    ids = [f"b2:d{first + i:05d}" for i in range(n)]
    fp = f"b2:{strategy}"
    store.append(
        "runs",
        {
            "run_id": [run],
            "event": ["started"],
            "project": ["mini"],
            "strategy": [strategy],
            "strategy_fp": [fp],
            "ts": [at],
        },
    )
    store.append(
        "decisions",
        {
            "run_id": [run] * n,
            "item_id": ids,
            "strategy_fp": [fp] * n,
            "label": ["safe"] * n,
            "confidence": [0.9] * n,
            "decision": list(decisions),
            "inclusion_prob": [0.5] * n,
            "certificate_id": [certificate] * n,
            "audited": [decision == "auto_accept" and i % 2 == 0 for i, decision in enumerate(decisions)],
            "ts": [at + timedelta(seconds=first + i) for i in range(n)],
        },
    )
    return ids


def audit(store: TraceStore, ids: Sequence[str], labels: Sequence[str]) -> None:
    """Store the audits of items and two agreeing votes on each."""
    n = len(ids)
    tasks = [f"audit {one}" for one in ids]
    columns = {"task_id": tasks, "project": ["mini"] * n, "kind": ["audit"] * n, "item_id": list(ids)}
    store.append(
        "review_tasks",
        {
            **columns,
            "blind": [True] * n,
            "votes_wanted": [2] * n,
            "inclusion_prob": [0.5] * n,
            "ts": [NOW - timedelta(days=3)] * n,
        },
    )
    for name in ("ann", "bob"):
        put_votes(store, name, dict(zip(tasks, labels, strict=True)), at=NOW - timedelta(days=1))


def test_an_empty_project_says_why_there_is_nothing_to_tell(store: TraceStore, folder: ProjectFolder) -> None:
    found = look(store, folder)
    assert [panel.key for panel in found.panels] == KEYS
    assert found.panel("coverage").value == "cannot be told"
    assert found.panel("coverage").detail == "champion has decided no item yet"
    assert found.panel("quality").value == "cannot be told"
    assert "no automatic decision was made" in found.panel("quality").detail
    assert found.panel("queue").value == "0 open, 0 overdue"
    assert found.panel("queue").detail == "nothing waits"
    assert found.panel("sla").numbers["days_7"]["reason"] == "no task was decided in the last 7 days"
    assert found.panel("votes").numbers["total"] == 0
    assert found.panel("agreement").numbers["alpha"]["reason"] == "no blind task has two votes"
    assert found.panel("outcomes").value == "0"
    assert found.panel("certificates").detail == "none was issued"


def test_every_query_runs_as_shown_and_the_numbers_become_json(
    store: TraceStore, folder: ProjectFolder
) -> None:
    ids = decide(store, ["auto_accept"] * 10)
    audit(store, ids[::2], ["safe"] * 5)
    put_tasks(store, ["hate"], kind="routed")
    found = look(store, folder)
    for panel in found.panels:
        assert store.query(panel.sql, fresh=True).num_rows >= (panel.key != "certificates")
    shown = found.to_json()
    assert json.loads(orjson.dumps(shown)) == shown


def test_coverage_is_of_the_latest_decision_by_the_default_strategy(
    store: TraceStore, folder: ProjectFolder
) -> None:
    decide(store, ["auto_accept"] * 6 + ["review"] * 3 + ["failed"], at=NOW - timedelta(days=9))
    decide(store, ["review"] * 2, run="r2", at=NOW - timedelta(days=1))
    decide(store, ["auto_accept"] * 90, run="r3", strategy="challenger")
    panel = look(store, folder).panel("coverage")
    assert panel.value == "40.0 %"
    numbers = panel.numbers
    assert (numbers["decided"], numbers["auto_accepted"], numbers["to_people"], numbers["failed"]) == (
        10,
        4,
        5,
        1,
    )
    assert store.query(panel.sql, fresh=True).to_pylist()[0]["auto_accepted"] == 4


def test_quality_has_its_interval_its_audits_and_the_promise(store: TraceStore, tmp_path: Path) -> None:
    promising = people_project(tmp_path / "p", more="routing: {mode: threshold, alpha: 0.4}\n")
    ids = decide(store, ["auto_accept"] * 200)
    audit(store, ids[::2], ["hate"] * 5 + ["safe"] * 95)
    panel = look(store, promising).panel("quality")
    assert panel.value == "95.0 %"
    right = panel.numbers["right"]
    assert right["low"] < 0.95 < right["high"]
    assert panel.numbers["n_audits"] == 100
    assert panel.detail.startswith("Auto-decisions were right 95.0 %")


def test_looking_shows_an_alarm_and_voids_no_certificate(store: TraceStore, folder: ProjectFolder) -> None:
    ids = decide(store, ["auto_accept"] * 200, certificate=certify(store, NOW - timedelta(days=5)))
    audit(store, ids[::2], ["hate"] * 50 + ["safe"] * 50)
    events = store.query("SELECT * FROM certificate_events", fresh=True).to_pylist()
    panel = look(store, folder).panel("quality")
    assert panel.numbers["alarms"] == 1
    assert store.query("SELECT * FROM certificate_events", fresh=True).to_pylist() == events


def test_the_queue_s_ages_and_overdue_tasks(store: TraceStore, folder: ProjectFolder) -> None:
    hours = [1.0, 5.0, 13.0, 30.0]
    put_tasks(store, ["hate"] * 4, at=[NOW - timedelta(hours=h) for h in hours])  # due after 12 h
    put_tasks(store, [None] * 2, kind="audit", wanted=2, at=[NOW - timedelta(hours=h) for h in (80.0, 10.0)])
    put_tasks(store, ["safe"] * 3, kind="check", at=NOW - timedelta(days=9))
    panel = look(store, folder).panel("queue")
    assert panel.value == "6 open, 3 overdue"
    assert panel.detail == "oldest 3.3 days, median 12 h; overdue: audit 1, routed 2; 0 in hand now"
    routed = panel.numbers["by_kind"]["routed"]
    assert routed == {
        "open": 4,
        "overdue": 2,
        "oldest_hours": pytest.approx(30.0),
        "median_hours": pytest.approx(9.0),
    }
    rows = {row["kind"]: row for row in store.query(panel.sql, fresh=True).to_pylist()}
    assert {kind: row["overdue"] for kind, row in rows.items()} == {"audit": 1, "routed": 2, None: 3}
    assert rows[None]["oldest_hours"] == pytest.approx(80.0)


def test_deadlines_met_by_severity_and_kind(store: TraceStore, folder: ProjectFolder) -> None:
    made = NOW - timedelta(days=6)
    in_time = {"threat": 3.9, "hate": 11.9, "safe": 71.9}
    too_late = {"threat": 4.1, "hate": 12.1, "safe": 72.1}
    for label, h in [*in_time.items(), *too_late.items()]:
        task = put_tasks(store, [label], at=made)
        put_votes(store, "ann", {task[0]: label}, at=made + timedelta(hours=h))
    old = put_tasks(store, ["safe"] * 4, at=NOW - timedelta(days=20))
    put_votes(store, "ann", dict.fromkeys(old, "safe"), at=NOW - timedelta(days=19))
    long_ago = put_tasks(store, ["safe"], at=NOW - timedelta(days=50))
    put_votes(store, "ann", {long_ago[0]: "safe"}, at=NOW - timedelta(days=45))
    checks = put_tasks(store, ["safe"] * 4, kind="check", at=made)
    put_votes(store, "ann", dict.fromkeys(checks, "safe"), at=made)
    panel = look(store, folder).panel("sla")
    week, month = wilson(3, 6), wilson(7, 10)
    assert (
        panel.numbers["days_7"]["value"],
        panel.numbers["days_7"]["low"],
        panel.numbers["days_7"]["n"],
    ) == (
        week.value,
        week.low,
        6,
    )
    assert (panel.numbers["days_30"]["value"], panel.numbers["days_30"]["n"]) == (month.value, 10)
    assert panel.value == "50.0 %"


def test_votes_of_each_of_fourteen_days(store: TraceStore, folder: ProjectFolder) -> None:
    tasks = put_tasks(store, ["safe"] * 6)
    put_votes(store, "ann", dict.fromkeys(tasks[:3], "safe"), at=NOW)
    put_votes(store, "ann", {tasks[3]: "skip"}, at=NOW.replace(hour=0) - timedelta(seconds=1))
    put_votes(store, "ann", {tasks[4]: "safe"}, at=NOW - timedelta(days=14))
    put_votes(store, "ann", {tasks[5]: "safe"}, at=NOW - timedelta(minutes=9))
    put_votes(store, "ann", {tasks[5]: "withdrawn"}, at=NOW - timedelta(minutes=8))
    panel = look(store, folder).panel("votes")
    days = panel.numbers["days"]
    assert [day["votes"] for day in days] == [0] * 12 + [1, 3]
    assert (days[0]["day"], days[-1]["day"]) == ("2026-03-18", "2026-03-31")
    assert panel.value == "3"
    rows = store.query(panel.sql, fresh=True).to_pylist()
    assert [(str(row["utc_date"]), row["votes"]) for row in rows] == [("2026-03-30", 1), ("2026-03-31", 3)]


def test_agreement_is_alpha_of_blind_double_votes(store: TraceStore, folder: ProjectFolder) -> None:
    rng = np.random.default_rng(2)
    truth = [str(x) for x in rng.choice(LABELS, size=60)]
    tasks = put_tasks(store, [None] * 60, kind="gold", wanted=2)
    ann, bob = mostly_right(truth, 0.9, rng), mostly_right(truth, 0.8, rng)
    put_votes(store, "ann", dict(zip(tasks, ann, strict=True)))
    put_votes(store, "bob", dict(zip(tasks, bob, strict=True)))
    shown = put_tasks(store, ["safe"] * 20, blind=False, wanted=2)
    alone = put_tasks(store, ["safe"] * 20, wanted=2)
    for name in ("ann", "bob"):
        put_votes(store, name, dict.fromkeys(shown, "safe"))
    put_votes(store, "ann", dict.fromkeys(alone, "safe"))
    panel = look(store, folder).panel("agreement")
    codes = [[LABELS.index(x) for x in row] for row in (ann, bob)]
    expected = krippendorff.alpha(reliability_data=codes, level_of_measurement="nominal")
    alpha = panel.numbers["alpha"]
    assert alpha["value"] == pytest.approx(expected)
    assert alpha["n"] == 60
    assert panel.value == f"{expected:.2f}"


def test_outcomes_are_those_of_the_queue(store: TraceStore, folder: ProjectFolder) -> None:
    tasks = put_tasks(store, ["safe"] * 6, wanted=2)
    for name, label in (("ann", "safe"), ("bob", "safe")):
        put_votes(store, name, {tasks[0]: label})
    for name, label in (("ann", "safe"), ("bob", "hate")):
        put_votes(store, name, {tasks[1]: label, tasks[2]: label})
    put_votes(store, "lead", {tasks[2]: "hate"}, role="adjudicator")
    put_votes(store, "ann", {tasks[3]: "unclear"})
    found = look(store, folder)
    numbers = found.panel("outcomes").numbers
    assert numbers == {
        "open": 2,
        "agreed": 1,
        "disputed": 1,
        "escalated": 1,
        "adjudicated": 1,
        "closed": 0,
    }
    assert numbers == {str(state): n for state, n in overview_of(store, folder).by_state.items()}
    assert found.panel("outcomes").value == "2"


@pytest.mark.parametrize(("days_old", "state"), [(0, "not applicable"), (120, "expired")])
def test_only_certificates_that_hold_today_are_valid(
    store: TraceStore, folder: ProjectFolder, days_old: int, state: str
) -> None:
    """A certificate whose strategy has no file any more is not applicable, an old one has expired."""
    at = NOW - timedelta(days=days_old)
    certificate_id = certify(store, at)
    panel = look(store, folder).panel("certificates")
    assert (panel.value, panel.detail) == ("0", f"1 {state}")
    assert [(one["certificate_id"], one["state"]) for one in panel.numbers["all"]] == [
        (certificate_id, state)
    ]
    assert store.query(panel.sql, fresh=True).to_pylist()[0]["certificate_id"] == certificate_id


def test_a_valid_certificate_says_until_when(store: TraceStore, folder: ProjectFolder) -> None:
    write_strategy(folder.folder, "http://127.0.0.1:9/v1")
    resolved = load_workload(str(folder.folder), "champion").resolved
    certify(store, NOW, answers_fp=answers_fingerprint(resolved.snapshot))
    panel = look(store, folder).panel("certificates")
    assert (panel.value, panel.detail) == ("1", "champion until 2026-06-29")


def certify(store: TraceStore, at: datetime, *, answers_fp: str = "b2:a1") -> str:
    """Issue a certificate of the champion for 90 days and return its id."""
    issued = StoredCertificate.of(
        project="mini",
        strategy="champion",
        strategy_fp="b2:s1",
        answers_fp=answers_fp,
        calibrator_ids=(),
        gold_fp="b2:g",
        split_fp="b2:g1",
        design="simple_random",
        alpha=0.05,
        delta=0.05,
        groups=(),
        coverage=0.5,
        pool_n=1000,
        pool_fp="b2:p",
        finite_pool=False,
        n_looks=1,
        audit_plan=None,
        run_id="r1",
        issued_at=at.isoformat(),
        expires_at=(at + timedelta(days=90)).isoformat(),
    )
    issue(store, issued, at)
    return issued.certificate_id


@pytest.mark.parametrize("kind", ["single", "multi", "taxonomy"])
def test_due_times_in_sql_are_those_of_the_queue(store: TraceStore, tmp_path: Path, kind: str) -> None:
    folder = odd_project(tmp_path / kind, kind)
    schema, policy = folder.spec.labels, folder.spec.review
    labels: list[str | None] = [None, "", "gone", *schema.leaves]
    if kind == "multi":
        labels += ["none", schema.canonical(list(schema.leaves)), f"{schema.leaves[0]}+gone"]
    for task_kind in TASK_KINDS:
        put_tasks(store, labels, kind=task_kind)
    rows = store.query(
        f"SELECT *, {due_hours(policy, schema)} AS hours FROM review_tasks", fresh=True
    ).to_pylist()
    assert len(rows) == len(TASK_KINDS) * len(labels)
    for row in rows:
        task = build_task(row, policy, schema, {})
        assert timedelta(hours=row["hours"]) == task.due_at - task.made_at, (row["kind"], row["label"])


def odd_project(folder: Path, kind: str) -> ProjectFolder:
    """A project with names that a query could stumble over, and due times for some kinds and severities."""
    plain = (
        "[{name: it's, severity: critical}, {name: a $now b, severity: high}, {name: safe, severity: low}, "
        "{name: so-so}]"
    )
    nested = "[{name: bad, children: [{name: it's, severity: critical}, {name: mild}]}, {name: fine, severity: low}]"
    folder.mkdir(parents=True)
    (folder / "project.yaml").write_text(
        f"name: mini\nlabels: {{kind: {kind}, classes: {nested if kind == 'taxonomy' else plain}}}\n"
        "items: {path: items.jsonl}\n"
        "review: {sla_hours: {critical: 1.2345678, low: 100}, kind_sla_hours: {appeal: 7, check: 9}}\n"
    )
    return find_project(str(folder))


@pytest.mark.parametrize(
    ("hours", "text"), [(0.0, "0 min"), (0.66, "40 min"), (5.2, "5 h"), (47.9, "48 h"), (77.0, "3.2 days")]
)
def test_lengths_of_time_are_said_as_people_say_them(hours: float, text: str) -> None:
    assert hours_text(hours) == text
