"""One process at a time works on a run: the kernel's lock on a small file, gone with its process."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from labelproof.spec.errors import ConfigError


class RunUnderWayError(ConfigError):
    """Another process works on this run; when it is done or gone, this one may go on."""


class RunLock:
    """A lock on ``path``; not inherited by a kill: the next process may take it at once."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._fd: int | None = None

    def acquire(self) -> bool:
        """Return whether this process now holds the lock."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(fd)
            return False
        os.ftruncate(fd, 0)
        os.write(fd, str(os.getpid()).encode())
        self._fd = fd
        return True

    def holder(self) -> str:
        """Return the process id that the holder has written, or "unknown"."""
        try:
            return self._path.read_text(encoding="ascii").strip() or "unknown"
        except OSError:
            return "unknown"

    def release(self) -> None:
        """Let go; safe to call twice. The file stays: removing it would race with the next holder."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None
