"""Files by hash: fetched once from the first source that answers, resumed, verified, locked.

Every source of an artifact must yield the same bytes in the same order, so they all append to
one ``.partial`` file: a download begun from one source goes on from another. Only the SHA-256
decides whether the file becomes visible; where it came from does not matter.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import orjson

from labelproof.spec.errors import ConfigError, LabelproofError

_SPARE_BYTES = 192 << 20  # one wheel, packed and unpacked, beside the file itself
FOLDER_ENV = "LABELPROOF_MODELS"

#: Called with the bytes of the file that are on disk so far.
Progress = Callable[[int], None]


class SourceError(LabelproofError):
    """One source could not deliver; the next one is tried."""


class Source(Protocol):
    """Somewhere an artifact's bytes can come from."""

    @property
    def label(self) -> str:
        """Name for messages."""
        ...

    def fetch(self, partial: Path, artifact: Artifact, progress: Progress) -> None:
        """Bring ``partial`` to the artifact's full size, keeping what it already holds.

        ``SourceError`` says why not.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Artifact:
    """A file known by its content: ``size`` in bytes and lower-case hex ``sha256``."""

    name: str
    filename: str
    size: int
    sha256: str
    license: str
    sources: Sequence[Source]


def models_folder() -> Path:
    """Return where models are kept: ``$LABELPROOF_MODELS``, else the user's cache folder."""
    override = os.environ.get(FOLDER_ENV)
    if override:
        return Path(override).expanduser()
    from platformdirs import user_cache_path

    return user_cache_path("labelproof") / "models"


def installed(artifact: Artifact, folder: Path | None = None) -> Path | None:
    """Return the artifact's path when it is here and was verified, None otherwise.

    A stamp beside the file (size, mtime, hash) saves hashing it at each start.
    """
    path = (folder or models_folder()) / artifact.filename
    try:
        stat = path.stat()
        stamp = orjson.loads(_stamp_path(path).read_bytes())
    except (OSError, orjson.JSONDecodeError):
        return None
    expected = {"size": stat.st_size, "mtime_ns": stat.st_mtime_ns, "sha256": artifact.sha256}
    return path if stamp == expected else None


def verify(artifact: Artifact, folder: Path | None = None) -> str | None:
    """Return None when the file's bytes are right (and stamp it), else what is wrong with it."""
    path = (folder or models_folder()) / artifact.filename
    if not path.exists():
        return f"{path} is not there"
    found = path.stat().st_size
    if found != artifact.size:
        return f"{path} has {found} bytes, expected {artifact.size}"
    digest = sha256_of(path)
    if digest != artifact.sha256:
        return f"{path} has sha256 {digest}, expected {artifact.sha256}"
    _stamp(path, artifact)
    return None


def ensure(
    artifact: Artifact,
    *,
    folder: Path | None = None,
    progress: Progress | None = None,
    waiting: Callable[[], None] | None = None,
) -> Path:
    """Return the artifact's path, fetching it if needed.

    ``waiting`` is called when another process holds the download. ``ConfigError`` lists every
    source with its reason when none delivered.
    """
    folder = folder or models_folder()
    found = installed(artifact, folder)
    if found is not None:
        return found
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(
            f"the models folder cannot be made: {error}",
            path=folder,
            hint=f"point {FOLDER_ENV} to a folder you can write",
        ) from error
    with _locked(folder / f"{artifact.filename}.lock", waiting):
        found = installed(artifact, folder)
        if found is not None:
            return found
        path = folder / artifact.filename
        if path.exists() and verify(artifact, folder) is None:
            return path  # put there by hand: hashed once, stamped
        _fetch(artifact, path, progress or (lambda _: None))
        return path


def sha256_of(path: Path) -> str:
    """Return the hex SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _fetch(artifact: Artifact, path: Path, progress: Progress) -> None:
    partial = path.with_name(f"{path.name}.partial")
    _need_space(artifact, partial)
    reasons: list[str] = []
    for source in artifact.sources:
        try:
            resumed = partial.exists() and partial.stat().st_size > 0
            source.fetch(partial, artifact, progress)
            refused = _refusal(partial, artifact)
            if refused and resumed:
                # What lay there before may have been the bad half: once more from the start.
                source.fetch(partial, artifact, progress)
                refused = _refusal(partial, artifact)
            if refused:
                raise SourceError(refused)
            _publish(partial, path, artifact)
        except SourceError as error:
            reasons.append(f"{source.label}: {error.message}")
            continue
        except OSError as error:
            reasons.append(f"{source.label}: {type(error).__name__}: {error}")
            continue
        return
    tried = "\n".join(f"  - {reason}" for reason in reasons)
    raise ConfigError(
        f"{artifact.name} ({artifact.size:,} bytes) could not be fetched; tried:\n{tried}",
        hint=f"connect and run `labelproof model pull`, or put the file {artifact.filename} "
        f"(sha256 {artifact.sha256}) into {path.parent}; what was fetched is kept and resumed",
    )


def _refusal(partial: Path, artifact: Artifact) -> str | None:
    """Return None when the bytes are right; else say why not and delete them."""
    size = partial.stat().st_size
    digest = sha256_of(partial) if size == artifact.size else None
    if digest == artifact.sha256:
        return None
    partial.unlink()  # nothing in it can be trusted
    what = f"{size} bytes, expected {artifact.size}" if digest is None else f"sha256 {digest}"
    return f"refused, wrong content: {what}, expected sha256 {artifact.sha256}"


def _publish(partial: Path, path: Path, artifact: Artifact) -> None:
    with partial.open("rb") as file:
        os.fsync(file.fileno())
    partial.replace(path)
    _stamp(path, artifact)


def _stamp_path(path: Path) -> Path:
    return path.with_name(f"{path.name}.stamp.json")


def _stamp(path: Path, artifact: Artifact) -> None:
    stat = path.stat()
    stamp = {"size": stat.st_size, "mtime_ns": stat.st_mtime_ns, "sha256": artifact.sha256}
    target = _stamp_path(path)
    scratch = target.with_name(f"{target.name}.{os.getpid()}")
    scratch.write_bytes(orjson.dumps(stamp))
    scratch.replace(target)


def _need_space(artifact: Artifact, partial: Path) -> None:
    have = partial.stat().st_size if partial.exists() else 0
    need = max(artifact.size - have, 0) + _SPARE_BYTES
    free = shutil.disk_usage(partial.parent).free
    if free < need:
        raise ConfigError(
            f"{artifact.name} needs {need / 1e9:.2f} GB, found {free / 1e9:.2f} GB free",
            path=partial.parent,
            hint=f"free some space, or point {FOLDER_ENV} to a larger disk",
        )


@contextmanager
def _locked(path: Path, waiting: Callable[[], None] | None) -> Iterator[None]:
    """Hold an advisory file lock; the kernel drops it when the process dies."""
    with path.open("a+b") as file:
        told = False
        while not _try_lock(file.fileno()):
            if not told and waiting is not None:
                waiting()
            told = True
            time.sleep(0.2)
        yield


if sys.platform == "win32":
    import msvcrt

    def _try_lock(descriptor: int) -> bool:
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True
else:
    import fcntl

    def _try_lock(descriptor: int) -> bool:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True
