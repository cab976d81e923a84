"""Promises for leads: each with its value, evidence and past; alarms, whom they reached, and who has taken them on.

The pages show what passes of the monitor stored; they measure nothing themselves.
"""

from __future__ import annotations

from typing import Annotated
from urllib.parse import quote

from fastapi import APIRouter, Depends
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request

from labelproof.report.monitor.alarms import acknowledge
from labelproof.report.monitor.board import PAST_DAYS, board
from labelproof.review.model import ReviewError
from labelproof.review.web._requests import ReasonIn, read
from labelproof.review.web._view_monitor import HEIGHT, WIDTH, alarm_views, headline, target_views
from labelproof.review.web._view_words import at_time
from labelproof.review.web.context import Context, lead_only
from labelproof.spec.errors import ConfigError

router = APIRouter()
Lead = Annotated[Context, Depends(lead_only)]


@router.get("/p/{project}/monitor")
def monitor_page(project: str, ctx: Lead) -> HTMLResponse:
    """Show how the project's promises stand, as the last pass found them."""
    now = ctx.desk.clock()
    found = board(ctx.desk.store, ctx.desk.projects[project], now=now)
    return ctx.render(
        "monitor.html",
        {
            "headline": headline(found),
            "measured_at": None if found.measured_at is None else at_time(found.measured_at),
            "is_empty": found.measured_at is None,
            "targets": target_views(found.targets),
            "others": target_views(found.others),
            "alarms": alarm_views(found.open_alarms, now),
            "past": alarm_views(found.past_alarms, now),
            "past_days": PAST_DAYS,
            "unmeasured": found.unmeasured,
            "sql": found.sql,
            "width": WIDTH,
            "height": HEIGHT,
        },
    )


@router.get("/monitor/{project}", dependencies=[Depends(lead_only)])
def short_address(project: str) -> RedirectResponse:
    """Lead the address that alarms name to the project's page."""
    return RedirectResponse(f"/p/{quote(project)}/monitor", 303)


@router.post("/p/{project}/monitor/{alarm_id}/ack")
async def take_on(project: str, alarm_id: str, request: Request, ctx: Lead) -> Response:
    """Take an open alarm on, with what is being done: it escalates no further."""
    body = await read(request, ReasonIn)
    await run_in_threadpool(_take_on, ctx, project, alarm_id, body.reason)
    return RedirectResponse(f"/p/{quote(project)}/monitor", 303)


def _take_on(ctx: Context, project: str, alarm_id: str, why: str) -> None:
    try:
        acknowledge(ctx.desk.store, project, alarm_id, actor=ctx.user.name, why=why, now=ctx.desk.clock())
    except ConfigError as error:
        raise ReviewError(error.message) from error
