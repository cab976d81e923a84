"""Checked arrays: every public function of this package refuses bad numbers here, in one voice."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from labelproof.spec.errors import ConfigError

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]


def as_floats(values: npt.ArrayLike, name: str, *, allow_infinite: bool = False) -> FloatArray:
    """A one-dimensional float64 array; NaN (and infinity, unless allowed) is refused by position."""
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1:
        raise ConfigError(f"{name}: expected one dimension, found shape {array.shape}")
    bad = np.isnan(array) if allow_infinite else ~np.isfinite(array)
    if bad.any():
        first = int(np.flatnonzero(bad)[0])
        raise ConfigError(
            f"{name}: expected finite numbers, found {int(bad.sum())} of {array.size} not finite"
            f" (first at index {first}: {array[first]})",
            hint="leave out items without a value (failed or unscored) and report them apart",
        )
    return array


def as_probabilities(values: npt.ArrayLike, name: str) -> FloatArray:
    """A one-dimensional float64 array inside [0, 1]; anything else is refused by position."""
    array = as_floats(values, name)
    bad = (array < 0.0) | (array > 1.0)
    if bad.any():
        first = int(np.flatnonzero(bad)[0])
        raise ConfigError(
            f"{name}: expected values in [0, 1], found {array[first]} at index {first}",
            hint="calibrate raw signals into probabilities first",
        )
    return array


def as_bools(values: npt.ArrayLike, name: str) -> BoolArray:
    """A one-dimensional bool array; numbers other than 0 and 1 are refused by position."""
    array = np.asarray(values)
    if array.ndim != 1:
        raise ConfigError(f"{name}: expected one dimension, found shape {array.shape}")
    if array.size == 0:
        return np.zeros(0, dtype=np.bool_)
    if array.dtype != np.bool_:
        numbers = as_floats(array, name)
        bad = (numbers != 0.0) & (numbers != 1.0)
        if bad.any():
            first = int(np.flatnonzero(bad)[0])
            raise ConfigError(f"{name}: expected true/false, found {numbers[first]} at index {first}")
        array = numbers
    return array.astype(np.bool_)


def same_length(**arrays: Sequence[object] | npt.NDArray[np.generic]) -> int:
    """The common length of the named sequences; ConfigError naming each length otherwise."""
    lengths = {name: len(values) for name, values in arrays.items()}
    if len(set(lengths.values())) > 1:
        found = ", ".join(f"{name} {length}" for name, length in lengths.items())
        raise ConfigError(f"expected one value per item in each array, found {found}")
    return next(iter(lengths.values()), 0)


def check_classes(classes: Sequence[str], *, at_least: int = 2) -> tuple[str, ...]:
    """The class names as a tuple; too few, or a name twice, is refused."""
    names = tuple(classes)
    if len(names) < at_least or len(set(names)) != len(names):
        raise ConfigError(f"classes: expected at least {at_least} different names, found {list(names)}")
    return names


def class_codes(labels: Sequence[str], classes: tuple[str, ...], name: str) -> IntArray:
    """Index into ``classes`` of each label (int64, same order); an unknown label is refused."""
    lookup = {label: code for code, label in enumerate(classes)}
    codes = np.empty(len(labels), dtype=np.int64)
    for i, label in enumerate(labels):
        code = lookup.get(label)
        if code is None:
            raise ConfigError(
                f"{name}: expected one of {', '.join(classes)}; found {label!r} at index {i}",
                hint="add the label to the project's schema or correct the labels",
            )
        codes[i] = code
    return codes


def check_level(confidence: float) -> float:
    """The confidence level itself when it lies strictly between 0 and 1."""
    if not 0.0 < confidence < 1.0:
        raise ConfigError(f"confidence: expected a level in (0, 1), found {confidence}")
    return confidence


def confidence_pair(confidence: npt.ArrayLike, correct: npt.ArrayLike) -> tuple[FloatArray, FloatArray]:
    """Confidences in [0, 1] and correctness as 0.0/1.0, of one length; ConfigError otherwise."""
    c = as_probabilities(confidence, "confidence")
    y = as_bools(correct, "correct")
    same_length(confidence=c, correct=y)
    return c, y.astype(np.float64)
