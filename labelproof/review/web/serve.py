"""Serving the app: where it listens, what it refuses to do, and the process that runs until it is told to stop."""

from __future__ import annotations

import asyncio
import ipaddress
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal
from urllib.parse import urlsplit

from labelproof.spec.errors import ConfigError

if TYPE_CHECKING:
    import uvicorn

    from labelproof.review.desk import Desk
    from labelproof.review.office import Office

DEFAULT_PORT = 8700
_TRIED_PORTS = 20
_GRACE_S = 10
_SETUP_MINUTES = 60
_LOOPBACK_NAMES = frozenset(("localhost", "127.0.0.1", "::1"))


@dataclass(frozen=True, slots=True, kw_only=True)
class WebSettings:
    """Where the app is and how people reach it.

    ``port`` None: 8700 or the next free one. ``public_url``: ``https://review.example.org``, the address of the TLS
    proxy as people type it; ``trusted_proxy``: that proxy's own address or network (several with commas), the
    only one whose X-Forwarded-* headers count. ``session_hours``: how long a login lasts; ``idle_minutes``: without a
    sign of life.
    """

    host: str = "127.0.0.1"
    port: int | None = None
    public_url: str | None = None
    trusted_proxy: str | None = None
    session_hours: float = 12.0
    idle_minutes: float = 120.0

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can connect."""
        return is_loopback(self.host)

    @property
    def secure(self) -> bool:
        """Whether people come over TLS, so that cookies and HSTS may insist on it."""
        return self.public_url is not None and self.public_url.casefold().startswith("https://")

    @property
    def origins(self) -> frozenset[str]:
        """The public address as browsers write it in Origin; empty without one."""
        if self.public_url is None:
            return frozenset()
        parts = urlsplit(self.public_url)
        return frozenset((f"{parts.scheme}://{parts.netloc}".casefold(),))

    @property
    def host_names(self) -> frozenset[str]:
        """Names that a request's Host may have, without port: loopback's, the public one, the bound address."""
        names = set(_LOOPBACK_NAMES)
        if self.public_url is not None:
            names.add((urlsplit(self.public_url).hostname or "").casefold())
        if not _is_any(self.host):
            names.add(self.host.strip("[]").casefold())
        return frozenset(names - {""})


def is_loopback(host: str) -> bool:
    """Return whether an address to bind is this machine's own and nothing else."""
    name = host.strip("[]").casefold()
    if name == "localhost":
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def refusal(settings: WebSettings, office: Office) -> str | None:
    """Return why these settings would be unsafe and which flags mend it; None: they are fine."""
    return _address_refusal(settings) or _people_refusal(settings, office)


def _address_refusal(settings: WebSettings) -> str | None:
    url, proxy = settings.public_url, settings.trusted_proxy
    if url is not None:
        parts = urlsplit(url)
        if parts.scheme.casefold() != "https" or not parts.hostname or parts.path.strip("/") or parts.query:
            return (
                f"--public-url is the address that people type, with https and without a path: found {url!r}, "
                "expected something like --public-url https://review.example.org"
            )
    if proxy is not None:
        wrong = _wrong_proxy(proxy)
        if wrong is not None:
            return f"--trusted-proxy takes the TLS proxy's own IP address or network: {wrong}"
    if (url is None) != (proxy is None):
        missing, given = (
            ("--public-url https://…", "--trusted-proxy")
            if url is None
            else ("--trusted-proxy ADDRESS", "--public-url")
        )
        return (
            f"{given} needs {missing}: the first is the https address that people type, the second the IP address "
            "from which the TLS proxy connects to this app"
        )
    if not settings.is_loopback and url is None:
        return (
            f"--host {settings.host} would show the texts and logins to the network without encryption. Put a TLS proxy "
            "in front and add --public-url https://… and --trusted-proxy ADDRESS (the proxy's IP address), or "
            "leave --host away to serve this machine only"
        )
    return None


def _people_refusal(settings: WebSettings, office: Office) -> str | None:
    if settings.is_loopback or any(one.active and one.has_password for one in office.accounts.list()):
        return None
    return (
        f"--host {settings.host} needs at least one account with a password, so that nobody else makes the first one. "
        "Make it with: labelproof reviewers add NAME --role admin --password-stdin"
    )


def _wrong_proxy(proxy: str) -> str | None:
    for one in proxy.split(","):
        try:
            network = ipaddress.ip_network(one.strip(), strict=False)
        except ValueError:
            return f"{one.strip()!r} is neither"
        if network.prefixlen == 0:
            return f"{one.strip()} is everybody"
    return None


def _is_any(host: str) -> bool:
    try:
        return ipaddress.ip_address(host.strip("[]")).is_unspecified
    except ValueError:
        return host == ""


def setup_link(settings: WebSettings, office: Office, base_url: str, *, now: datetime) -> str | None:
    """Return a one-time address that makes the first admin; None when somebody can sign in as admin already."""
    if any(one.active and one.has_password and one.role == "admin" for one in office.accounts.list()):
        return None
    token = office.accounts.new_link("setup", None, "admin", now, minutes=_SETUP_MINUTES)
    return f"{settings.public_url or base_url}/setup?token={token}".replace("//setup", "/setup")


def listen(settings: WebSettings) -> socket.socket:
    """Return a listening socket; with no port asked for, 8700 or the first free one of the next 19.

    ``ConfigError``: the port that was asked for is taken, none is free, or the address is not this machine's.
    """
    ports = range(DEFAULT_PORT, DEFAULT_PORT + _TRIED_PORTS) if settings.port is None else (settings.port,)
    last: OSError | None = None
    for port in ports:
        try:
            return _bound(settings.host.strip("[]"), port)
        except OSError as error:
            last = error
    tried = str(ports[0]) if len(ports) == 1 else f"{ports[0]} to {ports[-1]}"
    raise ConfigError(
        f"cannot listen on {settings.host}, port {tried}: {last.strerror if last else 'no port'}",
        hint="choose another --port, or stop what uses it",
    ) from last


def _bound(host: str, port: int) -> socket.socket:
    family, kind, proto, _, address = socket.getaddrinfo(
        host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    listener = socket.socket(family, kind, proto)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(128)
    except OSError:
        listener.close()
        raise
    return listener


def run_server(desk: Desk, office: Office, settings: WebSettings, *, announce: Callable[[str], None]) -> None:
    """Serve until SIGTERM or Ctrl-C, then finish what is under way (10 s at most) and return.

    ``announce`` gets the address, and a one-time link when nobody can sign in as admin yet. The desk's
    threads are the caller's to start and close. ``ConfigError``: settings that would be unsafe, or no port.
    """
    import uvicorn

    from labelproof.review.web.app import make_app

    unsafe = refusal(settings, office)
    if unsafe is not None:
        raise ConfigError(unsafe)
    listener = listen(settings)
    try:
        app = make_app(desk, office, settings)
        server = uvicorn.Server(server_config(app, settings))
        base_url = _base_url(settings, listener)
        announce(f"Labelproof is at {settings.public_url or base_url}")
        link = setup_link(settings, office, base_url, now=datetime.now(UTC))
        if link is not None:
            announce(f"Nobody can sign in as admin yet. Make the first one within an hour at {link}")
        with _quiet_stop():
            server.run(sockets=[listener])
    finally:
        listener.close()


def server_config(app: Callable[..., object], settings: WebSettings) -> uvicorn.Config:
    """Return how uvicorn runs the app: one process, HTTP/1.1, no server header, no access log (it would keep tokens)."""
    import uvicorn

    return uvicorn.Config(
        app,
        http=_protocol(),
        access_log=False,
        server_header=False,
        proxy_headers=settings.trusted_proxy is not None,
        forwarded_allow_ips=settings.trusted_proxy or "",
        timeout_graceful_shutdown=_GRACE_S,
        timeout_keep_alive=30,
        h11_max_incomplete_event_size=32_768,
        ws="none",
        lifespan="off",
        log_config=None,
        log_level="warning",
    )


def _protocol() -> type[asyncio.Protocol] | Literal["h11"]:
    """Return uvicorn's fast parser with limits, or, on systems without httptools, the slower one that has its own."""
    try:
        from labelproof.review.web._http import BoundedHttp
    except ModuleNotFoundError:
        return "h11"
    return BoundedHttp


def _base_url(settings: WebSettings, listener: socket.socket) -> str:
    host = settings.host.strip("[]")
    return f"http://{f'[{host}]' if ':' in host else host}:{listener.getsockname()[1]}"


@contextmanager
def _quiet_stop() -> Iterator[None]:
    """Let the signals that stopped the server, which uvicorn raises again, end nothing but the server."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, lambda *_: None)
    try:
        yield
    except KeyboardInterrupt:
        return
    finally:
        signal.signal(signal.SIGTERM, before)
