"""Two strategies that differ in prompt and model, answered by a server whose mistakes follow from both."""

from __future__ import annotations

import re
from pathlib import Path

import orjson

from prompts import load_template
from tests.conftest import MakeProject, write_strategy
from tests.scripted_server import Reply, Seen

NAMES = ("safe", "hate", "spam")
N_ITEMS = 60
N_TEST = 48
STEPS = (
    "\n  - kind: normalize\n  - {kind: label%s}\n  - {kind: calibrate, encoder: none}\n  - {kind: route%s}\n"
)
GOLD = [(i, NAMES[i % 3], "calibration" if i < N_ITEMS - N_TEST else "test") for i in range(N_ITEMS)]


def wrong(index: int, *, strict: bool, large: bool) -> bool:
    """Each of the two changes repairs mistakes, and the two together more than each alone."""
    if strict and large:
        return index % 12 == 0
    return index % 4 == 0 if strict or large else index % 2 == 0


def answer(seen: Seen) -> Reply:
    found = re.search(r"text number (\d+) for", seen.prompt)
    assert found is not None
    index = int(found.group(1))
    system = str(seen.body["messages"][0]["content"])
    is_wrong = wrong(index, strict="Be strict." in system, large=seen.body["model"] == "gpt-4.1")
    label = NAMES[(index + is_wrong) % 3]
    body = {"rationale": "so", "label": label, "confidence": 0.6 if is_wrong else 0.95}
    return Reply(content=orjson.dumps(body).decode(), without_logprobs=True)


def two_strategies(make_project: MakeProject, base_url: str, *, route: str = ", alpha: 0.03") -> Path:
    """Return a project with strategies champion and candidate: another prompt, model and route."""
    folder = make_project(base_url, n_items=N_ITEMS, gold=GOLD, steps=STEPS % ("", ""))
    (folder / "prompts").mkdir()
    text = load_template("label_json").text.replace("name: label_json", "name: strict")
    (folder / "prompts" / "strict.md").write_text(text.replace("# User", "Be strict.\n# User", 1))
    write_strategy(folder, base_url, steps=STEPS % (", prompt: strict", route), name="candidate")
    path = folder / "strategies" / "candidate.yaml"
    path.write_text(path.read_text().replace("gpt-4.1-mini", "gpt-4.1"))
    return folder
