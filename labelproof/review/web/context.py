"""What a page needs to know of the request: who asks, what they may see, and how to answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Protocol

from fastapi import Depends, HTTPException
from fastapi.responses import HTMLResponse
from jinja2 import Environment, FileSystemLoader
from starlette.requests import Request

from labelproof.report.compare.page.view import TEMPLATES as COMPARE
from labelproof.review.model import NotAllowed, Reviewer
from labelproof.review.web._memo import Memo
from labelproof.review.web._visitor import Visitor, visitor_of

if TYPE_CHECKING:
    from labelproof.review.desk import Desk
    from labelproof.review.office import Account
    from labelproof.review.web._static import Assets

TEMPLATES = Path(__file__).parent / "templates"


class Render(Protocol):
    """Fills a template; ``status`` is that of the response."""

    def __call__(
        self, template: str, values: Mapping[str, Any] | None = None, *, status: int = 200
    ) -> HTMLResponse: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """One signed-in request. ``projects``: names of those that this person may see, sorted.

    ``csrf``: to send back with every change, as the header X-CSRF-Token or the form field csrf. ``by_token``: asked
    with a personal token instead of a browser's session.
    """

    desk: Desk
    user: Reviewer
    csrf: str = field(repr=False)
    projects: list[str]
    render: Render
    account: Account
    by_token: bool
    memo: Memo
    """Results of costly pages, kept for half a minute."""


def templates(assets: Assets) -> Environment:
    """Return the page templates; autoescape is on for every file, whatever its name."""
    found = Environment(
        loader=FileSystemLoader((TEMPLATES, COMPARE)), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    found.globals["static_url"] = assets.url
    for name in found.list_templates():  # compiled now: not for the first twenty people at once
        found.get_template(name)
    return found


def renderer(request: Request, *, visitor: Visitor | None, projects: list[str]) -> Render:
    """Return a function that fills a template for this request; ``base.html`` needs what it adds."""
    environment: Environment = request.app.state.templates
    common = {
        "user": visitor.account.reviewer if visitor else None,
        "csrf": visitor.csrf if visitor else "",
        "projects": projects,
        "project": request.path_params.get("project"),
        "path": request.url.path,
    }

    def render(template: str, values: Mapping[str, Any] | None = None, *, status: int = 200) -> HTMLResponse:
        page = environment.get_template(template).render({**common, **(values or {})})
        return HTMLResponse(page, status_code=status)

    return render


class SignInNeeded(Exception):
    """Nobody, or nobody any more, is signed in; a browser is sent to the login page."""


async def context_of(request: Request) -> Context:
    """Return the request's context; a FastAPI dependency.

    Nobody signed in: ``SignInNeeded``. A ``{project}`` in the address that this person may not see is answered like one
    that does not exist: 404.
    """
    visitor = visitor_of(request.scope)
    if visitor is None:
        raise SignInNeeded
    desk: Desk = request.app.state.desk
    user = visitor.account.reviewer
    projects = visible_projects(desk, user)
    asked = request.path_params.get("project")
    if asked is not None and asked not in projects:
        raise HTTPException(404, "There is no such project here, or it is not one of yours.")
    return Context(
        desk=desk,
        user=user,
        csrf=visitor.csrf,
        projects=projects,
        render=renderer(request, visitor=visitor, projects=projects),
        account=visitor.account,
        by_token=visitor.session is None,
        memo=request.app.state.memo,
    )


async def lead_only(ctx: Annotated[Context, Depends(context_of)]) -> Context:
    """Return the context of a lead or an admin; anybody else is ``NotAllowed``."""
    if not ctx.user.leads:
        raise NotAllowed("This page is for leads: it shows other people's answers.")
    return ctx


async def admin_only(ctx: Annotated[Context, Depends(context_of)]) -> Context:
    """Return the context of an admin; anybody else is ``NotAllowed``."""
    if ctx.user.role != "admin":
        raise NotAllowed("This page is for admins.")
    return ctx


def visible_projects(desk: Desk, user: Reviewer) -> list[str]:
    """Return the names of the desk's projects that this person may see, sorted."""
    return sorted(name for name in desk.projects if not user.projects or name in user.projects)
