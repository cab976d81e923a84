"""Entries leave without names of labels and places, and come in without trust."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from labelproof.report.playbook.entries import Entry, entries_of
from labelproof.report.playbook.exchange import export_json, import_entries, read_playbook
from labelproof.report.playbook.pooled import pool
from labelproof.spec.errors import ConfigError
from labelproof.store import open_store
from tests.conftest import MakeProject
from tests.playbook.playbook_helpers import measured_project, several

_THEIRS: list[tuple[Entry, ...]] = []
"""The other team's entries, measured once."""


@pytest.fixture
def theirs(make_project: MakeProject, tmp_path: Path) -> tuple[Entry, ...]:
    if not _THEIRS:
        with open_store(tmp_path / "theirs") as store:
            several(
                store,
                make_project,
                [(30, 6), (24, 20), (10, 22)],
                model_b="params: {x_url: 'http://evil.example/'}",
            )
            _THEIRS.append(entries_of(store))
    return _THEIRS[0]


@pytest.fixture
def exported(theirs: tuple[Entry, ...], tmp_path: Path) -> Path:
    path = tmp_path / "playbook.json"
    path.write_bytes(export_json(theirs, origin="team two"))
    return path


def test_what_leaves_names_no_label_text_or_place(exported: Path) -> None:
    text = exported.read_text()
    for private in ("127.0.0.1", "Attacks on groups", "text number", "hate", "Label short texts", "evil"):
        assert private not in text
    assert "add critique" in text


def test_names_can_stay_at_home(make_project: MakeProject, tmp_path: Path) -> None:
    with open_store(tmp_path / "store") as store:
        measured_project(store, make_project, "secret_project", wrong_a=24, wrong_b=12)
        text = export_json(entries_of(store), origin="", anonymous=True).decode()
    for name in ("secret_project", "candidate", "champion"):
        assert name not in text


def test_the_same_file_twice_changes_nothing_and_numbers_survive(
    exported: Path, theirs: tuple[Entry, ...], tmp_path: Path
) -> None:
    origin, entries, refused = read_playbook(exported)
    assert (origin, refused) == ("team two", [])
    with open_store(tmp_path / "ours") as store:
        assert import_entries(store, entries) == (len(entries), 0)
        assert import_entries(store, entries) == (0, len(entries))
        ours = entries_of(store)
    here, there = (pool(side, "accuracy")[0] for side in (ours, theirs))
    assert (here.meta.mean, here.meta.tau2, here.n_projects) == (there.meta.mean, there.meta.tau2, 3)
    assert {entry.origin for entry in ours} == {"team two"}
    again = next(entry for entry in ours if entry.metric == "accuracy")
    assert again.reusable is not None
    assert again.reusable.strategy.models["main"].base_url is None
    assert "x_url" not in again.reusable.strategy.models["main"].params


def test_what_was_measured_here_is_not_replaced(make_project: MakeProject, tmp_path: Path) -> None:
    path = tmp_path / "ours.json"
    with open_store(tmp_path / "ours") as store:
        measured_project(store, make_project, "p0", wrong_a=24, wrong_b=12)
        path.write_bytes(export_json(entries_of(store), origin="us"))
        _, entries, _ = read_playbook(path)
        assert import_entries(store, entries) == (0, len(entries))
        assert {entry.origin for entry in entries_of(store)} == {"here"}


def _changed(exported: Path, **values: Any) -> Path:
    raw = json.loads(exported.read_text())
    raw["entries"] = [{**raw["entries"][0], **values}]
    exported.write_text(json.dumps(raw))
    return exported


@pytest.mark.parametrize(
    "values",
    [
        {"standard_error": 0.0},
        {"effect": 5.0, "low": 0.0, "high": 0.1},
        {"kinds": ["<script>"]},
        {"entry_id": "../../etc"},
        {"metric": "nonsense"},
        {"unheard_of": 1},
        {"n_items": 0},
        {"n_items": 10**30},
        {"n_looks": 10**20},
        {"effect": 1e308, "low": None, "high": None},
        {"effect": 1.5, "low": None, "high": None},
        {"standard_error": 1e-320},
        {"standard_error": 1e308},
        {"cost_ratio": 1e308},
        {"reusable": [1]},
    ],
)
def test_an_unsound_file_is_refused_with_its_place(exported: Path, values: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"no playbook file: entries\.0"):
        read_playbook(_changed(exported, **values))


@pytest.mark.parametrize(
    "reusable",
    [
        {"strategy": {"name": "x", "steps": []}, "prompts": {}, "notes": []},
        {"strategy": {"name": "x", "steps": [{"kind": "label"}, {"kind": "route"}]}, "prompts": {"../up": "text"}},
        {
            "strategy": {"name": "x", "steps": [{"kind": "label", "prompt": "own"}, {"kind": "route"}]},
            "prompts": {"own": "---\nname: own\nversion: 1\nvariables: []\nchanged: evil\n---\n{{ ''.__class__ }}"},
        },
        {"prompts": {}},
        {"strategy": [1]},
        {"strategy": {"name": "x", "steps": [{"kind": "label"}, {"kind": "route"}]}, "prompts": ["own"]},
        {"strategy": {"name": "x", "steps": [{"kind": "label"}, {"kind": "route"}]}, "prompts": None},
        {"strategy": {"name": "x", "steps": [{"kind": "label"}, {"kind": "route"}]}, "notes": "words"},
        {"strategy": {"name": "x", "steps": [{"kind": "label"}, {"kind": "route"}]}, "notes": ["x" * 500]},
        {"strategy": {"name": "x", "description": "x" * 70_000, "steps": [{"kind": "label"}, {"kind": "route"}]}},
    ],
)  # fmt: skip
def test_an_unsound_strategy_is_refused_and_the_rest_is_taken(
    exported: Path, reusable: dict[str, Any]
) -> None:
    raw = json.loads(exported.read_text())
    raw["entries"] = raw["entries"][:2]
    raw["entries"][0]["reusable"] = reusable
    exported.write_text(json.dumps(raw))
    _, entries, refused = read_playbook(exported)
    assert len(entries) == len(refused) == 1


def test_an_imported_address_is_never_used(exported: Path) -> None:
    raw = json.loads(exported.read_text())
    one = raw["entries"][0]
    model = one["reusable"]["strategy"]["models"]["main"]
    model |= {
        "base_url": "https://collect.example/v1",
        "api_key_env": "AWS_SECRET_ACCESS_KEY",
        "params": {
            "extra_headers": {"x": "y"},
            "top_p": 0.9,
            "endpoint": "a",
            "user": "http://collect.example",
        },
    }
    raw["entries"] = [one]
    exported.write_text(json.dumps(raw))
    _, (entry,), _ = read_playbook(exported)
    assert entry.reusable is not None
    spec = entry.reusable.strategy.models["main"]
    assert (spec.base_url, spec.api_key_env, spec.params) == (None, "OPENAI_API_KEY", {"top_p": 0.9})
    assert any("address is left out" in note for note in entry.reusable.notes)


def test_nothing_to_export_says_what_to_run(tmp_path: Path) -> None:
    with open_store(tmp_path / "store") as store, pytest.raises(ConfigError, match="nothing to export"):
        export_json(entries_of(store), origin="")


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        ("here", "playbook"), (" Here\u200b ", "playbook"), ("", "playbook"), ("\u202e", "playbook"), ("team\n two ", "team two"),
    ],
)  # fmt: skip
def test_a_file_cannot_claim_to_be_measured_here(
    exported: Path, tmp_path: Path, said: str, kept: str
) -> None:
    raw = json.loads(exported.read_text()) | {"origin": said}
    exported.write_text(json.dumps(raw))
    origin, entries, refused = read_playbook(exported)
    assert (origin, {entry.origin for entry in entries}, refused) == (kept, {kept}, [])
    exported.rename(tmp_path / "here.json")
    if kept == "playbook":
        assert read_playbook(tmp_path / "here.json")[0] == "a file"


def test_nobody_replaces_what_another_team_sent(exported: Path, tmp_path: Path) -> None:
    newer = _changed(exported, ts="2030-01-01T00:00:00Z", effect=-0.5, low=None, high=None)
    origin, entries, _ = read_playbook(exported)
    with open_store(tmp_path / "ours") as store:
        assert import_entries(store, entries)[0] == len(entries)
        newer.write_text(newer.read_text().replace('"team two"', '"team three"'))
        assert import_entries(store, read_playbook(newer)[1])[0] == 0
        assert {entry.origin for entry in entries_of(store)} == {origin}


def test_only_a_file_of_bounded_size_is_read(tmp_path: Path) -> None:
    for path, says in (
        (tmp_path / "none", "no such file"),
        (tmp_path, "expected a file"),
        (Path("/dev/zero"), "expected a file"),
    ):
        with pytest.raises(ConfigError, match=says):
            read_playbook(path)
    large = tmp_path / "large.json"
    with large.open("wb") as file:
        file.truncate(40_000_000)
    with pytest.raises(ConfigError, match="expected at most 32 MB, found 40,000,000 bytes"):
        read_playbook(large)
