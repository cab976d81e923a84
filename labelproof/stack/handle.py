"""A server that lives as long as the run that asked for it."""

from __future__ import annotations

import contextlib
import fcntl
import os
import threading
import time
import uuid
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from labelproof.spec.errors import LabelproofError
from labelproof.stack.api import PrefectApi, StackError, is_healthy
from labelproof.stack.env import choose_port, local_api_url
from labelproof.stack.guard import EXIT_LOCKED
from labelproof.stack.guarded import (
    Guarded,
    is_guarded,
    is_running,
    log_tail,
    start_guarded,
    stop_leftover,
)
from labelproof.stack.paths import read_json, stack_paths
from labelproof.stack.services import Context, prefect_server

LINGER_S = 3.0
"""If the run is killed it cannot drain the server: the guard gives it this long to write."""


def running_server(root: Path | str, *, include_borrowed: bool) -> str | None:
    """Return the recorded URL of this root's server if its process lives and it answers."""
    record = read_json(stack_paths(root).record("server"))
    if not (record and is_running(record) and is_guarded(record)):
        return None
    if record.get("owner") != "up" and not include_borrowed:
        return None
    url = str(record["api_url"])
    return url if is_healthy(url) else None


def api_url(root: Path | str) -> str | None:
    """Return the URL of a healthy Prefect API for ``root``; None if there is none.

    PREFECT_API_URL wins if the user set it and it answers; then the server of `labelproof up`. A
    server that another run started for itself is not returned: it may be gone the next second.
    `start_server` borrows that one properly. Takes at most .3 s for each of the two.
    """
    named = os.environ.get("PREFECT_API_URL", "").rstrip("/")
    if named and is_healthy(named, timeout_s=0.2):
        return named
    return running_server(root, include_borrowed=False)


class ServerHandle:
    """A server that is starting, or runs, for this process. Made by `start_server`.

    Several runs of one root share one server: the first starts it, the others borrow it, and it ends
    when the last of them let go or died. All waiting happens in a thread of its own.
    """

    def __init__(self, root: Path | str, *, timeout_s: float = 180.0) -> None:
        self._paths = stack_paths(root)
        self._paths.ensure()
        self._deadline = time.monotonic() + timeout_s
        self._guarded: Guarded | None = None
        self._url: str | None = None
        self._error: StackError | None = None
        self._over = threading.Event()
        self._clients: IO[str] | None = self._paths.clients_lock.open("a", encoding="utf-8")
        self._thread = threading.Thread(target=self._bring_up, name="labelproof-server", daemon=True)
        self._thread.start()

    @property
    def owned(self) -> bool:
        """Whether this process started the server; False while it only borrows one."""
        return self._guarded is not None

    def poll_ready(self) -> str | None:
        """Return the API's URL once it is healthy, else None; never waits. StackError if it failed."""
        if self._error is not None:
            raise self._error
        return self._url

    def wait_ready(self, timeout_s: float) -> str | None:
        """Return the URL as soon as there is one, None after ``timeout_s``."""
        deadline = time.monotonic() + timeout_s
        while (url := self.poll_ready()) is None and time.monotonic() < deadline:
            time.sleep(0.05)
        return url

    def stop(self, *, drain: bool = True, wait: bool = True) -> None:
        """Let go of the server; the last one to do so ends it. ``drain`` gives it time for its queues.

        Returns after the server's end if nobody else uses it (4-6 s with a drain). With ``wait`` False
        it returns at once, and the guard gives the server 3 s to write, then ends it. Calling it
        again does nothing.
        """
        if self._over.is_set():
            return
        self._over.set()
        self._thread.join()
        drained = False
        try:
            if drain and wait and self._url is not None:
                with contextlib.suppress(StackError), PrefectApi(self._url) as api:
                    drained = api.drain()  # a server that is gone already has nothing left to write
        finally:
            self._let_go(drained=drained or not drain, wait=wait)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop(drain=kind is None)

    def _let_go(self, *, drained: bool, wait: bool) -> None:
        last = False
        if self._clients is not None:
            try:
                fcntl.flock(self._clients, fcntl.LOCK_EX | fcntl.LOCK_NB)
                last = True
            except BlockingIOError:
                last = False  # others borrow it: the guard waits for them, we do not
            self._clients.close()
            self._clients = None
        if self._guarded is None:
            return
        self._guarded.release(drained=drained)
        if last and wait:
            self._guarded.process.wait(60.0)
        else:  # collects the guard's exit code whenever that comes: no zombie while this run goes on
            threading.Thread(target=self._guarded.process.wait, daemon=True).start()

    def _bring_up(self) -> None:
        try:
            self._url = self._find_or_start()
        except StackError as error:
            self._error = error
        except (LabelproofError, OSError) as error:
            self._error = StackError(f"the Prefect server could not be started: {error}")

    def _find_or_start(self) -> str | None:
        guarded: Guarded | None = None
        url = ""
        while not self._over.wait(0.1):
            if not self._hold():
                continue
            if guarded is None:
                if found := running_server(self._paths.root, include_borrowed=True):
                    return found
                self._stop_orphan()
                url = local_api_url(choose_port(self._paths.root))
                guarded = self._guarded = self._start(url)
            code = guarded.exit_code()
            if code is None and guarded.record() and is_healthy(url, timeout_s=1.0):
                return url
            if code == EXIT_LOCKED:  # another one is starting: ask again for its URL
                guarded = self._guarded = None
                self._over.wait(0.4)
            elif code is not None:
                raise StackError(
                    f"the Prefect server ended with exit code {code}; the end of its log:\n"
                    f"{log_tail(guarded.log_path)}",
                    hint=f"the whole log: {guarded.log_path}",
                )
            if time.monotonic() > self._deadline:
                raise StackError(
                    "the Prefect server was not ready in time",
                    hint=f"its log: {self._paths.log('server')}",
                )
        return None

    def _stop_orphan(self) -> None:
        """A server whose guard was killed belongs to nobody and would never end."""
        record = read_json(self._paths.record("server"))
        if is_running(record) and not is_guarded(record):
            stop_leftover(record)

    def _hold(self) -> bool:
        """Try to borrow; refused while a guard is letting its server end."""
        if self._clients is None:
            return False
        try:
            fcntl.flock(self._clients, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def _start(self, url: str) -> Guarded:
        service = prefect_server()
        port = int(url.rsplit(":", 1)[1].partition("/")[0])
        context = Context(root=self._paths.root, api_url=url, port=port)
        options: dict[str, Any] = {
            "--lock": self._paths.server_lock,
            "--clients": self._paths.clients_lock,
            "--linger": LINGER_S,
        }
        flags = [str(part) for pair in options.items() for part in pair]
        return start_guarded(
            self._paths,
            name=service.name,
            command=service.command(context),
            api_url=url,
            env=service.env(context),
            marker=f"{uuid.uuid4().hex[:12]}.{service.name}",
            grace_s=service.grace_s,
            options=[*flags, "--note", "owner=run", "--note", f"api_url={url}"],
        )


def start_server(root: Path | str) -> ServerHandle:
    """Start a Prefect server on the root's own history, or borrow the one that is there.

    Returns at once; ask `ServerHandle.poll_ready` for its URL, and call `stop` at the end. If this
    process dies, kill -9 included, a server that it started ends too.
    """
    return ServerHandle(root)
