"""Items as people name them, on the command line or in a file: looked up, or refused by name."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson

from labelproof.spec.errors import ConfigError
from labelproof.store import TraceStore

MOST_ITEMS = 500
_IDS = ("item_id", "id", "external_id")
_RIGHT = ("right", "right_label", "gold", "gold_label")
KNOWN = """SELECT item_id, external_id FROM items
WHERE project = $project AND (item_id IN (SELECT unnest($names)) OR external_id IN (SELECT unnest($names)))
GROUP BY item_id, external_id
"""


def items_of(store: TraceStore, project: str, given: str) -> list[dict[str, str]]:
    """Return `item_id` and, where a file says it, the `right` label of the items that ``given`` names.

    ``given``: ids (the store's or the source's) with commas between them, or a file: one id a line, or .csv / .jsonl with a
    column `item_id`, `id` or `external_id` and perhaps `right`. ``ConfigError`` names the first that the store does not know.
    """
    path = Path(given)
    rows = _read(path) if "," not in given and _is_file(path) else [{"id": one} for one in given.split(",")]
    named = [(_first(row, _IDS), _first(row, _RIGHT)) for row in rows]
    wanted = [(name, right) for name, right in named if name]
    if not wanted:
        raise ConfigError(f"no item is named by {given!r}", key="--items")
    if len(wanted) > MOST_ITEMS:
        raise ConfigError(
            f"a finding has at most {MOST_ITEMS} items, found {len(wanted)}",
            key="--items",
            hint="name the telling ones; --sql keeps the query that finds all",
        )
    known = _known(store, project, [name for name, _ in wanted])
    found = []
    for name, right in wanted:
        if name not in known:
            raise ConfigError(f"the store knows no item {name!r} of project {project!r}", key="--items")
        found.append({"item_id": known[name], **({"right": right} if right else {})})
    return found


def _known(store: TraceStore, project: str, names: Sequence[str]) -> dict[str, str]:
    rows = store.query(
        KNOWN, {"project": project, "names": list(names)}, fresh=True, only=("items",)
    ).to_pylist()
    by_name = {row["external_id"]: row["item_id"] for row in rows if row["external_id"]}
    return by_name | {row["item_id"]: row["item_id"] for row in rows}


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False  # too long for a name, or a NUL in it: no file


def _read(path: Path) -> list[Mapping[str, Any]]:
    try:
        text = path.read_text(encoding="utf-8-sig")
        if path.suffix == ".csv":
            return list(csv.DictReader(text.splitlines()))
        if path.suffix == ".jsonl":
            rows = [orjson.loads(line) for line in text.splitlines() if line.strip()]
            return [row for row in rows if isinstance(row, Mapping)]
    except (UnicodeDecodeError, csv.Error, orjson.JSONDecodeError) as error:
        raise ConfigError(f"cannot be read: {error}", path=path) from error
    return [{"id": line.strip()} for line in text.splitlines() if line.strip()]


def _first(row: Mapping[str, Any], names: Sequence[str]) -> str | None:
    found = next((row[name] for name in names if row.get(name)), None)
    return None if found is None else str(found).strip() or None
