"""The review app: pages, sign-in and static files behind the security layers."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from fastapi import FastAPI

from labelproof.review.web._answers import add_handlers
from labelproof.review.web._memo import Memo
from labelproof.review.web._static import Assets
from labelproof.review.web._visitor import Clock, Doorman
from labelproof.review.web.context import templates
from labelproof.review.web.security import Faults, Gate, Shield
from labelproof.review.web.serve import WebSettings

if TYPE_CHECKING:
    from labelproof.review.desk import Desk
    from labelproof.review.office import Office


def make_app(desk: Desk, office: Office, settings: WebSettings, *, clock: Clock | None = None) -> FastAPI:
    """Return the app over an open desk and office; it neither starts nor closes them.

    ``clock``: time for sessions and login limits, UTC; the machine's by default.
    """
    from labelproof.review.web.auth_pages import router as auth_pages
    from labelproof.review.web.compare_pages import Drawings
    from labelproof.review.web.compare_pages import router as compare_pages
    from labelproof.review.web.findings_pages import router as findings_pages
    from labelproof.review.web.lead_pages import router as lead_pages
    from labelproof.review.web.look_pages import router as look_pages
    from labelproof.review.web.monitor_pages import router as monitor_pages
    from labelproof.review.web.overview_pages import router as overview_pages
    from labelproof.review.web.task_pages import router as task_pages

    now = clock or _utc_now
    assets = Assets()
    doorman = Doorman(office, settings, now)
    app = FastAPI(title="Labelproof", docs_url=None, redoc_url=None, openapi_url=None, redirect_slashes=False)
    app.state.desk = desk
    app.state.office = office
    app.state.clock = now
    app.state.doorman = doorman
    app.state.memo = Memo()
    app.state.drawings = Drawings()
    app.state.templates = templates(assets)
    app.add_route("/static/{name}", assets.serve, methods=["GET"])
    for pages in (
        auth_pages,
        task_pages,
        lead_pages,
        look_pages,
        compare_pages,
        findings_pages,
        monitor_pages,
        overview_pages,
    ):
        app.include_router(pages)
    add_handlers(app)
    # The last one added is the first one passed.
    app.add_middleware(Gate, doorman=doorman, settings=settings)
    app.add_middleware(Faults)
    app.add_middleware(Shield, secure=settings.secure)
    return app


def _utc_now() -> datetime:
    return datetime.now(UTC)
