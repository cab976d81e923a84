"""Pages of leads: what waits for them, one task to decide, and how reviewers' answers stand."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, HTTPException, Query
from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request

from labelproof.report.review_io import hidden_characters
from labelproof.report.visible_text import segments
from labelproof.review._desk_show import rationale_of
from labelproof.review.model import Assignment, Outcome, ReviewError, Task
from labelproof.review.people import reviewer_stats
from labelproof.review.web._handles import handle_of, task_behind
from labelproof.review.web._requests import ReasonIn, VoteIn, read
from labelproof.review.web._view_guideline import guideline_view
from labelproof.review.web._view_lead import (
    ONE_OF_KIND,
    Filter,
    after,
    filter_counts,
    lead_row,
    may_see_machine,
    vote_views,
    wanted,
    why,
)
from labelproof.review.web._view_people import person_row
from labelproof.review.web._view_task import N_DIGITS, meta_pairs, task_view
from labelproof.review.web._view_words import STATE_WORDS
from labelproof.review.web.context import Context, lead_only
from labelproof.review.web.task_pages import refusal
from labelproof.spec.errors import LabelproofError

router = APIRouter()
Lead = Annotated[Context, Depends(lead_only)]
_MOST_ROWS = 200


@router.get("/p/{project}/lead")
def lead_list(project: str, ctx: Lead, only: Filter = "all") -> HTMLResponse:
    """Show what waits for a lead, most urgent first."""
    pairs = ctx.desk.for_leads(project)
    chosen = [pair for pair in pairs if wanted(pair[1], only)]
    now = ctx.desk.clock()
    return ctx.render(
        "lead.html",
        {
            "rows": [lead_row(task, outcome, ctx.user.name, now) for task, outcome in chosen[:_MOST_ROWS]],
            "n": len(chosen),
            "filters": filter_counts(pairs),
            "only": only,
        },
    )


@router.get("/p/{project}/lead/{task_id}")
def lead_task(project: str, task_id: str, ctx: Lead, only: Filter = "all") -> HTMLResponse:
    """Show a task with its votes; held for this lead when they may decide it."""
    task, outcome = _known(ctx, project, task_id)
    assignment, refused = None, None
    try:
        found = ctx.desk.next(ctx.user, project, role="adjudicator", task_id=task_id)
        if isinstance(found, Assignment):
            assignment = found
        else:
            refused = found.message
    except ReviewError as error:
        refused = error.message
    folder = ctx.desk.projects[project]
    pairs = [pair for pair in ctx.desk.for_leads(project) if wanted(pair[1], only)]
    following = after(pairs, task_id, ctx.user.name)
    return ctx.render(
        "lead_task.html",
        {
            **_seen(ctx, project, task, assignment),
            "task": task,
            "outcome": outcome,
            "why": why(outcome),
            "kind": ONE_OF_KIND[task.kind],
            "state": STATE_WORDS[outcome.state],
            "can_reopen": outcome.state != "disputed",
            "votes": vote_views(outcome, named=True),
            "machine": _machine(ctx, task) if may_see_machine(task, outcome) else None,
            "machine_later": not may_see_machine(task, outcome),
            "refused": refused,
            "next_url": f"/p/{project}/lead"
            + (f"/{following}" if following else "")
            + (f"?only={only}" if only != "all" else ""),
            "only": only,
            "guideline": guideline_view(folder),
            "lease_s": round(60 * folder.spec.review.lease_minutes),
            "mode": "lead",
            "multi": folder.spec.labels.kind == "multi",
            "filtered": len(folder.spec.labels.leaves) > N_DIGITS,
        },
    )


@router.post("/p/{project}/lead/{task_id}/vote")
async def adjudicate(project: str, task_id: str, request: Request, ctx: Lead) -> Response:
    """Store a lead's decision; 409 with a message when the desk does not take it."""
    body = await read(request, VoteIn)
    if task_behind(ctx, body.task_id) != task_id:
        raise HTTPException(422, "The answer is for another task. Reload the page and decide again.")
    multi = ctx.desk.projects[project].spec.labels.kind == "multi"
    try:
        receipt = await run_in_threadpool(
            ctx.desk.cast, ctx.user, project, body.ballot(task_id, multi=multi), role="adjudicator"
        )
    except LabelproofError as error:
        return refusal(error)
    if "text/html" in request.headers.get("accept", ""):
        return RedirectResponse(f"/p/{project}/lead", 303)
    return JSONResponse({"saved": True, "state": receipt.state, "machine_label": receipt.machine_label})


@router.post("/p/{project}/lead/{task_id}/close")
async def close(project: str, task_id: str, request: Request, ctx: Lead) -> Response:
    """Stop asking about a task, with a reason."""
    body = await read(request, ReasonIn)
    await run_in_threadpool(ctx.desk.close_task, ctx.user, project, task_id, body.reason)
    return RedirectResponse(f"/p/{project}/lead", 303)


@router.post("/p/{project}/lead/{task_id}/reopen")
async def reopen(project: str, task_id: str, request: Request, ctx: Lead) -> Response:
    """Ask reviewers again about a task, with a reason."""
    body = await read(request, ReasonIn)
    await run_in_threadpool(ctx.desk.reopen_task, ctx.user, project, task_id, body.reason)
    return RedirectResponse(f"/p/{project}/lead", 303)


@router.get("/p/{project}/reviewers")
def reviewers_page(project: str, ctx: Lead, days: Annotated[int, Query(ge=1, le=365)] = 30) -> HTMLResponse:
    """Show each reviewer's numbers, alphabetically; nobody is ranked."""
    folder = ctx.desk.projects[project]
    desk = ctx.desk
    _, stats = ctx.memo.get(
        ("reviewers", project, days),
        desk.clock(),
        lambda: reviewer_stats(desk.store, folder, now=desk.clock(), days=days),
    )
    return ctx.render("reviewers.html", {"people": [person_row(one) for one in stats], "days": days})


def _known(ctx: Context, project: str, task_id: str) -> tuple[Task, Outcome]:
    try:
        return ctx.desk.task(project, task_id), ctx.desk.outcome(project, task_id)
    except ReviewError as error:
        raise HTTPException(404, error.message) from error


def _seen(ctx: Context, project: str, task: Task, assignment: Assignment | None) -> dict[str, Any]:
    """Return the task as an answerable view, or only its text when this lead may not decide it."""
    folder = ctx.desk.projects[project]
    if assignment is not None:
        view = task_view(assignment, folder, handle=handle_of(ctx, task.task_id))
        return {"view": view, "meta_pairs": view.meta, "blurred": view.blurred, "hidden": view.hidden}
    text, meta = ctx.desk.text_of(project, task.item_id)
    return {
        "view": None,
        "text": segments(text),
        "meta_pairs": meta_pairs(meta, folder),
        "blurred": folder.spec.review.care.blur != "never",
        "hidden": hidden_characters(text),
    }


def _machine(ctx: Context, task: Task) -> dict[str, Any] | None:
    if task.label is None:
        return None
    rationale = rationale_of(ctx.desk.store, task)
    return {
        "label": task.label,
        "confidence": task.confidence,
        "rationale": segments(rationale) if rationale else None,
    }
