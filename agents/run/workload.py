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


def load_workload(
    project: str, strategy: str | None, *, limit: int | None = None, root: Path | None = None
) -> Workload:
    """Return everything read and checked; ``ConfigError`` says what to fix."""
    folder = find_project(project, root=root)
    chosen = folder.strategy(strategy or folder.spec.default_strategy)
    read = read_items(folder.spec.items, folder.folder)
    gold = None
    if folder.spec.gold is not None:
        gold = read_gold(
            folder.spec.gold, folder.folder, read.item_ids, folder.spec.labels, assign=assign_split
        )
    by_split: dict[str, list[GoldExample]] = {}
    for row in gold.rows if gold else ():
        by_split.setdefault(row.split, []).append(GoldExample(item_id=row.item_id, label=row.label))
    resolved = resolve(
        folder,
        chosen,
        examples=by_split.get("examples", ()),
        calibration=by_split.get("calibration", ()),
    )
    items = read.items if limit is None else read.items[:limit]
    if not items:
        raise ConfigError("the project's source holds no usable item", path=folder.folder)
    return Workload(
        folder=folder,
        strategy=chosen,
        resolved=resolved,
        items=items,
        gold=gold,
        read=read,
        project_fp=digest(
            {
                "project": folder.spec.model_dump(
                    mode="json", exclude={"review", "experiments"}
                ),  # decides no label
                "guideline": folder.guideline(),
                "guideline_short": folder.guideline_short(),
            }
        ),
    )
