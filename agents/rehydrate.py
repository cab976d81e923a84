"""Strategy versions by name and fingerprint: the files where they still say it, else what the store remembers."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import orjson

from agents.rebuild import rebuild, shared
from agents.resolve import GoldExample, ResolvedStrategy, listed, verify_snapshot
from agents.run.workload import MixedGold, Sources, Workload, project_fingerprint, read_sources
from labelproof.spec.errors import ConfigError
from labelproof.spec.hashing import PREFIX, digest, short
from labelproof.spec.items import Item
from labelproof.spec.project import ProjectFolder, find_project
from labelproof.store import TraceStore
from labelproof.store.interchange import GoldRow, GoldSet

_DIGITS = re.compile(rf"(?:{PREFIX})?([0-9a-f]{{4,40}})")
_SHOWN = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredVersion:
    """A strategy version that the store remembers; ``name`` is the one it was first stored under."""

    name: str
    fp: str
    first_seen: datetime

    @property
    def ref(self) -> str:
        """How people write it: `champion@a91f3c`."""
        return f"{self.name}@{short(self.fp)}"


def rehydrate(snapshot: Mapping[str, Any], folder: ProjectFolder) -> ResolvedStrategy:
    """Return a stored snapshot as a strategy that can run; ``ConfigError`` names what cannot be rebuilt.

    Texts of examples and gold to calibrate on are no part of it: ``workload_from`` brings them along.
    """
    return rebuild(snapshot, folder).resolved


def stored_versions(store: TraceStore, project: str, digits: str = "") -> list[StoredVersion]:
    """Return the project's stored versions, newest first; ``digits``: those whose fingerprint begins so."""
    rows = store.query(
        "SELECT strategy_fp, arg_min(strategy, ts) AS strategy, min(ts) AS ts FROM strategies"
        " WHERE project = ? AND starts_with(strategy_fp, ?) GROUP BY strategy_fp ORDER BY ts DESC, strategy_fp",
        [project, PREFIX + digits],
        fresh=True,
    ).to_pylist()
    return [StoredVersion(name=row["strategy"], fp=row["strategy_fp"], first_seen=row["ts"]) for row in rows]


def workload_of(store: TraceStore, project: str, ref: str, *, root: Path | None = None) -> Workload:
    """Return the strategy version that ``ref`` means, ready to run; no model is opened.

    ``NAME`` (or a path to a .yaml): the file; without one the newest stored version of that name. ``NAME@DIGITS``,
    ``@DIGITS``, ``DIGITS``: the version whose fingerprint begins so (4 hexadecimal digits or more), from a file if one
    resolves to it, else as stored. ``ConfigError`` lists what there is when none or several fit.
    """
    folder = find_project(project, root=root)
    name, at, tail = ref.rpartition("@") if "@" in ref else (ref, "", "")
    is_file = name.endswith((".yaml", ".yml")) or name in folder.strategy_names()
    if is_file and not at:
        return read_sources(folder).workload(folder.strategy(name))
    wanted = _DIGITS.fullmatch((tail if at else name).lower())
    if at and wanted is None:
        raise ConfigError(
            f"strategy {ref!r}: expected at least 4 hexadecimal digits of a fingerprint behind the @, found {tail!r}",
            hint=_known(store, folder),
        )
    sources = read_sources(folder)
    if wanted is not None:
        found = _by_digits(store, sources, name if at else "", wanted[1], ref)
    else:
        found = _newest(store, sources, name)
    if found is None:
        raise ConfigError(f"no strategy {ref!r} in project {folder.name!r}", hint=_known(store, folder))
    return found


def workload_from(
    snapshot: Mapping[str, Any],
    sources: Sources | Workload,
    store: TraceStore,
    *,
    golds: Sequence[GoldSet] = (),
) -> Workload:
    """Return a snapshot, stored or composed, ready to run on the project's items.

    Its examples and calibration gold are those it was stored with: from the files where they still say so, else from
    ``golds`` or the store. An item that it learned from is in none of the other gold splits. ``ConfigError`` names
    what is lost.
    """
    rebuilt = rebuild(snapshot, sources.folder)
    return Workload(
        folder=rebuilt.folder,
        strategy=rebuilt.strategy,
        resolved=rebuilt.resolved,
        items=sources.read.items,
        gold=_gold(snapshot, sources, store, golds),
        read=sources.read,
        project_fp=project_fingerprint(rebuilt.folder),
    )


def _by_digits(store: TraceStore, sources: Sources, name: str, digits: str, ref: str) -> Workload | None:
    folder = sources.folder
    here = [name] if name in folder.strategy_names() else folder.strategy_names()
    files: dict[str, Workload] = {}
    for work in _readable(sources, here):
        if work.resolved.fingerprint.startswith(PREFIX + digits):
            files.setdefault(work.resolved.fingerprint, work)
    stored = {version.fp: version for version in stored_versions(store, folder.name, digits)}
    fps = sorted({*files, *stored})
    if len(fps) > 1:
        listed_fps = ", ".join(
            f"{fp} ({stored[fp].name if fp in stored else files[fp].strategy.name})" for fp in fps[:_SHOWN]
        )
        raise ConfigError(
            f"strategy {ref!r} begins {len(fps)} fingerprints: {listed_fps}", hint="write more of it"
        )
    if not fps:
        return None
    return files.get(fps[0]) or _stored(store, sources, fps[0], name or None)


def _newest(store: TraceStore, sources: Sources, name: str) -> Workload | None:
    mine = (
        version for version in stored_versions(store, sources.folder.name) if name and version.name == name
    )
    newest = next(mine, None)
    return None if newest is None else _stored(store, sources, newest.fp, None)


def _stored(store: TraceStore, sources: Sources, fp: str, name: str | None) -> Workload:
    (row,) = store.query(
        "SELECT spec_json FROM strategies WHERE strategy_fp = ? LIMIT 1", [fp], fresh=True
    ).to_pylist()
    snapshot = orjson.loads(row["spec_json"])
    verify_snapshot(snapshot, fp)
    return workload_from({**snapshot, "name": name or snapshot["name"]}, sources, store)


def _readable(sources: Sources, names: Iterable[str]) -> Iterable[Workload]:
    for name in names:
        try:
            yield sources.workload(sources.folder.strategy(name))
        except ConfigError:
            continue  # a file that cannot be resolved is not the version asked for


def _known(store: TraceStore, folder: ProjectFolder) -> str:
    versions = [version.ref for version in stored_versions(store, folder.name)]
    more = f" and {len(versions) - _SHOWN} more" if len(versions) > _SHOWN else ""
    shown = ", ".join(versions[:_SHOWN]) + more if versions else "none"
    return f"files: {', '.join(folder.strategy_names()) or 'none'}; stored versions, newest first: {shown}"


def _gold(
    snapshot: Mapping[str, Any], sources: Sources | Workload, store: TraceStore, golds: Sequence[GoldSet]
) -> GoldSet | None:
    """Return the gold with the examples and calibration rows of the snapshot; today's where they agree."""
    gold = sources.gold
    now = {name: _rows_of(gold, name) for name in ("examples", "calibration")}
    wanted: dict[str, Sequence[Sequence[str]]] = {}
    examples = shared(snapshot, "examples", None)
    if examples is not None and examples != now["examples"]:
        wanted["examples"] = examples
    calibration = shared(snapshot, "calibration", None)
    if calibration is not None and calibration["fingerprint"] != digest(now["calibration"]):
        known = (rows for rows in (_rows_of(gold, "calibration") for gold in golds) if _is(rows, calibration))
        found = next(known, None)
        wanted["calibration"] = found or _stored_calibration(store, sources.folder.name, calibration)
    if not wanted:
        return gold
    learned = {item_id for rows in wanted.values() for item_id, _ in rows}
    kept = [
        row for row in (gold.rows if gold else ()) if row.split not in wanted and row.item_id not in learned
    ]
    texts = _items(store, sources, golds, learned)
    rows = [
        GoldRow(
            item_id=item_id,
            external_id=texts[item_id].external_id,
            label=label,
            split=split,
            design="simple_random",
            inclusion_prob=None,
        )
        for split, pairs in wanted.items()
        for item_id, label in pairs
    ]
    return MixedGold(
        name=gold.name if gold else "stored",
        rows=(*kept, *rows),
        items=tuple({item.id: item for item in (*(gold.items if gold else ()), *texts.values())}.values()),
        errors=gold.errors if gold else (),
        n_rows=len(kept) + len(rows),
        n_duplicates=0,
    )


def _rows_of(gold: GoldSet | None, split: str) -> list[list[str]]:
    rows = gold.split(split) if gold else ()
    return listed([GoldExample(item_id=row.item_id, label=row.label) for row in rows])


def _stored_calibration(store: TraceStore, project: str, wanted: Mapping[str, Any]) -> list[list[str]]:
    """Return the calibration rows of the stored gold version whose hash is the wanted one."""
    if wanted["n"] == 0:
        return []
    rows = store.query(
        "SELECT gold_fp, item_id, label FROM current_gold WHERE project = ? AND split = 'calibration'",
        [project],
        fresh=True,
    ).to_pylist()
    versions: dict[str, list[list[str]]] = {}
    for row in rows:
        versions.setdefault(row["gold_fp"], []).append([row["item_id"], row["label"]])
    for pairs in versions.values():
        if _is(sorted(pairs), wanted):
            return sorted(pairs)
    raise ConfigError(
        f"the strategy was fitted on {wanted['n']} calibration items that neither the gold file nor one of the "
        f"{len(versions)} stored gold versions holds: calibration gold has changed since",
        hint="take the gold file of that time, or compare versions fitted on the same gold",
    )


def _is(rows: Sequence[Sequence[str]], wanted: Mapping[str, Any]) -> bool:
    return (len(rows), digest(rows)) == (wanted["n"], wanted["fingerprint"])


def _items(
    store: TraceStore, sources: Sources | Workload, golds: Sequence[GoldSet], ids: Iterable[str]
) -> dict[str, Item]:
    """Return the items of ``ids`` from the sources, else from the store; ``ConfigError`` if a text is lost."""
    brought = [item for gold in (*golds, sources.gold) if gold is not None for item in gold.items]
    own = {item.id: item for item in (*brought, *sources.read.items)}
    found = {item_id: own[item_id] for item_id in ids if item_id in own}
    missing = sorted(set(ids) - found.keys())
    if missing:
        marks = ", ".join("?" * len(missing))
        rows = store.query(
            "SELECT i.item_id, any_value(i.external_id) AS external_id, any_value(t.text) AS text FROM items i"
            f" JOIN text_by_hash t USING (text_hash) WHERE i.project = ? AND i.item_id IN ({marks}) GROUP BY 1",
            [sources.folder.name, *missing],
            fresh=True,
        ).to_pylist()
        found |= {
            row["item_id"]: Item(id=row["item_id"], external_id=row["external_id"], text=row["text"])
            for row in rows
        }
    lost = [item_id for item_id in missing if item_id not in found]
    if lost:
        raise ConfigError(
            f"the strategy rests on {len(lost)} gold items whose texts are neither in the source nor in the store, "
            f"such as {lost[0]}",
            hint="put them back into the project's items or gold file",
        )
    return found
