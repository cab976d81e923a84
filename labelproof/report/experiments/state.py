"""What has happened to an experiment: its events, what each arm has answered, what was spent and concluded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

import orjson

from labelproof.report.experiments.plan import Plan, plan_from_json
from labelproof.spec.errors import ConfigError
from labelproof.store import TraceStore

Event = Literal["planned", "started", "arm_finished", "stopped", "finished"]
State = Literal["planned", "started", "arm_finished", "stopped", "withdrawn", "finished"]
"""The latest event; ``withdrawn``: a person has stopped it, so only ``resume`` goes on with it."""
_EVENTS = """
SELECT experiment_id, event, reason, actor, plan_json, ts FROM experiments
WHERE ($project IS NULL OR project = $project) AND ($id IS NULL OR experiment_id = $id)
ORDER BY ts, event = 'finished'
"""
_ARMS = """
SELECT a.arm, r.repeat_idx, count(DISTINCT a.item_id) AS n_answers,
    count(DISTINCT a.item_id) FILTER (a.decision = 'failed') AS n_failed
FROM arm_answers AS a JOIN (
    SELECT run_id, any_value(repeat_idx) AS repeat_idx FROM runs GROUP BY run_id
) AS r USING (run_id)
WHERE a.experiment_id = ? GROUP BY ALL
"""
_RUNS = """
SELECT run_id, any_value(params_json) AS params_json, any_value(repeat_idx) AS repeat_idx,
    count(*) FILTER (event = 'finished') > 0 AS finished, max(ts) AS ts
FROM runs WHERE project = ? AND contains(params_json, ?) GROUP BY run_id ORDER BY max(ts)
"""
_OUTCOMES = """
SELECT fp_b, strategy_b, comparison_id, verdict, reason, n_items, report_json FROM comparisons
WHERE experiment_id = ? AND fp_a = ? QUALIFY row_number() OVER (PARTITION BY fp_b ORDER BY ts DESC, comparison_id) = 1
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmState:
    """How far one arm (``repeat`` 0) or the rerun of the first one (1) has come."""

    arm: str
    repeat: int
    n_wanted: int
    n_answers: int
    n_failed: int
    run_id: str | None
    finished: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What was concluded on one candidate. The numbers are the primary metric's; None: not measurable."""

    arm: str
    version: str
    verdict: str
    headline: str
    metric: str
    value_a: float | None
    value_b: float | None
    delta: float | None
    low: float | None
    high: float | None
    p_holm: float | None
    n_items: int
    comparison_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """An experiment as it stands. ``reason``: why it stopped; ``spent_usd`` counts all its arms."""

    plan: Plan
    state: State
    reason: str | None
    changed_at: datetime

    @property
    def is_unfinished(self) -> bool:
        """Whether the same request goes on with it."""
        return self.state not in ("finished", "withdrawn")

    def headline(self) -> dict[str, Any]:
        """Return the line of a list, as JSON values."""
        plan = self.plan
        return {
            "experiment_id": plan.experiment_id,
            "project": plan.project,
            "name": plan.name,
            "state": self.state,
            "reason": self.reason,
            "arms": [arm.shown for arm in plan.arms],
            "source": plan.source,
            "n_items": plan.n_items,
            "plan_fp": plan.fp,
            "planned_at": plan.made_at.isoformat(),
            "changed_at": self.changed_at.isoformat(),
        }


def record(
    store: TraceStore,
    plan: Plan,
    event: Event,
    now: datetime,
    *,
    reason: str | None = None,
    actor: str | None = None,
    flow_run_id: str | None = None,
) -> None:
    """Store an event; the first one carries the plan. ``actor``: the person, None for the machine."""
    whole = orjson.dumps(plan.to_json()).decode() if event == "planned" else None
    row = {
        "experiment_id": plan.experiment_id,
        "project": plan.project,
        "event": event,
        "name": plan.name,
        "plan_fp": plan.fp,
        "plan_json": whole,
        "reason": reason,
        "actor": actor,
        "flow_run_id": flow_run_id,
        "ts": now,
    }
    store.append("experiments", {name: [value] for name, value in row.items()})


def standings(
    store: TraceStore, *, project: str | None = None, experiment_id: str | None = None
) -> list[Standing]:
    """Return the experiments of a store, oldest first."""
    events: dict[str, list[Mapping[str, Any]]] = {}
    for row in store.query(_EVENTS, {"project": project, "id": experiment_id}, fresh=True).to_pylist():
        events.setdefault(row["experiment_id"], []).append(row)
    found = []
    for rows in events.values():
        plans = [orjson.loads(row["plan_json"]) for row in rows if row["plan_json"]]
        if not plans or plans[0].get("kind") == "search":  # its plan is of another kind
            continue
        last = rows[-1]
        state: State = "withdrawn" if last["event"] == "stopped" and last["actor"] else last["event"]
        plan = plan_from_json(plans[0])
        found.append(Standing(plan=plan, state=state, reason=last["reason"], changed_at=last["ts"]))
    return found


def standing(store: TraceStore, plan: Plan) -> Standing:
    """Return how a stored plan stands."""
    (found,) = standings(store, experiment_id=plan.experiment_id)
    return found


def arm_states(store: TraceStore, plan: Plan) -> list[ArmState]:
    """Return the progress of every arm in the plan's order, then of the rerun."""
    runs: dict[tuple[str, int], tuple[str, bool]] = {}
    for row, params in _runs(store, plan):
        at = (params["arm"][1], row["repeat_idx"])
        finished = row["finished"] or runs.get(at, ("", False))[1]
        runs[at] = (row["run_id"], finished)
    counted = {
        (row["arm"], row["repeat_idx"]): row
        for row in store.query(_ARMS, [plan.experiment_id], fresh=True).to_pylist()
    }
    wanted = [(arm.name, 0, plan.n_items) for arm in plan.arms]
    if plan.rerun_items:
        wanted.append((plan.control, 1, plan.rerun_items))
    found = []
    for arm, repeat, n_wanted in wanted:
        row = counted.get((arm, repeat), {"n_answers": 0, "n_failed": 0})
        run_id, finished = runs.get((arm, repeat), (None, False))
        found.append(
            ArmState(
                arm=arm,
                repeat=repeat,
                n_wanted=n_wanted,
                n_answers=row["n_answers"],
                n_failed=row["n_failed"],
                run_id=run_id,
                finished=finished,
            )
        )
    return found


def check_complete(store: TraceStore, plan: Plan) -> None:
    """Raise ``ConfigError`` while an arm has not answered everything: judging it now would be a look not planned."""
    left = [state for state in arm_states(store, plan) if not state.finished and not state.repeat]
    if left:
        told = ", ".join(f"{state.arm} {state.n_answers} of {state.n_wanted}" for state in left)
        raise ConfigError(
            f"experiment {plan.experiment_id} is looked at once, when every arm has answered everything: {told}",
            hint=f"labelproof experiment resume {plan.experiment_id}; without --experiment it is a comparison like any other",
        )


def spent_by_run(store: TraceStore, plan: Plan) -> dict[tuple[str, int], float]:
    """Return US dollars by arm and repeat, calls that a killed process made included."""
    store.fold_orphans()
    found: dict[tuple[str, int], float] = {}
    runs = {row["run_id"]: (params["arm"][1], row["repeat_idx"]) for row, params in _runs(store, plan)}
    if not runs:
        return {}
    for row in store.query(
        "SELECT run_id, coalesce(sum(cost_usd), 0) AS usd FROM calls WHERE run_id IN (SELECT unnest(?)) GROUP BY run_id",
        [list(runs)],
        fresh=True,
    ).to_pylist():
        at = runs[row["run_id"]]
        found[at] = found.get(at, 0.0) + float(row["usd"])
    return found


def outcomes(store: TraceStore, plan: Plan) -> list[Outcome]:
    """Return what was concluded on each candidate against the control, in the plan's order; empty before the end."""
    found_rows = store.query(_OUTCOMES, [plan.experiment_id, plan.arms[0].fp], fresh=True).to_pylist()
    rows = {row["fp_b"]: row for row in found_rows}
    found = []
    for arm in plan.candidates:
        row = rows.get(arm.fp)
        if row is None:
            continue
        metrics = orjson.loads(row["report_json"])["rows"]
        primary = next((one for one in metrics if one["role"] == "primary"), None)
        found.append(_outcome(arm.name, arm.shown, row, primary, plan.policy.primary))
    return found


def _outcome(
    arm: str, version: str, row: Mapping[str, Any], primary: Mapping[str, Any] | None, metric: str
) -> Outcome:
    difference: Mapping[str, Any] = primary["difference"] if primary else {}
    return Outcome(
        arm=arm,
        version=version,
        verdict=row["verdict"],
        headline=row["reason"],
        metric=metric,
        value_a=difference.get("value_a"),
        value_b=difference.get("value_b"),
        delta=difference.get("delta"),
        low=difference.get("low"),
        high=difference.get("high"),
        p_holm=primary["p_holm"] if primary else None,
        n_items=row["n_items"],
        comparison_id=row["comparison_id"],
    )


def exit_code(found: Sequence[Outcome], plan: Plan) -> int:
    """0: a candidate ships; 1: every candidate is a regression; 2: anything else, an unfinished one too."""
    verdicts = [one.verdict for one in found]
    if "ship" in verdicts:
        return 0
    return 1 if len(verdicts) == len(plan.candidates) and set(verdicts) == {"regression"} else 2


def _runs(store: TraceStore, plan: Plan) -> list[tuple[Mapping[str, Any], Mapping[str, Any]]]:
    """Return the runs of an experiment with their parameters, oldest first."""
    rows = store.query(_RUNS, [plan.project, f'"{plan.experiment_id}"'], fresh=True).to_pylist()
    return [(row, orjson.loads(row["params_json"])) for row in rows]
