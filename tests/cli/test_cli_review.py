"""`labelproof review`: tasks go out as files, answers come back; the queue is asked, planned and verified."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from labelproof.cli import _review_asks
from labelproof.cli.review import app
from labelproof.review import terminal
from labelproof.review._desk_writer import vote_row
from labelproof.review.desk import Desk
from labelproof.review.model import Assignment, Ballot, Reviewer, Vote
from labelproof.review.office import Office, office_url, open_office
from labelproof.store import TraceStore, open_store
from tests.report.review_rows import T0, add_items, add_run, add_tasks, add_votes, project

Review = Callable[..., Result]


@pytest.fixture
def store(work: Path) -> Iterator[TraceStore]:
    project(work / "projects" / "mini")
    with open_store(work / "store") as opened:
        yield opened


@pytest.fixture
def review(work: Path) -> Review:
    def run(*arguments: str) -> Result:
        result = CliRunner().invoke(app, list(arguments))
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        return result

    return run


def test_out_and_back(review: Review, store: TraceStore) -> None:
    ids = add_items(store, ["=1+1", "two", "three"], [{"lang": "en", "score": 0.5}] * 3)
    add_tasks(store, ids, labels=["hate"] * 3)
    made = review("export", "mini", "--to", "ann.csv", "--annotator", "ann", "--limit", "2")
    assert made.exit_code == 0
    assert "ann.csv: 2 of 3 open tasks (2 audit); 4 answers wanted for them" in made.stdout
    assert "labels: safe, hate, spam" in made.stdout
    assert "metadata left out because it could give an answer away: score" in made.stdout
    assert "labelproof review import mini ann.csv" in made.stdout
    with Path("ann.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert {row["annotator"] for row in rows} == {"ann"}
    for who, labels in (("ann", ("spam", "hate")), ("bob", ("spam", "safe"))):
        with Path(f"{who}.csv").open("w", newline="") as stream:
            writer = csv.DictWriter(stream, rows[0])
            writer.writeheader()
            filled = zip(rows, labels, strict=True)
            writer.writerows([{**row, "annotator": who, "label": label} for row, label in filled])
    assert review("import", "mini", "ann.csv").exit_code == 0
    second = review("import", "mini", "bob.csv")
    assert second.exit_code == 0
    assert "2 rows = 2 new answers + 0 stored before + 0 not filled in + 0 bad" in second.stdout
    assert "1 agreed (before: 0), 1 disputed (before: 0)" in second.stdout
    assert "1 need an adjudicator: labelproof review export mini --kind disputed" in second.stdout
    again = json.loads(review("import", "mini", "bob.csv", "--json").stdout)
    assert (again["stored"], again["already_stored"]) == (0, 2)
    disputed = review("export", "mini", "--to", "d.jsonl", "--kind", "disputed")
    assert "--role adjudicator" in disputed.stdout
    row = json.loads(Path("d.jsonl").read_text())
    assert (row["label"], row["annotator"]) == (None, None)
    Path("d.jsonl").write_text(json.dumps({**row, "label": "safe", "annotator": "cleo"}))
    last = review("import", "mini", "d.jsonl", "--role", "adjudicator")
    assert "1 adjudicated (before: 0)" in last.stdout


def test_nothing_waits(review: Review, store: TraceStore) -> None:
    made = review("export", "mini", "--to", "a.csv", "--kind", "audit")
    assert made.exit_code == 0
    assert "no audit task waits. Nothing was written" in made.stdout
    assert not Path("a.csv").exists()
    found = json.loads(review("export", "mini", "--to", "a.csv", "--json").stdout)
    assert (found["file"], found["rows"]) == (None, 0)


def test_a_file_without_a_usable_row_exits_2_and_names_the_lines(review: Review, store: TraceStore) -> None:
    (task,) = add_tasks(store, add_items(store, ["one"]))
    Path("a.csv").write_text(f"task_id,label,annotator\n{task},[bold]red[/],ann\nb2:x,spam,ann\n")
    made = review("import", "mini", "a.csv", "--show", "1")
    assert made.exit_code == 2
    assert "a.csv:2: label '[bold]red[/]' is not in the schema" in made.stdout.replace("\n", " ")
    assert "and 1 more (--show 2)" in made.stdout
    assert "nothing was stored" in made.stdout
    found = json.loads(review("import", "mini", "a.csv", "--json").stdout)
    assert [(row["line"], row["source"]) for row in found["errors"]] == [(2, "a.csv"), (3, "a.csv")]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("import", "mini", "none.csv"), "no such file"),
        (("import", "other", "none.csv"), "no project 'other'"),
        (("export", "mini", "--to", "sheet.docx"), "cannot tell the format"),
    ],
)
def test_what_the_user_must_fix_exits_2(
    review: Review, store: TraceStore, arguments: tuple[str, ...], says: str
) -> None:
    add_tasks(store, add_items(store, ["one"]))
    made = review(*arguments)
    assert made.exit_code == 2
    assert says in made.stderr


# --- Label Studio --------------------------------------------------------------------------------


def annotated(tasks: list[dict[str, Any]], label: str, by: Any) -> list[dict[str, Any]]:
    """The export of a Label Studio project into which ``tasks`` were imported."""
    value = {"choices": [label]}
    result = [{"from_name": "label", "to_name": "content", "type": "choices", "value": value}]
    made = {"id": 5, "completed_by": by, "result": result, "updated_at": "2026-03-03T09:00:00.000000Z"}
    return [{"id": i, **task, "annotations": [made]} for i, task in enumerate(tasks)]


def test_label_studio_out_and_back(review: Review, store: TraceStore) -> None:
    add_tasks(store, add_items(store, ["one", "two"]), labels=["hate"] * 2)
    made = review("export", "mini", "--to", "t.json", "--config", "c.xml")
    assert made.exit_code == 0
    assert "t.json: 2 of 2 open tasks" in made.stdout
    assert "labelproof review import mini EXPORT.json" in made.stdout
    assert "column" not in made.stdout
    assert Path("c.xml").read_text().startswith("<View>")
    tasks = json.loads(Path("t.json").read_text())
    Path("export.json").write_text(json.dumps(annotated(tasks, "spam", 7)))
    Path("people.yaml").write_text("7: ann\n")
    first = review("import", "mini", "export.json", "--annotators", "people.yaml")
    assert first.exit_code == 0
    assert "2 rows = 2 new answers + 0 stored before" in first.stdout
    again = json.loads(
        review("import", "mini", "export.json", "--annotators", "people.yaml", "--json").stdout
    )
    assert (again["stored"], again["already_stored"]) == (0, 2)
    Path("export.json").write_text(json.dumps(annotated(tasks, "spam", "bob@example.org")))
    assert "2 agreed (before: 0)" in review("import", "mini", "export.json").stdout
    rows = store.query("SELECT DISTINCT annotator FROM votes ORDER BY 1", fresh=True).to_pylist()
    assert [row["annotator"] for row in rows] == ["ann", "bob@example.org"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("export", "mini", "--to", "a.csv", "--config", "c.xml"), "--config is for Label Studio"),
        (("import", "mini", "sheet.csv", "--annotators", "p.yaml"), "--annotators is for Label Studio"),
        (("import", "mini", "export.json", "--annotators", "none.yaml"), "no such annotators file"),
        (("import", "mini", "export.json", "--annotators", "p.yaml"), "p.yaml:1"),
        (("import", "mini", "rows.json"), "entry 1 is no task of a Label Studio export"),
    ],
)
def test_label_studio_files_that_do_not_fit(
    review: Review, store: TraceStore, arguments: tuple[str, ...], says: str
) -> None:
    (task,) = add_tasks(store, add_items(store, ["one"]))
    Path("sheet.csv").write_text(f"task_id,label,annotator\n{task},spam,ann\n")
    Path("export.json").write_text("[]")
    Path("rows.json").write_text('[{"label": "spam"}]')
    Path("p.yaml").write_text("7: [ann]\n")
    made = review(*arguments)
    assert made.exit_code == 2
    assert says in made.stderr


def test_the_format_may_be_said(review: Review, store: TraceStore) -> None:
    add_tasks(store, add_items(store, ["=1+1"]))
    assert review("export", "mini", "--to", "a.txt", "--format", "csv").exit_code == 0
    assert "'=1+1" in Path("a.txt").read_text()
    assert review("export", "mini", "--to", "b.txt", "--format", "label-studio").exit_code == 0
    assert json.loads(Path("b.txt").read_text())[0]["data"]["text"] == "=1+1"


# --- the queue -----------------------------------------------------------------------------------


@pytest.fixture
def people(store: TraceStore) -> Iterator[Office]:
    """An office with a reviewer, a lead, and somebody of another project."""
    with open_office(office_url(store.location)) as office:
        office.accounts.add("ann")
        office.accounts.add("lea", role="lead")
        office.accounts.add("other", projects=["elsewhere"])
        yield office


def test_start_opens_the_terminal_for_an_account(
    review: Review, store: TraceStore, people: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_tasks(store, add_items(store, ["one", "two"]), kind="routed")
    seen: list[Any] = []

    def run_terminal(desk: Desk, reviewer: Reviewer, project: str) -> int:
        found = desk.next(reviewer, project)
        assert isinstance(found, Assignment)
        ballot = Ballot(
            task_id=found.task.task_id, token=found.lease.token, key="k" * 8, answer="label", label="spam"
        )
        seen.extend((reviewer.name, desk.cast(reviewer, project, ballot, source="terminal").vote.annotator))
        return 1

    monkeypatch.setattr(terminal, "run_terminal", run_terminal)
    monkeypatch.setattr(_review_asks, "is_terminal", lambda: True)
    made = review("start", "mini", "--as", "ANN")
    assert (made.exit_code, made.stdout) == (0, "1 answer stored\n")
    assert seen == ["ann", "ann"]
    found = json.loads(review("start", "mini", "--as", "ann", "--json").stdout)
    assert found == {"project": "mini", "reviewer": "ann", "answers": 1}
    verified = review("verify", "mini")
    assert (verified.exit_code, "2 valid, 0 invalid; 0 votes" in verified.stdout) == (0, True)
    shown = review("stats", "mini")
    assert "2 label" in shown.stdout
    assert "ranking" in shown.stdout
    (stats,) = json.loads(review("stats", "mini", "--json").stdout)
    assert (stats["name"], stats["answers"]["label"]) == ("ann", 2)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("nobody", "there is no account 'nobody'; there are: ann, lea, other"),
        ("other", "'other' has no access to project 'mini', only to: elsewhere"),
    ],
)
def test_start_needs_an_account_of_the_project(
    review: Review,
    store: TraceStore,
    people: Office,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    says: str,
) -> None:
    monkeypatch.setattr(_review_asks, "is_terminal", lambda: True)
    made = review("start", "mini", "--as", name)
    assert made.exit_code == 2
    assert says in made.stderr
    assert f"labelproof reviewers {'add' if name == 'nobody' else 'edit'} {name}" in made.stderr


def test_start_needs_a_terminal(review: Review, store: TraceStore, people: Office) -> None:
    made = review("start", "mini", "--as", "ann")
    assert made.exit_code == 2
    assert "reviewing needs a terminal" in made.stderr


def test_votes_that_nobody_signed_are_found(review: Review, store: TraceStore, people: Office) -> None:
    ids = add_items(store, ["one", "two", "three", "four", "five"])
    tasks = add_tasks(store, ids)
    vote = Vote(
        vote_id="v0",
        project="mini",
        task_id=tasks[0],
        item_id=ids[0],
        annotator="ann",
        role="reviewer",
        answer="label",
        label="spam",
        note=None,
        source="web",
        seconds=2.5,
        at=T0,
    )
    good = replace(vote, signature=people.signer.sign(vote))
    stored = [
        good,
        replace(good, vote_id="v1", task_id=tasks[1]),
        replace(vote, vote_id="v2", task_id=tasks[2], source="terminal"),
        replace(vote, vote_id="v3", task_id=tasks[3], signature="hs1:00000000:" + 64 * "0"),
    ]
    rows = [vote_row(one) for one in stored]
    store.append("votes", {name: [row[name] for row in rows] for name in rows[0]})
    add_votes(store, tasks[4:], ids[4:], ["hate"], annotator="bob", at=T0)
    made = review("verify", "mini", "--show", "2")
    assert made.exit_code == 1
    assert "5 votes: 1 valid, 3 invalid; 1 votes from files carry none" in made.stdout
    assert "its signature does not fit" in made.stdout
    assert "and 1 more (--show 3)" in made.stdout
    found = json.loads(review("verify", "mini", "--json").stdout)
    assert (found["valid"], found["unsigned"]) == (1, 1)
    assert [(bad["vote_id"], bad["reason"][:20]) for bad in found["invalid"]] == [
        ("v1", "its signature does n"),
        ("v2", "it says it comes fro"),
        ("v3", "it is signed with th"),
    ]


def test_plan_says_what_waits_and_who_is_needed(review: Review, store: TraceStore, people: Office) -> None:
    add_tasks(store, add_items(store, ["one", "two", "three"]), at=datetime.now(UTC))
    shown = review("plan", "mini")
    assert shown.exit_code == 0
    assert "mini: 3 open tasks" in shown.stdout
    assert "with 2 people, 6 hours a day" in shown.stdout  # ann and lea; `other` sees no task of it
    assert "audits" in shown.stdout
    found = json.loads(
        review("plan", "mini", "--people", "3", "--hours-per-day", "8", "--per-hour", "6", "--json").stdout
    )
    assert found["queue"]["open_by_kind"]["audit"] == 3
    plan = found["plan"]
    assert (plan["people"], plan["hours_per_day"], plan["votes_left"]) == (3, 8, 6)
    assert plan["rate"]["median"] == 6
    assert plan["work_hours"]["value"] is not None
    assert "3 open tasks" in review("plan", "mini", "--people", "0").stdout


def test_leads_close_and_reopen(review: Review, store: TraceStore, people: Office) -> None:
    (task,) = add_tasks(store, add_items(store, ["one"]), at=datetime.now(UTC))
    refused = review("close", "mini", task, "--why", "spam run", "--as", "ann")
    assert refused.exit_code == 2
    assert "Only leads" in refused.stderr
    closed = review("close", "mini", task[:12], "--why", "spam run", "--as", "lea", "--json")
    assert json.loads(closed.stdout) == {"task_id": task, "state": "closed", "label": None}
    reopened = review("reopen", "mini", task, "--why", "it was not", "--as", "lea")
    assert f"{task} is open now" in reopened.stdout
    events = store.query("SELECT event, actor, reason FROM review_events ORDER BY ts", fresh=True)
    assert [tuple(row.values()) for row in events.to_pylist()] == [
        ("closed", "lea", "spam run"),
        ("reopened", "lea", "it was not"),
    ]
    unknown = review("close", "mini", "b2:nothing", "--why", "x", "--as", "lea")
    assert "no task of project 'mini' begins with 'b2:nothing'" in unknown.stderr
    add_tasks(store, add_items(store, ["two"]))
    several = review("close", "mini", "b2:", "--why", "x", "--as", "lea")
    assert (several.exit_code, "several tasks begin with 'b2:'" in several.stderr) == (2, True)


def decide(store: TraceStore, ids: list[str], labels: list[str], strategy: str, decision: str) -> None:
    """Store decisions of a run of ``strategy``."""
    run = f"run-{strategy}"
    n = len(ids)
    add_run(store, run, strategy=strategy, fp=f"b2:{strategy}")
    store.append(
        "decisions",
        {
            "run_id": [run] * n,
            "item_id": ids,
            "strategy_fp": [f"b2:{strategy}"] * n,
            "label": labels,
            "confidence": [0.5] * n,
            "decision": [decision] * n,
            "reason": ["below threshold"] * n,
            "ts": [T0] * n,
        },
    )


def test_fill_queues_what_older_runs_left(review: Review, store: TraceStore) -> None:
    ids = add_items(store, ["one", "two"])
    decide(store, ids, ["spam", "hate"], "champion", "review")
    assert review("fill", "mini").stdout == "2 new tasks\n"
    assert json.loads(review("fill", "mini", "--json").stdout) == {"project": "mini", "tasks": 0}
    assert "all of it is queued" in review("fill", "mini", "--strategy", "champion").stdout
    unknown = review("fill", "mini", "--strategy", "nope")
    assert (unknown.exit_code, "has decided nothing" in unknown.stderr) == (2, True)


def test_ask_about_differences(review: Review, store: TraceStore) -> None:
    ids = add_items(store, ["one", "two", "three"])
    decide(store, ids, ["spam", "hate", "safe"], "champion", "auto_accept")
    decide(store, ids, ["spam", "safe", "hate"], "challenger", "auto_accept")
    asked = review("ask", "mini", "--between", "champion", "challenger", "--limit", "1", "--json")
    assert json.loads(asked.stdout) == {
        "project": "mini",
        "between": ["champion", "challenger"],
        "tasks": 1,
    }
    assert review("ask", "mini", "--between", "champion", "challenger").stdout == "1 new tasks\n"
    assert "nothing to ask" in review("ask", "mini", "--between", "champion", "challenger").stdout


def test_an_appeal_asks_two_people_again(review: Review, store: TraceStore, people: Office) -> None:
    ids = add_items(store, ["one"])
    decide(store, ids, ["spam"], "champion", "auto_accept")
    made = review("ask", "mini", "--item", "m0", "--why", "it is a joke", "--as", "ann")
    assert made.exit_code == 0
    assert "2 people will be asked" in made.stdout
    (task,) = store.query("SELECT kind, reason FROM review_tasks", fresh=True).to_pylist()
    assert (task["kind"], task["reason"]) == ("appeal", "ann: it is a joke")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((), "expected --item ID or --between A B"),
        (("--item", "m0", "--between", "a", "b"), "expected --item ID or --between A B"),
        (("--item", "m0", "--as", "ann"), "an appeal needs --why TEXT and --as NAME"),
        (("--item", "m9", "--why", "x", "--as", "ann"), "knows no item 'm9'"),
        (("--item", "m0", "--why", "x", "--as", "zoe"), "there is no account 'zoe'"),
    ],
)
def test_an_appeal_needs_an_item_a_reason_and_a_person(
    review: Review, store: TraceStore, people: Office, arguments: tuple[str, ...], says: str
) -> None:
    made = review("ask", "mini", *arguments)
    assert made.exit_code == 2
    assert says in made.stderr
