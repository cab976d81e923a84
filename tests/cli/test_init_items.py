"""A new project validates, its data are sound, and nothing is overwritten."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from labelproof.scaffold import NewProject, render, sample_schema, schema_of
from labelproof.spec.labels import LabelSchema
from labelproof.spec.project import SPLITS, Project, find_project
from labelproof.spec.strategy import Strategy

Run = Callable[..., tuple[int, str, str]]


@pytest.mark.parametrize("kind", ["single", "multi", "taxonomy"])
def test_a_new_project_is_sound_and_says_what_to_type(
    run: Run, run_json: Callable[..., Any], kind: str
) -> None:
    code, out, _ = run("init", "mine", "--kind", kind)
    assert code == 0
    for command in ("items check mine", "plan mine", "run mine", "score mine"):
        assert command in out
    folder = find_project("mine")
    assert folder.spec.labels.kind == kind
    assert folder.strategy_names() == ["champion", "cheap-then-strong"]
    assert [folder.strategy(name).name for name in folder.strategy_names()] == folder.strategy_names()
    checked = run_json("items", "check", "mine")
    assert checked["items"]["items"] == checked["gold"]["usable"] == 24
    assert checked["items"]["malformed"] == checked["gold"]["malformed"] == 0
    assert set(checked["gold"]["splits"]) == set(SPLITS)
    assert list(Path("projects").iterdir()) == [Path("projects/mine")]


def test_every_label_of_the_sample_is_used_and_described() -> None:
    for kind in ("single", "multi", "taxonomy"):
        schema, _ = sample_schema(kind)
        files = render(NewProject(name="x", schema=schema, description="d"))
        gold = [orjson.loads(line)["label"] for line in files["data/gold.jsonl"].splitlines()]
        used = {name for label in gold for name in schema.members(schema.canonical(label))}
        assert used == set(schema.leaves)
        assert all(leaf.description for leaf in schema.leaf_classes.values())


def test_an_existing_folder_is_left_alone(run: Run) -> None:
    assert run("init", "mine")[0] == 0
    Path("projects/mine/project.yaml").write_text("changed")
    code, _, err = run("init", "mine")
    assert code == 2
    assert "nothing was written" in err
    assert Path("projects/mine/project.yaml").read_text() == "changed"


def test_nothing_is_written_through_a_link(run: Run) -> None:
    Path("projects").mkdir()
    Path("outside").mkdir()
    Path("projects/.mine.new").symlink_to(Path("outside").resolve())
    Path("projects/other").symlink_to(Path("nowhere").resolve())
    assert run("init", "mine")[0] == 0
    assert not Path("projects/mine").is_symlink()
    code, _, err = run("init", "other")
    assert (code, "nothing was written" in err) == (2, True)
    assert not list(Path("outside").iterdir())
    assert not Path("nowhere").exists()


def test_own_items_and_labels(run: Run, run_json: Callable[..., Any]) -> None:
    Path("my data.csv").write_text("ticket,body\n7,hello\n8,there\n")
    made = run_json(
        "init", "mine", "--labels", "a: b,c & d", "--items", "my data.csv",
        "--text-column", "body", "--id-column", "ticket",
    )  # fmt: skip
    assert "score" not in " ".join(made["next"])
    folder = find_project("mine")
    assert folder.spec.labels.leaves == ("a: b", "c & d")
    assert folder.spec.gold is None
    checked = run_json("items", "check", "mine")
    assert (checked["items"]["items"], checked["gold"]) == (2, None)


def test_slashes_make_a_taxonomy(run: Run) -> None:
    assert run("init", "mine", "--labels", "a/x,a/y,b")[0] == 0
    schema = find_project("mine").spec.labels
    assert (schema.kind, schema.leaves) == ("taxonomy", ("a/x", "a/y", "b"))


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["1st"], "a project is named by a letter"),
        (["../up"], "a project is named by a letter"),
        (["mine\n"], "a project is named by a letter"),
        (["mine", "--labels", "a,a"], "class names must differ"),
        (["mine", "--labels", "a/x,b", "--kind", "single"], "may not hold '+', '/'"),
        (["mine", "--items", "none.csv"], "no such file"),
        (["mine", "--items", "rows.jsonl", "--text-column", "body"], "no 'body'; found text"),
    ],
)
def test_what_cannot_be_made_leaves_nothing_behind(run: Run, arguments: list[str], says: str) -> None:
    Path("rows.jsonl").write_text('{"text": "hello"}\n')
    code, _, err = run("init", *arguments)
    assert code == 2
    assert says in err.replace("\n", " ")
    assert not Path("projects").exists() or not list(Path("projects").iterdir())


NAMES = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=20).filter(
    lambda name: name == name.strip() and not set(name) & set("+/\n\x85\u2028\u2029")
)


@settings(max_examples=30)  # many names in each: the template around them is what takes time to read
@given(names=st.lists(NAMES, min_size=2, max_size=20, unique=True), kind=st.sampled_from(["single", "multi"]))
def test_any_label_name_survives_the_template(names: list[str], kind: str) -> None:
    try:
        schema = LabelSchema.model_validate({"kind": kind, "classes": [{"name": n} for n in names]})
    except ValueError:
        return
    files = render(NewProject(name="x", schema=schema, description=names[0], items_path="a b.csv"))
    project = Project.model_validate(yaml.safe_load(files["project.yaml"]))
    assert project.labels == schema
    assert project.description == names[0]
    for name in ("champion", "cheap-then-strong"):
        Strategy.model_validate(yaml.safe_load(files[f"strategies/{name}.yaml"]))


def test_schema_of_groups_children_in_order() -> None:
    assert schema_of(["b/2", "a", "b/1"], "taxonomy").leaves == ("b/2", "b/1", "a")


def test_items_check_reports_lines_and_exits_1(run: Run, run_json: Callable[..., Any]) -> None:
    assert run("init", "mine")[0] == 0
    with Path("projects/mine/data/items.jsonl").open("a") as stream:
        stream.write('{"id": "m01", "text": "other"}\n{broken\n')
    with Path("projects/mine/data/gold.jsonl").open("a") as stream:
        stream.write('{"id": "m01", "label": "spam", "split": "test"}\n')
    found = run_json("items", "check", "mine", exits=1)
    assert [error["line"] for error in found["items"]["errors"]] == [25, 26]
    assert [error["line"] for error in found["gold"]["errors"]] == [1, 25]
    code, out, _ = run("items", "check", "mine", "--show", "1")
    assert code == 1
    assert "data/items.jsonl:25: id 'm01' appears twice" in out
    assert "and 1 more malformed items rows" in out
