"""Pages to look things up: the guideline, a project at a glance, items and their way to a label."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated
from urllib.parse import quote

from fastapi import APIRouter, Depends, HTTPException, Query
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request

from labelproof.report.review_io import hidden_characters
from labelproof.report.trace_lines import step_lines
from labelproof.report.visible_text import segments
from labelproof.review._desk_show import plants_gold
from labelproof.review.model import NotAllowed, Outcome, ReviewError, Task
from labelproof.review.people import (
    Dashboard,
    Rate,
    capacity_plan,
    dashboard,
    measured_arrivals,
    stored_rate,
)
from labelproof.review.queue import QueueOverview
from labelproof.review.web import _view_item as items
from labelproof.review.web._requests import ReasonIn, read
from labelproof.review.web._view_dashboard import panel_views, plan_lines
from labelproof.review.web._view_guideline import guideline_view
from labelproof.review.web._view_lead import short_id
from labelproof.review.web._view_task import meta_pairs
from labelproof.review.web.context import Context, context_of, lead_only
from labelproof.spec.errors import ConfigError, StoreError

router = APIRouter()
Ctx = Annotated[Context, Depends(context_of)]
Lead = Annotated[Context, Depends(lead_only)]
Words = Annotated[str, Query(max_length=200)]


@router.get("/p/{project}/guideline")
def guideline_page(project: str, request: Request, ctx: Ctx, q: Words = "") -> HTMLResponse:
    """Show the guideline, or what a search finds in it; to htmx only the sections."""
    found = guideline_view(ctx.desk.projects[project], q)
    values = {"sections": found.sections, "problem": found.problem, "q": q.strip()}
    return ctx.render("_guideline.html" if "hx-request" in request.headers else "guideline.html", values)


@router.get("/p/{project}/dashboard")
def dashboard_page(
    project: str,
    ctx: Lead,
    people: Annotated[int, Query(ge=0, le=10_000)] = 3,
    hours: Annotated[float, Query(gt=0, le=24)] = 6.0,
) -> HTMLResponse:
    """Show the project at a glance, each number with its query, and what so many people would get done."""
    desk, folder = ctx.desk, ctx.desk.projects[project]

    def measured() -> tuple[Dashboard, QueueOverview, Rate, float]:
        now, overview = desk.clock(), desk.overview(project)
        rate, arrivals = stored_rate(desk.store, project, now), measured_arrivals(desk.store, project, now)
        return dashboard(desk.store, folder, overview, now=now), overview, rate, arrivals

    now, (found, overview, rate, arrivals) = ctx.memo.get(("dashboard", project), desk.clock(), measured)
    plan = capacity_plan(overview.due_s, overview.votes_left, now, rate, people, hours, arrivals)
    return ctx.render(
        "dashboard.html",
        {
            "panels": panel_views(found),
            "plan": plan_lines(plan),
            "people": people,
            "hours": f"{hours:g}",
            "at": f"{now:%Y-%m-%d %H:%M} UTC",
        },
    )


@router.get("/p/{project}/items")
def items_page(project: str, request: Request, ctx: Ctx, q: Words = "") -> HTMLResponse:
    """Show items by id or by words of their text; to htmx only the list."""
    found = items.find_items(ctx.desk.store, project, q)
    values = {
        "found": found[: items.MOST_FOUND],
        "more": len(found) > items.MOST_FOUND,
        "q": q.strip(),
        "blurred": ctx.desk.projects[project].spec.review.care.blur != "never",
    }
    return ctx.render("_items.html" if "hx-request" in request.headers else "items.html", values)


@router.get("/p/{project}/item/{item}")
def item_page(project: str, item: str, ctx: Ctx, asked: bool = False) -> HTMLResponse:
    """Show an item and its way to a label, as far as this person may see it."""
    store, folder = ctx.desk.store, ctx.desk.projects[project]
    item_id, names = _named(ctx, project, item)
    text, meta = ctx.desk.text_of(project, item_id)
    pairs = ctx.desk.tasks_of_item(project, item_id)
    gold = items.gold_of(store, project, item_id)
    sees = _sees(ctx, project, pairs, is_gold=gold is not None)
    trace = items.trace_of(store, project, item_id) if sees else None
    return ctx.render(
        "item.html",
        {
            "item_id": item_id,
            "short_id": short_id(item_id),
            "names": names,
            "text": segments(text),
            "hidden": hidden_characters(text),
            "blurred": folder.spec.review.care.blur != "never",
            "meta_pairs": meta_pairs(meta, folder),
            "sees": sees,
            "planted": plants_gold(folder.spec.review),
            "appeals": items.may_appeal(ctx.user, pairs, sees=sees),
            "own": items.own_answers(pairs, ctx.user),
            "tasks": items.task_lines(pairs, ctx.user, ctx.desk.clock()) if sees else (),
            "decisions": items.decisions_of(store, project, item_id) if sees else [],
            "final": items.final_of(store, project, item_id) if sees else None,
            "gold": gold if ctx.user.leads else None,
            "trace": trace,
            "steps": step_lines(trace.steps, with_calls=ctx.user.leads) if trace else (),
            "flash": "People are asked again about this item." if asked else None,
        },
    )


@router.post("/p/{project}/item/{item}/appeal")
async def appeal(project: str, item: str, request: Request, ctx: Ctx) -> Response:
    """Ask people again about an item whose label is contested."""
    body = await read(request, ReasonIn)
    item_id = await run_in_threadpool(_appeal, ctx, project, item, body.reason)
    return RedirectResponse(f"/p/{project}/item/{quote(item_id)}?asked=true", 303)


def _appeal(ctx: Context, project: str, item: str, reason: str) -> str:
    item_id, _ = _named(ctx, project, item)
    gold = items.gold_of(ctx.desk.store, project, item_id)
    pairs = ctx.desk.tasks_of_item(project, item_id)
    sees = _sees(ctx, project, pairs, is_gold=gold is not None)
    if not items.may_appeal(ctx.user, pairs, sees=sees):
        raise NotAllowed("This item may still come to you as a task: appeal after you have answered it.")
    try:
        ctx.desk.appeal(ctx.user, project, item_id, reason)
    except ConfigError as error:
        raise ReviewError(error.message, hint=error.hint) from error
    return item_id


def _sees(ctx: Context, project: str, pairs: Sequence[tuple[Task, Outcome]], *, is_gold: bool) -> bool:
    policy = ctx.desk.projects[project].spec.review
    return items.sees_machine(ctx.user, pairs, is_gold=is_gold, policy=policy, now=ctx.desk.clock())


def _named(ctx: Context, project: str, item: str) -> tuple[str, list[str]]:
    try:
        found = items.named_item(ctx.desk.store, project, item)
    except StoreError as error:
        raise HTTPException(503, "The store cannot be read right now; try again in a moment.") from error
    if found is None:
        raise HTTPException(404, "There is no such item in this project.")
    return found
