"""Signing in and out, the first admin, invitations, and one's own account."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Depends, Form
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from labelproof.review.model import NotAllowed, ReviewError
from labelproof.review.web._answers import local_path, log, problem
from labelproof.review.web._visitor import Doorman, visitor_of
from labelproof.review.web.context import Context, context_of, renderer
from labelproof.spec.errors import ConfigError

if TYPE_CHECKING:
    from datetime import datetime

    from labelproof.review.office import Office

router = APIRouter()
Signed = Annotated[Context, Depends(context_of)]
Text = Annotated[str, Form()]
_LONGEST = 1_000
_LONGEST_LABEL = 100
_REFUSED = (ConfigError, ReviewError)
_DIFFERENT = "The two new passwords differ."
_USED_LINK = "This link was used before, has expired, or was never made here."
_LINK_HINT = "ask who gave it to you for a new one: labelproof reviewers add or password, with --link"


@router.get("/login")
def login_page(request: Request, next: str = "/") -> Response:  # noqa: A002  # the name in the address
    """Ask for name and password; who is signed in already goes on."""
    back = local_path(next)
    if visitor_of(request.scope) is not None:
        return RedirectResponse(back, 303)
    ended = _doorman(request).has_cookie(request.headers)
    return _open_page(
        request,
        "login.html",
        {"next": back, "notice": "Your session has ended. Sign in again." if ended else ""},
    )


@router.post("/login")
def login(
    request: Request,
    name: Text = "",
    password: Text = "",
    next: Text = "/",  # noqa: A002
) -> Response:
    """Begin a session with a new id, or say only that name and password do not belong together."""
    office, now, address = _office(request), _now(request), _address(request)
    name, back = name.strip(), local_path(next)
    values = {"name": name, "next": back}
    wait_s = office.attempts.wait_s(name, address, now)
    if wait_s > 0:
        return _too_many(request, "login.html", values, wait_s)
    account = office.accounts.verify_password(name, password) if len(password) <= _LONGEST else None
    wait_s = office.attempts.wait_s(name, address, now)
    if wait_s > 0:  # others failed meanwhile: a burst of guesses learns no more than one guess after another
        return _too_many(request, "login.html", values, wait_s)
    if account is None:
        office.attempts.failed(name, address, now)
        known = office.accounts.get(name) is not None  # people type passwords into the wrong field
        log.warning("login of %s from %s failed", repr(name) if known else "an unknown name", address)
        values["error"] = "Name and password do not belong together."
        return _open_page(request, "login.html", values, status=401)
    office.attempts.succeeded(name, address)
    log.info("login of %r from %s", account.name, address)
    return _signed_in(request, account.name, back)


@router.post("/logout")
def logout(request: Request, everywhere: Text = "") -> Response:
    """End this session, or with ``everywhere`` all of this person's, and go to the login page."""
    visitor = visitor_of(request.scope)
    response = RedirectResponse("/login", 303)
    if visitor is not None:
        _doorman(request).end(visitor, response, everywhere=bool(everywhere))
    return response


@router.get("/setup")
def setup_page(request: Request, token: str = "") -> Response:
    """Ask for the first admin's name and password; the link is used up by sending the form."""
    return _open_page(request, "setup.html", {"token": token, "setup": True})


@router.post("/setup")
def setup(
    request: Request, token: Text = "", name: Text = "", password: Text = "", again: Text = ""
) -> Response:
    """Make the first admin and sign them in."""
    return _use_link(request, token, name=name, password=password, again=again)


@router.get("/join")
def join_page(request: Request, token: str = "") -> Response:
    """Ask an invited reviewer, or one who forgot it, for a new password; sending the form uses the link up."""
    return _open_page(request, "setup.html", {"token": token, "setup": False})


@router.post("/join")
def join(request: Request, token: Text = "", password: Text = "", again: Text = "") -> Response:
    """Set the password of the link's account and sign them in."""
    return _use_link(request, token, name=None, password=password, again=again)


@router.get("/account")
def account_page(ctx: Signed, request: Request) -> Response:
    """Show who one is here, and one's tokens."""
    return _account_page(ctx, request)


@router.post("/account/password")
def change_password(
    ctx: Signed, request: Request, current: Text = "", password: Text = "", again: Text = ""
) -> Response:
    """Change one's password; every other session of this person ends."""
    _with_session(ctx)
    office, now, address, name = _office(request), _now(request), _address(request), ctx.user.name
    wait_s = office.attempts.wait_s(name, address, now)
    if wait_s > 0:
        return _account_page(ctx, request, error=_wait_words(wait_s), status=429, wait_s=wait_s)
    if len(current) > _LONGEST or office.accounts.verify_password(name, current) is None:
        office.attempts.failed(name, address, now)
        return _account_page(ctx, request, error="The current password is not right.", status=403)
    office.attempts.succeeded(name, address)
    if password != again:
        return _account_page(ctx, request, error=_DIFFERENT, status=400)
    try:
        office.accounts.set_password(name, password)
    except _REFUSED as error:
        return _account_page(ctx, request, error=error.message, status=400)
    log.info("%r changed their password from %s", name, address)
    return _signed_in(request, name, "/account?done=password")


@router.post("/account/tokens")
def make_token(ctx: Signed, request: Request, label: Text = "") -> Response:
    """Make a personal token and show it this once."""
    _with_session(ctx)
    label = label.strip()
    if not 1 <= len(label) <= _LONGEST_LABEL:
        error = (
            f"Give the token a name of at most {_LONGEST_LABEL} characters, such as where you will use it."
        )
        return _account_page(ctx, request, error=error, status=400)
    made = _office(request).accounts.new_token(ctx.user.name, label, _now(request))
    return _account_page(ctx, request, token=made, token_label=label)


@router.post("/account/tokens/revoke")
def revoke_token(ctx: Signed, request: Request, token_id: Text = "") -> Response:
    """Revoke one of one's own tokens."""
    _with_session(ctx)
    if not _office(request).accounts.revoke_token(ctx.user.name, token_id):
        return _account_page(ctx, request, error="There is no such token of yours any more.", status=404)
    return RedirectResponse("/account?done=token", 303)


_DONE = {
    "password": "Your password is changed, and your other sessions have ended.",
    "token": "The token is revoked.",
}


def _account_page(
    ctx: Context, request: Request, *, status: int = 200, wait_s: float = 0.0, **said: str
) -> Response:
    done = _DONE.get(request.query_params.get("done", ""), "")
    tokens = _office(request).accounts.tokens(ctx.user.name)
    values = {"account": ctx.account, "tokens": tokens, "flash": done, **said}
    page = ctx.render("account.html", values, status=status)
    if wait_s > 0:
        page.headers["Retry-After"] = str(math.ceil(wait_s))
    return page


def _use_link(request: Request, token: str, *, name: str | None, password: str, again: str) -> Response:
    """Use a one-time link up; a password that will not do gives the form again, with a new link in it."""
    office, now = _office(request), _now(request)
    values: dict[str, Any] = {"token": token, "setup": name is not None, "name": (name or "").strip()}
    if password != again:
        return _open_page(request, "setup.html", {**values, "error": _DIFFERENT}, status=400)
    link = office.accounts.use_link(token, now)
    if link is None or (link.purpose == "setup") != (name is not None):
        return problem(request, 410, _USED_LINK, hint=_LINK_HINT)
    try:
        account = _first_admin(office, values["name"], password, now) if name is not None else None
        if account is None:
            account = _new_password(office, link.name, password)
    except NotAllowed:
        raise
    except _REFUSED as error:
        values["token"] = office.accounts.new_link(link.purpose, link.name, link.role, now)
        return _open_page(request, "setup.html", {**values, "error": error.message}, status=400)
    log.info("%r used a %s link from %s", account, link.purpose, _address(request))
    return _signed_in(request, account, "/")


def _first_admin(office: Office, name: str, password: str, now: datetime) -> str:
    if any(one.active and one.has_password and one.role == "admin" for one in office.accounts.list()):
        raise NotAllowed("There is an admin already.", hint="ask them for an account")
    return office.accounts.add(name, role="admin", password=password, now=now).name


def _new_password(office: Office, name: str | None, password: str) -> str:
    account = office.accounts.get(name or "")
    if account is None or not account.active:
        raise NotAllowed("This account is disabled.", hint="ask who runs this app")
    office.accounts.set_password(account.name, password)
    return account.name


def _signed_in(request: Request, name: str, back: str) -> Response:
    response = RedirectResponse(back, 303)
    visitor = visitor_of(request.scope)
    _doorman(request).begin(name, response, before=visitor.session if visitor else None)
    return response


def _open_page(request: Request, template: str, values: dict[str, Any], *, status: int = 200) -> Response:
    """Return a form for somebody who is not signed in, tied to their browser."""
    doorman = _doorman(request)
    secret = doorman.form_secret(request.headers)
    render = renderer(request, visitor=None, projects=[])
    page = render(template, {**values, "csrf": doorman.form_token(secret)}, status=status)
    doorman.keep_form_secret(secret, page)
    return page


def _too_many(request: Request, template: str, values: dict[str, Any], wait_s: float) -> Response:
    page = _open_page(request, template, {**values, "error": _wait_words(wait_s)}, status=429)
    page.headers["Retry-After"] = str(math.ceil(wait_s))
    return page


def _wait_words(wait_s: float) -> str:
    minutes = math.ceil(wait_s / 60)
    wait = f"{math.ceil(wait_s)} seconds" if wait_s < 90 else f"{minutes} minutes"
    return f"Too many tries. Wait {wait}, then try again."


def _with_session(ctx: Context) -> None:
    if ctx.by_token:
        raise NotAllowed("A personal token may not change the account.", hint="sign in with a browser")


def _doorman(request: Request) -> Doorman:
    doorman: Doorman = request.app.state.doorman
    return doorman


def _office(request: Request) -> Office:
    office: Office = request.app.state.office
    return office


def _now(request: Request) -> datetime:
    now: datetime = request.app.state.clock()
    return now


def _address(request: Request) -> str:
    return request.client.host if request.client else ""
