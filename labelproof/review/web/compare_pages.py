"""Comparisons for leads: which there are, each as a page, and both ways of an item side by side.

A comparison is read as it was stored and not computed again: a page opens as fast for a million items as for a
hundred, and says what was known when the verdict was given. Texts and traces are read from the store when asked for.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import replace
from datetime import datetime
from typing import Annotated
from urllib.parse import quote

from fastapi import APIRouter, Depends, HTTPException, Query
from fastapi.responses import HTMLResponse
from starlette.requests import Request

from labelproof.report.compare.model import Flip
from labelproof.report.compare.page.flips import KIND_WORDS, STABILITY_WORDS, Show, flip_views, under
from labelproof.report.compare.page.pictures import Picture, PictureName, picture_of
from labelproof.report.compare.page.stored import (
    StoredReport,
    comparisons_of,
    experiments_of,
    stored_report,
    with_texts,
)
from labelproof.report.compare.page.traces import trace_pair
from labelproof.report.compare.page.view import VERDICTS, page_values
from labelproof.report.numbers import count
from labelproof.review.web._view_words import at_time
from labelproof.review.web.context import Context, lead_only
from labelproof.spec.errors import ConfigError
from labelproof.spec.hashing import short

router = APIRouter()
Lead = Annotated[Context, Depends(lead_only)]
PER_PAGE = 200
_MOST_KEPT = 64


class Drawings:
    """Pictures by comparison and name: drawn one after the other, and kept, since a stored comparison does not change."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[str, str, datetime, PictureName], Picture | str] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, stored: StoredReport, name: PictureName) -> Picture | str:
        """Return a picture, or why there is none."""
        report = stored.report
        key = (report.project, report.comparison_id, stored.at, name)
        with self._lock:
            found = self._kept.get(key)
            if found is None:
                found = self._kept[key] = picture_of(report, name)
                while len(self._kept) > _MOST_KEPT:
                    self._kept.popitem(last=False)
            self._kept.move_to_end(key)
            return found


@router.get("/p/{project}/compare")
def comparisons_page(project: str, ctx: Lead) -> HTMLResponse:
    """Show the project's comparisons and experiments, newest first."""
    store = ctx.desk.store
    return ctx.render(
        "comparisons.html",
        {
            "comparisons": [
                {
                    **row,
                    "a": f"{row['strategy_a']}@{short(row['fp_a'])}",
                    "b": f"{row['strategy_b']}@{short(row['fp_b'])}",
                    "sign": VERDICTS[row["verdict"]][0] if row["verdict"] in VERDICTS else "",
                    "word": VERDICTS[row["verdict"]][1] if row["verdict"] in VERDICTS else row["verdict"],
                    "n": count(row["n_items"] or 0),
                    "at": at_time(row["ts"]),
                }
                for row in comparisons_of(store, project)
            ],
            "experiments": [
                {**row, "plan": short(row["plan_fp"] or ""), "at": at_time(row["planned_at"])}
                for row in experiments_of(store, project)
            ],
        },
    )


@router.get("/p/{project}/compare/{comparison_id}")
def comparison_page(
    project: str,
    comparison_id: str,
    ctx: Lead,
    show: Show = "all",
    start: Annotated[int, Query(alias="from", ge=0)] = 0,
) -> HTMLResponse:
    """Show a comparison; of the items that are labelled differently 200 at a time."""
    stored = _known(ctx, project, comparison_id)
    report = stored.report
    home = f"/p/{quote(project)}/compare/{quote(comparison_id, safe='')}"
    chosen = under(report.flips, show)
    listed = with_texts(ctx.desk.store, project, chosen[start : start + PER_PAGE])

    def page_at(place: int) -> str:
        return f"{home}?show={show}&from={place}#flips"

    def href(flip: Flip) -> str:
        return f"{home}/item/{quote(flip.item_id, safe='')}?show={show}"

    end = start + len(listed)
    return ctx.render(
        "compare_page.html",
        {
            **page_values(report),
            "live": True,
            "blurred": _blurred(ctx, project),
            "plot_url": lambda name: f"{home}/plot/{name}",
            "flips": flip_views(listed, href),
            "show": show,
            "flip_count": f"{count(start + 1)} to {count(end)} of {count(len(chosen))}" if listed else "",
            "per_page": PER_PAGE,
            "before_url": page_at(max(0, start - PER_PAGE)) if start else None,
            "after_url": page_at(end) if end < len(chosen) else None,
        },
    )


@router.get("/p/{project}/compare/{comparison_id}/plot/{name}")
def picture(project: str, comparison_id: str, name: PictureName, request: Request, ctx: Lead) -> HTMLResponse:
    """Show one drawing; to htmx only the drawing."""
    stored = _known(ctx, project, comparison_id)
    drawings: Drawings = request.app.state.drawings
    values = {
        "drawn": drawings.get(stored, name),
        "name": name,
        "comparison_id": comparison_id,
        "report": stored.report,
    }
    alone = "hx-request" not in request.headers
    return ctx.render("compare_plot.html" if alone else "_compare_plot.html", values)


@router.get("/p/{project}/compare/{comparison_id}/item/{item}")
def item_page(project: str, comparison_id: str, item: str, ctx: Lead, show: Show = "all") -> HTMLResponse:
    """Show both strategies' ways of an item, from the first step that differs."""
    report = _known(ctx, project, comparison_id).report
    try:
        pair = trace_pair(ctx.desk.store, project, item, report.a, report.b)
    except ConfigError as error:
        raise HTTPException(404, f"Nothing is stored about this item here: {error.message}.") from error
    chosen = under(report.flips, show)
    ids = [flip.item_id for flip in chosen]
    place = ids.index(pair.item_id) if pair.item_id in ids else None
    if place is not None:  # the gold that was compared with, whatever gold says by now
        pair = replace(pair, gold=chosen[place].gold)
    home = f"/p/{quote(project)}/compare/{quote(comparison_id, safe='')}"

    def item_at(where: int) -> str | None:
        if place is None or not 0 <= where < len(ids):
            return None
        return f"{home}/item/{quote(ids[where], safe='')}?show={show}"

    return ctx.render(
        "compare_item.html",
        {
            "trace": pair,
            "report": report,
            "facts": _facts(chosen[place]) if place is not None else [],
            "blurred": _blurred(ctx, project),
            "back_url": f"{home}?show={show}"
            + (f"&from={place // PER_PAGE * PER_PAGE}" if place else "")
            + "#flips",
            "before_url": item_at((place or 0) - 1),
            "after_url": item_at((place or 0) + 1),
        },
    )


def _facts(flip: Flip) -> list[str]:
    found = [KIND_WORDS[flip.kind], f"asked again: {STABILITY_WORDS[flip.stability]}"]
    return [*found, f"gold disputed: {flip.gold_doubt}"] if flip.gold_doubt else found


def _blurred(ctx: Context, project: str) -> bool:
    return ctx.desk.projects[project].spec.review.care.blur != "never"


def _known(ctx: Context, project: str, comparison_id: str) -> StoredReport:
    def read() -> StoredReport | None:
        return stored_report(ctx.desk.store, project, comparison_id)

    _, found = ctx.memo.get(("comparison", project, comparison_id), ctx.desk.clock(), read)
    if found is None:
        raise HTTPException(404, "There is no such comparison in this project.")
    return found
