"""Section 4: intervals of AUROC, Brier, AURC and ECE cover; the chosen calibrator never makes it worse.

Intervals come from the shipped functions with their default settings but for fewer bootstrap replicates.
The truth is known: each item has a probability of being right, and populations of 400 000 items give
the value that the interval must hold. ECE is judged twice: against the error in the sample's own bins and
against that between the population's quantile bins.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from benchmarks.validity.harness import Row, at_least
from evaluation import aurc, auroc, brier, calibration_error, fit_calibrator
from evaluation._ece_interval import binned_error, tied_bins
from evaluation.confidence import default_bins
from evaluation.intervals import Estimate
from evaluation.top_label import Platt, cross_fit_platt

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
SECTION = "4"
SIZES = (100, 300, 1000)
POPULATION = 400_000
RESAMPLES = 200
COVERAGE = 0.93
"""What section 2 demands of every shipped interval; section 4 names no number of its own."""


def _sigmoid(x: Floats) -> Floats:
    return np.asarray(0.5 * (1 + np.tanh(x / 2)))


def _logit(p: Floats) -> Floats:
    q = np.clip(p, 1e-9, 1 - 1e-9)
    return np.asarray(np.log(q / (1 - q)))


def _calibrated(n: int, rng: np.random.Generator) -> tuple[Floats, Floats]:
    truth = rng.beta(4, 1.5, n)
    return truth, truth


def _overconfident(n: int, rng: np.random.Generator) -> tuple[Floats, Floats]:
    truth = rng.beta(4, 1.5, n)
    return _sigmoid(2 * _logit(truth)), truth


def _accurate(n: int, rng: np.random.Generator) -> tuple[Floats, Floats]:
    truth = rng.beta(19, 1, n)
    return truth, truth


def _coarse(n: int, rng: np.random.Generator) -> tuple[Floats, Floats]:
    truth = rng.beta(4, 1.5, n)
    return np.ceil(truth * 5) / 5, truth


def _mostly_sure(n: int, rng: np.random.Generator) -> tuple[Floats, Floats]:
    truth = rng.choice([0.999, 0.8, 0.6], n, p=[0.85, 0.1, 0.05])
    return truth + rng.uniform(-0.0005, 0.0005, n), truth


POOLS: dict[str, Callable[[int, np.random.Generator], tuple[Floats, Floats]]] = {
    "calibrated, 27 % errors": _calibrated,
    "overconfident, 27 % errors": _overconfident,
    "calibrated, 5 % errors": _accurate,
    "five levels, 27 % errors": _coarse,
    "85 % at .999, 4 % errors": _mostly_sure,
}
"""n, generator -> confidences and true probabilities of being right, both (n,)."""


def simulate(replicates: int, seed: int) -> Sequence[Row]:
    """Rows of interval coverage, then of calibrators against the raw score."""
    rows: list[Row] = []
    for i, (name, draw) in enumerate(POOLS.items()):
        for j, n in enumerate(SIZES):
            rows += _coverage(name, draw, n, replicates, [seed, i * len(SIZES) + j])
    rows += _top_label_rows(max(10, replicates // 40), seed)
    rows += _class_rows(replicates, seed)
    return rows


@dataclass(slots=True)
class _Tally:
    """How often an interval held, could be given, and how wide it was."""

    held: int = 0
    given: int = 0
    width: float = 0.0

    def add(self, found: Estimate, truth: float) -> None:
        if found.low is None or found.high is None:
            return
        self.given += 1
        self.held += found.low <= truth <= found.high
        self.width += found.high - found.low


def _coverage(
    name: str,
    draw: Callable[[int, np.random.Generator], tuple[Floats, Floats]],
    n: int,
    replicates: int,
    entropy: list[int],
) -> list[Row]:
    world = np.random.default_rng([*entropy, 1])
    c, truth = draw(POPULATION, world)
    right = world.random(POPULATION) < truth
    order = np.argsort(c, kind="stable")
    targets = {
        "AUROC": auroc(c, right).value or 0.0,  # of 400 000: its own standard error is below .002
        "Brier": float((truth * (1 - c) ** 2 + (1 - truth) * c**2).mean()),
        "AURC": aurc(c, right, seed=0, resamples=1).value or 0.0,
        "ECE, population bins": float(
            binned_error((truth - c)[order][None, :], tied_bins(c[order], default_bins(n)))[0]
        ),
    }
    tallies = {measure: _Tally() for measure in [*targets, "ECE, its own bins"]}
    rng = np.random.default_rng(entropy)
    for run in range(replicates):
        c, truth = draw(n, rng)
        right = rng.random(n) < truth
        tallies["AUROC"].add(auroc(c, right), targets["AUROC"])
        tallies["Brier"].add(brier(c, right, seed=run, resamples=RESAMPLES), targets["Brier"])
        tallies["AURC"].add(aurc(c, right, seed=run, resamples=RESAMPLES), targets["AURC"])
        order = np.argsort(c, kind="stable")
        own = binned_error((truth - c)[order][None, :], tied_bins(c[order], default_bins(n)))[0]
        ece = calibration_error(c, right, seed=run, resamples=RESAMPLES).estimate
        tallies["ECE, its own bins"].add(ece, float(own))
        tallies["ECE, population bins"].add(ece, targets["ECE, population bins"])
    return [_covered(measure, name, n, tally) for measure, tally in tallies.items()]


def _covered(measure: str, name: str, n: int, tally: _Tally) -> Row:
    note = f"mean width {tally.width / max(1, tally.given):.3f}"
    if measure.startswith("ECE"):
        note += "; conservative by construction, and blind to what cancels inside a bin"
    return Row(
        section=SECTION,
        check="95 % interval covers",
        cell=f"{name}, n = {n}",
        measure=measure,
        value=tally.held / max(1, tally.given),
        relation=">=",
        bound=at_least(COVERAGE, max(1, tally.given)),
        replicates=tally.given,
        page="with intervals",
        note=note,
    )


SCORES: dict[str, tuple[float, float]] = {
    "calibrated": (1.0, 0.0),
    "overconfident": (2.0, 0.0),
    "shifted": (1.0, 1.0),
    "overconfident and shifted": (2.0, 0.7),
}
"""Shown confidence = sigmoid(slope logit(truth) + shift)."""
TOP_SIZES = (30, 60, 100, 200, 500, 2000)
_NEW_ITEMS = 4000


def _top_label_rows(runs: int, seed: int) -> list[Row]:
    rows: list[Row] = []
    for i, (name, (slope, shift)) in enumerate(SCORES.items()):
        new = np.random.default_rng([seed, 1000 + i, 0])
        truth = new.beta(4, 1.5, _NEW_ITEMS)
        shown, right = _sigmoid(slope * _logit(truth) + shift), new.random(_NEW_ITEMS) < truth
        for j, n in enumerate(TOP_SIZES):
            rng = np.random.default_rng([seed, 1000 + i, 1 + j])
            duel, unordered = _Duel(), 0
            for run in range(runs):
                p = rng.beta(4, 1.5, n)
                c = _sigmoid(slope * _logit(p) + shift)
                y = rng.random(n) < p
                platt, _, _ = cross_fit_platt(c, y, seed=run)
                mapped = shown if platt is None else platt.predict(shown)
                duel.add(
                    gain=float((_expected_loss(shown, truth) - _expected_loss(mapped, truth)).mean()),
                    raw_error=float(_loss(shown, right).std()) / np.sqrt(n),
                    off=float(np.abs(mapped - truth).mean()),
                )
                unordered += not _keeps_order(platt)
            cell = f"{name}, n = {n}"
            rows += duel.rows("top-label map", cell, raw_off=float(np.abs(shown - truth).mean()))
            rows.append(
                Row(
                    section=SECTION,
                    check="top-label map never reorders",
                    cell=cell,
                    measure="share of fits that reorder",
                    value=unordered / runs,
                    relation="<=",
                    bound=0.0,
                    replicates=runs,
                )
            )
    return rows


CLASS_SCORES: dict[str, tuple[float, float]] = {
    "calibrated": (1.0, 0.0),
    "overconfident": (3.0, 0.0),
    "biased towards a label": (1.0, 1.5),
    "overconfident and biased": (3.0, 1.5),
}
"""Log-probabilities shown = softmax of scale (z + bias towards the first class), z the true logits."""
CLASS_SIZES = (30, 100, 500, 2000)
_FUSED = ("calibrated", "overconfident and biased")
_CLASSES = ("a", "b", "c")
_NEW_CLASS_ITEMS = 4000
_SIGNAL = 2.0


def _class_items(
    n: int, scale: float, bias: float, rng: np.random.Generator
) -> tuple[Floats, Floats, Floats, npt.NDArray[np.int64]]:
    """Shown and true log-probabilities (n, 3), a second voter's, and gold codes (n,)."""
    codes = rng.integers(0, 3, n)
    z, w = rng.normal(size=(2, n, 3))
    z[np.arange(n), codes] += _SIGNAL
    w[np.arange(n), codes] += _SIGNAL
    shift = np.array([bias, 0.0, 0.0])
    return (
        _log_softmax(scale * (_SIGNAL * z + shift)),
        _log_softmax(_SIGNAL * z),
        _log_softmax(_SIGNAL * w),
        codes,
    )


def _log_softmax(x: Floats) -> Floats:
    return np.asarray(
        x - np.log(np.exp(x - x.max(1, keepdims=True)).sum(1, keepdims=True)) - x.max(1, keepdims=True)
    )


def _class_rows(replicates: int, seed: int) -> list[Row]:
    rows: list[Row] = []
    for i, (name, (scale, bias)) in enumerate(CLASS_SCORES.items()):
        for fused in (False, True) if name in _FUSED else (False,):
            new = np.random.default_rng([seed, 2000 + i, 0])
            x, true, second, gold = _class_items(_NEW_CLASS_ITEMS, scale, bias, new)
            posterior = _log_softmax(true + second) if fused else true
            for j, n in enumerate(CLASS_SIZES):
                rng = np.random.default_rng([seed, 2000 + i, 1 + j])
                duel = _Duel()
                # Fits on few items differ by orders of magnitude in loss: 25 of them leave a Monte Carlo error of .04.
                for run in range(max(10, replicates // (20 if n == 30 else 80))):
                    own, _, encoder, codes = _class_items(n, scale, bias, rng)
                    model = fit_calibrator(
                        own,
                        [_CLASSES[k] for k in codes],
                        _CLASSES,
                        encoder_log_probs_oof=encoder if fused else None,
                        seed=run,
                    )
                    found = model.predict(x, second if fused else None)
                    rows_of = np.arange(_NEW_CLASS_ITEMS)
                    difference = -x[rows_of, gold] + np.log(np.maximum(found.probs[rows_of, gold], 1e-9))
                    duel.add(
                        gain=float(difference.mean()),
                        raw_error=float(x[rows_of, gold].std()) / np.sqrt(n),
                        off=float(np.abs(found.confidence - np.exp(posterior)[rows_of, found.codes]).mean()),
                    )
                raw_off = float(np.abs(np.exp(x.max(1)) - np.exp(posterior)[rows_of, x.argmax(1)]).mean())
                what = "class calibrator with a second voter" if fused else "class calibrator"
                rows += duel.rows(what, f"{name}, n = {n}", raw_off=raw_off)
    return rows


@dataclass(slots=True)
class _Duel:
    """The chosen calibrator against the raw score on new items, one entry a fit.

    ``gain``: log loss of raw minus chosen, nats per item. ``raw_error``: the standard error of the raw score's
    log loss on n items, which is as well as n calibration items know it. ``off``: mean distance of confidence from the true probability.
    """

    gain: list[float] = field(default_factory=list)
    raw_error: list[float] = field(default_factory=list)
    off: list[float] = field(default_factory=list)

    def add(self, *, gain: float, raw_error: float, off: float) -> None:
        self.gain.append(gain)
        self.raw_error.append(raw_error)
        self.off.append(off)

    def rows(self, what: str, cell: str, *, raw_off: float) -> list[Row]:
        noise = float(np.std(self.gain, ddof=1)) / np.sqrt(len(self.gain))
        return [
            Row(
                section=SECTION,
                check=f"{what} is not worse than the raw score by more than that one's standard error",
                cell=cell,
                measure="log loss on new items, raw minus chosen (nats)",
                value=float(np.mean(self.gain)),
                relation=">=",
                bound=-float(np.mean(self.raw_error)),
                replicates=len(self.gain),
                note=f"Monte Carlo error {noise:.4f}",
            ),
            Row(
                section=SECTION,
                check=f"{what}: distance of confidence from the truth",
                cell=cell,
                measure="mean |confidence - truth|",
                value=float(np.mean(self.off)),
                relation="shown",
                bound=None,
                replicates=len(self.gain),
                note=f"raw score {raw_off:.3f}",
            ),
        ]


def _expected_loss(p: Floats, truth: Floats) -> Floats:
    """Log loss of each item in expectation over its outcome."""
    q = np.clip(p, 1e-6, 1 - 1e-6)
    return np.asarray(-truth * np.log(q) - (1 - truth) * np.log1p(-q))


def _loss(p: Floats, right: Bools) -> Floats:
    return _expected_loss(p, right.astype(np.float64))


def _keeps_order(platt: Platt | None) -> bool:
    return platt is None or bool((np.diff(platt.predict(np.linspace(0, 1, 501))) >= -1e-12).all())
