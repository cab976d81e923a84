"""Strategies are shown, hashed and compared by what they resolve to."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.snapshots import ABSENT, diff_snapshots, flatten
from labelproof.store import open_store

Run = Callable[..., tuple[int, str, str]]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


@pytest.fixture
def project(run: Run) -> Path:
    assert run("init", "mine")[0] == 0
    return Path("projects/mine")


def test_show_hash_and_json_agree(run: Run, run_json: Callable[..., Any], project: Path) -> None:
    shown = run_json("strategy", "show", "mine")
    assert run("strategy", "hash", "mine")[1].strip() == shown["fingerprint"]
    assert [step["kind"] for step in shown["steps"]] == ["normalize", "label", "calibrate", "route"]
    label = shown["steps"][1]
    assert label["prompt"]["reference"] == "label_name@1"
    assert "text" not in label["prompt"]
    assert label["models"][0]["provider"] == "embedded"
    with_texts = run_json("strategy", "show", "mine", "--texts")
    assert "# System" in with_texts["steps"][1]["prompt"]["text"]
    out = run("strategy", "show", "mine")[1]
    assert shown["fingerprint"] in out
    assert label["prompt"]["text_hash"] in out


def test_one_word_in_a_prompt_is_another_version_and_the_diff_shows_it(
    run: Run, run_json: Callable[..., Any], project: Path
) -> None:
    before = run_json("strategy", "show", "mine")
    snapshot = _snapshot(project)
    with open_store(Path("store")) as store:
        store.append(
            "strategies",
            {
                "strategy_fp": [before["fingerprint"]],
                "project": ["mine"],
                "strategy": ["champion"],
                "spec_json": [orjson.dumps(snapshot).decode()],
                "ts": [datetime.now(UTC)],
            },
        )
    code, out, _ = run("strategy", "diff", "mine", before["fingerprint"], "champion")
    assert code == 0
    assert "the same" in out

    text = project.joinpath("project.yaml").read_text()
    project.joinpath("project.yaml").write_text(text.replace("went well.", "went very well."))
    found = run_json("strategy", "diff", "mine", before["fingerprint"][:9], "champion", exits=1)
    states = {step["name"]: step["state"] for step in found["steps"]}
    assert states == {"normalize": "same", "label": "changed", "calibrate": "same", "route": "same"}
    assert found["recomputed_from"] == "label"
    changed = found["steps"][1]
    assert [key["path"] for key in changed["keys"]] == ["labels.classes[praise].description"]
    (guideline,) = changed["texts"]
    assert (guideline["path"], guideline["n_added"], guideline["n_removed"]) == ("guideline.text", 1, 1)
    code, out, _ = run("strategy", "diff", "mine", before["fingerprint"], "champion")
    assert code == 1
    assert "guideline.text: +1/-1 lines" in out
    assert "+- praise: Says that something went very well." in out


def test_names_and_outside_settings_are_not_part_of_the_fingerprint(
    run: Run, run_json: Callable[..., Any], project: Path
) -> None:
    champion = project / "strategies" / "champion.yaml"
    twin = champion.read_text().replace("name: champion", "name: twin")
    twin = twin.replace("provider: embedded}", "provider: embedded, timeout_s: 5}")
    (project / "strategies" / "twin.yaml").write_text(twin)
    assert run_json("strategy", "diff", "mine", "champion", "twin")["same"]
    assert run_json("strategy", "diff", "mine", "champion", "projects/mine/strategies/twin.yaml")["same"]


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("champoin", "no strategy 'champoin' in this project; found: champion, cheap-then-strong"),
        ("b2:aaaa", "the store holds no strategy of project 'mine'"),
    ],
)
def test_unknown_strategies_exit_2(run: Run, project: Path, name: str, says: str) -> None:
    open_store(Path("store")).close()
    code, _, err = run("strategy", "diff", "mine", "champion", name)
    assert code == 2
    assert says in err.replace("\n", " ")


def test_added_removed_and_moved_steps() -> None:
    a = _steps(("one", {"p": 1}), ("two", {"p": 2}), ("three", {"p": 3}))
    b = _steps(("two", {"p": 2}), ("one", {"p": 1}), ("four", {"p": 4}))
    states = {change.name: change.state for change in diff_snapshots(a, b)}
    assert states == {"two": "moved", "one": "moved", "four": "added", "three": "removed"}


def test_long_texts_become_line_diffs_and_short_values_key_changes() -> None:
    a = _steps(("label", {"prompt": {"text": "one\ntwo\nthree"}, "k": 1, "flag": 1}))
    b = _steps(("label", {"prompt": {"text": "one\n2\nthree\nfour"}, "flag": True, "new": None}))
    (change,) = diff_snapshots(a, b)
    assert [(key.path, key.before, key.after) for key in change.keys] == [
        ("k", 1, ABSENT),
        ("flag", 1, True),
        ("new", ABSENT, None),
    ]
    (text,) = change.texts
    assert (text.n_added, text.n_removed) == (2, 1)
    assert text.unified == ("@@ -1,3 +1,4 @@", " one", "-two", "+2", " three", "+four")


@given(components=st.dictionaries(st.text(min_size=1, max_size=3), JSON, max_size=3))
def test_a_snapshot_does_not_differ_from_itself(components: dict[str, Any]) -> None:
    (change,) = diff_snapshots(_steps(("s", components)), _steps(("s", components)))
    assert (change.state, change.keys, change.texts) == ("same", (), ())


def test_flatten_names_entries_by_name_or_key() -> None:
    value = {"models": [{"name": "a", "x": 1}], "examples": [["id1", "ok"]], "plain": [5], "empty": []}
    assert flatten(value) == {
        "models[a].name": "a",
        "models[a].x": 1,
        "examples[id1]": "ok",
        "plain[0]": 5,
        "empty": [],
    }


def _snapshot(project: Path) -> dict[str, Any]:
    from agents.run.workload import load_workload

    return dict(load_workload(str(project), None).resolved.snapshot)


def _steps(*steps: tuple[str, dict[str, Any]]) -> dict[str, Any]:
    return {
        "name": "s",
        "steps": [
            {"name": name, "kind": "label", "when": None, "fingerprint": name, "components": components}
            for name, components in steps
        ],
    }
