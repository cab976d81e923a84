"""The champion's file: read as it is, rewritten with a candidate's content under its own name, replaced in one step."""

from __future__ import annotations

import os
import re
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from agents.resolve import GoldExample, ResolvedStrategy, resolve
from agents.run.workload import Workload
from labelproof.spec.errors import ConfigError
from labelproof.spec.hashing import short
from labelproof.spec.project import ProjectFolder
from labelproof.spec.strategy import Strategy, load_strategy

_NAME_LINE = re.compile(r"^name[ \t]*:[^\r\n]*", re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class FileChange:
    """The texts of one file before and after, character for character."""

    path: Path
    before: str
    after: str


def strategy_path(folder: ProjectFolder, name: str) -> Path:
    """Return the file of a strategy given by name or path."""
    return Path(name) if name.endswith((".yaml", ".yml")) else folder.folder / "strategies" / f"{name}.yaml"


def champion_path(folder: ProjectFolder) -> Path:
    return strategy_path(folder, folder.spec.default_strategy)


def read_text(path: Path) -> str:
    """Return a file's text without changing its line ends."""
    try:
        return path.read_bytes().decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read: {error}", path=path) from error


def planned_change(champion: Workload, candidate: Workload, own: Path) -> FileChange:
    """Return the champion's file with the candidate's content and the champion's name, checked to be that version.

    ``own``: the candidate's file; its comments and formatting come along. ``ConfigError`` when its name is not on a
    line of its own, or when the text would resolve to another version.
    """
    hint = "write the name on a line of its own, at the left margin"
    after, n = _NAME_LINE.subn(lambda _: f"name: {champion.strategy.name}", read_text(own), count=1)
    if n != 1:
        raise ConfigError("expected a line `name: ...` at the left margin, found none", path=own, hint=hint)
    written = resolved_text(champion, after)
    if written.fingerprint != candidate.resolved.fingerprint or written.name != champion.strategy.name:
        raise ConfigError(
            f"with the name {champion.strategy.name} in its first `name:` line, the file reads as {written.name}"
            f"@{short(written.fingerprint)}, not as {champion.strategy.name}@{short(candidate.resolved.fingerprint)}",
            path=own,
            hint=hint,
        )
    path = champion_path(champion.folder)
    return FileChange(path=path, before=read_text(path), after=after)


def resolved_text(work: Workload, text: str) -> ResolvedStrategy:
    """Return what a strategy's text resolves to in the project as ``work`` read it."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "champion.yaml"
        path.write_bytes(text.encode("utf-8"))
        return resolve_in(work, load_strategy(path))


def resolve_in(work: Workload, strategy: Strategy) -> ResolvedStrategy:
    """Return a strategy resolved with the project's guideline, gold and routing as ``work`` read them."""
    examples, calibration = (
        [GoldExample(item_id=item, label=label) for item, label in work.gold_labels.get(split, {}).items()]
        for split in ("examples", "calibration")
    )
    return resolve(work.folder, strategy, examples=examples, calibration=calibration)


def replace_file(path: Path, text: str) -> None:
    """Replace a file's content in one step: after a kill it is the old text or the new one, never a part.

    A link stays one: the file that it leads to is replaced. ``ConfigError`` when it cannot be written; it is as it was.
    """
    path = path.resolve()
    try:
        _replace(path, text)
    except OSError as error:
        raise ConfigError(
            f"cannot be written, and is as it was: {error.strerror or error}",
            path=path,
            hint="make its folder writable for this account, then run the same command again",
        ) from error


def _replace(path: Path, text: str) -> None:
    spare = path.with_name(f".{path.name}.{os.getpid()}.new")
    mode = path.stat().st_mode & 0o777 if path.exists() else 0o644
    try:
        with spare.open("wb") as file:
            file.write(text.encode("utf-8"))
            file.flush()
            os.fsync(file.fileno())
        spare.chmod(mode)
        spare.replace(path)
    finally:
        with suppress(FileNotFoundError):
            spare.unlink()
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
