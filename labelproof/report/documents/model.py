"""What a report is made of: numbers with their query, sentences that name them, tables, pictures."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any, Literal

from labelproof.report.plots import Plot

Unit = Literal[
    "count", "share", "points", "usd", "usd_change", "ms", "ms_change", "hours", "days", "seconds", "number"
]
"""share: 0 to 1, shown in per cent; points: a difference of shares; number: as it is, two decimals."""
Kind = Literal["weekly", "experiment", "model-card", "data-card"]
KINDS: tuple[Kind, ...] = ("weekly", "experiment", "model-card", "data-card")
Form = Literal["value", "interval", "ends", "n", "both"]
Tone = Literal["plain", "good", "bad", "open"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Number:
    """One number of a report. ``sql`` gives one row whose columns `value` and `n` are these very numbers.

    ``low``/``high``: ends of the 95 % interval, None for what is counted and not estimated; ``method`` says how they
    were computed. ``value`` None: not measurable, and ``reason`` says why. ``query``: key of the shared query that the
    number is a cell of, in ``Document.queries``.
    """

    name: str
    label: str
    value: float | None
    low: float | None = None
    high: float | None = None
    n: int | None = None
    unit: Unit = "count"
    sql: str = ""
    method: str = ""
    reason: str = ""
    query: str | None = None

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Ref:
    """A number inside a sentence or a cell, by its name. ends: of the interval; both: the value and the ends."""

    name: str
    form: Form = "value"


@dataclass(frozen=True, slots=True)
class Given:
    """What was not measured: a name, a date, a promise, a version; it comes from outside and is escaped."""

    text: str
    code: bool = False


@dataclass(frozen=True, slots=True)
class State:
    """A word that says how something stands, with its tone; never by colour alone."""

    text: str
    tone: Tone = "plain"
    sign: bool = True
    """Whether a sign of its tone (✓ ✕ …) stands before it."""


Fragment = str | Ref | Given | State
Line = tuple[Fragment, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Paragraph:
    """One sentence or some; ``strong``: what the reader should take along."""

    line: Line
    strong: bool = False
    small: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Bullets:
    """A list."""

    lines: Sequence[Line]


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A table; ``right``: which columns hold numbers. ``empty`` stands there when there are no rows."""

    head: Sequence[str]
    rows: Sequence[Sequence[Line]]
    right: frozenset[int] = frozenset()
    empty: str = "None."
    folded: str | None = None
    """Title of the fold that hides it, such as "The numbers"."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """A drawing of numbers; ``caption`` holds what it shows without a figure, ``slide`` the number a slide leads with."""

    name: str
    plot: Plot
    caption: Line
    table: Table
    slide_title: str
    slide_number: Line
    slide_note: Line = ()


Block = Paragraph | Bullets | Table | Picture


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """A heading with its blocks; ``new_page``: it begins a page when printed."""

    key: str
    title: str
    blocks: Sequence[Block]
    new_page: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Tile:
    """A number shown large in the report's head."""

    label: str
    line: Line
    detail: Line = ()
    tone: Tone = "plain"


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """A report before it is drawn: everything that its page, its Markdown and its slides say."""

    kind: Kind
    project: str
    title: str
    subtitle: Line
    headline: Line
    tone: Tone
    tiles: Sequence[Tile]
    sections: Sequence[Section]
    numbers: Mapping[str, Number]
    queries: Mapping[str, str]
    command: str
    """The command that makes this report again."""
    now: datetime
    period_from: datetime | None = None
    period_to: datetime | None = None
    ref: str | None = None
    stem: str = ""
    """Name of its files, without ending."""
    exit_code: int = 0
    not_met: tuple[str, ...] = ()
    """Targets that are not met."""

    def pictures(self) -> Iterator[Picture]:
        for section in self.sections:
            yield from (block for block in section.blocks if isinstance(block, Picture))


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """A finished report. ``numbers``: name → :class:`Number`; page, Markdown and slides show these and no others."""

    kind: Kind
    project: str
    title: str
    headline: str
    """Its first line, as plain text."""
    html: str
    markdown: str
    pngs: Mapping[str, bytes] = field(repr=False)
    """Slides of 1920 x 1080 pixels by name; empty unless asked for."""
    numbers: Mapping[str, Number]
    queries: Mapping[str, str]
    period_from: datetime | None
    period_to: datetime | None
    ref: str | None
    """Strategy version or comparison it is about."""
    stem: str
    exit_code: int
    """1: a promise is not met (weekly)."""
    not_met: tuple[str, ...]
    """Targets that are not met, by metric."""
    now: datetime

    def to_json(self) -> dict[str, Any]:
        """Return everything but the drawings as JSON values."""
        return {
            "kind": self.kind,
            "project": self.project,
            "title": self.title,
            "headline": self.headline,
            "period_from": None if self.period_from is None else self.period_from.isoformat(),
            "period_to": None if self.period_to is None else self.period_to.isoformat(),
            "ref": self.ref,
            "numbers": {name: number.to_json() for name, number in self.numbers.items()},
            "queries": dict(self.queries),
            "made_at": self.now.isoformat(),
            "exit_code": self.exit_code,
            "not_met": list(self.not_met),
        }


def refs_of(blocks: Sequence[Block]) -> list[str]:
    """Return the names of the numbers that blocks show, each once, in order."""
    found: dict[str, None] = {}
    for block in blocks:
        for line in _lines(block):
            found.update({part.name: None for part in line if isinstance(part, Ref)})
    return list(found)


def _lines(block: Block) -> Iterator[Line]:
    if isinstance(block, Paragraph):
        yield block.line
    elif isinstance(block, Bullets):
        yield from block.lines
    elif isinstance(block, Table):
        for row in block.rows:
            yield from row
    else:
        yield block.caption
        yield block.slide_number
        yield block.slide_note
        yield from _lines(block.table)
