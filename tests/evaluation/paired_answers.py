"""Answers of two strategies from lists of labels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from evaluation.paired import NO_ANSWER, PairedAnswers


def paired(
    gold: Sequence[str] | None,
    a: Sequence[str | None],
    b: Sequence[str | None],
    *,
    classes: Sequence[str],
    accepted: tuple[Sequence[bool], Sequence[bool]] | None = None,
    **more: Any,
) -> PairedAnswers:
    """Canonical labels (multi-label `x+y`, `none`); None is a failed answer."""
    given = [label for side in (gold or (), a, b) for label in side if label is not None]
    labels = tuple(sorted({*classes, *given}))
    code = {label: i for i, label in enumerate(labels)}
    members = np.array([[c in label.split("+") for c in classes] for label in labels], dtype=np.bool_)

    def codes(side: Sequence[str | None]) -> np.ndarray[Any, np.dtype[np.int64]]:
        return np.array([NO_ANSWER if s is None else code[s] for s in side], dtype=np.int64)

    none = np.zeros(len(a), dtype=np.bool_)
    return PairedAnswers(
        labels=labels,
        classes=tuple(classes),
        members=members,
        gold=None if gold is None else codes(gold),
        a=codes(a),
        b=codes(b),
        accepted_a=none if accepted is None else np.array(accepted[0], dtype=np.bool_),
        accepted_b=none if accepted is None else np.array(accepted[1], dtype=np.bool_),
        **more,
    )


def random_answers(n: int, k: int, seed: int, *, flip: float = 0.2, **more: Any) -> PairedAnswers:
    """``k`` uneven classes; B answers a share ``flip`` of the items anew and fails 1 %."""
    rng = np.random.default_rng(seed)
    classes = [f"c{i}" for i in range(k)]
    gold = np.minimum(rng.geometric(0.4, n) - 1, k - 1)
    a = np.where(rng.random(n) < 0.8, gold, rng.integers(0, k, n))
    b = np.where(rng.random(n) < flip, np.where(rng.random(n) < 0.8, gold, rng.integers(0, k, n)), a)
    b = np.where(rng.random(n) < 0.01, NO_ANSWER, b)

    def names(codes: Any) -> list[str | None]:
        return [None if c == NO_ANSWER else classes[c] for c in codes]

    return paired(
        [classes[g] for g in gold],
        names(a),
        names(b),
        classes=classes,
        accepted=(list(rng.random(n) < 0.6), list(rng.random(n) < 0.7)),
        **more,
    )
