"""Starting a service under its guard, and asking after it."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from labelproof.stack.env import service_env
from labelproof.stack.paths import StackPaths, read_json
from labelproof.stack.procs import MARKER, is_alive, send, stop_marked, wait_until


@dataclass(slots=True, kw_only=True)
class Guarded:
    """A running guard. Its service ends when this process ends, whatever the way."""

    name: str
    marker: str
    process: subprocess.Popen[bytes]
    record_path: Path
    log_path: Path

    def exit_code(self) -> int | None:
        """Return the guard's exit code; None while the service runs."""
        return self.process.poll()

    def record(self) -> dict[str, Any]:
        """Return pids and start times once the guard has written them; empty before."""
        record = read_json(self.record_path)
        return record if record.get("guard_pid") == self.process.pid else {}

    def release(self, *, drained: bool = False) -> None:
        """Let the service go: its guard stops it, after those who borrow it. Returns at once."""
        pipe = self.process.stdin
        if pipe is None or pipe.closed:
            return
        with contextlib.suppress(BrokenPipeError):  # the guard has ended already
            if drained:
                pipe.write(b"drained")
            pipe.close()

    def stop(self, *, timeout_s: float) -> None:
        """Stop the service and all it started; returns when nothing of it is left."""
        with contextlib.suppress(ProcessLookupError):
            self.process.terminate()
        try:
            self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.release()
        stop_marked(self.marker, grace_s=2.0)


def start_guarded(
    paths: StackPaths,
    *,
    name: str,
    command: Sequence[str],
    api_url: str,
    env: Mapping[str, str],
    marker: str,
    grace_s: float,
    options: Sequence[str] = (),
) -> Guarded:
    """Start ``command`` under a guard that writes ``services/NAME.json`` and ``logs/NAME.log``."""
    paths.ensure()
    record, log = paths.record(name), paths.log(name)
    argv = [
        *(sys.executable, "-m", "labelproof.stack.guard", "--name", name),
        *("--record", str(record), "--log", str(log), "--grace", str(grace_s)),
        *(*options, "--", *command),
    ]
    with paths.log(f"{name}.guard").open("wb") as errors:
        process = subprocess.Popen(  # noqa: S603 - our own command line, no shell
            argv,
            stdin=subprocess.PIPE,
            stdout=errors,
            stderr=errors,
            cwd=paths.root,
            env=service_env(paths.root, api_url, {**env, MARKER: marker}),
            start_new_session=True,
        )
    return Guarded(name=name, marker=marker, process=process, record_path=record, log_path=log)


def is_running(record: Mapping[str, Any]) -> bool:
    """Return whether the process of a guard's record is the one that was started, and lives."""
    return is_alive(int(record.get("pid") or 0), record.get("identity"))


def is_guarded(record: Mapping[str, Any]) -> bool:
    """Return whether the record's guard lives: then the service has an owner and ends with it."""
    return is_alive(int(record.get("guard_pid") or 0), record.get("guard_identity"))


def stop_leftover(record: Mapping[str, Any], *, grace_s: float = 10.0) -> bool:
    """Stop what a guard left behind (it was killed with -9); True if there was something."""
    guard_alive = is_guarded(record)
    if guard_alive:
        send([int(record["guard_pid"])], signal.SIGTERM)
        wait_until(lambda: not is_guarded(record), timeout_s=grace_s + 10.0)
    found = stop_marked(str(record["marker"]), grace_s=grace_s) if record.get("marker") else []
    return guard_alive or bool(found)


def log_tail(path: Path, lines: int = 12) -> str:
    """Return the last lines of a log for an error message; a note when there is none."""
    if not path.exists():
        return f"({path} does not exist)"
    with path.open("rb") as stream:
        stream.seek(max(0, os.fstat(stream.fileno()).st_size - 8_000))
        text = stream.read().decode("utf-8", errors="replace")
    kept = [line for line in text.splitlines() if line.strip()][-lines:]
    return "\n".join(kept) if kept else f"({path} is empty)"
