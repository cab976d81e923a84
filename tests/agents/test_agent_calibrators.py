"""Calibrators of a run: with and without gold, over sets, from the store and back."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest

from agents.calibrators import Fitted, fit
from agents.readings import normalized
from agents.state import Example, ItemState
from agents.steps.calibrate import Calibrate
from evaluation.calibration import FittedCalibrator
from evaluation.multilabel_calibration import FittedMultiLabelCalibrator
from labelproof.spec.errors import BugError, ConfigError
from labelproof.spec.labels import LabelSchema
from labelproof.spec.strategy import CalibrateStep
from tests.agents.agent_helpers import SINGLE, item_state, make_step, no_encoder, resources, schema

MULTI = schema("hate", "spam", kind="multi")
WORDS = {"safe": "garden weather bread", "hate": "vermin despise leave", "spam": "loan offer click"}


def population(n: int, *, seed: int = 0, skill: float = 1.5) -> tuple[list[ItemState], dict[str, str]]:
    """Return states read by a model that leans to "safe", and their gold labels."""
    rng = random.Random(seed)
    states, gold = [], {}
    for i in range(n):
        label = SINGLE.leaves[i % 3]
        words = " ".join(rng.choice(WORDS[label].split()) for _ in range(6))
        scores = [rng.gauss(skill * (leaf == label) + 1.0 * (leaf == "safe"), 1) for leaf in SINGLE.leaves]
        state = item_state(f"{words} {seed} {i}", log_probs=normalized(scores))
        state.label = SINGLE.leaves[int(np.argmax(scores))]
        states.append(state)
        gold[state.item.id] = label
    return states, gold


def sets(n: int, *, seed: int = 0) -> tuple[list[ItemState], dict[str, str]]:
    rng = random.Random(seed)
    states, gold = [], {}
    for i in range(n):
        members = [leaf for leaf in MULTI.leaves if rng.random() < 0.4]
        yes = [1 / (1 + math.exp(-rng.gauss(2.0 if leaf in members else -2.0, 1))) for leaf in MULTI.leaves]
        state = item_state(f"set {seed} {i}", log_probs=[math.log(p) for p in yes])
        states.append(state)
        gold[state.item.id] = MULTI.canonical(members)
    return states, gold


def fitted(
    states: list[ItemState],
    gold: Mapping[str, str],
    labels: LabelSchema = SINGLE,
    training: list[Example] | None = None,
    prior: Mapping[str, float] | None = None,
    **spec: Any,
) -> Fitted:
    step = CalibrateStep(kind="calibrate", **{"encoder": "none", **spec})
    return fit(
        step, labels, states, gold, training=training or [], open_encoder=no_encoder, class_prior=prior
    )


def right(found: Any, states: list[ItemState], gold: Mapping[str, str]) -> float:
    return float(np.mean([label == gold[s.item.id] for label, s in zip(found.labels, states, strict=True)]))


def test_gold_removes_the_models_lean_and_confidence_is_honest() -> None:
    states, gold = population(300)
    test, truth = population(600, seed=1)
    model = fitted(states, gold)
    found = model.predict(test, no_encoder)
    raw = np.mean([s.label == truth[s.item.id] for s in test])
    assert right(found, test, truth) > raw
    assert found.log_probs.shape == (600, 3)
    assert np.allclose(np.exp(found.log_probs).sum(axis=1), 1)
    assert abs(float(found.confidence.mean()) - right(found, test, truth)) < 0.06
    assert model.row()["n"] == 300


def test_without_gold_the_batch_itself_removes_the_lean() -> None:
    states, gold = population(300)
    model = fitted(states, {})
    assert (model.method, model.calibrator.n) == ("batch", 0)
    found = model.predict(states, no_encoder)
    shares = np.bincount([SINGLE.leaves.index(label) for label in found.labels], minlength=3) / 300
    assert abs(shares - 1 / 3).max() < 0.08
    assert right(found, states, gold) > np.mean([s.label == gold[s.item.id] for s in states])
    (report,) = model.row()["report"]
    assert "No gold" in report["why"]


def test_known_shares_replace_the_presumption_of_equal_ones() -> None:
    states, _ = population(300)
    prior = {"safe": 0.8, "hate": 0.1, "spam": 0.1}
    found = fitted(states, {}, prior=prior).predict(states, no_encoder)
    assert np.exp(found.log_probs).mean(axis=0) == pytest.approx([0.8, 0.1, 0.1], abs=0.02)


@pytest.mark.parametrize("method", ["auto", "batch", "temperature", "multinomial", "none"])
def test_a_stored_calibrator_predicts_the_same(method: str) -> None:
    states, gold = population(120)
    test, _ = population(50, seed=1)
    model = fitted(states, gold, method=method)
    stored = orjson.loads(orjson.dumps(model.row()["params"]))
    again = FittedCalibrator.from_params(stored["calibrator"])
    scores = np.asarray([s.log_probs for s in test])
    ours, theirs = model.predict(test, no_encoder), again.predict(scores)
    assert list(ours.labels) == list(theirs.labels)
    assert ours.confidence == pytest.approx(theirs.confidence)
    assert stored["classifiers"] == []
    assert fitted(states, gold, method=method).calibrator_id == model.calibrator_id


def test_the_id_tells_calibrators_apart() -> None:
    states, gold = population(60)
    other = {**gold, states[0].item.id: "spam"}
    assert fitted(states, gold).calibrator_id != fitted(states, other).calibrator_id


def test_sets_are_calibrated_class_by_class_and_stored_whole() -> None:
    states, gold = sets(200)
    test, truth = sets(200, seed=1)
    model = fitted(states, gold, MULTI)
    found = model.predict(test, no_encoder)
    assert set(found.labels) <= {"none", "hate", "spam", "hate+spam"}
    assert right(found, test, truth) > 0.85
    stored = orjson.loads(orjson.dumps(model.row()["params"]))
    again = FittedMultiLabelCalibrator.from_params(stored["calibrator"])
    yes = np.minimum(np.asarray([s.log_probs for s in test]), -1e-6)
    theirs = again.predict(np.stack([np.log1p(-np.exp(yes)), yes], axis=-1))
    assert list(found.labels) == list(theirs.labels)
    assert len(model.row()["report"]) == 2
    assert model.headline()["n"] == 200


def test_sets_without_gold_take_the_known_shares() -> None:
    states, _ = sets(200)
    found = fitted(states, {}, MULTI, prior={"hate": 0.1, "spam": 0.7}).predict(states, no_encoder)
    assert np.exp(found.log_probs).mean(axis=0) == pytest.approx([0.1, 0.7], abs=0.03)


@pytest.mark.parametrize("labels", [SINGLE, MULTI])
def test_certain_and_impossible_classes_stay_finite(labels: LabelSchema) -> None:
    n = len(labels.leaves)
    states = [item_state(f"t{i}", log_probs=[0.0] + [-18.0] * (n - 1)) for i in range(5)]
    found = fitted(states, {}, labels).predict(states, no_encoder)
    assert np.isfinite(found.log_probs).all()
    assert ((found.confidence >= 0) & (found.confidence <= 1)).all()


def test_items_the_model_failed_on_teach_nothing() -> None:
    """An item that failed after a first reading used to join the fit, though it is never predicted."""
    states, gold = population(60)
    broken, more = population(6, seed=9)
    for state in broken[:3]:
        state.log_probs = None
    for state in broken[3:]:
        state.failure = "consensus: no JSON"
    assert fitted([*states, *broken], {**gold, **more}).calibrator_id == fitted(states, gold).calibrator_id


def test_a_sample_in_which_everything_failed_still_gives_a_calibrator() -> None:
    states = [item_state(f"t{i}", failure="label: broken") for i in range(5)]
    model = fitted(states, {})
    assert model.method == "batch"
    later, _ = population(9)
    assert len(model.predict(later, no_encoder).labels) == 9
    sets_later, _ = sets(4)
    assert len(fitted(states, {}, MULTI).predict(sets_later, no_encoder).labels) == 4


@pytest.mark.parametrize("n", [1, 4, 12, 40])
def test_gold_of_a_single_class_keeps_the_other_labels_possible(n: int) -> None:
    states, _ = population(n)
    model = fitted(states, {s.item.id: "hate" for s in states})
    test, _ = population(30, seed=1)
    found = model.predict(test, no_encoder)
    assert np.isfinite(found.log_probs).all()
    assert (found.confidence <= 1).all()
    assert "safe" in model.row()["report"][0]["missing_classes"]


@pytest.mark.parametrize("n", [1, 3, 10])
def test_sets_of_one_kind_are_no_crash(n: int) -> None:
    states, _ = sets(n)
    model = fitted(states, {s.item.id: "none" for s in states}, MULTI)
    assert len(model.predict(states, no_encoder).labels) == n


def test_a_local_text_classifier_joins_when_it_helps() -> None:
    states, gold = population(90, skill=0.2)
    training = [
        Example(f"x{i}", f"{WORDS[leaf]} extra {i}", leaf) for i, leaf in enumerate(SINGLE.leaves * 5)
    ]
    model = fitted(states, gold, training=training, encoder="tfidf", method="fused")
    assert model.method == "fused"
    test, truth = population(90, seed=1, skill=0.2)
    found = model.predict(test, no_encoder)
    assert right(found, test, truth) > 0.9
    assert model.headline()["encoder"] == "tfidf"
    params = model.row()["params"]
    assert params["encoder"] == "tfidf"
    assert len(params["classifiers"]) == 1
    own = model.predict(states, no_encoder)
    inside = model.predict([item_state(s.item.text + " ", log_probs=s.log_probs) for s in states], no_encoder)
    assert own.confidence.mean() <= inside.confidence.mean() + 0.02, "its own items are judged out of fold"


def test_sets_have_a_text_classifier_for_each_class() -> None:
    states, gold = sets(80)
    model = fitted(states, gold, MULTI, encoder="tfidf", method="fused")
    assert len(model.classifiers) == 2
    assert len(model.predict(states, no_encoder).labels) == 80


@pytest.mark.parametrize(("n", "encoder"), [(40, "none"), (8, "tfidf")])
def test_a_fused_method_that_cannot_be_says_what_to_change_in_the_strategy(n: int, encoder: str) -> None:
    """The message used to name a function of ours instead of a key of the strategy file."""
    states, gold = population(n)
    with pytest.raises(ConfigError) as caught:
        fitted(states, gold, method="fused", encoder=encoder)
    assert "cross_fit" not in str(caught.value)
    assert "encoder" in str(caught.value)
    assert "30" in str(caught.value)


def test_the_step_applies_what_it_fitted_and_leaves_failed_items_alone(tmp_path: Path) -> None:
    step = make_step(tmp_path, "calibrate", encoder="none", with_=resources())
    assert isinstance(step, Calibrate)
    with pytest.raises(BugError):
        step.inputs(item_state(log_probs=[-1.0, -1.0, -1.0]))
    states, gold = population(60)
    step.fit(states, gold)
    failed = item_state("broken", failure="label: x")
    batch = [states[0], failed, states[1]]
    (alone,) = step.run_batch([states[1]])
    outputs = step.run_batch(batch)
    for state, output in zip(batch, outputs, strict=True):
        assert orjson.loads(orjson.dumps(output)) == output
        before = state.label
        step.apply(state, output)
        assert output["changed"] == (output["label"] is not None and state.label != before)
    assert (failed.label, failed.confidence, failed.calibrator_id) == (None, None, None)
    assert states[0].confidence is not None
    assert states[0].calibrator_id == step.resources.calibrators["calibrate"].calibrator_id
    assert "text" in step.inputs(states[0])
    assert alone["confidence"] == pytest.approx(outputs[2]["confidence"], abs=1e-5), "no item sways another"
