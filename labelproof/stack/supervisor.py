"""The process behind `labelproof up`: starts the services in order, keeps them, stops them in reverse."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import FrameType
from typing import IO, Any

from labelproof.spec.errors import ConfigError, LabelproofError
from labelproof.stack.api import StackError
from labelproof.stack.guarded import (
    Guarded,
    is_guarded,
    log_tail,
    start_guarded,
    stop_leftover,
)
from labelproof.stack.paths import StackPaths, read_json, stack_paths, write_json
from labelproof.stack.procs import identity
from labelproof.stack.services import Context, Service

FIRST_BACKOFF_S = 1.0
LONGEST_BACKOFF_S = 60.0
CALM_S = 60.0
"""A service that ran this long is not in a crash loop: its next restart is at once again."""

WAITING_STEP = "waiting for the server of a `labelproof run` that is not finished"

CARE_S = 10.0
"""Seconds between two looks at what the server runs."""

Setup = Callable[[Context, "Supervisor"], None]
"""Writes pool, deployments, schedules and automations into a server that is ready."""


@dataclass(slots=True, kw_only=True)
class _Kept:
    """One service and what became of it so far."""

    service: Service
    guarded: Guarded | None = None
    started_at: float = 0.0
    ready: bool = False
    restarts: int = 0
    backoff_s: float = FIRST_BACKOFF_S
    retry_at: float = 0.0


@dataclass(slots=True)
class Supervisor:
    """Runs ``services`` for ``root`` until told to stop. ``drain`` is called between worker and server."""

    root: Path
    services: Sequence[Service]
    api_url: str
    port: int
    setup: Setup | None = None
    drain: Callable[[Context], None] | None = None
    care: Setup | None = None
    """Called every ``CARE_S`` while the stack is ready, in a thread of its own: see to runs whose process died."""
    report: Callable[[str], None] = lambda _: None
    run_id: str = field(default_factory=lambda: uuid.uuid4().hex[:12])
    notes: dict[str, Any] = field(default_factory=dict)
    paths: StackPaths = field(init=False)
    _kept: list[_Kept] = field(init=False)
    _stop: threading.Event = field(init=False, default_factory=threading.Event)
    _phase: str = field(init=False, default="starting")
    _error: str | None = field(init=False, default=None)
    _step: str = field(init=False, default="")
    _born: float = field(init=False, default_factory=time.time)
    _carer: threading.Thread | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        self.paths = stack_paths(self.root)
        self._kept = [_Kept(service=service) for service in self.services]

    @property
    def context(self) -> Context:
        return Context(root=self.paths.root, api_url=self.api_url, port=self.port)

    def request_stop(self, *_: int | FrameType | None) -> None:
        """Ask for the end; safe in a signal handler and from another thread."""
        self._stop.set()

    def run(self) -> bool:
        """Supervise until asked to stop; False if the stack did not come up (see the state file)."""
        self.paths.ensure()
        lock = self._take_lock()
        try:
            self._start_all()
            self._enter("ready", "running")
            self._start_caring()
            while not self._stop.wait(0.5):
                self._restart_the_dead()
        except _Stopped:
            pass
        except (LabelproofError, OSError) as error:
            self._error = str(error)
        except BaseException as error:
            self._error = f"{type(error).__name__}: {error}"
            raise
        finally:
            self._stop_all()
            lock.close()
        return self._error is None

    # -- starting ------------------------------------------------------------------------------
    def _take_lock(self) -> IO[str]:
        lock = self.paths.supervisor_lock.open("a", encoding="utf-8")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            lock.close()
            raise ConfigError(
                f"another stack is running for {self.paths.root}",
                hint="labelproof status, or labelproof down",
            ) from error
        return lock

    def _start_all(self) -> None:
        for kept in self._kept:
            self._clear_way(kept.service)
        first = [kept for kept in self._kept if kept.service.starts_before_setup]
        rest = [kept for kept in self._kept if not kept.service.starts_before_setup]
        for kept in first:
            self._enter("starting", f"starting {kept.service.name}")
            self._start(kept)
            self._await_ready(kept)
        if self.setup is not None:
            self.setup(self.context, self)
        for kept in rest:
            self.start_early(kept.service.name)
        for kept in rest:
            self._enter("starting", f"waiting for {kept.service.name}")
            self._await_ready(kept)

    def _clear_way(self, service: Service) -> None:
        """Wait for a server that a run started for itself; stop what a killed supervisor left."""
        path = self.paths.record(service.name)
        while (record := read_json(path)).get("owner") == "run" and is_guarded(record):
            if self._step != WAITING_STEP:
                self._enter("starting", WAITING_STEP)
            self.check_stop(0.5)
        stop_leftover(record)

    def start_early(self, name: str) -> None:
        """Start one service now unless it runs; setup uses it to overlap two slow starts."""
        for kept in self._kept:
            if kept.service.name == name and kept.guarded is None:
                self._start(kept)

    def _start(self, kept: _Kept) -> None:
        service = kept.service
        kept.started_at = time.time()
        kept.ready = False
        options: list[str] = []
        if service.needs_database:
            options = ["--lock", str(self.paths.server_lock), "--note", "owner=up"]
            options += ["--note", f"api_url={self.api_url}"]
        kept.guarded = start_guarded(
            self.paths,
            name=service.name,
            command=service.command(self.context),
            api_url=self.api_url,
            env=service.env(self.context),
            marker=f"{self.run_id}.{service.name}",
            grace_s=service.grace_s,
            options=options,
        )

    def _await_ready(self, kept: _Kept) -> None:
        deadline = time.monotonic() + kept.service.ready_timeout_s
        while not self._is_ready(kept):
            code = kept.guarded.exit_code() if kept.guarded is not None else None
            late = time.monotonic() > deadline
            if code is not None or late:
                log = self.paths.log(kept.service.name)
                what = "was not ready in time" if code is None else f"ended with exit code {code}"
                raise StackError(
                    f"{kept.service.name} {what}; the end of its log:\n{log_tail(log)}",
                    hint=f"the whole log: {log}",
                )
            self.check_stop(0.25)
        kept.ready = True

    def _is_ready(self, kept: _Kept) -> bool:
        if kept.guarded is None or not kept.guarded.record():
            return False
        return kept.service.ready(replace(self.context, started_at=kept.started_at))

    def check_stop(self, wait_s: float = 0.0) -> None:
        """Wait ``wait_s``; leaves the start-up at once if a stop was asked for meanwhile."""
        if self._stop.wait(wait_s):
            raise _Stopped

    # -- keeping -------------------------------------------------------------------------------
    def _restart_the_dead(self) -> None:
        now = time.monotonic()
        for kept in self._kept:
            if kept.guarded is None:
                if now >= kept.retry_at:
                    kept.restarts += 1
                    self._start(kept)
                    self._enter("ready", f"restarted {kept.service.name}")
                continue
            if kept.guarded.exit_code() is None:
                if not kept.ready and self._is_ready(kept):
                    kept.ready = True
                    self._enter("ready", "running")
                continue
            calm = time.time() - kept.started_at > CALM_S
            kept.backoff_s = FIRST_BACKOFF_S if calm else min(kept.backoff_s * 2, LONGEST_BACKOFF_S)
            kept.retry_at = now + kept.backoff_s
            kept.guarded.stop(timeout_s=1.0)
            kept.guarded, kept.ready = None, False
            self._enter(
                "ready",
                f"{kept.service.name} ended; next start in {kept.backoff_s:.0f} s",
            )

    def started_at(self, name: str) -> float | None:
        """Return since when the service runs, seconds of the epoch; None while it does not."""
        for kept in self._kept:
            if kept.service.name == name and kept.guarded is not None:
                return kept.started_at
        return None

    def _start_caring(self) -> None:
        if self.care is not None:
            self._carer = threading.Thread(target=self._keep_caring, name="labelproof-care", daemon=True)
            self._carer.start()

    def _keep_caring(self) -> None:
        """Look after the runs until the end; what goes wrong is logged once, and tried again."""
        trouble = ""
        while self.care is not None and not self._stop.wait(CARE_S):
            try:
                self.care(self.context, self)
            except Exception as error:  # noqa: BLE001  # a look that failed must not end all later ones
                now = f"{type(error).__name__}: {error}"
                if now != trouble:
                    self.report(f"could not look after the runs: {now}")
                trouble = now
            else:
                trouble = ""

    # -- stopping ------------------------------------------------------------------------------
    def _stop_all(self) -> None:
        self._stop.set()
        if self._carer is not None:
            self._carer.join(5.0)  # it starts no run any more; one request may still be on its way
        running = [kept for kept in reversed(self._kept) if kept.guarded is not None]
        drained = self.drain is None
        for kept in running:
            if kept.service.needs_database and not drained and kept.ready and self.drain is not None:
                self._enter("stopping", "letting the server write what it queued")
                try:
                    self.drain(self.context)
                except StackError as error:
                    self.report(f"not drained: {error.message}")
                drained = True
            self._enter("stopping", f"stopping {kept.service.name}")
            if kept.guarded is not None:
                kept.guarded.stop(timeout_s=kept.service.grace_s + 15.0)
                kept.guarded, kept.ready = None, False
        self._enter("stopped" if self._error is None else "failed", "stopped")

    # -- telling -------------------------------------------------------------------------------
    def _enter(self, phase: str, step: str) -> None:
        self._phase = phase
        self.tell(step)

    def tell(self, step: str) -> None:
        """Write the state file, and pass ``step`` on to whoever watches."""
        self._step = step
        services = [
            {
                "name": kept.service.name,
                "marker": f"{self.run_id}.{kept.service.name}",
                "ready": kept.ready,
                "restarts": kept.restarts,
                "url": kept.service.url(self.context),
                "pid": kept.guarded.record().get("pid") if kept.guarded is not None else None,
                "started_at": kept.started_at or None,
            }
            for kept in self._kept
        ]
        state = {
            "run_id": self.run_id,
            "pid": os.getpid(),
            "identity": identity(os.getpid()),
            "phase": self._phase,
            "step": step,
            "error": self._error,
            "api_url": self.api_url,
            "started_at": self._born,
            "services": services,
            **self.notes,
        }
        write_json(self.paths.state, state)
        self.report(step)

    def handle_signals(self) -> None:
        """Stop on SIGTERM, SIGINT and SIGHUP (main thread only)."""
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self.request_stop)

    def command(self, name: str, argv: Sequence[str], env: dict[str, str], *, timeout_s: float) -> None:
        """Run one setup command to its end with its output in ``logs/NAME.log``; StackError if it fails."""
        log = self.paths.log(name)
        with log.open("wb") as stream:
            process = subprocess.Popen(  # noqa: S603 - our own command line, no shell
                argv,
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=stream,
                cwd=self.paths.root,
                env=env,
            )
        deadline = time.monotonic() + timeout_s
        try:
            while process.poll() is None and time.monotonic() < deadline:
                self.check_stop(0.1)
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
        if process.returncode != 0:
            raise StackError(
                f"`{' '.join(argv[1:])}` failed (exit code {process.returncode}):\n{log_tail(log, 20)}",
                hint=f"the whole log: {log}",
            )


class _Stopped(Exception):
    """A stop was asked for during the start."""
