"""A project whose scripted model answers better when its prompt shows what a search may add."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

import orjson

from labelproof.report.optimize.model import SearchReport, SearchRequest
from labelproof.report.optimize.plan import Prepared, prepare
from labelproof.report.optimize.run import run_search
from labelproof.spec.project import find_project
from labelproof.store import TraceStore
from tests.conftest import MakeProject
from tests.scripted_server import Reply, ScriptedServer, Seen, scripted_server

NAMES = ("safe", "hate", "spam")
NOW = datetime(2026, 3, 1, tzinfo=UTC)
MAGIC = "Count the vowels before you decide"
SPLITS = (("examples", 24), ("calibration", 64), ("certify", 12), ("test", 60))
STEPS = """
  - kind: normalize
  - kind: label
  - kind: route
"""
PRICED = "concurrency: 16, price_in_usd_per_mtok: 100, price_out_usd_per_mtok: 100"
Script = Callable[[Seen], Reply]


def truth(index: int) -> str:
    return NAMES[(index * 7) % 3]


def gold_rows() -> list[tuple[int, str, str]]:
    found, at = [], 0
    for split, n in SPLITS:
        found += [(i, truth(i), split) for i in range(at, at + n)]
        at += n
    return found


def items_of(split: str) -> set[int]:
    return {i for i, _, name in gold_rows() if name == split}


def is_writer(seen: Seen) -> bool:
    return "Write the addition" in seen.prompt


def asked_item(seen: Seen) -> int:
    """Return the item that stands between the fences, not one of the examples."""
    return int(re.findall(r"text number (\d+) for", seen.prompt)[-1])


def system_of(seen: Seen) -> str:
    return str(seen.body["messages"][0]["content"])


def right_share(seen: Seen) -> float:
    """How often the scripted model is right: more with examples, most with the magic instruction."""
    shots = seen.prompt.count("Similar item") + system_of(seen).count("Example item:")
    return 0.95 if MAGIC in system_of(seen) else 0.5 + 0.02 * min(shots, 8)


def answer(seen: Seen) -> Reply:
    """Be right for a share of items that depends on what the prompt shows; which items is fixed by their number."""
    index = asked_item(seen)
    label = truth(index) if (index * 37) % 100 < 100 * right_share(seen) else truth(index + 1)
    body = {"rationale": "so", "label": label, "confidence": 0.8}
    return Reply(content=orjson.dumps(body).decode(), without_logprobs=True)


def with_writer(instruction: str | Sequence[str]) -> Script:
    """Answer writers with what is given, in turn; others as ``answer`` does."""
    given = [instruction] if isinstance(instruction, str) else list(instruction)
    calls: Counter[str] = Counter()

    def script(seen: Seen) -> Reply:
        if not is_writer(seen):
            return answer(seen)
        calls["writer"] += 1
        return Reply(content=given[(calls["writer"] - 1) % len(given)])

    return script


def written(text: str) -> str:
    return orjson.dumps({"instruction": text}).decode()


@contextmanager
def project(
    make_project: MakeProject, script: Script = answer, **more: Any
) -> Iterator[tuple[Path, ScriptedServer]]:
    with scripted_server(script) as server:
        more = {"n_items": 160, "gold": gold_rows(), "steps": STEPS, **more}
        folder = make_project(server.base_url, **more)
        with (folder / "project.yaml").open("a") as file:  # 60 items prove no failure rate
            file.write("experiments: {guardrails: [], rerun_items: 10}\n")
        yield folder, server


def prepared(folder: Path, **request: Any) -> Prepared:
    return prepare(find_project(str(folder)), SearchRequest(**request))


def searched(folder: Path, store: TraceStore, **request: Any) -> SearchReport:
    return run_search(store, prepared(folder, **request), clock=ticking())


def ticking() -> Callable[[], datetime]:
    """Return a clock that moves on by a second whenever it is read."""
    seconds = count()
    return lambda: NOW + timedelta(seconds=next(seconds))
