"""No downloaded models: a search then offers the encoder that needs no file."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def _no_downloaded_models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LABELPROOF_MODELS", str(tmp_path / "models"))
