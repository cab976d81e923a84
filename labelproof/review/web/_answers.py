"""Answers that are not pages: refusals and failures, as a page for a person and as JSON for a program."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Mapping
from http import HTTPStatus
from urllib.parse import quote, urlsplit

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response

from labelproof.review.model import NotAllowed, ReviewError
from labelproof.review.web._visitor import visitor_of
from labelproof.review.web.context import SignInNeeded, renderer, visible_projects
from labelproof.spec.errors import ConfigError, LabelproofError, StoreError

log = logging.getLogger("labelproof.review.web")
LOGIN = "/login"
_SAFE_METHODS = frozenset(("GET", "HEAD"))
_LONGEST_NEXT = 2_000


def problem(
    request: Request,
    status: int,
    message: str,
    *,
    hint: str | None = None,
    reference: str | None = None,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """Return a refusal: ``error.html`` for a browser that opens a page, else JSON with ``message``.

    ``reference``: what to look for in the log.
    """
    if not wants_page(request):
        said = {"message": message, "hint": hint, "reference": reference}
        body = {key: value for key, value in said.items() if value is not None}
        return JSONResponse({"status": status, **body}, status, headers)
    visitor = visitor_of(request.scope)
    projects = visible_projects(request.app.state.desk, visitor.account.reviewer) if visitor else []
    render = renderer(request, visitor=visitor, projects=projects)
    values = {"code": status, "message": message, "hint": hint, "reference": reference}
    page = render("error.html", {**values, "heading": _heading(status)}, status=status)
    page.headers.update(headers or {})
    return page


def plain_failure(reference: str) -> Response:
    """Return what is left to say when even the error page fails."""
    return PlainTextResponse(f"Something went wrong here. In the log it is {reference}.", 500)


def wants_page(request: Request) -> bool:
    """Whether a browser is about to show the answer as a page; scripts, htmx and programs get JSON."""
    if "hx-request" in request.headers:
        return False
    mode = request.headers.get("sec-fetch-mode")
    if mode is not None:
        return mode == "navigate"
    return "text/html" in request.headers.get("accept", "")


def sign_in_answer(request: Request) -> Response:
    """Send a browser to the login page and back afterwards; anything else gets 401 and where to go."""
    if request.method in _SAFE_METHODS and wants_page(request):
        asked = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        return RedirectResponse(login_address(asked), 303)
    headers = {"WWW-Authenticate": "Bearer"}
    if "authorization" in request.headers:
        return problem(
            request, 401, "This token is unknown, revoked, or its account is disabled.", headers=headers
        )
    try:
        shown = urlsplit(request.headers.get("hx-current-url", ""))
    except ValueError:  # not an address
        shown = urlsplit("/")
    back = shown.path + (f"?{shown.query}" if shown.query else "")
    return problem(
        request,
        401,
        "You are not signed in, or your session has ended.",
        hint="sign in again; what you had sent before is kept",
        headers={**headers, "HX-Redirect": login_address(back)},
    )


def login_address(back: str) -> str:
    """Return the login page's address, with where to go afterwards unless that is the start page."""
    back = local_path(back)
    return LOGIN if back == "/" else f"{LOGIN}?next={quote(back, safe='/')}"


def local_path(address: str) -> str:
    """Return an address if it is a path of this app, else ``/``: nobody is sent elsewhere after the login."""
    strange = any(mark.isspace() or not mark.isprintable() or mark == "\\" for mark in address)
    if strange or len(address) > _LONGEST_NEXT or not address.startswith("/") or address.startswith("//"):
        return "/"
    parts = urlsplit(address)
    if parts.scheme or parts.netloc or parts.path in (LOGIN, "/logout", "/setup", "/join"):
        return "/"
    return address


def add_handlers(app: FastAPI) -> None:
    """Answer the errors that pages raise on purpose; any other is ``security.Faults``'s."""

    async def sign_in(request: Request, _: Exception) -> Response:
        return sign_in_answer(request)

    async def refused(request: Request, error: Exception) -> Response:
        assert isinstance(error, LabelproofError)
        status = 403 if isinstance(error, NotAllowed) else 409 if isinstance(error, ReviewError) else 400
        return problem(request, status, error.message, hint=error.hint)

    async def failing(request: Request, error: Exception) -> Response:
        reference = secrets.token_hex(4)
        log.error("request %s met a failing store: %s", reference, error)
        return problem(
            request,
            503,
            "The store cannot be used right now. Try again in a moment: an answer that is sent twice counts once.",
            reference=reference,
            headers={"Retry-After": "5"},
        )

    async def http(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        known = error.detail if error.detail != _phrase(error.status_code) else _MEANT.get(error.status_code)
        return problem(request, error.status_code, known or _phrase(error.status_code), headers=error.headers)

    async def invalid(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        places = sorted({".".join(str(part) for part in one["loc"][1:]) for one in error.errors()} - {""})
        where = f" ({', '.join(places)[:200]})" if places else ""
        return problem(request, 422, f"What was sent is not what this page expects{where}.")

    app.add_exception_handler(SignInNeeded, sign_in)
    app.add_exception_handler(ReviewError, refused)
    app.add_exception_handler(ConfigError, refused)
    app.add_exception_handler(StoreError, failing)
    app.add_exception_handler(HTTPException, http)
    app.add_exception_handler(RequestValidationError, invalid)


_MEANT = {404: "There is no such page here.", 405: "This address does not take that kind of request."}
_HEADINGS = {
    400: "That did not work",
    401: "Please sign in",
    403: "Not allowed",
    404: "Not found",
    409: "That is not possible any more",
    413: "Too large",
    429: "Too many tries",
    500: "Something went wrong here",
    503: "Not right now",
}


def _heading(status: int) -> str:
    return _HEADINGS.get(status, _phrase(status))


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Error"
