"""Promote a candidate with a person's approval: leave the evidence, suspend, carry out the answer on resume.

The process ends while the run waits. On resume the flow runs again from the top: what came before is in `rollouts`.
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from prefect import flow, runtime
from prefect.artifacts import acreate_markdown_artifact
from prefect.flow_runs import asuspend_flow_run
from prefect.input import RunInput
from pydantic import ConfigDict, Field

from flows.artifacts import _slug, run_name, tag_flow_run
from flows.params import PromoteParams
from labelproof.spec.hashing import short

if TYPE_CHECKING:
    from uuid import UUID

DEPLOYMENT = "promote/approval"


class Approval(RunInput):
    """The form that a person fills in."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    approve: bool = False
    """Make the candidate the champion; off = turn it down."""

    who: str = Field(min_length=1)
    """Your name, for the audit trail."""

    why: str = Field(min_length=1)
    """Your reason."""


@flow(name="promote", flow_run_name=run_name, persist_result=False)
async def promote(params: PromoteParams) -> dict[str, Any]:
    """Ask a person whether a candidate becomes the champion, and do what they say."""
    from labelproof.report.rollouts.approval import answer, ask

    flow_run_id = str(runtime.flow_run.id) if runtime.flow_run.id else None
    asked = await asyncio.to_thread(ask, params.store, _request(params), flow_run_id, datetime.now(UTC))
    await tag_flow_run(
        project=asked.state.project, strategy=asked.state.strategy, fingerprint=short(asked.state.fp_to)
    )
    if asked.outcome is not None:  # it was answered, and the run starts again
        return asked.outcome
    key = f"promote-{_slug(asked.state.project)}-{_slug(asked.state.strategy)}"
    await acreate_markdown_artifact(asked.markdown, key=key, description=f"Promote {asked.state.ref}?")
    given = await asuspend_flow_run(
        wait_for_input=Approval.with_initial_data(description=asked.markdown, who="", why=""),
        timeout=3600 * params.wait_hours,
        key="approval",
    )
    done = await asyncio.to_thread(
        answer,
        params.store,
        _request(params),
        asked.state,
        approve=given.approve,
        by=given.who,
        why=given.why,
        now=datetime.now(UTC),
        flow_run_id=flow_run_id,
    )
    await acreate_markdown_artifact(done.markdown, key=f"{key}-outcome", description="What was decided")
    assert done.outcome is not None  # that is what was answered
    return done.outcome


async def start(params: PromoteParams) -> UUID:
    """Start the flow on a worker (deployment `promote/approval`) and return its flow run's id at once."""
    from prefect.deployments.flow_runs import arun_deployment

    made = await arun_deployment(DEPLOYMENT, parameters={"params": params.model_dump()}, timeout=0)
    return made.id


def _request(params: PromoteParams) -> dict[str, Any]:
    return params.model_dump(include={"project", "strategy", "why", "by", "evidence", "force"})
