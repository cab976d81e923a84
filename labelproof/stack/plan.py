"""What `labelproof up` will run: which services, at which address."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from labelproof.spec.errors import ConfigError
from labelproof.stack.api import is_healthy, is_loopback
from labelproof.stack.env import HOST, choose_port, free_port, is_port_free, local_api_url
from labelproof.stack.handle import running_server
from labelproof.stack.services import (
    DEFAULT_WORKER_LIMIT,
    REVIEW_PORT,
    Service,
    prefect_server,
    prefect_worker,
    review_app,
)
from labelproof.stack.setup import StackSetup, drain, look_after, read_deployments
from labelproof.stack.supervisor import Supervisor
from labelproof.stack.webhook import wanted_url

REVIEW_VARIABLE = "LABELPROOF_REVIEW_URL"
"""Where people reach the review app; default: on this machine."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The flags of `labelproof up`. ``schedules`` None = as they were (off the first time)."""

    port: int | None = None
    worker: bool = True
    schedules: bool | None = None
    worker_limit: int = DEFAULT_WORKER_LIMIT
    review: bool = True
    """Also serve the review app, where there are projects to review."""
    resume: bool = True
    """Start runs again whose process died."""

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def foreign_api_url(root: Path) -> str | None:
    """Return PREFECT_API_URL if it names a server that is not this root's own; ConfigError if dead.

    A dead address on this machine is where the user expects the server that is about to start.
    """
    named = os.environ.get("PREFECT_API_URL", "").rstrip("/")
    if not named or named == running_server(root, include_borrowed=True):
        return None
    if not is_healthy(named, timeout_s=5.0):
        if is_loopback(named):
            return None
        raise ConfigError(
            f"PREFECT_API_URL names {named}, and no Prefect server answers there",
            key="PREFECT_API_URL",
            hint="start that server, or unset the variable to have a local one",
        )
    return named


def _loopback_port() -> int | None:
    """The port of PREFECT_API_URL if it names this machine and is free; else nothing is expected."""
    named = os.environ.get("PREFECT_API_URL", "")
    if not named or not is_loopback(named):
        return None
    port = urlsplit(named).port
    return port if port is not None and is_port_free(port) else None


def make_supervisor(
    root: Path, options: Options, *, report: Callable[[str], None] = lambda _: None
) -> Supervisor:
    """Return the supervisor for ``root``. With PREFECT_API_URL set, only a worker for that server."""
    read_deployments(root)
    foreign = foreign_api_url(root)
    services: list[Service] = []
    if foreign is None:
        port = choose_port(root, options.port or _loopback_port())
        url = local_api_url(port)
        services.append(prefect_server())
    else:
        port, url = 0, foreign
    reviews = options.review and any((root / "projects").glob("*/project.yaml"))
    review_port = free_port(REVIEW_PORT) if reviews else 0
    public_url = os.environ.get(REVIEW_VARIABLE)
    address = public_url or f"http://{HOST}:{review_port}"
    if options.worker:
        links = {REVIEW_VARIABLE: address} if reviews else {}
        services.append(prefect_worker(limit=options.worker_limit, env=links))
    if reviews:
        services.append(review_app(review_port))
    if not services:
        raise ConfigError(
            f"nothing to start: PREFECT_API_URL names {foreign} and --no-worker was given",
            hint="leave one of the two out",
        )
    return Supervisor(
        root,
        services,
        url,
        port,
        setup=StackSetup(
            schedules=options.schedules,
            own_server=foreign is None,
            with_worker=options.worker,
            webhook=wanted_url(),
            review_url=address if reviews else public_url,
        ),
        drain=drain,
        care=look_after if foreign is None and options.resume else None,
        report=report,
        notes={
            "ui_url": url.removesuffix("/api"),
            "own_server": foreign is None,
            "resume": options.resume,
            "review_url": address if reviews else public_url,
        },
    )
