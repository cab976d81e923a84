"""`labelproof review`: the sheet goes out, the answers come back, exit codes say whether they could be used."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from labelproof.cli.review import app
from labelproof.store import TraceStore, open_store
from tests.report.review_rows import add_items, add_tasks, project

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
