"""Tasks go to Label Studio blind, and its annotations come back as votes, once each, with their author and time."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from labelproof.report.review_io import review_sheet
from labelproof.report.review_votes import ImportReport, Role
from labelproof.review.labelstudio import (
    import_label_studio,
    is_label_studio,
    labeling_config,
    tasks_json,
    write_label_studio,
)
from labelproof.spec.errors import ConfigError
from labelproof.spec.labels import LabelClass, LabelSchema
from labelproof.spec.project import ProjectFolder, find_project
from labelproof.store import TraceStore, open_store
from tests.report.review_rows import T0, add_items, add_tasks, add_votes, days, project

NOW = T0 + days(10)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[TraceStore]:
    with open_store(tmp_path / "store") as opened:
        yield opened


@pytest.fixture
def folder(tmp_path: Path) -> ProjectFolder:
    return project(tmp_path / "mini")


def stamp(at: datetime) -> str:
    """The way Label Studio writes times."""
    return at.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def annotation(
    *labels: str,
    by: Any = 7,
    at: datetime = T0,
    answer: str | None = None,
    note: str | None = None,
    **more: Any,
) -> dict[str, Any]:
    """An annotation as in a JSON export of Label Studio 1.x."""
    result: list[dict[str, Any]] = []
    for name, chosen in (("label", list(labels)), ("answer", [answer] if answer else [])):
        if chosen:
            value = {"choices": chosen}
            result.append(
                {"from_name": name, "to_name": "content", "type": "choices", "value": value, "id": "x1"}
            )
    if note is not None:
        result.append(
            {"from_name": "note", "to_name": "content", "type": "textarea", "value": {"text": [note]}}
        )
    return {
        "id": 1001,
        "completed_by": by,
        "result": result,
        "was_cancelled": False,
        "ground_truth": False,
        "created_at": stamp(T0),
        "updated_at": stamp(at),
        "lead_time": 4.288,
        **more,
    }


class Desk:
    """A project with tasks, and exports of them."""

    def __init__(self, store: TraceStore, folder: ProjectFolder, path: Path) -> None:
        self.store, self.folder, self.path = store, folder, path / "export.json"

    def tasks(self, *texts: str) -> list[str]:
        return add_tasks(self.store, add_items(self.store, texts))

    def take(
        self,
        annotations: Mapping[str, list[dict[str, Any]]],
        *,
        now: datetime = NOW,
        annotator: str | None = None,
        annotators: Mapping[str, str] | None = None,
        role: Role = "reviewer",
    ) -> ImportReport:
        tasks = [
            {"id": i, "data": {"task_id": task, "text": "x"}, "annotations": made, "predictions": []}
            for i, (task, made) in enumerate(annotations.items())
        ]
        return self.take_file(tasks, now=now, annotator=annotator, annotators=annotators, role=role)

    def take_file(self, content: Any, *, now: datetime = NOW, **more: Any) -> ImportReport:
        self.path.write_text(json.dumps(content))
        return import_label_studio(self.store, self.folder, str(self.path), now=now, **more)

    def votes(self, table: str = "votes") -> list[dict[str, Any]]:
        found = self.store.query(f"SELECT * FROM {table} ORDER BY ts, annotator", fresh=True)
        return [dict(row) for row in found.to_pylist()]

    def said(self) -> list[str]:
        return [row["label"] or row["answer"] for row in self.votes("current_votes")]


@pytest.fixture
def desk(store: TraceStore, folder: ProjectFolder, tmp_path: Path) -> Desk:
    return Desk(store, folder, tmp_path)


def test_tasks_are_blind_and_keep_the_text(desk: Desk) -> None:
    hostile = "<img src=x onerror=alert(1)> $text =1+1 \u202eabc\x00"
    ids = add_items(desk.store, [hostile], [{"lang": "en", "confidence": 0.9}])
    (task_id,) = add_tasks(desk.store, ids, labels=["hate"])
    sheet = review_sheet(desk.store, desk.folder)
    (task,) = tasks_json(sheet)
    assert set(task) == {"data", "meta"}
    assert task["data"] == {
        "task_id": task_id,
        "item_id": ids[0],
        "kind": "audit",
        "text": hostile.replace("\x00", "\u2400"),
        "hidden": "U+0000 control character; U+202E RIGHT-TO-LEFT OVERRIDE",
        "meta": '{"lang":"en"}',
    }
    said = json.dumps(task)
    assert "hate" not in said
    assert "0.97" not in said
    assert "prediction" not in said


def test_files_are_written_once_and_whole(desk: Desk, tmp_path: Path) -> None:
    desk.tasks("one", "two")
    sheet = review_sheet(desk.store, desk.folder)
    tasks, config = tmp_path / "out" / "t.json", tmp_path / "out" / "c.xml"
    schema = desk.folder.spec.labels
    assert write_label_studio(sheet, schema, tasks, config) == 2
    assert json.loads(tasks.read_text()) == tasks_json(sheet)
    assert config.read_text() == labeling_config(schema)
    assert sorted(path.name for path in tasks.parent.iterdir()) == ["c.xml", "t.json"]
    tasks.unlink()
    with pytest.raises(ConfigError, match="the file exists"):
        write_label_studio(sheet, schema, tasks, config)
    assert not tasks.exists()
    write_label_studio(sheet, schema, tasks, config, overwrite=True)
    with pytest.raises(ConfigError, match="two files"):
        write_label_studio(sheet, schema, tasks, tasks, overwrite=True)


def test_the_interface_asks_for_a_label_or_another_answer(folder: ProjectFolder) -> None:
    view = ET.fromstring(labeling_config(folder.spec.labels))
    content = view.find("Text")
    assert content is not None
    assert (content.get("value"), content.get("valueType")) == ("$text", "text")
    groups = {tag.get("name"): tag for tag in view.findall("Choices")}
    assert groups["label"].get("choice") == "single"
    assert [c.get("value") for c in groups["label"]] == ["safe", "hate", "spam"]
    assert [c.get("value") for c in groups["answer"]] == ["skip", "flag", "unclear"]
    controls = [tag for tag in view if tag.get("toName")]
    assert {tag.get("toName") for tag in controls} == {content.get("name")}
    assert {tag.get("name") for tag in controls} == {"label", "answer", "note"}


def test_several_labels_and_trees_have_their_own_controls() -> None:
    multi = ET.fromstring(labeling_config(LabelSchema(kind="multi", classes=(LabelClass(name="a"),))))
    group = multi.find("Choices[@name='label']")
    assert group is not None
    assert group.get("choice") == "multiple"
    assert [c.get("value") for c in group] == ["a", "none"]
    parent = LabelClass(name="harm", children=(LabelClass(name="threat"), LabelClass(name="insult")))
    schema = LabelSchema(kind="taxonomy", classes=(parent, LabelClass(name="fine")))
    tree = ET.fromstring(labeling_config(schema)).find("Taxonomy")
    assert tree is not None
    assert tree.get("leafsOnly") == "true"
    assert [c.get("value") for c in tree] == ["harm", "fine"]
    assert [c.get("value") for c in tree[0]] == ["threat", "insult"]


def test_label_names_are_escaped_and_come_back_as_they_were(desk: Desk, tmp_path: Path) -> None:
    names = ['<b>&"quoted"\'', "$text", "a  b", "\U0001f600"]
    classes = tuple(LabelClass(name=name, description="bad \x08 <tag> & $text\nline") for name in names)
    config = labeling_config(LabelSchema(classes=classes))
    assert "$text\n" not in config
    group = ET.fromstring(config).find("Choices[@name='label']")
    assert group is not None
    shown = [choice.attrib["value"] for choice in group]
    assert [value.replace("\u2060", "") for value in shown] == names
    assert "$text" not in shown  # Label Studio would fill in the item's text
    assert {choice.get("hint") for choice in group} == {"bad  <tag> & $\u2060text line"}
    folder = tmp_path / "odd"
    folder.mkdir()
    listed = json.dumps([{"name": name} for name in names], ensure_ascii=False)
    (folder / "project.yaml").write_text(
        f"name: mini\nlabels: {{kind: single, classes: {listed}}}\nitems: {{path: i.jsonl}}\n"
    )
    desk.folder = find_project(str(folder))
    tasks = desk.tasks("one", "two", "three", "four")
    desk.take({task: [annotation(value)] for task, value in zip(tasks, shown, strict=True)})
    assert sorted(desk.said()) == sorted(names)


def test_an_annotation_becomes_a_vote_with_author_time_and_seconds(desk: Desk) -> None:
    (task,) = desk.tasks("one")
    report = desk.take({task: [annotation("hate", at=T0 + days(1), note="  sure  ")]})
    assert (report.n_rows, report.n_stored, report.errors) == (1, 1, ())
    (vote,) = desk.votes()
    assert (vote["annotator"], vote["answer"], vote["label"]) == ("ls-7", "label", "hate")
    assert (vote["note"], vote["seconds"], vote["ts"]) == ("sure", 4.288, T0 + days(1))
    assert (vote["task_id"], vote["role"], vote["signature"]) == (task, "reviewer", None)


def test_several_people_answer_one_task(desk: Desk) -> None:
    one, two = desk.tasks("one", "two")
    report = desk.take(
        {
            one: [annotation("hate", by=1), annotation("hate", by=2)],
            two: [annotation("hate", by=1), annotation("safe", by=2)],
        }
    )
    assert report.n_stored == 4
    assert report.after == {"agreed": 1, "disputed": 1}


@pytest.mark.parametrize(
    ("by", "who"),
    [
        (7, "ls-7"),
        ("7", "ls-7"),
        ("ann@example.org", "ann@example.org"),
        ({"id": 7, "email": "ann@example.org", "first_name": "Ann"}, "ann@example.org"),
        ({"id": 7}, "ls-7"),
        (8, "bob"),
        ("BOB@example.org", "bob"),
        ({"id": 9, "email": "bob@example.org"}, "bob"),
        ({"id": 8, "email": "other@example.org"}, "bob"),
        (None, "default"),
    ],
)
def test_who_annotated(desk: Desk, by: Any, who: str) -> None:
    (task,) = desk.tasks("one")
    people = {"8": "bob", "bob@example.org": "bob"}
    desk.take({task: [annotation("hate", by=by)]}, annotators=people, annotator="default")
    assert [vote["annotator"] for vote in desk.votes()] == [who]


def test_other_answers(desk: Desk) -> None:
    tasks = desk.tasks("one", "two", "three", "four")
    desk.take(
        {
            tasks[0]: [annotation(was_cancelled=True)],
            tasks[1]: [annotation(answer="flag")],
            tasks[2]: [annotation(answer="unclear", note="which rule?")],
            tasks[3]: [annotation("hate", was_cancelled=True)],
        }
    )
    assert {vote["task_id"]: vote["answer"] for vote in desk.votes()} == dict(
        zip(tasks, ["skip", "flag", "unclear", "skip"], strict=True)
    )
    assert {vote["label"] for vote in desk.votes()} == {None}


def test_the_same_export_twice_stores_nothing_twice(desk: Desk) -> None:
    one, two = desk.tasks("one", "two")
    export = {one: [annotation("hate", by=1), annotation("safe", by=2)], two: []}
    first = desk.take(export)
    again = desk.take(export, now=NOW + days(1))
    assert (first.n_stored, first.n_known, first.n_unanswered) == (2, 0, 1)
    assert (again.n_stored, again.n_known, again.n_unanswered) == (0, 2, 1)
    assert len(desk.votes()) == 2


def test_an_edited_annotation_is_a_newer_vote(desk: Desk) -> None:
    (task,) = desk.tasks("one")
    exports = [
        {task: [annotation(label, at=T0 + days(day))]} for day, label in enumerate(["hate", "safe", "hate"])
    ]
    for n, export in enumerate(exports, start=1):
        assert desk.take(export).n_stored == 1
        assert len(desk.votes()) == n
        assert desk.take(export).n_known == 1
    assert desk.said() == ["hate"]
    for old in exports:  # an old export brings nothing back
        report = desk.take(old)
        assert (report.n_stored, report.n_known, report.errors) == (0, 1, ())
    assert desk.said() == ["hate"]


def test_old_exports_read_late_do_not_beat_newer_ones(desk: Desk) -> None:
    (task,) = desk.tasks("one")
    desk.take({task: [annotation("safe", at=T0 + days(2))]})
    assert desk.take({task: [annotation("hate", at=T0 + days(1))]}).n_stored == 1
    assert desk.said() == ["safe"]


def test_two_annotations_of_one_person_count_by_their_time(desk: Desk) -> None:
    one, two = desk.tasks("one", "two")
    back = [annotation("hate", at=T0 + days(day)) for day in (0, 2)]
    export = {
        one: [annotation("safe", at=T0 + days(1)), *reversed(back)],
        two: [annotation("hate"), annotation("safe")],
    }
    report = desk.take(export)
    assert report.n_stored == 3
    assert desk.said() == ["hate"]
    assert [error.line for error in report.errors] == [2, 2]
    assert "answers this task twice in this file, differently" in report.errors[0].reason
    again = desk.take(export)
    assert (again.n_stored, again.n_known) == (0, 3)


def test_a_time_that_has_not_come_yet_is_now(desk: Desk) -> None:
    one, two = desk.tasks("one", "two")
    made = annotation("hate", updated_at="soon", created_at=None)
    desk.take({one: [annotation("hate", at=NOW + days(300))], two: [made]})
    assert {vote["ts"] for vote in desk.votes()} == {NOW}


@pytest.mark.parametrize("lead_time", [None, -1, True, "4", 1e9])
def test_seconds_that_are_no_measurement_are_unknown(desk: Desk, lead_time: Any) -> None:
    (task,) = desk.tasks("one")
    desk.take({task: [annotation("hate", lead_time=lead_time)]})
    assert desk.votes()[0]["seconds"] is None


@pytest.mark.parametrize(
    ("made", "says"),
    [
        (
            annotation("spamm"),
            "'spamm' is not in the schema; expected one of: safe, hate, spam; closest: 'spam'",
        ),
        (annotation(), "no answer: neither a label nor skip, flag or unclear was chosen"),
        (annotation("hate", "safe"), "asks for one label; found 2: hate, safe"),
        (annotation("hate", answer="flag"), "'flag' and the label 'hate' contradict each other"),
        (annotation(answer="maybe"), "answer must be one of skip, flag, unclear; found 'maybe'"),
        (annotation("hate", by=None), "it does not say who annotated: give --annotator NAME"),
        (annotation(result="hate"), "expected a list in result, found str"),
        (annotation(result=["hate"]), "expected an object with a value in result"),
    ],
)
def test_an_annotation_that_is_no_vote_is_listed_with_its_place(
    desk: Desk, made: dict[str, Any], says: str
) -> None:
    one, two = desk.tasks("one", "two")
    report = desk.take({one: [annotation("hate")], two: [made]})
    assert report.n_stored == 1
    (error,) = report.errors
    assert (error.line, error.source) == (2, str(desk.path))
    assert "annotation 1001" in error.reason
    assert says in error.reason


def test_tasks_of_others_are_listed(desk: Desk) -> None:
    desk.tasks("one")
    report = desk.take_file(
        [
            {"id": 1, "data": {"text": "x"}, "annotations": [annotation("hate")]},
            {"id": 2, "data": {"task_id": "b2:other"}, "annotations": [annotation("hate")]},
        ]
    )
    assert not report.usable
    assert [(error.line, error.reason) for error in report.errors] == [
        (
            1,
            (
                "annotation 1001: no task_id in its data: expected tasks that "
                "`labelproof review export --format label-studio` wrote"
            ),
        ),
        (2, "no task 'b2:other' in this project"),
    ]


def test_several_labels(store: TraceStore, tmp_path: Path) -> None:
    desk = Desk(store, project(tmp_path / "mini", kind="multi"), tmp_path)
    tasks = desk.tasks("one", "two", "three", "four")
    report = desk.take(
        {
            tasks[0]: [annotation("spam", "hate")],
            tasks[1]: [annotation("none")],
            tasks[2]: [annotation("none", "hate")],
            tasks[3]: [annotation()],
        }
    )
    assert sorted(desk.said()) == ["hate+spam", "none"]
    assert "says that no label applies, and others are chosen too" in report.errors[0].reason
    assert "no answer" in report.errors[1].reason


def test_a_tree(store: TraceStore, tmp_path: Path) -> None:
    folder = tmp_path / "mini"
    folder.mkdir()
    (folder / "project.yaml").write_text(
        "name: mini\nlabels: {kind: taxonomy, classes: [{name: harm, children: [{name: threat}]}, {name: fine}]}\n"
        "items: {path: i.jsonl}\n"
    )
    desk = Desk(store, find_project(str(folder)), tmp_path)
    tasks = desk.tasks("one", "two", "three")

    def chosen(*path: str) -> dict[str, Any]:
        value = {"taxonomy": [list(path)]}
        return annotation(result=[{"from_name": "label", "type": "taxonomy", "value": value}])

    report = desk.take(
        {tasks[0]: [chosen("harm", "threat")], tasks[1]: [chosen("fine")], tasks[2]: [chosen("harm")]}
    )
    assert sorted(desk.said()) == ["fine", "harm/threat"]
    assert "'harm' is not in the schema" in report.errors[0].reason


def test_json_min(store: TraceStore, tmp_path: Path) -> None:
    desk = Desk(store, project(tmp_path / "mini", kind="multi"), tmp_path)
    tasks = desk.tasks("one", "two", "three", "four")
    common = {"text": "x", "lead_time": 2.5, "created_at": stamp(T0), "updated_at": stamp(T0 + days(1))}
    report = desk.take_file(
        [
            {"task_id": tasks[0], "id": 1, "label": "hate", "annotator": 7, "annotation_id": 11, **common},
            {
                "task_id": tasks[1],
                "id": 2,
                "annotator": "ann@example.org",
                "annotation_id": 12,
                "label": {"choices": ["hate", "spam"]},
                "note": {"text": ["a", "b"]},
                **common,
            },
            {
                "task_id": tasks[2],
                "id": 3,
                "answer": "unclear",
                "note": "?",
                "annotator": 7,
                "annotation_id": 13,
            },
            {
                "task_id": tasks[3],
                "id": 4,
                "label": [{"choices": ["spam"]}],
                "annotator": 7,
                "annotation_id": 14,
            },
            {"task_id": tasks[3], "id": 4, "label": "haate", "annotator": 8, "annotation_id": 15},
            {"task_id": tasks[3], "id": 4, "label": 3, "annotator": 9, "annotation_id": 16},
        ]
    )
    found = {vote["task_id"]: vote for vote in desk.votes()}
    assert [found[task]["label"] for task in tasks] == ["hate", "hate+spam", None, "spam"]
    assert [found[task]["annotator"] for task in tasks] == ["ls-7", "ann@example.org", "ls-7", "ls-7"]
    assert [found[task]["note"] for task in tasks] == [None, "a\nb", "?", None]
    assert found[tasks[0]]["seconds"] == 2.5
    assert [found[task]["ts"] for task in tasks[1:3]] == [T0 + days(1), NOW]
    assert [(error.line, error.reason[:13]) for error in report.errors] == [
        (5, "annotation 15"),
        (6, "annotation 16"),
    ]


def test_an_adjudicator_may_come_from_label_studio(desk: Desk) -> None:
    ids = add_items(desk.store, ["one"])
    (task,) = add_tasks(desk.store, ids)
    for who, label in (("ann", "hate"), ("bob", "safe")):
        add_votes(desk.store, [task], ids, [label], annotator=who, at=T0)
    own = desk.take({task: [annotation("hate", by="ann")]}, role="adjudicator")
    assert "was a reviewer of this task" in own.errors[0].reason
    other = desk.take({task: [annotation("hate", by="cleo", at=T0 + timedelta(hours=1))]}, role="adjudicator")
    assert other.after == {"adjudicated": 1}


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ('[{"task_id": "b2:x", "label": "spam"}]', "entry 1 is no task of a Label Studio export"),
        ("[1]", "expected the keys data and annotations"),
        ("[{]", "not valid JSON"),
    ],
)
def test_files_that_are_no_export(desk: Desk, content: str, says: str) -> None:
    desk.path.write_text(content)
    assert is_label_studio(str(desk.path))
    with pytest.raises(ConfigError, match=says):
        import_label_studio(desk.store, desk.folder, str(desk.path), now=NOW)


def test_exports_are_known_by_their_content(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    for content, expected in (
        ("\ufeff \n[]", True),
        ('{"task_id": "x"}', False),
        ("task_id,label", False),
        ("", False),
    ):
        path.write_text(content)
        assert is_label_studio(str(path)) is expected
    assert not is_label_studio(str(tmp_path / "none.json"))
    assert not is_label_studio("https://example.org/x.json")
