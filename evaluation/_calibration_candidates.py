"""The rival calibrators, their cross-validation, and the choice among them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from evaluation._arrays import FloatArray, IntArray
from evaluation._logistic import log_loss
from evaluation.calibration_report import Candidate
from evaluation.calibrators import BatchCalibration, ClassCalibrator, Temperature
from evaluation.label_log_probs import matching_offset
from evaluation.stacking import Fused, MultinomialLogistic
from labelproof.spec.errors import BugError

SELECT_FROM_N = 20
RAW_FROM_N = 50
_PLAIN = ("raw", "batch", "temperature")
_ONLY_IF_BEST = ("raw", "batch")
CROSS_PENALTIES = (None, 100.0, 10.0)
_MAX_BATCH = 2000


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Evidence:
    """Everything a calibrator may learn from: n calibration items, and the unlabelled batch (m, K)."""

    log_probs: FloatArray
    codes: IntArray
    encoder: FloatArray | None
    batch: FloatArray
    prior: FloatArray | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Rival:
    """One way to calibrate: the method and, for the learned ones, how hard confusions are shrunk."""

    method: str
    cross_penalty: float | None = None

    @property
    def name(self) -> str:
        """The method, with its penalty in items where it has one."""
        if self.method in _PLAIN:
            return self.method
        shrinkage = "biases" if self.cross_penalty is None else f"{self.cross_penalty:g}"
        return f"{self.method}({shrinkage})"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class OutOfFold:
    """A rival's class probabilities (n, K) for items it was not fitted on."""

    rival: Rival
    probs: FloatArray
    codes: IntArray

    @property
    def top(self) -> IntArray:
        """The most probable class of each item."""
        return np.asarray(self.probs.argmax(axis=1), dtype=np.int64)

    @property
    def losses(self) -> FloatArray:
        """Each item's log loss in nats, probabilities floored at 1e-6."""
        return log_loss(np.log(np.maximum(self.probs, 1e-6)), self.codes)


def rivals(evidence: Evidence, method: str) -> list[Rival]:
    """The rivals of a method, simple to rich; ``auto`` with fewer than 20 items has one.

    From 50 items ``raw``, the model's own probabilities, is among them: a score that is calibrated already
    should stay as it is (simulated, 60 items, 6 classes: .035 nats lost on new items without it, .017 with).
    With fewer it wins by luck over models that need help.
    """
    n = len(evidence.codes)
    if method == "auto" and n < SELECT_FROM_N:
        return [Rival(method="temperature")]
    methods = ["raw", "batch", "temperature", "multinomial", "fused"] if method == "auto" else [method]
    if evidence.encoder is None and method == "auto":
        methods.remove("fused")
    if n < RAW_FROM_N and method == "auto":
        methods.remove("raw")
    penalties = CROSS_PENALTIES if n >= SELECT_FROM_N else (None,)
    found = []
    for name in methods:
        if name in _PLAIN:
            found.append(Rival(method=name))
        else:
            found.extend(Rival(method=name, cross_penalty=p) for p in penalties)
    return found


def gold_prior(codes: IntArray, k: int) -> FloatArray:
    """Class shares (K,) of gold, shrunk towards equal shares as far as gold allows; none is zero.

    Posterior mean under symmetric Dirichlet priors, averaged over concentrations by how well each
    predicts the counts (Good 1965): equal counts keep equal shares, a rare class stays rare.
    """
    from scipy.special import gammaln

    counts = np.bincount(codes, minlength=k).astype(np.float64)
    n = counts.sum()
    alphas = np.array([0.3, 1.0, 3.0, 10.0, 100.0])
    log_evidence = gammaln(k * alphas) - gammaln(n + k * alphas)
    log_evidence += (gammaln(counts + alphas[:, None]) - gammaln(alphas[:, None])).sum(axis=1)
    weight = np.exp(log_evidence - log_evidence.max())
    means = (counts + alphas[:, None]) / (n + k * alphas[:, None])
    return np.asarray(weight @ means / weight.sum())


def fit_rivals(evidence: Evidence, named: Sequence[Rival], items: IntArray) -> list[ClassCalibrator]:
    """Each rival fitted on the given calibration items (and the whole unlabelled batch)."""
    x, codes = evidence.log_probs[items], evidence.codes[items]
    k = x.shape[1]
    batch = evidence.batch[:: max(1, len(evidence.batch) // _MAX_BATCH)]
    prior = gold_prior(codes, k) if evidence.prior is None else evidence.prior
    offset = matching_offset(batch, prior)
    base = Temperature.fit(x, codes, offset=offset)
    found: list[ClassCalibrator] = []
    for rival in named:
        if rival.method == "raw":
            found.append(Temperature(n_classes=k, offset=np.zeros(k), scale=1.0))
        elif rival.method == "batch":
            found.append(BatchCalibration(n_classes=k, offset=offset))
        elif rival.method == "temperature":
            found.append(base)
        elif rival.method == "multinomial":
            found.append(MultinomialLogistic.fit(x, codes, base=base, cross_penalty=rival.cross_penalty))
        else:
            if evidence.encoder is None:
                raise BugError("the fused rival needs the text classifier's log-probabilities")
            found.append(
                Fused.fit(
                    x,
                    evidence.encoder[items],
                    codes,
                    base=base,
                    cross_penalty=rival.cross_penalty,
                )
            )
    return found


def cross_validate(evidence: Evidence, named: Sequence[Rival], folds: IntArray) -> list[OutOfFold]:
    """Each rival's out-of-fold probabilities; the batch's log-probabilities are shared, labels not."""
    probs = np.empty((len(named), *evidence.log_probs.shape))
    for f in range(int(folds.max()) + 1):
        held = np.flatnonzero(folds == f)
        encoder = None if evidence.encoder is None else evidence.encoder[held]
        for i, model in enumerate(fit_rivals(evidence, named, np.flatnonzero(folds != f))):
            probs[i, held] = model.predict(evidence.log_probs[held], encoder)
    return [OutOfFold(rival=rival, probs=probs[i], codes=evidence.codes) for i, rival in enumerate(named)]


def choose(results: Sequence[OutOfFold]) -> tuple[int, tuple[Candidate, ...]]:
    """The position of the simplest rival within one standard error of the best, and the table.

    ``raw`` and ``batch`` must win outright: preferring batch over a temperature for simplicity left simulated ECE
    at .067 where .040 was to be had (50 items, 4 classes) and gained no accuracy.
    """
    losses = np.stack([r.losses for r in results])
    n = losses.shape[1]
    best = int(losses.mean(axis=1).argmin())
    gaps = losses - losses[best]
    mean_gap = gaps.mean(axis=1)
    error = gaps.std(axis=1, ddof=1) / np.sqrt(n)
    table = tuple(
        Candidate(
            name=r.rival.name,
            log_loss=float(losses[i].mean()),
            gap=float(mean_gap[i]),
            gap_se=float(error[i]),
            accuracy=float((r.top == r.codes).mean()),
        )
        for i, r in enumerate(results)
    )
    near = [
        i
        for i, r in enumerate(results)
        if i == best or (r.rival.method not in _ONLY_IF_BEST and mean_gap[i] <= error[i])
    ]
    return near[0], table


def reason_in_words(
    method: str, name: str, n: int, candidates: tuple[Candidate, ...], has_encoder: bool
) -> str:
    if method != "auto":
        return f"Method {method} was asked for; {n} calibration items."
    if n < SELECT_FROM_N:
        return (
            f"Only {n} calibration items: too few to compare methods, so one temperature on top of"
            " offsets that match the (smoothed) gold class shares."
        )
    if name == "raw":
        return (
            f"The model's own probabilities have the lowest out-of-fold log loss of {len(candidates)} candidates on"
            f" {n} items ({min(c.log_loss for c in candidates):.3f}): they are left as they are."
        )
    best = min(candidates, key=lambda c: c.log_loss)
    mine = next(c for c in candidates if c.name == name)
    encoder = "" if has_encoder else " No text classifier was given, so fusing was not tried."
    if best.name == name:
        return (
            f"{name} has the lowest out-of-fold log loss ({mine.log_loss:.3f}) of"
            f" {len(candidates)} candidates on {n} items, and no simpler one comes within one"
            f" standard error.{encoder}"
        )
    return (
        f"{name} is the simplest of {len(candidates)} candidates whose out-of-fold log loss"
        f" ({mine.log_loss:.3f}) is within one standard error of the best ({best.name},"
        f" {best.log_loss:.3f}) on {n} items.{encoder}"
    )
