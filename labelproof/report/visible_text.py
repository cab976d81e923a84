"""Content as pages show it: split so that characters which nobody can see stand out, and change nothing."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from itertools import groupby

_BREAKS = "\n\r\t"
_HIDDEN = frozenset(("Cf", "Cc", "Zl", "Zp", "Co", "Cs"))
_JOINER = "\u200d"
_SYMBOLS = frozenset(("So", "Sk"))
"""Categories of pictures: a joiner between two of them makes one picture of several, and is seen as that."""
_VARIATION = "\ufe0f"


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """A piece of a text. ``code`` and ``name``: of the hidden character that ``text`` is; None for visible text."""

    text: str
    code: str | None = None
    name: str | None = None

    @property
    def raw(self) -> str:
        """What stands in the page: all of the text but NUL, which no page can hold."""
        return self.text.replace("\0", "")


def segments(text: str) -> tuple[Segment, ...]:
    """Return a text as visible pieces and single hidden characters; joined again they are the text.

    Hidden: format, control and private-use characters and line or paragraph separators, but not line
    breaks, tabs, and joiners inside an emoji (see ``labelproof.report.review_io.hidden_characters``).
    """
    found: list[Segment] = []
    marked = groupby(enumerate(text), key=lambda place: _is_hidden(text, *place))
    for hidden, run in marked:
        marks = [mark for _, mark in run]
        if hidden:
            found.extend(_mark(mark) for mark in marks)
        else:
            found.append(Segment(text="".join(marks)))
    return tuple(found)


def excerpt(text: str, length: int = 160) -> tuple[Segment, ...]:
    """Return the beginning of a text on one line, at most ``length`` characters."""
    line = " ".join(text[: 4 * length].split())
    return segments(line if len(line) <= length else line[: length - 1].rstrip() + "…")


def _is_hidden(text: str, index: int, mark: str) -> bool:
    if " " <= mark <= "~" or mark in _BREAKS:
        return False
    if mark == _JOINER and _joins_pictures(text, index):
        return False
    return unicodedata.category(mark) in _HIDDEN


def _joins_pictures(text: str, index: int) -> bool:
    before = index - 2 if index > 1 and text[index - 1] == _VARIATION else index - 1
    after = index + 1
    if before < 0 or after >= len(text):
        return False
    return all(unicodedata.category(text[place]) in _SYMBOLS for place in (before, after))


def _mark(mark: str) -> Segment:
    code = f"U+{ord(mark):04X}"
    return Segment(text=mark, code=code, name=f"{code} {unicodedata.name(mark, 'control character')}")
