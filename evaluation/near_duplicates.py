"""Texts that are the same or nearly so, among many: banded MinHash over character n-grams, every pair verified.

Broder (1997), On the resemblance and containment of documents; bands as in Leskovec, Rajaraman & Ullman, Mining of Massive
Datasets, 3.4. With 20 bands of 5 rows, a pair of similarity .8 is missed with probability .0004, one of .9 with less
than 1e-7; a pair that is found counts only when its exact similarity reaches the threshold.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from evaluation._arrays import BoolArray, IntArray
from labelproof.spec.errors import ConfigError

N_GRAM = 5
LONGEST = 4000
"""Characters of a text that are compared: its beginning."""
_BANDS, _ROWS = 20, 5
_CHUNK_CHARS = 400_000
_MOST_IN_BUCKET = 24
"""Of the texts in one bucket that each other one is compared with: boilerplate would otherwise cost its square."""
_SPACE = re.compile(r"\s+")
_UNSEEN = re.compile("[\x00-\x08\x0e-\x1b\x7f\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180d\u3164\ufe00-\ufe0f]")
"""Characters that show nothing, besides those of Unicode's category Cf."""
UInts = npt.NDArray[np.uint64]
_PRIME = np.uint64(0x9E3779B97F4A7C15)


@dataclass(frozen=True, slots=True, kw_only=True)
class NearPairs:
    """Pairs (P, 2) of positions ``left`` < ``right`` with a similarity (P,) of the threshold or more."""

    n: int
    left: IntArray
    right: IntArray
    similarity: npt.NDArray[np.float64]

    def after(self, m: int) -> NearPairs:
        """Return the pairs among the texts behind the first ``m``, whose positions begin at 0 again."""
        kept = self.left >= m
        return NearPairs(
            n=self.n - m,
            left=self.left[kept] - m,
            right=self.right[kept] - m,
            similarity=self.similarity[kept],
        )

    def near_first(self, m: int) -> BoolArray:
        """Return for each text behind the first ``m`` (n - m,) whether it is near one of them."""
        found = np.zeros(self.n - m, dtype=np.bool_)
        found[self.right[(self.left < m) & (self.right >= m)] - m] = True
        return found

    def groups(self) -> IntArray:
        """Return the group (n,) of each text, named by its first member: texts joined by a chain of pairs."""
        parent = np.arange(self.n)

        def root(node: int) -> int:
            while parent[node] != node:
                parent[node] = parent[parent[node]]
                node = int(parent[node])
            return node

        for a, b in zip(self.left.tolist(), self.right.tolist(), strict=True):
            first, second = root(a), root(b)
            if first != second:
                parent[max(first, second)] = min(first, second)
        return np.array([root(node) for node in range(self.n)], dtype=np.int64)


def normal_form(text: str) -> str:
    """Return what two texts are compared by: compatibility forms, no case, no invisible characters, single spaces."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    if not folded.isascii():
        folded = "".join(char for char in folded if unicodedata.category(char) != "Cf")
    return _SPACE.sub(" ", _UNSEEN.sub("", folded)).strip()


def near_pairs(texts: Sequence[str], *, threshold: float = 0.8, seed: int = 0) -> NearPairs:
    """Return the pairs of texts whose sets of character 5-grams have a Jaccard similarity of ``threshold`` or more.

    Texts are compared as they are: pass their ``normal_form``. Equal texts are pairs too; texts shorter than 5 characters
    are near equal ones only. Linear in the number of texts but for buckets of boilerplate, of which each member is
    compared with 24 others. ``ConfigError`` for a threshold that bands of 5 rows would miss (below .6) or above 1.
    """
    if not 0.6 <= threshold <= 1:
        raise ConfigError(f"threshold: expected .6 to 1, found {threshold}")
    grams, signatures = _sketch(texts, np.random.default_rng(seed))
    a, b = _candidates(signatures)
    if not len(a):
        return NearPairs(n=len(texts), left=a, right=b, similarity=np.zeros(0))
    alike = np.concatenate([(signatures[i] == signatures[j]).mean(axis=1) for i, j in _in_parts(a, b)])
    # Half a standard deviation times six below: the sketch of a pair at the threshold is hardly ever lower.
    likely = alike >= threshold - 0.2
    a, b = a[likely], b[likely]
    similarity = np.array([_jaccard(grams[i], grams[j]) for i, j in zip(a.tolist(), b.tolist(), strict=True)])
    kept = similarity >= threshold if len(similarity) else np.zeros(0, dtype=np.bool_)
    return NearPairs(n=len(texts), left=a[kept], right=b[kept], similarity=similarity[kept])


def near_any(
    texts: Sequence[str], others: Sequence[str], *, threshold: float = 0.8, seed: int = 0
) -> BoolArray:
    """Return for each text (n,) whether one of ``others`` is the same or near it."""
    return near_pairs([*others, *texts], threshold=threshold, seed=seed).near_first(len(others))


def _sketch(texts: Sequence[str], rng: np.random.Generator) -> tuple[list[UInts], UInts]:
    """Return each text's distinct n-gram hashes, sorted, and its MinHash signature (n, bands x rows)."""
    k = _BANDS * _ROWS
    odd = rng.integers(0, 2**63, k, dtype=np.uint64) * np.uint64(2) + np.uint64(1)
    shift = rng.integers(0, 2**63, k, dtype=np.uint64)
    grams: list[UInts] = []
    signatures = np.empty((len(texts), k), dtype=np.uint64)
    for begin, end in _chunks(texts):
        mine = [_grams(text[:LONGEST]) for text in texts[begin:end]]
        grams += mine
        flat = np.concatenate(mine)
        starts = np.cumsum([0, *(len(one) for one in mine[:-1])])
        for column in range(k):
            # Multiply-shift: the upper half of the product is the hash (Dietzfelbinger et al. 1997).
            hashed = (flat * odd[column] + shift[column]) >> np.uint64(32)
            signatures[begin:end, column] = np.minimum.reduceat(hashed, starts)
    return grams, signatures


def _chunks(texts: Sequence[str]) -> Iterator[tuple[int, int]]:
    begin, size = 0, 0
    for end, text in enumerate(texts):
        size += min(len(text), LONGEST) + N_GRAM
        if size > _CHUNK_CHARS:
            yield begin, end + 1
            begin, size = end + 1, 0
    if begin < len(texts):
        yield begin, len(texts)


def _grams(text: str) -> UInts:
    """Return the distinct hashes of a text's n-grams, sorted; at least one, the whole of a short text."""
    codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype=np.uint32).astype(np.uint64)
    if len(codes) < N_GRAM:
        whole = np.array([len(codes) + 1], dtype=np.uint64)
        for code in codes:
            whole = _mixed(whole * _PRIME + code)
        return whole
    n = len(codes) - N_GRAM + 1
    hashed = codes[:n].copy()
    for offset in range(1, N_GRAM):
        hashed = hashed * _PRIME + codes[offset : offset + n]
    return np.unique(_mixed(hashed))


def _mixed(value: UInts) -> UInts:
    """Return the values with high bits spread into the low ones and back (SplitMix64's first step)."""
    mixed = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    return mixed ^ (mixed >> np.uint64(27))


def _candidates(signatures: UInts) -> tuple[IntArray, IntArray]:
    """Return pairs (left < right, each once) that agree in all rows of some band."""
    n = len(signatures)
    keys: list[IntArray] = []
    for band in range(_BANDS):
        rows = signatures[:, band * _ROWS : (band + 1) * _ROWS]
        hashed = np.zeros(n, dtype=np.uint64)
        for column in range(_ROWS):
            hashed = _mixed(hashed * _PRIME + rows[:, column])
        order = np.argsort(hashed, kind="stable")
        sorted_hash = hashed[order]
        # Neighbours at every distance up to the most: within a bucket, positions stand in rising order.
        for distance in range(1, _MOST_IN_BUCKET + 1):
            same = sorted_hash[distance:] == sorted_hash[:-distance]
            if not same.any():
                break
            keys.append(order[:-distance][same].astype(np.int64) * n + order[distance:][same])
    if not keys:
        return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64)
    unique = np.unique(np.concatenate(keys))
    return unique // n, unique % n


def _in_parts(a: IntArray, b: IntArray, size: int = 200_000) -> Iterator[tuple[IntArray, IntArray]]:
    for begin in range(0, len(a), size):
        yield a[begin : begin + size], b[begin : begin + size]


def _jaccard(a: UInts, b: UInts) -> float:
    """Return the similarity of two sorted sets."""
    both = len(np.intersect1d(a, b, assume_unique=True))
    return both / (len(a) + len(b) - both)
