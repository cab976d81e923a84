"""The arms of an experiment: the same items, one strategy each; answers are stored beside the decisions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from agents.run.drive import Drive, Listen, run_listened
from agents.run.rows import Arm
from agents.run.session import LabelRequest, LabelSession
from agents.run.workload import Workload
from labelproof.spec.items import Item
from labelproof.store import TraceStore


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmRun:
    """One arm on the experiment's items. ``stopped``: why it is not complete (it resumes), else None."""

    arm: str
    run_id: str
    strategy_fp: str
    stopped: str | None
    hint: str | None
    summary: Mapping[str, Any]


def open_arm(
    work: Workload,
    store: TraceStore,
    items: Sequence[Item],
    arm: Arm,
    *,
    repeat: int = 0,
    max_cost_usd: float | None = None,
    batch_size: int = 200,
    flow_run_id: str | None = None,
) -> LabelSession:
    """Return the session of one arm over ``items``: nothing is decided, nobody is asked, answers go to `arm_answers`.

    The same arm over the same items finds its unfinished run again; steps stored by whomever are reused. ``repeat``
    above 0 asks the models anew. ``work`` may carry another strategy version than the files (``replace(work, ...)``).
    """
    distinct = list({item.id: item for item in items}.values())
    request = LabelRequest(
        project=work.folder.name,
        strategy=work.strategy.name,
        repeat=repeat,
        max_cost_usd=max_cost_usd,
        batch_size=batch_size,
        queue=False,
    )
    return LabelSession(request, replace(work, items=distinct), store, flow_run_id=flow_run_id, arm=arm)


def run_arm(session: LabelSession, *, listen: Listen | None = None, drive: Drive | None = None) -> ArmRun:
    """Run an arm's session to its end; ``drive`` runs it (default: in an event loop of its own)."""
    summary = run_listened(session, listen, drive)
    assert session.run.arm is not None
    return ArmRun(
        arm=session.run.arm.name,
        run_id=session.run.run_id,
        strategy_fp=session.run.strategy_fp,
        stopped=summary.get("stopped"),
        hint=summary.get("hint"),
        summary=summary,
    )
