"""What one row of a vote file says: votes, counts of votes, or why it cannot be used (``ValueError``)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, Literal, cast

from labelproof.spec.labels import LabelSchema
from labelproof.store.interchange.rows import RawRow

VoteForm = Literal["auto", "long", "wide", "votes", "counts"]
Answer = Literal["label", "skip", "flag", "unclear"]
ANSWERS: tuple[Answer, ...] = ("label", "skip", "flag", "unclear")
ITEM_COLUMNS = ("item", "item_id", "external_id", "id")
NOT_ANNOTATORS = ("text", "note", "split", "label", "meta", "slice", "language")
"""Columns of a wide table that are no annotator's unless ``annotators`` names them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VoteRow:
    """One answer. ``label`` is None unless ``answer`` is "label"; ``seconds`` is the time it took, if known."""

    item: str
    annotator: str
    answer: Answer
    label: str | None
    seconds: float | None
    note: str | None
    line: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CountRow:
    """How many votes each label got on an item; who voted is not known."""

    item: str
    counts: Mapping[str, int]
    line: int


@dataclass(frozen=True, slots=True, kw_only=True)
class VoteReader:
    """What a row is checked against."""

    item_column: str
    annotator_column: str
    label_column: str
    annotators: Sequence[str] | None
    schema: LabelSchema | None
    allowed: tuple[str, ...]
    items: Mapping[str, str] | None

    def item(self, values: Mapping[str, Any]) -> str:
        given = values.get(self.item_column)
        if not isinstance(given, str | int) or isinstance(given, bool) or given == "":
            raise ValueError(f"no item in {self.item_column!r}")
        if self.items is None:
            return str(given)
        known = self.items.get(str(given))
        if known is None and str(given) in self.items.values():
            known = str(given)
        if known is None:
            raise ValueError(f"item {str(given)[:80]!r} is not among the project's items")
        return known

    def label(self, given: Any) -> str:
        """The label in canonical spelling; numbers are written as text, 1.0 as "1"."""
        if isinstance(given, float) and given.is_integer():
            given = int(given)
        if isinstance(given, list) and self.schema is None:
            given = "+".join(sorted({str(name) for name in given})) or "none"
        if isinstance(given, bool) or not isinstance(given, str | int | float | list):
            raise ValueError(f"a label must be text, a number or a list of names; found {given!r}"[:200])  # noqa: TRY004  # a row's error
        if self.schema is not None:
            return self.schema.canonical(given if isinstance(given, list) else str(given))
        text = str(given).strip()
        if not text:
            raise ValueError("the label is empty")
        if self.allowed and text not in self.allowed:
            close = get_close_matches(text, self.allowed, n=1, cutoff=0.5)
            meant = f"; closest: {close[0]!r}" if close else ""
            raise ValueError(f"label {text[:80]!r} is not one of {', '.join(self.allowed[:12])}{meant}")
        return text

    def voters(self, values: Mapping[str, Any]) -> list[str]:
        """The annotators' columns of a wide row."""
        if self.annotators is not None:
            return list(self.annotators)
        skipped = {self.item_column, *ITEM_COLUMNS, *NOT_ANNOTATORS}
        return [name for name in values if name not in skipped]


def answers_of(row: RawRow, item: str, reader: VoteReader, form: VoteForm) -> tuple[list[VoteRow], list[str]]:
    """The votes of one row, and what is wrong with the rest of it."""
    values = row.values or {}
    if form == "long":
        return [_long(values, item, reader, row.line)], []
    if form == "votes":
        given = values.get("votes")
        if not isinstance(given, dict):
            raise ValueError(f'"votes" must map annotators to labels; found {given!r}'[:200])
    else:
        given = {name: values.get(name) for name in reader.voters(values)}
    made, problems = [], []
    for annotator, label in given.items():
        if label is None or label == "":
            continue
        try:
            text = reader.label(label)
        except ValueError as error:
            problems.append(f"{annotator}: {error}")
            continue
        made.append(
            VoteRow(
                item=item,
                annotator=str(annotator),
                answer="label",
                label=text,
                seconds=None,
                note=None,
                line=row.line,
            )
        )
    return made, problems


def _long(values: Mapping[str, Any], item: str, reader: VoteReader, line: int) -> VoteRow:
    annotator = values.get(reader.annotator_column)
    if not isinstance(annotator, str | int) or annotator == "":
        raise ValueError(f"no annotator in {reader.annotator_column!r}")
    answer = values.get("answer") or "label"
    if answer not in ANSWERS:
        raise ValueError(f"answer must be one of {', '.join(ANSWERS)}; found {answer!r}")
    given = values.get(reader.label_column)
    if answer == "label" and (given is None or given == ""):
        raise ValueError(f"no label in {reader.label_column!r}")
    note = values.get("note")
    return VoteRow(
        item=item,
        annotator=str(annotator),
        answer=cast(Answer, answer),
        label=reader.label(given) if answer == "label" else None,
        seconds=_seconds(values.get("seconds")),
        note=str(note) if note not in (None, "") else None,
        line=line,
    )


def _seconds(given: Any) -> float | None:
    if given is None or given == "":
        return None
    try:
        seconds = float(given)
    except (TypeError, ValueError):
        seconds = -1.0
    if not 0 <= seconds < float("inf"):
        raise ValueError(f"seconds must be a number from 0; found {given!r}")
    return seconds


def counts_of(values: Mapping[str, Any], reader: VoteReader) -> dict[str, int]:
    given = values.get("votes")
    if not isinstance(given, dict):
        raise ValueError(f'"votes" must map labels to how many voted so; found {given!r}'[:200])  # noqa: TRY004  # a row's error
    counts: Counter[str] = Counter()
    for label, number in given.items():
        if isinstance(number, bool) or not isinstance(number, int | float) or number < 0 or number % 1:
            raise ValueError(f"votes for {label!r} must be a whole number from 0; found {number!r}")
        counts[reader.label(label)] += int(number)
    return dict(counts)
