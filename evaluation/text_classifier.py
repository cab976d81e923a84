"""A local text classifier on sentence embeddings: the second voter of the fused calibrator."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from evaluation._arrays import FloatArray, IntArray, check_classes, class_codes, same_length
from evaluation._logistic import log_loss, log_softmax
from evaluation._threads import one_blas_thread
from evaluation.folds import stratified_folds
from labelproof.spec.errors import ConfigError

C_GRID = (0.01, 0.1, 1.0, 10.0, 100.0)
_UNSEEN_CLASS_ITEMS = 0.5


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TextClassifier:
    """Class log-probabilities from embeddings; ``weights`` (d, K), ``bias`` (K,), ``c`` as chosen by CV.

    Trained with balanced class weights, so it answers as if classes were equally common; the
    calibrator on top learns the true shares.
    """

    classes: tuple[str, ...]
    centre: FloatArray
    weights: FloatArray
    bias: FloatArray
    c: float
    n: int

    def log_probs(self, embeddings: npt.ArrayLike) -> FloatArray:
        """Log-probabilities (n, K), rows summing to 1 after exp, of embeddings (n, d)."""
        x = _check_embeddings(embeddings)
        if x.shape[1] != len(self.centre):
            raise ConfigError(
                f"embeddings: expected {len(self.centre)} dimensions, found {x.shape[1]}",
                hint="use the encoder the classifier was trained with",
            )
        return log_softmax((x - self.centre) @ self.weights + self.bias)

    def to_params(self) -> dict[str, Any]:
        return {
            "classes": list(self.classes),
            "centre": self.centre.tolist(),
            "weights": self.weights.tolist(),
            "bias": self.bias.tolist(),
            "c": self.c,
            "n": self.n,
        }

    @classmethod
    def from_params(cls, params: Mapping[str, Any]) -> TextClassifier:
        return cls(
            classes=tuple(params["classes"]),
            centre=np.asarray(params["centre"], dtype=np.float64),
            weights=np.asarray(params["weights"], dtype=np.float64),
            bias=np.asarray(params["bias"], dtype=np.float64),
            c=float(params["c"]),
            n=int(params["n"]),
        )


@one_blas_thread
def fit_text_classifier(
    embeddings: npt.ArrayLike,
    labels: Sequence[str],
    *,
    classes: Sequence[str],
    seed: int = 0,
) -> TextClassifier:
    """Multinomial logistic regression with balanced class weights, its C by cross-validated log loss.

    ``C`` as in scikit-learn (inverse ridge strength in items); with fewer than 10 items it is 1.
    A class without training items gets the probability half an item would have. ConfigError for
    labels outside ``classes``, NaN embeddings, or no items.
    """
    names = check_classes(classes)
    x, codes = _check_training(embeddings, labels, names)
    return _fit_final(x, codes, names, _choose_c(x, codes, len(names), seed))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CrossFitted:
    """A classifier on all items, and for each item the scores (n, K) of one that never saw it."""

    classifier: TextClassifier
    log_probs_oof: FloatArray


@one_blas_thread
def cross_fit_text_classifier(
    embeddings: npt.ArrayLike,
    labels: Sequence[str],
    *,
    classes: Sequence[str],
    folds: int = 5,
    seed: int = 0,
) -> CrossFitted:
    """The classifier plus out-of-fold log-probabilities of its own training items, for ``Fused``.

    C is chosen once on all items (one number of five grid values: its optimism is below noise).
    ConfigError with fewer than two items.
    """
    names = check_classes(classes)
    x, codes = _check_training(embeddings, labels, names)
    if len(codes) < 2:
        raise ConfigError("cross-fitting: expected at least two labelled items, found one")
    c = _choose_c(x, codes, len(names), seed)
    fold = stratified_folds(codes, min(folds, len(codes)), seed=seed)
    oof = np.empty((len(codes), len(names)))
    for f in range(int(fold.max()) + 1):
        held = fold == f
        oof[held] = _fit_final(x[~held], codes[~held], names, c).log_probs(x[held])
    return CrossFitted(classifier=_fit_final(x, codes, names, c), log_probs_oof=oof)


def _check_embeddings(embeddings: npt.ArrayLike) -> FloatArray:
    x = np.asarray(embeddings, dtype=np.float64)
    if x.ndim != 2 or not np.isfinite(x).all():
        raise ConfigError(
            f"embeddings: expected finite numbers of shape (items, dimensions), found shape"
            f" {x.shape} with {int((~np.isfinite(x)).sum())} not finite"
        )
    return x


def _check_training(
    embeddings: npt.ArrayLike, labels: Sequence[str], names: tuple[str, ...]
) -> tuple[FloatArray, IntArray]:
    x = _check_embeddings(embeddings)
    codes = class_codes(labels, names, "labels")
    if same_length(embeddings=x, labels=codes) == 0:
        raise ConfigError("text classifier: expected labelled items, found none")
    return x, codes


def _choose_c(x: FloatArray, codes: IntArray, k: int, seed: int) -> float:
    """The grid value with the least out-of-fold balanced log loss."""
    n = len(codes)
    if n < 10:
        return 1.0
    fold = stratified_folds(codes, 5, seed=seed)
    weight = _balanced(codes, k)
    total = np.zeros(len(C_GRID))
    for f in range(5):
        held = fold == f
        rotated, back = _rotate(x[~held])
        theta: FloatArray | None = None
        for i, c in enumerate(C_GRID):
            theta = _fit_rotated(rotated, codes[~held], k, c, theta)
            logits = (x[held] - back.centre) @ back.basis @ theta[:-1] + theta[-1]
            loss = log_loss(_with_unseen(log_softmax(logits), codes[~held], k), codes[held])
            total[i] += float(weight[held] @ loss)
    return C_GRID[int(np.argmin(total))]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Rotation:
    centre: FloatArray
    basis: FloatArray


def _rotate(x: FloatArray) -> tuple[FloatArray, _Rotation]:
    """Coordinates (n, r) in the span of the centred items, where the ridge solution lies.

    With more dimensions than items this turns d columns into at most n (through the Gram matrix:
    an SVD of the wide matrix costs far more); otherwise the columns stay as they are.
    """
    centre = x.mean(axis=0)
    inside = x - centre
    n, d = x.shape
    if d <= n:
        return inside, _Rotation(centre=centre, basis=np.eye(d))
    energy, vectors = np.linalg.eigh(inside @ inside.T)
    keep = energy > 1e-12 * max(1e-300, float(energy[-1]))
    size = np.sqrt(energy[keep])
    return vectors[:, keep] * size, _Rotation(centre=centre, basis=inside.T @ (vectors[:, keep] / size))


def _balanced(codes: IntArray, k: int) -> FloatArray:
    """Item weights with the same total per class present, averaging 1."""
    counts = np.bincount(codes, minlength=k)
    return np.asarray(len(codes) / (np.count_nonzero(counts) * counts[codes]), dtype=np.float64)


def _fit_rotated(x: FloatArray, codes: IntArray, k: int, c: float, start: FloatArray | None) -> FloatArray:
    """Weights and bias stacked (r + 1, K): weighted log loss + |W|^2 / 2C, bias unpenalised."""
    from scipy.optimize import minimize

    n, r = x.shape
    weight = _balanced(codes, k)
    present = np.bincount(codes, minlength=k) > 0
    target = np.zeros((n, k))
    target[np.arange(n), codes] = 1.0

    def objective(flat: FloatArray) -> tuple[float, FloatArray]:
        theta = flat.reshape(r + 1, k)
        logits = np.where(present, x @ theta[:-1] + theta[-1], -1e9)
        log_p = log_softmax(logits)
        residual = weight[:, None] * (np.exp(log_p) - target)
        # The bias gets a whisker of ridge: only its differences between classes are identified.
        loss = -float(weight @ (log_p * target).sum(axis=1))
        loss += 0.5 / c * float((theta[:-1] ** 2).sum()) + 0.5e-6 * float((theta[-1] ** 2).sum())
        gradient = np.vstack([x.T @ residual + theta[:-1] / c, residual.sum(axis=0) + 1e-6 * theta[-1]])
        return loss, gradient.ravel()

    first = np.zeros((r + 1) * k) if start is None else start.ravel()
    found = minimize(objective, first, jac=True, method="L-BFGS-B", options={"maxiter": 200, "gtol": 1e-4})
    return np.asarray(found.x, dtype=np.float64).reshape(r + 1, k)


def _with_unseen(log_p: FloatArray, codes: IntArray, k: int) -> FloatArray:
    """Log-probabilities in which classes without training items hold half an item's share each."""
    seen = np.bincount(codes, minlength=k) > 0
    share = _UNSEEN_CLASS_ITEMS / (len(codes) + _UNSEEN_CLASS_ITEMS * int((~seen).sum()))
    return log_softmax(np.where(seen, log_softmax(np.where(seen, log_p, -1e9)), np.log(share)))


def _fit_final(x: FloatArray, codes: IntArray, names: tuple[str, ...], c: float) -> TextClassifier:
    rotated, back = _rotate(x)
    k = len(names)
    theta = _fit_rotated(rotated, codes, k, c, None)
    weights, bias = back.basis @ theta[:-1], theta[-1]
    seen = np.bincount(codes, minlength=k) > 0
    if not seen.all():
        # A constant logit stands for the unseen class: half an item's share at the average item.
        weights = np.where(seen, weights, 0.0)
        level = float(np.mean(_log_sum_seen(rotated @ theta[:-1] + theta[-1], seen)))
        bias = np.where(seen, bias, level + np.log(_UNSEEN_CLASS_ITEMS / len(codes)))
    return TextClassifier(classes=names, centre=back.centre, weights=weights, bias=bias, c=c, n=len(codes))


def _log_sum_seen(logits: FloatArray, seen: npt.NDArray[np.bool_]) -> FloatArray:
    inside = logits[:, seen]
    top = inside.max(axis=1)
    return np.asarray(top + np.log(np.exp(inside - top[:, None]).sum(axis=1)))
