"""All of a lead's projects on one page: quality against promises, cost, findings, alarms, common causes of errors."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends
from fastapi.responses import HTMLResponse

from labelproof.report.numbers import count, percent
from labelproof.report.overview.read import CAUSE_DAYS, DAYS, Overview, ProjectRow, read_overview, statement
from labelproof.report.overview.words import (
    cost_words,
    coverage_words,
    heat_level,
    level_words,
    promise_words,
    quality_words,
    run_words,
)
from labelproof.review.web._view_words import at_time
from labelproof.review.web.context import Context, lead_only

router = APIRouter()
Lead = Annotated[Context, Depends(lead_only)]
_PARTS = {
    "quality": "Right when automatic",
    "targets": "Targets",
    "work": "Automatic, cost",
    "findings": "Findings",
    "alarms": "Alarms",
    "runs": "Last run",
    "causes": "Causes of errors",
}


@router.get("/overview")
def overview_page(ctx: Lead) -> HTMLResponse:
    """Show the projects that this lead may see, what hurts most first."""

    def read() -> Overview:
        return read_overview(ctx.desk.store, now=ctx.desk.clock())

    at, everything = ctx.memo.get(("overview",), ctx.desk.clock(), read)
    found = everything.only(ctx.projects)
    missing = sorted(set(ctx.projects) - {row.project for row in found.rows})
    return ctx.render(
        "overview.html",
        {
            "rows": [_row(row, found) for row in found.rows],
            "missing": missing,
            "heat": _heat(found),
            "heat_projects": [row.project for row in found.rows if row.heat],
            "heat_totals": [count(row.n_errors) for row in found.rows if row.heat],
            "days": DAYS,
            "cause_days": CAUSE_DAYS,
            "n_targets": sum(row.n_targets for row in found.rows),
            "n_met": sum(row.n_met for row in found.rows),
            "n_breached": sum(row.n_breached for row in found.rows),
            "queries": [(words, part, statement(part, at)) for part, words in _PARTS.items()],
            "at": at_time(at),
        },
    )


def _row(row: ProjectRow, found: Overview) -> dict[str, Any]:
    return {
        "project": row.project,
        "quality": quality_words(row.quality),
        "measured": at_time(row.quality.at) if row.quality is not None else "",
        "promise": promise_words(row.quality),
        "state": row.quality.state if row.quality is not None else "unknown",
        "targets": f"{row.n_met} of {row.n_targets} targets met"
        + (f", {row.n_breached} breached" if row.n_breached else ""),
        "has_targets": row.n_targets > 0,
        "coverage": coverage_words(row),
        "cost": cost_words(row),
        "findings": level_words(row.findings),
        "critical": "critical" in row.findings,
        "has_findings": bool(row.findings),
        "alarms": level_words(row.alarms),
        "has_alarms": bool(row.alarms),
        "run": run_words(row, found.at),
        "strategy": row.run_strategy or "",
    }


def _heat(found: Overview) -> list[dict[str, Any]]:
    """Return a row a cause: its cells in the order of the projects that have an analysis."""
    rows = [row for row in found.rows if row.heat]
    return [
        {
            "cause": cause,
            "cells": [
                {
                    "n": count(row.heat.get(cause, 0)),
                    "share": percent(row.heat.get(cause, 0) / row.n_errors, 0) if row.heat.get(cause) else "",
                    "level": heat_level(row.heat.get(cause, 0), row.n_errors),
                    "project": row.project,
                }
                for row in rows
            ],
        }
        for cause in found.causes
    ]
