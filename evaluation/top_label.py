"""Probability that the top label is right, from its class probability: a temperature, Platt, then with isotonic.

The sample size decides how much is learned (:func:`form_for`); cross-validation whether it is used at all.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from evaluation._arrays import (
    BoolArray,
    FloatArray,
    as_floats,
    as_probabilities,
    confidence_pair,
)
from evaluation._logistic import logit, sigmoid
from evaluation.folds import stratified_folds
from labelproof.spec.errors import ConfigError

TopLabelForm = Literal["temperature", "platt", "platt+isotonic"]
MAP_FROM_N = 50
PLATT_FROM_N = 101
BLEND_FROM_N = 500
_BLEND_HALF_AT = 1500


def form_for(n: int) -> TopLabelForm:
    """What n calibration items support: one slope to 100, slope and intercept, from 500 a blend with isotonic.

    On 75 overconfident scores the slope alone loses .004 nats less on new items than both; on 75 scores off
    by a constant .011 more, which the class calibrators' offsets take away beforehand. From about 150 the
    intercept costs next to nothing.
    """
    return "temperature" if n < PLATT_FROM_N else "platt" if n < BLEND_FROM_N else "platt+isotonic"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Platt:
    """sigmoid(slope * logit(p) + intercept) with slope >= 0: never reorders, may tie at slope 0.

    Platt (1999) with his smoothed targets (N+ + 1)/(N+ + 2) and 1/(N- + 2), on the logit of the top
    label; slope and intercept are penalised towards 1 and 0 with the weight of one item. Up to
    n = 100 the intercept stays 0: a temperature (Guo et al. 2017). From n = 500 it is blended with
    isotonic regression (Zadrozny & Elkan 2002) on ``knots_p`` -> ``knots_right``, weight n / (n + 1500).
    """

    slope: float
    intercept: float
    blend: float
    knots_p: FloatArray
    knots_right: FloatArray

    @classmethod
    def fit(
        cls, top_probs: npt.ArrayLike, correct: npt.ArrayLike, *, form: TopLabelForm | None = None
    ) -> Platt:
        """The map from top-label probabilities (n,) to the probability of being right.

        ``form`` None: what n supports (:func:`form_for`). Needs at least one item; with all right or
        all wrong the smoothed targets keep it inside (0, 1).
        """
        p, y = confidence_pair(top_probs, correct)
        if len(p) == 0:
            raise ConfigError("Platt scaling: expected at least one calibration item, found none")
        n = len(p)
        form = form or form_for(n)
        slope, intercept = _fit_platt(p, y, with_intercept=form != "temperature")
        if form != "platt+isotonic":
            return cls(
                slope=slope,
                intercept=intercept,
                blend=0.0,
                knots_p=np.zeros(0),
                knots_right=np.zeros(0),
            )
        knots_p, knots_right = _fit_isotonic(p, y)
        return cls(
            slope=slope,
            intercept=intercept,
            blend=n / (n + _BLEND_HALF_AT),
            knots_p=knots_p,
            knots_right=knots_right,
        )

    def predict(self, top_probs: npt.ArrayLike) -> FloatArray:
        """Probabilities of being right (n,), non-decreasing in ``top_probs``."""
        p = as_probabilities(top_probs, "top_probs")
        smooth = sigmoid(self.slope * logit(p) + self.intercept)
        if self.blend == 0.0:
            return smooth
        stepped = np.interp(p, self.knots_p, self.knots_right)
        return np.asarray((1 - self.blend) * smooth + self.blend * stepped)

    def to_params(self) -> dict[str, Any]:
        return {
            "slope": self.slope,
            "intercept": self.intercept,
            "blend": self.blend,
            "knots_p": self.knots_p.tolist(),
            "knots_right": self.knots_right.tolist(),
        }

    @classmethod
    def from_params(cls, params: Mapping[str, Any]) -> Platt:
        return cls(
            slope=float(params["slope"]),
            intercept=float(params["intercept"]),
            blend=float(params["blend"]),
            knots_p=as_floats(params["knots_p"], "knots_p"),
            knots_right=as_floats(params["knots_right"], "knots_right"),
        )


def cross_fit_platt(
    top_probs: FloatArray, right: BoolArray, *, seed: int, always: bool = False
) -> tuple[Platt | None, str, FloatArray]:
    """The map that n supports, where it helps: the map fitted on all items (or None), its name, and held-out confidences.

    Used when five-fold out-of-fold log loss falls by more than one standard error (``always``:
    whatever it does). Needs 50 items with both right and wrong ones; otherwise, and when it does
    not help, the result is (None, "none", ``top_probs``).
    """
    n = len(top_probs)
    if n < MAP_FROM_N or right.all() or not right.any():
        return None, "none", top_probs
    form = form_for(n)
    fold = stratified_folds(right.astype(np.int64), 5, seed=seed + 1)
    mapped = np.empty(n)
    for f in range(5):
        held = fold == f
        mapped[held] = Platt.fit(top_probs[~held], right[~held], form=form).predict(top_probs[held])
    gain = _right_loss(top_probs, right) - _right_loss(mapped, right)
    if not always and gain.mean() <= gain.std(ddof=1) / np.sqrt(n):
        return None, "none", top_probs
    return Platt.fit(top_probs, right, form=form), form, mapped


def _right_loss(p: FloatArray, right: BoolArray) -> FloatArray:
    return np.asarray(-np.log(np.clip(np.where(right, p, 1 - p), 1e-6, 1.0)))


def _fit_platt(p: FloatArray, y: FloatArray, *, with_intercept: bool) -> tuple[float, float]:
    from scipy.optimize import minimize

    x = logit(p)
    right = float(y.sum())
    wrong = len(y) - right
    target = np.where(y > 0, (right + 1) / (right + 2), 1 / (wrong + 2))

    def objective(theta: FloatArray) -> tuple[float, FloatArray]:
        z = theta[0] * x + theta[1]
        off = theta - np.array([1.0, 0.0])
        loss = float(np.sum(np.logaddexp(0.0, z) - target * z)) + 0.5 * float(off @ off)
        residual = sigmoid(z) - target
        return loss, np.array([residual @ x, residual.sum()]) + off

    found = minimize(
        objective,
        np.array([1.0, 0.0]),
        jac=True,
        method="L-BFGS-B",
        bounds=[(0.0, 50.0), (-50.0, 50.0) if with_intercept else (0.0, 0.0)],
    )
    return float(found.x[0]), float(found.x[1])


def _fit_isotonic(p: FloatArray, y: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Isotonic regression (pool adjacent violators) as knots: the mean p and accuracy of each block.

    Each block is shrunk by half a right and half a wrong item, so that no block says 0 or 1; the
    shrinkage can reorder neighbours, so a second pass restores the order.
    """
    from scipy.optimize import isotonic_regression

    order = np.argsort(p, kind="stable")
    levels, inverse, counts = np.unique(p[order], return_inverse=True, return_counts=True)
    share = np.bincount(inverse, weights=y[order]) / counts
    steps = isotonic_regression(share, weights=counts).x
    _, block = np.unique(steps, return_inverse=True)
    mass = np.bincount(block, weights=counts)
    centre = np.bincount(block, weights=counts * levels) / mass
    shrunk = (np.bincount(block, weights=counts * share) + 0.5) / (mass + 1)
    return centre, np.asarray(isotonic_regression(shrunk, weights=mass).x, dtype=np.float64)
