"""Two strategies whose true difference is known: answers drawn item by item."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from scipy.special import ndtri

from evaluation._arrays import FloatArray, IntArray
from evaluation.paired import PairedAnswers
from evaluation.paired_metrics import metric_values
from labelproof.spec.metrics import MetricRef


def answers_of(
    gold: IntArray, a: IntArray, b: IntArray, k: int, cluster: IntArray | None = None
) -> PairedAnswers:
    """Single-label answers with codes 0..k-1."""
    labels = tuple(f"c{i}" for i in range(k))
    none = np.zeros(len(gold), dtype=np.bool_)
    return PairedAnswers(
        labels=labels, classes=labels, members=np.eye(k, dtype=np.bool_), gold=gold, a=a, b=b,
        accepted_a=none, accepted_b=none, cluster=cluster,
    )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """Class shares, A's accuracy by class, and the share of items that B answers anew, at B's own accuracy."""

    name: str
    share: tuple[float, ...]
    right_a: tuple[float, ...]
    right_b: tuple[float, ...]
    anew: float

    def draw(self, n: int, rng: np.random.Generator) -> PairedAnswers:
        k = len(self.share)
        gold = rng.choice(k, n, p=self.share)

        def answer(right: tuple[float, ...]) -> IntArray:
            wrong = (gold + rng.integers(1, k, n)) % k
            return np.where(rng.random(n) < np.array(right)[gold], gold, wrong)

        a = answer(self.right_a)
        return answers_of(gold, a, np.where(rng.random(n) < self.anew, answer(self.right_b), a), k)

    def truth(self, metric: MetricRef) -> float:
        """B minus A of the population, from its exact confusion shares."""
        return _truth(self, metric)


@cache
def _truth(world: World, metric: MetricRef) -> float:
    k = len(world.share)
    gold, said = (grid.ravel() for grid in np.meshgrid(np.arange(k), np.arange(k), indexing="ij"))

    def shares(right: FloatArray) -> FloatArray:
        inside = np.where(gold == said, right[gold], (1 - right[gold]) / (k - 1))
        return np.asarray(np.array(world.share)[gold] * inside)

    right_a, right_b = np.array(world.right_a), np.array(world.right_b)
    values = metric_values(
        gold, said, np.zeros(k * k, dtype=np.bool_), members=np.eye(k, dtype=np.bool_),
        classes=[f"c{i}" for i in range(k)], metric=metric,
        weights=np.stack([shares(right_a), shares((1 - world.anew) * right_a + world.anew * right_b)]),
    )  # fmt: skip
    return float(values[1] - values[0])


UNEVEN = (0.6, 0.3, 0.08, 0.02)
USUAL = (0.9, 0.8, 0.7, 0.6)
EQUAL_WORLDS = (
    World(name="a fifth answered anew, as well", share=UNEVEN, right_a=USUAL, right_b=USUAL, anew=0.2),
    World(
        name="opposite classes, same macro-F1",
        share=(0.45, 0.45, 0.1), right_a=(0.92, 0.7, 0.7), right_b=(0.7, 0.92, 0.7), anew=1.0,
    ),
)  # fmt: skip
CHANGED_WORLDS = (
    World(
        name="better in every class", share=UNEVEN, right_a=USUAL, right_b=(1.0, 0.95, 0.85, 0.75), anew=0.3
    ),
    World(
        name="few changes, nearly all good",
        share=UNEVEN,
        right_a=USUAL,
        right_b=(1.0, 1.0, 1.0, 0.9),
        anew=0.06,
    ),
    World(name="the 2 % class lost", share=UNEVEN, right_a=USUAL, right_b=(0.9, 0.8, 0.7, 0.1), anew=0.2),
)


def clustered(clusters: int, delta: float, rng: np.random.Generator) -> PairedAnswers:
    """Authors with 5 to 20 items; who wins an item depends on the author (latent correlation .3); discordance .2."""
    c = np.repeat(np.arange(clusters), rng.integers(5, 21, clusters))
    n, icc, psi = len(c), 0.3, 0.2
    z = np.sqrt(icc) * rng.standard_normal(clusters)[c] + np.sqrt(1 - icc) * rng.standard_normal(n)
    won, lost = z < ndtri((psi + delta) / 2), z > ndtri(1 - (psi - delta) / 2)
    base = (rng.random(n) < 0.2).astype(np.int64)
    a = np.where(won, 1, np.where(lost, 0, base))
    return answers_of(np.zeros(n, dtype=np.int64), a, np.where(won | lost, 1 - a, a), 2, c)
