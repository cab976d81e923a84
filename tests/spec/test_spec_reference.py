"""The reference pages are those of the models, and every key has a meaning."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import BaseModel

from labelproof.spec import reference as ref
from labelproof.spec.project import Project
from labelproof.spec.strategy import CritiqueStep, ModelSpec, Spec, Strategy


@pytest.mark.parametrize("path", sorted(ref.pages()), ids=lambda path: path.name)
def test_committed_pages_are_up_to_date(path: Path) -> None:
    assert path.read_text(encoding="utf-8") == ref.pages()[path], "run: python -m labelproof.spec.reference"


def _reachable(model: type[BaseModel], seen: set[type[BaseModel]]) -> set[type[BaseModel]]:
    """Return ``model`` and every model its fields mention."""
    if model in seen:
        return seen
    seen.add(model)
    for field in model.model_fields.values():
        for found in _models(field.annotation):
            _reachable(found, seen)
    return seen


def _models(annotation: object) -> set[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return {annotation}
    inner = [*getattr(annotation, "__args__", ()), getattr(annotation, "__origin__", None)]
    return {model for part in inner if part is not None for model in _models(part)}


def test_every_key_of_every_reachable_model_is_on_a_page() -> None:
    text = "".join(ref.pages().values())
    models = _reachable(Strategy, set()) | _reachable(Project, set())
    assert CritiqueStep in models
    for model in models:
        for name in model.model_fields:
            said = ref.meaning(model, name)
            assert said
            row = next(
                (
                    line
                    for line in text.splitlines()
                    if line.startswith(f"| `{name}` |") and _flat(said) in line
                ),
                None,
            )
            assert row is not None, f"{model.__name__}.{name} is on no page"


def _flat(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def test_a_key_without_meaning_is_refused() -> None:
    class Mute(Spec):
        word: str

    with pytest.raises(KeyError, match=r"Mute\.word"):
        ref.meaning(Mute, "word")


def test_limits_and_defaults_stand_in_the_table() -> None:
    row = next(line for line in ref.strategy_page().splitlines() if line.startswith("| `timeout_s` |"))
    assert "above 0, at most 3600" in row
    assert f"`{ModelSpec().timeout_s:g}`" in row
