"""Texts that hold another text, whatever was done to hide it: for keeping what judges out of what teaches.

Texts are compared by their letters and digits alone (``bare_form``), so that accents, punctuation between letters, look-alike
letters and characters that nobody sees make no difference; and what is put before or behind a text does not hide it.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from evaluation._arrays import BoolArray

LONG = 20
"""Bare characters from which a text counts wherever it stands in another."""
SHORT = 8
"""Bare characters from which a text counts where it is half of another or more; shorter ones only when they are all of it."""
_CHUNK_CHARS = 400_000
_LOOK_ALIKE = str.maketrans(
    "аеорсхуіјѕһԁԛԝвмнктӏαβεικνορτυχ0134578@$", "aeopcxyijshdqwbmhktlabeikvoptuxoleastbas"
)
_NO_LETTER = re.compile(r"[\W_\u115f\u1160\u3164]+")
_PRIME = np.uint64(0x9E3779B97F4A7C15)


def bare_form(text: str) -> str:
    """Return the letters and digits of a text, those that look alike as one: `Fr€€ p1lls!` and `fr pills` are equal.

    Good for finding out whether two texts are the same, never for reading one.
    """
    return _NO_LETTER.sub("", unicodedata.normalize("NFKD", text).casefold().translate(_LOOK_ALIKE))


def holds_any(texts: Sequence[str], others: Sequence[str]) -> BoolArray:
    """Return for each text (n,) whether one of ``others`` stands in it; pass bare forms of both.

    Another of 20 characters or more counts anywhere, one of 8 or more where it is at least half of the text, any as the
    whole text. Linear in the characters of ``texts``.
    """
    whole = {other for other in others if other}
    found = np.array([text in whole for text in texts], dtype=np.bool_)
    halves = _by_length(other for other in whole if SHORT <= len(other) < LONG)
    for i, text in enumerate(texts):
        if not found[i] and SHORT <= len(text) < 2 * LONG:
            found[i] = any(
                text[at : at + n] in same
                for n, same in halves.items()
                if n <= len(text) <= 2 * n
                for at in range(len(text) - n + 1)
            )
    begins: dict[str, dict[int, set[str]]] = {}
    for other in whole:
        if len(other) >= LONG:
            begins.setdefault(other[:LONG], {}).setdefault(len(other), set()).add(other)
    if begins:
        for i, at in _occurrences(texts, list(begins)):
            text = texts[i]
            if not found[i]:
                longer = begins.get(text[at : at + LONG], {})
                found[i] = any(text[at : at + n] in same for n, same in longer.items())
    return found


def _by_length(texts: Iterator[str]) -> dict[int, set[str]]:
    found: dict[int, set[str]] = {}
    for text in texts:
        found.setdefault(len(text), set()).add(text)
    return found


def _occurrences(texts: Sequence[str], windows: Sequence[str]) -> Iterator[tuple[int, int]]:
    """Yield (text, place) wherever the hash of ``LONG`` characters is that of a window; few are false."""
    wanted = np.unique(np.concatenate([_hashes(window) for window in windows]))
    begin = 0
    while begin < len(texts):
        end, size = begin, 0
        while end < len(texts) and (size == 0 or size + len(texts[end]) < _CHUNK_CHARS):
            size += len(texts[end]) + 1
            end += 1
        starts = np.cumsum([0, *(len(text) + 1 for text in texts[begin : end - 1])])
        hashed = _hashes("\n".join(texts[begin:end]))
        for place in np.flatnonzero(np.isin(hashed, wanted)).tolist():
            which = int(np.searchsorted(starts, place, side="right")) - 1
            yield begin + which, place - int(starts[which])
        begin = end


def _hashes(text: str) -> npt.NDArray[np.uint64]:
    """Return the hash of each run of ``LONG`` characters."""
    codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype=np.uint32).astype(np.uint64)
    n = max(0, len(codes) - LONG + 1)
    hashed = codes[:n].copy()
    for offset in range(1, LONG):
        hashed = hashed * _PRIME + codes[offset : offset + n]
    return hashed
