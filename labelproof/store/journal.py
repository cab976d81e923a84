"""The call journal: a paid answer survives ``kill -9`` the moment it arrives.

Every finished model call is one JSON line, appended with one ``os.write``: it is in the kernel before
the next await, whatever happens to the process. A journal's lines vanish only after a durable
segment holds their calls. The file is locked while its process lives, so a later process tells a live
journal from an orphaned one, and takes the orphan's calls over.
"""

from __future__ import annotations

import fcntl
import logging
import os
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import orjson

from labelproof.spec.errors import StoreError
from labelproof.store.outbox import new_batch_id
from labelproof.store.schema import TABLES

SUFFIX = ".calls"
TEXT_FIELDS = {
    "system_text": "system_hash",
    "user_text": "user_hash",
    "response_text": "response_hash",
}
"""Journal fields that hold a whole text, and the calls column for its hash."""

Identity = tuple[Any, ...]
_IDENTITY = ("run_id", "item_id", "step_key", "call_idx", "call_key")
_FIELDS = frozenset(TABLES["calls"].column_names) | frozenset(TEXT_FIELDS)
_log = logging.getLogger(__name__)


def identity(row: Mapping[str, Any]) -> Identity:
    """Return what makes two call rows the same call."""
    return tuple(map(row.get, _IDENTITY))


def identities(columns: Mapping[str, Iterable[Any]], n_rows: int) -> Iterable[Identity]:
    """Return the identities of call rows given as columns."""
    blank = [None] * n_rows
    return zip(*(columns.get(name, blank) for name in _IDENTITY), strict=True)


@dataclass(slots=True, kw_only=True)
class JournalPart:
    """One file of a journal; hand it back to ``discard`` after the append."""

    path: Path
    fd: int
    pending: set[Identity] = field(default_factory=set)
    torn: bool = False


class CallJournal:
    """One process's journal of one run; safe to use from several threads and tasks."""

    def __init__(self, folder: Path, run_id: str) -> None:
        self._folder = folder
        self._run_id = run_id
        self._lock = threading.Lock()
        self._current: JournalPart | None = None
        self._rotated: list[JournalPart] = []

    def write(self, row: Mapping[str, Any]) -> None:
        """Append one finished call: columns of ``calls``, and whole texts as ``response_text`` etc.

        ``run_id`` is filled in. An unknown field, a value that is not JSON, or a full disk raises
        ``StoreError``.
        """
        if not _FIELDS.issuperset(row):
            raise StoreError(f"a journal line has no field {sorted(set(row) - _FIELDS)}")
        entry = {"run_id": self._run_id, **row}
        try:
            line = orjson.dumps(entry) + b"\n"
        except TypeError as error:
            raise StoreError(f"a journal line takes JSON values only: {error}") from error
        with self._lock:
            part = self._part()
            _append(part, line)
            part.pending.add(identity(entry))

    def rotate(self) -> JournalPart | None:
        """Close the current part and return it (None when empty); later lines go to a new one."""
        with self._lock:
            part, self._current = self._current, None
            if part is not None:
                self._rotated.append(part)
            return part

    def acknowledge(self, calls: set[Identity]) -> None:
        """Note that these calls are in a durable segment; ``append_many`` calls this."""
        with self._lock:
            for part in self._parts():
                part.pending -= calls

    def discard(self, token: JournalPart | None) -> None:
        """Delete a rotated part. Calls in it that no durable segment holds move to the current part."""
        if token is None:
            return
        with self._lock:
            if token not in self._rotated:
                return
            if token.pending:
                self._carry_over(token)
            self._rotated.remove(token)
            _drop(token)

    def close(self) -> None:
        """Delete the parts whose calls are all durable; what is left is taken over by the next opener."""
        with self._lock:
            for part in self._parts():
                if part.pending:
                    os.close(part.fd)
                else:
                    _drop(part)
            self._current, self._rotated = None, []

    def _parts(self) -> list[JournalPart]:
        return [*self._rotated, *([self._current] if self._current else [])]

    def _part(self) -> JournalPart:
        if self._current is None:
            self._current = _create(self._folder)
        return self._current

    def _carry_over(self, token: JournalPart) -> None:
        left = [row for row in read_journal(token.path) if identity(row) in token.pending]
        part = self._part()
        _append(part, b"".join(orjson.dumps(row) + b"\n" for row in left))
        part.pending |= token.pending


def _create(folder: Path) -> JournalPart:
    """Lock the file before its name appears, so that nobody can take it for an orphan."""
    name = new_batch_id()
    tmp = folder / f".tmp-{name}"
    fd = os.open(tmp, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_APPEND, 0o644)
    fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    path = folder / f"{name}{SUFFIX}"
    tmp.rename(path)
    return JournalPart(path=path, fd=fd)


def _append(part: JournalPart, line: bytes) -> None:
    if part.torn:
        line = b"\n" + line
    try:
        written = os.write(part.fd, line)
    except OSError as error:
        raise StoreError(f"the call journal {part.path} cannot be written: {error}") from error
    part.torn = written != len(line)
    if part.torn:
        raise StoreError(
            f"the call journal {part.path} took {written} of {len(line)} bytes",
            hint="free disk space, then resume the run",
        )


def _drop(part: JournalPart) -> None:
    part.path.unlink(missing_ok=True)
    os.close(part.fd)


def read_journal(path: Path) -> list[dict[str, Any]]:
    """Return the whole lines of one journal file; a torn line (killed or full disk) is left out."""
    rows: list[dict[str, Any]] = []
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return rows
    for line in data.split(b"\n"):
        try:
            row = orjson.loads(line)
        except orjson.JSONDecodeError:
            if not line:
                continue
            _log.debug("left out a torn line of %d bytes in %s", len(line), path)
            continue
        if isinstance(row, dict) and _FIELDS.issuperset(row):
            if isinstance(row.get("ts"), str):
                row["ts"] = datetime.fromisoformat(row["ts"])
            rows.append(row)
    return rows


def journal_paths(folder: Path) -> list[Path]:
    """Return all journal files of a store, live and orphaned, oldest first."""
    return sorted(folder.glob(f"*{SUFFIX}"))


@contextmanager
def claimed_orphan(path: Path) -> Iterator[bool]:
    """Give True and hold the file while it belongs to no living process; False otherwise."""
    try:
        fd = os.open(path, os.O_RDWR)
    except FileNotFoundError:
        yield False
        return
    try:
        claimed = False
        with suppress(BlockingIOError, FileNotFoundError):
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Another process may have folded and deleted it between our open and our lock.
            claimed = os.fstat(fd).st_ino == path.stat().st_ino
        yield claimed
    finally:
        os.close(fd)
