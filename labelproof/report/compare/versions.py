"""Which strategy versions are compared: a name, a stored version, an arm of an experiment."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

import orjson

from agents.resolve import GoldExample, resolve
from labelproof.spec.errors import ConfigError
from labelproof.spec.hashing import PREFIX, short
from labelproof.spec.project import ProjectFolder
from labelproof.store import TraceStore

_DIGITS = re.compile(r"[0-9a-f]{4,40}\Z")
_KNOWN = """
WITH said AS (
    SELECT strategy_fp, run_id FROM decisions GROUP BY ALL
    UNION
    SELECT strategy_fp, run_id FROM arm_answers GROUP BY ALL
),
answered AS (
    SELECT r.strategy, r.strategy_fp, max(r.ts) AS ts
    FROM runs AS r SEMI JOIN said USING (run_id, strategy_fp) WHERE r.project = $project GROUP BY ALL
),
stored AS (
    SELECT strategy, strategy_fp, max(ts) AS ts FROM strategies WHERE project = $project GROUP BY ALL
)
SELECT
    coalesce(a.strategy, s.strategy) AS name, coalesce(a.strategy_fp, s.strategy_fp) AS fp,
    a.ts AS answered_at
FROM answered AS a FULL JOIN stored AS s USING (strategy, strategy_fp)
ORDER BY answered_at DESC NULLS LAST, s.ts DESC, name
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """One strategy version with its stored snapshot. ``notes``: what a reader must know of how it was found."""

    name: str
    fp: str
    arm: str | None
    snapshot: Mapping[str, Any]
    notes: tuple[str, ...] = ()


class Known(NamedTuple):
    """A stored version of the project; ``answered_at`` is None when no answer of it is stored."""

    name: str
    fp: str
    answered_at: datetime | None


def known_versions(store: TraceStore, project: str) -> list[Known]:
    """Return every stored version of a project's strategies, those that answered last first."""
    rows = store.query(
        _KNOWN,
        {"project": project},
        fresh=True,
        only=["decisions", "arm_answers", "runs", "strategies"],
    ).to_pylist()
    return [Known(row["name"], row["fp"], row["answered_at"]) for row in rows]


def find_version(
    store: TraceStore,
    folder: ProjectFolder,
    ref: str,
    *,
    known: Sequence[Known],
    learned: Mapping[str, Sequence[GoldExample]],
    arms: Mapping[str, tuple[str, str]] | None = None,
) -> Version:
    """Return the version that ``ref`` names: `NAME`, `NAME@FP`, `@FP`, `FP` (4 digits or more), or an arm.

    A name stands for its file as it is now when that version has answers, else for the latest stored version of that
    name that has. ``learned``: gold rows of the splits examples and calibration, which the file's version depends on.
    ``arms``: arm → (strategy name, fingerprint). ``ConfigError`` lists what there is.
    """
    if arms and ref in arms:
        name, fp = arms[ref]
        return _version(store, folder.name, Known(name, fp, None), arm=ref)
    name, at, digits = ref.partition("@")
    digits = digits.removeprefix(PREFIX).lower()
    if at:
        return _by_digits(store, folder.name, name or None, digits, ref, known)
    bare = ref.removeprefix(PREFIX).lower()
    named = [one for one in known if one.name == ref]
    if not named and ref not in folder.strategy_names() and _DIGITS.match(bare):
        return _by_digits(store, folder.name, None, bare, ref, known)
    return _by_name(store, folder, ref, named, learned)


def _by_digits(
    store: TraceStore, project: str, name: str | None, digits: str, ref: str, known: Sequence[Known]
) -> Version:
    fits = [
        one
        for one in known
        if (name is None or one.name == name) and digits and one.fp.removeprefix(PREFIX).startswith(digits)
    ]
    fps = list(dict.fromkeys(one.fp for one in fits))
    if len(fps) == 1:
        return _version(store, project, fits[0])
    what = f"{len(fps)} versions begin with {ref!r}" if fps else f"no stored version is named {ref!r}"
    raise ConfigError(f"project {project!r}: {what}; stored: {_listed(fits or known)}")


def _by_name(
    store: TraceStore,
    folder: ProjectFolder,
    name: str,
    named: Sequence[Known],
    learned: Mapping[str, Sequence[GoldExample]],
) -> Version:
    answered = [one for one in named if one.answered_at is not None]
    notes: tuple[str, ...] = ()
    if name in folder.strategy_names():
        resolved = resolve(
            folder,
            folder.strategy(name),
            examples=learned.get("examples", ()),
            calibration=learned.get("calibration", ()),
        )
        if any(one.fp == resolved.fingerprint for one in answered):
            return _version(store, folder.name, Known(name, resolved.fingerprint, None))
        if answered:
            notes = (
                (
                    f"{name}: its file is now version {short(resolved.fingerprint)}, which has no answers yet; compared is "
                    f"{short(answered[0].fp)}, the latest that has (`labelproof run {folder.name} --strategy {name}` "
                    "labels with the file)"
                ),
            )
    if not answered:
        if name not in folder.strategy_names() and not named:
            folder.strategy(name)  # raises, and lists the files there are
        raise ConfigError(
            f"strategy {name!r} of project {folder.name!r} has no stored answers",
            hint=f"labelproof run {folder.name} --strategy {name}",
        )
    return _version(store, folder.name, answered[0], notes=notes)


def _version(
    store: TraceStore, project: str, one: Known, *, arm: str | None = None, notes: tuple[str, ...] = ()
) -> Version:
    rows = store.query(
        "SELECT spec_json FROM strategies WHERE project = ? AND strategy_fp = ? ORDER BY strategy <> ? LIMIT 1",
        [project, one.fp, one.name],
        fresh=True,
        only=["strategies"],
    ).to_pylist()
    if not rows:
        raise ConfigError(
            f"version {short(one.fp)} of strategy {one.name!r} is not stored in project {project!r}",
            hint=f"labelproof run {project} --strategy {one.name}",
        )
    return Version(
        name=one.name, fp=one.fp, arm=arm, snapshot=orjson.loads(rows[0]["spec_json"]), notes=notes
    )


def _listed(known: Sequence[Known]) -> str:
    shown = list(dict.fromkeys(f"{one.name}@{short(one.fp)}" for one in known))
    return ", ".join(shown[:8]) + (" …" if len(shown) > 8 else "") or "none"
