"""Gold sets: human labels checked against the schema, joined to items, divided into splits."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cached_property
from pathlib import Path
from typing import Any, get_args

from labelproof.spec.hashing import PREFIX, digest
from labelproof.spec.items import Item
from labelproof.spec.labels import LabelSchema
from labelproof.spec.project import SPLITS, Design, GoldSpec
from labelproof.store.interchange.items import RowError, row_error, text_problem
from labelproof.store.interchange.rows import RawRow, iter_rows
from labelproof.store.interchange.sources import public_name

Assign = Callable[[str, Mapping[str, float], int], str]
"""(item id, split -> fraction, seed) -> split; ``evaluation.splits.assign_split``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GoldRow:
    """One human label. ``inclusion_prob`` in (0, 1], None where the design needs none."""

    item_id: str
    external_id: str
    label: str
    split: str
    design: str
    inclusion_prob: float | None
    sample_id: str | None = None


@dataclass(frozen=True, kw_only=True)
class GoldSet:
    """A checked gold set, one row an item. ``items``: those whose text came with the gold file;
    ``n_duplicates``: rows that repeat another row's item, label and split.
    """

    name: str
    rows: tuple[GoldRow, ...]
    items: tuple[Item, ...]
    errors: tuple[RowError, ...]
    n_rows: int
    n_duplicates: int

    @cached_property
    def fingerprint(self) -> str:
        """Return the hash of what the gold says: item ids, labels, splits, inclusion probabilities."""
        return digest(sorted([r.item_id, r.label, r.split, r.inclusion_prob] for r in self.rows))

    def split_fingerprint(self, name: str) -> str:
        """Return the hash of one split: its item ids and labels."""
        return digest(sorted([row.item_id, row.label] for row in self.split(name)))

    def split(self, name: str) -> tuple[GoldRow, ...]:
        """Return the rows of one split, in file order."""
        return tuple(row for row in self.rows if row.split == name)


def read_gold(
    gold: GoldSpec,
    folder: Path,
    items: Mapping[str, str],
    schema: LabelSchema,
    *,
    assign: Assign,
) -> GoldSet:
    """Return the gold set of a project with every row that could not be used among its errors.

    ``items``: external id -> item id (``ReadReport.item_ids``), which rows without their own text are
    joined to. An item whose rows disagree on the label or the split is left out whole: which of them
    is right is not ours to guess, and an item in two splits would leak from one to the other.
    """
    required = [gold.text_column or gold.id_column, gold.label_column]
    optional = (gold.split_column, gold.inclusion_prob_column, gold.design_column, gold.sample_column)
    required += [column for column in optional if column is not None]
    known = frozenset(items.values())
    readings: dict[str, list[tuple[RawRow, GoldRow, Item | None]]] = {}
    errors: list[RowError] = []
    n_rows = 0
    for row in iter_rows(
        path=gold.path,
        query=None,
        declared_format="auto",
        folder=folder,
        required=required,
    ):
        n_rows += 1
        made = _reading(row, gold, items, known, schema, assign)
        if isinstance(made, str):
            errors.append(row_error(row, made))
        else:
            readings.setdefault(made[0].item_id, []).append((row, *made))
    rows: list[GoldRow] = []
    own: list[Item] = []
    n_duplicates = 0
    for found in readings.values():
        conflict = _conflict([reading for _, reading, _ in found])
        if conflict is not None:
            errors.extend(row_error(row, conflict) for row, _, _ in found)
            continue
        _, reading, item = found[0]
        rows.append(reading)
        n_duplicates += len(found) - 1
        if item is not None:
            own.append(item)
    return GoldSet(
        name=Path(public_name(gold.path)).name.partition(".")[0],
        rows=tuple(rows),
        items=tuple(own),
        errors=tuple(sorted(errors, key=lambda error: (error.source, error.line))),
        n_rows=n_rows,
        n_duplicates=n_duplicates,
    )


def _reading(
    row: RawRow,
    gold: GoldSpec,
    items: Mapping[str, str],
    known: frozenset[str],
    schema: LabelSchema,
    assign: Assign,
) -> tuple[GoldRow, Item | None] | str:
    """Return what a row says, with its own item if it brings a text, or why it cannot be used."""
    values = row.values
    if values is None:
        return row.problem or "unreadable row"
    identity = _identity(values, gold, items, known)
    if isinstance(identity, str):
        return identity
    item_id, external_id, item = identity
    given = values.get(gold.label_column)
    if not isinstance(given, str | list | None):
        return f"label must be a string or a list of strings, found {given!r}"[:200]
    try:
        label = _label(given, gold.label_column, schema)
    except ValueError as error:
        return str(error)
    if gold.split_column is None:
        split = assign(item_id, gold.fractions.model_dump(), gold.seed)
    else:
        split = str(values.get(gold.split_column))
        if split not in SPLITS:
            return f"split in {gold.split_column!r} must be one of {', '.join(SPLITS)}; found {split!r}"
    drawn = _drawn(values, gold)
    if isinstance(drawn, str):
        return drawn
    design, prob, sample_id = drawn
    reading = GoldRow(
        item_id=item_id,
        external_id=external_id,
        label=label,
        split=split,
        design=design,
        inclusion_prob=prob,
        sample_id=sample_id,
    )
    return reading, item


def _drawn(values: Mapping[str, Any], gold: GoldSpec) -> tuple[str, float | None, str | None] | str:
    """Return how the item was drawn (design, inclusion probability, draw), or what is wrong with it."""
    own = values.get(gold.design_column) if gold.design_column else None
    design = str(own) if own not in (None, "") else gold.design
    if design not in get_args(Design):
        return f"{gold.design_column!r} must be one of {', '.join(get_args(Design))}; found {design!r}"
    prob = None
    if gold.inclusion_prob_column is not None:
        given = values.get(gold.inclusion_prob_column)
        prob = _probability(given)
        if prob is None and (design != "simple_random" or given not in (None, "")):
            return f"{gold.inclusion_prob_column!r} must be a probability above 0, at most 1; found {given!r}"
    if prob is None and design != "simple_random":
        return f"design {design} needs the item's inclusion probability"
    sample = values.get(gold.sample_column) if gold.sample_column else None
    return design, prob, str(sample) if sample not in (None, "") else None


def _identity(
    values: Mapping[str, Any],
    gold: GoldSpec,
    items: Mapping[str, str],
    known: frozenset[str],
) -> tuple[str, str, Item | None] | str:
    given = values.get(gold.id_column)
    external = str(given) if isinstance(given, str | int) and given != "" else None
    joined = items.get(external) if external is not None else None
    if gold.text_column is not None:
        text: Any = values.get(gold.text_column)
        problem = text_problem(text, gold.text_column, values)
        if problem is not None:
            return problem
        item = Item.of(text, external_id=external)
        if joined is not None and joined != item.id:
            return f"text differs from that of item {external!r} in the items"
        return item.id, item.external_id, item
    if external is None:
        return f"no id in {gold.id_column!r}"
    if joined is None and external.startswith(PREFIX) and external in known:
        joined = external
    if joined is None:
        return f"id {external[:80]!r} is not among the items"
    return joined, external, None


def _label(value: str | list[Any] | None, column: str, schema: LabelSchema) -> str:
    """Return the canonical label; ``ValueError`` names the closest one."""
    if value is None or (value == "" and schema.kind != "multi"):
        raise ValueError(f"no label in {column!r}")
    try:
        return schema.canonical(value)
    except ValueError as error:
        for name in value if isinstance(value, list) else (value, *value.split("+")):
            close = get_close_matches(str(name), schema.leaves, n=1, cutoff=0.5)
            if close and close[0] != name:
                raise ValueError(f"{error}; closest: {close[0]!r}") from error
        raise


def _probability(value: Any) -> float | None:
    try:
        prob = float(value)
    except (TypeError, ValueError):
        return None
    return prob if 0 < prob <= 1 else None


def _conflict(readings: list[GoldRow]) -> str | None:
    for what in ("label", "split", "inclusion_prob"):
        found = {str(getattr(reading, what)) for reading in readings}
        if len(found) > 1:
            ids = sorted({reading.external_id for reading in readings})
            same = f"item {ids[0]!r}" if len(ids) == 1 else f"the same content ({', '.join(ids[:3])})"
            return f"{same} has more than one {what}: {', '.join(sorted(found))}; none is used"
    return None
