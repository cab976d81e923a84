"""Fixtures that several rooms share: a small project on disk, answered by the scripted server."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from hypothesis import settings

settings.register_profile("labelproof", deadline=None)  # a busy machine is no defect
settings.load_profile("labelproof")

STEPS = """
  - kind: normalize
  - kind: label
  - kind: calibrate
    encoder: none
  - kind: route
"""
MakeProject = Callable[..., Path]


@pytest.fixture
def make_project(tmp_path: Path) -> MakeProject:
    """Return a maker of project folders: classes safe / hate / spam, items m0, m1, …"""

    def make(
        base_url: str,
        *,
        n_items: int = 12,
        gold: Sequence[tuple[int, str, str]] = (),
        steps: str = STEPS,
        model: str = "concurrency: 16",
        routing: str = "mode: threshold, threshold_prob: 0.5",
        kind: str = "single",
        name: str = "mini",
    ) -> Path:
        folder = tmp_path / name
        (folder / "strategies").mkdir(parents=True)
        rows = [
            {"id": f"m{i}", "text": f"text number {i} for the reader", "lang": "ab"[i % 2]}
            for i in range(n_items)
        ]
        (folder / "items.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        (folder / "guideline.md").write_text(
            "# Guideline\n\nH-1. Attacks on groups are hate.\n\nS-1. Offers are spam.\n"
        )
        gold_line = ""
        if gold:
            lines = [json.dumps({"id": f"m{i}", "label": label, "split": split}) for i, label, split in gold]
            (folder / "gold.jsonl").write_text("\n".join(lines) + "\n")
            gold_line = "gold: {path: gold.jsonl, split_column: split}\n"
        (folder / "project.yaml").write_text(
            f"name: {name}\ndescription: Label short texts.\n"
            f"labels: {{kind: {kind}, classes: [{{name: safe}}, {{name: hate, description: attacks}}, {{name: spam}}]}}\n"
            f"items: {{path: items.jsonl}}\n{gold_line}routing: {{{routing}}}\n"
        )
        write_strategy(folder, base_url, steps=steps, model=model)
        return folder

    return make


def write_strategy(
    folder: Path, base_url: str, *, steps: str = STEPS, model: str = "", name: str = "champion"
) -> None:
    """Write a strategy that asks ``base_url``."""
    spec = f"provider: openai_compatible, model: gpt-4.1-mini, base_url: '{base_url}'" + (
        f", {model}" if model else ""
    )
    (folder / "strategies" / f"{name}.yaml").write_text(
        f"name: {name}\nmodels: {{main: {{{spec}}}}}\nsteps:{steps}"
    )
