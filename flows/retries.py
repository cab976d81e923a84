"""Retries are for what may pass; a mistake, a used-up budget or a refused key fails at once."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from prefect import runtime
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import FlowRunPolicy

from agents.models import ProviderDown
from agents.run.lock import RunUnderWayError
from labelproof.spec.errors import LabelproofError, StoreError, TransientProviderError

HOUR_S = 3600
"""Flows are stopped after a time that only a run that hangs takes; what is done is stored."""


def may_pass(error: BaseException) -> bool:
    """Whether the same run may succeed later without anybody changing anything.

    An error that says so itself (``may_pass``) is believed; what is not ours (a cut connection) may pass.
    """
    said = getattr(error, "may_pass", None)
    if said is not None:
        return bool(said)
    if isinstance(error, ProviderDown):
        return error.kind == "outage"
    passing = TransientProviderError | StoreError | RunUnderWayError
    return not isinstance(error, LabelproofError) or isinstance(error, passing)


@asynccontextmanager
async def retried_if_it_may_pass() -> AsyncIterator[None]:
    """Take the current flow run's retries away when it fails for good."""
    try:
        yield
    except LabelproofError as error:
        if not may_pass(error):
            await _no_more_retries()
        raise


async def _no_more_retries() -> None:
    flow_run_id = runtime.flow_run.id
    if flow_run_id:
        async with get_client() as client:
            await client.update_flow_run(flow_run_id, empirical_policy=FlowRunPolicy(retries=0))
