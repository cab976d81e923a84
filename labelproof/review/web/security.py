"""What every request passes before a page sees it, and every response before a browser does; plain ASGI.

``Shield`` sets the headers of every response, ``Faults`` turns what nobody expected into an answer without
internals, ``Gate`` checks host, size, origin and CSRF token and finds out who asks.
"""

from __future__ import annotations

import logging
import re
import secrets
from hmac import compare_digest

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from labelproof.review.web._answers import plain_failure, problem, sign_in_answer
from labelproof.review.web._visitor import Doorman, Visitor, remember_visitor, visitor_of
from labelproof.review.web.serve import WebSettings

log = logging.getLogger("labelproof.review.web")
MOST_BYTES = 1_000_000
"""Largest body of a request."""
STATIC = "/static/"
OPEN_FORMS = frozenset(("/login", "/setup", "/join"))
"""Forms of people who are not signed in; their token belongs to the browser instead of a session."""
SAFE_METHODS = frozenset(("GET", "HEAD", "OPTIONS"))
CSRF_HEADER = "x-csrf-token"
CSRF_FIELD = "csrf"
_SOURCES = {
    "default-src": "'none'",
    "script-src": "'self'",
    "style-src": "'self'",
    "img-src": "'self'",
    "connect-src": "'self'",
    "form-action": "'self'",
    "base-uri": "'none'",
    "frame-ancestors": "'none'",
}
CONTENT_POLICY = "; ".join(f"{kind} {source}" for kind, source in _SOURCES.items())
_NOTHING = (
    "accelerometer",
    "camera",
    "display-capture",
    "geolocation",
    "gyroscope",
    "magnetometer",
    "microphone",
)
HEADERS = {
    "Content-Security-Policy": CONTENT_POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": ", ".join(f"{one}=()" for one in (*_NOTHING, "midi", "payment", "usb")),
}
TLS_ONLY = {"Strict-Transport-Security": "max-age=31536000"}
_HOST = re.compile(r"(?:\[(?P<v6>[0-9a-fA-F:.]+)\]|(?P<name>[^\[\]:/@\s]+))(?::\d{1,5})?")
_FORM_TYPES = ("application/x-www-form-urlencoded", "multipart/form-data")


class Shield:
    """Sets the security headers of every response; pages are never kept by a cache."""

    def __init__(self, app: ASGIApp, *, secure: bool) -> None:
        self._app = app
        self._headers = {**HEADERS, **(TLS_ONLY if secure else {})}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def shielded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.update(self._headers)
                if not (scope["path"].startswith(STATIC) and "cache-control" in headers):
                    headers["Cache-Control"] = "no-store"
            await send(message)

        await self._app(scope, receive, shielded)


class Faults:
    """Answers an error that nobody expected with 500 and a short id; the log has the same id with the traceback."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = False

        async def watched(message: Message) -> None:
            nonlocal started
            started = started or message["type"] == "http.response.start"
            await send(message)

        try:
            await self._app(scope, receive, watched)
        except Exception:  # wide: the last guard; whatever a page raises becomes a 500 with a reference
            if started or scope["type"] != "http":
                raise
            reference = secrets.token_hex(4)
            log.exception("request %s failed: %s %r", reference, scope["method"], scope["path"])
            await _failure(Request(scope), reference)(scope, receive, send)


def _failure(request: Request, reference: str) -> Response:
    try:
        return problem(
            request,
            500,
            "The server could not do this. It is not your fault; what was saved before is kept.",
            hint=f"try again, and if it stays so, tell who runs this app: {reference}",
            reference=reference,
        )
    except Exception:  # wide: a template or a value of the error page itself may fail with anything
        log.exception("the error page failed for request %s", reference)
        return plain_failure(reference)


class Gate:
    """Lets through what may reach the pages, with ``visitor_of(scope)`` set."""

    def __init__(self, app: ASGIApp, *, doorman: Doorman, settings: WebSettings) -> None:
        self._app = app
        self._doorman = doorman
        self._settings = settings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
            return
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request = Request(scope, receive)
        answer = self._misdirected(request)
        if answer is None and not scope["path"].startswith(STATIC):
            answer = await self._unknown(request)
        if answer is None:
            try:
                body = await _whole_body(request)
            except ClientDisconnect:
                return
            except _TooLarge:
                limit = f"The request is larger than {MOST_BYTES:,} bytes."
                answer = problem(request, 413, limit, headers={"Connection": "close"})
            else:
                receive = _replay(body, receive)
                if request.method not in SAFE_METHODS:
                    answer = await self._forged(request, Request(scope, _replay(body, receive)))
        await (answer or self._app)(scope, receive, send)

    def _misdirected(self, request: Request) -> Response | None:
        """Refuse names that are not ours (a page elsewhere may point its name at this address), and ways around TLS."""
        hosts = request.headers.getlist("host")
        if len(hosts) != 1 or host_name(hosts[0]) not in self._settings.host_names:
            return problem(
                request,
                400,
                "This app does not answer to that host name.",
                hint="open it by the address that labelproof serve printed, or start it with --public-url",
            )
        if not self._settings.is_loopback and request.scope["scheme"] != "https":
            return problem(
                request,
                403,
                f"This app answers only over TLS: {self._settings.public_url}.",
                hint="the TLS proxy must be --trusted-proxy and send X-Forwarded-Proto: https",
            )
        return None

    async def _unknown(self, request: Request) -> Response | None:
        """Find out who asks; only a token that is not (or no longer) known is refused here."""
        kind, _, token = request.headers.get("authorization", "").partition(" ")
        visitor: Visitor | None
        if kind.casefold() == "bearer":
            visitor = await run_in_threadpool(self._doorman.by_bearer, token.strip())
            if visitor is None:
                return sign_in_answer(request)
        else:
            visitor = await run_in_threadpool(self._doorman.by_cookie, request.headers)
        remember_visitor(request.scope, visitor)
        return None

    async def _forged(self, request: Request, copy: Request) -> Response | None:
        """Refuse a change that this app's own pages did not send; ``copy`` is read for the form's token."""
        visitor = visitor_of(request.scope)
        if visitor is not None and visitor.session is None:
            return None  # a browser never adds a bearer token by itself
        if not self._is_ours(request):
            return problem(request, 403, "This request came from another site, and nothing was done.")
        is_open = request.url.path in OPEN_FORMS
        if visitor is None and not is_open:
            return sign_in_answer(request)
        token = request.headers.get(CSRF_HEADER) or await _form_token(copy)
        if visitor is not None and compare_digest(visitor.csrf.encode(), token.encode()):
            return None
        if is_open and self._doorman.is_form_token(request.headers, token):
            return None
        return problem(
            request,
            403,
            "This page is no longer valid, and nothing was done.",
            hint="go back, reload the page and try again (the browser must keep cookies)",
        )

    def _is_ours(self, request: Request) -> bool:
        """Whether the browser says that the request comes from this very origin.

        Under Referrer-Policy no-referrer a form's Origin is "null", so Sec-Fetch-Site decides where there is one.
        """
        site, origin = request.headers.get("sec-fetch-site"), request.headers.get("origin")
        if site is not None and site != "same-origin":
            return False
        if origin is None or origin == "null":
            return site == "same-origin"
        here = f"{request.scope['scheme']}://{request.headers['host']}".casefold()
        return origin.casefold() == here or origin.casefold() in self._settings.origins


def host_name(host: str) -> str:
    """Return the name in a Host header, lower case, without port, brackets and final dot; empty if it is malformed."""
    found = _HOST.fullmatch(host)
    return (found["v6"] or found["name"]).casefold().removesuffix(".") if found else ""


class _TooLarge(Exception):
    """The body is larger than ``MOST_BYTES``."""


async def _whole_body(request: Request) -> bytes:
    declared = request.headers.get("content-length", "0")
    if not declared.isdigit() or int(declared) > MOST_BYTES:
        raise _TooLarge
    parts: list[bytes] = []
    size = 0
    async for part in request.stream():
        size += len(part)
        if size > MOST_BYTES:
            raise _TooLarge
        parts.append(part)
    return b"".join(parts)


def _replay(body: bytes, rest: Receive) -> Receive:
    """Return a ``receive`` that gives a body that was read, then whatever comes after it."""
    given = False

    async def receive() -> Message:
        nonlocal given
        if given:
            return await rest()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return receive


async def _form_token(request: Request) -> str:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().casefold()
    if kind not in _FORM_TYPES:
        return ""
    try:
        async with request.form(max_files=0, max_fields=200) as form:
            token = form.get(CSRF_FIELD)
    except (HTTPException, MultiPartException):
        return ""
    return token if isinstance(token, str) else ""
