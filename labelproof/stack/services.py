"""The services of the stack, declared: what to run, when it is ready, what it may rely on."""

from __future__ import annotations

import hashlib
import re
import socket
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.request import urlopen

from labelproof.stack.api import POOL, PrefectApi, StackError, is_healthy
from labelproof.stack.env import HOST, server_env

DEFAULT_WORKER_LIMIT = 4
REVIEW_PORT = 8700


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """What a service's command and readiness test may use. ``started_at`` is of the service."""

    root: Path
    api_url: str
    port: int
    started_at: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """One supervised process. Services start in list order and stop in the reverse order."""

    name: str
    command: Callable[[Context], list[str]]
    ready: Callable[[Context], bool]
    """Asked every quarter of a second while the service starts; must answer at once."""
    env: Callable[[Context], Mapping[str, str]] = field(default=lambda _: {})
    url: Callable[[Context], str | None] = field(default=lambda _: None)
    ready_timeout_s: float = 120.0
    grace_s: float = 15.0
    """Seconds between SIGTERM and SIGKILL."""
    needs_database: bool = False
    """It owns the root's Prefect database: only one such process may run."""
    starts_before_setup: bool = False
    """It must be ready before the pool and the deployments can be written."""


def prefect_server() -> Service:
    """Return the Prefect server with its UI and its background services, on loopback."""
    return Service(
        name="server",
        command=lambda ctx: [
            *(sys.executable, "-m", "prefect", "server", "start"),
            *("--host", HOST, "--port", str(ctx.port), "--analytics-off"),
        ],
        env=lambda ctx: server_env(ctx.port),
        url=lambda ctx: ctx.api_url.removesuffix("/api"),
        ready=lambda ctx: is_healthy(ctx.api_url, timeout_s=2.0),
        ready_timeout_s=180.0,
        needs_database=True,
        starts_before_setup=True,
    )


def prefect_worker(
    pool: str = POOL, *, limit: int = DEFAULT_WORKER_LIMIT, env: Mapping[str, str] | None = None
) -> Service:
    """Return the process worker of ``pool``; each flow run is a process of its own below it.

    ``limit``: runs at once. Without one the first worker to ask takes every run that is due, and
    workers on other machines stay idle. ``env``: variables that its runs see.
    """

    def ready(ctx: Context) -> bool:
        with PrefectApi(ctx.api_url, timeout_s=5.0) as api:
            try:
                return api.is_worker_online(worker_name(ctx.root), since=ctx.started_at, pool=pool)
            except StackError:
                return False  # the server is just restarting; the time limit still holds

    return Service(
        name="worker",
        command=lambda ctx: [
            *(sys.executable, "-m", "prefect", "worker", "start"),
            *("--pool", pool, "--type", "process", "--name", worker_name(ctx.root)),
            *("--install-policy", "never", "--limit", str(limit)),
        ],
        env=lambda _: env or {},
        ready=ready,
    )


def review_app(port: int) -> Service:
    """Return the review app over the root's default store, on loopback."""
    url = f"http://{HOST}:{port}"

    def ready(_: Context) -> bool:
        try:
            with urlopen(f"{url}/login", timeout=2.0) as answer:  # noqa: S310 - our own loopback address
                return bool(answer.status == 200)
        except OSError:
            return False

    return Service(
        name="review",
        command=lambda _: [sys.executable, "-m", "labelproof", "serve", "--port", str(port)],
        ready=ready,
        url=lambda _: url,
    )


def worker_name(root: Path) -> str:
    """Return one stable name per machine and root: restarts leave no trail of dead workers in the UI."""
    host = re.sub(r"[^A-Za-z0-9.-]+", "-", socket.gethostname()) or "local"
    return f"labelproof-{host}-{hashlib.blake2b(str(root).encode(), digest_size=3).hexdigest()}"
