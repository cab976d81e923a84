"""A small project with gold, and a scripted model that is fooled by what a test chooses."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable
from pathlib import Path

import orjson

from tests.conftest import MakeProject, write_strategy
from tests.scripted_server import Reply, Seen

LABELS = ("safe", "hate", "spam")
TEXTS = [
    "Lovely garden pictures, thanks for sharing this little story",
    "Those people deserve nothing, honestly nobody wants them here",
    "Cheap watches today, follow our profile for another bargain",
]
Fooled = Callable[[str], str | None]


def replying(fooled: Fooled) -> Callable[[Seen], Reply]:
    """A model that answers by the number in the text, unless ``fooled`` says otherwise of the prompt."""

    def answer(seen: Seen) -> Reply:
        item = seen.prompt
        found = re.search(r"(\d+)x ", item, re.IGNORECASE)
        label = fooled(item) or (LABELS[int(found.group(1)) % 3] if found else "safe")
        body = {"rationale": "so", "label": label, "confidence": 0.9}
        return Reply(content=orjson.dumps(body).decode(), without_logprobs=True)

    return answer


def suite_project(
    make_project: MakeProject, base_url: str, *, n_items: int = 24, experiments: str = "", name: str = "mini"
) -> Path:
    """A project whose items `Nx …` carry their number; the first half is calibration gold, the second is test gold."""
    gold = [(i, LABELS[i % 3], "calibration" if i < n_items // 2 else "test") for i in range(n_items)]
    folder = make_project(base_url, n_items=n_items, gold=gold, name=name)
    rows = [{"id": f"m{i}", "text": f"{i}x {TEXTS[i % 3]}", "lang": "ab"[i % 2]} for i in range(n_items)]
    (folder / "items.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    if experiments:
        path = folder / "project.yaml"
        path.write_text(path.read_text() + f"experiments: {experiments}\n")
    return folder


def second_strategy(folder: Path, base_url: str, name: str = "candidate") -> None:
    """Another version: other sampling, so another fingerprint."""
    write_strategy(folder, base_url, model="max_tokens: 99", name=name)


def write_cases(folder: Path, rows: list[tuple[str, str, str, str]], name: str = "functional.csv") -> Path:
    path = folder / "suites" / name
    path.parent.mkdir(exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as handle:
        csv.writer(handle).writerows([("case_id", "functionality", "text", "expected"), *rows])
    return path
