"""Small makers of a report's sentences and cells."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime

from labelproof.report.documents.model import Fragment, Given, Line, Ref, State, Tone
from labelproof.spec.hashing import short

SEVERITY_TONE: dict[str, Tone] = {"critical": "bad", "major": "open", "minor": "plain"}
STATE_TONE: dict[str, Tone] = {
    "met": "good",
    "not met": "bad",
    "breached": "bad",
    "not yet provable": "open",
    "unknown": "open",
}


def text(*parts: Fragment) -> Line:
    return tuple(parts)


def given(value: object) -> Line:
    """Return what comes from outside as a cell; a dash for nothing."""
    return (Given(str(value)),) if value not in (None, "") else ("–",)


def day(moment: datetime | None) -> Line:
    """Return a date in UTC."""
    return ("–",) if moment is None else (Given(f"{moment.astimezone(UTC):%Y-%m-%d}"),)


def day_time(moment: datetime | None) -> Line:
    return ("–",) if moment is None else (Given(f"{moment.astimezone(UTC):%Y-%m-%d %H:%M}"),)


def version(name: str | None, fp: str | None) -> Fragment:
    """Return a strategy version as `name@a91f3c`."""
    return Given(f"{name or '?'}@{short(fp)}" if fp else str(name or "?"), code=True)


def state(word: str) -> State:
    return State(word, STATE_TONE.get(word, "plain"))


def severity(word: str | None) -> State:
    return State(word or "minor", SEVERITY_TONE.get(word or "minor", "plain"), sign=False)


def command(words: str) -> Given:
    return Given(words, code=True)


def both(name: str) -> Ref:
    return Ref(name, "both")


def listed(parts: Iterable[Line]) -> Line:
    """Return "a, b and c"."""
    found = list(parts)
    line: list[Fragment] = []
    for place, part in enumerate(found):
        if place:
            line.append(" and " if place == len(found) - 1 else ", ")
        line += part
    return tuple(line)


def sentence(value: str) -> Given:
    """Return a text from outside for the end of a sentence of ours, without its own full stop."""
    return Given(value.strip().rstrip("."))
