"""Who sends a request: cookies sealed and opened, sessions and personal tokens looked up."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable, MutableMapping
from dataclasses import dataclass, field
from datetime import datetime
from hmac import compare_digest
from typing import TYPE_CHECKING, Any

from itsdangerous import BadSignature, Signer
from starlette.datastructures import Headers
from starlette.requests import cookie_parser
from starlette.responses import Response

if TYPE_CHECKING:
    from labelproof.review.office import Account, Office
    from labelproof.review.web.serve import WebSettings

Clock = Callable[[], datetime]
_VISITOR = "labelproof.visitor"


@dataclass(frozen=True, slots=True, kw_only=True)
class Visitor:
    """A known person. ``session`` None: they came with a personal token, and need no CSRF token."""

    account: Account
    csrf: str = field(repr=False)
    session: str | None = field(repr=False)


def visitor_of(scope: MutableMapping[str, Any]) -> Visitor | None:
    """Return who sent the request of an ASGI scope, as ``security.Gate`` found out."""
    found: Visitor | None = scope.get(_VISITOR)
    return found


def remember_visitor(scope: MutableMapping[str, Any], visitor: Visitor | None) -> None:
    """Keep who sent a request for the pages."""
    scope[_VISITOR] = visitor


class Doorman:
    """Cookies and headers to people, and back. Its lookups block for a moment: call them in a thread."""

    def __init__(self, office: Office, settings: WebSettings, clock: Clock) -> None:
        key = office.signer.cookie_key()
        self._office = office
        self._settings = settings
        self._clock = clock
        self._sessions = Signer(key, salt=b"labelproof session", digest_method=hashlib.sha256)
        self._forms = Signer(key, salt=b"labelproof form", digest_method=hashlib.sha256)
        # Ports share cookies: without a mark in the name two apps on one machine would sign each other out.
        mark = hashlib.sha256(b"labelproof cookie name" + key).hexdigest()[:8]
        prefix = "__Host-" if settings.secure else ""
        self.cookie = f"{prefix}labelproof-{mark}"
        self.form_cookie = f"{prefix}labelproof-form-{mark}"

    def by_bearer(self, token: str) -> Visitor | None:
        """Return the person of a personal token; None when it is unknown, revoked or of a disabled account."""
        account = self._office.accounts.verify_token(token)
        return None if account is None else Visitor(account=account, csrf="", session=None)

    def by_cookie(self, headers: Headers) -> Visitor | None:
        """Return the person of the session cookie; None when it is missing, forged, ended or expired."""
        session = self._session_id(headers)
        if session is None:
            return None
        found = self._office.sessions.find(session, self._clock())
        return None if found is None else Visitor(account=found[0], csrf=found[1], session=session)

    def has_cookie(self, headers: Headers) -> bool:
        """Whether a session cookie came along, valid or not."""
        return self.cookie in cookies_of(headers)

    def begin(self, name: str, response: Response, *, before: str | None) -> None:
        """Start a session with a new id for a person whose password was right; ``before``, the old one, ends."""
        if before is not None:
            self._office.sessions.end(before)
        session = self._office.sessions.start(
            name,
            now=self._clock(),
            hours=self._settings.session_hours,
            idle_minutes=self._settings.idle_minutes,
        )
        self._set(response, self.cookie, self._sessions.sign(session).decode())
        self._drop(response, self.form_cookie)

    def end(self, visitor: Visitor, response: Response, *, everywhere: bool = False) -> None:
        """End this session, or all of this person's, and drop the cookie."""
        if everywhere:
            self._office.sessions.end_all(visitor.account.name)
        elif visitor.session is not None:
            self._office.sessions.end(visitor.session)
        self._drop(response, self.cookie)

    def form_secret(self, headers: Headers) -> str:
        """Return the secret that ties the forms of a person who is not signed in to their browser; maybe a new one."""
        found = cookies_of(headers).get(self.form_cookie, "")
        return found if 20 <= len(found) <= 100 else secrets.token_urlsafe(24)

    def form_token(self, secret: str) -> str:
        """Return the token that belongs into the forms of a browser with this secret."""
        return self._forms.get_signature(secret).decode()

    def keep_form_secret(self, secret: str, response: Response) -> None:
        """Give the browser its secret."""
        self._set(response, self.form_cookie, secret)

    def is_form_token(self, headers: Headers, token: str) -> bool:
        """Whether a form was ours and made for this browser."""
        secret = cookies_of(headers).get(self.form_cookie)
        return bool(secret) and compare_digest(self.form_token(secret or "").encode(), token.encode())

    def _session_id(self, headers: Headers) -> str | None:
        sealed = cookies_of(headers).get(self.cookie)
        if not sealed:
            return None
        try:
            return self._sessions.unsign(sealed).decode()
        except (BadSignature, UnicodeDecodeError):
            return None

    def _set(self, response: Response, name: str, value: str) -> None:
        response.set_cookie(
            name, value, path="/", httponly=True, samesite="lax", secure=self._settings.secure
        )

    def _drop(self, response: Response, name: str) -> None:
        response.delete_cookie(name, path="/", httponly=True, samesite="lax", secure=self._settings.secure)


def cookies_of(headers: Headers) -> dict[str, str]:
    """Return the cookies of a request by name."""
    found: dict[str, str] = {}
    for line in headers.getlist("cookie"):
        found.update(cookie_parser(line))
    return found
