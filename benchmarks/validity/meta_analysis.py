"""Section 6, playbook: how often intervals of pooled effects hold what they should."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import product

import numpy as np
from scipy.special import stdtrit

from benchmarks.validity.harness import Relation, Row, at_least
from evaluation._arrays import FloatArray
from evaluation.meta_analysis import random_effects

SECTION = "6 playbook"
MEAN = 0.02
ERRORS = (0.006, 0.03)
"""Smallest and largest standard error: gold sets of some 3 000 to some 150 items."""
KS = (3, 5, 10, 20)
TAUS = {
    "the same effect everywhere": 0.0,
    "effects differ little": 0.005,
    "effects differ as much as chance": 0.015,
    "effects differ much": 0.05,
}
Z = 1.959964


def simulate(replicates: int, seed: int) -> Sequence[Row]:
    """All rows; cells are seeded by their position."""
    rows: list[Row] = []
    for cell, (k, (name, tau)) in enumerate(product(KS, TAUS.items())):
        rows += _cell(k, name, tau, replicates, np.random.default_rng([seed, cell]))
    return rows


def _cell(k: int, name: str, tau: float, replicates: int, rng: np.random.Generator) -> list[Row]:
    """Shares of replicates in which the mean, the next project's effect and its sign were as said."""
    held = {"mean": 0, "next": 0, "naive mean": 0, "naive next": 0, "t": 0}
    said: list[float] = []
    for _ in range(replicates):
        errors = np.exp(rng.uniform(math.log(ERRORS[0]), math.log(ERRORS[1]), k))
        effects = MEAN + tau * rng.standard_normal(k) + errors * rng.standard_normal(k)
        ahead = MEAN + tau * float(rng.standard_normal())
        found = random_effects(effects, errors)
        assert found.low is not None
        assert found.high is not None
        assert found.prediction_low is not None
        assert found.prediction_high is not None
        held["mean"] += found.low <= MEAN <= found.high
        held["next"] += found.prediction_low <= ahead <= found.prediction_high
        low, high = _fixed(effects, errors)
        held["naive mean"] += low <= MEAN <= high
        held["naive next"] += low <= ahead <= high
        half = float(stdtrit(k - 2, 0.975)) * np.sqrt(
            (found.tau2 or 0.0) + (found.standard_error or 0.0) ** 2
        )
        held["t"] += abs(ahead - (found.mean or 0.0)) <= half
        chance = found.prob_above(0.0)
        assert chance is not None
        said.append((chance - float(ahead > 0)) ** 2)
    cell = f"{k} projects, {name} (tau {tau:g})"

    def row(check: str, value: float, bound: float | None, note: str = "") -> Row:
        relation: Relation = "shown" if bound is None else ">="
        return Row(
            section=SECTION, check=check, cell=cell, measure="coverage of the 95 % interval", value=value,
            relation=relation, bound=bound, replicates=replicates, page="", note=note,
        )  # fmt: skip

    n = replicates
    return [
        row("mean effect: Hartung-Knapp", held["mean"] / n, at_least(0.93, n)),
        row("next project's effect: prediction interval", held["next"] / n, at_least(0.93, n)),
        row("next project's effect: t on k - 2 df (Higgins et al. 2009)", held["t"] / n, None),
        row("mean effect: fixed effects, naive", held["naive mean"] / n, None),
        row("next project's effect: interval of the mean, naive", held["naive next"] / n, None),
        Row(
            section=SECTION, check="probability that the next project gains", cell=cell, measure="Brier score",
            value=float(np.mean(said)), relation="shown", bound=None, replicates=n,
        ),
    ]  # fmt: skip


def _fixed(effects: FloatArray, errors: FloatArray) -> tuple[float, float]:
    weight = 1 / errors**2
    mean = float(weight @ effects / weight.sum())
    return mean - Z / float(np.sqrt(weight.sum())), mean + Z / float(np.sqrt(weight.sum()))
