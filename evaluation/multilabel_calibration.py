"""Multi-label: every class is a calibrated yes/no, and the set has one confidence of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from evaluation._arrays import BoolArray, FloatArray, check_classes, same_length
from evaluation._set_scoring import EMPTY_SET, membership
from evaluation.calibration import FittedCalibrator, Method, fit_calibrator
from evaluation.calibration_report import CalibrationReport, Quality, quality_of, unknown_quality
from evaluation.calibrators import Params
from evaluation.top_label import Platt, cross_fit_platt
from labelproof.spec.errors import ConfigError

NO_YES = ("no", "yes")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CalibratedSets:
    """The answer per item: a canonical set label, the confidence in the whole set, P(yes) (n, K)."""

    labels: tuple[str, ...]
    chosen: BoolArray
    confidence: FloatArray
    probs: FloatArray


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FittedMultiLabelCalibrator:
    """One binary calibrator per class and a map for the whole set's confidence.

    ``quality`` speaks about the whole set (accuracy = exact match) out of fold; ``reports`` about
    each class, in the order of ``classes`` (empty after ``from_params``).
    """

    n: int
    classes: tuple[str, ...]
    members: tuple[FittedCalibrator, ...]
    platt: Platt | None
    quality: Quality | None
    reports: tuple[CalibrationReport, ...]
    out_of_fold: CalibratedSets | None

    @property
    def needs_encoder(self) -> bool:
        """Whether ``predict`` needs the text classifiers' log-probabilities."""
        return any(member.needs_encoder for member in self.members)

    def predict(
        self, log_probs: npt.ArrayLike, encoder_log_probs: npt.ArrayLike | None = None
    ) -> CalibratedSets:
        """Sets and confidences of items; inputs (n, K, 2), last axis no, yes."""
        x = _check_pairs(log_probs, len(self.classes), "log_probs")
        e = None
        if encoder_log_probs is not None:
            e = _check_pairs(encoder_log_probs, len(self.classes), "encoder_log_probs")
        found = [
            member.predict(x[:, c], None if e is None else e[:, c]) for c, member in enumerate(self.members)
        ]
        return _sets(
            np.stack([f.codes == 1 for f in found], axis=1),
            np.stack([f.confidence for f in found], axis=1),
            np.stack([f.probs[:, 1] for f in found], axis=1),
            self.classes,
            self.platt,
        )

    def to_params(self) -> Params:
        """Plain JSON from which :meth:`from_params` rebuilds the same predictions."""
        return {
            "kind": "multi",
            "n": self.n,
            "classes": list(self.classes),
            "members": [member.to_params() for member in self.members],
            "platt": None if self.platt is None else self.platt.to_params(),
        }

    @classmethod
    def from_params(cls, params: Mapping[str, Any]) -> FittedMultiLabelCalibrator:
        return cls(
            n=int(params["n"]),
            classes=tuple(params["classes"]),
            members=tuple(FittedCalibrator.from_params(m) for m in params["members"]),
            platt=None if params["platt"] is None else Platt.from_params(params["platt"]),
            quality=None,
            reports=(),
            out_of_fold=None,
        )


def fit_multilabel_calibrator(
    log_probs: npt.ArrayLike,
    labels: Sequence[str],
    classes: Sequence[str],
    *,
    method: Method = "auto",
    encoder_log_probs_oof: npt.ArrayLike | None = None,
    batch_log_probs: npt.ArrayLike | None = None,
    class_prior: Sequence[float] | None = None,
    seed: int = 0,
) -> FittedMultiLabelCalibrator:
    """The calibrator of a multi-label project: :func:`fit_calibrator` on no/yes for every class.

    ``log_probs`` (n, K, 2), ``labels`` canonical sets (``a+b``, ``none``), ``class_prior`` (K,) the
    share of items that hold each class. Set confidence starts as the product of the classes'
    confidences (as if independent) and, from 50 items with both outcomes, is mapped by Platt to the
    out-of-fold probability that the whole set is right.
    """
    names = check_classes(classes, at_least=1)
    x = _check_pairs(log_probs, len(names), "log_probs")
    truth = membership(labels, names, "labels")
    n = same_length(log_probs=x, labels=truth)
    encoder = None
    if encoder_log_probs_oof is not None:
        encoder = _check_pairs(encoder_log_probs_oof, len(names), "encoder_log_probs_oof")
    batch = None
    if batch_log_probs is not None:
        batch = _check_pairs(batch_log_probs, len(names), "batch_log_probs")
    if class_prior is not None and len(class_prior) != len(names):
        raise ConfigError(f"class_prior: expected {len(names)} shares, found {len(class_prior)}")
    members = tuple(
        fit_calibrator(
            x[:, c],
            [NO_YES[int(yes)] for yes in truth[:, c]],
            NO_YES,
            method=method,
            encoder_log_probs_oof=None if encoder is None else encoder[:, c],
            batch_log_probs=None if batch is None else batch[:, c],
            class_prior=None if class_prior is None else (1 - class_prior[c], class_prior[c]),
            seed=seed,
        )
        for c in range(len(names))
    )
    held = [m.out_of_fold for m in members if m.out_of_fold is not None]
    platt, oof = None, None
    quality = unknown_quality(n, "fewer than 5 calibration items: no cross-validation")
    if len(held) == len(names):
        chosen = np.stack([h.codes == 1 for h in held], axis=1)
        right = np.asarray((chosen == truth).all(axis=1))
        per_class = np.stack([h.confidence for h in held], axis=1)
        yes = np.stack([h.probs[:, 1] for h in held], axis=1)
        product = per_class.prod(axis=1)
        platt, _, confidence = cross_fit_platt(product, right, seed=seed, always=True)
        oof = CalibratedSets(
            labels=_set_labels(chosen, names), chosen=chosen, confidence=confidence, probs=yes
        )
        quality = quality_of(confidence, right, seed=seed)
    return FittedMultiLabelCalibrator(
        n=n,
        classes=names,
        members=members,
        platt=platt,
        quality=quality,
        reports=tuple(m.report for m in members if m.report is not None),
        out_of_fold=oof,
    )


def _check_pairs(values: npt.ArrayLike, k: int, name: str) -> FloatArray:
    x = np.asarray(values, dtype=np.float64)
    if x.size == 0:
        return np.zeros((0, k, 2))
    if x.ndim != 3 or x.shape[1:] != (k, 2):
        raise ConfigError(f"{name}: expected shape (items, {k} classes, 2: no yes), found {x.shape}")
    return x


def _sets(
    chosen: BoolArray,
    per_class: FloatArray,
    yes: FloatArray,
    names: tuple[str, ...],
    platt: Platt | None,
) -> CalibratedSets:
    product = per_class.prod(axis=1)
    return CalibratedSets(
        labels=_set_labels(chosen, names),
        chosen=chosen,
        confidence=product if platt is None else platt.predict(product),
        probs=yes,
    )


def _set_labels(chosen: BoolArray, names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(
        "+".join(sorted(name for name, yes in zip(names, row, strict=True) if yes)) or EMPTY_SET
        for row in chosen
    )
