"""What a run asks people: tasks for audited and routed items, and earlier questions that it settles."""

from __future__ import annotations

from dataclasses import astuple, dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from agents.review_tasks import ReviewTask, TaskKind, audit_task_id, routed_task_id
from agents.state import ItemState
from labelproof.spec.hashing import digest
from labelproof.spec.review import ReviewPolicy
from labelproof.store import TraceStore

if TYPE_CHECKING:
    from agents.run.rows import RunInfo

QUEUE = "labelproof"
"""The actor of what the queue does by its rules."""
EVENT_COLUMNS = ("event_id", "project", "task_id", "item_id", "actor", "event", "reason", "ts")
_ROUTED = """
SELECT t.item_id, t.state, e.actor FROM task_outcomes AS t
LEFT JOIN (
    SELECT task_id, arg_max(actor, ts) AS actor FROM review_events WHERE event = 'closed' GROUP BY task_id
) AS e USING (task_id)
WHERE t.project = ? AND t.kind = 'routed' AND t.state IN ('open', 'closed')
"""


@dataclass(slots=True, kw_only=True)
class Asks:
    """The review tasks of one run. ``queues``: routed items become tasks too, not audits only.

    ``waiting``: items with an open routed task; ``closed``: those whose task a run has closed.
    """

    policy: ReviewPolicy = field(default_factory=ReviewPolicy)
    queues: bool = False
    waiting: set[str] = field(default_factory=set)
    closed: set[str] = field(default_factory=set)

    @classmethod
    def of(cls, store: TraceStore, project: str, policy: ReviewPolicy, *, queues: bool) -> Asks:
        """Return what a run of ``project`` has to know of the questions that wait."""
        asks = cls(policy=policy, queues=queues)
        if queues:
            for row in store.query(_ROUTED, [project], fresh=True).to_pylist():
                if row["state"] == "open":
                    asks.waiting.add(row["item_id"])
                elif row["actor"] == QUEUE:  # what a lead closed stays closed
                    asks.closed.add(row["item_id"])
        return asks

    def rows(
        self, run: RunInfo, state: ItemState, now: datetime
    ) -> tuple[tuple[Any, ...] | None, tuple[Any, ...] | None]:
        """Return the task that a decision asks for, and the event it means for an earlier one; None for none."""
        item_id = state.item.id
        if state.audited:
            task = self._task(run, state, "audit", audit_task_id(run.project, item_id), now)
            return astuple(task), self._settled(run, state, now)
        if not self.queues:
            return None, None
        if state.decision == "auto_accept":
            return None, self._settled(run, state, now)
        task_id = routed_task_id(run.project, item_id)
        if item_id in self.waiting:
            return None, None
        self.waiting.add(item_id)
        if item_id in self.closed:
            self.closed.discard(item_id)
            return None, _event(
                run.project, task_id, item_id, "reopened", f"routed again: {state.reason}", now
            )
        return astuple(self._task(run, state, "routed", task_id, now)), None

    def _settled(self, run: RunInfo, state: ItemState, now: datetime) -> tuple[Any, ...] | None:
        """Return the event that closes an open question which the machine may answer by now."""
        item_id = state.item.id
        if not self.queues or item_id not in self.waiting:
            return None
        self.waiting.discard(item_id)
        self.closed.add(item_id)
        task_id = routed_task_id(run.project, item_id)
        return _event(
            run.project, task_id, item_id, "closed", f"auto-accepted in run {run.run_id}: {state.reason}", now
        )

    def _task(
        self, run: RunInfo, state: ItemState, kind: TaskKind, task_id: str, now: datetime
    ) -> ReviewTask:
        audit = kind == "audit"
        return ReviewTask(
            task_id=task_id,
            project=run.project,
            kind=kind,
            item_id=state.item.id,
            run_id=run.run_id,
            strategy_fp=run.strategy_fp,
            label=state.label,
            confidence=state.confidence,
            blind=self.policy.is_blind(kind),
            votes_wanted=self.policy.votes(kind),
            reason="drawn at random from what the machine decided" if audit else state.reason,
            design="audit" if audit else None,
            inclusion_prob=state.inclusion_prob if audit else None,
            ts=now,
        )


def _event(
    project: str, task_id: str, item_id: str, event: str, reason: str, now: datetime
) -> tuple[Any, ...]:
    event_id = digest(["review-event", task_id, event, now.isoformat()])
    return event_id, project, task_id, item_id, QUEUE, event, reason, now
