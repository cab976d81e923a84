"""A store in a fresh folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from labelproof.store import TraceStore, _gate, engine, open_store
from tests.conftest import users_connect
from tests.store.store_helpers import end_started


@pytest.fixture(autouse=True)
def no_process_left() -> Iterator[None]:
    """Whatever a failed test leaves running is ended with it."""
    yield
    end_started()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[TraceStore]:
    with open_store(tmp_path / "store") as opened:
        yield opened


@pytest.fixture(autouse=True)
def quick_new_stores() -> None:
    """Every store here is made by its migrations."""


@pytest.fixture(autouse=True)
def users_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """DuckDB works here with as many threads as for a user, and no connection of another test."""
    monkeypatch.setattr(engine, "connect", users_connect)
    monkeypatch.setattr(_gate, "_spare", {})
