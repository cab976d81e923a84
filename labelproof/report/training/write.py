"""A training set on disk and in the store: versions, files, manifest, data card."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, get_args

import orjson

from labelproof.report.training.card import card
from labelproof.report.training.model import Part, TrainingSet
from labelproof.spec.errors import ConfigError
from labelproof.store import TraceStore

MANIFEST = "manifest.json"
_PARTS = {f"{part}{end}" for part in get_args(Part) for end in (".jsonl", ".provenance.jsonl")}
_VERSIONS = """
SELECT set_id, try_cast(version AS BIGINT) AS version, path FROM training_sets
WHERE project = $project AND kind = $kind ORDER BY ts
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """Where a set stands. ``known``: the same content was written before, under the same version."""

    set_id: str
    version: int
    known: bool
    folder: Path
    files: Mapping[str, int]
    """File name -> lines (0 for what has none)."""

    def to_json(self) -> dict[str, Any]:
        return {
            "set_id": self.set_id,
            "version": self.version,
            "known": self.known,
            "folder": str(self.folder),
            "files": dict(self.files),
        }


def write_set(
    store: TraceStore, made: TrainingSet, out: Path | None, *, now: datetime, overwrite: bool = False
) -> Written:
    """Write JSONL files with provenance, manifest and card into a folder, and record the version.

    A set is there whole or not at all: without a manifest it is none. ``out`` None: `training/PROJECT-KIND-vN` here. The same content twice is the same version, and files that are as they
    would be are left. ``ConfigError`` when other files stand there.
    """
    version, known = _version(store, made)
    folder = out or Path("training") / f"{made.project}-{made.rules.kind}-v{version}"
    texts = _files(made, version, now)
    if folder.exists() and any(folder.iterdir()) and not overwrite and _set_in(folder) != made.set_id:
        raise ConfigError(
            "the folder holds something else", path=folder, hint="name another with --out, or add --overwrite"
        )
    if folder.exists():
        _replace(folder, texts, made.set_id)
    else:
        _make(folder, texts)
    if not known:
        store.append(
            "training_sets",
            {
                "set_id": [made.set_id],
                "project": [made.project],
                "kind": [made.rules.kind],
                "version": [str(version)],
                "n_rows": [made.n_lines],
                "spec_json": [orjson.dumps(made.spec()).decode()],
                "path": [str(folder)],
                "ts": [now],
            },
        )
    counts = {name: data.count(b"\n") if name.endswith(".jsonl") else 0 for name, data in texts.items()}
    return Written(set_id=made.set_id, version=version, known=known, folder=folder, files=counts)


def _make(folder: Path, texts: Mapping[str, bytes]) -> None:
    """Write a new folder: beside its place, and given its name at last."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        for name, data in texts.items():
            (draft / name).write_bytes(data)
        draft.chmod(0o755)
        draft.rename(folder)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _replace(folder: Path, texts: Mapping[str, bytes], set_id: str) -> None:
    """Write into a folder that is there; the manifest goes first and comes back last, and says when it was first written."""
    manifest = folder / MANIFEST
    known = manifest.read_bytes() if _set_in(folder) == set_id else texts[MANIFEST]
    manifest.unlink(missing_ok=True)
    for stale in _PARTS - texts.keys():
        (folder / stale).unlink(missing_ok=True)
    for name, data in {**texts, MANIFEST: known}.items():  # in the order of texts: the manifest last
        draft = folder / f".{name}.part"
        draft.unlink(missing_ok=True)
        try:
            draft.write_bytes(data)
            draft.replace(folder / name)
        finally:
            draft.unlink(missing_ok=True)


def _version(store: TraceStore, made: TrainingSet) -> tuple[int, bool]:
    rows = store.query(
        _VERSIONS, {"project": made.project, "kind": made.rules.kind}, fresh=True, only=("training_sets",)
    ).to_pylist()
    for row in rows:
        if row["set_id"] == made.set_id:
            return int(row["version"] or 1), True
    return max((int(row["version"] or 0) for row in rows), default=0) + 1, False


def _files(made: TrainingSet, version: int, now: datetime) -> dict[str, bytes]:
    """Return file name -> content, the manifest last."""
    files: dict[str, bytes] = {}
    for part, lines in made.lines.items():
        files[f"{part}.jsonl"] = b"".join(line + b"\n" for line in lines)
        said = made.provenance[part]
        files[f"{part}.provenance.jsonl"] = b"".join(orjson.dumps(one) + b"\n" for one in said)
    sums = {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}
    manifest = {**made.spec(), "version": version, "written": now.astimezone(UTC).isoformat(), "sha256": sums}
    files["README.md"] = card(made, version, now).encode()
    files[MANIFEST] = orjson.dumps(manifest, option=orjson.OPT_INDENT_2) + b"\n"
    return files


def _set_in(folder: Path) -> str | None:
    try:
        found = orjson.loads((folder / MANIFEST).read_bytes())
    except (FileNotFoundError, orjson.JSONDecodeError):
        return None
    return str(found.get("set_id")) if isinstance(found, dict) else None
