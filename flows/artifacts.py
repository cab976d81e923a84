"""What a flow leaves in the Prefect UI: tags, a summary to read, tables, and the SQL behind them."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prefect import runtime
from prefect.artifacts import (
    acreate_image_artifact,
    acreate_link_artifact,
    acreate_markdown_artifact,
    acreate_table_artifact,
)
from prefect.client.orchestration import get_client

if TYPE_CHECKING:
    from labelproof.report.run_report import RunReport


def run_name() -> str:
    """Return the flow run's name: flow, project folder's name, strategy."""
    params = runtime.flow_run.parameters["params"]
    given = params if isinstance(params, dict) else params.model_dump()
    return "-".join((runtime.flow_run.flow_name, Path(given["project"]).name, given["strategy"]))


def project_run_name() -> str:
    """Return the name of a flow run that is about a whole project: flow, project folder's name."""
    params = runtime.flow_run.parameters["params"]
    given = params if isinstance(params, dict) else params.model_dump()
    return f"{runtime.flow_run.flow_name}-{Path(given['project']).name}"


async def tag_flow_run(*, project: str, strategy: str, fingerprint: str) -> None:
    """Tag the current flow run with what it runs."""
    await add_tags(f"project:{project}", f"strategy:{strategy}", f"fp:{fingerprint}")


async def add_tags(*tags: str) -> None:
    """Add tags to the current flow run; ``with tags()`` would reach only its tasks."""
    flow_run_id = runtime.flow_run.id
    if not flow_run_id:
        return
    async with get_client() as client:
        await client.update_flow_run(flow_run_id, tags=sorted({*tags, *runtime.flow_run.tags}))


async def leave_label_artifacts(report: RunReport) -> None:
    """Leave the run's summary (Markdown) and its score table."""
    key = f"run-{_slug(report.summary['project'])}"
    await acreate_markdown_artifact(report.markdown(), key=f"{key}-summary", description="Labeling run")
    if report.score is not None:
        await leave_score_artifacts(report.score.to_json())


async def leave_score_artifacts(report: dict[str, Any]) -> None:
    """Leave the table of metrics with intervals."""
    await acreate_table_artifact(
        table=[
            {name: row[name] for name in ("metric", "slice", "value", "low", "high", "n", "method")}
            for row in report["rows"]
        ],
        key=f"score-{_slug(report['project'])}-{_slug(report['strategy'])}",
        description=f"{report['project']} · {report['strategy']}@{report['strategy_short']} on {report['split']}",
    )


async def leave_certify_artifacts(report: dict[str, Any], pictures: Sequence[Path]) -> None:
    """Leave the verdict with its table (Markdown) and each risk-coverage plot (a picture inside the artifact)."""
    key = f"certify-{_slug(report['project'])}-{_slug(report['strategy'])}"
    await acreate_markdown_artifact(report["markdown"], key=key, description=report["sentence"])
    for picture in pictures:
        encoded = b64encode(picture.read_bytes()).decode()
        await acreate_image_artifact(
            image_url=f"data:image/png;base64,{encoded}",
            key=f"{key}-{_slug(picture.stem)}",
            description="Error rate against coverage: what gold shows, what is proven, what was promised",
        )


async def leave_plan_artifact(project: str, markdown: str) -> None:
    """Leave an experiment's plan with what it will cost, before anything is spent."""
    await acreate_markdown_artifact(
        markdown,
        key=f"experiment-{_slug(project)}-plan",
        description="The rule, written before the first call",
    )


async def leave_experiment_artifacts(
    project: str, markdown: str, comparisons: Mapping[str, str], links: Mapping[str, str]
) -> None:
    """Leave an experiment's result, each candidate's comparison (Markdown), and links to their pages.

    ``comparisons`` and ``links``: candidate -> text or URL.
    """
    key = f"experiment-{_slug(project)}"
    await acreate_markdown_artifact(
        markdown, key=f"{key}-result", description="What was concluded, and by which rule"
    )
    for candidate, text in comparisons.items():
        await acreate_markdown_artifact(
            text, key=f"{key}-{_slug(candidate)}-comparison", description=f"{candidate} against the control"
        )
    for candidate, url in links.items():
        await acreate_link_artifact(
            url,
            link_text=f"Compare {candidate}",
            key=f"{key}-{_slug(candidate)}-page",
            description="Compare page",
        )


async def leave_suite_artifact(project: str, strategy: str, markdown: str, headline: str) -> None:
    """Leave what the suites found."""
    key = f"suite-{_slug(project)}-{_slug(strategy)}"
    await acreate_markdown_artifact(markdown, key=key, description=headline)


async def leave_monitor_artifact(project: str, markdown: str, headline: str) -> None:
    """Leave the table of a pass of the monitor."""
    await acreate_markdown_artifact(markdown, key=f"monitor-{_slug(project)}", description=headline)


def _slug(name: str) -> str:
    """Return a name as artifact keys admit it: lower-case letters, digits and dashes."""
    return "".join(c if c.isalnum() and c.isascii() else "-" for c in name.lower()).strip("-")
