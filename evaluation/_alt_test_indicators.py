"""Who represents the remaining annotators better on each item: the left-out person or the model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np

from evaluation._arrays import BoolArray, FloatArray, IntArray
from evaluation._reliability import label_distances
from evaluation.votes import MISSING, VoteTable
from labelproof.spec.errors import ConfigError

Alignment = Literal["exact", "ordinal", "masi"]
FAILED = -2
"""Code of an item on which the model gave no answer."""
_TIE = 1e-9


def model_codes(table: VoteTable, model: Mapping[str, str | None]) -> tuple[IntArray, BoolArray]:
    """The model's label codes (n_items,), -2 where it failed, and where anything is known about it."""
    code_of = {label: code for code, label in enumerate(table.labels)}
    codes = np.full(len(table.items), MISSING, dtype=np.int64)
    known = np.zeros(len(table.items), dtype=np.bool_)
    for i, item in enumerate(table.items):
        if item not in model:
            continue
        known[i] = True
        label = model[item]
        if label is not None and label not in code_of:
            raise ConfigError(
                f"model: expected one of {', '.join(table.labels)}; found {label!r} for item {item!r}",
                hint="give VoteTable all labels of the schema, also those nobody voted for",
            )
        codes[i] = FAILED if label is None else code_of[label]
    return codes, known


def indicators(
    table: VoteTable, answers: IntArray, counts: IntArray, usable: BoolArray, alignment: Alignment
) -> tuple[BoolArray, BoolArray, BoolArray]:
    """(W^f, W^h, compared), each (n_items, J): who represents the remaining annotators at least as well.

    Compared are summed distances to the others: their means and negative roots order alike. A model that
    failed is further from everybody than any label.
    """
    distances = _distances(table.labels, alignment)
    to_all = counts @ distances
    model_distance = np.full(len(answers), np.inf)
    answered = answers >= 0
    model_distance[answered] = to_all[answered, answers[answered]]
    shape = table.codes.shape
    won, lost, seen = (np.zeros(shape, dtype=np.bool_) for _ in range(3))
    for j in range(shape[1]):
        rows = np.flatnonzero(usable & (table.codes[:, j] >= 0))
        own = table.codes[rows, j]
        own_distance = to_all[rows, own]
        apart = model_distance[rows]
        has = answered[rows]
        apart[has] -= distances[own[has], answers[rows][has]]
        won[rows, j] = apart <= own_distance + _TIE
        lost[rows, j] = own_distance <= apart + _TIE
        seen[rows, j] = True
    return won, lost, seen


def _distances(labels: tuple[str, ...], alignment: Alignment) -> FloatArray:
    if alignment == "ordinal":
        place = np.arange(len(labels), dtype=np.float64)
        return np.asarray((place[:, None] - place[None, :]) ** 2)
    return label_distances(labels, "masi" if alignment == "masi" else "nominal")
