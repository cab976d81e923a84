"""Votes of people from files: one row per vote, one column per annotator, or a mapping in each row.

Every row becomes votes, counts or errors with its line number; nothing is lost in silence.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, cast

from labelproof.spec.errors import ConfigError
from labelproof.spec.labels import LabelSchema
from labelproof.store.interchange._vote_rows import (
    ANSWERS,
    ITEM_COLUMNS,
    Answer,
    CountRow,
    VoteForm,
    VoteReader,
    VoteRow,
    answers_of,
    counts_of,
)
from labelproof.store.interchange.items import RowError, row_error
from labelproof.store.interchange.rows import RawRow, check_columns, iter_rows
from labelproof.store.interchange.sources import public_name


@dataclass(frozen=True, slots=True, kw_only=True)
class Votes:
    """A checked file. ``votes`` in file order, a later vote of an annotator on an item replacing the earlier
    one (``n_replaced``); ``counts`` instead when the file only counts votes. ``n_rows``: rows read, bad ones too.
    """

    name: str
    form: VoteForm
    votes: tuple[VoteRow, ...]
    counts: tuple[CountRow, ...]
    errors: tuple[RowError, ...]
    n_rows: int
    n_replaced: int

    @property
    def n_unanswered(self) -> int:
        """Answers that are no label: skipped, flagged, unclear."""
        return sum(vote.label is None for vote in self.votes)


def read_votes(
    path: str,
    *,
    folder: Path = Path(),
    declared_format: str = "auto",
    form: VoteForm = "auto",
    item_column: str | None = None,
    annotator_column: str = "annotator",
    label_column: str = "label",
    annotators: Sequence[str] | None = None,
    labels: LabelSchema | Sequence[str] | None = None,
    items: Mapping[str, str] | None = None,
) -> Votes:
    """Return the votes of a CSV, JSONL or Parquet file, with every row that could not be used among its errors.

    ``form``: ``long`` has a row per vote (item, annotator, label; optionally answer, seconds, note), ``wide`` a
    column per annotator (empty: no vote), ``votes`` a mapping annotator -> label in the column "votes",
    ``counts`` a mapping label -> number there; ``auto`` finds out from the first row, and refuses to guess what
    a mapping to whole numbers means unless ``labels`` tell. ``item_column``: default the first of item,
    item_id, external_id, id. ``labels``: a schema or closed list; without it any label counts. ``items``:
    external id -> item id to join to; an unknown one is the row's error. An empty file has no votes.
    """
    rows = iter_rows(path=path, query=None, declared_format=declared_format, folder=folder, required=())
    head: list[RawRow] = []
    for row in rows:
        head.append(row)
        if row.values is not None:
            break
    first = head[-1].values if head else None
    name = public_name(path)
    if first is None:
        errors = tuple(row_error(row, row.problem or "unreadable row") for row in head)
        return Votes(name=name, form=form, votes=(), counts=(), errors=errors, n_rows=len(head), n_replaced=0)
    column = item_column or _item_column(list(first), name)
    reader = _reader(column, annotator_column, label_column, annotators, labels, items)
    found = _form(first, reader) if form == "auto" else form
    if found == "long":
        check_columns(list(first), (reader.item_column, annotator_column, label_column), name)
    elif found == "wide":
        check_columns(list(first), reader.voters(first), name)
    return _read(chain(head, rows), reader, found, name)


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelFile:
    """A model's labels: item -> label, None where it gave none. Of an item named twice the later row counts."""

    name: str
    labels: Mapping[str, str | None]
    errors: tuple[RowError, ...]
    n_rows: int


def read_labels(
    path: str,
    *,
    folder: Path = Path(),
    item_column: str | None = None,
    label_column: str = "label",
    labels: LabelSchema | Sequence[str] | None = None,
    items: Mapping[str, str] | None = None,
) -> LabelFile:
    """Return one label per item from a CSV, JSONL or Parquet file; the arguments are those of ``read_votes``."""
    name = public_name(path)
    reader: VoteReader | None = None
    found: dict[str, str | None] = {}
    errors: list[RowError] = []
    n_rows = 0
    for row in iter_rows(path=path, query=None, declared_format="auto", folder=folder, required=()):
        n_rows += 1
        if row.values is None:
            errors.append(row_error(row, row.problem or "unreadable row"))
            continue
        if reader is None:
            columns = list(row.values)
            check_columns(columns, (label_column,), name)
            reader = _reader(
                item_column or _item_column(columns, name), "", label_column, None, labels, items
            )
        given = row.values.get(label_column)
        try:
            found[reader.item(row.values)] = None if given in (None, "") else reader.label(given)
        except ValueError as error:
            errors.append(row_error(row, str(error)))
    return LabelFile(name=name, labels=found, errors=tuple(errors), n_rows=n_rows)


def _reader(
    item_column: str,
    annotator_column: str,
    label_column: str,
    annotators: Sequence[str] | None,
    labels: LabelSchema | Sequence[str] | None,
    items: Mapping[str, str] | None,
) -> VoteReader:
    schema = labels if isinstance(labels, LabelSchema) else None
    return VoteReader(
        item_column=item_column,
        annotator_column=annotator_column,
        label_column=label_column,
        annotators=annotators,
        schema=schema,
        allowed=() if labels is None else schema.leaves if schema else tuple(cast(Sequence[str], labels)),
        items=items,
    )


def _item_column(columns: Sequence[str], name: str) -> str:
    for candidate in ITEM_COLUMNS:
        if candidate in columns:
            return candidate
    raise ConfigError(
        f"{name}: no column names the item: expected one of {', '.join(ITEM_COLUMNS)}; found: {', '.join(columns)}",
        hint="say which column it is: --item-column NAME",
    )


def _form(values: Mapping[str, Any], reader: VoteReader) -> VoteForm:
    """The form that the first row shows."""
    mapping = values.get("votes")
    if isinstance(mapping, dict):
        if any(isinstance(value, str | list) for value in mapping.values()):
            return "votes"
        if reader.allowed and all(str(key) in reader.allowed for key in mapping):
            return "counts"
        if reader.allowed and all(str(value) in reader.allowed for value in mapping.values()):
            return "votes"
        raise ConfigError(
            'the column "votes" maps names to numbers: expected to know whether that is annotator -> label or '
            f"label -> how many; found {dict(list(mapping.items())[:3])}",
            hint="say --form votes or --form counts",
        )
    return "long" if reader.annotator_column in values else "wide"


def _read(rows: Iterable[RawRow], reader: VoteReader, form: VoteForm, name: str) -> Votes:
    votes: dict[tuple[str, str], VoteRow] = {}
    counts: dict[str, CountRow] = {}
    errors: list[RowError] = []
    n_rows = n_replaced = 0
    for row in rows:
        n_rows += 1
        if row.values is None:
            errors.append(row_error(row, row.problem or "unreadable row"))
            continue
        try:
            item = reader.item(row.values)
            if form == "counts":
                n_replaced += item in counts
                counts[item] = CountRow(item=item, counts=counts_of(row.values, reader), line=row.line)
                continue
            made, problems = answers_of(row, item, reader, form)
        except ValueError as error:
            errors.append(row_error(row, str(error)))
            continue
        errors.extend(row_error(row, problem) for problem in problems)
        for vote in made:
            key = (vote.item, vote.annotator)
            n_replaced += votes.pop(key, None) is not None
            votes[key] = vote
    return Votes(
        name=name,
        form=form,
        votes=tuple(votes.values()),
        counts=tuple(counts.values()),
        errors=tuple(errors),
        n_rows=n_rows,
        n_replaced=n_replaced,
    )


__all__ = [
    "ANSWERS",
    "Answer",
    "CountRow",
    "LabelFile",
    "VoteForm",
    "VoteRow",
    "Votes",
    "read_labels",
    "read_votes",
]
