"""`init --from`: the strategy comes along, labels and guideline do not; what is to be done is said."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from labelproof.report.playbook.entries import entries_of
from labelproof.spec.project import find_project
from labelproof.store import open_store
from tests.conftest import MakeProject, write_strategy
from tests.playbook.playbook_helpers import CRITIQUE, measured_project, several

PROMPT = """---
name: own_prompt
version: 2
variables: [task, options, item, fence]
changed: A prompt of the project's own.
---
# System
{{ task }} {{ options }}
# User
{{ fence }}
{{ item }}
{{ fence }}
"""


def cli(*arguments: str) -> Any:
    from labelproof.cli.init import init
    from labelproof.cli.playbook import app, overview

    whole = typer.Typer()
    whole.command()(init)
    whole.add_typer(app, name="playbook")
    whole.command()(overview)
    return CliRunner(env={"COLUMNS": "200"}).invoke(whole, arguments)


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(tmp_path)
    return str(tmp_path / "store")


def test_a_project_starts_from_an_entry(make_project: MakeProject, store: str) -> None:
    with open_store(store) as opened:
        several(opened, make_project, [(30, 6), (24, 12)])
        entry = next(entry for entry in entries_of(opened) if entry.metric == "accuracy")
    done = cli("init", "mine", "--from", f"playbook:{entry.entry_id}", "--store", store, "--labels", "a,b")
    assert done.exit_code == 0, done.output
    assert "guideline.md: what each label means here" in done.output
    assert "experiment run mine --arms baseline,champion" in done.output
    folder = find_project("mine")
    assert folder.spec.labels.leaves == ("a", "b")
    assert [step.kind for step in folder.strategy("champion").steps] == [
        "normalize", "label", "critique", "calibrate", "route",
    ]  # fmt: skip
    assert folder.strategy("champion").name == "champion"
    assert folder.strategy("baseline").name == "baseline"
    text = (folder.folder / "strategies" / "champion.yaml").read_text()
    assert entry.entry_id in text
    assert "measure it here before you rely on it" in text


def test_a_project_starts_from_another_projects_file(make_project: MakeProject, store: str) -> None:
    folder = make_project("http://127.0.0.1:9/v1")
    (folder / "prompts").mkdir()
    (folder / "prompts" / "own_prompt.md").write_text(PROMPT)
    steps = CRITIQUE.replace("- kind: label", "- kind: label  # a remark\n    prompt: own_prompt@2")
    write_strategy(folder, "http://127.0.0.1:9/v1", name="good", steps=steps)
    with (folder / "project.yaml").open("a") as file:
        file.write(
            "experiments: {primary: macro_f1, cluster: lang, min_effect: 0.02, guardrails: "
            "[{metric: 'recall:hate', margin: 0.05}, {metric: failed_rate, margin: 0.01}]}\n"
        )
    done = cli("init", "mine", "--from", f"{folder}/good", "--labels", "a,b", "--json")
    told = json.loads(done.output)
    mine = find_project("mine")
    text = (mine.folder / "strategies" / "champion.yaml").read_text()
    assert "# a remark" in text
    assert (mine.folder / "prompts" / "own_prompt.md").read_text() == PROMPT
    assert mine.spec.experiments.primary == "macro_f1"
    assert mine.spec.experiments.cluster is None
    assert [one.metric for one in mine.spec.experiments.guardrails] == ["failed_rate"]
    assert any("recall:hate" in line for line in told["to_do"])
    assert any("cluster" in line for line in told["to_do"])
    assert any("own_prompt" in line for line in told["to_do"])
    with_default = cli("init", "other", "--from", str(folder))
    assert with_default.exit_code == 0, with_default.output
    assert "critique" not in (Path("projects/other/strategies/champion.yaml")).read_text()


def test_labels_named_by_a_route_step_stay_behind(make_project: MakeProject, store: str) -> None:
    folder = make_project("http://127.0.0.1:9/v1")
    steps = CRITIQUE.replace("- kind: route", "- kind: route\n    always_review: [hate]\n    alpha: 0.03")
    write_strategy(folder, "http://127.0.0.1:9/v1", name="good", steps=steps)
    done = cli("init", "mine", "--from", f"{folder}/good")
    assert done.exit_code == 0, done.output
    assert "always_review of its route step name labels of mini: left out" in done.output
    text = Path("projects/mine/strategies/champion.yaml").read_text()
    assert "always_review" not in text
    assert "alpha: 0.03" in text


def test_what_cannot_be_started_from_makes_nothing(store: str) -> None:
    with open_store(store):
        pass
    for ref, says in (
        ("playbook:e123", "no entry of the playbook begins with"),
        ("nowhere", "no project 'nowhere'"),
        ("nowhere/good", "no project 'nowhere/good'"),
    ):
        done = cli("init", "mine", "--from", ref, "--store", store)
        assert done.exit_code == 2
        assert says in done.output.replace("\n", " ")
    assert not Path("projects/mine").exists()


def test_the_commands_tell_the_same_numbers(make_project: MakeProject, store: str, tmp_path: Path) -> None:
    with open_store(store) as opened:
        several(opened, make_project, [(30, 6), (24, 20), (10, 22)])
    listed = json.loads(cli("playbook", "list", "--store", store, "--json").output)
    (kind,) = listed["kinds"]
    shown = cli("playbook", "list", "--store", store)
    assert shown.exit_code == 0
    assert f"{100 * kind['effect']:+.1f}" in shown.output
    assert f"{100 * kind['helps_prob']:.0f} %" in shown.output
    assert cli("playbook", "list", "--entries", "--store", store).output.count("add critique") == 3
    assert "I²" in cli("playbook", "show", "add critique", "--store", store).output
    entry = kind["entries"][0]
    assert f"init NAME --from playbook:{entry}" in cli("playbook", "show", entry, "--store", store).output
    advice = json.loads(cli("playbook", "recommend", str(tmp_path / "p0"), "--store", store, "--json").output)
    assert [one["n_projects"] for one in advice["ranked"]] == [2]
    assert advice["ranked"][0]["helps_prob"] is None
    told = cli("playbook", "recommend", str(tmp_path / "p0"), "--store", store).output
    assert "too few to say" in told


def test_an_empty_playbook_is_no_answer(store: str, make_project: MakeProject, tmp_path: Path) -> None:
    with open_store(store) as opened:
        assert cli("playbook", "list", "--store", store).exit_code == 1
        folder = make_project("http://127.0.0.1:9/v1")
        done = cli("playbook", "recommend", str(folder), "--store", store)
        assert done.exit_code == 1
        assert "Nothing is known yet" in done.output
        measured_project(opened, make_project, "p0", wrong_a=20, wrong_b=10)
    done = cli("playbook", "list", "--metric", "recall:hate", "--store", store)
    assert done.exit_code == 1
    assert "there are entries for" in done.output


def test_export_and_import_from_the_terminal(make_project: MakeProject, store: str, tmp_path: Path) -> None:
    with open_store(store) as opened:
        several(opened, make_project, [(30, 6), (24, 20)])
    file = tmp_path / "out.json"
    assert cli("playbook", "export", str(file), "--origin", "[red]us[/]", "--store", store).exit_code == 0
    assert cli("playbook", "export", str(file), "--store", store).exit_code == 2
    done = cli("playbook", "import", str(file), "--store", str(tmp_path / "second"))
    assert done.exit_code == 0
    assert "new entries from [red]us[/]" in done.output
    listed = cli("playbook", "list", "--entries", "--store", str(tmp_path / "second"))
    assert "[red]us[/]" in listed.output
    assert cli("playbook", "import", str(tmp_path / "none.json"), "--store", store).exit_code == 2
