"""Write a report and leave it in the Prefect UI: a link to the page, the report as Markdown."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from prefect import flow, runtime, task
from prefect.artifacts import acreate_link_artifact, acreate_markdown_artifact

from flows.artifacts import _slug, add_tags
from flows.params import ReportParams
from flows.retries import HOUR_S, retried_if_it_may_pass


def report_name() -> str:
    """Return the flow run's name: the kind of report and the project's folder."""
    given = runtime.flow_run.parameters["params"]
    given = given if isinstance(given, dict) else given.model_dump()
    return f"report-{given.get('kind', 'weekly')}-{Path(given['project']).name}"


@task(task_run_name="report {params.kind}")
def report_task(params: ReportParams) -> dict[str, Any]:
    """Make, write and record the report; returns what the artifacts say."""
    from labelproof.report.documents.build import make
    from labelproof.report.documents.stored import record
    from labelproof.report.documents.write import write
    from labelproof.report.rca.periods import last_full_week, parse_period
    from labelproof.spec.project import find_project
    from labelproof.store import default_store, open_store

    folder = find_project(params.project)
    now = _utc(params.now)
    period = None
    if params.kind == "weekly":
        period = parse_period(params.period, now) if params.period else last_full_week(now)
    with open_store(params.store or default_store(), create=False) as store:
        made = make(
            store, folder, params.kind, period=period, now=now, ref=params.about, slides=params.slides
        )
        files = write(made, Path(params.out) if params.out else None, markdown=True)
        report_id = record(store, made, files.page)
    return {
        "report_id": report_id,
        "project": made.project,
        "kind": made.kind,
        "title": made.title,
        "headline": made.headline,
        "page": str(files.page.resolve()),
        "files": [str(path.resolve()) for path in files.others],
        "promises_kept": made.exit_code == 0,
        "markdown": made.markdown,
    }


@flow(name="report", flow_run_name=report_name, persist_result=False, timeout_seconds=HOUR_S)
async def report(params: ReportParams) -> dict[str, Any]:
    """Write a report for people who do not read SQL; a broken promise is a result, not a failure."""
    async with retried_if_it_may_pass():
        made = await asyncio.to_thread(report_task, params)
    await add_tags(f"project:{made['project']}", f"report:{made['kind']}")
    key = f"report-{_slug(made['kind'])}-{_slug(made['project'])}"
    await acreate_link_artifact(
        Path(made["page"]).as_uri(), link_text=made["title"], key=f"{key}-page", description="The page"
    )
    await acreate_markdown_artifact(made["markdown"], key=key, description=made["headline"])
    return {name: value for name, value in made.items() if name != "markdown"}


def _utc(moment: datetime | None) -> datetime:
    if moment is None:
        return datetime.now(UTC)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
