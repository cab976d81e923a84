"""A stored strategy version runs again as it was, whatever its files say by now."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import orjson
import pytest

from agents.rehydrate import rehydrate, stored_versions, workload_from, workload_of
from agents.run.judge import judge
from agents.run.workload import load_workload
from labelproof.spec.errors import ConfigError
from labelproof.spec.hashing import digest
from labelproof.spec.project import find_project
from labelproof.store import open_store
from prompts import load_template
from tests.conftest import MakeProject, write_strategy
from tests.run.run_helpers import rows, run
from tests.scripted_server import Reply, Seen, scripted_server

ROOT = Path(__file__).resolve().parents[2]
ALL_KINDS = """
  - {kind: normalize, max_chars: 500}
  - {kind: retrieve, method: fixed, k: 2, encoder: tfidf}
  - {kind: label, shortlist: 2, encoder: tfidf}
  - {kind: calibrate, encoder: tfidf}
  - {kind: consensus, when: confidence < 0.1, models: [main, other]}
  - {kind: consensus, name: again, when: confidence < 0.1, samples: 3}
  - {kind: critique, when: confidence < 0.1, model: other, adopt: true}
  - {kind: investigate, when: confidence < 0.05, model: other, tools: [guideline_search, similar_gold]}
  - {kind: calibrate, name: last, encoder: none, method: temperature}
  - {kind: route, alpha: 0.03, always_review: [hate]}
"""
GOLD = [(i, ("safe", "hate", "spam")[i % 3], "examples") for i in range(4)] + [
    (i, ("safe", "hate", "spam")[i % 3], "calibration") for i in range(4, 10)
]


def answer(_: Seen) -> Reply:
    body = {"rationale": "because", "label": "safe", "confidence": 0.9}
    return Reply(content=orjson.dumps(body).decode(), without_logprobs=True)


def own_prompt(folder: Path, words: str) -> None:
    """Give the project its own label_json that says ``words``."""
    text = load_template("label_json").text.replace("# User", f"{words}\n# User", 1)
    (folder / "prompts").mkdir(exist_ok=True)
    (folder / "prompts" / "label_json.md").write_text(text)


@pytest.mark.parametrize("name", ["champion", "few_shot", "cascade"])
def test_the_bundled_strategies_come_out_as_they_went_in(name: str) -> None:
    work = load_workload(str(ROOT / "projects" / "content_safety"), name)
    stored = json.loads(orjson.dumps(work.resolved.snapshot))
    again = rehydrate(stored, work.folder)
    assert again.fingerprint == work.resolved.fingerprint
    again.verify()
    assert (again.task, again.routing) == (work.resolved.task, work.resolved.routing)
    for mine, theirs in zip(again.steps, work.resolved.steps, strict=True):
        assert digest(mine.components) == mine.fingerprint == theirs.fingerprint
        assert mine.models == theirs.models
        assert (mine.guideline, mine.spec.when) == (theirs.guideline, theirs.spec.when)
        assert (mine.template is None) == (theirs.template is None)
        if mine.template is not None and theirs.template is not None:
            assert (mine.template.text, mine.template.variables) == (
                theirs.template.text,
                theirs.template.variables,
            )


def test_all_kinds_of_steps_come_back_and_resolve_to_the_same_again(make_project: MakeProject) -> None:
    folder = make_project("http://127.0.0.1:1/v1", gold=GOLD, steps=ALL_KINDS)
    path = folder / "strategies" / "champion.yaml"
    other = "models: {other: {provider: openai_compatible, model: other, base_url: 'http://127.0.0.1:2/v1', timeout_s: 7}, "
    path.write_text(path.read_text().replace("models: {", other))
    work = load_workload(str(folder), None)
    again = rehydrate(work.resolved.snapshot, work.folder)
    assert again.fingerprint == work.resolved.fingerprint
    assert [step.models for step in again.steps] == [step.models for step in work.resolved.steps]
    assert again.steps[6].models["other"].timeout_s == 7  # in no snapshot: from the strategy file
    path.unlink()  # no file knows the models any more: identities stay, names and limits are new
    alone = rehydrate(work.resolved.snapshot, work.folder)
    assert alone.fingerprint == work.resolved.fingerprint
    assert [m.model for m in alone.steps[4].models.values()] == ["gpt-4.1-mini", "other"]
    assert len({*alone.steps[4].models}) == 2
    assert {m.timeout_s for m in alone.steps[4].models.values()} == {60}


def test_a_version_whose_files_have_changed_runs_from_the_snapshot_without_a_call(
    make_project: MakeProject, tmp_path: Path
) -> None:
    with scripted_server(answer) as server, open_store(tmp_path / "store") as store:
        folder = make_project(server.base_url, gold=GOLD)
        own_prompt(folder, "Be kind.")
        run(folder, tmp_path / "store")
        before = load_workload(str(folder), None).resolved
        asked = len(server.requests)
        own_prompt(folder, "Be strict.")
        (folder / "guideline.md").write_text("# Another guideline\n")
        text = (folder / "project.yaml").read_text()
        (folder / "project.yaml").write_text(text.replace("attacks", "insults").replace("short", "all"))
        (folder / "gold.jsonl").write_text(
            "".join(
                json.dumps({"id": f"m{i}", "label": "safe", "split": "calibration"}) + "\n" for i in range(9)
            )
        )
        now = load_workload(str(folder), None).resolved
        assert now.fingerprint != before.fingerprint
        work = workload_of(store, str(folder), f"champion@{before.fingerprint[3:9]}")
        assert work.resolved.fingerprint == before.fingerprint
        answers = judge(work, store, work.items)
        assert len(server.requests) == asked
        assert {a.label for a in answers.by_item.values()} == {"safe"}
        assert rows(store, "SELECT DISTINCT label FROM decisions")[0]["label"] == "safe"
        assert work.folder.spec.labels.leaf_classes["hate"].description == "attacks"
        assert work.resolved.task.endswith("Label short texts.")
        # the gold of that time, too, and not as a version of its own
        assert sorted(work.gold_labels["calibration"].values()) == sorted(
            label for _, label, split in GOLD if split == "calibration"
        )
        assert rows(store, "SELECT count(DISTINCT gold_fp) AS n FROM gold") == [{"n": 1}]
        # today's file runs, and asks
        judge(workload_of(store, str(folder), "champion"), store, work.items[:2])
        assert len(server.requests) > asked


def test_references_mean_one_version_or_say_what_there_is(make_project: MakeProject, tmp_path: Path) -> None:
    with scripted_server(answer) as server, open_store(tmp_path / "store") as store:
        folder = make_project(server.base_url)
        own_prompt(folder, "Be kind.")
        run(folder, tmp_path / "store")
        old = load_workload(str(folder), None).resolved.fingerprint
        own_prompt(folder, "Be strict.")
        new = load_workload(str(folder), None).resolved.fingerprint
        for ref in ("champion", f"champion@{new[3:9]}", f"@{new[3:7]}", new[3:9], new):
            assert workload_of(store, str(folder), ref).resolved.fingerprint == new, ref
        for ref in (f"champion@{old[3:9]}", f"@{old[3:7]}", old[3:9], old, old[3:9].upper()):
            assert workload_of(store, str(folder), ref).resolved.fingerprint == old, ref
        assert [version.fp for version in stored_versions(store, "mini")] == [old]
        for ref, says in (
            ("champion@a", "at least 4 hexadecimal digits"),
            ("champoin", "no strategy 'champoin' in project 'mini'"),
            ("@0000", "no strategy '@0000'"),
        ):
            with pytest.raises(ConfigError, match=says) as caught:
                workload_of(store, str(folder), ref)
            assert f"files: champion; stored versions, newest first: champion@{old[3:9]}" in str(
                caught.value.hint
            )
        (folder / "strategies" / "champion.yaml").unlink()
        assert workload_of(store, str(folder), "champion").resolved.fingerprint == old


def test_two_versions_with_one_beginning_are_told_apart(make_project: MakeProject, tmp_path: Path) -> None:
    folder = make_project("http://127.0.0.1:1/v1")
    snapshot = orjson.dumps(load_workload(str(folder), None).resolved.snapshot).decode()
    with open_store(tmp_path / "store") as store:
        from datetime import UTC, datetime

        store.append(
            "strategies",
            {
                "strategy_fp": ["b2:abcd1", "b2:abcd2"],
                "project": ["mini"] * 2,
                "strategy": ["one", "two"],
                "spec_json": [snapshot] * 2,
                "ts": [datetime(2026, 1, 1, tzinfo=UTC)] * 2,
            },
        )
        with pytest.raises(ConfigError, match=r"begins 2 fingerprints: b2:abcd1 \(one\), b2:abcd2 \(two\)"):
            workload_of(store, str(folder), "@abcd")
        with pytest.raises(ConfigError, match="does not match its fingerprint"):
            workload_of(store, str(folder), "abcd2")


def _edited(snapshot: Any, kind: str, **components: Any) -> dict[str, Any]:
    """Return the snapshot with other components in the steps of a kind, rehashed."""
    steps = []
    for step in snapshot["steps"]:
        if step["kind"] == kind:
            inner = {**step["components"], **components}
            step = {**step, "components": inner, "fingerprint": digest(inner)}
        steps.append(step)
    return {**snapshot, "steps": steps}


def test_what_cannot_be_rebuilt_is_named(make_project: MakeProject, tmp_path: Path) -> None:
    folder = find_project(str(make_project("http://127.0.0.1:1/v1", gold=GOLD)))
    work = load_workload(str(folder.folder), None)
    snapshot = work.resolved.snapshot
    label = snapshot["steps"][1]["components"]
    labels = {"kind": "single", "classes": [{"name": "ham", "description": ""}]}
    weights = {**label["models"][0], "provider": "embedded", "base_url": None, "weights_sha256": "00" * 32}
    for changed, says in (
        (
            _edited(snapshot, "label", labels=labels),
            r"stored for labels ham \(single\); the project has safe",
        ),
        (
            _edited(snapshot, "label", models=[weights]),
            "which are neither bundled nor named by a strategy of this project",
        ),
        (_edited(snapshot, "label", params={**label["params"], "color": 1}), "step 'label' cannot be run"),
        (_edited(snapshot, "route", routing={"mode": "magic"}), "cannot be run by this release"),
        (
            _edited(snapshot, "label", prompt={**label["prompt"], "reference": "label_json@77"}),
            "stored as template label_json@77",
        ),
    ):
        with pytest.raises(ConfigError, match=says):
            rehydrate(changed, folder)
    altered = {**snapshot, "steps": [{**snapshot["steps"][0], "components": {}}, *snapshot["steps"][1:]]}
    with pytest.raises(ConfigError, match="does not match its fingerprint"):
        rehydrate(altered, folder)
    lost = _edited(snapshot, "calibrate", calibration={"n": 3, "fingerprint": "b2:00"})
    with (
        open_store(tmp_path / "store") as store,
        pytest.raises(ConfigError, match="calibration gold has changed since"),
    ):
        workload_from(lost, work, store)


def test_examples_come_from_the_store_when_the_source_has_lost_them(
    make_project: MakeProject, tmp_path: Path
) -> None:
    steps = "\n  - {kind: retrieve, method: fixed, k: 2}\n  - {kind: label}\n  - {kind: route}\n"
    with scripted_server(answer) as server, open_store(tmp_path / "store") as store:
        folder = make_project(server.base_url, gold=GOLD, steps=steps)
        run(folder, tmp_path / "store")
        before = load_workload(str(folder), None)
        items = (folder / "items.jsonl").read_text().splitlines(keepends=True)
        (folder / "items.jsonl").write_text("".join(items[2:]))
        write_strategy(folder, server.base_url, steps=steps, name="champion")
        asked = len(server.requests)
        work = workload_of(store, str(folder), before.resolved.fingerprint[3:13])
        assert work.resolved.fingerprint == before.resolved.fingerprint
        assert [i.text for i in work.gold_items("examples")] == [
            i.text for i in before.gold_items("examples")
        ]
        judge(work, store, work.items)
        assert len(server.requests) == asked
        with (
            open_store(tmp_path / "empty") as empty,
            pytest.raises(ConfigError, match="2 gold items whose texts are neither in the source"),
        ):
            workload_from(before.resolved.snapshot, work_without(folder), empty)


def work_without(folder: Path) -> Any:
    from agents.run.workload import read_sources

    return read_sources(find_project(str(folder)))
