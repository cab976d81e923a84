"""A review app over a real office and no queue: enough for sign-in, roles and every rule about requests."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Annotated, Any, cast

from fastapi import Depends, FastAPI
from fastapi.testclient import TestClient

from labelproof.review.desk import Desk
from labelproof.review.model import AccountRole, LeaseLost, ReviewError
from labelproof.review.office import Office, open_office
from labelproof.review.web.app import make_app
from labelproof.review.web.context import Context, admin_only, context_of, lead_only
from labelproof.review.web.serve import WebSettings
from labelproof.spec.errors import ConfigError
from tests.review.office_helpers import CHEAP

BASE = "http://localhost:8700"
Response = Any
"""What the test client gives: httpx's, or that of the fork it prefers."""
PASSWORD = "a long sentence of words"
T0 = datetime(2026, 3, 2, 12, tzinfo=UTC)
OURS = {"Sec-Fetch-Site": "same-origin"}
AS_BROWSER = {"Accept": "text/html", "Sec-Fetch-Mode": "navigate"}


class Site:
    """The app, its office, and a clock that tests move. ``probe`` routes answer what they are asked to."""

    def __init__(self, tmp_path: Path, settings: WebSettings | None = None) -> None:
        self.now = T0
        self.settings = settings or WebSettings()
        self.office: Office = open_office(tmp_path / "office.db", clock=lambda: self.now, hasher=CHEAP)
        desk = cast(Desk, SimpleNamespace(projects={"alpha": object(), "beta": object()}, office=self.office))
        self.app = make_app(desk, self.office, self.settings, clock=lambda: self.now)
        add_probes(self.app)
        self.base = self.settings.public_url or BASE

    def close(self) -> None:
        self.office.close()

    def later(self, **time: float) -> None:
        self.now += timedelta(**time)

    def add(
        self,
        name: str,
        *,
        role: AccountRole = "reviewer",
        password: str | None = PASSWORD,
        projects: Any = (),
    ) -> str:
        self.office.accounts.add(name, role=role, password=password, projects=projects, now=self.now)
        return name

    def client(self, *, address: str = "192.0.2.7", **headers: str) -> TestClient:
        """Return a browser's worth of cookies; nothing follows redirects by itself."""
        return TestClient(
            self.app,
            base_url=self.base,
            follow_redirects=False,
            client=(address, 50_000),
            headers=headers,
        )

    def signed_in(self, name: str, **headers: str) -> TestClient:
        client = self.client(**headers)
        answer = sign_in(client, name)
        assert answer.status_code == 303, answer.text
        return client

    def session_cookie(self) -> str:
        name: str = self.app.state.doorman.cookie
        return name


def add_probes(app: FastAPI) -> None:
    """Add routes that raise, repeat or tell who asked."""

    @app.get("/probe/who")
    async def who(ctx: Annotated[Context, Depends(context_of)]) -> dict[str, Any]:
        return {"name": ctx.user.name, "projects": ctx.projects, "csrf": ctx.csrf, "by_token": ctx.by_token}

    @app.post("/probe/change")
    async def change(ctx: Annotated[Context, Depends(context_of)]) -> dict[str, str]:
        return {"changed_by": ctx.user.name}

    @app.get("/probe/lead")
    async def lead(ctx: Annotated[Context, Depends(lead_only)]) -> dict[str, str]:
        return {"name": ctx.user.name}

    @app.get("/probe/admin")
    async def admin(ctx: Annotated[Context, Depends(admin_only)]) -> dict[str, str]:
        return {"name": ctx.user.name}

    @app.get("/probe/in/{project}")
    async def in_project(project: str, ctx: Annotated[Context, Depends(context_of)]) -> dict[str, str]:
        return {"project": project, "name": ctx.user.name}

    @app.get("/probe/raise/{kind}")
    async def fail(kind: str) -> None:
        raise _ERRORS[kind]


_ERRORS: Mapping[str, Exception] = {
    "review": ReviewError("You answered this already."),
    "lease": LeaseLost("The task has gone to a colleague.", hint="take the next one"),
    "config": ConfigError("labels: expected safe or hate, found 'nope'"),
    "bug": RuntimeError("password=hunter2 in /srv/secret/path"),
}


def sign_in(client: TestClient, name: str, password: str = PASSWORD, **fields: str) -> Response:
    """Fill in the login form as a browser does."""
    page = client.get("/login")
    values = {"name": name, "password": password, "csrf": csrf_in(page), **fields}
    return client.post("/login", data=values, headers=OURS)


def csrf_in(page: Response) -> str:
    """Return the token of a page's forms."""
    found = re.search(r'name="csrf" value="([^"]+)"', page.text)
    assert found is not None, page.text
    return found[1]


def csrf_of(client: TestClient) -> str:
    """Return the token of a signed-in client."""
    return str(client.get("/probe/who").json()["csrf"])


def change(
    client: TestClient, token: str | None, headers: Mapping[str, str] = OURS, **extra: Any
) -> Response:
    """Send a change with a token in the header."""
    sent = {**headers, **({"X-CSRF-Token": token} if token is not None else {})}
    return client.post("/probe/change", headers=sent, **extra)


def routes_of(app: FastAPI) -> Iterator[tuple[str, str]]:
    """Give method and path of every route, those of included routers too."""
    for route in app.routes:
        inner = getattr(route, "original_router", None)
        for one in [route] if inner is None else inner.routes:
            for method in getattr(one, "methods", None) or ():
                yield method, str(getattr(one, "path", ""))
