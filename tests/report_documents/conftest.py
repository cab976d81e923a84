"""One small simulated store for the tests of reports; reading changes nothing in it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from docs._report_scene import Size, make_scene
from labelproof.spec.project import ProjectFolder, find_project
from labelproof.store import TraceStore, open_store

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def scene_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_scene(tmp_path_factory.mktemp("scene"), Size(per_day=150))


@pytest.fixture
def scene(scene_path: Path) -> Iterator[TraceStore]:
    with open_store(scene_path) as opened:
        yield opened


@pytest.fixture
def content_safety() -> ProjectFolder:
    return find_project(str(ROOT / "projects" / "content_safety"))
