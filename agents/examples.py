"""The ``examples`` split: class-balanced fixed choices, and nearest neighbours by a local encoder."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from agents.state import Example
from labelproof.spec.errors import ConfigError

Vectors = npt.NDArray[np.float32]


class ExampleBank:
    """Solved examples in a fixed order (by item id); embeddings are made on first use."""

    def __init__(self, examples: Sequence[Example], open_encoder: Callable[[str], Any]) -> None:
        self.examples = sorted(examples, key=lambda example: example.item_id)
        self._open_encoder = open_encoder
        self._vectors: dict[str, Vectors] = {}
        self._index = {example.item_id: i for i, example in enumerate(self.examples)}

    def __len__(self) -> int:
        return len(self.examples)

    def fixed(self, k: int, seed: int) -> tuple[Example, ...]:
        """Return k examples, classes in turn, shuffled by ``seed``."""
        self._require()
        rng = random.Random(seed)
        by_label: dict[str, list[Example]] = defaultdict(list)
        for example in self.examples:
            by_label[example.label].append(example)
        pools = [rng.sample(pool, len(pool)) for _, pool in sorted(by_label.items())]
        chosen: list[Example] = []
        while len(chosen) < k and any(pools):
            for pool in pools:
                if pool and len(chosen) < k:
                    chosen.append(pool.pop())
        rng.shuffle(chosen)
        return tuple(chosen)

    def nearest(
        self, texts: Sequence[str], item_ids: Sequence[str], k: int, encoder: str
    ) -> list[tuple[Example, ...]]:
        """Return up to k nearest examples of each text by cosine, most similar first.

        The example that is the item itself is left out.
        """
        self._require()
        known = self._embedded(encoder)
        queries = self._encode(encoder, texts)
        scores = queries @ known.T
        for row, item_id in enumerate(item_ids):
            own = self._index.get(item_id)
            if own is not None:
                scores[row, own] = -np.inf
        order = _largest(scores, k)
        return [
            tuple(
                Example(e.item_id, e.text, e.label, float(scores[row, column]))
                for column in columns
                if np.isfinite(scores[row, column])
                for e in (self.examples[column],)
            )
            for row, columns in enumerate(order)
        ]

    def _embedded(self, encoder: str) -> Vectors:
        if encoder not in self._vectors:
            self._vectors[encoder] = self._encode(encoder, [example.text for example in self.examples])
        return self._vectors[encoder]

    def _encode(self, encoder: str, texts: Sequence[str]) -> Vectors:
        vectors = self._open_encoder(encoder).encode(list(texts))
        dense = vectors.toarray() if hasattr(vectors, "toarray") else vectors
        return np.asarray(dense, dtype=np.float32)

    def _require(self) -> None:
        if not self.examples:
            raise ConfigError(
                "the strategy shows examples, but the gold set has no items in the split 'examples'",
                hint="add gold items to the split, or take the retrieve step out of the strategy",
            )


def _largest(scores: Vectors, k: int) -> list[npt.NDArray[np.intp]]:
    """Return each row's columns of the k largest scores, largest first, equal ones in column order."""
    n = scores.shape[1]
    if k >= n:
        return list(np.argsort(-scores, axis=1, kind="stable"))
    least = np.partition(scores, n - k, axis=1)[:, n - k]
    found = []
    for row, bound in zip(scores, least, strict=True):
        columns = np.flatnonzero(row >= bound)
        found.append(columns[np.argsort(-row[columns], kind="stable")][:k])
    return found
