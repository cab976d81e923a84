"""Fingerprints: what changes them, which step's, and that a stored snapshot proves itself."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson
import pytest

from agents.resolve import GoldExample, ResolvedStrategy, verify_snapshot
from labelproof.spec.errors import ConfigError
from labelproof.spec.labels import LabelSchema
from tests.agents.agent_helpers import SINGLE, resolved

STEPS: tuple[dict[str, Any], ...] = (
    {"kind": "normalize"},
    {"kind": "retrieve", "encoder": "tfidf", "k": 2},
    {"kind": "label"},
    {"kind": "calibrate", "encoder": "none"},
    {"kind": "consensus", "model": "strong", "when": "confidence < 0.7", "guideline": "short"},
    {"kind": "calibrate", "name": "final", "encoder": "tfidf"},
    {"kind": "route"},
)
MODELS: dict[str, dict[str, Any]] = {
    name: {"provider": "openai_compatible", "model": name, "base_url": "http://127.0.0.1:9/v1"}
    for name in ("main", "strong")
}
EXAMPLES = [GoldExample(item_id=f"e{i}", label=SINGLE.leaves[i % 3]) for i in range(6)]
CALIBRATION = [GoldExample(item_id=f"c{i}", label=SINGLE.leaves[i % 3]) for i in range(6)]


def base(folder: Path, **changes: Any) -> ResolvedStrategy:
    labels: LabelSchema = changes.pop("labels", SINGLE)
    steps = changes.pop("steps", STEPS)
    values: dict[str, Any] = {"models": MODELS, "examples": EXAMPLES, "calibration": CALIBRATION, **changes}
    return resolved(folder, labels, steps, **values)


def changed_steps(before: ResolvedStrategy, after: ResolvedStrategy) -> set[str]:
    return {
        new.spec.name
        for old, new in zip(before.steps, after.steps, strict=True)
        if old.fingerprint != new.fingerprint
    }


def with_model(name: str, **more: Any) -> dict[str, dict[str, Any]]:
    models = copy.deepcopy(MODELS)
    models[name] |= more
    return models


def with_step(index: int, **more: Any) -> list[dict[str, Any]]:
    return [{**step, **more} if i == index else step for i, step in enumerate(STEPS)]


def relabelled(rows: list[GoldExample]) -> list[GoldExample]:
    return [*rows[:-1], GoldExample(item_id=rows[-1].item_id, label="safe")]


@pytest.mark.parametrize(
    ("change", "steps"),
    [
        ({"guideline": "Be fair!"}, {"label"}),
        ({"examples": relabelled(EXAMPLES)}, {"retrieve", "final"}),
        ({"calibration": relabelled(CALIBRATION)}, {"calibrate", "final"}),
        ({"models": with_model("strong", temperature=0.1)}, {"consensus"}),
        ({"models": with_model("main", params={"top_p": 0.9})}, {"label"}),
        ({"models": with_model("main", model="other")}, {"label"}),
        ({"models": with_model("main", seed=1)}, {"label"}),
        ({"steps": with_step(6, alpha=0.02)}, {"route"}),
        ({"project": {"routing": {"alpha": 0.02}}}, {"route"}),
        ({"project": {"routing": {"per_class_alpha": {"hate": 0.01}}}}, {"route"}),
        ({"project": {"class_prior": {"safe": 0.8, "hate": 0.1, "spam": 0.1}}}, {"calibrate", "final"}),
        ({"project": {"description": "Label texts!"}}, {"label", "consensus"}),
        ({"steps": with_step(0, max_chars=500)}, {"normalize"}),
        ({"steps": with_step(1, k=3)}, {"retrieve"}),
        ({"steps": with_step(3, method="temperature")}, {"calibrate"}),
        ({"steps": with_step(4, samples=7)}, {"consensus"}),
        ({"steps": with_step(2, max_retries=1)}, {"label"}),
    ],
    ids=lambda given: "+".join(sorted(given)),
)
def test_a_change_of_content_changes_its_step_and_the_strategy(
    tmp_path: Path, change: Mapping[str, Any], steps: set[str]
) -> None:
    before, after = base(tmp_path), base(tmp_path, **change)
    assert changed_steps(before, after) == steps
    assert before.fingerprint != after.fingerprint


@pytest.mark.parametrize(
    "change",
    [
        {"name": "renamed"},
        {"description": "another description"},
        {"models": with_model("main", concurrency=3, requests_per_minute=60, tokens_per_minute=9000)},
        {"models": with_model("main", price_in_usd_per_mtok=1.0, price_out_usd_per_mtok=2.0)},
        {"models": with_model("main", timeout_s=5, max_attempts=2, api_key_env="OTHER_KEY")},
        {"examples": list(reversed(EXAMPLES)), "calibration": list(reversed(CALIBRATION))},
        {
            "project": {
                "contacts": [{"role": "lead"}],
                "targets": [{"metric": "auto_accuracy", "at_least": 0.9}],
            }
        },
    ],
    ids=lambda given: "+".join(sorted(given)),
)
def test_what_changes_no_answer_changes_no_fingerprint(tmp_path: Path, change: Mapping[str, Any]) -> None:
    before, after = base(tmp_path), base(tmp_path, **change)
    assert changed_steps(before, after) == set()
    assert before.fingerprint == after.fingerprint


def test_severity_orders_peoples_work_and_calls_no_model_again(tmp_path: Path) -> None:
    """Raising a label's severity used to void every stored answer of the project."""
    graver = SINGLE.model_dump()
    graver["classes"][1]["severity"] = "critical"
    assert changed_steps(base(tmp_path), base(tmp_path, labels=LabelSchema.model_validate(graver))) == set()


def test_labels_and_their_descriptions_are_what_the_model_reads(tmp_path: Path) -> None:
    for field, value in (("description", "attacks"), ("name", "hatred")):
        other = SINGLE.model_dump()
        other["classes"][1][field] = value
        gold: dict[str, Any] = {"examples": [], "calibration": []}
        before = base(tmp_path, **gold)
        after = base(tmp_path, labels=LabelSchema.model_validate(other), **gold)
        assert changed_steps(before, after) == {"label", "consensus"}


def test_a_condition_changes_the_strategy_and_no_steps_answers(tmp_path: Path) -> None:
    before = base(tmp_path)
    after = base(tmp_path, steps=with_step(4, when="confidence < 0.8"))
    assert changed_steps(before, after) == set()
    assert before.fingerprint != after.fingerprint


def test_one_character_of_a_prompt_is_another_version(tmp_path: Path) -> None:
    own = tmp_path / "prompts"
    own.mkdir()
    text = (Path(__file__).resolve().parents[2] / "prompts" / "label_json.md").read_text(encoding="utf-8")
    (own / "label_json.md").write_text(text, encoding="utf-8")
    before = base(tmp_path)
    (own / "label_json.md").write_text(
        text.replace("one short sentence", "one short sentence!"), encoding="utf-8"
    )
    assert changed_steps(before, base(tmp_path)) == {"label"}


def test_an_investigation_depends_on_what_its_tools_read(tmp_path: Path) -> None:
    """Examples and guideline reach the agent through its tools; changing them used to replay the old answers."""

    def investigating(**changes: Any) -> ResolvedStrategy:
        step: dict[str, Any] = {"kind": "investigate", "guideline": "none", **changes.pop("step", {})}
        return base(tmp_path, steps=[step], **changes)

    assert changed_steps(investigating(), investigating(guideline="Be strict.")) == {"investigate"}
    assert changed_steps(investigating(), investigating(examples=relabelled(EXAMPLES))) == {"investigate"}
    blind = {"step": {"tools": ["decode"]}}
    assert changed_steps(investigating(**blind), investigating(guideline="Be strict.", **blind)) == set()
    assert changed_steps(investigating(**blind), investigating(examples=[], **blind)) == set()


def test_calibration_without_gold_or_encoder_depends_on_neither(tmp_path: Path) -> None:
    steps = [{"kind": "label"}, {"kind": "calibrate", "method": "batch"}]
    before = base(tmp_path, steps=steps)
    after = base(tmp_path, steps=steps, examples=[], calibration=[])
    assert changed_steps(before, after) == set()


def test_an_own_weights_file_counts_by_content_not_by_place(tmp_path: Path) -> None:
    def owned(path: Path) -> ResolvedStrategy:
        return base(
            tmp_path, models={"main": {"provider": "embedded", "path": str(path)}, "strong": MODELS["strong"]}
        )

    one, two = tmp_path / "one.gguf", tmp_path / "two.gguf"
    one.write_bytes(b"weights")
    two.write_bytes(b"weights")
    assert owned(one).fingerprint == owned(two).fingerprint
    two.write_bytes(b"weights, other")
    assert changed_steps(owned(one), owned(two)) == {"label"}
    with pytest.raises(ConfigError, match="no GGUF file"):
        owned(tmp_path / "missing.gguf")


def test_a_snapshot_proves_itself_after_a_round_trip_through_json(tmp_path: Path) -> None:
    strategy = base(tmp_path)
    strategy.verify()
    verify_snapshot(orjson.loads(orjson.dumps(strategy.snapshot)), strategy.fingerprint)


def _first_leaf(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the paths of all plain values below ``value``."""
    if isinstance(value, Mapping):
        return [p for key, inner in value.items() for p in _first_leaf(inner, (*path, key))]
    if isinstance(value, list):
        return [p for i, inner in enumerate(value) for p in _first_leaf(inner, (*path, i))]
    return [path]


def test_any_altered_value_of_any_step_is_detected(tmp_path: Path) -> None:
    strategy = base(tmp_path)
    stored = orjson.loads(orjson.dumps(strategy.snapshot))
    paths = _first_leaf(stored["steps"])
    assert len(paths) > 60
    for path in paths:
        altered = copy.deepcopy(stored)
        place = altered["steps"]
        for key in path[:-1]:
            place = place[key]
        place[path[-1]] = f"{place[path[-1]]} "
        with pytest.raises(ConfigError):
            verify_snapshot(altered, strategy.fingerprint)
    for steps in (
        stored["steps"][1:],
        list(reversed(stored["steps"])),
        [*stored["steps"], stored["steps"][0]],
    ):
        with pytest.raises(ConfigError, match="does not match its fingerprint"):
            verify_snapshot({**stored, "steps": steps}, strategy.fingerprint)


def test_the_routing_of_a_strategy_overrides_the_projects_key_by_key(tmp_path: Path) -> None:
    project = {"routing": {"alpha": 0.02, "audit_rate_prob": 0.3, "always_review": ["hate"]}}
    strategy = base(tmp_path, steps=with_step(6, mode="threshold", always_review=[]), project=project)
    rules = strategy.routing
    assert (rules.mode, rules.alpha, rules.audit_rate_prob, rules.always_review) == (
        "threshold",
        0.02,
        0.3,
        (),
    )


def test_keys_and_prices_stay_out_of_the_snapshot(tmp_path: Path) -> None:
    strategy = base(
        tmp_path, models=with_model("main", api_key_env="SECRET_NAME", price_in_usd_per_mtok=3.25)
    )
    stored = orjson.dumps(strategy.snapshot).decode()
    assert "SECRET_NAME" not in stored
    assert "3.25" not in stored


def test_steps_know_which_call_models(tmp_path: Path) -> None:
    strategy = base(tmp_path)
    assert [step.spec.name for step in strategy.steps if step.calls_model] == ["label", "consensus"]
