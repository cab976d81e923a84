"""The words for what changed, from snapshots as runs store them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from agents.resolve import GoldExample, resolve
from labelproof.report.playbook.kinds import kinds_of, model_size
from labelproof.spec.project import find_project
from tests.conftest import STEPS, MakeProject, write_strategy

URL = "http://127.0.0.1:9/v1"
CONSENSUS = STEPS.replace("- kind: label", "- kind: consensus\n    samples: 3")


def snapshot(folder: Path, *, calibration: int = 0, **written: Any) -> Any:
    write_strategy(folder, URL, name="s", **written)
    project = find_project(str(folder))
    gold = [GoldExample(item_id=f"i{k}", label="safe") for k in range(calibration)]
    return resolve(project, project.strategy("s"), calibration=gold).snapshot


@pytest.mark.parametrize(
    ("before", "after", "kinds"),
    [
        ({}, {}, ()),
        ({}, {"model": "temperature: 0.5"}, ("sampling",)),
        ({}, {"steps": STEPS.replace("- kind: label", "- kind: label\n    guideline: short")}, ("guideline",)),
        ({}, {"steps": STEPS.replace("- kind: label", "- kind: label\n    method: logprob")}, ("method",)),
        ({}, {"steps": STEPS.replace("- kind: label", "- kind: label\n    prompt: label_reason")}, ("prompt",)),
        ({}, {"steps": STEPS.replace("- kind: calibrate", "- kind: critique\n  - kind: calibrate")}, ("add critique",)),
        ({"steps": STEPS.replace("- kind: calibrate", "- kind: critique\n  - kind: calibrate")}, {}, ("drop critique",)),
        ({}, {"steps": STEPS.replace("- kind: label", "- kind: retrieve\n  - kind: label")}, ("add examples",)),
        ({}, {"steps": CONSENSUS}, ("add consensus",)),
        ({"steps": CONSENSUS}, {"steps": CONSENSUS.replace("3", "5")}, ("consensus settings",)),
        ({}, {"steps": STEPS.replace("none", "tfidf")}, ("encoder",)),
        ({}, {"steps": STEPS.replace("- kind: route", "- kind: route\n    threshold_prob: 0.7")}, ("routing",)),
        ({"calibration": 3}, {"calibration": 5}, ("calibration gold",)),
        (
            {},
            {"steps": STEPS.replace("none", "tfidf"), "model": "temperature: 0.5"},
            ("encoder", "sampling"),
        ),
    ],
)  # fmt: skip
def test_kinds(make_project: MakeProject, before: Any, after: Any, kinds: tuple[str, ...]) -> None:
    if any("tfidf" in str(side.get("steps")) for side in (before, after)):
        # An encoder shows examples to the calibrator, which is the same change.
        before = {**before, "steps": before.get("steps", STEPS).replace("none", "minilm")}
    folder = make_project(URL)
    assert kinds_of(snapshot(folder, **before), snapshot(folder, **after)) == kinds


@pytest.mark.parametrize(
    ("before", "after", "kind"),
    [
        ("gpt-4.1-mini", "gpt-4.1", "bigger model"),
        ("gpt-4.1", "gpt-4.1-nano", "smaller model"),
        ("qwen2.5-1.5b-instruct", "qwen2.5-7b-instruct", "bigger model"),
        ("llama-3.1-70b", "qwen3-8b", "smaller model"),
        ("gpt-4.1", "mistral-large", "model"),
    ],
)
def test_a_models_name_tells_its_size(make_project: MakeProject, before: str, after: str, kind: str) -> None:
    folder = make_project(URL)
    path = folder / "strategies" / "champion.yaml"
    text, project, found = path.read_text(), find_project(str(folder)), []
    for name in (before, after):
        path.write_text(text.replace("model: gpt-4.1-mini", f"model: {name}"))
        found.append(resolve(project, project.strategy("champion")).snapshot)
    assert kinds_of(*found) == (kind,)


@pytest.mark.parametrize(
    ("name", "size"),
    [("qwen2.5-coder-1.5b-instruct-q4_k_m", 1.5), ("llama-3.1-70B", 70.0), ("gpt-4o", None), ("a4b5", None)],
)
def test_sizes(name: str, size: float | None) -> None:
    assert model_size(name) == size
