"""A project read from disk with one of its strategies: everything a run depends on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from agents.resolve import GoldExample, ResolvedStrategy, resolve
from evaluation.splits import assign_split
from labelproof.spec.errors import ConfigError
from labelproof.spec.hashing import digest
from labelproof.spec.items import Item
from labelproof.spec.project import ProjectFolder, find_project
from labelproof.spec.strategy import Strategy
from labelproof.store.interchange import GoldSet, ReadReport, read_gold, read_items


@dataclass(frozen=True, kw_only=True)
class MixedGold(GoldSet):
    """Today's gold with the examples and calibration rows that a stored strategy rests on.

    No file says it as a whole, so it is never stored as a version of the gold.
    """


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """A project read from disk: everything a run depends on, before any model is opened."""

    folder: ProjectFolder
    strategy: Strategy
    resolved: ResolvedStrategy
    items: Sequence[Item]
    gold: GoldSet | None
    read: ReadReport
    project_fp: str

    @property
    def gold_labels(self) -> dict[str, dict[str, str]]:
        """Return split → item id → label."""
        found: dict[str, dict[str, str]] = {}
        for row in self.gold.rows if self.gold else ():
            found.setdefault(row.split, {})[row.item_id] = row.label
        return found

    def gold_items(self, split: str) -> list[Item]:
        """Return the items of a split, in a fixed order; gold rows whose text is unknown are left out."""
        wanted = self.gold_labels.get(split, {})
        by_id = {item.id: item for item in (*self.read.items, *(self.gold.items if self.gold else ()))}
        return [by_id[item_id] for item_id in sorted(wanted) if item_id in by_id]

    @property
    def gold_only_items(self) -> list[Item]:
        """Return items of the source that only the gold splits need, when a limit leaves them out."""
        chosen = {item.id for item in self.items}
        wanted = {row.item_id for row in self.gold.rows} if self.gold else set()
        return [item for item in self.read.items if item.id in wanted and item.id not in chosen]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """What all strategies of a project share: its folder, items and gold."""

    folder: ProjectFolder
    read: ReadReport
    gold: GoldSet | None

    def split(self, name: str) -> list[GoldExample]:
        """Return the gold rows of a split, as strategies depend on them."""
        rows = self.gold.split(name) if self.gold else ()
        return [GoldExample(item_id=row.item_id, label=row.label) for row in rows]

    def workload(self, strategy: Strategy, *, limit: int | None = None) -> Workload:
        """Return ``strategy`` resolved against these sources; ``ConfigError`` says what to fix."""
        resolved = resolve(
            self.folder,
            strategy,
            examples=self.split("examples"),
            calibration=self.split("calibration"),
        )
        items = self.read.items if limit is None else self.read.items[:limit]
        if not items:
            raise ConfigError("the project's source holds no usable item", path=self.folder.folder)
        return Workload(
            folder=self.folder,
            strategy=strategy,
            resolved=resolved,
            items=items,
            gold=self.gold,
            read=self.read,
            project_fp=project_fingerprint(self.folder),
        )


def load_workload(
    project: str, strategy: str | None, *, limit: int | None = None, root: Path | None = None
) -> Workload:
    """Return everything read and checked; ``ConfigError`` says what to fix."""
    folder = find_project(project, root=root)
    chosen = folder.strategy(strategy or folder.spec.default_strategy)
    return read_sources(folder).workload(chosen, limit=limit)


def read_sources(folder: ProjectFolder) -> Sources:
    """Return a project's items and gold, read and checked."""
    read = read_items(folder.spec.items, folder.folder)
    gold = None
    if folder.spec.gold is not None:
        gold = read_gold(
            folder.spec.gold, folder.folder, read.item_ids, folder.spec.labels, assign=assign_split
        )
    return Sources(folder=folder, read=read, gold=gold)


def project_fingerprint(folder: ProjectFolder) -> str:
    """Return the hash of what a project says; how it reviews, judges and watches decides no label and is left out."""
    spec = folder.spec.model_dump(mode="json", exclude={"review", "experiments", "monitoring"})
    return digest(
        {
            # Once inside the hash: kept as empty, so that versions without them keep their fingerprint.
            "project": {**spec, "targets": [], "contacts": []},
            "guideline": folder.guideline(),
            "guideline_short": folder.guideline_short(),
        }
    )
