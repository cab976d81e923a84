"""People decide only where two arms differ, and are asked no longer than it takes to know which one is better."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

from agents.review_tasks import ReviewTask, disagreement_task_id, task_columns
from agents.run.asks import EVENT_COLUMNS, QUEUE
from labelproof.report.experiments.evidence import (
    AccuracyDifference,
    Evidence,
    Right,
    accuracy_difference,
    weigh,
)
from labelproof.report.experiments.plan import NO_GOLD, Plan
from labelproof.report.experiments.state import arm_states
from labelproof.spec.errors import ConfigError
from labelproof.spec.hashing import digest, digest_parts
from labelproof.spec.project import ProjectFolder
from labelproof.store import TraceStore

UNDECIDED = ("open", "disputed", "escalated")
# Of each arm: its latest answer per item of the experiment, the rerun left out.
_PAIRED = """
WITH said AS (
    SELECT x.arm, x.item_id, x.label, x.run_id FROM arm_answers AS x JOIN (
        SELECT run_id, any_value(repeat_idx) AS repeat_idx FROM runs GROUP BY run_id
    ) AS r USING (run_id)
    WHERE x.experiment_id = $id AND r.repeat_idx = 0
    QUALIFY row_number() OVER (PARTITION BY x.arm, x.item_id ORDER BY x.ts DESC, x.run_id DESC) = 1
),
paired AS (
    SELECT a.item_id, a.run_id, a.label AS label_a, b.label AS label_b
    FROM (FROM said WHERE arm = $a) AS a JOIN (FROM said WHERE arm = $b) AS b USING (item_id)
)
"""
_COUNT = f"{_PAIRED} SELECT count(*) AS n FROM paired"
_DIFFER = f"{_PAIRED} SELECT * FROM paired WHERE label_a IS DISTINCT FROM label_b"
_OUTCOMES = """
SELECT task_id, state, final_label, n_votes FROM task_outcomes
WHERE project = $project AND kind = 'disagreement' AND task_id IN (SELECT unnest($tasks))
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Disagreement:
    """An item that the arms label differently; None: the arm failed on it. ``task_id``: the question to people."""

    item_id: str
    run_id: str
    label_a: str | None
    label_b: str | None
    task_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelStatus:
    """How far people have decided between two arms, and what that shows.

    ``n_asked`` of the ``n_disagree`` disagreements have a task: ``tasks`` counts them by state. ``n_new`` were made and
    ``n_closed_now`` closed by this very look. ``n_votes``: answers that people gave.
    """

    experiment_id: str
    project: str
    arm_a: str
    arm_b: str
    n_items: int
    n_disagree: int
    n_asked: int
    tasks: Mapping[str, int]
    n_votes: int
    evidence: Evidence
    difference: AccuracyDifference
    n_new: int
    n_closed_now: int
    at: datetime

    @property
    def n_open(self) -> int:
        """Tasks that wait for people or a lead."""
        return sum(self.tasks.get(state, 0) for state in UNDECIDED)

    @property
    def stopped(self) -> bool:
        """Whether it is known which arm is better, so that nobody has to be asked any more."""
        return self.evidence.stopped_at is not None

    def to_json(self) -> dict[str, Any]:
        """Return the status as JSON values."""
        evidence = {**asdict(self.evidence), "n_decided": self.evidence.n_decided}
        evidence |= {"p_value": self.evidence.p_value, "better": self.evidence.better}
        return {
            **asdict(self),
            "tasks": dict(self.tasks),
            "evidence": evidence,
            "n_open": self.n_open,
            "stopped": self.stopped,
            "at": self.at.isoformat(),
        }


def label_disagreements(
    store: TraceStore,
    folder: ProjectFolder,
    plan: Plan,
    *,
    now: datetime,
    alpha: float | None = None,
    limit: int | None = None,
    ask: bool = True,
    stop: str | None = None,
) -> LabelStatus:
    """Ask people about disagreements that were not asked about, unless it is known already which arm is better.

    Blind, in a random order that the experiment fixes; at most ``limit`` new tasks. Once the evidence reaches 1 / alpha
    (default: the plan's, never a larger one) what still waits is closed. ``ask`` false only looks. ``stop``: close what
    waits for this reason and ask nothing. May be called any time, as often as one likes. ``ConfigError``: not two arms,
    gold items, or arms that have not answered everything.
    """
    _check(store, plan)
    if alpha is not None and not 0 < alpha <= plan.policy.alpha:
        raise ConfigError(
            f"alpha {alpha:g}: the plan of {plan.experiment_id} has fixed {plan.policy.alpha:g} before the first label;"
            " only a smaller one, above 0, can be asked for now",
            hint="leave --alpha out",
        )
    pairs, n_items = disagreements(store, plan)
    found = _look(store, plan, pairs, n_items, now, alpha or plan.policy.alpha)
    new = closed = 0
    if ask and stop is None and not found.stopped:
        known = _known(store, plan, pairs)
        fresh = [pair for pair in pairs if pair.task_id not in known][:limit]
        if fresh:
            store.append("review_tasks", task_columns(_tasks(folder, plan, fresh, now)))
        new = len(fresh)
    elif stop is not None or (ask and found.stopped):
        closed = _close(store, plan, pairs, stop or _why(found.evidence, plan), now)
    if not new and not closed:
        return found
    after = _look(store, plan, pairs, n_items, now, found.evidence.alpha)
    return LabelStatus(
        **{
            name: getattr(after, name)
            for name in LabelStatus.__slots__
            if name not in ("n_new", "n_closed_now")
        },
        n_new=new,
        n_closed_now=closed,
    )


def disagreements(store: TraceStore, plan: Plan) -> tuple[list[Disagreement], int]:
    """Return the items that the two arms label differently, in the order of asking, and the items both answered.

    The order is a hash of experiment and item: random, fixed before anybody was asked, the same every time.
    """
    a, b = plan.arms
    params = {"id": plan.experiment_id, "a": a.name, "b": b.name}
    rows = store.query(_DIFFER, params, fresh=True).to_pylist()
    pairs = [
        Disagreement(**row, task_id=disagreement_task_id(plan.project, row["item_id"], (a.fp, b.fp)))
        for row in rows
    ]
    pairs.sort(key=lambda pair: digest_parts(plan.experiment_id, pair.item_id))
    return pairs, int(store.query(_COUNT, params, fresh=True)["n"][0].as_py())


def _check(store: TraceStore, plan: Plan) -> None:
    if len(plan.arms) != 2:
        raise ConfigError(
            f"experiment {plan.experiment_id} has {len(plan.arms)} arms: people decide between two",
            hint=f"run the two that matter: labelproof experiment run {plan.project} --arms "
            f"{plan.arms[0].name},CANDIDATE --items N",
        )
    if plan.split != NO_GOLD:
        raise ConfigError(
            f"experiment {plan.experiment_id} is on gold, whose labels are known",
            hint=f"compare on items without gold: labelproof experiment run {plan.project} --arms "
            f"{','.join(arm.name for arm in plan.arms)} --items 2000",
        )
    left = [state for state in arm_states(store, plan) if not state.finished and state.repeat == 0]
    if left:
        told = ", ".join(f"{state.arm} {state.n_answers} of {state.n_wanted}" for state in left)
        raise ConfigError(
            f"experiment {plan.experiment_id} has not answered everything yet: {told}",
            hint=f"labelproof experiment resume {plan.experiment_id}",
        )


def _look(
    store: TraceStore, plan: Plan, pairs: Sequence[Disagreement], n_items: int, now: datetime, alpha: float
) -> LabelStatus:
    known = _known(store, plan, pairs)
    evidence = weigh([_right(pair, known.get(pair.task_id)) for pair in pairs], alpha=alpha)
    a, b = plan.arms
    return LabelStatus(
        experiment_id=plan.experiment_id,
        project=plan.project,
        arm_a=a.name,
        arm_b=b.name,
        n_items=n_items,
        n_disagree=len(pairs),
        n_asked=len(known),
        tasks=dict(Counter(str(row["state"]) for row in known.values())),
        n_votes=sum(row["n_votes"] for row in known.values()),
        evidence=evidence,
        difference=accuracy_difference(evidence, n_items=n_items, n_disagree=len(pairs)),
        n_new=0,
        n_closed_now=0,
        at=now,
    )


def _known(store: TraceStore, plan: Plan, pairs: Sequence[Disagreement]) -> dict[str, Mapping[str, Any]]:
    """Return task id -> what became of it, for disagreements that were asked about by whomever."""
    params = {"project": plan.project, "tasks": [pair.task_id for pair in pairs]}
    return {row["task_id"]: row for row in store.query(_OUTCOMES, params, fresh=True).to_pylist()}


def _right(pair: Disagreement, outcome: Mapping[str, Any] | None) -> Right | None:
    truth = None if outcome is None else outcome["final_label"]
    if truth is None:
        return None
    return "a" if pair.label_a == truth else "b" if pair.label_b == truth else "neither"


def _tasks(
    folder: ProjectFolder, plan: Plan, pairs: Sequence[Disagreement], now: datetime
) -> list[ReviewTask]:
    """Return tasks that say nothing of either label; a microsecond apart, so that the queue keeps their order."""
    return [
        ReviewTask(
            task_id=pair.task_id,
            project=plan.project,
            kind="disagreement",
            item_id=pair.item_id,
            run_id=pair.run_id,
            blind=True,
            votes_wanted=folder.spec.review.votes("disagreement"),
            reason=f"arms of experiment {plan.experiment_id} differ",
            ts=now + timedelta(microseconds=place),
        )
        for place, pair in enumerate(pairs)
    ]


def _why(evidence: Evidence, plan: Plan) -> str:
    better = plan.arms[1 if evidence.better == "b" else 0].name
    return (
        f"experiment {plan.experiment_id} stopped early: {better} is more accurate, e-value {evidence.e_sure:.1f} >= "
        f"{1 / evidence.alpha:g} after {evidence.n_decided} labels"
    )


def _close(store: TraceStore, plan: Plan, pairs: Sequence[Disagreement], reason: str, now: datetime) -> int:
    """Close the tasks that still wait; returns how many."""
    known = _known(store, plan, pairs)
    waiting = [p for p in pairs if p.task_id in known and known[p.task_id]["state"] in UNDECIDED]
    rows = [
        (
            digest(["review-event", pair.task_id, "closed", now.isoformat()]),
            plan.project,
            pair.task_id,
            pair.item_id,
            QUEUE,
            "closed",
            reason,
            now,
        )
        for pair in waiting
    ]
    if rows:
        columns = zip(*rows, strict=True)
        store.append(
            "review_events", {name: list(values) for name, values in zip(EVENT_COLUMNS, columns, strict=True)}
        )
    return len(rows)
