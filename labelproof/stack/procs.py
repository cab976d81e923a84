"""Processes told apart for certain, and stopped with everything they started.

A pid alone is not an identity: the kernel gives it out again. Pid plus start time is. A flow run
starts in its own session, so killing a process group misses it: every process of a service inherits
an environment variable with the service's marker, and the marker finds the rest.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterable
from pathlib import Path

MARKER = "LABELPROOF_STACK_ID"
"""Environment variable that names the service a process belongs to."""

_PROC = Path("/proc")


def identity(pid: int) -> str | None:
    """Return a string that only this process of this boot has; None if it is gone or a zombie."""
    if pid <= 0:
        return None
    if (_PROC / "self" / "stat").exists():
        return _linux_identity(pid)
    found = _ps("-o", "stat=,lstart=", "-p", str(pid)).strip()
    state, _, started = found.partition(" ")
    return None if not started or state.startswith("Z") else started.strip()


def _linux_identity(pid: int) -> str | None:
    try:
        stat = (_PROC / str(pid) / "stat").read_text(encoding="utf-8", errors="replace")
        boot = (_PROC / "sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The command name is in parentheses and may hold spaces and parentheses itself.
    fields = stat.rpartition(")")[2].split()
    if fields[0] in ("Z", "X"):
        return None
    return f"{boot}:{fields[19]}"


def is_alive(pid: int, known_identity: str | None) -> bool:
    """Return whether ``pid`` still is the process that ``known_identity`` was taken from."""
    return known_identity is not None and identity(pid) == known_identity


def marked(marker: str) -> list[int]:
    """Return the pids of live processes (this one excepted) that carry ``marker``, ascending."""
    needle = f"{MARKER}={marker}"
    own = os.getpid()
    if (_PROC / "self" / "environ").exists():
        candidates = [int(entry.name) for entry in _PROC.iterdir() if entry.name.isdigit()]
        found = [pid for pid in candidates if pid != own and needle in _environment(pid)]
    else:
        found = []
        for line in _ps("eww", "-axo", "pid=,command=").splitlines():
            pid_text, _, command = line.strip().partition(" ")
            if pid_text.isdigit() and int(pid_text) != own and needle in command.split():
                found.append(int(pid_text))
    return sorted(pid for pid in found if identity(pid) is not None)


def _ps(*options: str) -> str:
    """Return what `ps` says, where there is no /proc (macOS)."""
    argv = ["/bin/ps", *options]
    return subprocess.run(argv, capture_output=True, text=True, check=False).stdout  # noqa: S603


def _environment(pid: int) -> list[str]:
    try:
        raw = (_PROC / str(pid) / "environ").read_bytes()
    except (FileNotFoundError, PermissionError, ProcessLookupError):
        return []  # gone meanwhile, or another user's: not ours either way
    return raw.decode("utf-8", errors="replace").split("\0")


def send(pids: Iterable[int], number: signal.Signals) -> None:
    """Signal each process; one that is gone already is what was wanted."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def stop_marked(marker: str, *, grace_s: float) -> list[int]:
    """Stop everything that carries ``marker``: SIGTERM, then SIGKILL after ``grace_s``.

    Returns the pids that were there. Loops until none is left, so that a process forked while the
    list was read does not survive.
    """
    first = marked(marker)
    if not first:
        return []
    send(first, signal.SIGTERM)
    wait_until(lambda: not marked(marker), timeout_s=grace_s)
    deadline = time.monotonic() + 10.0
    while left := marked(marker):
        send(left, signal.SIGKILL)
        if time.monotonic() > deadline:
            break
        time.sleep(0.05)
    return first


def wait_until(done: Callable[[], bool], *, timeout_s: float, every_s: float = 0.1) -> bool:
    """Return whether ``done()`` became true within ``timeout_s``; it is asked at least once."""
    deadline = time.monotonic() + timeout_s
    while not done():
        if time.monotonic() >= deadline:
            return False
        time.sleep(every_s)
    return True
