"""The tuning splits as a search sees them: gold of certify and test is not there, and nobody judges what it learned from.

Two of the four gold splits are for tuning. ``examples`` is only learned from: prompts show its items, text classifiers
are trained on them, and the instruction writer reads the base's mistakes on them. ``calibration`` is what candidates
are judged on, by two-fold cross-fitting: a calibrator fitted on one half of a round's items answers the other half, and
the other way round. So every item judges, no item is judged by what was fitted on it, and no model call is made twice.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from agents.run.workload import MixedGold, Sources
from labelproof.spec.errors import ConfigError
from labelproof.spec.hashing import digest_parts
from labelproof.spec.items import Item
from labelproof.spec.project import ProjectFolder
from labelproof.store.interchange import GoldRow, GoldSet

LEARN = "examples"
JUDGE = "calibration"
FOLDS = 2
LEAST_GOLD = 16
"""Judged items below which a search says nothing."""


@dataclass(frozen=True, slots=True)
class Drafts(ProjectFolder):
    """A project whose prompts are drafts in another folder; everything else is read from the project itself."""

    origin: ProjectFolder

    def read(self, relative: str) -> str:
        """Return the text of a file of the project."""
        return self.origin.read(relative)


@contextmanager
def drafts(folder: ProjectFolder) -> Iterator[Drafts]:
    """Make a place for prompts that may not survive, with the project's own beside them; gone at the end."""
    with tempfile.TemporaryDirectory(prefix="labelproof-search-") as place:
        prompts = Path(place) / "prompts"
        prompts.mkdir()
        for path in sorted((folder.folder / "prompts").glob("*.md")):
            (prompts / path.name).write_bytes(path.read_bytes())
        yield Drafts(Path(place), folder.spec, folder)


def tuning_gold(gold: GoldSet, fit: frozenset[str]) -> MixedGold:
    """Return only what a strategy may learn from in one fold: the examples, and the calibration items ``fit``."""
    rows = tuple(
        row for row in gold.rows if row.split == LEARN or (row.split == JUDGE and row.item_id in fit)
    )
    known = {row.item_id for row in rows}
    return MixedGold(
        name=gold.name,
        rows=rows,
        items=tuple(item for item in gold.items if item.id in known),
        errors=gold.errors,
        n_rows=len(rows),
        n_duplicates=0,
    )


def learning_from(sources: Sources, folder: ProjectFolder, fit: frozenset[str] = frozenset()) -> Sources:
    """Return sources whose gold is ``tuning_gold``, with prompts of ``folder``."""
    assert sources.gold is not None
    return replace(sources, folder=folder, gold=tuning_gold(sources.gold, fit))


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """The items candidates are judged on, in an order whose every beginning is a fair sample.

    ``items``, ``labels`` (gold), ``weights`` (1 / inclusion probability, mean 1) and ``folds`` go together.
    """

    items: tuple[Item, ...]
    labels: tuple[str, ...]
    weights: tuple[float, ...]
    folds: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.items)


def judged_items(sources: Sources, seed: int) -> Judged:
    """Return the calibration split, ordered by a hash within each label and the labels spread evenly.

    Every beginning then holds about the share of each label that the whole has, and both folds do. Items whose text
    is unknown are left out. ``ConfigError`` with fewer than ``LEAST_GOLD`` of them.
    """
    rows = sources.gold.split(JUDGE) if sources.gold else ()
    found = ordered(sources, rows, seed)
    if len(found) < LEAST_GOLD:
        raise ConfigError(
            f"a search judges candidates on the gold split `{JUDGE}`, which holds {len(found)} items; "
            f"expected at least {LEAST_GOLD}",
            key="gold",
            hint="add gold with `labelproof gold sample`, or give the split more of it (gold.fractions)",
        )
    labels = sorted(
        {row.label for row, _, _ in found}
    )  # rare labels take turns, or one fold would get all of them
    mean = sum(_weight(row) for row, _, _ in found) / len(found)
    return Judged(
        items=tuple(item for _, item, _ in found),
        labels=tuple(row.label for row, _, _ in found),
        weights=tuple(_weight(row) / mean for row, _, _ in found),
        folds=tuple((rank + labels.index(row.label)) % FOLDS for row, _, rank in found),
    )


def ordered(sources: Sources, rows: Sequence[GoldRow], seed: int) -> list[tuple[GoldRow, Item, int]]:
    """Return rows with their items and their rank within their label, labels spread evenly; unknown texts left out."""
    items: Mapping[str, Item] = {
        item.id: item for item in (*sources.read.items, *(sources.gold.items if sources.gold else ()))
    }
    by_label: dict[str, list[GoldRow]] = {}
    for row in sorted(rows, key=lambda row: digest_parts("search", str(seed), row.item_id)):
        if row.item_id in items:
            by_label.setdefault(row.label, []).append(row)
    placed = [
        ((rank + 0.5) / len(own), digest_parts("search", str(seed), row.item_id), row, rank)
        for own in by_label.values()
        for rank, row in enumerate(own)
    ]
    placed.sort(key=lambda one: one[:2])
    return [(row, items[row.item_id], rank) for _, _, row, rank in placed]


def _weight(row: GoldRow) -> float:
    return 1.0 if row.inclusion_prob is None else 1.0 / row.inclusion_prob
