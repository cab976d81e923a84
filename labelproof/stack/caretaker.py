"""Runs whose process died go on by themselves: noticed, given a pause, started again, and at last given up.

Prefect marks a dead run Crashed; what it had stored is kept, and the same parameters find it again. Here it is
decided whether and when to start it. All of it follows from the server's runs, so that a supervisor that restarts, or
a second one, decides the same: the crashed run's id is the new run's idempotency key, and there is one at most.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal
from uuid import NAMESPACE_URL, uuid5

from labelproof.stack.api import PrefectApi

RESUMES = "resumes"
"""Tag of the deployments whose crashed runs are started again."""
PAUSES_S = (10.0, 300.0, 1800.0)
"""Pause before each attempt, seconds; after as many crashes in a row, a run is given up."""
LOOK_BACK = timedelta(hours=24)
GIVEN_UP_EVENT = "labelproof.run.given_up"
STOPPED_MESSAGE = "Stopped by `labelproof down`; what was done is stored, and it goes on with the next `up`."
LOST_MESSAGE = "Its worker ended; what was done is stored."
_UNDONE = ("RUNNING", "PENDING", "CANCELLING")

Fate = Literal["resume", "wait", "given up"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Crashed:
    """A run that crashed and that nothing has followed. ``attempt``: the next one, from 1; ``due``: when."""

    run: dict[str, Any]
    fate: Fate
    attempt: int
    due: datetime

    def to_json(self) -> dict[str, Any]:
        return {
            "id": self.run["id"],
            "name": self.run["name"],
            "deployment_id": self.run["deployment_id"],
            "crashed_at": self.run["end_time"],
            "fate": self.fate,
            "attempt": self.attempt,
            "attempts": len(PAUSES_S),
            "due": self.due.isoformat(),
        }


def crashed_runs(runs: Sequence[dict[str, Any]], now: datetime) -> list[Crashed]:
    """Return the crashed runs that nothing has followed, the earliest due first. Pure.

    ``runs``: of any deployments, as the API gives them. Runs of one deployment with the same parameters are one
    piece of work: whichever of them came last speaks for it. One that is only planned for later does not count.
    """
    work: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for run in runs:
        if run["deployment_id"] and not (run["state_type"] == "SCHEDULED" and _began(run) > now):
            key = (run["deployment_id"], json.dumps(run["parameters"], sort_keys=True))
            work.setdefault(key, []).append(run)
    found = []
    for same in work.values():
        same.sort(key=_began, reverse=True)
        last = same[0]
        if last["state_type"] != "CRASHED" or now - _ended(last) > LOOK_BACK:
            continue
        in_a_row = 0
        for run in same:
            if run["state_type"] != "CRASHED" or now - _ended(run) > LOOK_BACK:
                break
            in_a_row += 1
        over = in_a_row > len(PAUSES_S)
        due = _ended(last) + timedelta(seconds=PAUSES_S[min(in_a_row, len(PAUSES_S)) - 1])
        fate: Fate = "given up" if over else "resume" if due <= now else "wait"
        found.append(Crashed(run=last, fate=fate, attempt=in_a_row, due=due))
    return sorted(found, key=lambda one: one.due)


def read_crashed(api: PrefectApi, now: datetime) -> list[Crashed]:
    """Return the crashed runs of the server's last day that nothing has followed; usually one request."""
    since = {"after_": (now - LOOK_BACK).isoformat()}
    ended = api.runs(states=["CRASHED"], limit=200, flow_runs={"end_time": since})
    concerned = sorted({run["deployment_id"] for run in ended if run["deployment_id"]})
    if not concerned:
        return []
    runs = api.runs(
        limit=200,
        sort="EXPECTED_START_TIME_DESC",
        flow_runs={"deployment_id": {"any_": concerned}, "expected_start_time": {"before_": now.isoformat()}},
    )
    return crashed_runs(runs, now)


def resume_due(api: PrefectApi, now: datetime) -> list[str]:
    """Start again what is due, tell of what is given up; returns a line for each."""
    said = []
    for one in read_crashed(api, now):
        if one.fate == "wait" or RESUMES not in one.run["tags"]:
            continue
        if one.fate == "given up":
            _give_up(api, one)
            continue
        deployment = api.call("GET", f"/deployments/{one.run['deployment_id']}")
        if not deployment.get("paused"):
            _resume(api, one)
            said.append(f"resumed {one.run['name']}, attempt {one.attempt} of {len(PAUSES_S)}")
    return said


def _resume(api: PrefectApi, one: Crashed) -> None:
    words = f"Goes on with {one.run['name']}, which crashed; attempt {one.attempt} of {len(PAUSES_S)}"
    api.call(
        "POST",
        f"/deployments/{one.run['deployment_id']}/create_flow_run",
        {
            "parameters": one.run["parameters"],
            "tags": ["resumed"],
            "idempotency_key": f"labelproof-resume:{one.run['id']}",
            "state": {"type": "SCHEDULED", "message": words},
        },
    )


def _give_up(api: PrefectApi, one: Crashed) -> None:
    """Tell automations, once: the id of the event follows from the run."""
    event_id = str(uuid5(NAMESPACE_URL, f"labelproof:given-up/{one.run['id']}"))
    known = {"filter": {"id": {"id": [event_id]}}, "limit": 1}
    if api.call("POST", "/events/filter", known)["total"]:
        return
    tags = [tag.partition(":")[2] for tag in one.run["tags"] if tag.startswith("project:")]
    payload = {
        "project": tags[0] if tags else None,
        "kind": "run",
        "subject": one.run["name"],
        "event": "given up",
        "level": "major",
        "reason": f"It crashed {one.attempt} times in a row and is not started again by itself.",
        "at": one.run["end_time"],
    }
    api.emit(GIVEN_UP_EVENT, f"labelproof.run.{one.run['id']}", payload, id_=event_id)


def close_stopped_runs(
    api: PrefectApi, worker: str, message: str = STOPPED_MESSAGE, *, before: float | None = None
) -> int:
    """Mark runs of the pool Crashed that no process executes any more; returns how many.

    Called when ``worker`` does not run, or began to at ``before`` (seconds of the epoch): its earlier runs died with it. One
    that somebody was cancelling is Cancelled. While other workers of the pool are online nothing is
    closed: the runs may be theirs, and the automation on heartbeats finds dead ones.
    """
    undone = [
        run
        for run in api.runs(states=_UNDONE, limit=200)
        if before is None or datetime.fromisoformat(run["state"]["timestamp"]).timestamp() < before
    ]
    if not undone or api.other_workers_online(worker):
        return 0
    for run in undone:
        end = api.cancel if run["state_type"] == "CANCELLING" else api.crash
        end(run["id"], message)
    return len(undone)


def _began(run: dict[str, Any]) -> datetime:
    text = run["start_time"] or run["expected_start_time"] or run["created"]
    return datetime.fromisoformat(text).astimezone(UTC)


def _ended(run: dict[str, Any]) -> datetime:
    return datetime.fromisoformat(run["end_time"] or run["start_time"] or run["created"]).astimezone(UTC)
