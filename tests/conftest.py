"""Fixtures that several rooms share: a small project on disk, answered by the scripted server."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from secrets import token_hex
from typing import Any

import pytest
from hypothesis import settings

from labelproof.store import engine, open_store
from labelproof.store.engine import Engine, FileEngine
from labelproof.store.location import Location
from labelproof.store.migrate import ensure_schema

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
users_connect = engine.connect
ROOMS_OF_MARKS = {"stack": ("stack", "flows"), "browser": ("review",)}
"""Where the Makefile runs tests with a mark from."""


@pytest.hookimpl(tryfirst=True)  # before any is deselected
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Refuse a test that `make check` would not find: it looks for these marks in these rooms alone."""
    for item in items:
        for mark, rooms in ROOMS_OF_MARKS.items():
            room = item.path.relative_to(Path(__file__).parent).parts[0]
            if item.get_closest_marker(mark) and room not in rooms:
                raise pytest.UsageError(f"{item.nodeid} is marked {mark}: it belongs in tests/{rooms[0]}")


@pytest.fixture(scope="session", autouse=True)
def one_thread_a_database() -> Iterator[None]:
    """Let DuckDB work in the caller's thread: a second one spins while it waits, and tests already use every core.

    The store's own tests, and all that start processes, run with the threads a user has (tests/store/conftest.py).
    """

    def connect(config: Mapping[str, Any] | None = None) -> engine.Cursor:
        return users_connect({"threads": 1, **(config or {})})

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engine, "connect", connect)
        yield


@pytest.fixture(scope="session")
def empty_store_file(one_thread_a_database: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The database of a new store, made once a process by this release's migrations."""
    with open_store(tmp_path_factory.mktemp("empty") / "store") as store:
        return Path(store.location.target)


@pytest.fixture(autouse=True)
def quick_new_stores(empty_store_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Begin a new store with a copy of an empty one: to make the tables is most of what many a test would take.

    The store's own tests make each of theirs (tests/store/conftest.py).
    """

    def ensure(kind: Engine, location: Location, *, create: bool) -> None:
        if create and isinstance(kind, FileEngine) and not kind.exists():
            target = Path(location.target)
            draft = target.with_name(f".tmp-{token_hex(4)}")
            shutil.copyfile(empty_store_file, draft)
            with suppress(FileExistsError):  # as for two that make it at once: the first one's stands
                os.link(draft, target)
            draft.unlink()
        ensure_schema(kind, location, create=create)

    monkeypatch.setattr("labelproof.store.trace_store.ensure_schema", ensure)


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
