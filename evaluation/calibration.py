"""Labels and honest confidence from a small model's label log-probabilities.

``fit_calibrator`` tries the calibrators from simple to rich, judges each on items it has not seen,
and prefers the simpler within one standard error. A small model's raw argmax is not trusted as the
label: with no gold at all, batch calibration removes the prompt's bias first, and only gold of 50 items
or more can show that nothing needs to be done (``raw``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from evaluation._arrays import FloatArray, IntArray, check_classes, class_codes, same_length
from evaluation._calibration_candidates import (
    SELECT_FROM_N,
    Evidence,
    choose,
    cross_validate,
    fit_rivals,
    reason_in_words,
    rivals,
)
from evaluation._threads import one_blas_thread
from evaluation.calibration_report import (
    CalibrationReport,
    Candidate,
    quality_of,
    unknown_quality,
)
from evaluation.calibrators import BatchCalibration, ClassCalibrator, Params
from evaluation.folds import stratified_folds
from evaluation.intervals import undefined, wilson
from evaluation.label_log_probs import check_prior, normalised
from evaluation.stacking import class_calibrator_from_params
from evaluation.top_label import Platt, cross_fit_platt
from labelproof.spec.errors import ConfigError

Method = Literal["auto", "batch", "temperature", "multinomial", "fused"]
_PARAMS_VERSION = 1
_NO_GOLD = "no gold items in the calibration split"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CalibratedLabels:
    """The answer per item: class probabilities (n, K), the top class and the confidence in it.

    ``confidence`` (n,) is the calibrated probability that ``labels`` is right; it may differ from
    the largest entry of ``probs`` when a top-label map (temperature, Platt) is on.
    """

    labels: tuple[str, ...]
    codes: IntArray
    confidence: FloatArray
    probs: FloatArray


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FittedCalibrator:
    """A calibrator ready to use: ``predict`` for new items, ``to_params`` for the store.

    ``out_of_fold`` holds the calibration items as seen by models that had not seen them (None when
    there were fewer than 5, and after ``from_params``).
    """

    method: str
    n: int
    classes: tuple[str, ...]
    model: ClassCalibrator
    platt: Platt | None
    report: CalibrationReport | None
    out_of_fold: CalibratedLabels | None

    @property
    def needs_encoder(self) -> bool:
        """Whether ``predict`` needs the text classifier's log-probabilities."""
        return self.method == "fused"

    def predict(
        self, log_probs: npt.ArrayLike, encoder_log_probs: npt.ArrayLike | None = None
    ) -> CalibratedLabels:
        """Labels, confidence and class probabilities of items given by rows of ``log_probs``."""
        return _label(self.model.predict(log_probs, encoder_log_probs), self.classes, self.platt)

    def to_params(self) -> Params:
        """Plain JSON from which :meth:`from_params` rebuilds the same predictions."""
        return {
            "version": _PARAMS_VERSION,
            "method": self.method,
            "n": self.n,
            "classes": list(self.classes),
            "model": self.model.to_params(),
            "platt": None if self.platt is None else self.platt.to_params(),
        }

    @classmethod
    def from_params(cls, params: Mapping[str, Any]) -> FittedCalibrator:
        """The calibrator stored as ``params``; ConfigError for a version this code cannot read."""
        if params.get("version") != _PARAMS_VERSION:
            raise ConfigError(
                f"calibrator parameters: expected version {_PARAMS_VERSION}, found {params.get('version')!r}",
                hint="fit the calibrator again: labelproof run",
            )
        return cls(
            method=params["method"],
            n=int(params["n"]),
            classes=tuple(params["classes"]),
            model=class_calibrator_from_params(params["model"]),
            platt=None if params["platt"] is None else Platt.from_params(params["platt"]),
            report=None,
            out_of_fold=None,
        )


@one_blas_thread
def fit_calibrator(
    log_probs: npt.ArrayLike,
    labels: Sequence[str],
    classes: Sequence[str],
    *,
    method: Method = "auto",
    encoder_log_probs_oof: npt.ArrayLike | None = None,
    batch_log_probs: npt.ArrayLike | None = None,
    class_prior: Sequence[float] | None = None,
    seed: int = 0,
) -> FittedCalibrator:
    """The calibrator for these classes, with a report of its out-of-fold quality.

    ``log_probs`` (n, K) and gold ``labels`` (n,) are the calibration split, columns in the order of
    ``classes``, -inf where the server gave no value. ``encoder_log_probs_oof`` (n, K): the text
    classifier's out-of-fold scores; without them ``fused`` is not tried. ``batch_log_probs`` (m, K):
    unlabelled items of the pool for the batch offsets (default: the calibration items; with n = 0
    and neither, each predicted batch is its own). ``class_prior`` (K,): known class shares; default
    equal shares at n = 0, else gold's own, shrunk towards equal.

    ``auto``: n = 0 batch; n < 20 temperature; otherwise the simplest method whose out-of-fold log
    loss is within one standard error (paired) of the best: Breiman et al. (1984), section 3.4.3.
    """
    names = check_classes(classes)
    k = len(names)
    codes = class_codes(labels, names, "labels")
    x = normalised(log_probs, k)
    n = same_length(log_probs=x, labels=codes)
    encoder = None
    if encoder_log_probs_oof is not None:
        encoder = normalised(encoder_log_probs_oof, k, "encoder_log_probs_oof")
        same_length(log_probs=x, encoder_log_probs_oof=encoder)
    _check_method(method, n, encoder is not None)
    batch = x if batch_log_probs is None else normalised(batch_log_probs, k, "batch_log_probs")
    batch = x if len(batch) == 0 else batch
    prior = None if class_prior is None else check_prior(class_prior, k)
    evidence = Evidence(log_probs=x, codes=codes, encoder=encoder, batch=batch, prior=prior)
    if n == 0:
        return _without_gold(names, batch, prior)

    folds = stratified_folds(codes, min(n, 10 if n < 50 else 5), seed=seed) if n >= 5 else None
    tried = rivals(evidence, method)
    results = [] if folds is None else cross_validate(evidence, tried, folds)
    candidates: tuple[Candidate, ...] = ()
    if results:
        picked, candidates = choose(results)
    else:
        picked = 0
    chosen = tried[picked]
    model = fit_rivals(evidence, [chosen], np.arange(n))[0]
    out = results[picked] if results else None
    platt, top_label, oof = None, "none", None
    if out is not None:
        top = np.minimum(out.probs.max(axis=1), 1.0)
        platt, top_label, calibrated = cross_fit_platt(top, out.top == codes, seed=seed)
        oof = CalibratedLabels(
            labels=tuple(names[c] for c in out.top),
            codes=out.top,
            confidence=calibrated,
            probs=out.probs,
        )
    report = _report(
        chosen.method,
        names,
        evidence,
        oof,
        candidates=candidates,
        folds=0 if folds is None else int(folds.max()) + 1,
        top_label=top_label,
        why=reason_in_words(method, chosen.name, n, candidates, encoder is not None),
        seed=seed,
    )
    return FittedCalibrator(
        method=chosen.method,
        n=n,
        classes=names,
        model=model,
        platt=platt,
        report=report,
        out_of_fold=oof,
    )


def _check_method(method: str, n: int, has_encoder: bool) -> None:
    if method not in ("auto", "batch", "temperature", "multinomial", "fused"):
        raise ConfigError(
            f"calibration method: expected auto, batch, temperature, multinomial or fused, found {method!r}"
        )
    if method == "fused" and not has_encoder:
        raise ConfigError(
            "calibration method fused: expected the text classifier's out-of-fold log-probabilities,"
            " found none",
            hint="pass cross_fit_text_classifier(...).log_probs_oof, or use method auto",
        )
    if n == 0 and method not in ("auto", "batch"):
        raise ConfigError(
            f"calibration method {method}: expected labelled calibration items, found none",
            hint="import gold with a calibration split, or use method auto",
        )


def _without_gold(names: tuple[str, ...], batch: FloatArray, prior: FloatArray | None) -> FittedCalibrator:
    """Batch calibration, and a report that claims nothing about quality."""
    model = BatchCalibration.fit(batch, len(names), class_prior=prior)
    shares = "about equally common" if prior is None else "as common as the given class prior says"
    quality = unknown_quality(0, _NO_GOLD)
    report = CalibrationReport(
        method="batch",
        n=0,
        classes=names,
        missing_classes=names,
        folds=0,
        why="No gold: batch calibration removes each class's average log-probability, presuming"
        f" classes are {shares}. Confidence is a ranking signal, not a tested probability; label"
        f" {SELECT_FROM_N} or more calibration items to change that.",
        top_label="none",
        candidates=(),
        raw_accuracy=undefined("none", 0, _NO_GOLD),
        accuracy=quality.accuracy,
        auroc=quality.auroc,
        ece=quality.ece,
        ece_floor=quality.ece_floor,
        brier=quality.brier,
        aurc=quality.aurc,
    )
    return FittedCalibrator(
        method="batch", n=0, classes=names, model=model, platt=None, report=report, out_of_fold=None
    )


def _label(probs: FloatArray, names: tuple[str, ...], platt: Platt | None) -> CalibratedLabels:
    codes = probs.argmax(axis=1).astype(np.int64)
    top = np.minimum(probs.max(axis=1), 1.0) if len(probs) else np.zeros(0)
    return CalibratedLabels(
        labels=tuple(names[c] for c in codes),
        codes=codes,
        confidence=top if platt is None else platt.predict(top),
        probs=probs,
    )


def _report(
    method: str,
    names: tuple[str, ...],
    evidence: Evidence,
    oof: CalibratedLabels | None,
    *,
    candidates: tuple[Candidate, ...],
    folds: int,
    top_label: str,
    why: str,
    seed: int,
) -> CalibrationReport:
    codes, n = evidence.codes, len(evidence.codes)
    present = set(codes.tolist())
    missing = tuple(name for c, name in enumerate(names) if c not in present)
    if missing:
        why += f" No calibration item for {', '.join(missing)}: kept at a small probability."
    raw = wilson(int((evidence.log_probs.argmax(axis=1) == codes).sum()), n)
    quality = (
        unknown_quality(n, "fewer than 5 calibration items: no cross-validation")
        if oof is None
        else quality_of(oof.confidence, oof.codes == codes, seed=seed)
    )
    return CalibrationReport(
        method=method,
        n=n,
        classes=names,
        missing_classes=missing,
        folds=folds,
        why=why,
        top_label=top_label,
        candidates=candidates,
        raw_accuracy=raw,
        accuracy=quality.accuracy,
        auroc=quality.auroc,
        ece=quality.ece,
        ece_floor=quality.ece_floor,
        brier=quality.brier,
        aurc=quality.aurc,
    )
