"""Pages of reviewers: their projects, their queue, and the task with everything it sends."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, HTTPException, Query
from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request

from labelproof.report.numbers import count
from labelproof.review.model import Assignment, NotAllowed, NothingToDo, ReviewError
from labelproof.review.web._handles import answered_task, handle_of, task_behind
from labelproof.review.web._requests import ReleaseIn, VoteIn, read, read_leases
from labelproof.review.web._view_guideline import guideline_view
from labelproof.review.web._view_image import read_image
from labelproof.review.web._view_queue import (
    due_line,
    exposure_rows,
    kind_rows,
    project_card,
    time_left,
)
from labelproof.review.web._view_task import N_DIGITS, task_view
from labelproof.review.web._view_words import break_line, open_words, progress_line
from labelproof.review.web.context import Context, context_of
from labelproof.spec.errors import ConfigError, LabelproofError

router = APIRouter()
Ctx = Annotated[Context, Depends(context_of)]
_MOST_AHEAD = 20
_HEADINGS = {
    "empty": "Nothing is left to review",
    "held": "Colleagues have what is left",
    "voted": "What is left waits for somebody else's answer",
    "skills": "What is left asks for other skills or languages",
    "limit": "That is enough of the hard ones for today",
}


@router.get("/")
def projects_page(ctx: Ctx) -> HTMLResponse:
    """Show the projects of this person."""
    cards = [
        project_card(
            name,
            ctx.desk.projects[name].spec.description,
            ctx.desk.progress(ctx.user, name),
            ctx.desk.overview(name),
            ctx.user,
        )
        for name in ctx.projects
    ]
    return ctx.render("projects.html", {"cards": cards})


@router.get("/p/{project}")
def queue_page(project: str, ctx: Ctx) -> HTMLResponse:
    """Show what waits and this person's day."""
    progress = ctx.desk.progress(ctx.user, project)
    overview = ctx.desk.overview(project)
    return ctx.render(
        "queue.html",
        {
            "description": ctx.desk.projects[project].spec.description,
            "progress": progress,
            "progress_line": progress_line(progress),
            "nudge": break_line(progress),
            "kinds": kind_rows(overview, rounded=progress.rounded),
            "due_line": due_line(overview),
            "n_open_for_me": open_words(progress),
            "answered": count(progress.answered),
            "time_left": time_left(progress),
            "exposure": exposure_rows(progress.seen, progress.limits),
        },
    )


@router.get("/p/{project}/task")
def task_page(project: str, ctx: Ctx) -> HTMLResponse:
    """Show the next task, beside the guideline."""
    found = ctx.desk.next(ctx.user, project)
    folder = ctx.desk.projects[project]
    return ctx.render(
        "task.html",
        {
            **_fragment(ctx, project, found),
            "nudge": break_line(ctx.desk.progress(ctx.user, project)),
            "guideline": guideline_view(folder),
            "lease_s": round(60 * folder.spec.review.lease_minutes),
            "mode": "review",
            "multi": folder.spec.labels.kind == "multi",
            "filtered": len(folder.spec.labels.leaves) > N_DIGITS,
        },
    )


@router.get("/p/{project}/task/next")
def next_task(
    project: str, ctx: Ctx, after: Annotated[list[str] | None, Query(max_length=_MOST_AHEAD)] = None
) -> HTMLResponse:
    """Return the next task as a fragment; ``after``: tasks that the page has already."""
    held = [task_id for handle in after or () if (task_id := task_behind(ctx, handle)) is not None]
    return _shown(ctx, project, ctx.desk.next(ctx.user, project, after=held))


@router.post("/p/{project}/task/vote")
async def vote(project: str, request: Request, ctx: Ctx) -> Response:
    """Store an answer; 409 with a message when the desk does not take it."""
    body = await read(request, VoteIn)
    multi = ctx.desk.projects[project].spec.labels.kind == "multi"
    try:
        ballot = body.ballot(answered_task(ctx, body.task_id), multi=multi)
        await run_in_threadpool(ctx.desk.cast, ctx.user, project, ballot)
        progress = await run_in_threadpool(ctx.desk.progress, ctx.user, project)
    except LabelproofError as error:
        return refusal(error)
    if "text/html" in request.headers.get("accept", ""):
        return RedirectResponse(f"/p/{project}/task", 303)
    return JSONResponse(
        {
            "saved": True,  # and nothing of the machine's or others' answers: an undo could follow
            "progress": progress_line(progress),
            "nudge": break_line(progress),
        }
    )


@router.post("/p/{project}/task/undo")
def undo(project: str, ctx: Ctx) -> Response:
    """Take the latest answer back and return its task as a fragment."""
    try:
        return _shown(ctx, project, ctx.desk.undo(ctx.user, project))
    except LabelproofError as error:
        return refusal(error)


@router.post("/p/{project}/leases")
async def renew(project: str, request: Request, ctx: Ctx) -> Response:  # noqa: ARG001  # the context checks it
    """Renew what a page holds; returns task id -> whether it is still held."""
    tokens = await read_leases(request)
    tasks = {handle: task_behind(ctx, handle) for handle in tokens}
    leases = {task: tokens[handle] for handle, task in tasks.items() if task is not None}
    held = await run_in_threadpool(ctx.desk.renew, ctx.user, leases)
    return JSONResponse({handle: held.get(task or "", False) for handle, task in tasks.items()})


@router.post("/p/{project}/task/release")
async def release(project: str, request: Request, ctx: Ctx) -> Response:  # noqa: ARG001  # the context checks it
    """Give tasks back unanswered, as a page goes."""
    body = await read(request, ReleaseIn)
    if len(body.task_id) != len(body.token):
        raise HTTPException(422, "Expected one token for each task.")
    for handle, token in zip(body.task_id, body.token, strict=True):
        task_id = task_behind(ctx, handle)
        if task_id is not None:
            await run_in_threadpool(ctx.desk.release, ctx.user, task_id, token)
    return Response(status_code=204)


@router.get("/p/{project}/image/{item_id}")
def image(project: str, item_id: str, ctx: Ctx) -> Response:
    """Return an item's picture from the project's folder."""
    folder = ctx.desk.projects[project]
    column = folder.spec.review.care.image_column
    try:
        name = ctx.desk.text_of(project, item_id)[1].get(column) if column else None
    except LabelproofError as error:
        raise HTTPException(404, "There is no such item.") from error
    found = read_image(folder.folder, name) if isinstance(name, str) and name else None
    if found is None:
        raise HTTPException(404, "This item has no image that can be shown.")
    body, media_type = found
    return Response(body, media_type=media_type, headers={"X-Content-Type-Options": "nosniff"})


def refusal(error: LabelproofError) -> JSONResponse:
    """Return what the desk refused, for the person who asked: 403, 400 (a file or setting), else 409.

    Anything else is raised: a failing store refuses nothing, and the same answer may be sent again.
    """
    if not isinstance(error, (ReviewError, ConfigError)):
        raise error
    status = 403 if isinstance(error, NotAllowed) else 400 if isinstance(error, ConfigError) else 409
    message = error.message if error.hint is None else f"{error.message} ({error.hint})"
    return JSONResponse({"message": message}, status)


def _shown(ctx: Context, project: str, found: Assignment | NothingToDo) -> HTMLResponse:
    values = _fragment(ctx, project, found)
    return ctx.render("_task.html" if values["view"] is not None else "_nothing.html", values)


def _fragment(ctx: Context, project: str, found: Assignment | NothingToDo) -> dict[str, Any]:
    progress = progress_line(ctx.desk.progress(ctx.user, project))
    if isinstance(found, NothingToDo):
        return {
            "view": None,
            "nothing": found,
            "heading": _HEADINGS[found.reason],
            "progress": progress,
        }
    view = task_view(found, ctx.desk.projects[project], handle=handle_of(ctx, found.task.task_id))
    return {"view": view, "progress": progress}
