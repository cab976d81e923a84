"""Two or three strategies over items whose truth is known: each has its own model name and its own mistakes."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson

from labelproof.report.experiments.opening import ExperimentRequest, Opened, open_experiment
from labelproof.store import TraceStore
from tests.conftest import STEPS, MakeProject
from tests.scripted_server import Reply, Seen

NAMES = ("safe", "hate", "spam")
NOW = datetime(2026, 3, 1, tzinfo=UTC)
N_ITEMS = 60
PRICE = "price_in_usd_per_mtok: 100, price_out_usd_per_mtok: 100, max_tokens: 50"
Wrong = Callable[[int], bool]
NEVER: Wrong = lambda _: False  # noqa: E731
WRONG: Mapping[str, Wrong] = {
    "champion": lambda i: i % 3 == 0,
    "candidate": NEVER,
    "third": lambda i: i % 2 == 0,
}


def truth(index: int) -> str:
    return NAMES[index % 3]


def index_of(prompt: str) -> int:
    found = re.search(r"text number (\d+) for", prompt)
    assert found is not None
    return int(found.group(1))


def answering(wrong: Mapping[str, Wrong] = WRONG) -> Callable[[Seen], Reply]:
    """Return a model that is right except where the arm of its model name is ``wrong``."""

    def answer(seen: Seen) -> Reply:
        index = index_of(seen.prompt)
        missed = wrong[seen.body["model"].removeprefix("gpt-")](index)
        body = {"rationale": "so", "label": truth(index + missed), "confidence": 0.9}
        return Reply(content=orjson.dumps(body).decode(), without_logprobs=True)

    return answer


def write_arm(folder: Path, base_url: str, name: str, *, model: str = "") -> None:
    """Write a strategy that asks the model of its own name."""
    spec = f"provider: openai_compatible, model: gpt-{name}, base_url: '{base_url}', concurrency: 4, {PRICE}"
    (folder / "strategies" / f"{name}.yaml").write_text(
        f"name: {name}\nmodels: {{main: {{{spec}{model}}}}}\nsteps:{STEPS}"
    )


def make_arms(
    make_project: MakeProject,
    base_url: str,
    *,
    arms: tuple[str, ...] = ("champion", "candidate"),
    n_items: int = N_ITEMS,
    n_gold: int = 40,
    rerun: int = 5,
    experiments: str = "guardrails: []",
    **more: Any,
) -> Path:
    gold = [(i, truth(i), "test") for i in range(n_gold)]
    folder = make_project(base_url, n_items=n_items, gold=gold, **more)
    for name in arms:
        write_arm(folder, base_url, name)
    with (folder / "project.yaml").open("a") as file:
        file.write(f"experiments: {{rerun_items: {rerun}, {experiments}}}\n")
    return folder


def opened(
    store: TraceStore, folder: Path, arms: tuple[str, ...] = ("champion", "candidate"), **more: Any
) -> Opened:
    now = more.pop("now", NOW)
    return open_experiment(
        store, ExperimentRequest(project=str(folder), arms=arms, **more), now=now, actor="ann"
    )
