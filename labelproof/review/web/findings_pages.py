"""Findings for leads: what is open in their projects, one finding with its evidence and history, the risk register."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Annotated, Literal
from urllib.parse import quote

from fastapi import APIRouter, Depends, HTTPException, Query
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from pydantic import BaseModel, ConfigDict, Field
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request

from labelproof.report.findings import book
from labelproof.report.findings.model import STATES, Finding
from labelproof.report.findings.register import risk_register
from labelproof.review.model import ReviewError
from labelproof.review.web._requests import ReasonIn, read
from labelproof.review.web._view_findings import finding_row, finding_view, risk_rows
from labelproof.review.web.context import Context, lead_only
from labelproof.spec.errors import ConfigError
from labelproof.spec.monitoring import LEVELS

router = APIRouter()
Lead = Annotated[Context, Depends(lead_only)]
Word = Annotated[str, Query(max_length=200)]
_MOST_ROWS = 500


class OwnerIn(BaseModel):
    """Who drives a finding to closure."""

    model_config = ConfigDict(extra="forbid", str_strip_whitespace=True)

    owner: Annotated[str, Field(min_length=1, max_length=200)]


@router.get("/findings")
def findings_page(
    ctx: Lead,
    state: Literal["open", "accepted", "closed", "all"] = "open",
    severity: Literal["critical", "major", "minor", ""] = "",
    project: Word = "",
    owner: Word = "",
) -> HTMLResponse:
    """Show the findings of this lead's projects, the worst first."""
    every = _visible(ctx)
    chosen = [
        one
        for one in every
        if state in ("all", one.state)
        and severity in ("", one.severity)
        and project in ("", one.project)
        and owner in ("", one.owner)
    ]
    now = ctx.desk.clock()
    return ctx.render(
        "findings.html",
        {
            "rows": [finding_row(one, now) for one in chosen[:_MOST_ROWS]],
            "n": len(chosen),
            "n_every": len(every),
            "states": [(name, sum(one.state == name for one in every)) for name in STATES],
            "severities": LEVELS,
            "owners": sorted({one.owner for one in every if one.owner}),
            "of_projects": sorted({one.project for one in every}),
            "chosen": {"state": state, "severity": severity, "project": project, "owner": owner},
        },
    )


@router.get("/risks")
def risks_page(ctx: Lead, project: Word = "") -> HTMLResponse:
    """Show the risk register: open and accepted findings, overdue first, then by severity and likelihood."""
    every = _visible(ctx)
    now = ctx.desk.clock()
    chosen = [one for one in every if project in ("", one.project)]
    return ctx.render(
        "risks.html",
        {
            "rows": risk_rows(risk_register(chosen, now)),
            "of_projects": sorted({one.project for one in every}),
            "only": project,
        },
    )


@router.get("/findings/{finding_id}")
def finding_page(finding_id: str, ctx: Lead, done: Word = "") -> HTMLResponse:
    """Show a finding: check, evidence with its items, history, and what can be done."""
    one = _known(ctx, finding_id)
    people = sorted({*(other.owner for other in _visible(ctx) if other.owner), ctx.user.name})
    flash = {
        "assign": "Assigned.",
        "note": "Noted.",
        "accept": "Accepted.",
        "reopen": "Opened again.",
        "close": "Closed.",
    }
    return ctx.render(
        "finding.html",
        {**finding_view(one, ctx.desk.clock()), "people": people, "flash": flash.get(done)},
    )


@router.post("/findings/{finding_id}/assign")
async def assign(finding_id: str, request: Request, ctx: Lead) -> Response:
    """Give a finding to somebody."""
    body = await read(request, OwnerIn)

    def act(one: Finding, now: datetime) -> Finding:
        return book.assign(ctx.desk.store, one, body.owner, actor=ctx.user.name, now=now)

    return await _done(ctx, finding_id, "assign", act)


@router.post("/findings/{finding_id}/note")
async def note(finding_id: str, request: Request, ctx: Lead) -> Response:
    """Write a note into its history."""
    body = await read(request, ReasonIn)

    def act(one: Finding, now: datetime) -> Finding:
        return book.note(ctx.desk.store, one, body.reason, actor=ctx.user.name, now=now)

    return await _done(ctx, finding_id, "note", act)


@router.post("/findings/{finding_id}/accept")
async def accept(finding_id: str, request: Request, ctx: Lead) -> Response:
    """Accept it as a risk that is lived with, with a reason."""
    body = await read(request, ReasonIn)

    def act(one: Finding, now: datetime) -> Finding:
        return book.accept(ctx.desk.store, one, why=body.reason, actor=ctx.user.name, now=now)

    return await _done(ctx, finding_id, "accept", act)


@router.post("/findings/{finding_id}/reopen")
async def reopen(finding_id: str, request: Request, ctx: Lead) -> Response:
    """Open it again, with a reason."""
    body = await read(request, ReasonIn)

    def act(one: Finding, now: datetime) -> Finding:
        return book.reopen(ctx.desk.store, one, why=body.reason, actor=ctx.user.name, now=now)

    return await _done(ctx, finding_id, "reopen", act)


@router.post("/findings/{finding_id}/close")
async def close(finding_id: str, request: Request, ctx: Lead) -> Response:
    """Close it by hand, with a reason."""
    body = await read(request, ReasonIn)

    def act(one: Finding, now: datetime) -> Finding:
        return book.close(ctx.desk.store, one, why=body.reason, actor=ctx.user.name, now=now)

    return await _done(ctx, finding_id, "close", act)


async def _done(
    ctx: Context, finding_id: str, what: str, act: Callable[[Finding, datetime], Finding]
) -> Response:
    def carry_out() -> Finding:
        one = _known(ctx, finding_id)
        try:
            return act(one, ctx.desk.clock())
        except ConfigError as error:
            raise ReviewError(f"{error.message[:1].upper()}{error.message[1:]}.", hint=error.hint) from error

    after = await run_in_threadpool(carry_out)
    return RedirectResponse(f"/findings/{quote(after.finding_id)}?done={what}", 303)


def _visible(ctx: Context) -> Sequence[Finding]:
    return [one for one in book.findings_of(ctx.desk.store, None) if one.project in ctx.projects]


def _known(ctx: Context, finding_id: str) -> Finding:
    """Return a finding of this lead's projects; one of another project is answered like one that does not exist."""
    found = next((one for one in _visible(ctx) if one.finding_id == finding_id), None)
    if found is None:
        raise HTTPException(
            404, "There is no such finding here, or it is of a project that is not one of yours."
        )
    return found
