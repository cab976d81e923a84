"""Who may touch the database file: many readers or one writer, fair across threads and processes.

DuckDB's own file lock decides, but it can only be polled, and a stream of overlapping readers would
keep a writer out for ever. So a small lock file stands before it: a writer holds it while it waits
and writes, a reader passes through it while opening. DuckDB's lock is a POSIX one, which
belongs to the process: two open handles in one process would not exclude each other, hence
the counters kept here per process and file.
"""

from __future__ import annotations

import atexit
import fcntl
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

Kind = Literal["reader", "writer"]


@dataclass(slots=True, kw_only=True)
class InProcess:
    """What this process does with one database file; guarded by ``mutex``.

    ``reader`` and ``writer`` are the native connections, kept while any store is open on the file:
    attaching to a living connection takes a few ms, making a new one 15 to 30. What the last store
    leaves behind is kept for the next file (``spare_connection``).
    """

    mutex: threading.Lock = field(default_factory=threading.Lock)
    users: int = 0
    readers: int = 0
    writing: bool = False
    writers_waiting: int = 0
    reader: Any = None
    writer: Any = None


_files: dict[Path, InProcess] = {}
_files_lock = threading.Lock()


def join(path: Path) -> InProcess:
    """Return the state of one file, shared by every store opened on it in this process."""
    with _files_lock:
        state = _files.setdefault(path, InProcess())
        state.users += 1
        return state


def leave(path: Path, state: InProcess) -> None:
    """Let go of the file's native connections when its last store closes: one of each kind is kept, others close."""
    with _files_lock:
        state.users -= 1
        if state.users > 0:
            return
        if _files.get(path) is state:
            del _files[path]
    with state.mutex:
        idle = not (state.readers or state.writing)
        held: tuple[tuple[Kind, Any], ...] = (("reader", state.reader), ("writer", state.writer))
        for kind, connection in held:
            if connection is not None and not (idle and _keep(kind, connection)):
                connection.close()
        state.reader = state.writer = None


def _keep(kind: Kind, connection: Any) -> bool:
    with _files_lock:
        return _spare.setdefault(kind, connection) is connection


def spare_connection(kind: Kind) -> Any:
    """Return a native connection that nothing is attached to, or None; it is the caller's from then on."""
    with _files_lock:
        return _spare.pop(kind, None)


def _close_spares() -> None:
    while _spare:
        _spare.popitem()[1].close()


def _forget_in_child() -> None:
    # A forked child must not touch its parent's native connections, nor close them.
    _inherited.extend((*_files.values(), *_spare.values()))
    _files.clear()
    _spare.clear()


_spare: dict[Kind, Any] = {}
_inherited: list[Any] = []
os.register_at_fork(after_in_child=_forget_in_child)
atexit.register(_close_spares)  # runs after the stores that were never closed have let go (weakref.finalize)


@contextmanager
def gate(path: Path, *, exclusive: bool) -> Iterator[bool]:
    """Give whether the lock file could be locked at once, and hold it inside the block."""
    try:
        fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError:
        # A store on read-only storage has no writers to wait for.
        yield not exclusive
        return
    try:
        held = True
        try:
            fcntl.flock(fd, (fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH) | fcntl.LOCK_NB)
        except BlockingIOError:
            held = False
        yield held
    finally:
        os.close(fd)
