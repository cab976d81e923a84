"""The main job with the embedded model: real weights, real tokens, no key, no server."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from labelproof.report.trace import trace_item
from labelproof.store import open_store
from tests.run.run_helpers import rows, run

pytestmark = pytest.mark.e2e
TEXTS = [
    ("Thanks for the lovely photos of the garden!", "fine"),
    ("What time does the library open on Sunday?", "fine"),
    ("You are a worthless idiot and everybody hates you.", "abuse"),
    ("Shut up, you disgusting loser.", "abuse"),
    ("The soup needs a bit more salt.", "fine"),
    ("I will make you regret that you were born, you pig.", "abuse"),
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "tiny"
    (folder / "strategies").mkdir(parents=True)
    lines = [json.dumps({"id": f"t{i}", "text": text}) for i, (text, _) in enumerate(TEXTS)]
    (folder / "items.jsonl").write_text("\n".join(lines) + "\n")
    gold = [
        json.dumps({"id": f"t{i}", "label": label, "split": "test"}) for i, (_, label) in enumerate(TEXTS)
    ]
    (folder / "gold.jsonl").write_text("\n".join(gold) + "\n")
    (folder / "guideline.md").write_text("Abuse: insults and threats. Fine: everything else.\n")
    (folder / "project.yaml").write_text(
        "name: tiny\ndescription: You label comments.\n"
        "labels: {classes: [{name: fine, description: civil}, {name: abuse, description: insults or threats}]}\n"
        "items: {path: items.jsonl}\ngold: {path: gold.jsonl, split_column: split}\n"
        "routing: {mode: threshold, threshold_prob: 0.6}\n"
    )
    (folder / "strategies" / "champion.yaml").write_text(
        "name: champion\nmodels: {main: {provider: embedded}}\nsteps:\n  - kind: normalize\n"
        "  - {kind: label, method: logprob}\n  - {kind: calibrate, encoder: none}\n  - kind: route\n"
    )
    return folder


def test_six_items_are_labelled_by_letter_probabilities_and_never_twice(folder: Path, tmp_path: Path) -> None:
    store = tmp_path / "store"
    first = run(folder, store)
    assert (first["done"], first["model_calls"], first["failed"]) == (6, 6, 0)
    assert first["tokens_out"] == 6
    assert first["cost_usd"] == 0
    right = rows(
        store, "SELECT count(*) AS n FROM decisions d JOIN gold g USING (item_id) WHERE d.label = g.label"
    )
    # Batch calibration removes the small model's bias; six easy items leave no room for chance.
    assert right[0]["n"] >= 5
    cached = rows(store, "SELECT max(tokens_cached) AS n FROM calls")
    assert cached[0]["n"] > 50, "the prompt prefix must stay cached between items"
    second = run(folder, store)
    assert second["model_calls"] == 0
    with open_store(store) as opened:
        trace = trace_item(opened, "tiny", "t2")
    assert trace.steps[1].cache_hit
    assert trace.steps[1].calls[0].logprobs
