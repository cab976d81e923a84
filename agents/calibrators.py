"""A fitted calibrator with what it needs at prediction time: text classifiers and their encoder.

Multi-label strategies are calibrated class by class (no / yes); the rest is the same, so both go through
one set of functions on ``_scores``: (n, K) log-probabilities, or (n, K, 2) pairs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from agents.state import Example, ItemState
from evaluation.calibration import FittedCalibrator, Method, fit_calibrator
from evaluation.multilabel_calibration import FittedMultiLabelCalibrator, fit_multilabel_calibrator
from evaluation.text_classifier import TextClassifier, cross_fit_text_classifier
from labelproof.spec.errors import ConfigError
from labelproof.spec.hashing import digest
from labelproof.spec.labels import LabelSchema
from labelproof.spec.strategy import CalibrateStep

MIN_ENCODER_ITEMS = 30
"""Below this many labelled items a text classifier is not worth a candidate."""
Floats = npt.NDArray[np.float64]
OpenEncoder = Callable[[str], Any]
_PAIR = ("no", "yes")


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibrated:
    """Labels, confidences (n,) and log-probabilities (n, K) in the order of the states given."""

    labels: Sequence[str]
    confidence: Floats
    log_probs: Floats


@dataclass(slots=True, kw_only=True)
class Fitted:
    """What a calibrate step uses. ``calibrator_id`` is the hash of everything that predicts."""

    calibrator: FittedCalibrator | FittedMultiLabelCalibrator
    classifiers: tuple[TextClassifier, ...]
    """One for all classes, or for multi-label one per class; none without encoder."""
    encoder: str
    calibrator_id: str
    own_scores: Mapping[str, Floats] = field(default_factory=dict)
    """Item id → out-of-fold encoder scores of the items it was fitted on."""

    @property
    def method(self) -> str:
        """The calibration method; for multi-label those of its classes."""
        if isinstance(self.calibrator, FittedCalibrator):
            return self.calibrator.method
        return "+".join(sorted({member.method for member in self.calibrator.members}))

    def predict(self, states: Sequence[ItemState], open_encoder: OpenEncoder) -> Calibrated:
        """Return calibrated labels of states whose ``log_probs`` are set, in order."""
        multi = isinstance(self.calibrator, FittedMultiLabelCalibrator)
        log_probs = _scores(states, multi=multi)
        encoded = None
        if self.calibrator.needs_encoder and self.classifiers:
            encoded = _classified(self.classifiers, _embed(open_encoder, self.encoder, states), multi=multi)
            for row, state in enumerate(states):
                own = self.own_scores.get(state.item.id)
                if own is not None:
                    encoded[row] = own
        found = self.calibrator.predict(log_probs, encoded)
        return Calibrated(
            labels=found.labels,
            confidence=found.confidence,
            log_probs=np.log(np.maximum(found.probs, 1e-9)),
        )

    def row(self) -> dict[str, Any]:
        """Return what the store keeps: parameters to predict again, and the fitting reports."""
        return {
            "calibrator_id": self.calibrator_id,
            "method": self.method,
            "n": self.calibrator.n,
            "params": _params(self.calibrator, self.classifiers, self.encoder),
            "report": [report.to_json() for report in self._reports()],
        }

    def headline(self) -> dict[str, Any]:
        """Return method, gold size and the reason in words, for the run's summary."""
        reports = self._reports()
        return {
            "method": self.method,
            "n": self.calibrator.n,
            "encoder": self.encoder if self.calibrator.needs_encoder else "none",
            "why": reports[0].why if len(reports) == 1 else "",
        }

    def _reports(self) -> list[Any]:
        if isinstance(self.calibrator, FittedMultiLabelCalibrator):
            return list(self.calibrator.reports)
        return [self.calibrator.report] if self.calibrator.report is not None else []


def fit(
    spec: CalibrateStep,
    schema: LabelSchema,
    states: Sequence[ItemState],
    gold: Mapping[str, str],
    *,
    training: Sequence[Example],
    open_encoder: OpenEncoder,
    class_prior: Mapping[str, float] | None = None,
) -> Fitted:
    """Return the calibrator of one step.

    ``states`` with a gold label are the calibration items; without any gold all states are the batch whose
    bias is removed. Items that failed take no part. ``class_prior``: known shares of the labels. ``training``
    (the ``examples`` split) joins the calibration items in training the text classifiers, whose scores of the
    calibration items are out-of-fold. ``ConfigError`` when the method asked for cannot be fitted.
    """
    multi = schema.kind == "multi"
    usable = [state for state in states if state.log_probs is not None and state.failure is None]
    labelled = [state for state in usable if state.item.id in gold]
    labels = [gold[state.item.id] for state in labelled]
    classifiers, encoded = _train(spec, schema, labelled, labels, training, open_encoder)
    method: Method = "batch" if spec.method == "none" else spec.method
    if method == "batch" or not labelled:
        labelled, labels, encoded, method = [], [], None, "batch"
    elif method == "fused" and encoded is None:
        raise ConfigError(
            f"method fused needs an encoder and {MIN_ENCODER_ITEMS} labelled items of two classes or more in the splits"
            f" calibration and examples; found encoder {spec.encoder} and {len(labelled) + len(training)} items",
            key=f"steps.{spec.name}.method",
            hint="use `method: auto`, which takes the richest method the gold supports",
        )
    fit_one = fit_multilabel_calibrator if multi else fit_calibrator
    calibrator: FittedCalibrator | FittedMultiLabelCalibrator = fit_one(
        _scores(labelled, multi=multi, k=len(schema.leaves)),
        labels,
        schema.leaves,
        method=method,
        encoder_log_probs_oof=encoded,
        batch_log_probs=_scores(usable, multi=multi, k=len(schema.leaves)),
        class_prior=[class_prior[leaf] for leaf in schema.leaves] if class_prior else None,
        seed=spec.seed,
    )
    if not calibrator.needs_encoder:
        classifiers = ()
    return Fitted(
        calibrator=calibrator,
        classifiers=classifiers,
        encoder=spec.encoder,
        calibrator_id=digest(_params(calibrator, classifiers, spec.encoder)),
        own_scores={} if encoded is None else {s.item.id: encoded[i] for i, s in enumerate(labelled)},
    )


def _train(
    spec: CalibrateStep,
    schema: LabelSchema,
    labelled: Sequence[ItemState],
    labels: Sequence[str],
    training: Sequence[Example],
    open_encoder: OpenEncoder,
) -> tuple[tuple[TextClassifier, ...], Floats | None]:
    if spec.encoder == "none" or spec.method not in ("auto", "fused") or not labelled:
        return (), None
    own = {state.item.id for state in labelled}
    more = [example for example in training if example.item_id not in own]
    known = [*labels, *(example.label for example in more)]
    if len(known) < MIN_ENCODER_ITEMS or len(set(known)) < 2:
        return (), None
    texts = [*(state.text for state in labelled), *(example.text for example in more)]
    embeddings = _dense(open_encoder(spec.encoder).encode(texts))
    n = len(labelled)
    if schema.kind != "multi":
        fitted = cross_fit_text_classifier(embeddings, known, classes=schema.leaves, seed=spec.seed)
        return (fitted.classifier,), fitted.log_probs_oof[:n]
    sets = [schema.members(label) for label in known]
    pairs = [
        cross_fit_text_classifier(
            embeddings, [_PAIR[leaf in chosen] for chosen in sets], classes=_PAIR, seed=spec.seed
        )
        for leaf in schema.leaves
    ]
    scores = np.stack([pair.log_probs_oof[:n] for pair in pairs], axis=1)
    return tuple(pair.classifier for pair in pairs), scores


def _classified(classifiers: Sequence[TextClassifier], embeddings: Floats, *, multi: bool) -> Floats:
    if not multi:
        return classifiers[0].log_probs(embeddings)
    return np.stack([classifier.log_probs(embeddings) for classifier in classifiers], axis=1)


def _scores(states: Sequence[ItemState], *, multi: bool, k: int | None = None) -> Floats:
    """Return (n, K) log-probabilities; for multi-label (n, K, 2): log P(no), log P(yes)."""
    values = np.asarray([state.log_probs for state in states], dtype=np.float64)
    if not len(states):
        values = values.reshape(0, k or 0)
    if not multi:
        return values
    yes = np.minimum(values, -1e-6)
    return np.stack([np.log1p(-np.exp(yes)), yes], axis=-1)


def _embed(open_encoder: OpenEncoder, name: str, states: Sequence[ItemState]) -> Floats:
    return _dense(open_encoder(name).encode([state.text for state in states]))


def _params(calibrator: Any, classifiers: Sequence[TextClassifier], encoder: str) -> dict[str, Any]:
    return {
        "calibrator": calibrator.to_params(),
        "classifiers": [classifier.to_params() for classifier in classifiers],
        "encoder": encoder if classifiers else None,
    }


def _dense(vectors: Any) -> Floats:
    dense = vectors.toarray() if hasattr(vectors, "toarray") else vectors
    return np.asarray(dense, dtype=np.float64)
