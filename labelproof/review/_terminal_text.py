"""What the terminal shows, as text that can do nothing there, and what a reviewer has chosen so far."""

from __future__ import annotations

import time
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rich.text import Text

from labelproof.report.visible_text import segments
from labelproof.review.model import ANSWERS, Answer
from labelproof.spec.labels import EMPTY_SET, LabelSchema

MARK = "bold reverse"
HIT = "bold underline"
_STACK_MOST = 4
"""Combining marks kept on one character; piled higher they run into other lines."""
_COVER = "░"
_TAB = 4


def inert(text: str) -> Text:
    """Return ``text`` for a terminal: escape sequences, control and hidden characters stand there as marks by code."""
    shown = Text(overflow="fold")
    for segment in segments(text.replace("\r\n", "\n").replace("\r", "\n")):
        if segment.code is None:
            shown.append(_flat(segment.text))
        else:
            shown.append(f"[{segment.code}]", MARK)
    shown.expand_tabs(_TAB)
    return shown


def covered(text: str) -> Text:
    """Return a stand-in for a text that was not asked for: its shape, none of its words."""
    plain = inert(text).plain
    return Text("".join(mark if mark.isspace() else _COVER for mark in plain), "dim", overflow="fold")


def one_line(value: Any) -> Text:
    """Return any value on one line, inert."""
    return inert(" ".join(str(value).split()))


def facts(meta: Mapping[str, Any], hidden: str | None) -> Text:
    """Return the metadata and the hidden characters of an item, a line each."""
    lines = [
        Text.assemble((f"{one_line(name).plain}: ", "dim"), one_line(value)) for name, value in meta.items()
    ]
    if hidden:
        lines.append(Text.assemble(("hidden characters: ", "dim"), (one_line(hidden).plain, "bold")))
    return Text("\n", overflow="fold").join(lines)


def guideline(text: str, query: str = "") -> Text:
    """Return a guideline, or of its sections those in which every word of ``query`` stands, with the words marked."""
    words = [word for word in query.casefold().split() if word]
    sections = [part for part in _sections(text) if all(word in part.casefold() for word in words)]
    if not sections:
        return Text(f"Nothing in the guideline holds: {one_line(query).plain}", "italic")
    shown = inert("\n\n".join(part.strip("\n") for part in sections))
    shown.highlight_words(words, HIT, case_sensitive=False)
    shown.highlight_regex(r"(?m)^#+ .*$", "bold")
    return shown


class Choice:
    """What a reviewer has chosen for the task before them; nothing is sent until they say so."""

    def __init__(self, schema: LabelSchema) -> None:
        self.schema = schema
        self.labels: frozenset[str] = frozenset()
        self.answer: Answer | None = None

    def toggle(self, label: str) -> None:
        """Choose a label; where several are allowed, choose it or take it away. EMPTY_SET: no label applies."""
        if self.schema.kind == "multi" and label != EMPTY_SET:
            self.labels = (self.labels ^ {label}) - {EMPTY_SET}
        else:
            self.labels = frozenset((label,))
        self.answer = "label" if self.labels else None

    def instead(self, answer: Answer) -> None:
        """Choose skip, flag or unclear."""
        self.labels, self.answer = frozenset(), answer

    def take(self, answer: str, label: str | None) -> None:
        """Choose what was answered before, as far as the schema still knows it."""
        instead = next((one for one in ANSWERS if one == answer and one != "label"), None)
        if instead is not None:
            self.instead(instead)
        elif label is not None:
            members = self.schema.members(label) or frozenset((EMPTY_SET,))
            self.labels = members & {*self.schema.leaves, EMPTY_SET}
            self.answer = "label" if self.labels else None

    @property
    def label(self) -> str | None:
        """The chosen label in canonical form; None without one."""
        if self.answer != "label":
            return None
        return self.schema.canonical(
            sorted(self.labels - {EMPTY_SET}) if self.schema.kind == "multi" else min(self.labels)
        )

    def lines(self, shown: Sequence[str]) -> Text:
        """Return the labels in ``shown`` with the digit of each of the first nine, and the other answers."""
        lines = [self._line(str(i) if i <= 9 else " ", name) for i, name in enumerate(shown, start=1)]
        if self.schema.kind == "multi":
            lines.append(self._line("0", EMPTY_SET, "no label applies"))
        if not shown:
            lines.append(Text("no label matches", "italic"))
        others = Text("")
        for key, answer, words in (
            ("s", "skip", "skip"),
            ("f", "flag", "flag"),
            ("x", "unclear", "guideline unclear"),
        ):
            chosen = self.answer == answer
            others.append(f" {'●' if chosen else ' '}{key} ", "bold reverse" if chosen else "bold")
            others.append(f"{words}  ", "bold" if chosen else "")
        return Text("\n", overflow="fold").join([*lines, others])

    def _line(self, key: str, name: str, about: str | None = None) -> Text:
        chosen = name in self.labels
        leaf = self.schema.leaf_classes.get(name)
        about = about if about is not None or leaf is None else leaf.description
        line = Text(no_wrap=True, overflow="ellipsis")
        line.append(f" {'●' if chosen else ' '}{key} ", "bold reverse" if chosen else "bold")
        line.append(one_line(name).plain, "bold" if chosen else "")
        if about:
            line.append(f"  {one_line(about).plain}", "dim")
        return line


class Stopwatch:
    """Seconds that a task was before the reviewer's eyes."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._seconds = 0.0
        self._since: float | None = None

    def start(self) -> None:
        """Begin at zero."""
        self._seconds, self._since = 0.0, self._clock()

    def pause(self) -> None:
        """Stop counting: the reviewer looks elsewhere."""
        self._seconds, self._since = self.seconds, None

    def resume(self) -> None:
        """Count on."""
        if self._since is None:
            self._since = self._clock()

    @property
    def seconds(self) -> float:
        """What was counted so far."""
        return self._seconds + (0.0 if self._since is None else self._clock() - self._since)


def _sections(text: str) -> list[str]:
    """Return the parts of a Markdown text that begin with a heading, and what stands before the first."""
    parts: list[list[str]] = [[]]
    in_code = False
    for line in text.splitlines():
        in_code ^= line.startswith("```")
        if line.startswith("#") and not in_code:
            parts.append([])
        parts[-1].append(line)
    return ["\n".join(lines) for lines in parts if any(line.strip() for line in lines)]


def _flat(text: str) -> str:
    """Return visible text with piles of combining marks cut low."""
    if text.isascii():
        return text
    kept: list[str] = []
    height = 0
    for mark in text:
        height = height + 1 if unicodedata.category(mark) in ("Mn", "Me") else 0
        if height <= _STACK_MOST:
            kept.append(mark)
    return "".join(kept)
