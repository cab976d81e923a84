"""A tiny parent for one service: the service cannot outlive whoever asked for it.

The guard's standard input is a pipe held open by its owner. When the owner closes it, or dies in any
way (kill -9 included), the pipe ends, and the guard stops the service and everything it started. (Any
byte through the pipe before its end says that no time for writing is needed.) A pipe works on every POSIX system and for an owner's thread, where a parent-death signal does neither.

Standard library only: it costs a few megabytes and starts in tens of milliseconds.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

from labelproof.stack.paths import write_json
from labelproof.stack.procs import MARKER, identity, send, stop_marked

EXIT_LOCKED = 75
"""Another guard holds the lock (EX_TEMPFAIL)."""
LOG_LIMIT_BYTES = 5_000_000


class Guard:
    """Runs one command until it ends, the owner goes away, or SIGTERM asks for the end."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.marker = os.environ[MARKER]
        self.asked = False
        self.linger_s: float = options.linger
        self._locks: list[IO[str]] = []

    def run(self) -> int:
        """Return the command's exit code (negative = signal), 0 when it was stopped on purpose."""
        if self.options.lock and not self._lock(self.options.lock, fcntl.LOCK_EX):
            return EXIT_LOCKED
        wake_read, wake_write = os.pipe()
        os.set_blocking(wake_write, False)
        signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(signal.SIGTERM, self._ask)
        signal.signal(signal.SIGINT, self._ask)
        process = self._start()
        self._write_record(process, None)
        while process.poll() is None and not self._owner_gone(wake_read):
            pass
        code = process.poll()
        if code is None:
            self._wait_for_borrowers(process)
            code = self._stop(process)
        stop_marked(self.marker, grace_s=self.options.sweep_grace)
        self._write_record(process, code)
        return 0 if self.asked else code

    def _ask(self, *_: object) -> None:
        self.asked = True

    def _lock(self, path: str, how: int) -> bool:
        stream = Path(path).open("a", encoding="utf-8")  # noqa: SIM115 - held until this process ends
        try:
            fcntl.flock(stream, how | fcntl.LOCK_NB)
        except BlockingIOError:
            stream.close()
            return False
        self._locks.append(stream)
        return True

    def _start(self) -> subprocess.Popen[bytes]:
        log = Path(self.options.log)
        if log.exists() and log.stat().st_size > LOG_LIMIT_BYTES:
            log.replace(log.with_suffix(".log.1"))
        with log.open("ab") as stream:
            return subprocess.Popen(  # noqa: S603 - our own command line, no shell
                self.options.command,
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def _write_record(self, process: subprocess.Popen[bytes], code: int | None) -> None:
        record: dict[str, Any] = {
            "name": self.options.name,
            "marker": self.marker,
            "guard_pid": os.getpid(),
            "guard_identity": identity(os.getpid()),
            "pid": process.pid,
            "identity": identity(process.pid),
            "started_at": time.time(),
            "exit_code": code,
        }
        record.update(pair.split("=", 1) for pair in self.options.note)
        write_json(Path(self.options.record), record)

    def _owner_gone(self, wake_read: int) -> bool:
        """Wait up to a second for news; True once the service has to end."""
        readable, _, _ = select.select([wake_read, sys.stdin.fileno()], [], [], 1.0)
        if wake_read in readable:
            os.read(wake_read, 512)
        if sys.stdin.fileno() in readable:
            if os.read(sys.stdin.fileno(), 512):
                self.linger_s = 0.0  # the owner says that it has drained the service itself
            else:
                self.asked = True
        return self.asked

    def _wait_for_borrowers(self, process: subprocess.Popen[bytes]) -> None:
        """Other runs may use this server: it goes when the last of them has let go."""
        if not self.options.clients:
            return
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        while process.poll() is None and not self._lock(self.options.clients, fcntl.LOCK_EX):
            time.sleep(0.2)
        time.sleep(self.linger_s)

    def _stop(self, process: subprocess.Popen[bytes]) -> int:
        send([process.pid], signal.SIGTERM)
        try:
            return process.wait(self.options.grace)
        except subprocess.TimeoutExpired:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            return process.wait()


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="labelproof-guard")
    parser.add_argument("--name", required=True)
    parser.add_argument("--record", required=True, help="file for pids and start times")
    parser.add_argument("--log", required=True)
    parser.add_argument("--lock", help="hold this lock as long as the service runs")
    parser.add_argument("--clients", help="stop only when nobody holds this lock")
    parser.add_argument("--grace", type=float, default=15.0, help="seconds from SIGTERM to SIGKILL")
    parser.add_argument("--sweep-grace", type=float, default=5.0)
    parser.add_argument("--linger", type=float, default=0.0)
    parser.add_argument("--note", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("command", nargs="+")
    return Guard(parser.parse_args(argv)).run()


if __name__ == "__main__":
    raise SystemExit(main() % 256)
