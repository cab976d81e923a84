"""Which fold each item belongs to, stratified by label and reproducible by seed."""

from __future__ import annotations

import numpy as np

from evaluation._arrays import IntArray
from labelproof.spec.errors import ConfigError


def stratified_folds(codes: IntArray, folds: int, *, seed: int) -> IntArray:
    """A fold number 0..folds-1 per item (n,); fold sizes differ by at most one.

    Items are shuffled, ordered by class, and dealt out in turn, so each class is spread as evenly
    as its count allows. ConfigError unless 2 <= folds <= n.
    """
    n = len(codes)
    if not 2 <= folds <= n:
        raise ConfigError(f"folds: expected 2 to {n} (the number of items), found {folds}")
    shuffled = np.random.default_rng(seed).permutation(n)
    dealt = shuffled[np.argsort(codes[shuffled], kind="stable")]
    fold = np.empty(n, dtype=np.int64)
    fold[dealt] = np.arange(n) % folds
    return fold
