"""Which gold a comparison rests on: the project's own as it stands now, or a stored version by name."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from agents.resolve import GoldExample
from agents.run.register import gold_rows
from agents.run.workload import load_workload
from evaluation._arrays import FloatArray
from labelproof.report.compare.keys import FIRST_SALT, ItemKeys
from labelproof.spec.errors import ConfigError
from labelproof.spec.hashing import PREFIX, digest, short
from labelproof.spec.project import ProjectFolder
from labelproof.store import TraceStore

LEARNED = ("examples", "calibration")
NO_GOLD = "none"
_VERSIONS = """
SELECT gold_fp, max(ts) AS ts, list(DISTINCT split ORDER BY split) AS splits FROM gold
WHERE project = ? GROUP BY gold_fp ORDER BY ts DESC, gold_fp
"""
# A version is stored in one piece: rows of one time. Two processes may have stored it twice.
_LATEST = "ts IS NOT DISTINCT FROM (SELECT max(ts) FROM gold WHERE project = $project AND gold_fp = $gold_fp)"
_ROWS = f"""
SELECT hash(item_id, $salt) AS h, item_id, label, inclusion_prob, design FROM gold
WHERE project = $project AND gold_fp = $gold_fp AND split = $split AND {_LATEST}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class GoldItems:
    """The gold items of one split, in the store's order. ``weight``: 1 / inclusion probability, None: all count alike."""

    gold_fp: str
    split: str
    item_ids: pa.Array
    keys: ItemKeys
    """No two alike."""
    labels: pa.Array
    weight: FloatArray | None
    designs: tuple[str, ...]

    @property
    def name(self) -> str:
        return f"{self.split}@{short(self.gold_fp)}"

    def split_fingerprint(self) -> str:
        """Return ``GoldSet.split_fingerprint`` of these rows."""
        rows = zip(self.item_ids.to_pylist(), self.labels.to_pylist(), strict=True)
        return digest(sorted([item_id, label] for item_id, label in rows))


def current_gold_fp(store: TraceStore, folder: ProjectFolder, *, now: datetime) -> str | None:
    """Return the version of the project's gold as it stands now; None when it has none.

    The file is read (and its version stored) only when it is newer than what the store knows.
    """
    stored = _stored(store, folder.name)
    spec = folder.spec.gold
    path = Path(folder.folder / spec.path) if spec is not None else None
    if path is not None and path.is_file():
        changed = datetime.fromtimestamp(path.stat().st_mtime, UTC)
        if not stored or stored[0][1] is None or changed >= stored[0][1]:
            work = load_workload(str(folder.folder), None)
            if work.gold is not None and work.gold.rows:
                rows = gold_rows(store, folder.name, work, now)
                if rows:
                    store.append_many(rows)
                return work.gold.fingerprint
    return stored[0][0] if stored else None


def find_gold(store: TraceStore, folder: ProjectFolder, wanted: str, *, now: datetime) -> str:
    """Return the one stored gold version of the project whose fingerprint begins with ``wanted``."""
    current_gold_fp(store, folder, now=now)
    digits = wanted.removeprefix(PREFIX).lower()
    known = [fp for fp, _, _ in _stored(store, folder.name)]
    found = [fp for fp in known if fp.removeprefix(PREFIX).startswith(digits)] if digits else []
    if len(found) == 1:
        return found[0]
    listed = ", ".join(short(fp) for fp in (found or known)[:8]) or "none"
    what = f"{len(found)} gold versions begin" if found else "no gold version begins"
    raise ConfigError(f"{what} with {wanted!r} in project {folder.name!r}; stored: {listed}")


def learned_rows(store: TraceStore, project: str, gold_fp: str | None) -> dict[str, list[GoldExample]]:
    """Return the rows of the splits that strategies learn from, by split: their versions depend on them."""
    if gold_fp is None:
        return {}
    rows = store.query(
        f"SELECT item_id, label, split FROM gold WHERE project = $project AND gold_fp = $gold_fp"
        f" AND split IN ('examples', 'calibration') AND {_LATEST}",
        {"project": project, "gold_fp": gold_fp},
        fresh=True,
        only=["gold"],
    ).to_pylist()
    found: dict[str, list[GoldExample]] = {}
    for row in rows:
        found.setdefault(row["split"], []).append(GoldExample(item_id=row["item_id"], label=row["label"]))
    return found


def read_gold_items(store: TraceStore, project: str, gold_fp: str, split: str) -> GoldItems:
    """Return the gold items of a split; ``ConfigError`` for a split that strategies learn from, or an empty one."""
    if split in LEARNED:
        raise ConfigError(
            f"strategies learn from the gold split {split!r}: a comparison on it flatters whoever learned more",
            hint="compare on --gold test",
        )
    for salt in range(FIRST_SALT, 8):
        table = store.query(
            _ROWS,
            {"project": project, "gold_fp": gold_fp, "split": split, "salt": salt},
            fresh=True,
            only=["gold"],
        )
        keys = ItemKeys(np.asarray(table["h"].combine_chunks()), salt)
        if keys.are_distinct:
            break
    if not table.num_rows:
        splits = {fp: names for fp, _, names in _stored(store, project)}.get(gold_fp, [])
        raise ConfigError(
            f"project {project!r} has no gold in the split {split!r}",
            hint=f"splits with gold: {', '.join(splits) or 'none'}; `--gold none` compares without gold",
        )
    prob = table["inclusion_prob"].combine_chunks()
    weight = None
    if prob.null_count < len(prob):
        weight = 1.0 / np.asarray(pc.fill_null(prob, 1.0), dtype=np.float64)
        weight = None if np.ptp(weight) == 0 else weight
    return GoldItems(
        gold_fp=gold_fp,
        split=split,
        item_ids=table["item_id"].combine_chunks(),
        keys=keys,
        labels=table["label"].combine_chunks(),
        weight=weight,
        designs=tuple(sorted(str(name) for name in pc.unique(table["design"]).to_pylist() if name)),
    )


def _stored(store: TraceStore, project: str) -> list[tuple[str, datetime | None, list[str]]]:
    rows = store.query(_VERSIONS, [project], fresh=True, only=["gold"]).to_pylist()
    return [(row["gold_fp"], row["ts"], row["splits"]) for row in rows]
