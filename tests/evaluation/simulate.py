"""Outputs of an imaginary small model: it ranks well, but is biased towards some labels and too sure."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Simulated:
    """Model log-probabilities (n, K), gold codes (n,), an independent second voter, and the truth.

    ``bayes`` (n, K) are the best possible class log-probabilities given the model's output alone.
    """

    log_probs: Floats
    codes: Ints
    encoder: Floats
    bayes: Floats
    classes: tuple[str, ...]

    @property
    def labels(self) -> list[str]:
        return [self.classes[c] for c in self.codes]


def log_softmax(x: Floats) -> Floats:
    shifted = x - x.max(axis=1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True)))


def shares(kind: str, k: int, rng: np.random.Generator) -> Floats:
    """Class shares: equal, uneven (Dirichlet 2), or one class with 85 %."""
    if kind == "equal":
        return np.full(k, 1 / k)
    if kind == "uneven":
        return rng.dirichlet(np.full(k, 2.0))
    return np.concatenate([[0.85], np.full(k - 1, 0.15 / (k - 1))])


def simulate(n: int, k: int, *, prior: Floats, seed: int, signal: float = 2.0) -> Simulated:
    """Scores z = signal·1[class = gold] + noise; the model reports softmax(3·(z + bias)), bias sd 1."""
    rng = np.random.default_rng([seed, n, k])
    bias = rng.normal(size=k)
    codes = rng.choice(k, size=n, p=prior)
    z = rng.normal(size=(n, k))
    z[np.arange(n), codes] += signal
    w = rng.normal(size=(n, k))
    w[np.arange(n), codes] += signal
    return Simulated(
        log_probs=log_softmax(3.0 * (z + bias)),
        codes=codes.astype(np.int64),
        encoder=log_softmax(signal * w),
        bayes=log_softmax(signal * z + np.log(prior)),
        classes=tuple(f"c{i}" for i in range(k)),
    )
